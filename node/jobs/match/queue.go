package match

import (
	"bytes"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/horde"
)

// A Queue holds the open offers of one kind in the order in which they are served:
// priority, which grows by 50 each 10 s, first; then age; then id. All offers age alike, so
// each has a rank that never changes: priority less 5 for each second that it was created
// later. Alchemy does not age.
//
// Offers of equal Shape stand together. A search tests each shape once and then looks at
// heads only, so it costs by the number of shapes that name the worker's models, not by
// the number of offers.
//
// A Queue is not safe for concurrent use, but its reading methods are with each other.
type Queue struct {
	kind     horde.Kind
	items    map[horde.RequestID]*item
	groups   map[string]*group // by encoded Shape
	named    map[string]map[*group]struct{}
	anyModel map[*group]struct{} // groups that name no model
	payers   map[horde.UserID]*payer
	homes    map[horde.HomeTag]*homeList
	order    order
	totals   Totals
	buf      bytes.Buffer
}

// Totals add up the offers of a queue.
type Totals struct {
	Requests int   // offers with open slots
	Slots    int   // open slots
	Jobs     int   // open slots and running jobs
	Things   int64 // raw work of Jobs
}

// A Load is what waits for one model.
type Load struct {
	Jobs   int   // open slots and running jobs
	Things int64 // raw work of Jobs
}

// A Candidate is an offer that a worker may serve.
type Candidate struct {
	ID    horde.RequestID
	Home  horde.HomeTag
	Payer horde.UserID
	Rev   uint32
	Open  int
}

// A Standing is an offer's place in its queue.
type Standing struct {
	Before int   // offers that are served earlier
	Slots  int64 // open slots of those and of itself
	Things int64 // raw work of those slots
}

// item is an offer.
type item struct {
	id       horde.RequestID
	home     horde.HomeTag
	rev      uint32
	open     int32
	running  int32
	at       int32 // place in the bucket's heap
	rank     int64 // larger is served earlier
	created  int64 // Unix milliseconds, local clock
	priority int64
	things   int64 // of one job
	job      horde.Kudos
	bucket   *bucket
	links
	prev, next *item // of the same home
}

// bucket holds the offers of one payer with one shape.
type bucket struct {
	group *group
	payer *payer
	items heap[*item]
	slots int   // open ones of the items
	at    int32 // place in the group's heap
}

// group holds the offers with one shape.
type group struct {
	key     string
	shape   horde.Shape
	buckets heap[*bucket]
	count   int
	load    Load
}

type payer struct {
	id      horde.UserID
	slots   int
	buckets map[*group]*bucket
}

type homeList struct {
	first *item
	count int
}

// limits of an offer's figures: more is cut, so that sums cannot overflow.
const (
	maxPriority = int64(1) << 40
	maxThings   = int64(1) << 36
	maxJobs     = 1 << 10
	maxAge      = 24 * time.Hour
)

// NewQueue returns an empty queue. The seed decides the shape of its trees and nothing
// that can be seen.
func NewQueue(kind horde.Kind, seed uint64) *Queue {
	return &Queue{
		kind:     kind,
		items:    make(map[horde.RequestID]*item),
		groups:   make(map[string]*group),
		named:    make(map[string]map[*group]struct{}),
		anyModel: make(map[*group]struct{}),
		payers:   make(map[horde.UserID]*payer),
		homes:    make(map[horde.HomeTag]*homeList),
		order:    order{rnd: rand.New(rand.NewPCG(seed, uint64(kind)))},
	}
}

func (x *item) before(y *item) bool {
	switch {
	case x.rank != y.rank:
		return x.rank > y.rank
	case x.created != y.created:
		return x.created < y.created
	}
	return bytes.Compare(x.id.UUID[:], y.id.UUID[:]) < 0
}

func (x *item) place() *int32 { return &x.at }

// work is the raw work of the open slots.
func (x *item) work() int64 { return x.things * int64(x.open) }

func (x *item) load() Load {
	jobs := int(x.open + x.running)
	return Load{Jobs: jobs, Things: x.things * int64(jobs)}
}

func (b *bucket) before(c *bucket) bool { return b.items[0].before(c.items[0]) }
func (b *bucket) place() *int32         { return &b.at }

// Len is the number of offers.
func (q *Queue) Len() int { return len(q.items) }

// Totals adds up the offers.
func (q *Queue) Totals() Totals { return q.totals }

// Slots is the number of open slots that a payer has in the queue: in all, or, with models, in
// the offers that name them, where an offer counts once for each that it names.
func (q *Queue) Slots(payer horde.UserID, models ...string) int {
	p := q.payers[payer]
	switch {
	case p == nil:
		return 0
	case len(models) == 0:
		return p.slots
	}
	n := 0
	for _, m := range models {
		for g := range q.named[m] {
			if b := p.buckets[g]; b != nil {
				n += b.slots
			}
		}
	}
	return n
}

