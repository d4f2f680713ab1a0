package jobs

import (
	"container/heap"
	"sync"
	"time"
)

// timers orders requests by when something is due for them, one entry each.
type timers struct {
	start time.Time // what the times in the heap count from
	mu    sync.Mutex
	heap  dueHeap
}

func (x *timers) since(t time.Time) time.Duration { return t.Sub(x.start) }

// set makes r due at t.
func (x *timers) set(r *request, t time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r.due = x.since(t)
	if r.pos < 0 {
		heap.Push(&x.heap, r)
		return
	}
	heap.Fix(&x.heap, int(r.pos))
}

// unset takes r out.
func (x *timers) unset(r *request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r.pos >= 0 {
		heap.Remove(&x.heap, int(r.pos))
	}
}

// take takes out at most n requests that were due before now.
func (x *timers) take(now time.Time, n int) []*request {
	x.mu.Lock()
	defer x.mu.Unlock()
	var due []*request
	for len(due) < n && len(x.heap) > 0 && x.since(now) > x.heap[0].due {
		due = append(due, heap.Pop(&x.heap).(*request))
	}
	return due
}

type dueHeap []*request

func (d dueHeap) Len() int           { return len(d) }
func (d dueHeap) Less(i, j int) bool { return d[i].due < d[j].due }
func (d dueHeap) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].pos, d[j].pos = int32(i), int32(j)
}

// Push and Pop serve container/heap.
func (d *dueHeap) Push(x any) {
	r := x.(*request)
	r.pos = int32(len(*d))
	*d = append(*d, r)
}

func (d *dueHeap) Pop() any {
	old := *d
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	r.pos = -1
	return r
}
