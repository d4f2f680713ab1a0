package node

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// A simNet is a network in simulated time. Links are cut in one direction or both; a stream over
// a cut link stalls, or breaks, and a call over it is never answered. Calls may arrive twice.
type simNet struct {
	mu     sync.Mutex // guards all below
	rnd    *rand.Rand
	nodes  map[string]*simStreams
	cut    map[[2]string]bool // from, to
	conns  map[*simConn]struct{}
	healed chan struct{} // closed and replaced when links are repaired
	jitter time.Duration // latency is 1 ms and up to this much more
}

func newSimNet(rnd *rand.Rand) *simNet {
	return &simNet{
		rnd: rnd, nodes: map[string]*simStreams{}, cut: map[[2]string]bool{}, conns: map[*simConn]struct{}{},
		healed: make(chan struct{}), jitter: 4 * time.Millisecond,
	}
}

// join makes a node reachable; what it accepts are raft's streams.
func (n *simNet) join(id string) *simStreams {
	s := &simStreams{net: n, id: id, in: make(chan net.Conn, 64), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[id] = s
	return s
}

// leave makes a node unreachable at once: nothing that it sends from now on arrives.
func (n *simNet) leave(id string) {
	n.mu.Lock()
	delete(n.nodes, id)
	n.mu.Unlock()
	n.reset(func(c *simConn) bool { return c.out.from == id || c.out.to == id })
}

// sever cuts the link from a to b. What is open stalls, or breaks if it is told to.
func (n *simNet) sever(a, b string, breaks bool) {
	n.mu.Lock()
	n.cut[[2]string{a, b}] = true
	n.mu.Unlock()
	if breaks {
		n.reset(func(c *simConn) bool { return c.out.from == a && c.out.to == b || c.out.from == b && c.out.to == a })
	}
}

// heal repairs all links.
func (n *simNet) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	close(n.healed)
	n.healed = make(chan struct{})
}

func (n *simNet) reset(which func(*simConn) bool) {
	n.mu.Lock()
	var broken []*simConn
	for c := range n.conns {
		if which(c) {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.out.end(true)
		c.in.end(true)
	}
}

// whole tells whether a link carries, and what is closed when that may have changed.
func (n *simNet) whole(from, to string) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut[[2]string{from, to}], n.healed
}

func (n *simNet) latency() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Millisecond + time.Duration(n.rnd.Int64N(int64(n.jitter)+1))
}

func (n *simNet) chance(percent int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rnd.IntN(100) < percent
}

var (
	errSimDown = errors.New("the node is down")
	errSimCut  = errors.New("the link is cut")
	errSimLost = errors.New("the answer was lost")
)

// travel is a message's way over a link.
func (n *simNet) travel(ctx context.Context, from, to string) error {
	pause(ctx, n.latency())
	if ok, _ := n.whole(from, to); !ok {
		<-ctx.Done()
		return errSimCut
	}
	return ctx.Err()
}

