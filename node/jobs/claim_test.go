package jobs

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestClaimChoice(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(w *world, q *horde.Request, c *horde.Claim)
		granted bool
		gone    bool
		skipped map[string]int
	}{
		{name: "plain", granted: true},
		{name: "matcher says no", skipped: map[string]int{"nsfw": 1}, change: func(w *world, _ *horde.Request, _ *horde.Claim) {
			w.match = func(Candidate, *horde.Request, horde.User) string { return "nsfw" }
		}},
		{name: "matcher sees all", granted: true, change: func(w *world, q *horde.Request, c *horde.Claim) {
			q.Quote.Job = 5
			c.Speed = 3
			w.match = func(c Candidate, r *horde.Request, payer horde.User) string {
				if c.Worker.Owner != bob || c.Owner.ID != bob || payer.ID != alice || c.Speed != 3 || c.Caps.MaxPixels == 0 ||
					r.Quote.Job != 5 || r.Shape.Pixels == 0 || r.Payer != alice {
					return "blind"
				}
				return ""
			}
		}},
		{name: "maintenance", change: func(w *world, _ *horde.Request, _ *horde.Claim) {
			w.books.worker(1, bob, func(x *horde.Worker) { x.Maintenance = true })
		}},
		{name: "maintenance, its owner's request", granted: true, change: func(w *world, q *horde.Request, _ *horde.Claim) {
			w.books.worker(1, bob, func(x *horde.Worker) { x.Maintenance = true })
			q.Payer = bob
		}},
		{name: "paused, its owner's request", granted: true, change: func(w *world, q *horde.Request, _ *horde.Claim) {
			w.books.worker(1, bob, func(x *horde.Worker) { x.Paused = true })
			q.Payer = bob
		}},
		{name: "blacklisted word", skipped: map[string]int{"blacklist": 1}, change: func(_ *world, _ *horde.Request, c *horde.Claim) {
			c.Caps.Blacklist = []string{"x", "robot"}
		}},
		{name: "words that are not there", granted: true, change: func(_ *world, _ *horde.Request, c *horde.Claim) {
			c.Caps.Blacklist = []string{"x", ""}
		}},
		{name: "another kind", change: func(w *world, _ *horde.Request, _ *horde.Claim) {
			w.books.worker(1, bob, func(x *horde.Worker) { x.Kind = horde.KindText })
		}},
		{name: "unknown request", gone: true, change: func(_ *world, _ *horde.Request, c *horde.Claim) { c.Want[0].UUID[15]++ }},
		{name: "expired request", gone: true, change: func(w *world, q *horde.Request, _ *horde.Claim) {
			q.Created = w.now().Add(-expireAfter - 1)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			worker := w.books.worker(1, bob)
			q := w.image(1)
			c := horde.Claim{Worker: worker, Amount: 1, Want: []horde.RequestID{q.ID}, Caps: horde.Caps{MaxPixels: 1 << 24}}
			if tt.change != nil {
				tt.change(w, &q, &c)
			}
			w.accept(q)
			a := w.claimAs(c)
			if (a.Grant != nil) != tt.granted || (len(a.Gone) == 1) != tt.gone || !reflect.DeepEqual(a.Skipped, tt.skipped) {
				t.Errorf("Claim = %+v, want granted %v, gone %v, skipped %v", a, tt.granted, tt.gone, tt.skipped)
			}
			if a.Grant != nil && a.Grant.Fake {
				t.Error("the grant is a decoy")
			}
		})
	}
	t.Run("unknown worker", func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.Claim(context.Background(), horde.Claim{Amount: 1}); !errors.Is(err, horde.RCWorkerNotFound) {
			t.Errorf("Claim = %v", err)
		}
	})
	t.Run("the first that fits", func(t *testing.T) {
		w := newWorld(t)
		w.books.worker(1, bob)
		taken, bad, good := w.accept(w.image(1)), w.accept(w.image(1)), w.accept(w.image(1))
		w.granted(w.books.worker(1, bob), 1, taken)
		w.match = func(_ Candidate, r *horde.Request, _ horde.User) string {
			if r.ID == bad {
				return "models"
			}
			return ""
		}
		a := w.claim(w.books.worker(1, bob), 1, taken, bad, good)
		if a.Grant == nil || a.Grant.Request != good || !slices.Equal(a.Gone, []horde.RequestID{taken}) || a.Skipped["models"] != 1 {
			t.Errorf("Claim = %+v", a)
		}
	})
}

