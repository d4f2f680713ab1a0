package exchange

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/jobs/match"
)

// kinds is how many kinds have offers.
const kinds = 3

const (
	// feedTTL is how long after its last word a home's offers are believed.
	feedTTL = 45 * time.Second
	// tombTTL is how long a closed request is remembered, so that a message that was
	// overtaken does not open it again.
	tombTTL = 60 * time.Second

	maxOffers     = 2_000_000 // of all homes and kinds
	maxHomeOffers = 1_000_000 // of one home and kind
	maxTombs      = 200_000   // of one home and kind
)

// index holds the open offers of all homes.
type index struct {
	// heard is told of each offer that has changed, mu being held; nil: nobody is told.
	heard func(kind horde.Kind, id horde.RequestID, open int)

	sumSeed maphash.Seed // of sums of batches

	mu     sync.RWMutex // guards all below
	queues [kinds]*match.Queue
	feeds  map[horde.HomeTag]*feed

	shards   int                        // of a kind; 0: offers are not divided
	sharded  map[horde.RequestID]uint16 // streams of the offers that are in shards
	followed map[int]*following         // shards that this node takes part in, by stream
}

// A feed is what one home has told.
type feed struct {
	node      horde.NodeID
	tag       horde.HomeTag
	boot      uint64
	heard     time.Time // last beacon or batch, or connection
	streams   []stream  // by kind, then by shard: see shard.go
	workers   bool      // its workers have been asked for
	beacon    beacon
	newsSeq   uint64
	repairing bool      // a sync is under way
	repairAt  time.Time // when to sync; zero: no need
	failures  int       // syncs that failed in a row
	avoid     time.Time // until then no claims: it did not answer
}

// A stream is a home's offers of one kind or shard, as told. An offer counts in digest as the
// home told it last, though it may be hidden here. Tombs, hidden and fresh ones of a kind's shards
// are in its first stream.
type stream struct {
	seen   window
	digest uint64
	tombs  map[horde.RequestID]tomb
	hidden map[horde.RequestID]mark // no longer claimable, as we found out before being told
	synced bool                     // complete at least once in this boot
	fresh  map[horde.RequestID]struct{}
	sums   []batchSum // of the last batches (equivocation.go)
}

// tomb remembers a closed request.
type tomb struct {
	rev uint32
	at  time.Time
}

// mark is the state of an offer that digests are made of.
type mark struct {
	rev  uint32
	open int32
}

