package api

import (
	"errors"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

const newKey = "new-key-00000000000000"

func TestUnknownKeyIsConfirmedOnce(t *testing.T) {
	h := newHarness(t)
	check := func() answer { return h.do("POST", "/api/v2/generate/async", newKey, `{"prompt":"x"}`) }
	check().wants(401, horde.RCInvalidAPIKey)
	check().wants(401, horde.RCInvalidAPIKey)
	if h.accounts.syncs != 1 {
		t.Errorf("%d confirmations of one unknown key, want 1", h.accounts.syncs)
	}
	h.clock.advance(missMemory)
	check().wants(401, horde.RCInvalidAPIKey)
	if h.accounts.syncs != 2 {
		t.Errorf("%d confirmations after the memory faded, want 2", h.accounts.syncs)
	}
}

func TestKeyMadeElsewhereWorksAtOnce(t *testing.T) {
	h := newHarness(t)
	h.accounts.remote[newKey] = horde.User{ID: 9, Name: "new", Concurrency: 30, Kudos: horde.Whole(100)}
	h.do("POST", "/api/v2/generate/async", newKey, `{"prompt":"x"}`).wants(202, "")
}

func TestUnreachableLedgerIsNo401(t *testing.T) {
	h := newHarness(t)
	h.accounts.syncErr = errors.New("no leader")
	a := h.do("POST", "/api/v2/generate/async", newKey, `{"prompt":"x"}`).wants(503, horde.RCUnavailable)
	if a.header.Get("Retry-After") == "" || strings.Contains(a.body, "leader") {
		t.Errorf("Retry-After %q, body %s", a.header.Get("Retry-After"), a.body)
	}
	h.accounts.syncErr = nil
	h.do("POST", "/api/v2/generate/async", newKey, `{"prompt":"x"}`).wants(401, horde.RCInvalidAPIKey)
}

func TestFloodOfKeysIsBounded(t *testing.T) {
	h := newHarness(t)
	statuses := map[int]int{}
	for i := range 1000 {
		key := horde.APIKey(strings.Repeat("k", 1+i%100) + string(rune('a'+i/100)))
		statuses[h.do("POST", "/api/v2/generate/async", key, `{"prompt":"x"}`).status]++
	}
	if h.accounts.syncs > 2*missRate || statuses[401] == 0 || statuses[503] == 0 {
		t.Errorf("%d confirmations, answers %v", h.accounts.syncs, statuses)
	}
	h.do("POST", "/api/v2/generate/async", aliceKey, `{"prompt":"x"}`).wants(202, "")
}

func TestKeyHeader(t *testing.T) {
	h := newHarness(t)
	if got := h.do("POST", "/api/v2/generate/async", "", `{"prompt":"x"}`).wants(400, "").errorsAt(); got != "apikey" {
		t.Errorf("errors at %q, want apikey", got)
	}
	h.do("POST", "/api/v2/generate/async", "", `{"prompt":"x"}`, "apikey", "").wants(401, horde.RCInvalidAPIKey)
	h.do("POST", "/api/v2/generate/async", "", `{"prompt":"x"}`, "apikey", strings.Repeat("x", 1000)).wants(401, horde.RCInvalidAPIKey)
	if h.accounts.syncs != 0 {
		t.Errorf("%d confirmations of impossible keys", h.accounts.syncs)
	}
}

func TestClientAgent(t *testing.T) {
	for _, tt := range []struct{ header, value, want string }{
		{"Client-Agent", "a:1:b", "a:1:b"},
		{"client_agent", "KoboldAiLite:17", "KoboldAiLite:17"},
		{"X-Other", "x", "unknown:0:unknown"},
		{"Client-Agent", strings.Repeat("ä", 300), strings.Repeat("ä", 250)},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(tt.header, tt.value)
		if got := clientAgent(r); got != tt.want {
			t.Errorf("%s %.20q: %.20q, want %.20q", tt.header, tt.value, got, tt.want)
		}
	}
}

func TestClientIP(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	})
	for _, tt := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"direct", "203.0.113.5:1000", nil, "203.0.113.5"},
		{"a stranger forwards", "203.0.113.5:1000", []string{"10.0.0.1"}, "203.0.113.5"},
		{"proxied", "127.0.0.1:1000", []string{"203.0.113.9"}, "203.0.113.9"},
		{"last hop of several", "127.0.0.1:1000", []string{"1.1.1.1, 2.2.2.2"}, "2.2.2.2"},
		{"last header of several", "127.0.0.1:1000", []string{"1.1.1.1", "3.3.3.3, 4.4.4.4"}, "4.4.4.4"},
		{"with port", "127.0.0.1:1000", []string{"[2001:db8::1]:99"}, "2001:db8::1"},
		{"garbage", "127.0.0.1:1000", []string{"unknown"}, "127.0.0.1"},
		{"mapped peer", "[::ffff:127.0.0.1]:1000", []string{"2001:db8::1"}, "2001:db8::1"},
		{"no peer", "@", []string{"1.1.1.1"}, "invalid IP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.peer
			for _, f := range tt.forwarded {
				r.Header.Add("X-Forwarded-For", f)
			}
			if got := h.s.clientIP(r).String(); got != tt.want {
				t.Errorf("clientIP = %s, want %s", got, tt.want)
			}
		})
	}
}
