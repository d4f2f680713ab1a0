package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// fakeBlocks are blocked addresses in memory, in clear.
type fakeBlocks struct {
	mu      sync.Mutex
	now     func() time.Time
	all     map[netip.Prefix]NewIPBlock
	until   map[netip.Prefix]time.Time
	reports map[netip.Prefix]int
	err     error // of every write
}

func newFakeBlocks(h *harness) *fakeBlocks {
	f := &fakeBlocks{now: h.clock.now, all: map[netip.Prefix]NewIPBlock{}, until: map[netip.Prefix]time.Time{}, reports: map[netip.Prefix]int{}}
	h.s.deps.Blocks = f
	return f
}

func single(ip netip.Addr) netip.Prefix {
	return horde.BlockedNetwork(netip.PrefixFrom(ip, ip.BitLen()))
}

func (f *fakeBlocks) IPBlocksOf(ip netip.Addr) []horde.IPBlock {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []horde.IPBlock{}
	for p, until := range f.until {
		if p.Contains(ip) && f.now().Before(until) {
			list = append(list, horde.IPBlock{Network: p, Until: until, Left: until.Sub(f.now())})
		}
	}
	slices.SortFunc(list, func(a, b horde.IPBlock) int { return cmp.Compare(a.Network.Bits(), b.Network.Bits()) })
	return list
}

func (f *fakeBlocks) IPBlocked(ip netip.Addr) (time.Time, bool) {
	list := f.IPBlocksOf(ip)
	if len(list) == 0 {
		return time.Time{}, false
	}
	return list[len(list)-1].Until, true
}

func (f *fakeBlocks) IPBlocks() ([]horde.IPBlock, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []horde.IPBlock{}
	for p, until := range f.until {
		if p.Bits() != single(p.Addr()).Bits() {
			list = append(list, horde.IPBlock{Network: p, Until: until, Left: until.Sub(f.now())})
		}
	}
	return list, nil
}

func (f *fakeBlocks) BlockIP(_ context.Context, n NewIPBlock) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[n.Network], f.until[n.Network] = n, f.now().Add(n.For)
	return f.err
}

func (f *fakeBlocks) UnblockIP(_ context.Context, _ horde.UserID, p netip.Prefix) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.until, p)
	delete(f.reports, p)
	return f.err
}

func (f *fakeBlocks) UnblockWorker(ctx context.Context, actor horde.UserID, w horde.WorkerID, p netip.Prefix) error {
	f.mu.Lock()
	for at, b := range f.all {
		if b.Worker == w {
			delete(f.until, at)
		}
	}
	f.mu.Unlock()
	return f.UnblockIP(ctx, actor, p)
}

func (f *fakeBlocks) ReportIP(_ context.Context, ip netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := single(ip)
	if f.err == nil {
		f.until[p] = f.now().Add(time.Duration(2*f.reports[p]+1) * 3 * time.Minute)
		f.reports[p]++
	}
	return f.err
}

// behindProxy believes X-Forwarded-For from the address that test requests come from.
func behindProxy(c *Config) {
	c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
}

