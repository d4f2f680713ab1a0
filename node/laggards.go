package node

import (
	"sync"
	"time"

	"hordenode/internal/horde"
)

const (
	// lagAfter is how many times in a row a node must fail to keep up before it is not waited
	// for: once may be a pause of the collector, or a full line.
	lagAfter = 3
	// lagFor is how long it is not waited for then.
	lagFor = 2 * time.Second
)

// laggards are members that are connected and do not keep up: they are being sent a snapshot
// over a thin line, say. A write waits until all others have it (docs/decisions/0004); without
// this list it would wait in vain for them, its full 150 ms each time. The zero value is an
// empty list.
type laggards struct {
	mu      sync.Mutex // guards members
	members map[horde.NodeID]lag
}

type lag struct {
	misses int       // in a row
	until  time.Time // when to wait for it again
}

// keepsUp tells whether a member is worth waiting for.
func (l *laggards) keepsUp(id horde.NodeID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !now.Before(l.members[id].until)
}

// saw notes whether a member had applied a write in time.
func (l *laggards) saw(id horde.NodeID, inTime bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if inTime {
		delete(l.members, id)
		return
	}
	if l.members == nil {
		l.members = map[horde.NodeID]lag{}
	}
	x := l.members[id]
	if x.misses++; x.misses >= lagAfter {
		x.until = now.Add(lagFor)
	}
	l.members[id] = x
}
