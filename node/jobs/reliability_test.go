package jobs

import (
	"context"
	"errors"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// Row 36 of the fault matrix: whatever a worker does with a job, at whichever node, comes to
// its home as a submission. Each slot is settled once at most, and each repetition gets a code
// of its own.
func TestReliabilityRow36SubmitsThatShouldNotBe(t *testing.T) {
	refused := func(w *world, job horde.JobID, by horde.UserID, want horde.RC) {
		w.t.Helper()
		if _, err := w.submit(job, by, ""); !errors.Is(err, want) {
			w.t.Errorf("Submit = %v, want %s", err, want)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(w *world, id horde.RequestID, job horde.JobID)
		want counts
		sent string // A admission, S settlement, X abort, F finish
	}{
		{"twice", func(w *world, _ horde.RequestID, job horde.JobID) {
			w.deliver(job, bob)
			refused(w, job, bob, horde.RCDuplicateGen)
		}, counts{finished: 1, done: true}, "ASF"},
		{"twice, the second after a crash", func(w *world, _ horde.RequestID, job horde.JobID) {
			w.deliver(job, bob)
			w.crash()
			refused(w, job, bob, horde.RCDuplicateGen)
		}, counts{finished: 1, done: true}, "ASF"},
		{"again with the nonce of the first, as nodes do that lost the answer", func(w *world, _ horde.RequestID, job horde.JobID) {
			s := horde.Submission{Job: job, By: bob, Result: []byte("text"), Nonce: horde.UUID{5}}
			for range 2 {
				if got, err := w.Submit(context.Background(), s); err != nil || got.Reward != 10 {
					w.t.Errorf("Submit = %+v, %v, want 10", got, err)
				}
			}
		}, counts{finished: 1, done: true}, "ASF"},
		{"a result, then faulted", func(w *world, _ horde.RequestID, job horde.JobID) {
			w.deliver(job, bob)
			if _, err := w.submit(job, bob, "faulted"); !errors.Is(err, horde.RCDuplicateGen) {
				w.t.Errorf("Submit = %v, want DuplicateGen", err)
			}
		}, counts{finished: 1, done: true}, "ASF"},
		{"faulted, then a result", func(w *world, _ horde.RequestID, job horde.JobID) {
			if got, err := w.submit(job, bob, "faulted"); err != nil || got.Reward != 0 {
				w.t.Errorf("Submit = %+v, %v, want no reward", got, err)
			}
			refused(w, job, bob, horde.RCAbortedGen)
		}, counts{waiting: 1, restarted: 1}, "AX"},
		{"after cancel: it is paid, once", func(w *world, id horde.RequestID, job horde.JobID) {
			if _, err := w.Cancel(context.Background(), id); err != nil {
				w.t.Fatal(err)
			}
			w.deliver(job, bob)
			refused(w, job, bob, horde.RCDuplicateGen)
		}, counts{finished: 1, done: true}, "ASF"},
		{"after the TTL, before the sweep", func(w *world, _ horde.RequestID, job horde.JobID) {
			w.pass(151 * time.Second)
			w.deliver(job, bob)
			w.sweepAfter(0)
		}, counts{finished: 1, done: true}, "ASF"},
		{"after the TTL and the sweep", func(w *world, _ horde.RequestID, job horde.JobID) {
			w.sweepAfter(151 * time.Second)
			refused(w, job, bob, horde.RCAbortedGen)
		}, counts{waiting: 1, restarted: 1}, "AX"},
		{"after somebody else has the slot", func(w *world, id horde.RequestID, job horde.JobID) {
			w.sweepAfter(151 * time.Second)
			other := w.granted(w.books.worker(2, alice), 1, id)[0]
			refused(w, job, bob, horde.RCAbortedGen)
			w.deliver(other, alice)
			refused(w, job, bob, horde.RCAbortedGen)
		}, counts{finished: 1, restarted: 1, done: true}, "AXSF"},
		{"by somebody else's key", func(w *world, _ horde.RequestID, job horde.JobID) {
			refused(w, job, alice, horde.RCWrongCredentials)
		}, counts{processing: 1}, "A"},
		{"for a job that never was", func(w *world, _ horde.RequestID, job horde.JobID) {
			job.UUID[15]++
			refused(w, job, bob, horde.RCInvalidJobID)
		}, counts{processing: 1}, "A"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.accept(w.text(1))
			tt.do(w, id, w.granted(w.books.worker(1, bob), 1, id)[0])
			w.want(id, tt.want)
			w.wantSent(tt.sent)
		})
	}
	t.Run("after the request has expired", func(t *testing.T) {
		w := newWorld(t)
		id := w.accept(w.text(1))
		job := w.granted(w.books.worker(1, bob), 1, id)[0]
		w.sweepAfter(time.Hour)
		refused(w, job, bob, horde.RCInvalidJobID)
		w.wantSent("AXF")
	})
}

// Row 37: the worker dies after its pop. When the lease is over the job is handed out again,
// once, nobody is paid for it, and the worker's record shows one abort.
func TestReliabilityRow37WorkerDiesAfterPop(t *testing.T) {
	w := newWorld(t)
	dead, other := w.books.worker(1, bob), w.books.worker(2, alice)
	id := w.accept(w.text(1))
	w.granted(dead, 1, id)
	w.sweepAfter(149 * time.Second)
	if a := w.claim(other, 1, id); a.Grant != nil {
		t.Errorf("Claim during the lease = %+v, want nothing", a.Grant)
	}
	for range 2 { // a second sweep finds nothing to do
		w.sweepAfter(2 * time.Second)
		w.want(id, counts{waiting: 1, restarted: 1})
	}
	w.crash() // and a restart does not hand it out twice
	again := w.granted(other, 1, id)[0]
	if a := w.claim(dead, 1, id); a.Grant != nil {
		t.Errorf("a second Claim = %+v, want nothing", a.Grant)
	}
	w.deliver(again, alice)
	w.want(id, counts{finished: 1, restarted: 1, done: true})
	w.wantSent("AXSF")
	if paid := w.books.paid[bob]; paid != 0 {
		t.Errorf("the owner of the dead worker got %s, want nothing", paid)
	}
}
