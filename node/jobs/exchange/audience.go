package exchange

import (
	"context"
	"slices"
	"sync"
	"time"

	"hordenode/internal/horde"
)

// Who waits at one node for a request of another:
//
//	waiter ── Watch ──► Status, with Watch set ──► home: notes the asking node, then answers
//	waiter ◄── waits ◄──────── opChanged ◄──────── home: the request has changed
//	waiter ── Status ──►                           … and so on, until it has what it waits for
//
// A look subscribes and reads at once, so nothing happens unseen between the two. What changes
// while a call is under way is told in the next, so a node gets one call at a time from a home,
// however many wait there. A call that was lost is made up for by reconnecting, when all
// waiters look again, and by a look every askHome.

const (
	// watchTTL is how long after its last look a node is told of changes.
	watchTTL = 3 * askHome
	// maxWatched is how many requests of this home may be watched elsewhere; beyond that,
	// waiters look every askHome only.
	maxWatched = 200_000
	// maxChanged is how many changes are told in one call.
	maxChanged = 4096
	// sweepAudience is how often those who have stopped waiting are forgotten.
	sweepAudience = time.Minute
	tellBudget    = 3 * time.Second
)

// audience is the nodes at which somebody waits for requests of this home.
type audience struct {
	wake chan struct{} // capacity 1: news are due

	mu   sync.Mutex // guards all below
	by   map[horde.RequestID][]seat
	news map[horde.NodeID]map[horde.RequestID]struct{} // to tell
	busy map[horde.NodeID]bool                         // being told
}

type seat struct {
	node  horde.NodeID
	until time.Time
}

func newAudience() *audience {
	return &audience{
		wake: make(chan struct{}, 1), by: map[horde.RequestID][]seat{},
		news: map[horde.NodeID]map[horde.RequestID]struct{}{}, busy: map[horde.NodeID]bool{},
	}
}

// sit notes that somebody waits at a node for a request.
func (a *audience) sit(node horde.NodeID, id horde.RequestID, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	seats, ok := a.by[id]
	if !ok && len(a.by) >= maxWatched {
		return
	}
	for i := range seats {
		if seats[i].node == node {
			seats[i].until = now.Add(watchTTL)
			return
		}
	}
	a.by[id] = append(seats, seat{node, now.Add(watchTTL)})
}

// changed makes the change of a request news for those who wait for it.
func (a *audience) changed(id horde.RequestID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.by[id] {
		if a.news[s.node] == nil {
			a.news[s.node] = map[horde.RequestID]struct{}{}
		}
		a.news[s.node][id] = struct{}{}
		poke(a.wake)
	}
}

// take returns what to tell now, by node. told must be called for each.
func (a *audience) take() map[horde.NodeID][]horde.RequestID {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[horde.NodeID][]horde.RequestID{}
	for node, news := range a.news {
		if a.busy[node] {
			continue
		}
		for id := range news {
			if len(out[node]) == maxChanged {
				break
			}
			out[node] = append(out[node], id)
			delete(news, id)
		}
		if len(news) == 0 {
			delete(a.news, node)
		}
		a.busy[node] = true
	}
	return out
}

func (a *audience) told(node horde.NodeID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.busy, node)
	if len(a.news[node]) > 0 {
		poke(a.wake)
	}
}

// sweep forgets nodes that have not looked for long.
func (a *audience) sweep(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, seats := range a.by {
		seats = slices.DeleteFunc(seats, func(s seat) bool { return now.After(s.until) })
		if len(seats) == 0 {
			delete(a.by, id)
			continue
		}
		a.by[id] = seats
	}
}

// runAudience tells other nodes what their clients wait for, until ctx is done.
func (e *Exchange) runAudience(ctx context.Context) error {
	sweep := time.NewTicker(sweepAudience)
	defer sweep.Stop()
	var wg sync.WaitGroup // one call for each node at most
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			e.audience.sweep(e.now())
			continue
		case <-e.audience.wake:
		}
		for node, ids := range e.audience.take() {
			wg.Go(func() {
				defer e.audience.told(node)
				e.tellChanged(ctx, node, ids)
			})
		}
	}
}

// tellChanged tells a node that requests have changed.
func (e *Exchange) tellChanged(ctx context.Context, node horde.NodeID, ids []horde.RequestID) {
	ctx, cancel := context.WithTimeout(ctx, tellBudget)
	defer cancel()
	req := jobRequest{Op: opChanged, Changed: ids}
	_, err := e.callJob(ctx, node, req)
	if err != nil && ctx.Err() == nil {
		_, err = e.callJob(ctx, node, req)
	}
	if err != nil {
		e.log.DebugContext(ctx, "changes not told", "node", node, "requests", len(ids), "err", err)
	}
}

// hearChanged wakes who waits here for requests of another home.
func (e *Exchange) hearChanged(from horde.NodeID, ids []horde.RequestID) (*jobResponse, error) {
	if len(ids) > maxChanged {
		return nil, errInvalid
	}
	for _, id := range ids {
		if e.keeps(from, id.Home()) {
			e.waits.changed(id)
		}
	}
	return &jobResponse{}, nil
}

// watched tells whether somebody waits here for a request.
func (w *waits) watched(id horde.RequestID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests[id]) > 0
}

// homeIsBack wakes who waits for requests of a home: it may have had no way to tell of
// changes.
func (w *waits) homeIsBack(home horde.HomeTag) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, list := range w.requests {
		if id.Home() != home {
			continue
		}
		for _, ch := range list {
			poke(ch)
		}
	}
}
