package jobs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// forms claims forms by their names, as an alchemist that does nothing else.
func (w *world) forms(worker horde.WorkerID, amount int, id horde.RequestID, served ...string) horde.Answer {
	w.t.Helper()
	w.books.mu.Lock()
	x := w.books.workers[worker]
	x.Kind = horde.KindAlchemy
	w.books.workers[worker] = x
	w.books.mu.Unlock()
	return w.claimAs(horde.Claim{
		Worker: worker, Amount: amount, Want: []horde.RequestID{id},
		Caps: horde.Caps{BridgeAgent: "b:1:x", Models: served, MaxTiles: 80},
	})
}

// wantForms checks the states of all forms and what others are told of the request.
func (w *world) wantForms(id horde.RequestID, want string, offered ...string) {
	w.t.Helper()
	var got []string
	for _, f := range w.status(id).Forms {
		got = append(got, f.Name+" "+string(f.State))
	}
	if s := strings.Join(got, ", "); s != want {
		w.t.Errorf("forms are %q, want %q", s, want)
	}
	if o := w.watch.offer(id); !slices.Equal(o.Shape.Models, offered) && (o.Open > 0 || len(offered) > 0) {
		w.t.Errorf("offer names %v with %d open, want %v", o.Shape.Models, o.Open, offered)
	}
}

func TestFormsGoToDifferentWorkers(t *testing.T) {
	w := newWorld(t)
	one, two := w.books.worker(1, bob), w.books.worker(2, alice)
	id := w.accept(w.alchemy("caption", "nsfw", "caption"))
	w.wantForms(id, "caption waiting, nsfw waiting, caption waiting", "caption", "nsfw")

	first := w.forms(one, 5, id, "caption").Grant
	if first == nil || !slices.Equal(first.Slots, []int{0, 2}) || len(first.Jobs) != 2 {
		t.Fatalf("grant = %+v, want the two captions", first)
	}
	w.wantForms(id, "caption processing, nsfw waiting, caption processing", "nsfw")
	if a := w.forms(one, 1, id, "caption"); a.Grant != nil || len(a.Gone) > 0 {
		t.Errorf("claim of a form that is taken = %+v, want nothing: another one is still open", a)
	}
	second := w.forms(two, 1, id, "caption", "nsfw").Grant
	if second == nil || !slices.Equal(second.Slots, []int{1}) {
		t.Fatalf("grant = %+v, want the nsfw form", second)
	}
	if a := w.forms(two, 1, id, "caption", "nsfw"); a.Grant != nil || len(a.Gone) != 1 {
		t.Errorf("claim of a request without open forms = %+v, want gone", a)
	}

	w.pass(2500 * time.Millisecond)
	got, err := w.submit(first.Jobs[1], bob, "csam") // whatever its state, it is delivered
	if err != nil || got.Reward != 10 || got.Speed != 2.5 {
		t.Errorf("Submit = %+v, %v, want a reward of 10 and 2.5 seconds", got, err)
	}
	w.wantForms(id, "caption processing, nsfw processing, caption done")
	if st := w.status(id); st.Forms[2].Job != first.Jobs[1] || len(st.Generations) != 1 || st.Generations[0].Model != "caption" {
		t.Errorf("status = %+v, want the result of the third form", st)
	}
	w.crash()
	w.wantForms(id, "caption processing, nsfw processing, caption done")
	w.deliver(first.Jobs[0], bob)
	w.deliver(second.Jobs[0], alice)
	w.wantForms(id, "caption done, nsfw done, caption done")
	w.wantSent("ASSSF")
}

func TestFormFaultsByItself(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.alchemy("caption", "nsfw"))
	for n := range maxFormFaults {
		w.wantForms(id, "caption waiting, nsfw waiting", "caption", "nsfw")
		job := w.forms(worker, 1, id, "caption").Grant.Jobs[0]
		if n%2 == 0 { // too slow
			w.sweepAfter(181 * time.Second)
			if _, err := w.submit(job, bob, ""); !errors.Is(err, horde.RCDuplicateGen) {
				t.Errorf("late Submit = %v, want DuplicateGen", err)
			}
		} else if _, err := w.submit(job, bob, stateFaulted); err != nil {
			t.Fatal(err)
		}
	}
	w.wantForms(id, "caption faulted, nsfw waiting", "nsfw")
	w.crash()
	w.wantForms(id, "caption faulted, nsfw waiting", "nsfw")
	w.deliver(w.forms(worker, 1, id, "nsfw").Grant.Jobs[0], bob)
	w.wantForms(id, "caption faulted, nsfw done")
	w.wantSent("AXXXXSF")
	if _, err := w.Cancel(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	w.wantForms(id, "caption cancelled, nsfw done")
	w.wantSent("")
}

func TestCancelledFormsInFlightArePaid(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.alchemy("caption", "nsfw", "palette"))
	job := w.forms(worker, 1, id, "nsfw").Grant.Jobs[0]
	w.deliver(w.forms(worker, 1, id, "palette").Grant.Jobs[0], bob)
	for range 2 {
		if _, err := w.Cancel(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		w.wantForms(id, "caption cancelled, nsfw cancelled, palette done")
		w.crash()
	}
	if _, err := w.submit(job, bob, ""); !errors.Is(err, horde.RCDuplicateGen) {
		t.Errorf("Submit after the cancellation = %v, want DuplicateGen", err)
	}
	w.wantSent("ASSF")
	if got, want := w.books.paid[bob], horde.Whole(20); got != want {
		t.Errorf("the worker earned %v, want %v", got, want)
	}
	if got, want := w.books.spent[alice], horde.Whole(22); got != want {
		t.Errorf("the payer spent %v, want %v", got, want)
	}
	w.sweepAfter(time.Hour)
	w.gone(id)
	w.wantSent("")
}

// A paused alchemist gets real forms: there are no decoys.
func TestPausedAlchemist(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob, func(x *horde.Worker) { x.Paused = true })
	id := w.accept(w.alchemy("caption"))
	g := w.forms(worker, 1, id, "caption").Grant
	if g == nil || g.Fake {
		t.Fatalf("grant = %+v, want a real one", g)
	}
	w.deliver(g.Jobs[0], bob)
	w.wantForms(id, "caption done")
}

func TestNoForms(t *testing.T) {
	w := newWorld(t)
	id := w.accept(w.alchemy())
	w.crash()
	if st := w.status(id); st.Waiting != 0 || len(st.Forms) != 0 || st.Kind != horde.KindAlchemy {
		t.Errorf("status = %+v, want one without forms", st)
	}
	w.wantSent("")
	w.sweepAfter(time.Hour)
	w.gone(id)
	w.wantSent("")
}

func TestTooManyForms(t *testing.T) {
	w := newWorld(t)
	q := w.alchemy(slices.Repeat([]string{"caption"}, maxForms+1)...)
	if _, err := w.Accept(context.Background(), q); !errors.Is(err, horde.RCBadRequest) {
		t.Errorf("Accept of %d forms = %v, want BadRequest", len(q.Forms), err)
	}
}
