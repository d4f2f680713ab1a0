package exchange

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/jobs/match"
)

const (
	// retryWake is how long after a worker was woken for an offer that is still open the next
	// ones are: the first may have gone, or may not get it.
	retryWake = 25 * time.Millisecond
	// askHome is how often who waits for a request of another home should look, beside when
	// the home tells of a change.
	askHome = 30 * time.Second
)

// waits holds who waits here: clients for a change of a request, workers for a job that fits.
//
//	own change ───────────────► watchers of the request
//	offer, own or told ──┬────► watchers of the request
//	                     └────► due ──► waker ──► workers that it suits, first come first woken
//
// A waiter is a small struct with a channel; nobody polls for it. An offer visits each waiting
// worker once at most: the one that was woken searches like any other pop and takes what
// there is. Workers that come later search themselves.
type waits struct {
	wake chan struct{} // capacity 1: offers are due

	mu       sync.Mutex // guards all below; taken last
	requests map[horde.RequestID][]chan struct{}
	workers  [kinds]parking
	due      map[horde.RequestID]turn
	arrivals uint64
}

// parking is the workers that wait for jobs of one kind, in the order of their arrival.
type parking struct {
	list []*parked
	gone int // nil entries of list
}

// parked is a worker that waits.
type parked struct {
	seq   uint64
	at    int // place in list
	w     match.Worker
	woken chan struct{} // capacity 1
}

// turn is how far an offer got among the waiting workers.
type turn struct {
	kind  horde.Kind
	after uint64 // seq of the last worker that was woken for it
}

func newWaits() *waits {
	return &waits{
		wake:     make(chan struct{}, 1),
		requests: map[horde.RequestID][]chan struct{}{},
		due:      map[horde.RequestID]turn{},
	}
}

// Watch returns a channel that gets a value after each change of a request, as soon as Status
// shows it. every is how often to look all the same, for a request of another home; 0: no
// need. stop must be called once.
func (e *Exchange) Watch(id horde.RequestID) (changed <-chan struct{}, every time.Duration, stop func()) {
	if id.Home() != e.tag {
		every = askHome
	}
	ch := make(chan struct{}, 1)
	w := e.waits
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests[id] = append(w.requests[id], ch)
	return ch, every, func() { w.unwatch(id, ch) }
}

func (w *waits) unwatch(id horde.RequestID, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := slices.DeleteFunc(w.requests[id], func(c chan struct{}) bool { return c == ch })
	if len(left) == 0 {
		delete(w.requests, id)
		return
	}
	w.requests[id] = left
}

// changed wakes who watches a request.
func (w *waits) changed(id horde.RequestID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.requests[id] {
		poke(ch)
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// offered hears of every offer that the index takes in. index.mu is held.
func (w *waits) offered(kind horde.Kind, id horde.RequestID, open int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.requests[id] {
		poke(ch)
	}
	switch {
	case int(kind) >= kinds:
	case open <= 0:
		delete(w.due, id)
	case len(w.workers[kind].list) > w.workers[kind].gone:
		w.due[id] = turn{kind: kind} // begins anew: slots have come back, or it is new
		poke(w.wake)
	}
}

// park adds a worker to those that wait. leave must be called once.
func (w *waits) park(worker match.Worker) (woken <-chan struct{}, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arrivals++
	p := &w.workers[worker.Kind]
	x := &parked{seq: w.arrivals, at: len(p.list), w: worker, woken: make(chan struct{}, 1)}
	p.list = append(p.list, x)
	return x.woken, func() { w.leave(x) }
}

func (w *waits) leave(x *parked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.workers[x.w.Kind]
	p.list[x.at] = nil
	p.gone++
	if p.gone <= len(p.list)/2 {
		return
	}
	kept := p.list[:0]
	for _, y := range p.list {
		if y != nil {
			y.at = len(kept)
			kept = append(kept, y)
		}
	}
	clear(p.list[len(kept):])
	p.list, p.gone = kept, 0
}

// waiting returns the workers of a kind that wait, first come first. Of what the pointers
// lead to only at changes.
func (w *waits) waiting(kind horde.Kind) []*parked {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.workers[kind].list
	var out []*parked
	for _, x := range list {
		if x != nil {
			out = append(out, x)
		}
	}
	return out
}

// takeDue returns the offers that are due and how far they got.
func (w *waits) takeDue() map[horde.RequestID]turn {
	w.mu.Lock()
	defer w.mu.Unlock()
	due := w.due
	w.due = map[horde.RequestID]turn{}
	return due
}

// putDue keeps offers for the next round, but those that began anew meanwhile.
func (w *waits) putDue(due map[horde.RequestID]turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, t := range due {
		if _, ok := w.due[id]; !ok {
			w.due[id] = t
		}
	}
}

// runWaker wakes waiting workers for the offers that suit them, until ctx is done.
func (e *Exchange) runWaker(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.waits.wake:
		case <-timer.C:
		}
		if e.wakeWorkers() {
			timer.Reset(retryWake)
		}
	}
}

