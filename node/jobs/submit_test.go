package jobs

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestJudge(t *testing.T) {
	censored, csam := horde.Metadata{Type: "censorship", Value: "nsfw"}, horde.Metadata{Type: "censorship", Value: "csam"}
	lora := horde.Metadata{Type: "lora", Value: "csam"}
	for _, tt := range []struct {
		name     string
		kind     horde.Kind
		state    string
		metadata []horde.Metadata
		want     string
	}{
		{"image", horde.KindImage, "", nil, "ok"},
		{"image, its state alone says nothing", horde.KindImage, "censored", nil, "ok"},
		{"image, csam by state alone", horde.KindImage, "csam", nil, "ok"},
		{"image, metadata", horde.KindImage, "ok", []horde.Metadata{censored}, "censored"},
		{"image, the last metadata counts", horde.KindImage, "ok", []horde.Metadata{csam, censored}, "censored"},
		{"image, csam", horde.KindImage, "ok", []horde.Metadata{censored, lora, csam}, "csam"},
		{"image, metadata of another type", horde.KindImage, "ok", []horde.Metadata{lora}, "ok"},
		{"image, faulted", horde.KindImage, "faulted", []horde.Metadata{lora}, "faulted"},
		{"image, censored before faulted", horde.KindImage, "faulted", []horde.Metadata{csam}, "csam"},
		{"text", horde.KindText, "ok", nil, "ok"},
		{"text, censored", horde.KindText, "censored", nil, "censored"},
		{"text, csam", horde.KindText, "csam", nil, "csam"},
		{"text, csam by metadata", horde.KindText, "ok", []horde.Metadata{csam}, "csam"},
		{"text, csam although it says censored", horde.KindText, "censored", []horde.Metadata{csam}, "csam"},
		{"text, faulted before censored", horde.KindText, "faulted", []horde.Metadata{csam}, "faulted"},
	} {
		if got := judge(tt.kind, horde.Submission{State: tt.state, Metadata: tt.metadata}); got != tt.want {
			t.Errorf("%s: judge = %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestCensoredTextIsPaid(t *testing.T) {
	w := newWorld(t)
	id := w.accept(w.text(1))
	job := w.granted(w.books.worker(1, bob), 1, id)[0]
	if got, err := w.submit(job, bob, "csam"); err != nil || got.Reward != 10 {
		t.Fatalf("Submit = %+v, %v", got, err)
	}
	g := w.status(id).Generations[0]
	if g.State != "csam" || !g.Censored || !slices.Equal(g.Metadata, []horde.Metadata{{Type: "censorship", Value: "csam"}}) {
		t.Errorf("generation = %+v", g)
	}
	w.send()
	if w.books.spent[alice] != horde.Whole(2) || w.books.paid[bob] != horde.Whole(10) {
		t.Errorf("alice spent %s, bob got %s, want 2 and 10", w.books.spent[alice], w.books.paid[bob])
	}
}

func TestSubmitRefusals(t *testing.T) {
	many := make([]horde.Metadata, 51)
	for _, tt := range []struct {
		name   string
		change func(*horde.Submission)
		want   horde.RC
		says   string // what workers look for
	}{
		{"unknown job", func(s *horde.Submission) { s.Job.UUID[15]++; s.By = alice }, horde.RCInvalidJobID, "does not exist"},
		{"somebody else's worker", func(s *horde.Submission) { s.By = alice; s.Metadata = many }, horde.RCWrongCredentials, "wrong credentials"},
		{"much metadata", func(s *horde.Submission) { s.Metadata = many }, horde.RCBadRequest, "50"},
		{"long result", func(s *horde.Submission) { s.Result = make([]byte, maxResult+1) }, horde.RCBadRequest, "longer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.accept(w.text(1))
			job := w.granted(w.books.worker(1, bob), 1, id)[0]
			s := horde.Submission{Job: job, By: bob}
			tt.change(&s)
			_, err := w.Submit(context.Background(), s)
			var refusal *horde.Error
			if !errors.As(err, &refusal) || refusal.RC != tt.want || !strings.Contains(refusal.Msg, tt.says) {
				t.Errorf("Submit = %v, want %s with %q", err, tt.want, tt.says)
			}
			w.want(id, counts{processing: 1})
			w.wantSent("A")
			w.deliver(job, bob)
		})
	}
}

func TestSubmitTwice(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(2))
	job := w.granted(worker, 1, id)[0]
	w.pass(2 * time.Second)
	s := horde.Submission{Job: job, By: bob, Result: []byte("text"), Nonce: horde.UUID{5}}
	first, err := w.Submit(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.Submit(context.Background(), s)
	first.Things -= 4 // delivered once
	if err != nil || again != first || first.Speed != 2 || first.Things != 0 {
		t.Errorf("the same submission again = %+v, %v, want %+v", again, err, first)
	}
	other := s
	other.Nonce = horde.UUID{6}
	for name, s := range map[string]horde.Submission{
		"with another nonce": other, "without a nonce": {Job: job, By: bob}, "as faulted": {Job: job, By: bob, State: "faulted"},
	} {
		var refusal *horde.Error
		if _, err := w.Submit(context.Background(), s); !errors.As(err, &refusal) || refusal.RC != horde.RCDuplicateGen || !strings.Contains(refusal.Msg, "already submitted") {
			t.Errorf("%s: Submit = %v, want DuplicateGen", name, err)
		}
	}
	w.want(id, counts{waiting: 1, finished: 1})
	w.wantSent("AS")
}

func TestSubmitAtOnce(t *testing.T) {
	w := newWorld(t)
	id := w.accept(w.text(1))
	job := w.granted(w.books.worker(1, bob), 1, id)[0]
	var paid atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			switch _, err := w.submit(job, bob, ""); {
			case err == nil:
				paid.Add(1)
			case !errors.Is(err, horde.RCDuplicateGen):
				t.Errorf("Submit = %v", err)
			}
		})
	}
	wg.Wait()
	if n := paid.Load(); n != 1 {
		t.Errorf("%d submissions were paid, want 1", n)
	}
	w.wantSent("ASF")
}