func TestBatch(t *testing.T) {
	for _, tt := range []struct {
		name   string
		text   bool
		open   int
		amount int
		pixels int64 // max_pixels
		change func(*horde.Request)
		want   int
	}{
		{name: "text takes what it asks for", text: true, open: 5, amount: 3, want: 3},
		{name: "no more than is open", text: true, open: 2, amount: 20, want: 2},
		{name: "an amount of nothing is one", text: true, open: 2, amount: 0, want: 1},
		{name: "images that fit", open: 10, amount: 5, pixels: 512 * 512 * 4, want: 5},
		{name: "max_pixels is for a batch of 3.5", open: 10, amount: 7, pixels: 512 * 512, want: 2},
		{name: "one always fits", open: 10, amount: 7, pixels: 64, want: 1},
		{name: "post-processing", open: 10, amount: 7, pixels: 512 * 512 * 2, want: 3, change: func(q *horde.Request) {
			q.Shape.PostProcessing = []string{"GFPGAN"} // 2/3.5*7/1.4 = 2.86
		}},
		{name: "heavy post-processing", open: 10, amount: 7, pixels: 512 * 512 * 2, want: 2, change: func(q *horde.Request) {
			q.Shape.PostProcessing = []string{"CodeFormers"} // 2/3.5*7/(1.4*1.8) = 1.59
		}},
		{name: "transparent", open: 10, amount: 7, pixels: 512 * 512 * 2, want: 2, change: func(q *horde.Request) {
			q.Shape.Transparent = true // 2/3.5*7/1.8 = 2.2
		}},
		{name: "no batching", open: 10, amount: 7, pixels: 1 << 30, want: 1, change: func(q *horde.Request) { q.NoBatch = true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			worker := w.books.worker(1, bob)
			q := w.image(tt.open)
			if tt.text {
				q = w.text(tt.open)
				w.books.worker(1, bob, func(x *horde.Worker) { x.Kind = horde.KindText })
			}
			if tt.change != nil {
				tt.change(&q)
			}
			w.accept(q)
			a := w.claimAs(horde.Claim{Worker: worker, Amount: tt.amount, Want: []horde.RequestID{q.ID}, Caps: horde.Caps{MaxPixels: tt.pixels}})
			if a.Grant == nil || len(a.Grant.Jobs) != tt.want || a.Grant.Remaining != tt.open {
				t.Fatalf("Claim = %+v, want %d jobs", a.Grant, tt.want)
			}
			w.want(q.ID, counts{waiting: tt.open - tt.want, processing: tt.want})
		})
	}
}

func TestModel(t *testing.T) {
	for _, tt := range []struct {
		name            string
		request, worker []string
		want            []string // all that may come, each comes
	}{
		{"what both name", []string{"a", "b", "c"}, []string{"x", "b", "c"}, []string{"b", "c"}},
		{"the request names none", nil, []string{"x", "y"}, []string{"x", "y"}},
		{"nothing in common", []string{"a"}, []string{"x"}, []string{"x"}},
		{"the worker names none", []string{"a"}, nil, []string{""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			got := map[string]bool{}
			for range 50 {
				m, err := w.pick(tt.request, tt.worker)
				if err != nil {
					t.Fatal(err)
				}
				got[m] = true
				if !slices.Contains(tt.want, m) {
					t.Fatalf("model %q, want one of %q", m, tt.want)
				}
			}
			if len(got) != len(tt.want) {
				t.Errorf("models %v, want %q", got, tt.want)
			}
		})
	}
}

// An extra slow worker gets three times the time, for images, and its request lives longer.
func TestLease(t *testing.T) {
	for _, tt := range []struct {
		name string
		text bool
		slow bool
		ttl  int
		last time.Duration // that the request is still there, after the pop
	}{
		{"image", false, false, 150, 20 * time.Minute},
		{"extra slow image", false, true, 450, 60 * time.Minute},
		{"text", true, false, 150, 20 * time.Minute},
		{"extra slow text", true, true, 150, 20 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			q := w.image(2)
			if tt.text {
				q = w.text(2)
			}
			worker := w.books.worker(1, bob, func(x *horde.Worker) { x.Kind = q.Kind })
			w.accept(q)
			w.pass(time.Minute)
			a := w.claimAs(horde.Claim{Worker: worker, Amount: 1, Want: []horde.RequestID{q.ID}, Caps: horde.Caps{MaxPixels: 1, ExtraSlow: tt.slow}})
			if a.Grant == nil || a.Grant.TTL != tt.ttl {
				t.Fatalf("Claim = %+v, want a ttl of %d", a.Grant, tt.ttl)
			}
			w.sweepAfter(seconds(tt.ttl))
			w.want(q.ID, counts{waiting: 1, processing: 1})
			w.sweepAfter(1)
			w.want(q.ID, counts{waiting: 2, restarted: 1})
			w.sweepAfter(tt.last - seconds(tt.ttl) - 1)
			w.want(q.ID, counts{waiting: 2, restarted: 1})
			w.sweepAfter(1)
			w.gone(q.ID)
			w.wantSent("AXF")
		})
	}
}

