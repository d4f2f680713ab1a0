package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// books is a ledger in memory: it keeps the rules that money depends on, and reports whatever
// a home sends that a ledger would refuse.
type books struct {
	mu      sync.Mutex
	users   map[horde.UserID]horde.User
	workers map[horde.WorkerID]horde.Worker
	refuse  error // of the next Admit
	holds   map[horde.RequestID]*hold
	closed  map[horde.RequestID]bool
	settled map[horde.JobID]bool
	paid    map[horde.UserID]horde.Kudos
	aborts  map[horde.WorkerID]int
	spent   map[horde.UserID]horde.Kudos
}

type hold struct {
	admission horde.Admission
	settled   map[int]bool
}

func newBooks() *books {
	return &books{
		users: map[horde.UserID]horde.User{}, workers: map[horde.WorkerID]horde.Worker{},
		holds: map[horde.RequestID]*hold{}, closed: map[horde.RequestID]bool{},
		paid: map[horde.UserID]horde.Kudos{}, spent: map[horde.UserID]horde.Kudos{}, aborts: map[horde.WorkerID]int{},
		settled: map[horde.JobID]bool{},
	}
}

func (b *books) User(id horde.UserID) (horde.User, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u, ok := b.users[id]
	return u, ok
}

func (b *books) Worker(id horde.WorkerID) (horde.Worker, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w, ok := b.workers[id]
	return w, ok
}

// worker makes the n-th worker, of the given owner, or changes it.
func (b *books) worker(n byte, owner horde.UserID, change ...func(*horde.Worker)) horde.WorkerID {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := horde.WorkerID{UUID: horde.UUID{n, 0, 0, 0, 0, 0, 0x40}}
	w, ok := b.workers[id]
	if !ok {
		w = horde.Worker{ID: id, Name: fmt.Sprintf("worker %d", n), Owner: owner}
	}
	for _, f := range change {
		f(&w)
	}
	b.workers[id] = w
	b.users[owner] = horde.User{ID: owner}
	return id
}

func (b *books) Admit(_ context.Context, a horde.Admission) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuse; err != nil {
		b.refuse = nil
		return err
	}
	b.holds[a.Request] = &hold{admission: a, settled: map[int]bool{}}
	return nil
}

func (b *books) EncodeAdmission(a horde.Admission) []byte { return append([]byte{'A'}, marshal(a)...) }
func (b *books) EncodeSettlement(s horde.Settlement) []byte {
	return append([]byte{'S'}, marshal(s)...)
}
func (b *books) EncodeFinish(f horde.Finish) []byte { return append([]byte{'F'}, marshal(f)...) }
func (b *books) EncodeAbort(a horde.Abort) []byte   { return append([]byte{'X'}, marshal(a)...) }

func (b *books) EncodeTooFast(id horde.WorkerID) []byte {
	return append([]byte{'T'}, id.UUID[:]...)
}

// apply does what an outbox item says.
func (b *books) apply(data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch data[0] {
	case 'A':
		var a horde.Admission
		if err := decMode.Unmarshal(data[1:], &a); err != nil {
			return err
		}
		if b.holds[a.Request] != nil || b.closed[a.Request] {
			return fmt.Errorf("request %s is admitted twice", a.Request)
		}
		b.holds[a.Request] = &hold{admission: a, settled: map[int]bool{}}
		b.spent[a.Payer] += a.Tax
	case 'S':
		var s horde.Settlement
		if err := decMode.Unmarshal(data[1:], &s); err != nil {
			return err
		}
		h := b.holds[s.Request]
		switch {
		case h == nil:
			return fmt.Errorf("settlement of request %s, which is not open", s.Request)
		case s.Slot < 0 || s.Slot >= h.admission.Slots:
			return fmt.Errorf("settlement of slot %d of %d", s.Slot, h.admission.Slots)
		case h.settled[s.Slot]:
			return fmt.Errorf("slot %d of %s is settled twice", s.Slot, s.Request)
		}
		h.settled[s.Slot] = true
		b.settled[s.Job] = true
		b.paid[b.workers[s.Worker].Owner] += s.Credit
		b.spent[h.admission.Payer] += s.Debit
	case 'F':
		var f horde.Finish
		if err := decMode.Unmarshal(data[1:], &f); err != nil {
			return err
		}
		if b.holds[f.Request] == nil {
			return fmt.Errorf("finish of request %s, which is not open", f.Request)
		}
		delete(b.holds, f.Request)
		b.closed[f.Request] = true
	case 'X':
		var a horde.Abort
		if err := decMode.Unmarshal(data[1:], &a); err != nil {
			return err
		}
		b.aborts[a.Worker]++
	case 'T':
	default:
		return fmt.Errorf("unknown command %q", data[0])
	}
	return nil
}

// flat is a price list with one price.
type flat struct{ reward float64 }