func TestFaults(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(2))
	running := w.granted(worker, 1, id)[0]
	for i := range maxFaults {
		w.want(id, counts{waiting: 1, processing: 1, restarted: i})
		job := w.granted(worker, 1, id)[0]
		for range 2 { // telling it again changes nothing
			if got, err := w.submit(job, bob, "faulted"); err != nil || got.Reward != 0 {
				t.Fatalf("Submit = %+v, %v", got, err)
			}
		}
		var refusal *horde.Error
		if _, err := w.submit(job, bob, ""); !errors.As(err, &refusal) || refusal.RC != horde.RCAbortedGen || !strings.Contains(refusal.Msg, "Please check your worker speed") {
			t.Errorf("Submit of what was given up = %v", err)
		}
	}
	w.want(id, counts{processing: 1, restarted: 3, faulted: true})
	if a := w.claim(worker, 1, id); a.Grant != nil {
		t.Errorf("Claim of a faulted request = %+v", a.Grant)
	}
	w.deliver(running, bob)
	w.want(id, counts{finished: 1, restarted: 3, faulted: true, done: true})
	w.wantSent("AXXXSF")
	if got := w.books.aborts[worker]; got != 3 {
		t.Errorf("%d aborts are counted, want 3", got)
	}
}

// A slot that was handed out before has a higher generation.
func TestGeneration(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(2))
	gens := func() (g []uint32) {
		r, _ := w.request(id)
		for _, l := range r.leases {
			g = append(g, l.gen)
		}
		return g
	}
	first := w.granted(worker, 2, id)
	if _, err := w.submit(first[1], bob, "faulted"); err != nil {
		t.Fatal(err)
	}
	w.granted(worker, 1, id)
	if got := gens(); !slices.Equal(got, []uint32{1, 2}) {
		t.Errorf("generations = %v, want [1 2]", got)
	}
	w.crash()
	if got := gens(); !slices.Equal(got, []uint32{1, 2}) {
		t.Errorf("generations after a crash = %v, want [1 2]", got)
	}
}

