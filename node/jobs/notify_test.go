package jobs

import (
	"testing"

	"hordenode/internal/horde"
)

// told is a listener that remembers.
type told struct {
	requests []*horde.Request
	results  []horde.Generation
}

func (l *told) Delivered(r *horde.Request, g horde.Generation) {
	l.requests, l.results = append(l.requests, r), append(l.results, g)
}

// The listener hears of durable results of requests that want it, once, and of nothing else;
// also after a restart.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	w := worldIn(t, dir)
	q := w.text(3)
	q.Notify, q.Body = true, []byte("to https://client.test")
	loud, quiet := w.accept(q), w.accept(w.text(1))
	worker := w.books.worker(1, 2)
	jobs := w.granted(worker, 3, loud)
	silent := w.granted(worker, 1, quiet)
	ear := &told{}
	w.ear = ear

	w.deliver(jobs[0], 2)
	w.deliver(silent[0], 2)
	if _, err := w.submit(jobs[0], 2, "ok"); err == nil {
		t.Error("a result was taken twice")
	}
	if _, err := w.submit(jobs[1], 2, "faulted"); err != nil {
		t.Fatal(err)
	}
	if len(ear.results) != 1 {
		t.Fatalf("heard of %d results, want 1", len(ear.results))
	}
	r, g := ear.requests[0], ear.results[0]
	if r.ID != loud || r.Kind != horde.KindText || string(r.Body) != string(q.Body) || g.ID != jobs[0] || g.Worker != worker || g.Kudos == 0 {
		t.Errorf("heard %+v of %+v", g, r)
	}

	if err := w.Home.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(dir)
	w.ear = ear
	w.deliver(jobs[2], 2)
	if len(ear.results) != 2 || ear.results[1].ID != jobs[2] {
		t.Errorf("heard of %d results after a restart, want 2", len(ear.results))
	}
}