// Told is Slots of the offers that one home told, and at most most of these offers as they
// would be told at the given time.
func (q *Queue) Told(home horde.HomeTag, payer horde.UserID, most int, now time.Time, models ...string) (offers []horde.Offer, slots int) {
	p := q.payers[payer]
	if p == nil {
		return nil, 0
	}
	for g, b := range p.buckets {
		times := 1
		if len(models) > 0 {
			times = 0
			for _, m := range models {
				if slices.Contains(g.shape.Models, m) {
					times++
				}
			}
		}
		if times == 0 {
			continue
		}
		for _, x := range b.items {
			if x.home != home {
				continue
			}
			slots += times * int(x.open)
			if len(offers) < most {
				o, _ := q.Offer(x.id, now)
				offers = append(offers, o)
			}
		}
	}
	return offers, slots
}

// Loads returns what waits for each model that an offer names. An offer that names several
// models counts fully for each; one that names none counts nowhere.
func (q *Queue) Loads() map[string]Load {
	loads := make(map[string]Load, len(q.named))
	for name, groups := range q.named {
		var sum Load
		for g := range groups {
			sum.Jobs += g.load.Jobs
			sum.Things += g.load.Things
		}
		loads[name] = sum
	}
	return loads
}

// Put adds or replaces an offer of a home, as of now. An offer whose revision is not
// larger than that of the one already there changes nothing; one without open slots
// removes it. It tells whether the queue has changed.
func (q *Queue) Put(o *horde.Offer, home horde.HomeTag, now time.Time) (bool, error) {
	old := q.items[o.ID]
	if old != nil && old.rev >= o.Rev {
		return false, nil
	}
	if o.Open <= 0 {
		return q.Remove(o.ID), nil
	}
	g, err := q.groupOf(&o.Shape)
	if err != nil {
		return false, err
	}
	x := &item{
		id: o.ID, home: home, rev: o.Rev,
		open:     int32(min(o.Open, maxJobs)),
		running:  int32(min(max(o.Running, 0), maxJobs)),
		created:  now.Add(-min(max(time.Duration(min(o.AgeMS, maxAge.Milliseconds()))*time.Millisecond, 0), maxAge)).UnixMilli(),
		priority: min(max(o.Priority, -maxPriority), maxPriority),
		things:   min(max(o.Things, 0), maxThings),
		job:      o.Job,
	}
	if old != nil {
		x.created = old.created // an age told later is no better than the first
		q.unlink(old)
	}
	x.rank = x.priority*1000 - 5*x.created
	if q.kind == horde.KindAlchemy {
		x.rank = x.priority // forms do not age (spec/alchemy.md section 3.4)
	}
	q.link(x, g, o.Payer)
	return true, nil
}

// Remove takes an offer out and tells whether it was there.
func (q *Queue) Remove(id horde.RequestID) bool {
	x := q.items[id]
	if x == nil {
		return false
	}
	q.unlink(x)
	return true
}

// Teller returns the tag that an offer was put with: its home's, or that of who stands in.
func (q *Queue) Teller(id horde.RequestID) (tag horde.HomeTag, ok bool) {
	x := q.items[id]
	if x == nil {
		return tag, false
	}
	return x.home, true
}

// DropHome takes all offers of a home out and returns how many there were.
func (q *Queue) DropHome(home horde.HomeTag) int {
	n := 0
	for list := q.homes[home]; list != nil && list.first != nil; n++ {
		q.unlink(list.first)
	}
	return n
}

// Home yields the offers of a home, as id and revision, in no order. The queue must not be
// changed meanwhile.
func (q *Queue) Home(home horde.HomeTag) iter.Seq2[horde.RequestID, uint32] {
	return func(yield func(horde.RequestID, uint32) bool) {
		list := q.homes[home]
		if list == nil {
			return
		}
		for x := list.first; x != nil; x = x.next {
			if !yield(x.id, x.rev) {
				return
			}
		}
	}
}

// HomeLen is the number of offers of a home.
func (q *Queue) HomeLen(home horde.HomeTag) int {
	if list := q.homes[home]; list != nil {
		return list.count
	}
	return 0
}

// Offer returns an offer as it would be told at the given time.
func (q *Queue) Offer(id horde.RequestID, now time.Time) (horde.Offer, bool) {
	x := q.items[id]
	if x == nil {
		return horde.Offer{}, false
	}
	return horde.Offer{
		ID: x.id, Rev: x.rev, Open: int(x.open), Shape: x.bucket.group.shape, Payer: x.bucket.payer.id,
		Priority: x.priority, AgeMS: max(now.UnixMilli()-x.created, 0), Things: x.things, Job: x.job,
		Running: int(x.running),
	}, true
}

