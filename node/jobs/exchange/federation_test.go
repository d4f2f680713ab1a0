package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/jobs/match"
)

const (
	owner = horde.UserID(7)
	alice = horde.UserID(8)
	bob   = horde.UserID(9)
)

// federation is some nodes over a network in memory and one ledger that all of them see.
// Use it in a synctest bubble.
type federation struct {
	t      *testing.T
	ctx    context.Context
	ledger *fakeLedger
	wire   *wire
	nodes  map[string]*node
}

type node struct {
	*Exchange
	home   *fakeHome
	stop   func()
	uptime []horde.Uptime
	mu     sync.Mutex
}

// federate runs nodes of the given names until the test ends.
func federate(t *testing.T, names ...string) *federation {
	f := &federation{
		t: t, ctx: t.Context(), ledger: newFakeLedger(),
		wire:  &wire{nodes: map[horde.NodeID]*Exchange{}, cut: map[[2]horde.NodeID]bool{}},
		nodes: map[string]*node{},
	}
	for _, name := range names {
		f.ledger.members = append(f.ledger.members, horde.Member{ID: horde.NodeID(name), Name: name, Active: true})
	}
	for _, name := range names {
		f.start(name)
	}
	t.Cleanup(func() {
		for _, n := range f.nodes {
			n.stop()
		}
	})
	return f
}

// start starts a node (again) and connects it to all that run.
func (f *federation) start(name string) *node {
	f.t.Helper()
	id := horde.NodeID(name)
	home := &fakeHome{tag: id.Tag(), requests: map[horde.RequestID]*horde.Offer{}, nonces: map[[16]byte]horde.Answer{}, active: map[horde.UserID]map[horde.Kind][]horde.RequestID{}}
	if old := f.nodes[name]; old != nil {
		home = old.home
	}
	n := &node{home: home}
	e, err := New(Config{
		Self: id, Home: home, Blobs: &fakeBlobs{blobs: map[string][]byte{}}, Ledger: f.ledger, Network: endpoint{f.wire, id}, Follower: endpoint{f.wire, id}, Models: noModels{},
		Now: time.Now, Rand: &lockedRand{r: rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%32s", name))))},
		Log: slog.New(slog.DiscardHandler),
		Outbox: func(cmd []byte) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			u, err := decode[horde.Uptime](cmd)
			n.uptime = append(n.uptime, *u)
			return err
		},
		UptimeReward: func(_ horde.Kind, c horde.Caps) horde.Kudos { return horde.Whole(int64(len(c.Models))) },
	})
	if err != nil {
		f.t.Fatal(err)
	}
	n.Exchange = e
	home.watch(e)
	f.nodes[name] = n
	ctx, cancel := context.WithCancel(f.ctx)
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		f.wire.leave(id)
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("Run of %s = %v, want nil", name, err)
		}
	})
	f.wire.join(e)
	return n
}

