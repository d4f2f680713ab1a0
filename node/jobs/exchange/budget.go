package exchange

import (
	"log/slog"
	"sync"
	"time"

	"hordenode/internal/horde"
)

// How many jobs a member may have at a time for the workers that poll there. One that lets
// most of its leases end gets few until it delivers again.
const (
	maxOutstanding = 16_384    // of a member that delivers
	onProbation    = 4         // of one that does not
	lapsesForgiven = 8         // before it counts: workers fail everywhere
	lapseMemory    = time.Hour // for how long a result that comes late still counts
	budgetHalfLife = 10 * time.Minute
	maxBooked      = 2 * maxOutstanding // jobs remembered of a member
)

// budgets remember which jobs each member claimed and what became of them.
type budgets struct {
	mu    sync.Mutex // guards all below
	nodes map[horde.NodeID]*budget
	jobs  map[horde.JobID]horde.NodeID
}

// A budget is one member's. delivered and lapsed are halved every ten minutes.
type budget struct {
	booked            map[horde.JobID]*booking
	live              int // booked and not lapsed
	delivered, lapsed float64
	at                time.Time // of the last halving
	settled           time.Time // when leases were looked at
	limited           bool
}

type booking struct {
	until  time.Time
	lapsed bool
}

func newBudgets() *budgets {
	return &budgets{nodes: map[horde.NodeID]*budget{}, jobs: map[horde.JobID]horde.NodeID{}}
}

// allow tells whether a member may have one more job, and logs when that changes.
func (b *budgets) allow(node horde.NodeID, now time.Time, log *slog.Logger) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.nodes[node]
	if x == nil {
		return true
	}
	b.settle(x, now)
	most := maxOutstanding
	bad := x.lapsed >= lapsesForgiven && x.lapsed > x.delivered
	if bad {
		most = onProbation
	}
	if bad != x.limited {
		x.limited = bad
		log.Warn("claims of a member changed their limit: does it deliver?", "node", node, "limit", most,
			"lapsed", int(x.lapsed), "delivered", int(x.delivered))
	}
	return x.live < most
}

// settle counts the leases that have ended, and forgets old ones. It looks once a second.
func (b *budgets) settle(x *budget, now time.Time) {
	if now.Sub(x.settled) < time.Second {
		return
	}
	x.settled = now
	for now.Sub(x.at) >= budgetHalfLife {
		x.delivered, x.lapsed = x.delivered/2, x.lapsed/2
		x.at = x.at.Add(budgetHalfLife)
		if x.delivered+x.lapsed < 0.01 {
			x.at = now
		}
	}
	for id, k := range x.booked {
		if !k.lapsed && now.After(k.until) {
			k.lapsed = true
			x.live--
			x.lapsed++
		}
		if now.Sub(k.until) > lapseMemory {
			delete(x.booked, id)
			delete(b.jobs, id)
		}
	}
}

// book notes that a member was given jobs.
func (b *budgets) book(node horde.NodeID, g *horde.Grant, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.nodes[node]
	if x == nil {
		x = &budget{booked: map[horde.JobID]*booking{}, at: now}
		b.nodes[node] = x
	}
	for _, id := range g.Jobs {
		if _, again := x.booked[id]; again || len(x.booked) >= maxBooked {
			continue
		}
		x.booked[id] = &booking{until: now.Add(time.Duration(g.TTL) * time.Second)}
		x.live++
		b.jobs[id] = node
	}
}

// done notes that a result came, in time or not, taken or not: the member was at work, and
// what it could not bring may have been our fault. A failure is no result.
func (b *budgets) done(id horde.JobID, failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	node, ok := b.jobs[id]
	if !ok {
		return
	}
	x := b.nodes[node]
	if k := x.booked[id]; k.lapsed {
		x.lapsed = max(x.lapsed-1, 0)
	} else {
		x.live--
	}
	if failed {
		x.lapsed++
	} else {
		x.delivered++
	}
	delete(x.booked, id)
	delete(b.jobs, id)
}