// wakeWorkers lets each due offer wake as many workers as it has open slots. It tells whether
// offers are left that may have to wake more. A worker is woken once in a round: it looks at
// all offers anyway.
func (e *Exchange) wakeWorkers() bool {
	left := map[horde.RequestID]turn{}
	var idle [kinds][]*parked
	var looked [kinds]bool
	woken := map[*parked]struct{}{}
	for id, t := range e.waits.takeDue() {
		if !looked[t.kind] {
			idle[t.kind], looked[t.kind] = e.waits.waiting(t.kind), true
		}
		e.index.mu.RLock()
		o, open := e.index.queues[t.kind].Offer(id, e.now())
		e.index.mu.RUnlock()
		if !open {
			continue
		}
		payer := e.payer(o.Payer)
		payer.Job = o.Job
		from, _ := slices.BinarySearchFunc(idle[t.kind], t.after+1, func(x *parked, seq uint64) int { return cmp.Compare(x.seq, seq) })
		n := o.Open
		for _, x := range idle[t.kind][from:] {
			if n == 0 {
				break
			}
			t.after = x.seq
			if _, ok := woken[x]; !ok && match.Check(&x.w, &o.Shape, payer) == "" {
				woken[x] = struct{}{}
				poke(x.woken)
				n--
			}
		}
		if n < o.Open {
			left[id] = t
		}
	}
	e.waits.putDue(left)
	return len(left) > 0
}

// popLater is a Pop that waits up to p.Wait for a job. The worker is looked up again each time
// it is woken: it may be paused by now, or in maintenance.
func (e *Exchange) popLater(ctx context.Context, p horde.Pop) (horde.PopResult, error) {
	res, err := e.popNow(ctx, p)
	if err != nil || res.Grant != nil {
		return res, err
	}
	timer := time.NewTimer(p.Wait)
	defer timer.Stop()
	woken, leave := e.waits.park(e.waiterOf(p, res.Worker))
	defer leave()
	defer e.live.park(res.Worker.ID)()
	for {
		// Again at once: something may have come before the worker was parked.
		if res, err = e.popNow(ctx, p); err != nil || res.Grant != nil {
			return res, err
		}
		select {
		case <-woken:
		case <-timer.C:
			return res, nil
		case <-p.Leave:
			return res, nil
		case <-ctx.Done():
			return res, nil
		}
	}
}

// waiterOf is a worker as it is matched while it waits.
func (e *Exchange) waiterOf(p horde.Pop, w horde.Worker) match.Worker {
	profile, speed := e.live.profile(w.ID)
	if profile == nil {
		profile = match.NewProfile(w.Kind, p.Caps, e.models)
	}
	return match.Worker{
		ID: w.ID, Kind: w.Kind, Owner: w.Owner, OwnerTrusted: p.User.Is(horde.RoleTrusted),
		Speed: speed, Maintenance: w.Maintenance, Paused: w.Paused, Profile: profile,
	}
}

// park counts a worker as waiting for work until the returned function is called.
func (l *live) park(id horde.WorkerID) (leave func()) {
	add := func(n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if x := l.workers[id]; x != nil {
			x.parked = max(x.parked+n, 0) // it may have been forgotten in between
		}
	}
	add(1)
	return func() { add(-1) }
}

// profile is what a worker's last poll here is matched with, nil if there was none.
func (l *live) profile(id horde.WorkerID) (*match.Profile, float64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	x := l.workers[id]
	if x == nil {
		return nil, 0
	}
	return x.popProfile, x.samples.mean()
}
