package jobs

import (
	"errors"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// wantEmptyDisk checks that nothing of any request is left.
func (w *world) wantEmptyDisk() {
	w.t.Helper()
	for _, prefix := range []byte{keyRequest, keyBody, keyState, keyJob, keyResult, keyPiece} {
		n := 0
		err := w.store.scan([]byte{prefix}, true, func([]byte, []byte) error { n++; return nil })
		if err != nil || n != 0 {
			w.t.Errorf("%d records %c are left (%v)", n, prefix, err)
		}
	}
	if len(w.requests)+len(w.jobs)+len(w.users)+len(w.timers.heap) != 0 {
		w.t.Errorf("%d requests, %d jobs, %d users, %d timers are left", len(w.requests), len(w.jobs), len(w.users), len(w.timers.heap))
	}
}

func TestStale(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(2))
	slow, late := w.granted(worker, 1, id)[0], w.granted(worker, 1, id)[0]
	w.pass(151 * time.Second)
	w.deliver(late, bob) // before the sweep
	w.sweepAfter(0)
	w.want(id, counts{waiting: 1, finished: 1, restarted: 1})
	if _, err := w.submit(slow, bob, ""); !errors.Is(err, horde.RCAbortedGen) {
		t.Errorf("Submit after the sweep = %v, want AbortedGen", err)
	}
	if got, err := w.submit(slow, bob, "faulted"); err != nil || got.Reward != 0 {
		t.Errorf("Submit as faulted after the sweep = %+v, %v", got, err)
	}
	w.wantSent("ASX")
	w.deliver(w.granted(worker, 1, id)[0], bob)
	w.want(id, counts{finished: 2, restarted: 1, done: true})
	w.wantSent("SF")
}

func TestThreeStaleFault(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	id := w.accept(w.text(4))
	w.granted(worker, 4, id)
	w.sweepAfter(151 * time.Second)
	w.want(id, counts{restarted: 4, faulted: true, done: true})
	w.wantSent("AXXXXF")
}

func TestExpiry(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(w *world, worker horde.WorkerID, id horde.RequestID) // after 10 minutes
		last time.Duration                                             // that it lives on then
		sent string
	}{
		{"never popped", func(*world, horde.WorkerID, horde.RequestID) {}, 10 * time.Minute, "AF"},
		{"status does not prolong", func(w *world, _ horde.WorkerID, id horde.RequestID) { w.status(id) }, 10 * time.Minute, "AF"},
		{"given up does not prolong", func(w *world, worker horde.WorkerID, id horde.RequestID) {
			if _, err := w.submit(w.granted(worker, 1, id)[0], bob, "faulted"); err != nil {
				w.t.Fatal(err)
			}
		}, 20 * time.Minute, "AXF"},
		{"popped", func(w *world, worker horde.WorkerID, id horde.RequestID) { w.granted(worker, 1, id) }, 20 * time.Minute, "AXF"},
		{"settled", func(w *world, worker horde.WorkerID, id horde.RequestID) {
			job := w.granted(worker, 1, id)[0]
			w.pass(time.Minute)
			w.deliver(job, bob)
		}, 20 * time.Minute, "ASF"},
		{"done", func(w *world, worker horde.WorkerID, id horde.RequestID) {
			for _, job := range w.granted(worker, 2, id) {
				w.deliver(job, bob)
			}
		}, 20 * time.Minute, "ASSF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			worker := w.books.worker(1, bob)
			q := w.image(2)
			id := w.accept(q)
			w.pass(10 * time.Minute)
			tt.do(w, worker, id)
			var jobs []horde.JobID
			for job := range w.jobs {
				jobs = append(jobs, job)
			}
			w.sweepAfter(tt.last)
			w.status(id)
			w.sweepAfter(1)
			w.gone(id)
			for _, job := range jobs {
				if _, err := w.submit(job, bob, ""); !errors.Is(err, horde.RCInvalidJobID) {
					t.Errorf("Submit after expiry = %v, want InvalidJobID", err)
				}
				if !w.shelf.deleted[job.UUID] {
					t.Errorf("blobs of job %s are left", job)
				}
			}
			if !w.shelf.deleted[id.UUID] {
				t.Error("blobs of the request are left")
			}
			w.wantSent(tt.sent)
			w.wantEmptyDisk()
		})
	}
}

// A lease that is longer than the request would live keeps it alive.
func TestLongLease(t *testing.T) {
	w := newWorld(t)
	q := w.image(1)
	q.TTL = 3600
	id := w.accept(q)
	job := w.granted(w.books.worker(1, bob), 1, id)[0]
	w.sweepAfter(time.Hour)
	w.deliver(job, bob)
	w.wantSent("ASF")
}
