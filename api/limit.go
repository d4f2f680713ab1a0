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

	"hordenode/api/ratelimit"
	"hordenode/internal/horde"
)

// A limit allows n requests per window; the window opens with the first of them
// (spec/moderation.md section 2). All nodes count together (package ratelimit).
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
	ip, effective := s.clientIP(r), s.effectiveIP(r)
	key, hasKey := apikey(r)
	if !hasKey {
		key = horde.AnonymousKey
	}
	relaxed := s.limiter.isRelaxed(effective)
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
			who = "path " + r.Method + " " + r.URL.Path + " " + network(effective)
		case byKey:
			who = "key " + r.Method + " " + r.URL.Path + " " + string(key)
		}
		left, reset := s.limiter.counter.Hit(fmt.Sprintf("%d %s", l.per, who), n, l.per)
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
	maxRelaxed  = 1 << 14 // relaxed addresses remembered
	relaxedTime = 24 * time.Hour
)

// A limiter counts requests, and knows which addresses may make more of them.
type limiter struct {
	now     func() time.Time
	counter *ratelimit.Counter

	mu      sync.Mutex               // guards relaxed
	relaxed map[netip.Addr]time.Time // until when
}

// newLimiter returns a limiter that counts with c, or, if that is nil, this node's requests
// only.
func newLimiter(now func() time.Time, c *ratelimit.Counter) *limiter {
	if c == nil {
		seed := maphash.MakeSeed()
		c = ratelimit.New(now, func(name string) uint64 { return maphash.String(seed, name) })
	}
	return &limiter{now: now, counter: c, relaxed: map[netip.Addr]time.Time{}}
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
