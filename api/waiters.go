package api

import (
	linked "container/list"
	"hash/maphash"
	"sync"
)

const (
	maxWaiters          = 20_000 // of this node
	maxWaitersPerClient = 500    // of one address or account
)

// waiters bounds who waits here for something to change. One too many sends the one away that
// has waited longest, the client's own first: it gets its answer as it is.
type waiters struct {
	seed    maphash.Seed
	most    int // of all
	perEach int // of one client

	mu      sync.Mutex   // guards the fields below, and lists
	all     *linked.List // of *waiter, oldest first
	clients map[uint64]*linked.List
}

// A waiter is one request that waits.
type waiter struct {
	away  chan struct{} // closed when it has to go
	sent  bool          // away is closed
	keys  [2]uint64     // of its clients
	in    [2]*linked.Element
	inAll *linked.Element
}

func newWaiters(most, perEach int) *waiters {
	return &waiters{seed: maphash.MakeSeed(), most: most, perEach: perEach, all: linked.New(), clients: map[uint64]*linked.List{}}
}

// enter adds a waiter of one or two clients. away is closed when it must wait no longer;
// leave must be called once.
func (w *waiters) enter(clients ...string) (away <-chan struct{}, leave func()) {
	x := &waiter{away: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all.Len() >= w.most {
		w.dismiss(w.all.Front())
	}
	for i, c := range clients[:min(len(clients), len(x.keys))] {
		x.keys[i] = maphash.String(w.seed, c)
		l := w.clients[x.keys[i]]
		if l == nil {
			l = linked.New()
			w.clients[x.keys[i]] = l
		}
		if l.Len() >= w.perEach {
			w.dismiss(l.Front())
			w.clients[x.keys[i]] = l // dismiss forgets empty lists
		}
		x.in[i] = l.PushBack(x)
	}
	x.inAll = w.all.PushBack(x)
	return x.away, func() { w.leave(x) }
}

// dismiss sends a waiter away. w.mu is held.
func (w *waiters) dismiss(e *linked.Element) {
	x := e.Value.(*waiter)
	w.drop(x)
	if !x.sent {
		x.sent = true
		close(x.away)
	}
}

func (w *waiters) leave(x *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(x)
}

// drop takes a waiter out of all lists. w.mu is held.
func (w *waiters) drop(x *waiter) {
	if x.inAll == nil {
		return
	}
	w.all.Remove(x.inAll)
	x.inAll = nil
	for i, e := range x.in {
		if e == nil {
			continue
		}
		l := w.clients[x.keys[i]]
		l.Remove(e)
		if l.Len() == 0 {
			delete(w.clients, x.keys[i])
		}
	}
}

// len is how many wait.
func (w *waiters) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Len()
}
