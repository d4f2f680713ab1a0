package jobs

import (
	"context"
	"testing"
	"time"
)

// What a barred user has queued is withdrawn, of all kinds; what others have stays, and what
// runs is finished.
func TestWithdrawUser(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	image, text := w.accept(w.image(2)), w.accept(w.text(1))
	other := w.text(1)
	other.Payer = bob
	others := w.accept(other)
	job := w.granted(worker, 1, image)[0]
	if ids, err := w.WithdrawUser(context.Background(), alice, w.now().Add(-time.Hour)); err != nil || len(ids) != 0 {
		t.Errorf("made since: withdrew %v, %v, want none", ids, err)
	}
	if ids, err := w.WithdrawUser(context.Background(), alice, time.Time{}); err != nil || len(ids) != 2 {
		t.Errorf("withdrew %v, %v, want two", ids, err)
	}
	w.want(image, counts{processing: 1})
	w.want(text, counts{})
	w.want(others, counts{waiting: 1})
	w.deliver(job, bob)
	w.crash()
	w.want(image, counts{finished: 1})
	w.want(others, counts{waiting: 1})
	if ids, err := w.WithdrawUser(context.Background(), alice, time.Time{}); err != nil || len(ids) != 0 {
		t.Errorf("again: withdrew %v, %v, want none", ids, err)
	}
}
