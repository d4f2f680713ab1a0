package exchange

import (
	"context"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/horde"
)

const (
	// helloBudget bounds how long a worker's first poll is held up so that other nodes know
	// of the worker; it is that of a ledger write (docs/decisions/0004).
	helloBudget = 150 * time.Millisecond
	// deafFor is how long a node that did not answer is left to gossip.
	deafFor = 5 * time.Second
	// heardWithin is how lately a node must have spoken to be waited for.
	heardWithin = 3 * beaconEvery
	// maxHello is the size of the records that are told at once, in bytes; the rest is left to
	// gossip.
	maxHello = MaxSyncPage
)

// hello tells the connected nodes of a worker that is new, is back, or can do other things
// than before, and returns when they know. A worker that was answered is then known
// everywhere: a client that posts at whichever node after that is not told that nobody can
// serve it. That costs a round of calls where something changed, and nothing where a request
// is posted; gossip tells it as well, to those who are away for the moment.
//
// Workers that come while a round is under way share the next one, so a node that has just
// started makes a few rounds for thousands of workers.
type hello struct {
	turn chan struct{} // capacity 1: a round is under way

	mu   sync.Mutex                  // guards all below
	next *round                      // that workers still join; nil: none
	deaf map[horde.HomeTag]time.Time // nodes that did not answer
}

type round struct {
	workers []horde.WorkerID
	done    chan struct{}
}

func newHello() *hello {
	return &hello{turn: make(chan struct{}, 1), deaf: map[horde.HomeTag]time.Time{}}
}

// join adds a worker to the next round. first tells whether the caller has to make it happen.
func (h *hello) join(id horde.WorkerID) (r *round, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next == nil {
		h.next, first = &round{done: make(chan struct{})}, true
	}
	h.next.workers = append(h.next.workers, id)
	return h.next, first
}

// begin closes the round for further workers.
func (h *hello) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next = nil
}

func (h *hello) isDeaf(tag horde.HomeTag, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return now.Before(h.deaf[tag])
}

func (h *hello) heard(tag horde.HomeTag, answered bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if answered {
		delete(h.deaf, tag)
		return
	}
	h.deaf[tag] = now.Add(deafFor)
}

// tellWorker returns when the connected nodes know what this node knows of a worker, or
// after helloBudget.
func (e *Exchange) tellWorker(ctx context.Context, id horde.WorkerID) {
	listeners := e.listeners()
	if len(listeners) == 0 {
		return
	}
	r, first := e.hello.join(id)
	if !first {
		timer := time.NewTimer(2 * helloBudget) // the round before, and its own
		defer timer.Stop()
		select {
		case <-r.done:
		case <-timer.C:
		case <-ctx.Done():
		}
		return
	}
	e.hello.turn <- struct{}{} // a round takes helloBudget at most
	defer func() { <-e.hello.turn }()
	defer close(r.done)
	e.hello.begin()
	records, err := e.live.records(r.workers, e.now())
	if err != nil {
		e.log.ErrorContext(ctx, "workers not told", "workers", len(r.workers), "err", err)
		return
	}
	// Others wait for this round: it does not end with this caller.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), helloBudget)
	defer cancel()
	var wg sync.WaitGroup
	for _, node := range listeners {
		wg.Go(func() {
			_, err := e.callJob(ctx, node, jobRequest{Op: opWorkers, Workers: records})
			e.hello.heard(node.Tag(), err == nil, e.now())
			if err != nil {
				e.log.InfoContext(ctx, "workers told by gossip only", "node", node, "err", err)
			}
		})
	}
	wg.Wait()
}

// listeners are the other members that spoke lately.
func (e *Exchange) listeners() []horde.NodeID {
	now := e.now()
	var nodes []horde.NodeID
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	for _, m := range e.ledger.Members() {
		if !m.Active || m.ID == e.self || e.hello.isDeaf(m.ID.Tag(), now) {
			continue
		}
		if f := e.index.feeds[m.ID.Tag()]; f != nil && now.Sub(f.heard) <= heardWithin {
			nodes = append(nodes, m.ID)
		}
	}
	return nodes
}

// records are the full records of some workers, as many as fit maxHello.
func (l *live) records(ids []horde.WorkerID, now time.Time) ([]cbor.RawMessage, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []cbor.RawMessage
	size := 0
	for _, id := range ids {
		x := l.workers[id]
		if x == nil {
			continue
		}
		raw, err := x.record(now, false)
		if err != nil {
			return nil, err
		}
		if size += len(raw); size > maxHello {
			break
		}
		out = append(out, raw)
	}
	return out, nil
}

// hearWorkers takes in the workers that another node tells of.
func (e *Exchange) hearWorkers(from horde.NodeID, records []cbor.RawMessage) (*jobResponse, error) {
	now := e.now()
	if len(records) > maxRecords || !e.member(from) {
		return nil, errInvalid
	}
	if !e.limits.allow(from, 1+len(records), now) {
		return nil, unavailable("Too many workers at once.", nil)
	}
	for _, raw := range records {
		r, err := decode[workerRecord](raw)
		if err != nil {
			return nil, err
		}
		if err := checkRecord(r); err != nil {
			return nil, err
		}
		e.live.learn(r, now)
	}
	return &jobResponse{}, nil
}