// TooFast finds one rule broken above 10 million things per second.
func (flat) TooFast(_ *horde.Request, _ string, speed float64) int {
	if speed > 10_000_000 {
		return 1
	}
	return 0
}

func (f flat) Price(r *horde.Request, _, _ string, _ bool, result []byte, censored bool) horde.Price {
	p := horde.Price{Reward: f.reward, Credit: horde.RoundKudos(f.reward), Debit: horde.RoundKudos(f.reward + 1), Things: r.Things}
	if censored {
		p.Debit = horde.Whole(1)
	}
	if r.Kind == horde.KindText {
		p.Things = int64(len(result))
	}
	return p
}

// watch remembers the newest offer of each request.
type watch struct {
	mu     sync.Mutex
	offers map[horde.RequestID]horde.Offer
}

func (w *watch) OfferChanged(o horde.Offer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.offers == nil {
		w.offers = map[horde.RequestID]horde.Offer{}
	}
	if o.Rev > w.offers[o.ID].Rev {
		w.offers[o.ID] = o
	}
}

func (w *watch) offer(id horde.RequestID) horde.Offer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.offers[id]
}

// shelf remembers which blobs were put and which were deleted.
type shelf struct {
	mu      sync.Mutex
	held    map[string]bool
	deleted map[horde.UUID]bool
}

func (s *shelf) put(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[string]bool{}
	}
	s.held[name] = true
}

func (s *shelf) Put(_ context.Context, name string, _ []byte) error {
	s.put(name)
	return nil
}

func (s *shelf) Has(_ context.Context, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[name]
}

func (s *shelf) DeleteAll(_ context.Context, id horde.UUID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted == nil {
		s.deleted = map[horde.UUID]bool{}
	}
	s.deleted[id] = true
	return nil
}

// A world is a home and all around it, with a clock that stands still.
type world struct {
	t     tb
	dir   string
	books *books
	watch *watch
	shelf *shelf
	match Matcher
	mu    sync.Mutex
	clock time.Time
	rand  *rand.ChaCha8
	// atOnce is Config's.
	atOnce int
	*Home
}

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

const self horde.NodeID = "node under test"

const (
	alice horde.UserID = 7
	bob   horde.UserID = 8
)

func newWorld(t testing.TB) *world {
	t.Helper()
	w := worldIn(t, t.TempDir())
	t.Cleanup(func() { w.Close() })
	return w
}

func worldIn(t tb, dir string) *world {
	t.Helper()
	w := &world{
		t: t, dir: dir, books: newBooks(), watch: &watch{}, shelf: &shelf{},
		match: func(Candidate, *horde.Request, horde.User) string { return "" },
		clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), rand: rand.NewChaCha8([32]byte{1}),
	}
	w.books.users[alice] = horde.User{ID: alice}
	w.books.users[bob] = horde.User{ID: bob}
	w.open(w.dir)
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) open(dir string) {
	w.t.Helper()
	h, err := Open(Config{
		Dir: dir, Self: self, Ledger: w.books, Pricer: flat{10}, Watcher: w.watch, Blobs: w.shelf,
		Matcher: func(c Candidate, r *horde.Request, payer horde.User) string { return w.match(c, r, payer) },
		Now:     w.now, Rand: w.rand, atOnce: w.atOnce,
	})
	if err != nil {
		w.t.Fatalf("Open: %v", err)
	}
	w.Home = h
}

// sweepAfter lets time pass and sweeps.
func (w *world) sweepAfter(d time.Duration) {
	w.t.Helper()
	w.pass(d)
	if err := w.Sweep(context.Background(), w.now()); err != nil {
		w.t.Fatalf("Sweep: %v", err)
	}
}

// text returns a request for texts, image one for images.
func (w *world) text(slots int) horde.Request {
	w.t.Helper()
	id, err := horde.NewRequestID(self.Tag(), w.Home.rand)
	if err != nil {
		w.t.Fatal(err)
	}
	return horde.Request{
		ID: id, Kind: horde.KindText, Payer: alice, Slots: slots, Things: 80, TTL: 150,
		Quote: horde.Quote{Tax: horde.Whole(1)}, Body: []byte("body of " + id.String()),
		Shape: horde.Shape{Kind: horde.KindText, Models: []string{"m"}, MaxLength: 80},
	}
}

func (w *world) image(slots int) horde.Request {
	w.t.Helper()
	q := w.text(slots)
	q.Kind, q.Things, q.Search = horde.KindImage, 5_000_000, "a horde of robots"
	q.Shape = horde.Shape{Kind: horde.KindImage, Models: []string{"m"}, Pixels: 512 * 512}
	return q
}

