package consensus

import (
	"errors"
	"net"
	"sync"
	"time"
)

// memNet is a network of net.Pipes whose links can be cut.
type memNet struct {
	mu    sync.Mutex
	nodes map[string]*memStreams
	cut   map[[2]string]bool
	conns map[*memConn]struct{}
}

func newMemNet() *memNet {
	return &memNet{nodes: map[string]*memStreams{}, cut: map[[2]string]bool{}, conns: map[*memConn]struct{}{}}
}

// join makes id reachable, in place of an earlier node of that name.
func (n *memNet) join(id string) *memStreams {
	s := &memStreams{net: n, id: id, in: make(chan net.Conn, 64), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[id] = s
	return s
}

func link(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// split cuts every link between a node of left and one of right.
func (n *memNet) split(left, right []string) {
	n.mu.Lock()
	var broken []*memConn
	for _, a := range left {
		for _, b := range right {
			n.cut[link(a, b)] = true
		}
	}
	for c := range n.conns {
		if n.cut[c.link] {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.Close()
	}
}

// heal repairs all links.
func (n *memNet) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

// open counts the streams.
func (n *memNet) open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

var errUnreachable = errors.New("unreachable")

type memStreams struct {
	net    *memNet
	id     string
	in     chan net.Conn
	once   sync.Once
	closed chan struct{}
}

var _ Streams = (*memStreams)(nil)

func (s *memStreams) Dial(peer string, timeout time.Duration) (net.Conn, error) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	to, l := s.net.nodes[peer], link(s.id, peer)
	if to == nil || s.net.cut[l] {
		return nil, errUnreachable
	}
	select {
	case <-to.closed:
		return nil, errUnreachable
	default:
	}
	a, b := net.Pipe()
	near, far := &memConn{Conn: a, net: s.net, link: l}, &memConn{Conn: b, net: s.net, link: l}
	select {
	case to.in <- far:
	default:
		return nil, errUnreachable
	}
	s.net.conns[near], s.net.conns[far] = struct{}{}, struct{}{}
	return near, nil
}

func (s *memStreams) Accept() (net.Conn, error) {
	select {
	case c := <-s.in:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *memStreams) Close() error {
	s.once.Do(func() { close(s.closed) })
	for {
		select {
		case c := <-s.in:
			c.Close()
		default:
			return nil
		}
	}
}

func (s *memStreams) Addr() net.Addr { return address(s.id) }

type memConn struct {
	net.Conn
	net  *memNet
	link [2]string
}

func (c *memConn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}
