package jobs

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

func numbers(items []Item) (n []uint64) {
	for _, it := range items {
		n = append(n, it.N)
	}
	return n
}

func (w *world) pending(after uint64, n int, want ...uint64) {
	w.t.Helper()
	items, err := w.Outbox().Pending(after, n)
	if got := numbers(items); err != nil || !slices.Equal(got, want) {
		w.t.Errorf("Pending(%d, %d) = %v, %v, want %v", after, n, got, err, want)
	}
}

func (w *world) post(n int) {
	w.t.Helper()
	for range n {
		if err := w.store.enqueue(op{out: [][]byte{[]byte("item")}}).wait(); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestOutbox(t *testing.T) {
	w := newWorld(t)
	select {
	case <-w.Outbox().Wait():
		t.Error("an empty outbox says that there is something")
	default:
	}
	w.post(5)
	<-w.Outbox().Wait()
	w.pending(0, 10, 1, 2, 3, 4, 5)
	w.pending(0, 2, 1, 2)
	w.pending(3, 10, 4, 5)
	w.pending(5, 10)
	if err := w.Outbox().Done(3); err != nil {
		t.Fatal(err)
	}
	w.pending(0, 10, 4, 5)
	if n := w.Outbox().Len(); n != 2 {
		t.Errorf("Len = %d, want 2", n)
	}
	w.crash()
	<-w.Outbox().Wait()
	w.pending(0, 10, 4, 5)
	if err := w.Outbox().Done(100); err != nil {
		t.Fatal(err)
	}
	if n := w.Outbox().Len(); n != 0 {
		t.Errorf("Len = %d, want 0", n)
	}
	w.crash()
	w.post(1)
	w.pending(0, 10, 6) // numbers grow although nothing was left
	if err := w.Outbox().SkipTo(20); err != nil {
		t.Fatal(err)
	}
	if err := w.Outbox().Done(6); err != nil {
		t.Fatal(err)
	}
	w.crash()
	w.post(1)
	w.pending(0, 10, 21)
	if err := w.Outbox().SkipTo(3); err != nil {
		t.Fatal(err)
	}
	w.post(1)
	w.pending(0, 10, 21, 22)
}

// Many writers and one sender that clears in chunks: each item is seen once, in order.
func TestOutboxAtOnce(t *testing.T) {
	w := newWorld(t)
	const writers, each = 16, 400
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for k := range each {
				if err := w.store.enqueue(op{out: [][]byte{fmt.Appendf(nil, "%d/%d", i, k)}}).wait(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	seen := map[int]int{} // next of each writer
	for last, n := uint64(0), 0; n < writers*each; {
		<-w.Outbox().Wait()
		items, err := w.Outbox().Pending(last, writers*each)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			var i, k int
			if _, err := fmt.Sscanf(string(it.Data), "%d/%d", &i, &k); err != nil {
				t.Fatal(err)
			}
			if it.N != last+1 || k != seen[i] {
				t.Fatalf("item %d after %d is the %d. of writer %d, want the %d.", it.N, last, k, i, seen[i])
			}
			last, seen[i] = it.N, k+1
			n++
		}
		if err := w.Outbox().Done(last); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if n := w.Outbox().Len(); n != 0 {
		t.Errorf("Len = %d, want 0", n)
	}
}
