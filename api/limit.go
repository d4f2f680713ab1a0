package api

import (
	"fmt"
	"hash/maphash"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"hordenode/internal/horde"
)

// A limit allows n requests per window; the window opens with the first of them
// (spec/moderation.md section 2).
type limit struct {
	n       int
	per     time.Duration
	by      limitKey
	relaxed int // n for relaxed addresses, with byKey also for the anonymous key; 0: n
}

// limitKey says what shares a window.
type limitKey uint8

const (
	byIP   limitKey = iota // address, for all methods of the path pattern
	byPath                 // address, method and full path with its ids
	byKey                  // API key, method and full path
)

// exempt is the limits of a route without any.
func exempt() []limit { return []limit{} }

// defaultLimits apply to routes that name none.
func defaultLimits() []limit { return []limit{{n: 90, per: time.Minute, by: byIP}} }

// text is how a breach is told.
func (l limit) text(n int) string {
	unit := map[time.Duration]string{time.Second: "second", time.Minute: "minute", time.Hour: "hour"}[l.per]
	return fmt.Sprintf("%d per 1 %s", n, unit)
}

// allow counts the request against the route's limits, shortest window first; the first
// breach stops. The headers tell the breached limit, or else the shortest.
func (s *Server) allow(rt route, w *responder, r *http.Request) error {
	limits := rt.limits
	if limits == nil {
		limits = defaultLimits()
	}
	if s.cfg.NoRateLimits || len(limits) == 0 {
		return nil
	}
	limits = slices.SortedStableFunc(slices.Values(limits), func(a, b limit) int { return int(a.per - b.per) })
	ip := s.clientIP(r)
	key, hasKey := apikey(r)
	if !hasKey {
		key = horde.AnonymousKey
	}
	relaxed := s.limiter.isRelaxed(ip)
	for i, l := range limits {
		n := l.n
		if l.relaxed > 0 && (relaxed || l.by == byKey && key == horde.AnonymousKey) {
			n = l.relaxed
		}
		var who string
		switch l.by {
		case byIP:
			who = "ip " + rt.path + " " + network(ip)
		case byPath:
			who = "path " + r.Method + " " + r.URL.Path + " " + network(ip)
		case byKey:
			who = "key " + r.Method + " " + r.URL.Path + " " + string(key)
		}
		left, reset := s.limiter.hit(fmt.Sprintf("%d %s", l.per, who), n, l.per)
		if i == 0 || left < 0 {
			h := w.Header()
			h.Set("X-RateLimit-Limit", strconv.Itoa(n))
			h.Set("X-RateLimit-Remaining", strconv.Itoa(max(left, 0)))
			h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix()+1, 10))
			h.Set("Retry-After", strconv.Itoa(int(reset.Sub(s.now())/time.Second)+1))
		}
		if left < 0 {
			return plain(http.StatusTooManyRequests, l.text(n))
		}
	}
	return nil
}

// network is what counts as one address: IPv6 hosts change theirs within a /64.
func network(ip netip.Addr) string {
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

const (
	maxWindows  = 1 << 17 // windows remembered
	maxRelaxed  = 1 << 14 // relaxed addresses remembered
	relaxedTime = 24 * time.Hour
)

// A limiter counts requests of this node in fixed windows.
type limiter struct {
	now  func() time.Time
	seed maphash.Seed

	mu      sync.Mutex // guards the fields below
	windows map[uint64]window
	relaxed map[netip.Addr]time.Time // until when
}

type window struct {
	ends time.Time
	hits int
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, seed: maphash.MakeSeed(), windows: map[uint64]window{}, relaxed: map[netip.Addr]time.Time{}}
}

// hit counts one request. left is how many more are allowed, -1 if this one is not.
func (l *limiter) hit(key string, n int, per time.Duration) (left int, reset time.Time) {
	k := maphash.String(l.seed, key)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	w, ok := l.windows[k]
	if !ok || !now.Before(w.ends) {
		l.makeRoom(now)
		w = window{ends: now.Add(per)}
	}
	if w.hits >= n {
		return -1, w.ends
	}
	w.hits++
	l.windows[k] = w
	return n - w.hits, w.ends
}

// makeRoom forgets windows that have ended, and if there are still too many, all of them.
// The lock is held.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.windows) < maxWindows {
		return
	}
	for k, w := range l.windows {
		if !now.Before(w.ends) {
			delete(l.windows, k)
		}
	}
	if len(l.windows) >= maxWindows*3/4 {
		clear(l.windows)
	}
}

// relax gives an address wider limits for a day: a trusted account was used from it.
func (l *limiter) relax(ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.relaxed) >= maxRelaxed {
		clear(l.relaxed)
	}
	l.relaxed[ip] = l.now().Add(relaxedTime)
}

func (l *limiter) isRelaxed(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now().Before(l.relaxed[ip])
}