// call has f done at another node, perhaps twice, and brings back its answer, perhaps not.
func (n *simNet) call(ctx context.Context, from, to string, f func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	if err := n.travel(ctx, from, to); err != nil {
		return nil, err
	}
	type reply struct {
		b   []byte
		err error
	}
	far, cancel := context.WithTimeout(context.WithoutCancel(ctx), rpcFor)
	replies := make(chan reply, 2)
	runs := 1
	if n.chance(5) {
		runs = 2
	}
	var wg sync.WaitGroup
	for range runs {
		wg.Go(func() {
			b, err := f(far)
			replies <- reply{b, err}
		})
	}
	go func() { wg.Wait(); cancel() }()
	select {
	case r := <-replies:
		if err := n.travel(ctx, to, from); err != nil {
			return nil, err
		}
		if n.chance(4) {
			return nil, errSimLost
		}
		return r.b, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// simStreams is a node's end of the network, for raft.
type simStreams struct {
	net    *simNet
	id     string
	in     chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (s *simStreams) Dial(peer string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), min(timeout, time.Second))
	defer cancel()
	if err := s.net.travel(ctx, s.id, peer); err != nil {
		return nil, err
	}
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	to := s.net.nodes[peer]
	if to == nil || s.net.nodes[s.id] != s {
		return nil, errSimDown
	}
	there, back := newSimPipe(s.net, s.id, peer), newSimPipe(s.net, peer, s.id)
	near, far := &simConn{net: s.net, out: there, in: back}, &simConn{net: s.net, out: back, in: there}
	select {
	case to.in <- far:
	default:
		return nil, errSimDown
	}
	s.net.conns[near], s.net.conns[far] = struct{}{}, struct{}{}
	return near, nil
}

func (s *simStreams) Accept() (net.Conn, error) {
	select {
	case c := <-s.in:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *simStreams) Close() error {
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

func (s *simStreams) Addr() net.Addr { return simAddr(s.id) }

type simAddr string

func (simAddr) Network() string  { return "sim" }
func (a simAddr) String() string { return string(a) }

// simPipe is one direction of a stream.
type simPipe struct {
	net      *simNet
	from, to string

	mu      sync.Mutex // guards all below
	segs    []simSegment
	last    time.Time // when the last segment arrives: order is kept
	ended   bool
	broken  bool
	changed chan struct{}
}

type simSegment struct {
	at   time.Time
	data []byte
}

func newSimPipe(n *simNet, from, to string) *simPipe {
	return &simPipe{net: n, from: from, to: to, changed: make(chan struct{})}
}

func (p *simPipe) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *simPipe) end(broken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.broken = true, p.broken || broken
	p.wake()
}

func (p *simPipe) write(b []byte) (int, error) {
	at := time.Now().Add(p.net.latency())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return 0, io.ErrClosedPipe
	}
	if at.Before(p.last) {
		at = p.last
	}
	p.last = at
	p.segs = append(p.segs, simSegment{at, append([]byte(nil), b...)})
	p.wake()
	return len(b), nil
}

// read is net.Conn's, with a deadline (zero: none).
func (p *simPipe) read(b []byte, deadline time.Time) (int, error) {
	for {
		whole, healed := p.net.whole(p.from, p.to)
		p.mu.Lock()
		wait := time.Duration(-1)
		switch {
		case p.broken:
			p.mu.Unlock()
			return 0, io.ErrClosedPipe
		case len(p.segs) > 0 && whole:
			if wait = time.Until(p.segs[0].at); wait <= 0 {
				n := copy(b, p.segs[0].data)
				if p.segs[0].data = p.segs[0].data[n:]; len(p.segs[0].data) == 0 {
					p.segs = p.segs[1:]
				}
				p.mu.Unlock()
				return n, nil
			}
		case p.ended && len(p.segs) == 0:
			p.mu.Unlock()
			return 0, io.EOF
		}
		changed := p.changed
		p.mu.Unlock()
		if !deadline.IsZero() {
			left := time.Until(deadline)
			if left <= 0 {
				return 0, os.ErrDeadlineExceeded
			}
			if wait < 0 || left < wait {
				wait = left
			}
		}
		if wait < 0 {
			select {
			case <-changed:
			case <-healed:
			}
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-changed:
		case <-healed:
		case <-t.C:
		}
		t.Stop()
	}
}

// simConn is one end of a stream.
type simConn struct {
	net     *simNet
	out, in *simPipe

	mu       sync.Mutex
	deadline time.Time // of reads; writes never wait
}

func (c *simConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	return c.in.read(b, deadline)
}

func (c *simConn) Write(b []byte) (int, error) { return c.out.write(b) }

func (c *simConn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	c.out.end(false)
	c.in.end(true) // whoever reads here is woken
	return nil
}

func (c *simConn) LocalAddr() net.Addr  { return simAddr(c.out.from) }
func (c *simConn) RemoteAddr() net.Addr { return simAddr(c.out.to) }

func (c *simConn) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *simConn) SetWriteDeadline(t time.Time) error { return nil }

func (c *simConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return nil
}