func TestOperations(t *testing.T) {
	h, _ := newCommunityHarness(t, behindProxy)
	newFakeBlocks(h)
	const path = "/api/v2/operations/ipaddr"
	as := func(method, at string, body any) answer { return h.do(method, at, modKey, body) }
	as("GET", path, nil).wants(200, "").golden(`[]`)
	as("POST", path, m{"ipaddr": "127.77.0.0/24", "hours": 1}).wants(200, "").golden(`{"message":"OK"}`)
	as("POST", path, m{"ipaddr": "127.77.0.9", "hours": 2}).wants(200, "")
	as("POST", path, m{"ipaddr": "2001:db8:1:2:3::4", "hours": 3}).wants(200, "")
	as("GET", path, nil).wants(200, "").golden(`[{"ipaddr":"127.77.0.0/24","seconds":3600}]`)
	as("GET", path+"/127.77.0.9", nil).wants(200, "").golden(`[{"ipaddr":"127.77.0.0/24","seconds":3600},{"ipaddr":"127.77.0.9","seconds":7200}]`)
	as("GET", path+"/2001:db8:1:2::1", nil).wants(200, "").golden(`[{"ipaddr":"2001:db8:1:2::/64","seconds":10800}]`)
	as("GET", path+"/127.78.0.9", nil).wants(200, "").golden(`[]`)

	from := func(ip, at string, body any) answer { return h.do("POST", at, ownerKey, body, "X-Forwarded-For", ip) }
	pop := m{"name": "w", "models": []string{"none"}}
	for _, ip := range []string{"127.77.0.5", "127.77.0.9", "2001:db8:1:2:ffff::1"} {
		from(ip, imagePath, with(nil)).wants(403, horde.RCTimeoutIP)
		from(ip, textPath, m{"prompt": "x"}).wants(403, horde.RCTimeoutIP)
		for _, kind := range []string{"generate", "generate/text"} {
			from(ip, "/api/v2/"+kind+"/pop", pop).wants(403, horde.RCTimeoutIP)
		}
		from(ip, "/api/v2/interrogate/pop", m{"name": "w", "forms": []string{"caption"}}).wants(403, horde.RCTimeoutIP)
	}
	from("127.78.0.5", imagePath, with(nil)).wants(202, "")
	for _, ip := range []string{"127.77.0.0/24", "127.77.0.9", "2001:db8:1:2::"} {
		as("DELETE", path, m{"ipaddr": ip}).wants(200, "").golden(`{"message":"OK"}`)
	}
	as("DELETE", path, m{"ipaddr": "10.0.0.0/8"}).wants(200, "") // was not there
	from("127.77.0.9", imagePath, with(nil)).wants(202, "")
}

func TestOperationsRefusals(t *testing.T) {
	h, _ := newCommunityHarness(t)
	newFakeBlocks(h)
	const path, worker = "/api/v2/operations/ipaddr", "/api/v2/operations/block_worker_ipaddr/00000000-0000-4000-8000-000000000001"
	good := m{"ipaddr": "127.9.8.7", "hours": 1}
	for _, tt := range []struct {
		method, path string
		body         any
	}{
		{"GET", path, nil}, {"POST", path, good}, {"DELETE", path, good}, {"GET", path + "/127.9.8.7", nil},
		{"PUT", worker, m{"days": 2}}, {"DELETE", worker, nil},
	} {
		h.do(tt.method, tt.path, aliceKey, tt.body).wants(403, horde.RCNotModerator)
		h.do(tt.method, tt.path, "who", tt.body).wants(401, horde.RCInvalidAPIKey)
		if got := h.do(tt.method, tt.path, "", tt.body).wants(400, "").errorsAt(); got != "apikey" {
			t.Errorf("%s %s: errors at %q, want apikey", tt.method, tt.path, got)
		}
		blocks := h.s.deps.Blocks
		h.s.deps.Blocks = nil
		h.do(tt.method, tt.path, modKey, tt.body).wants(503, horde.RCUnavailable)
		h.s.deps.Blocks = blocks
	}
	for _, tt := range []struct {
		method, path string
		body         any
		errors       string // "": BadRequest
	}{
		{"POST", path, m{}, "hours ipaddr"},
		{"POST", path, m{"ipaddr": "x", "hours": 1}, "ipaddr"},
		{"POST", path, m{"ipaddr": strings.Repeat("1", 41), "hours": 1}, "ipaddr"},
		{"POST", path, m{"ipaddr": "127.9.8.7", "hours": 0}, "hours"},
		{"POST", path, m{"ipaddr": "127.9.8.7", "hours": 721}, "hours"},
		{"DELETE", path, m{}, "ipaddr"},
		{"PUT", worker, m{"days": 0}, "days"},
		{"PUT", worker, m{"days": 31}, "days"},
		{"PUT", worker, m{}, "days"},
		{"POST", path, m{"ipaddr": "not an ip", "hours": 1}, ""},
		{"POST", path, m{"ipaddr": "127.9.8.7/24", "hours": 1}, ""}, // host bits
		{"POST", path, m{"ipaddr": "127.9.8.0/33", "hours": 1}, ""},
		{"POST", path, m{"ipaddr": "fe80::1%eth0", "hours": 1}, ""},
		{"POST", path, m{"ipaddr": "127.9.8.007", "hours": 1}, ""},
		{"DELETE", path, m{"ipaddr": "not an ip"}, ""},
		{"GET", path + "/not-an-ip", nil, ""},
	} {
		a := h.do(tt.method, tt.path, modKey, tt.body)
		if rc := horde.RC(""); tt.errors == "" {
			rc = horde.RCBadRequest
			a.wants(400, rc)
		} else if got := a.wants(400, "").errorsAt(); got != tt.errors {
			t.Errorf("%s %s %v: errors at %q, want %q", tt.method, tt.path, tt.body, got, tt.errors)
		}
	}
	h.do("PUT", worker, modKey, m{"days": 1}).wants(404, horde.RCWorkerNotFound)
	h.do("DELETE", worker, modKey, nil).wants(404, horde.RCWorkerNotFound)
	h.do("DELETE", strings.Replace(worker, "0000-4", "x", 1), modKey, nil).wants(404, horde.RCWorkerNotFound)
}

