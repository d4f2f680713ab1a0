package jobs

import (
	"sync/atomic"

	"hordenode/internal/horde"
)

// Counters tell what a home has and did since it was opened. Decoys are in none but Decoys.
type Counters struct {
	Requests int    // kept, finished ones included
	Open     [3]int // slots that nobody has, by kind
	Running  [3]int // jobs handed out, by kind
	Outbox   int    // commands that wait for the ledger

	Accepted, Granted, Delivered, Faulted, Aborted, Expired, Decoys int64
	Damaged                                                         int64 // records that were not what was written
}

type counters struct {
	open, running                                                            [3]atomic.Int64
	accepted, granted, delivered, faulted, aborted, expired, decoys, damaged atomic.Int64
}

// request takes r's slots into account. r.mu is held.
func (c *counters) request(r *request) {
	k := min(r.kind, horde.KindAlchemy)
	open, running := r.open, r.running
	if r.deleted {
		open, running = 0, 0
	}
	c.open[k].Add(int64(open - r.countedOpen))
	c.running[k].Add(int64(running - r.countedRunning))
	r.countedOpen, r.countedRunning = open, running
}

// Counters returns the present figures.
func (h *Home) Counters() Counters {
	h.mu.RLock()
	n := len(h.requests)
	h.mu.RUnlock()
	c := Counters{
		Requests: n, Outbox: h.store.out.count(),
		Accepted: h.count.accepted.Load(), Granted: h.count.granted.Load(), Delivered: h.count.delivered.Load(),
		Faulted: h.count.faulted.Load(), Aborted: h.count.aborted.Load(), Expired: h.count.expired.Load(),
		Decoys: h.count.decoys.Load(), Damaged: h.count.damaged.Load(),
	}
	for k := range c.Open {
		c.Open[k] = int(h.count.open[k].Load())
		c.Running[k] = int(h.count.running[k].Load())
	}
	return c
}
