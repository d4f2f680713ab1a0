package exchange

import (
	"time"

	"hordenode/internal/horde"
)

// WorkersByNode counts the workers that are online by the node that they last checked in at.
func (e *Exchange) WorkersByNode() map[horde.NodeID]int { return e.live.byNode(e.now()) }

func (l *live) byNode(now time.Time) map[horde.NodeID]int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	count := map[horde.NodeID]int{}
	for _, w := range l.workers {
		if now.Sub(w.checkedIn) <= horde.StaleAfter {
			count[w.node]++
		}
	}
	return count
}
