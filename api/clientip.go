package api

import (
	"net/http"
	"net/netip"
	"strings"
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
