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
	valid func() bool   // tells whether its key is still good; nil: it has none
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
	return w.enterWith(nil, clients...)
}

// enterWith is enter for a waiter with a key: when review finds that it is not valid any more,
// the waiter is sent away.
func (w *waiters) enterWith(valid func() bool, clients ...string) (away <-chan struct{}, leave func()) {
	x := &waiter{away: make(chan struct{}), valid: valid}
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

// review sends away those whose keys are not valid any more, and returns how many. The keys
// are looked at without the lock: many may wait.
func (w *waiters) review() int {
	var list []*waiter
	w.mu.Lock()
	for e := w.all.Front(); e != nil; e = e.Next() {
		if x := e.Value.(*waiter); x.valid != nil {
			list = append(list, x)
		}
	}
	w.mu.Unlock()
	gone := 0
	for _, x := range list {
		if x.valid() {
			continue
		}
		w.mu.Lock()
		if x.inAll != nil {
			w.dismiss(x.inAll)
			gone++
		}
		w.mu.Unlock()
	}
	return gone
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
