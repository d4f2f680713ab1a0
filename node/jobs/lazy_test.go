package jobs

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// reopenLazily opens the home again so that all but a few requests are still on the disk.
func (w *world) reopenLazily(atOnce int) {
	w.t.Helper()
	if err := w.Home.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.atOnce = atOnce
	w.open(w.dir)
}

// readAll runs the home until everything is in memory.
func (w *world) readAll() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	if err := w.awaitRead(ctx); err != nil {
		w.t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		w.t.Fatalf("Run = %v", err)
	}
}

// A home serves what it has not read yet, and ends with what it would have read at once.
func TestRequestsAreReadLazily(t *testing.T) {
	w := newWorld(t)
	worker := w.books.worker(1, bob)
	var ids []horde.RequestID
	for range 60 {
		ids = append(ids, w.accept(w.text(2)))
	}
	running := w.granted(worker, 1, ids[7])[0]
	w.deliver(w.granted(worker, 1, ids[8])[0], bob)
	if _, err := w.Cancel(t.Context(), ids[9]); err != nil {
		t.Fatal(err)
	}
	w.reopenLazily(1000)
	want := map[horde.RequestID]horde.Status{}
	for _, id := range ids {
		want[id] = w.status(id)
	}

	w.reopenLazily(5)
	if n := w.Counters().Requests; n < 5 || n > 10 { // five, and those that have jobs
		t.Fatalf("%d requests are in memory, want a few", n)
	}
	w.deliver(running, bob) // a worker comes back at once
	want[ids[7]] = w.status(ids[7])
	for _, id := range ids[:30] {
		if got := w.status(id); !reflect.DeepEqual(got, want[id]) {
			t.Errorf("before its turn %s is %+v, want %+v", id, got, want[id])
		}
	}
	if _, err := w.Cancel(t.Context(), ids[20]); err != nil {
		t.Fatal(err)
	}
	unread := slices.DeleteFunc(slices.Clone(ids), func(id horde.RequestID) bool { _, ok := w.inMemory(id); return ok })
	if len(unread) == 0 {
		t.Fatal("everything was read before its turn")
	}
	w.sweepAfter(21 * time.Minute) // those that were asked for have expired, and are gone
	var gone []horde.RequestID
	for _, id := range ids[:30] {
		if _, err := w.Status(t.Context(), id, false); errors.Is(err, horde.RCRequestNotFound) {
			gone = append(gone, id)
		}
	}
	if len(gone) < 20 {
		t.Fatalf("%d requests have expired, want most of 30", len(gone))
	}
	again := w.accept(w.text(1)) // a new one meanwhile

	w.readAll()
	for _, id := range gone {
		if _, ok := w.inMemory(id); ok {
			t.Errorf("%s came back from the dead", id)
		}
	}
	if got := w.status(again); got.Waiting != 1 {
		t.Errorf("the new request = %+v, want one waiting", got)
	}
	if w.loading.Load() != nil {
		t.Error("still loading")
	}
	for _, id := range unread {
		if _, ok := w.inMemory(id); !ok {
			t.Errorf("%s was not read", id)
		}
	}
	w.sweepAfter(time.Second) // they have expired as well
	for _, id := range unread {
		w.gone(id)
	}
}

// Each request that is read later is offered, so that the exchange hears of it.
func TestReadRequestsAreOffered(t *testing.T) {
	w := newWorld(t)
	for range 40 {
		w.accept(w.text(1))
	}
	w.reopenLazily(3)
	told := map[horde.RequestID]bool{}
	for _, o := range w.Offers() {
		told[o.ID] = true
	}
	w.watch.clear()
	w.readAll()
	for _, o := range w.watch.all() {
		told[o.ID] = true
	}
	if len(told) != 40 {
		t.Errorf("%d of 40 requests were offered", len(told))
	}
}

// What concerns all requests waits until they are there.
func TestMaintenanceReachesUnreadRequests(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		w.accept(w.image(1))
	}
	w.reopenLazily(2)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := w.Withdraw(ctx, horde.KindImage); !errors.Is(err, horde.RCUnavailable) {
		t.Errorf("Withdraw before all is read = %v, want Unavailable", err)
	}
	w.readAll()
	if n, err := w.Withdraw(t.Context(), horde.KindImage); err != nil || n != 20 {
		t.Errorf("Withdraw = %d, %v, want 20", n, err)
	}
}

func (w *watch) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offers = nil
}

func (w *watch) all() []horde.Offer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.offers))
}
