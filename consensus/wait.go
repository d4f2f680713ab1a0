package consensus

import (
	"container/heap"
	"context"
	"sync"
)

// waiters are callers that wait for an index to be applied, the lowest first.
type waiters struct {
	mu   sync.Mutex // guards the fields below
	at   uint64
	err  error // set when no more will be applied
	heap waitHeap
}

type waiter struct {
	index uint64
	pos   int // in the heap, -1: woken
	woken chan struct{}
}

// wait returns when index has been applied.
func (w *waiters) wait(ctx context.Context, index uint64) error {
	w.mu.Lock()
	if index <= w.at || w.err != nil {
		defer w.mu.Unlock()
		if index <= w.at {
			return nil
		}
		return w.err
	}
	me := &waiter{index: index, woken: make(chan struct{})}
	heap.Push(&w.heap, me)
	w.mu.Unlock()
	select {
	case <-me.woken:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case index <= w.at:
		return nil
	case w.err != nil:
		return w.err
	}
	if me.pos >= 0 {
		heap.Remove(&w.heap, me.pos)
	}
	return ctx.Err()
}

// reached wakes those who wait for index or less. A restored snapshot may step back.
func (w *waiters) reached(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = max(w.at, index)
	for len(w.heap) > 0 && w.heap[0].index <= w.at {
		close(heap.Pop(&w.heap).(*waiter).woken)
	}
}

// close wakes all.
func (w *waiters) close(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	for len(w.heap) > 0 {
		close(heap.Pop(&w.heap).(*waiter).woken)
	}
}

type waitHeap []*waiter

func (h waitHeap) Len() int           { return len(h) }
func (h waitHeap) Less(i, j int) bool { return h[i].index < h[j].index }
func (h waitHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

func (h *waitHeap) Push(x any) {
	w := x.(*waiter)
	w.pos = len(*h)
	*h = append(*h, w)
}

func (h *waitHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.pos = -1
	return w
}