func TestBlockWorker(t *testing.T) {
	h, _ := newCommunityHarness(t)
	f := newFakeBlocks(h)
	id := horde.WorkerID{UUID: horde.UUID{1, 2, 3}}
	h.accounts.workers[id] = horde.Worker{ID: id, Name: "w", Owner: 8}
	path := "/api/v2/operations/block_worker_ipaddr/" + id.String()
	h.do("PUT", path, modKey, m{"days": 1}).wants(400, horde.RCBadRequest) // nobody knows where it is
	h.s.deps.AddressElsewhere = func(context.Context, horde.WorkerID) string { return "127.65.5.4" }
	h.do("PUT", path, modKey, m{"days": 30, "reason": "spam"}).wants(200, "").golden(`{"message":"OK"}`)
	want := NewIPBlock{Actor: 9, Network: netip.MustParsePrefix("127.65.5.4/32"), For: 720 * time.Hour, Worker: id, Reason: "spam"}
	if got := f.all[want.Network]; got != want {
		t.Errorf("blocked %+v, want %+v", got, want)
	}
	h.s.deps.Addresses.Saw(id, netip.MustParseAddr("2001:db8::1:2:3:4"))
	h.do("PUT", path, modKey, m{"days": 1}).wants(200, "")
	if _, ok := f.until[netip.MustParsePrefix("2001:db8::/64")]; !ok {
		t.Errorf("blocked %v, want the /64 as well", f.until)
	}
	h.do("DELETE", path, modKey, nil).wants(200, "").golden(`{"message":"OK"}`)
	if len(f.until) != 0 {
		t.Errorf("still blocked: %v", f.until)
	}
}

// A corrupt prompt is counted by the ledger, at the address that it came from; when the ledger
// is out of reach, by this node.
func TestCorruptPromptIsReported(t *testing.T) {
	h, f := newCommunityHarness(t, behindProxy)
	b := newFakeBlocks(h)
	f.filters[1] = horde.Filter{ID: 1, Type: filterSubject, Regex: "zork"}
	f.filters[2] = horde.Filter{ID: 2, Type: filterAct, Regex: "blorb"}
	bad := with(m{"prompt": "zork blorb", "replacement_filter": false})
	send := func(ip string, body any) answer {
		return h.do("POST", imagePath, aliceKey, body, "X-Forwarded-For", ip)
	}
	send("203.0.113.7", bad).wants(400, horde.RCCorruptPrompt)
	if b.reports[netip.MustParsePrefix("203.0.113.7/32")] != 1 || len(h.s.suspects.all) != 0 {
		t.Errorf("reports %v, at this node %v, want one report in the ledger", b.reports, h.s.suspects.all)
	}
	send("203.0.113.7", with(nil)).wants(403, horde.RCTimeoutIP)
	h.do("DELETE", "/api/v2/operations/ipaddr", modKey, m{"ipaddr": "203.0.113.7"}).wants(200, "")
	send("203.0.113.7", with(nil)).wants(202, "")

	b.err = errors.New("no leader")
	send("2001:db8::7", bad).wants(400, horde.RCCorruptPrompt)
	send("2001:db8::8", with(nil)).wants(403, horde.RCTimeoutIP)
	b.err = nil
	h.do("DELETE", "/api/v2/operations/ipaddr", modKey, m{"ipaddr": "2001:db8::9"}).wants(200, "")
	send("2001:db8::8", with(nil)).wants(202, "")
	h.do("POST", imagePath, modKey, bad, "X-Forwarded-For", "203.0.113.8").wants(400, horde.RCCorruptPrompt)
	if n := b.reports[netip.MustParsePrefix("203.0.113.8/32")]; n != 0 {
		t.Errorf("a moderator's trial is reported %d times", n)
	}
}

