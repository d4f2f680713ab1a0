package api

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// Of one address so many accounts are made in an hour, an IPv6 host being its /64, however many
// ways there are to make one.
func TestSecurity24Registration(t *testing.T) {
	h, _, _ := newAccountHarness(t, func(c *Config) {
		c.TrustedProxies, c.NoRateLimits = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, false
	})
	from := func(ip string) answer {
		h.clock.advance(10 * time.Second) // the limit of attempts in a minute is another
		return h.do("POST", "/register", "", m{"username": "ada"}, "Accept", "application/json", "X-Forwarded-For", ip)
	}
	for name, address := range map[string]func(i int) string{
		"IPv4": func(int) string { return "198.51.100.7" },
		"IPv6": func(i int) string { return fmt.Sprintf("2001:db8:1:2::%x", i+1) },
	} {
		for i := range accountsPerHour {
			if a := from(address(i)); a.status != 200 {
				t.Fatalf("%s: account %d: status %d: %s", name, i, a.status, a.body)
			}
		}
		if a := from(address(accountsPerHour)); a.status != 429 || !strings.Contains(a.body, "minutes") {
			t.Errorf("%s: one too many: status %d, %s", name, a.status, a.body)
		}
	}
	from("198.51.100.8").wants(200, "")
	from("2001:db8:1:3::1").wants(200, "")
	h.clock.advance(time.Hour)
	from("198.51.100.7").wants(200, "")
}

// Addresses that are kept out make no accounts, on the page or by a script; nor does anybody
// in raid mode.
func TestSecurity24Blocked(t *testing.T) {
	h, registry, _ := newAccountHarness(t, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	blocks := newFakeBlocks(h)
	if err := blocks.BlockIP(t.Context(), NewIPBlock{Actor: 9, Network: netip.MustParsePrefix("198.51.100.0/24"), For: time.Hour}); err != nil {
		t.Fatal(err)
	}
	h.do("POST", "/register", "", m{"username": "ada"}, "Accept", "application/json", "X-Forwarded-For", "198.51.100.7").wants(403, horde.RCTimeoutIP)
	h.do("POST", "/register", "", m{"username": "ada"}, "Accept", "application/json", "X-Forwarded-For", "198.51.101.7").wants(200, "")
	made := registry.made
	h.accounts.mu.Lock()
	h.accounts.modes.Raid = true
	h.accounts.mu.Unlock()
	h.do("POST", "/register", "", m{"username": "ada"}, "Accept", "application/json", "X-Forwarded-For", "198.51.101.7").wants(403, horde.RCForbidden)
	if registry.made != made {
		t.Error("an account was made in raid mode")
	}
}