// settle lets the nodes talk for a while.
func settle(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

// within fails unless cond becomes true in d of the bubble's clock.
func within(t *testing.T, d time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(d); ; {
		synctest.Wait()
		if cond() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// offered counts the offers that a node sees.
func (n *node) offered(kind horde.Kind) int {
	n.index.mu.RLock()
	defer n.index.mu.RUnlock()
	return n.index.queues[kind].Len()
}

func (n *node) sees(id horde.RequestID) bool {
	n.index.mu.RLock()
	defer n.index.mu.RUnlock()
	_, _, text := n.index.queues[horde.KindText].Revision(id)
	_, _, image := n.index.queues[horde.KindImage].Revision(id)
	return text || image
}

// ask opens a text request of a user at the node.
func (n *node) ask(user horde.UserID, change ...func(*horde.Offer)) horde.RequestID {
	id, err := n.NewRequestID()
	if err != nil {
		panic(err)
	}
	o := horde.Offer{
		ID: id, Rev: 1, Open: 1, Payer: user, Things: 80,
		Shape: horde.Shape{Kind: horde.KindText, Models: []string{"m"}, SlowOK: true, MaxLength: 80},
	}
	for _, c := range change {
		c(&o)
	}
	n.home.put(o)
	return id
}

// poll is a text poll of the owner's worker.
func (f *federation) poll(name string, change ...func(*horde.Pop)) horde.Pop {
	u, _ := f.ledger.User(owner)
	p := horde.Pop{User: u, Kind: horde.KindText, Name: name, Amount: 1, Caps: horde.Caps{
		BridgeAgent: "KoboldCppEmbedWorker:2:x", Models: []string{"m"}, MaxLength: 512, MaxContextLength: 4096, Threads: 1,
	}}
	for _, c := range change {
		c(&p)
	}
	return p
}

func (f *federation) pop(n *node, p horde.Pop) horde.PopResult {
	f.t.Helper()
	res, err := n.Pop(f.ctx, p)
	if err != nil {
		f.t.Fatalf("Pop of %s: %v", p.Name, err)
	}
	return res
}

// wire connects exchanges in one process.
type wire struct {
	mu    sync.Mutex
	nodes map[horde.NodeID]*Exchange
	cut   map[[2]horde.NodeID]bool
	drop  func(from, to horde.NodeID, topic string) bool // of gossip
	lose  func(to horde.NodeID, proto string) bool       // the answer, not the request
	calls map[string]int

	shards followers
}

var errAway = errors.New("unreachable")

func (w *wire) join(e *Exchange) {
	w.mu.Lock()
	others := slices.Collect(maps.Values(w.nodes))
	w.nodes[e.self] = e
	w.mu.Unlock()
	for _, o := range others {
		o.Connected(e.self)
		e.Connected(o.self)
	}
}

func (w *wire) leave(id horde.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.nodes, id)
}

func (w *wire) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *wire) reach(from, to horde.NodeID) *Exchange {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut[[2]horde.NodeID{from, to}] || w.cut[[2]horde.NodeID{to, from}] {
		return nil
	}
	return w.nodes[to]
}

type endpoint struct {
	*wire
	self horde.NodeID
}

func (p endpoint) Call(ctx context.Context, to horde.NodeID, proto string, req []byte) ([]byte, error) {
	e := p.reach(p.self, to)
	if e == nil {
		return nil, errAway
	}
	handle := map[string]func(context.Context, horde.NodeID, []byte) ([]byte, error){
		ProtoClaim: e.HandleClaim, ProtoJob: e.HandleJob, ProtoSync: e.HandleSync, ProtoBlob: e.HandleBlob,
	}[proto]
	select {
	case <-time.After(5 * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	res, err := handle(ctx, p.self, req)
	p.mu.Lock()
	if p.calls == nil {
		p.calls = map[string]int{}
	}
	p.calls[proto]++
	lost := p.lose != nil && p.lose(to, proto)
	p.mu.Unlock()
	if lost {
		return nil, errAway
	}
	return res, err
}

func (p endpoint) Publish(_ context.Context, topic string, data []byte) error {
	p.mu.Lock()
	drop := p.drop
	ids := slices.Collect(maps.Keys(p.nodes))
	p.mu.Unlock()
	for _, id := range ids {
		e := p.reach(p.self, id)
		if e == nil || drop != nil && drop(p.self, id, topic) {
			continue
		}
		switch topic {
		case TopicImage:
			if e.ValidateImage(p.self, data) == Accept {
				e.DeliverImage(p.self, data)
			}
		case TopicText:
			if e.ValidateText(p.self, data) == Accept {
				e.DeliverText(p.self, data)
			}
		case TopicAlchemy:
			if e.ValidateAlchemy(p.self, data) == Accept {
				e.DeliverAlchemy(p.self, data)
			}
		case TopicNews:
			if e.ValidateNews(p.self, data) == Accept {
				e.DeliverNews(p.self, data)
			}
		default:
			if !ShardTopic(topic) {
				return fmt.Errorf("topic %s", topic)
			}
			p.shards.publish(p.self, id, topic, data)
		}
	}
	return nil
}

// fakeHome hands out slots of offers.
type fakeHome struct {
	tag horde.HomeTag

	mu        sync.Mutex
	requests  map[horde.RequestID]*horde.Offer
	nonces    map[[16]byte]horde.Answer
	watcher   interface{ OfferChanged(horde.Offer) }
	blacklist map[horde.RequestID]bool
	claims    int
	active    map[horde.UserID]map[horde.Kind][]horde.RequestID
	receipt   horde.Receipt
}

func (h *fakeHome) watch(w interface{ OfferChanged(horde.Offer) }) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watcher = w
}

func (h *fakeHome) put(o horde.Offer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests[o.ID] = &o
	h.watcher.OfferChanged(o)
}

// end closes a request's slots.
func (h *fakeHome) end(id horde.RequestID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.requests[id]
	o.Open = 0
	o.Rev++
	h.watcher.OfferChanged(*o)
}

func (h *fakeHome) Offers() []horde.Offer {
	h.mu.Lock()
	defer h.mu.Unlock()
	var open []horde.Offer
	for _, o := range h.requests {
		if o.Open > 0 {
			open = append(open, *o)
		}
	}
	return open
}

func (h *fakeHome) Accept(_ context.Context, r horde.Request) (horde.Acceptance, error) {
	h.put(horde.Offer{ID: r.ID, Rev: 1, Open: r.Slots, Shape: r.Shape, Payer: r.Payer, Things: r.Things})
	return horde.Acceptance{ID: r.ID}, nil
}

func (h *fakeHome) Status(_ context.Context, id horde.RequestID, _ bool) (horde.Status, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.requests[id]
	if o == nil {
		return horde.Status{}, horde.Refuse(horde.RCRequestNotFound, "No such request.")
	}
	return horde.Status{Kind: o.Shape.Kind, Waiting: o.Open, Processing: o.Running}, nil
}

func (h *fakeHome) Cancel(ctx context.Context, id horde.RequestID) (horde.Status, error) {
	st, err := h.Status(ctx, id, false)
	if err == nil {
		h.end(id)
	}
	return st, err
}

func (h *fakeHome) Claim(_ context.Context, c horde.Claim) (horde.Answer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.claims++
	if a, ok := h.nonces[c.Nonce]; ok {
		return a, nil
	}
	var a horde.Answer
	for _, id := range c.Want {
		o := h.requests[id]
		switch {
		case o == nil || o.Open == 0:
			a.Gone = append(a.Gone, id)
			continue
		case h.blacklist[id]:
			if a.Skipped == nil {
				a.Skipped = map[string]int{}
			}
			a.Skipped["blacklist"]++
			continue
		}
		n := min(c.Amount, o.Open)
		o.Open -= n
		o.Running += n
		o.Rev++
		a.Grant = &horde.Grant{Request: id, Kind: o.Shape.Kind, Model: "m", TTL: 150}
		for i := range n {
			a.Grant.Jobs = append(a.Grant.Jobs, horde.JobID{UUID: horde.UUID(slices.Concat(h.tag[:], id.UUID[6:15], []byte{byte(i)}))})
		}
		h.watcher.OfferChanged(*o)
		break
	}
	h.nonces[c.Nonce] = a
	return a, nil
}

func (h *fakeHome) Submit(_ context.Context, s horde.Submission) (horde.Receipt, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.receipt.Worker.IsZero() {
		return horde.Receipt{}, horde.Refuse(horde.RCInvalidJobID, "No such job.")
	}
	return h.receipt, nil
}

func (h *fakeHome) Active(user horde.UserID) map[horde.Kind][]horde.RequestID {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ids := h.active[user]; ids != nil {
		return ids
	}
	ids := map[horde.Kind][]horde.RequestID{}
	for id, o := range h.requests {
		if o.Payer == user {
			ids[o.Shape.Kind] = append(ids[o.Shape.Kind], id)
		}
	}
	return ids
}

type fakeBlobs struct {
	mu    sync.Mutex
	blobs map[string][]byte
}

func (b *fakeBlobs) Put(_ context.Context, name string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blobs[name] = slices.Clone(data)
	return nil
}

func (b *fakeBlobs) Get(_ context.Context, name string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.blobs[name]
	if !ok {
		return nil, horde.Refuse(horde.RCRequestNotFound, "No such file.")
	}
	return data, nil
}

// fakeLedger is the state that all nodes share.
type fakeLedger struct {
	mu       sync.Mutex
	users    map[horde.UserID]horde.User
	workers  map[horde.WorkerID]horde.Worker
	members  []horde.Member
	syncErr  error
	refuse   error // of RegisterWorker
	standins map[horde.NodeID]horde.Standin
}

func newFakeLedger() *fakeLedger {
	l := &fakeLedger{users: map[horde.UserID]horde.User{}, workers: map[horde.WorkerID]horde.Worker{}}
	for id, name := range map[horde.UserID]string{horde.Anonymous: "Anonymous", owner: "owner", alice: "alice", bob: "bob"} {
		l.users[id] = horde.User{ID: id, Name: name, Class: horde.ClassRegistered, Kudos: horde.Whole(1000)}
	}
	return l
}

func (l *fakeLedger) addMember(m horde.Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members = append(l.members, m)
}

func (l *fakeLedger) User(id horde.UserID) (horde.User, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u, ok := l.users[id]
	return u, ok
}

func (l *fakeLedger) setWorker(name string, change func(*horde.Worker)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, w := range l.workers {
		if w.Name == name {
			change(&w)
			l.workers[id] = w
		}
	}
}

func (l *fakeLedger) Worker(id horde.WorkerID) (horde.Worker, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, ok := l.workers[id]
	return w, ok
}

func (l *fakeLedger) WorkerByName(name string) (horde.Worker, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.workers {
		if w.Name == name {
			return w, true
		}
	}
	return horde.Worker{}, false
}

func (l *fakeLedger) RegisterWorker(_ context.Context, n NewWorker) (horde.Worker, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		return horde.Worker{}, l.refuse
	}
	w := horde.Worker{
		ID: horde.WorkerID{UUID: horde.UUID{0xee, byte(len(l.workers))}}, Kind: n.Kind, Name: n.Name, Owner: n.Owner, Created: time.Now(),
	}
	l.workers[w.ID] = w
	return w, nil
}

func (l *fakeLedger) MemberByTag(tag horde.HomeTag) (horde.Member, bool) {
	for _, m := range l.Members() {
		if m.ID.Tag() == tag {
			return m, true
		}
	}
	return horde.Member{}, false
}

func (l *fakeLedger) Members() []horde.Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.members)
}

func (l *fakeLedger) Standin(id horde.NodeID) horde.Standin {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.standins[id]
}

func (l *fakeLedger) Sync(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.syncErr
}

func (l *fakeLedger) EncodeUptime(u horde.Uptime) []byte {
	b, err := encode(&u)
	if err != nil {
		panic(err)
	}
	return b
}

// noModels is an empty text reference and an image reference of two models.
type noModels struct{}

func (noModels) Image(name string) (match.ImageModel, bool) {
	return match.ImageModel{}, name == "sd" || name == "xl"
}
func (noModels) Parameters(string) (float64, bool) { return 1, false }

type lockedRand struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedRand) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(b)
}