// Proxied-For counts only with the passkey of a service account.
func TestProxiedFor(t *testing.T) {
	h, f := newCommunityHarness(t, behindProxy)
	b := newFakeBlocks(h)
	users := map[string]horde.User{
		"service":  {ID: 20, Roles: horde.RoleService},
		"once":     {ID: 21},
		"deleted":  {ID: 22, Roles: horde.RoleService | horde.RoleDeleted},
		"flagged!": {ID: 23, Roles: horde.RoleService | horde.RoleFlagged},
	}
	h.s.deps.Passkey = func(k string) (horde.User, bool) { u, ok := users[k]; return u, ok }
	for _, tt := range []struct {
		name, passkey, proxied string
		want                   string
	}{
		{"service", "service", "203.0.113.50", "203.0.113.50"},
		{"IPv6 in IPv4's clothes", "service", "::ffff:203.0.113.50", "203.0.113.50"},
		{"no passkey", "", "203.0.113.50", "198.51.100.1"},
		{"a wrong one", "servicf", "203.0.113.50", "198.51.100.1"},
		{"part of one", "servic", "203.0.113.50", "198.51.100.1"},
		{"no service any more", "once", "203.0.113.50", "198.51.100.1"},
		{"a deleted account", "deleted", "203.0.113.50", "198.51.100.1"},
		{"a flagged account", "flagged!", "203.0.113.50", "198.51.100.1"},
		{"endless", strings.Repeat("service", 100), "203.0.113.50", "198.51.100.1"},
		{"no address", "service", "localhost", "198.51.100.1"},
		{"several", "service", "203.0.113.50, 203.0.113.51", "198.51.100.1"},
		{"empty", "service", "", "198.51.100.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequest("POST", "/", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.RemoteAddr = "192.0.2.1:99"
			r.Header.Set("X-Forwarded-For", "198.51.100.1")
			r.Header.Set("Proxy-Authorization", tt.passkey)
			r.Header.Set("Proxied-For", tt.proxied)
			if got := h.s.effectiveIP(r).String(); got != tt.want {
				t.Errorf("effective address %s, want %s", got, tt.want)
			}
			if got := h.s.clientIP(r).String(); got != "198.51.100.1" {
				t.Errorf("the service's own address %s, want 198.51.100.1", got)
			}
		})
	}

	f.filters[1] = horde.Filter{ID: 1, Type: filterSubject, Regex: "zork"}
	f.filters[2] = horde.Filter{ID: 2, Type: filterAct, Regex: "blorb"}
	for range proxyNotice + 2 {
		h.do("POST", imagePath, aliceKey, with(m{"prompt": "zork blorb", "replacement_filter": false}),
			"Proxy-Authorization", "service", "Proxied-For", "203.0.113.50").wants(400, horde.RCCorruptPrompt)
		h.clock.advance(time.Hour)
		b.until = map[netip.Prefix]time.Time{}
	}
	if got := b.reports[netip.MustParsePrefix("203.0.113.50/32")]; got != proxyNotice+2 || len(b.reports) != 1 {
		t.Errorf("reports %v, want those of the service's client alone", b.reports)
	}
	if !strings.Contains(h.log.String(), "many corrupt prompts through one proxy") {
		t.Error("nobody is told of the proxy")
	}
	if strings.Contains(h.log.String(), "203.0.113") || strings.Contains(h.log.String(), "zork") {
		t.Error("an address or a prompt is in the log")
	}
}
