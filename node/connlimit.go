package node

import (
	"net"
	"net/netip"
	"sync"
)

const (
	maxConns       = 50_000 // open connections to the API
	maxConnsFromIP = 1_000  // of one address: more than clients that wait are let, and their page
)

// A connLimit is a listener that takes no more connections than it can serve: of one address,
// or IPv6 network, and of all. What is too much is closed unread. Addresses that many people
// share on purpose, this machine's and those of trusted proxies, count for all only.
type connLimit struct {
	net.Listener
	shared  []netip.Prefix
	most    int
	mostPer int

	mu   sync.Mutex // guards the fields below
	open int
	by   map[netip.Addr]int
}

func limitConns(l net.Listener, shared []netip.Prefix) *connLimit {
	return &connLimit{Listener: l, shared: shared, most: maxConns, mostPer: maxConnsFromIP, by: map[netip.Addr]int{}}
}

// Accept waits for a connection that there is room for.
func (l *connLimit) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if from, ok := l.enter(c.RemoteAddr()); ok {
			return &countedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		_ = c.Close() // nothing was read or written that an error could be about
	}
}

// enter counts a connection. from is the zero Addr if it counts for all only.
func (l *connLimit) enter(remote net.Addr) (from netip.Addr, ok bool) {
	if ap, err := netip.ParseAddrPort(remote.String()); err == nil {
		from = l.origin(ap.Addr())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.most || from.IsValid() && l.by[from] >= l.mostPer {
		return from, false
	}
	l.open++
	if from.IsValid() {
		l.by[from]++
	}
	return from, true
}

// origin is what counts as one address.
func (l *connLimit) origin(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if ip.IsLoopback() {
		return netip.Addr{}
	}
	for _, p := range l.shared {
		if p.Contains(ip) {
			return netip.Addr{}
		}
	}
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

func (l *connLimit) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if !from.IsValid() {
		return
	}
	if l.by[from]--; l.by[from] == 0 {
		delete(l.by, from)
	}
}

// A countedConn counts until it is closed.
type countedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *countedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