func TestCancel(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind horde.Kind
		done bool // in the end
	}{{"image", horde.KindImage, true}, {"text", horde.KindText, false}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			worker := w.books.worker(1, bob, func(x *horde.Worker) { x.Kind = tt.kind })
			q := w.image(4)
			q.Kind = tt.kind
			id := w.accept(q)
			a, b, c := w.granted(worker, 1, id)[0], w.granted(worker, 1, id)[0], w.granted(worker, 1, id)[0]
			w.deliver(a, bob)
			st, err := w.Cancel(context.Background(), id)
			if got, want := countsOf(st), (counts{waiting: 1, processing: 2, finished: 1}); err != nil || got != want || len(st.Generations) != 1 {
				t.Errorf("Cancel = %+v, %v, want %+v", st, err, want)
			}
			w.want(id, counts{processing: 2, finished: 1})
			w.wantSent("AS")
			w.crash()
			w.deliver(b, bob)
			if _, err := w.submit(c, bob, "faulted"); err != nil {
				t.Fatal(err)
			}
			w.want(id, counts{finished: 2, restarted: 1, done: tt.done})
			st, err = w.Cancel(context.Background(), id)
			if err != nil || st.Finished != 2 || len(st.Generations) != 2 {
				t.Errorf("second Cancel = %+v, %v", st, err)
			}
			w.wantSent("SXF")
			w.sweepAfter(time.Hour)
			w.gone(id)
			if _, err := w.Cancel(context.Background(), id); !errors.Is(err, horde.RCRequestNotFound) {
				t.Errorf("Cancel of what has expired = %v", err)
			}
			w.wantSent("")
		})
	}
	t.Run("before any pop", func(t *testing.T) {
		w := newWorld(t)
		id := w.accept(w.image(1))
		if st, err := w.Cancel(context.Background(), id); err != nil || countsOf(st) != (counts{waiting: 1}) {
			t.Errorf("Cancel = %+v, %v", st, err)
		}
		w.want(id, counts{done: true})
		w.wantSent("AF")
	})
}

// What is longer than a record, even longer than a transaction, comes back whole and leaves
// nothing behind.
func TestLongValues(t *testing.T) {
	w := newWorld(t)
	q := w.image(1)
	q.Body = bytes.Repeat([]byte("prompt "), 100_000)
	id := w.accept(q)
	a := w.claim(w.books.worker(1, bob), 1, id)
	if a.Grant == nil || !bytes.Equal(a.Grant.Body, q.Body) {
		t.Fatal("the body is not what it was")
	}
	result := bytes.Repeat([]byte("0123456789"), 500_000)
	if _, err := w.Submit(context.Background(), horde.Submission{Job: a.Grant.Jobs[0], By: bob, Result: result}); err != nil {
		t.Fatal(err)
	}
	w.crash()
	st := w.status(id)
	if len(st.Generations) != 1 || !bytes.Equal(st.Generations[0].Result, result) || !bytes.Equal(st.Body, q.Body) {
		t.Error("what was stored is not what comes back")
	}
	w.sweepAfter(time.Hour)
	w.wantEmptyDisk()
}

// A worker that says "R2" has put its image where the pop said; without the image there is
// no payment, and the worker may upload it and submit again.
func TestSubmitWithoutUpload(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.image(1))
	job := w.granted(worker, 1, id)[0]
	s := horde.Submission{Job: job, By: bob, Result: []byte("R2")}
	if _, err := w.Submit(context.Background(), s); !errors.Is(err, horde.RCBadRequest) {
		t.Errorf("Submit without an upload = %v, want BadRequest", err)
	}
	w.want(id, counts{processing: 1})
	w.shelf.put(job.String())
	if got, err := w.Submit(context.Background(), s); err != nil || got.Reward != 10 {
		t.Errorf("Submit with the upload = %+v, %v, want a reward of 10", got, err)
	}
	w.want(id, counts{finished: 1, done: true})
}

// A worker that is faster than can be is told of to the ledger, unless its owner is trusted.
func TestSubmitTooFast(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	q := w.image(2)
	q.Things = 30_000_000
	id := w.accept(q)
	jobs := w.granted(worker, 2, id)
	w.send()
	w.pass(2 * time.Second)
	var flushed []uint64
	w.flush = func(_ context.Context, upTo uint64) { flushed = append(flushed, upTo) }
	w.deliver(jobs[0], bob)
	w.wantSent("ST")
	if want := []uint64{w.Outbox().s.out.last()}; !slices.Equal(flushed, want) {
		t.Errorf("waited for the items %v, want %v: a suspicion is everywhere when it is answered", flushed, want)
	}
	w.pass(2 * time.Second) // it took four seconds
	w.deliver(jobs[1], bob)
	w.wantSent("SF")
	if len(flushed) != 1 {
		t.Error("a settlement that has nothing to tell of was waited for")
	}
}
