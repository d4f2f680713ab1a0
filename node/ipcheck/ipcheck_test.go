package ipcheck

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hordenode/internal/outbound"
)

// A service is a reputation service of the test's own.
type service struct {
	*httptest.Server
	calls  atomic.Int32
	answer func(ip string) (status int, body string)
}

func newService(t *testing.T, answer func(ip string) (int, string)) *service {
	s := &service{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		status, body := s.answer(r.URL.Query().Get("ip"))
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

// A clock stands still unless it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

func open(t *testing.T, s *service) (*Checker, *clock) {
	t.Helper()
	out := outbound.New(outbound.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(out.Close)
	cl := &clock{t: time.Unix(1_800_000_000, 0)}
	c, err := Open(Config{URL: s.URL + "/?key=secret&ip=" + Placeholder, Get: out, Now: cl.now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c, cl
}

func TestVerdicts(t *testing.T) {
	s := newService(t, func(ip string) (int, string) {
		switch ip {
		case "8.8.8.1":
			return 200, "0.92"
		case "8.8.8.2":
			return 200, " 0.93\n"
		case "2a00:1450::1":
			return 200, "1"
		case "8.8.8.4":
			return 200, "surely"
		case "8.8.8.5":
			return 429, "1"
		case "8.8.8.6":
			return 200, strings.Repeat("1", maxAnswer+1)
		}
		return 200, "1"
	})
	for _, tt := range []struct {
		ip      string
		unsafe  bool
		asked   int32
		failure int64
	}{
		{"8.8.8.1", false, 1, 0},
		{"8.8.8.2", true, 1, 0},
		{"::ffff:8.8.8.2", true, 1, 0},
		{"2a00:1450::1", true, 1, 0},
		{"8.8.8.4", false, 1, 1},
		{"8.8.8.5", false, 1, 1},
		{"8.8.8.6", false, 1, 1},
		{"127.0.0.1", false, 0, 0}, // what is not public is not told
		{"192.168.1.1", false, 0, 0},
		{"fe80::1", false, 0, 0},
	} {
		t.Run(tt.ip, func(t *testing.T) {
			c, _ := open(t, s)
			before := s.calls.Load()
			for range 3 {
				if got := c.Unsafe(t.Context(), netip.MustParseAddr(tt.ip)); got != tt.unsafe {
					t.Errorf("unsafe: %v, want %v", got, tt.unsafe)
				}
			}
			if got := s.calls.Load() - before; got != tt.asked {
				t.Errorf("asked %d times, want %d", got, tt.asked)
			}
			if got := c.Counters().Failed; got != tt.failure {
				t.Errorf("%d failures, want %d", got, tt.failure)
			}
		})
	}
	if c, _ := open(t, s); c.Unsafe(t.Context(), netip.Addr{}) {
		t.Error("no address at all is unsafe")
	}
}

// A verdict holds for six hours, for all of an IPv6 /64.
func TestVerdictsAreForgotten(t *testing.T) {
	s := newService(t, func(string) (int, string) { return 200, "1" })
	c, cl := open(t, s)
	for i, tt := range []struct {
		pass  time.Duration
		ip    string
		calls int32
	}{
		{0, "2a00:1450:0:1::1", 1}, {0, "2a00:1450:0:1:ffff::2", 1}, {0, "2a00:1450:0:2::1", 2},
		{remember - time.Second, "2a00:1450:0:1::9", 2}, {time.Second, "2a00:1450:0:1::1", 3},
	} {
		cl.pass(tt.pass)
		if !c.Unsafe(t.Context(), netip.MustParseAddr(tt.ip)) || s.calls.Load() != tt.calls {
			t.Errorf("%d: %d calls, want %d", i, s.calls.Load(), tt.calls)
		}
	}
}

// A service that is down costs nobody anything, and is left alone for a while.
func TestFailsOpen(t *testing.T) {
	down := true
	s := newService(t, func(string) (int, string) {
		if down {
			return 500, ""
		}
		return 200, "1"
	})
	c, cl := open(t, s)
	ip := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{9, 9, 9, byte(n)}) }
	for n := range 10 {
		if c.Unsafe(t.Context(), ip(n)) {
			t.Error("unsafe without a verdict")
		}
	}
	if got, want := c.Counters(), (Counters{Asked: maxFailures, Failed: 10}); got != want || s.calls.Load() != maxFailures {
		t.Errorf("got %+v, want %+v", got, want)
	}
	down = false
	cl.pass(leaveAlone)
	if !c.Unsafe(t.Context(), ip(20)) {
		t.Error("the service is not asked again")
	}
	if c.Unsafe(t.Context(), ip(0)) {
		t.Error("what was not known is asked again at once")
	}
	cl.pass(rememberBad)
	if !c.Unsafe(t.Context(), ip(0)) {
		t.Error("what was not known is not asked again")
	}
}

// Many who ask about one address at once ask the service once; who goes away does not take
// the answer from the others.
func TestAsksOnce(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s := newService(t, func(string) (int, string) {
		close(arrived)
		<-release
		return 200, "1"
	})
	c, _ := open(t, s)
	ip := netip.MustParseAddr("9.9.9.9")
	first, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var found atomic.Int32
	look := func(ctx context.Context) {
		if c.Unsafe(ctx, ip) {
			found.Add(1)
		}
	}
	wg.Go(func() { look(first) })
	<-arrived
	gone, away := context.WithCancel(t.Context())
	away()
	look(gone)
	if found.Load() != 0 {
		t.Error("an answer before there is one")
	}
	for range 8 {
		wg.Go(func() { look(t.Context()) })
	}
	leave()
	close(release)
	wg.Wait()
	if found.Load() != 9 || s.calls.Load() != 1 {
		t.Errorf("%d found it unsafe with %d questions, want 9 with 1", found.Load(), s.calls.Load())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	c := &Checker{known: map[netip.Prefix]verdict{}}
	now := time.Unix(0, 0)
	for i := range maxKnown {
		c.known[netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}), 32)] = verdict{until: now.Add(time.Hour)}
	}
	if c.makeRoom(now); len(c.known) > maxKnown*3/4 {
		t.Errorf("%d are known, at most %d", len(c.known), maxKnown*3/4)
	}
}

func TestCheckURL(t *testing.T) {
	for _, tt := range []struct {
		url string
		ok  bool
	}{
		{"https://rep.example/{ipaddr}?key=s", true}, {"http://127.0.0.1:99/check?ip={ipaddr}", true},
		{"https://rep.example/", false}, {"", false}, {"ftp://rep.example/{ipaddr}", false}, {"{ipaddr}", false}, {"https://", false},
	} {
		if err := CheckURL(tt.url); (err == nil) != tt.ok || err != nil && strings.Contains(err.Error(), "key=s") {
			t.Errorf("%q: %v, want ok %v", tt.url, err, tt.ok)
		}
	}
}
