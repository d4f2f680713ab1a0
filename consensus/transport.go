package consensus

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// maxPool is how many idle streams to a peer raft keeps. With none, each RPC opens a stream
// and a busy group loses heartbeats.
const maxPool = 3

// newTransport is raft's own transport over our streams: framing, pipelines, snapshots and
// pre-votes come with it.
func newTransport(self string, s Streams, timeout time.Duration, log *slog.Logger) *transport {
	l := &streamLayer{streams: s, self: address(self), open: map[*trackedConn]struct{}{}}
	return &transport{NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:          l,
		MaxPool:         maxPool,
		MaxRPCsInFlight: 2,
		Timeout:         timeout,
		Logger:          newRaftLog(log),
	})}
}

// An address is a node id.
type address string

func (address) Network() string  { return "horde" }
func (a address) String() string { return string(a) }

// streamLayer makes Streams a raft.StreamLayer, and remembers the open streams: raft's
// transport leaves them open when it stops, and their readers would stay with them.
type streamLayer struct {
	streams Streams
	self    address

	mu     sync.Mutex // guards the fields below
	open   map[*trackedConn]struct{}
	closed bool
}

var _ raft.StreamLayer = (*streamLayer)(nil)

// Accept waits for a stream that a peer opens.
func (l *streamLayer) Accept() (net.Conn, error) {
	c, err := l.streams.Accept()
	if err != nil {
		return nil, err
	}
	return l.track(c)
}

// Dial opens a stream to a peer.
func (l *streamLayer) Dial(peer raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	c, err := l.streams.Dial(string(peer), timeout)
	if err != nil {
		return nil, err
	}
	return l.track(c)
}

// Addr is this node's id.
func (l *streamLayer) Addr() net.Addr { return l.self }

// Close stops the listener and closes all streams.
func (l *streamLayer) Close() error {
	l.mu.Lock()
	l.closed = true
	open := l.open
	l.open = nil
	l.mu.Unlock()
	err := l.streams.Close()
	for c := range open {
		c.Conn.Close()
	}
	return err
}

func (l *streamLayer) track(c net.Conn) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	t := &trackedConn{Conn: c, layer: l}
	l.open[t] = struct{}{}
	return t, nil
}

// trackedConn is a stream that leaves its layer's books when it is closed. A read that ends
// because the stream was closed on this side reads as io.EOF, raft's normal end.
type trackedConn struct {
	net.Conn
	layer *streamLayer
}

func (c *trackedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && (errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)) {
		err = io.EOF
	}
	return n, err
}

func (c *trackedConn) Close() error {
	c.layer.mu.Lock()
	delete(c.layer.open, c)
	c.layer.mu.Unlock()
	return c.Conn.Close()
}
