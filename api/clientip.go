package api

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"hordenode/internal/horde"
)

// clientIP is the address that a request came from: the peer's, or what a trusted proxy
// says it was. Only the last hop of X-Forwarded-For is a proxy's own statement; the others
// were sent by the client. The zero Addr means that it is not known.
func (s *Server) clientIP(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	ip := peer.Addr().Unmap()
	if !s.isProxy(ip) {
		return ip
	}
	hops := r.Header.Values("X-Forwarded-For")
	if len(hops) == 0 {
		return ip
	}
	last := hops[len(hops)-1]
	last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
	if a, err := netip.ParseAddr(last); err == nil {
		return a.Unmap().WithZone("")
	}
	if ap, err := netip.ParseAddrPort(last); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	return ip
}

// isProxy tells whether a peer's X-Forwarded-For is believed.
func (s *Server) isProxy(ip netip.Addr) bool {
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// isProxied tells whether a trusted proxy passed the request on.
func (s *Server) isProxied(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && s.isProxy(peer.Addr().Unmap())
}

// Services pass requests of their own users on. With Proxy-Authorization: PASSKEY, which
// belongs to a service account, Proxied-For is believed:
//
//	address of         counts for
//	────────────────   ────────────────────────────────────────────────────
//	clientIP           limits by address, workers, waiting, accounts
//	effectiveIP        limits by path, timeouts of requests, corrupt prompts

// maxPasskey is the longest passkey that is looked up, in bytes.
const maxPasskey = 128

// proxiedFor is the address that a service account says its request came from; ok is false if
// there is no valid passkey, or no address. The ledger finds a passkey by its salted hash, so
// the time that takes tells nothing about those that exist.
func (s *Server) proxiedFor(r *http.Request) (ip netip.Addr, ok bool) {
	passkey, said := r.Header.Get("Proxy-Authorization"), r.Header.Get("Proxied-For")
	if passkey == "" || said == "" || len(passkey) > maxPasskey || s.deps.Passkey == nil {
		return netip.Addr{}, false
	}
	u, known := s.deps.Passkey(passkey)
	if !known || !u.Is(horde.RoleService) || u.Is(horde.RoleDeleted) || u.Is(horde.RoleFlagged) {
		s.log.DebugContext(r.Context(), "passkey not known", "route", r.Pattern)
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(strings.TrimSpace(said))
	if err != nil {
		return netip.Addr{}, false
	}
	return a.Unmap().WithZone(""), true
}

// effectiveIP is the address of who wants the request done, be it through a service's proxy.
func (s *Server) effectiveIP(r *http.Request) netip.Addr {
	if ip, ok := s.proxiedFor(r); ok {
		return ip
	}
	return s.clientIP(r)
}

const (
	proxyMemory = time.Hour
	proxyNotice = 10 // corrupt prompts through one service's proxy that are not worth a line in the log
	maxProxies  = 1 << 10
)

// proxies counts corrupt prompts that came through services' proxies: these are not blocked,
// but people should know (spec/moderation.md section 9.2).
type proxies struct {
	mu   sync.Mutex // guards seen
	seen map[horde.UserID]proxyCount
}

type proxyCount struct {
	n    int
	last time.Time
}

// countProxied notes a corrupt prompt and says in the log when a proxy sends many. The log
// names the service's account, no address.
func (s *Server) countProxied(r *http.Request) {
	if _, ok := s.proxiedFor(r); !ok {
		return
	}
	u, _ := s.deps.Passkey(r.Header.Get("Proxy-Authorization"))
	p := &s.proxies
	p.mu.Lock()
	if p.seen == nil || len(p.seen) >= maxProxies {
		p.seen = map[horde.UserID]proxyCount{}
	}
	c := p.seen[u.ID]
	if s.now().Sub(c.last) > proxyMemory {
		c.n = 0
	}
	before := c.n
	c.n, c.last = c.n+1, s.now()
	p.seen[u.ID] = c
	p.mu.Unlock()
	if before > proxyNotice {
		s.log.WarnContext(r.Context(), "many corrupt prompts through one proxy", "service", u.Alias(), "prompts", before+1)
	}
}