// alchemy returns a request for forms.
func (w *world) alchemy(names ...string) horde.Request {
	w.t.Helper()
	q := w.text(len(names))
	q.Kind, q.Things, q.TTL, q.Quote = horde.KindAlchemy, 1, 180, horde.Quote{}
	q.Shape = horde.Shape{Kind: horde.KindAlchemy, Tiles: 1}
	for _, name := range names {
		q.Forms = append(q.Forms, horde.Form{Name: name, Price: horde.Whole(10)})
		q.Shape.Models = append(q.Shape.Models, name)
	}
	slices.Sort(q.Shape.Models)
	q.Shape.Models = slices.Compact(q.Shape.Models)
	return q
}

func (w *world) accept(q horde.Request) horde.RequestID {
	w.t.Helper()
	a, err := w.Accept(context.Background(), q)
	if err != nil || a.ID != q.ID {
		w.t.Fatalf("Accept = %v, %v", a, err)
	}
	return q.ID
}

// claim asks for jobs as a worker that can do all, of any kind.
func (w *world) claim(worker horde.WorkerID, amount int, want ...horde.RequestID) horde.Answer {
	w.t.Helper()
	if r, ok := w.request(want[0]); ok {
		w.books.mu.Lock()
		x := w.books.workers[worker]
		x.Kind = r.kind
		w.books.workers[worker] = x
		w.books.mu.Unlock()
	}
	return w.claimAs(horde.Claim{
		Worker: worker, Amount: amount, Want: want,
		Caps: horde.Caps{BridgeAgent: "b:1:x", Models: []string{"m"}, MaxPixels: 1 << 24},
	})
}

func (w *world) claimAs(c horde.Claim) horde.Answer {
	w.t.Helper()
	a, err := w.Claim(context.Background(), c)
	if err != nil {
		w.t.Fatalf("Claim: %v", err)
	}
	return a
}

// granted claims one batch and insists on it.
func (w *world) granted(worker horde.WorkerID, amount int, want ...horde.RequestID) []horde.JobID {
	w.t.Helper()
	a := w.claim(worker, amount, want...)
	if a.Grant == nil {
		w.t.Fatalf("Claim = %+v, want a grant", a)
	}
	return a.Grant.Jobs
}

func (w *world) submit(job horde.JobID, by horde.UserID, state string) (horde.Receipt, error) {
	return w.Submit(context.Background(), horde.Submission{Job: job, By: by, Result: []byte("result of " + job.String()), State: state, Seed: 3})
}

// deliver submits and insists on a reward.
func (w *world) deliver(job horde.JobID, by horde.UserID) {
	w.t.Helper()
	if got, err := w.submit(job, by, ""); err != nil || got.Reward != 10 {
		w.t.Fatalf("Submit = %+v, %v, want a reward of 10", got, err)
	}
}

func (w *world) status(id horde.RequestID) horde.Status {
	w.t.Helper()
	st, err := w.Status(context.Background(), id, true)
	if err != nil {
		w.t.Fatalf("Status: %v", err)
	}
	return st
}

// counts is the part of a status that most tests look at.
type counts struct {
	waiting, processing, finished, restarted int
	done, faulted                            bool
}

func countsOf(st horde.Status) counts {
	return counts{st.Waiting, st.Processing, st.Finished, st.Restarted, st.Done, st.Faulted}
}

func (w *world) want(id horde.RequestID, want counts) {
	w.t.Helper()
	if got := countsOf(w.status(id)); got != want {
		w.t.Errorf("status = %+v, want %+v", got, want)
	}
	if o := w.watch.offer(id); o.Open != want.waiting || o.Running != want.processing {
		w.t.Errorf("offer says %d open, %d running, want %d, %d", o.Open, o.Running, want.waiting, want.processing)
	}
}

// gone checks that a request is not here any more.
func (w *world) gone(id horde.RequestID) {
	w.t.Helper()
	if st, err := w.Status(context.Background(), id, true); !errors.Is(err, horde.RCRequestNotFound) {
		w.t.Errorf("Status = %+v, %v, want RequestNotFound", st, err)
	}
	if o := w.watch.offer(id); o.Open != 0 {
		w.t.Errorf("offer says %d open, want it closed", o.Open)
	}
}

// send brings the outbox to the books and returns the kinds of commands in it.
func (w *world) send() string {
	w.t.Helper()
	sent := ""
	for {
		items, err := w.Outbox().Pending(0, 100)
		if err != nil {
			w.t.Fatalf("Pending: %v", err)
		}
		if len(items) == 0 {
			return sent
		}
		for _, it := range items {
			sent += string(it.Data[:1])
			if err := w.books.apply(it.Data); err != nil {
				w.t.Errorf("item %d: %v", it.N, err)
			}
		}
		if err := w.Outbox().Done(items[len(items)-1].N); err != nil {
			w.t.Fatalf("Done: %v", err)
		}
	}
}

func (w *world) wantSent(want string) {
	w.t.Helper()
	if got := w.send(); got != want {
		w.t.Errorf("outbox has %q, want %q", got, want)
	}
}