// hash mixes an offer's id and state into what digests are the XOR of.
func (m mark) hash(id horde.RequestID) uint64 {
	h := mix(binary.LittleEndian.Uint64(id.UUID[:8]))
	h = mix(h ^ binary.LittleEndian.Uint64(id.UUID[8:]))
	return mix(h ^ uint64(m.rev)<<32 ^ uint64(uint32(m.open)))
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// window tells which sequence numbers have been seen: all up to low, and those in ahead,
// whose bit i stands for low+1+i.
type window struct {
	low   uint64
	ahead uint64
}

// has tells whether n was seen.
func (w window) has(n uint64) bool {
	return n <= w.low || n-w.low <= 64 && w.ahead>>(n-w.low-1)&1 == 1
}

// add marks n as seen.
func (w *window) add(n uint64) {
	if w.has(n) {
		return
	}
	if n-w.low > 64 { // give up on what is older: it is lost, and a sync repairs it
		w.ahead = shift(w.ahead, n-w.low-64)
		w.low = n - 64
	}
	w.ahead |= 1 << (n - w.low - 1)
	w.settle()
}

// reach marks all up to n as seen.
func (w *window) reach(n uint64) {
	if n > w.low {
		w.ahead = shift(w.ahead, n-w.low)
		w.low = n
		w.settle()
	}
}

func (w *window) settle() {
	for w.ahead&1 == 1 {
		w.ahead >>= 1
		w.low++
	}
}

// whole tells whether nothing is missing below the largest number seen.
func (w window) whole() bool { return w.ahead == 0 }

func shift(bits, by uint64) uint64 {
	if by >= 64 {
		return 0
	}
	return bits >> by
}

func newIndex(seed uint64) *index {
	x := &index{sumSeed: maphash.MakeSeed(),
		feeds: make(map[horde.HomeTag]*feed), sharded: make(map[horde.RequestID]uint16),
		followed: make(map[int]*following),
	}
	for k := range x.queues {
		x.queues[k] = match.NewQueue(horde.Kind(k), seed)
	}
	return x
}

// len is the number of offers of all homes and kinds. x.mu is held.
func (x *index) len() (n int) {
	for _, q := range x.queues {
		n += q.Len()
	}
	return n
}

// queue returns the queue of a kind, nil if the kind has no offers.
func (x *index) queue(kind horde.Kind) *match.Queue {
	if int(kind) >= kinds {
		return nil
	}
	return x.queues[kind]
}

// feed returns the feed of a node, made if there is none. x.mu is held.
func (x *index) feed(node horde.NodeID) *feed {
	tag := node.Tag()
	f := x.feeds[tag]
	if f == nil {
		f = &feed{node: node, tag: tag}
		f.reset(x.shards)
		x.feeds[tag] = f
	}
	return f
}

// reset forgets what was told, not that the home exists.
func (f *feed) reset(shards int) {
	f.newsSeq, f.workers, f.beacon = 0, false, beacon{}
	if len(f.streams) != streamCount(shards) {
		f.streams = make([]stream, streamCount(shards))
	}
	for k := range f.streams {
		f.streams[k] = newStream()
	}
}

func newStream() stream {
	return stream{tombs: map[horde.RequestID]tomb{}, hidden: map[horde.RequestID]mark{}}
}

// complete tells whether all that the home has, and that is followed, was asked for once.
// x.mu is held.
func (x *index) complete(f *feed) bool {
	for k := range f.streams {
		if !f.streams[k].synced && x.follows(k) {
			return false
		}
	}
	return f.workers
}

// rebooted makes boot the current one and tells whether a message of that boot counts: one
// of an earlier process of the home does not. A new boot forgets what the old one told.
// x.mu is held.
func (x *index) rebooted(f *feed, boot uint64) bool {
	if boot > f.boot {
		x.forget(f)
		f.boot = boot
	}
	return boot == f.boot
}

// forget takes a home's offers out and forgets what it told. x.mu is held.
func (x *index) forget(f *feed) {
	for k, q := range x.queues {
		if len(x.sharded) > 0 {
			for id := range q.Home(f.tag) {
				delete(x.sharded, id)
			}
			for id := range f.streams[k].hidden {
				delete(x.sharded, id)
			}
		}
		q.DropHome(f.tag)
	}
	f.reset(x.shards)
}

// put adds or replaces an offer of f and tells whether it has changed anything. x.mu is
// held.
func (x *index) put(f *feed, o *horde.Offer, now time.Time) (bool, error) {
	kind := o.Shape.Kind
	q := x.queue(kind)
	if q == nil {
		return false, nil
	}
	s := &f.streams[kind]
	if s.fresh != nil {
		s.fresh[o.ID] = struct{}{}
	}
	if t, ok := s.tombs[o.ID]; ok && t.rev >= o.Rev {
		return false, nil
	}
	if h, ok := s.hidden[o.ID]; ok && h.rev >= o.Rev {
		return false, nil
	}
	if o.Open <= 0 {
		return x.shut(f, kind, closed{ID: o.ID, Rev: o.Rev}, now), nil
	}
	x.evict(f, kind, o.ID)
	old, there := x.told(f, kind, o.ID)
	if !there && (q.HomeLen(f.tag) >= maxHomeOffers || x.len() >= maxOffers) {
		return false, fmt.Errorf("%w: %s", errFull, f.node)
	}
	changed, err := q.Put(o, f.tag, now)
	if err != nil || !changed {
		return false, err
	}
	st := x.stream(kind, o.ID)
	if !there {
		if st = streamOf(&o.Shape, x.shards); st >= kinds {
			x.sharded[o.ID] = uint16(st)
		}
	}
	told := &f.streams[st]
	if there {
		told.digest ^= old.hash(o.ID)
	}
	told.digest ^= mark{rev: o.Rev, open: int32(o.Open)}.hash(o.ID)
	delete(s.hidden, o.ID)
	delete(s.tombs, o.ID)
	if x.heard != nil {
		x.heard(kind, o.ID, o.Open)
	}
	return true, nil
}

// shut closes a request of f as of a revision. x.mu is held.
func (x *index) shut(f *feed, kind horde.Kind, c closed, now time.Time) bool {
	s := &f.streams[kind]
	if s.fresh != nil {
		s.fresh[c.ID] = struct{}{}
	}
	old, there := x.told(f, kind, c.ID)
	if there && old.rev > c.Rev {
		return false
	}
	if len(s.tombs) < maxTombs && s.tombs[c.ID].rev <= c.Rev {
		s.tombs[c.ID] = tomb{rev: c.Rev, at: now}
	}
	if !there {
		return false
	}
	f.streams[x.stream(kind, c.ID)].digest ^= old.hash(c.ID)
	delete(s.hidden, c.ID)
	delete(x.sharded, c.ID)
	x.queues[kind].Remove(c.ID)
	if x.heard != nil {
		x.heard(kind, c.ID, 0)
	}
	return true
}

// told returns what f last told of a request. x.mu is held.
func (x *index) told(f *feed, kind horde.Kind, id horde.RequestID) (mark, bool) {
	if m, ok := f.streams[kind].hidden[id]; ok {
		return m, true
	}
	if teller, ok := x.queues[kind].Teller(id); !ok || teller != f.tag {
		return mark{}, false
	}
	rev, open, ok := x.queues[kind].Revision(id)
	return mark{rev: rev, open: int32(open)}, ok
}

// evict takes an offer out of the feed that told it, if that is not f: f has taken the request
// over. x.mu is held.
func (x *index) evict(f *feed, kind horde.Kind, id horde.RequestID) {
	teller, ok := x.queues[kind].Teller(id)
	if !ok || teller == f.tag {
		return
	}
	if old := x.feeds[teller]; old != nil {
		if m, ok := x.told(old, kind, id); ok {
			old.streams[x.stream(kind, id)].digest ^= m.hash(id)
		}
	}
	delete(x.sharded, id)
	x.queues[kind].Remove(id)
}

// hide takes offers out that proved to be gone, until their home tells of them again.
func (x *index) hide(kind horde.Kind, ids ...horde.RequestID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	q := x.queue(kind)
	if q == nil {
		return
	}
	for _, id := range ids {
		rev, open, ok := q.Revision(id)
		teller, _ := q.Teller(id)
		f := x.feeds[teller]
		if !ok || f == nil {
			continue
		}
		f.streams[kind].hidden[id] = mark{rev: rev, open: int32(open)}
		q.Remove(id)
	}
}

// sweep forgets old tombs and homes that have been silent for too long; member tells which
// nodes are active members. It returns how many offers went with the homes.
func (x *index) sweep(now time.Time, self horde.HomeTag, member func(horde.NodeID) bool) (dropped int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for tag, f := range x.feeds {
		for k := range f.streams {
			for id, t := range f.streams[k].tombs {
				if now.Sub(t.at) > tombTTL {
					delete(f.streams[k].tombs, id)
				}
			}
		}
		if tag == self || now.Sub(f.heard) <= feedTTL && member(f.node) {
			continue
		}
		for _, q := range x.queues {
			dropped += q.HomeLen(tag)
		}
		x.forget(f)
		delete(x.feeds, tag)
	}
	return dropped
}
