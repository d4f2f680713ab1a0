package api

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// limited is a harness whose limits count, with routes that answer nothing.
func limited(t *testing.T, limits map[string][]limit) *harness {
	h := newHarness(t, func(c *Config) {
		c.NoRateLimits = false
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} // httptest's peer
	})
	ok := func(w http.ResponseWriter, _ *http.Request) error { return encode(w, 200, struct{}{}) }
	for path, l := range limits {
		h.s.mux.Handle(path, h.s.endpoint([]route{
			{method: "GET", path: path, handle: ok, limits: l},
			{method: "PUT", path: path, handle: ok, limits: l},
		}))
	}
	return h
}

func TestLimits(t *testing.T) {
	h := limited(t, map[string][]limit{
		"/ip/{id}":   {{n: 2, per: time.Second, by: byIP}},
		"/path/{id}": {{n: 2, per: time.Second, by: byPath}},
		"/key/{id}":  {{n: 1, per: time.Second, by: byKey, relaxed: 3}},
		"/both":      {{n: 3, per: time.Minute, by: byIP}, {n: 2, per: time.Second, by: byIP}},
		"/free":      exempt(),
	})
	const alice, bob, six = "198.51.100.1", "198.51.100.2", "2001:db8::1"
	type hit struct {
		method, path, ip string
		key              horde.APIKey
		after            time.Duration
		want             string // message of a breach, or "" for an answer
	}
	for _, tt := range []struct {
		name string
		hits []hit
	}{
		{"by address, methods and ids share", []hit{
			{"GET", "/ip/1", alice, "", 0, ""}, {"PUT", "/ip/2", alice, "", 0, ""},
			{"GET", "/ip/3", alice, "", 0, "2 per 1 second"}, {"GET", "/ip/1", bob, "", 0, ""},
			{"GET", "/ip/1", alice, "", time.Second, ""},
		}},
		{"an IPv6 network is one address", []hit{
			{"GET", "/ip/1", six, "", 0, ""}, {"GET", "/ip/1", "2001:db8::ffff", "", 0, ""},
			{"GET", "/ip/1", "2001:db8::2", "", 0, "2 per 1 second"}, {"GET", "/ip/1", "2001:db8:0:1::1", "", 0, ""},
		}},
		{"the window opens with the first hit", []hit{
			{"GET", "/path/w", alice, "", 0, ""}, {"GET", "/path/w", alice, "", 900 * time.Millisecond, ""},
			{"GET", "/path/w", alice, "", 50 * time.Millisecond, "2 per 1 second"}, {"GET", "/path/w", alice, "", 50 * time.Millisecond, ""},
		}},
		{"by path, methods and ids apart", []hit{
			{"GET", "/path/1", alice, "", 0, ""}, {"GET", "/path/1", alice, "", 0, ""}, {"GET", "/path/1", alice, "", 0, "2 per 1 second"},
			{"PUT", "/path/1", alice, "", 0, ""}, {"GET", "/path/2", alice, "", 0, ""},
		}},
		{"by key, whatever the address", []hit{
			{"GET", "/key/1", alice, "k1", 0, ""}, {"GET", "/key/1", bob, "k1", 0, "1 per 1 second"}, {"GET", "/key/1", alice, "k2", 0, ""},
		}},
		{"the anonymous key is many", []hit{
			{"GET", "/key/2", alice, "", 0, ""}, {"GET", "/key/2", alice, horde.AnonymousKey, 0, ""}, {"GET", "/key/2", bob, "", 0, ""},
			{"GET", "/key/2", alice, "", 0, "3 per 1 second"},
		}},
		{"shortest first, and a breach charges no longer window", []hit{
			{"GET", "/both", alice, "", 0, ""}, {"GET", "/both", alice, "", 0, ""}, {"GET", "/both", alice, "", 0, "2 per 1 second"},
			{"GET", "/both", alice, "", time.Second, ""}, {"GET", "/both", alice, "", 0, "3 per 1 minute"},
			{"GET", "/both", alice, "", time.Minute, ""},
		}},
		{"exempt", []hit{{"GET", "/free", alice, "", 0, ""}, {"GET", "/free", alice, "", 0, ""}, {"GET", "/free", alice, "", 0, ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.clock.advance(time.Hour) // closes the windows of the cases before
			for i, hit := range tt.hits {
				h.clock.advance(hit.after)
				a := h.do(hit.method, hit.path, hit.key, nil, "X-Forwarded-For", hit.ip)
				if got, _ := a.object()["message"].(string); got != hit.want || (a.status == 429) != (hit.want != "") {
					t.Errorf("hit %d: %d %q, want %q", i+1, a.status, got, hit.want)
				}
			}
		})
	}
}

func TestLimitHeaders(t *testing.T) {
	h := limited(t, map[string][]limit{
		"/x":    {{n: 3, per: time.Minute, by: byIP}, {n: 2, per: time.Second, by: byIP}},
		"/free": exempt(),
	})
	for i, want := range []string{"2 1", "2 0", "2 0"} {
		a := h.do("GET", "/x", "", nil)
		if got := a.header.Get("X-RateLimit-Limit") + " " + a.header.Get("X-RateLimit-Remaining"); got != want {
			t.Errorf("hit %d: %s, want %s", i+1, got, want)
		}
		if a.header.Get("X-RateLimit-Reset") == "" || a.header.Get("Retry-After") == "" {
			t.Errorf("hit %d: headers %v", i+1, a.header)
		}
	}
	h.clock.advance(time.Second)
	h.do("GET", "/x", "", nil)
	a := h.do("GET", "/x", "", nil)
	if got := a.header.Get("X-RateLimit-Limit"); got != "3" || a.status != 429 {
		t.Errorf("the minute is breached, told is %s with %d", got, a.status)
	}
	if got := h.do("GET", "/free", "", nil).header.Get("X-RateLimit-Limit"); got != "" {
		t.Errorf("exempt route tells limit %q", got)
	}
}

func TestTrustedUsersRelaxTheirAddress(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.NoRateLimits = false })
	body := `{"prompt":"x"}`
	h.do("POST", "/api/v2/generate/async", aliceKey, body).wants(202, "")
	h.do("POST", "/api/v2/generate/async", aliceKey, body).wants(202, "")
	h.do("POST", "/api/v2/generate/async", aliceKey, body).wants(429, "")
	h.clock.advance(time.Second)
	for range 10 {
		h.do("POST", "/api/v2/generate/async", ownerKey, body).wants(202, "")
	}
	h.do("POST", "/api/v2/generate/async", ownerKey, body).wants(429, "")
	h.clock.advance(relaxedTime + time.Second)
	h.do("POST", "/api/v2/generate/async", aliceKey, body).wants(202, "")
	h.do("POST", "/api/v2/generate/async", aliceKey, body).wants(202, "")
	h.do("POST", "/api/v2/generate/async", aliceKey, body).wants(429, "")
}

func TestLimiterForgets(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	l := newLimiter(c.now, nil)
	for i := range 3 * maxRelaxed {
		l.relax(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if n := len(l.relaxed); n > maxRelaxed {
		t.Errorf("%d relaxed addresses remembered, at most %d", n, maxRelaxed)
	}
}

func TestNoRateLimits(t *testing.T) {
	h := newHarness(t)
	for range 20 {
		a := h.do("POST", "/api/v2/generate/async", aliceKey, `{"prompt":"x"}`).wants(202, "")
		if a.header.Get("X-RateLimit-Limit") != "" {
			t.Fatal("limit headers although there are no limits")
		}
	}
}
