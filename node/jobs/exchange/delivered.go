package exchange

import (
	"sync"
	"time"
)

// delivered counts what was delivered to this home in the past minute.
type delivered struct {
	mu      sync.Mutex
	seconds [60]second
}

type second struct {
	unix   int64
	things [kinds]int64
}

// add counts raw things of a kind.
func (d *delivered) add(kind int, things int64, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.seconds[now.Unix()%60]
	if s.unix != now.Unix() {
		*s = second{unix: now.Unix()}
	}
	s.things[kind] += things
}

// past returns the raw things of the past 60 seconds, by kind.
func (d *delivered) past(now time.Time) (sum [kinds]int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.seconds {
		if now.Unix()-s.unix < 60 {
			for k := range sum {
				sum[k] += s.things[k]
			}
		}
	}
	return sum
}