// Revision returns the revision and the open slots of an offer.
func (q *Queue) Revision(id horde.RequestID) (rev uint32, open int, ok bool) {
	x := q.items[id]
	if x == nil {
		return 0, 0, false
	}
	return x.rev, int(x.open), true
}

// Shape returns what Check needs to know of an offer. The shape must not be changed.
func (q *Queue) Shape(id horde.RequestID) (s *horde.Shape, payer horde.UserID, job horde.Kudos, ok bool) {
	x := q.items[id]
	if x == nil {
		return nil, 0, 0, false
	}
	return &x.bucket.group.shape, x.bucket.payer.id, x.job, true
}

// Standing returns an offer's place in the queue; ok is false if it is not in it.
func (q *Queue) Standing(id horde.RequestID) (s Standing, ok bool) {
	x := q.items[id]
	if x == nil {
		return Standing{}, false
	}
	s.Before, s.Slots, s.Things = q.order.standing(x)
	return s, true
}

// groupOf returns the group of a shape, making it if there is none. A new group is not in
// q.groups before an item is linked to it.
func (q *Queue) groupOf(s *horde.Shape) (*group, error) {
	q.buf.Reset()
	if err := cbor.MarshalToBuffer(s, &q.buf); err != nil {
		return nil, fmt.Errorf("encode shape: %w", err)
	}
	if g := q.groups[string(q.buf.Bytes())]; g != nil {
		return g, nil
	}
	return &group{key: q.buf.String(), shape: *s}, nil
}

func (q *Queue) link(x *item, g *group, payerID horde.UserID) {
	p := q.payers[payerID]
	if p == nil {
		p = &payer{id: payerID, buckets: make(map[*group]*bucket, 1)}
		q.payers[payerID] = p
	}
	if g.count == 0 {
		q.groups[g.key] = g
		q.indexModels(g)
	}
	b := p.buckets[g]
	if b == nil {
		b = &bucket{group: g, payer: p}
		p.buckets[g] = b
	}
	x.bucket = b
	b.items.push(x)
	if len(b.items) == 1 {
		g.buckets.push(b)
	} else {
		g.buckets.fix(b)
	}
	q.items[x.id] = x
	q.order.insert(x)
	q.addHome(x)
	q.count(x, 1)
}

func (q *Queue) unlink(x *item) {
	b := x.bucket
	g, p := b.group, b.payer
	q.count(x, -1)
	if len(b.items) == 1 {
		g.buckets.remove(b)
		b.items.remove(x)
		delete(p.buckets, g)
	} else {
		b.items.remove(x)
		g.buckets.fix(b)
	}
	if len(p.buckets) == 0 {
		delete(q.payers, p.id)
	}
	if g.count == 0 {
		delete(q.groups, g.key)
		q.unindexModels(g)
	}
	delete(q.items, x.id)
	q.order.remove(x)
	q.removeHome(x)
}

// count adds x to the sums, or with sign -1 takes it away.
func (q *Queue) count(x *item, sign int) {
	load := x.load()
	g := x.bucket.group
	g.count += sign
	g.load.Jobs += sign * load.Jobs
	g.load.Things += int64(sign) * load.Things
	x.bucket.slots += sign * int(x.open)
	x.bucket.payer.slots += sign * int(x.open)
	q.totals.Requests += sign
	q.totals.Slots += sign * int(x.open)
	q.totals.Jobs += sign * load.Jobs
	q.totals.Things += int64(sign) * load.Things
}

func (q *Queue) indexModels(g *group) {
	if len(g.shape.Models) == 0 {
		q.anyModel[g] = struct{}{}
	}
	for _, name := range g.shape.Models {
		if q.named[name] == nil {
			q.named[name] = make(map[*group]struct{}, 1)
		}
		q.named[name][g] = struct{}{}
	}
}

func (q *Queue) unindexModels(g *group) {
	delete(q.anyModel, g)
	for _, name := range g.shape.Models {
		delete(q.named[name], g)
		if len(q.named[name]) == 0 {
			delete(q.named, name)
		}
	}
}

func (q *Queue) addHome(x *item) {
	list := q.homes[x.home]
	if list == nil {
		list = &homeList{}
		q.homes[x.home] = list
	}
	x.next = list.first
	if x.next != nil {
		x.next.prev = x
	}
	list.first = x
	list.count++
}

func (q *Queue) removeHome(x *item) {
	list := q.homes[x.home]
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		list.first = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.prev, x.next = nil, nil
	if list.count--; list.count == 0 {
		delete(q.homes, x.home)
	}
}
