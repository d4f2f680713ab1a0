package exchange

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
)

// shelf is a relay in memory; hand delivers what is on it, in order.
type shelf struct {
	mu    sync.Mutex
	items []shelved
	facts map[horde.UUID][]byte
}

type shelved struct {
	home    horde.HomeTag
	group   horde.UUID
	what    string
	data    []byte
	vouched bool
}

func (s *shelf) Keep(home horde.HomeTag, group horde.UUID, what string, data []byte, vouched bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, shelved{home, group, what, data, vouched})
	return nil
}

func (s *shelf) Kept(group horde.UUID, what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.items, func(x shelved) bool { return x.group == group && x.what == what })
}

func (s *shelf) Waits(group horde.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.items, func(x shelved) bool { return x.group == group })
}

func (s *shelf) Note(id horde.UUID, fact []byte, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts[id] = fact
}

func (s *shelf) Fact(id horde.UUID) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.facts[id]
	return f, ok
}

func (s *shelf) list() (what []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.items {
		what = append(what, x.what)
	}
	return what
}

// hand delivers the items in order until one fails.
func (s *shelf) hand(f *federation, n *node) error {
	for {
		s.mu.Lock()
		if len(s.items) == 0 {
			s.mu.Unlock()
			return nil
		}
		x := s.items[0]
		s.mu.Unlock()
		if err := n.Deliver(f.ctx, x.home, x.data); err != nil {
			return err
		}
		s.mu.Lock()
		s.items = s.items[1:]
		s.mu.Unlock()
	}
}

// relayed is a federation of a and b in which b keeps things, and a job of a that was popped
// at b.
func relayed(t *testing.T) (f *federation, a, b *node, s *shelf, job horde.JobID) {
	f = federate(t, "a", "b")
	a, b, s = f.nodes["a"], f.nodes["b"], &shelf{facts: map[horde.UUID][]byte{}}
	b.relay = s
	settle(time.Second)
	id := a.ask(alice)
	within(t, time.Second, "the offer at b", func() bool { return b.sees(id) })
	g := f.pop(b, f.poll("w")).Grant
	if g == nil {
		t.Fatal("nothing was popped")
	}
	return f, a, b, s, g.Jobs[0]
}

func (f *federation) cutLink(away bool) {
	f.wire.set(func() { f.wire.cut[[2]horde.NodeID{"a", "b"}] = away })
}

func TestResultIsKeptForAHomeThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a, b, s, job := relayed(t)
		f.cutLink(true)
		sub := horde.Submission{Job: job, By: owner, Result: []byte("text"), State: "ok"}
		r, err := b.Submit(f.ctx, sub)
		if w, _ := f.ledger.WorkerByName("w"); err != nil || r.Worker != w.ID || r.Reward != blindReward {
			t.Errorf("Submit = %+v, %v; want a receipt for the worker", r, err)
		}
		if _, err := b.Submit(f.ctx, sub); !errors.Is(err, horde.RCDuplicateGen) {
			t.Errorf("the same again = %v, want %v", err, horde.RCDuplicateGen)
		}
		sub.By = alice
		if _, err := b.Submit(f.ctx, sub); !errors.Is(err, horde.RCWrongCredentials) {
			t.Errorf("by somebody else = %v, want %v", err, horde.RCWrongCredentials)
		}
		if b.Reachable(f.ctx, a.tag) || s.hand(f, b) == nil || len(s.items) != 1 || !s.items[0].vouched {
			t.Errorf("kept %v while the home is away, want one item that is vouched for", s.list())
		}
		f.cutLink(false)
		if !b.Reachable(f.ctx, a.tag) {
			t.Error("the home is not reachable after the cut")
		}
		// The home refuses: nobody is to blame, and it is not tried again.
		if err := s.hand(f, b); err != nil || len(s.items) != 0 {
			t.Errorf("delivery = %v with %v left, want a refusal to be final", err, s.list())
		}
	})
}

func TestWhatNobodyVouchesFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, b, s, job := relayed(t)
		other := job
		other.UUID[15]++ // popped elsewhere, or made up
		f.cutLink(true)
		if _, err := b.Submit(f.ctx, horde.Submission{Job: other, By: bob}); !errors.Is(err, horde.RCUnavailable) || len(s.list()) != 0 {
			t.Errorf("Submit by a user without workers = %v, kept %v; want %v and nothing", err, s.list(), horde.RCUnavailable)
		}
		r, err := b.Submit(f.ctx, horde.Submission{Job: other, By: owner})
		if err != nil || r.Reward != blindReward || len(s.items) != 1 || s.items[0].vouched {
			t.Errorf("Submit by a user with a worker = %+v, %v; want it kept, not vouched for", r, err)
		}
	})
}

func TestResultWaitsBehindItsImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a, b, s, job := relayed(t)
		a.home.receipt = horde.Receipt{Worker: horde.WorkerID{UUID: horde.UUID{1}}, Reward: 5}
		f.cutLink(true)
		for range 2 { // an upload may be repeated
			if err := b.PutBlob(f.ctx, job.String(), []byte("picture")); err != nil {
				t.Fatalf("PutBlob with the home away = %v", err)
			}
		}
		f.cutLink(false)
		if _, err := b.Submit(f.ctx, horde.Submission{Job: job, By: owner, Result: []byte("R2")}); err != nil {
			t.Fatalf("Submit = %v", err)
		}
		if got, want := s.list(), []string{keptBlob + job.String(), keptSubmit}; !slices.Equal(got, want) {
			t.Errorf("kept %v, want %v: the home would refuse a result without its image", got, want)
		}
		if err := s.hand(f, b); err != nil {
			t.Errorf("delivery = %v", err)
		}
		if got, err := a.Blob(f.ctx, job.String()); err != nil || string(got) != "picture" {
			t.Errorf("image at its home = %q, %v", got, err)
		}
	})
}

func TestCancelIsKeptForAHomeThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a, b, s, _ := relayed(t)
		id := a.ask(alice)
		within(t, time.Second, "the offer at b", func() bool { return b.sees(id) })
		forgotten, _ := a.NewRequestID()
		f.cutLink(true)
		for range 2 {
			if st, err := b.Cancel(f.ctx, id); err != nil || st.Waiting != 1 || st.Kind != horde.KindText {
				t.Errorf("Cancel = %+v, %v; want what the home last told", st, err)
			}
		}
		if _, err := b.Cancel(f.ctx, forgotten); !errors.Is(err, horde.RCUnavailable) {
			t.Errorf("Cancel of what b has not heard of = %v, want %v", err, horde.RCUnavailable)
		}
		if got := s.list(); !slices.Equal(got, []string{keptCancel, keptCancel}) {
			t.Errorf("kept %v, want one cancellation of each", got)
		}
		f.cutLink(false)
		if err := s.hand(f, b); err != nil {
			t.Errorf("delivery = %v", err)
		}
		if st, err := a.Status(f.ctx, id, false); err != nil || st.Waiting != 0 {
			t.Errorf("status at the home = %+v, %v; want it cancelled", st, err)
		}
	})
}

// perThing pays a kudo for each thing.
type perThing struct{}

func (perThing) Price(r *horde.Request, _, _ string, trusted bool, _ []byte, _ bool) horde.Price {
	return horde.Price{Reward: float64(r.Things)}
}

func TestReckon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a")
		e := f.nodes["a"].Exchange
		e.pricer = perThing{}
		worker := horde.WorkerID{UUID: horde.UUID{1}}
		granted := e.now().Add(-10 * time.Second).UnixMilli()
		terms := &horde.Terms{Things: 80}
		for _, tt := range []struct {
			name string
			fact leaseFact
			sub  horde.Submission
			want horde.Receipt
		}{
			{"a text", leaseFact{Kind: horde.KindText, Terms: terms}, horde.Submission{State: "ok"}, horde.Receipt{Reward: 80, Speed: 8}},
			{"a form has no speed", leaseFact{Kind: horde.KindAlchemy, Terms: terms}, horde.Submission{State: "ok"}, horde.Receipt{Reward: 80}},
			{"given up", leaseFact{Kind: horde.KindText, Terms: terms}, horde.Submission{State: "faulted"}, horde.Receipt{}},
			{"a censored image is no failure", leaseFact{Kind: horde.KindImage, Terms: terms},
				horde.Submission{State: "faulted", Metadata: []horde.Metadata{{Type: "censorship", Value: "nsfw"}}}, horde.Receipt{Reward: 80, Speed: 8}},
			{"a home that told no terms", leaseFact{Kind: horde.KindText}, horde.Submission{State: "ok"}, horde.Receipt{Reward: blindReward}},
		} {
			tt.fact.Worker, tt.fact.Granted = worker, granted
			tt.want.Worker, tt.want.Kind = worker, tt.fact.Kind
			if got := e.reckon(&tt.fact, &tt.sub); got != tt.want {
				t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
			}
		}
	})
}
