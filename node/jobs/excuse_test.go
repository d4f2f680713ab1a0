package jobs

import (
	"context"
	"errors"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// away makes members unreachable since the world's present moment.
func (w *world) away() {
	at := w.now()
	w.cutOff = func(since time.Time) bool { return !at.Before(since) }
}

func TestAnExcusedLeaseIsNobodysFault(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(4))
	w.granted(worker, 4, id)
	w.pass(time.Minute)
	w.away()
	w.sweepAfter(151 * time.Second)
	w.want(id, counts{waiting: 4}) // neither restarted nor faulted, though four leases ended
	w.wantSent("A")

	w.cutOff = nil
	w.granted(worker, 1, id)
	w.sweepAfter(151 * time.Second)
	w.want(id, counts{waiting: 4, restarted: 1})
	w.wantSent("X")
}

func TestALateResultOfAnExcusedLease(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(w *world, id horde.RequestID, other horde.WorkerID) // after the lease ended
		want error
		left counts
		sent string
	}{
		{"nobody took the slot", func(*world, horde.RequestID, horde.WorkerID) {}, nil, counts{finished: 1, done: true}, "ASF"},
		{"after a restart", func(w *world, _ horde.RequestID, _ horde.WorkerID) { w.again() }, nil, counts{finished: 1, done: true}, "ASF"},
		{"somebody works on it", func(w *world, id horde.RequestID, other horde.WorkerID) { w.granted(other, 1, id) },
			horde.RCAbortedGen, counts{processing: 1}, "A"},
		{"somebody delivered it", func(w *world, id horde.RequestID, other horde.WorkerID) {
			w.deliver(w.granted(other, 1, id)[0], carol)
		}, horde.RCAbortedGen, counts{finished: 1, done: true}, "ASF"},
		{"the request was cancelled", func(w *world, id horde.RequestID, _ horde.WorkerID) {
			if _, err := w.Cancel(context.Background(), id); err != nil {
				w.t.Fatal(err)
			}
		}, horde.RCAbortedGen, counts{}, "AF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			worker, other := w.books.worker(1, bob), w.books.worker(2, carol)
			id := w.accept(w.text(1))
			job := w.granted(worker, 1, id)[0]
			w.away()
			w.sweepAfter(151 * time.Second)
			tt.do(w, id, other)
			if _, err := w.submit(job, bob, ""); !errors.Is(err, tt.want) {
				t.Errorf("Submit = %v, want %v", err, tt.want)
			}
			w.want(id, tt.left)
			w.wantSent(tt.sent)
		})
	}
}

const carol horde.UserID = 9

// again stops the home and opens it from what is on disk.
func (w *world) again() {
	w.t.Helper()
	if err := w.Close(); err != nil {
		w.t.Fatalf("Close: %v", err)
	}
	w.open(w.dir)
}
