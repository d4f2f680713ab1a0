package jobs

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
)

func TestCycle(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(2))
	w.want(id, counts{waiting: 2})
	w.wantSent("A")

	a := w.claim(worker, 1, id)
	g := a.Grant
	if g == nil || len(g.Jobs) != 1 || g.Model != "m" || g.TTL != 150 || g.Remaining != 2 || g.Fake ||
		string(g.Body) != "body of "+id.String() || g.Jobs[0].Home() != self.Tag() {
		t.Fatalf("Claim = %+v", a)
	}
	w.want(id, counts{waiting: 1, processing: 1})
	w.pass(4 * time.Second)
	got, err := w.Submit(context.Background(), horde.Submission{
		Job: g.Jobs[0], By: bob, Result: []byte("one\x00two"), Seed: 42, Metadata: []horde.Metadata{{Type: "information", Value: "see_ref", Ref: "x"}},
	})
	if want := (horde.Receipt{Reward: 10, Worker: worker, Speed: 2.3, Kind: horde.KindText, Things: 9}); err != nil || got != want { // in 4 s
		t.Errorf("Submit = %+v, %v, want %+v", got, err, want)
	}
	w.want(id, counts{waiting: 1, finished: 1})
	w.deliver(w.granted(worker, 5, id)[0], bob)
	w.want(id, counts{finished: 2, done: true})
	w.wantSent("SSF")
	if got, want := w.books.spent[alice], horde.Whole(1+11+11); got != want {
		t.Errorf("alice spent %s, want %s", got, want)
	}
	if got, want := w.books.paid[bob], horde.Whole(20); got != want {
		t.Errorf("bob got %s, want %s", got, want)
	}
	st := w.status(id)
	if st.Kudos != horde.Whole(23) || len(st.Generations) != 2 || string(st.Body) != "body of "+id.String() || st.Kind != horde.KindText {
		t.Fatalf("status = %+v", st)
	}
	first := st.Generations[0]
	if string(first.Result) != "one\uFFFDtwo" || first.Seed != 42 || first.ID != g.Jobs[0] || first.Worker != worker ||
		first.WorkerName != "worker 1" || first.Model != "m" || first.State != "ok" || first.Censored || len(first.Metadata) != 1 {
		t.Errorf("first generation = %+v", first)
	}
	if a := w.claim(worker, 1, id); a.Grant != nil || len(a.Gone) != 1 {
		t.Errorf("Claim of a done request = %+v, want it gone", a)
	}
}

func TestActiveAndOffers(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	text, image := w.accept(w.text(1)), w.accept(w.image(2))
	w.deliver(w.granted(worker, 1, text)[0], bob)
	active := w.Active(alice)
	if len(active) != 2 || len(active[horde.KindText]) != 1 || active[horde.KindText][0] != text || active[horde.KindImage][0] != image {
		t.Errorf("Active = %v", active)
	}
	if got := w.Active(bob); len(got) != 0 {
		t.Errorf("Active of somebody else = %v", got)
	}
	w.pass(3 * time.Second)
	offers := w.Offers()
	if len(offers) != 1 || offers[0].ID != image || offers[0].Open != 2 || offers[0].AgeMS != 3000 || offers[0].Things != 5_000_000 || offers[0].Shape.Pixels != 512*512 {
		t.Errorf("Offers = %+v", offers)
	}
	c := w.Counters()
	if c.Requests != 2 || c.Open != [3]int{2, 0, 0} || c.Running != [3]int{} || c.Accepted != 2 || c.Granted != 1 || c.Delivered != 1 || c.Outbox != 4 {
		t.Errorf("Counters = %+v", c)
	}
	w.sweepAfter(21 * time.Minute)
	if got := w.Active(alice); len(got) != 0 {
		t.Errorf("Active after expiry = %v", got)
	}
	if c := w.Counters(); c.Requests != 0 || c.Open != [3]int{} || c.Expired != 1 {
		t.Errorf("Counters after expiry = %+v", c)
	}
	if n := len(w.shapes.refs); n != 0 {
		t.Errorf("%d shapes are still kept", n)
	}
}

// Run sweeps by itself, and stops without an error.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBooks()
		h, err := Open(Config{Dir: dir, Self: self, Ledger: b, Pricer: flat{10},
			Matcher: func(Candidate, *horde.Request, horde.User) string { return "" }})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.Run(ctx) }()
		w := &world{t: t, books: b, watch: &watch{}, Home: h}
		worker := b.worker(1, bob)
		id := w.accept(w.text(1))
		job := w.granted(worker, 1, id)[0]
		time.Sleep(150 * time.Second) // the lease ends now
		synctest.Wait()
		if got := countsOf(w.status(id)); got != (counts{processing: 1}) {
			t.Errorf("before the sweep status = %+v", got)
		}
		time.Sleep(sweepEvery)
		synctest.Wait()
		if got := countsOf(w.status(id)); got != (counts{waiting: 1, restarted: 1}) {
			t.Errorf("after the sweep status = %+v", got)
		}
		if _, err := w.submit(job, bob, ""); !errors.Is(err, horde.RCAbortedGen) {
			t.Errorf("Submit after the sweep = %v", err)
		}
		time.Sleep(expireAfter)
		synctest.Wait()
		w.gone(id)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestWithdraw(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	image, text := w.accept(w.image(2)), w.accept(w.text(1))
	job := w.granted(worker, 1, image)[0]
	if n, err := w.Withdraw(context.Background(), horde.KindImage); err != nil || n != 1 {
		t.Errorf("Withdraw = %d, %v, want 1", n, err)
	}
	w.want(image, counts{processing: 1})
	w.want(text, counts{waiting: 1})
	w.deliver(job, bob)
	w.want(image, counts{finished: 1}) // and not done: half of it was never made
	w.crash()
	w.want(image, counts{finished: 1})
}