func TestNonce(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(3))
	w.books.worker(1, bob, func(x *horde.Worker) { x.Kind = horde.KindText })
	c := horde.Claim{Nonce: [16]byte{1}, Worker: worker, Amount: 1, Want: []horde.RequestID{id}}
	first := w.claimAs(c)
	again := w.claimAs(c)
	if !reflect.DeepEqual(first, again) || first.Grant == nil {
		t.Errorf("again = %+v, want %+v", again.Grant, first.Grant)
	}
	w.want(id, counts{waiting: 2, processing: 1})
	other := c
	other.Nonce[0]++
	if a := w.claimAs(other); a.Grant == nil || a.Grant.Jobs[0] == first.Grant.Jobs[0] {
		t.Errorf("another nonce = %+v", a.Grant)
	}
	stolen := c
	stolen.Worker = w.books.worker(2, bob)
	if a, err := w.Claim(context.Background(), stolen); !errors.Is(err, horde.RCBadRequest) {
		t.Errorf("the nonce from another worker = %+v, %v", a, err)
	}
	w.crash()
	if a := w.claimAs(c); !reflect.DeepEqual(first, a) {
		t.Errorf("after a crash = %+v, want %+v", a.Grant, first.Grant)
	}
	w.pass(150*time.Second + nonceKept)
	if a := w.claimAs(c); !reflect.DeepEqual(first, a) {
		t.Errorf("as late as can be = %+v, want %+v", a.Grant, first.Grant)
	}
	w.pass(1)
	if a := w.claimAs(c); a.Grant == nil || a.Grant.Jobs[0] == first.Grant.Jobs[0] {
		t.Errorf("too late = %+v, want another grant", a)
	}
}

// The same claim at the same time, as a node sends it that lost patience, is one claim.
func TestNonceAtOnce(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.image(8))
	var wg sync.WaitGroup
	answers := make([]horde.Answer, 8)
	for i := range answers {
		wg.Go(func() {
			answers[i] = w.claimAs(horde.Claim{Nonce: [16]byte{9}, Worker: worker, Amount: 1, Want: []horde.RequestID{id}})
		})
	}
	wg.Wait()
	for _, a := range answers {
		if !reflect.DeepEqual(a, answers[0]) {
			t.Errorf("answers differ: %+v and %+v", a.Grant, answers[0].Grant)
		}
	}
	w.want(id, counts{waiting: 7, processing: 1})
}

func TestDecoy(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob, func(x *horde.Worker) { x.Paused = true })
	id := w.accept(w.image(2))
	a := w.claim(worker, 2, id)
	if a.Grant == nil || !a.Grant.Fake || len(a.Grant.Jobs) != 1 || string(a.Grant.Body) == "" || a.Grant.TTL != 150 || a.Grant.Model != "m" {
		t.Fatalf("Claim = %+v, want a decoy", a)
	}
	w.want(id, counts{waiting: 2})
	if a := w.claim(worker, 1, id); a.Grant != nil || a.Skipped != nil || a.Gone != nil {
		t.Errorf("second Claim = %+v, want nothing", a)
	}
	w.crash()
	if a := w.claim(worker, 1, id); a.Grant != nil {
		t.Errorf("Claim after a crash = %+v, want nothing", a.Grant)
	}
	w.pass(time.Second)
	w.deliver(a.Grant.Jobs[0], bob)
	if _, err := w.submit(a.Grant.Jobs[0], bob, ""); !errors.Is(err, horde.RCDuplicateGen) {
		t.Errorf("second Submit = %v, want DuplicateGen", err)
	}
	w.want(id, counts{waiting: 2})
	if st := w.status(id); len(st.Generations) != 0 || st.Kudos != horde.Whole(1) {
		t.Errorf("status = %+v, want nothing of the decoy", st)
	}

	stale := w.claim(w.books.worker(2, bob, func(x *horde.Worker) { x.Paused = true }), 1, id).Grant.Jobs[0]
	gaveUp := w.claim(w.books.worker(3, bob, func(x *horde.Worker) { x.Paused = true }), 1, id).Grant.Jobs[0]
	if r, err := w.submit(gaveUp, bob, "faulted"); err != nil || r.Reward != 0 {
		t.Errorf("giving a decoy up = %+v, %v", r, err)
	}
	w.sweepAfter(151 * time.Second)
	w.want(id, counts{waiting: 2})
	if _, err := w.submit(stale, bob, ""); !errors.Is(err, horde.RCAbortedGen) {
		t.Errorf("Submit of a stale decoy = %v, want AbortedGen", err)
	}
	w.wantSent("A")
	for _, job := range w.granted(w.books.worker(4, bob), 2, id) {
		w.deliver(job, bob)
	}
	w.want(id, counts{finished: 2, done: true})
	w.wantSent("SSF")
	if c := w.Counters(); c.Decoys != 3 && c.Granted != 2 { // counters begin again after a crash
		t.Errorf("Counters = %+v", c)
	}
}

// Many at once never get the same slot.
func TestClaimAtOnce(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	ids := []horde.RequestID{w.accept(w.image(20)), w.accept(w.image(20))}
	var mu sync.Mutex
	seen := map[horde.JobID]bool{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				a := w.claim(worker, 3, ids...)
				if a.Grant == nil {
					return
				}
				for _, job := range a.Grant.Jobs {
					mu.Lock()
					if seen[job] {
						t.Errorf("job %s was handed out twice", job)
					}
					seen[job] = true
					mu.Unlock()
					w.deliver(job, bob)
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != 40 {
		t.Errorf("%d jobs were handed out, want 40", len(seen))
	}
	for _, id := range ids {
		w.want(id, counts{finished: 20, done: true})
	}
	w.send()
	if got, want := w.books.paid[bob], horde.Whole(400); got != want {
		t.Errorf("bob got %s, want %s", got, want)
	}
}
