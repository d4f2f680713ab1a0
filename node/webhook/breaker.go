package webhook

import (
	"sync"
	"time"
)

const (
	tripAfter = 6                // attempts in a row that a host did not take
	tripFor   = 30 * time.Second // the first time; doubled while it goes on, up to tripMost
	tripMost  = 10 * time.Minute
	maxHosts  = 4096 // remembered
)

// breaker remembers hosts that do not answer. While a host is tripped nothing is sent to it;
// then one attempt at a time finds out whether it is back.
type breaker struct {
	mu    sync.Mutex // guards hosts
	hosts map[string]*health
}

type health struct {
	failures int
	pause    time.Duration
	until    time.Time // tripped until then; zero: not tripped
	probing  bool
}

// allow tells whether host may be called now.
func (b *breaker) allow(host string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.hosts[host]
	switch {
	case h == nil || h.until.IsZero():
		return true
	case now.Before(h.until) || h.probing:
		return false
	}
	h.probing = true
	return true
}

// done says how an attempt that was allowed ended.
func (b *breaker) done(host string, ok bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ok {
		delete(b.hosts, host)
		return
	}
	h := b.hosts[host]
	if h == nil {
		if len(b.hosts) >= maxHosts {
			b.forget(now)
		}
		h = &health{}
		b.hosts[host] = h
	}
	h.probing = false
	if h.failures++; h.failures >= tripAfter {
		h.pause = min(max(2*h.pause, tripFor), tripMost)
		h.until = now.Add(h.pause)
	}
}

// forget makes room: hosts that are not tripped go first. b.mu is held.
func (b *breaker) forget(now time.Time) {
	for host, h := range b.hosts {
		if now.After(h.until) && !h.probing {
			delete(b.hosts, host)
		}
	}
	if len(b.hosts) >= maxHosts {
		clear(b.hosts)
	}
}
