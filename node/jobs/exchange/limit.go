package exchange

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"hordenode/internal/horde"
)

// limits are token buckets, one for each sender of gossip. Only members have one, so they
// are as many as the federation has had members in this process's life.
type limits struct {
	mu      sync.Mutex
	buckets map[horde.NodeID]*rate.Limiter
}

// allow takes n tokens of a sender's bucket, or none if there are fewer.
func (l *limits) allow(from horde.NodeID, n int, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[from]
	if b == nil {
		b = rate.NewLimiter(senderRate, senderBurst)
		l.buckets[from] = b
	}
	return b.AllowN(now, n)
}
