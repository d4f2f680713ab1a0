package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"hordenode/internal/horde"
)

// acceptBacklog is how many streams wait for Accept; further ones wait unaccepted.
const acceptBacklog = 16

// A StreamLayer is a net.Listener and a dialler of one protocol whose addresses are node ids.
// Consensus speaks over it. It needs Run no more than Call does.
type StreamLayer struct {
	h        *Host
	proto    protocol.ID
	accepted chan net.Conn
	ctx      context.Context
	stop     context.CancelFunc
}

var _ net.Listener = (*StreamLayer)(nil)

// Streams opens the stream layer of a protocol. Incoming streams need Gate.MaySpeak. The
// layer ends with its Close or with the host.
func (h *Host) Streams(proto string) *StreamLayer {
	ctx, stop := context.WithCancel(h.ctx)
	l := &StreamLayer{h: h, proto: protocol.ID(proto), accepted: make(chan net.Conn, acceptBacklog), ctx: ctx, stop: stop}
	h.mu.Lock()
	h.layers = append(h.layers, l)
	h.mu.Unlock()
	h.host.SetStreamHandler(l.proto, l.incoming)
	return l
}

func (l *StreamLayer) incoming(s network.Stream) {
	if !l.h.enter() {
		s.Reset()
		return
	}
	defer l.h.work.Done()
	from := nodeID(s.Conn().RemotePeer())
	if s.Conn().Stat().Limited || !l.h.gate().MaySpeak(from, string(l.proto)) {
		l.h.log.Info("peer may not speak protocol", "peer", from, "protocol", l.proto)
		s.ResetWithError(network.StreamGated)
		return
	}
	select {
	case l.accepted <- newConn(s):
	case <-l.ctx.Done():
		s.Reset()
	}
}

// Accept returns the next stream that a peer opened, or net.ErrClosed.
func (l *StreamLayer) Accept() (net.Conn, error) {
	if l.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close stops accepting and dialling. Connections that were accepted or dialled stay.
func (l *StreamLayer) Close() error {
	l.h.host.RemoveStreamHandler(l.proto)
	l.shut()
	return nil
}

func (l *StreamLayer) shut() {
	l.stop()
	for {
		select {
		case c := <-l.accepted:
			if err := c.Close(); err != nil {
				l.h.log.Debug("stream closed badly", "err", err)
			}
		default:
			return
		}
	}
}

// Addr returns our node id.
func (l *StreamLayer) Addr() net.Addr { return addr(l.h.host.ID()) }

// Dial opens a stream to the node with this id. It heeds no back-off: a peer that is back is
// found at the next attempt. If the peer's gate refuses the protocol, Dial succeeds and the
// first Read fails.
func (l *StreamLayer) Dial(to string, timeout time.Duration) (net.Conn, error) {
	if l.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	peer, err := l.h.linkTo(horde.NodeID(to))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	ctx, cancel := context.WithTimeout(l.ctx, timeout)
	defer cancel()
	s, err := peer.open(ctx, l.proto, peer.dialNow)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	return newConn(s), nil
}

// conn is a stream as a net.Conn.
type conn struct {
	network.Stream
	close func() error
}

func newConn(s network.Stream) *conn {
	return &conn{Stream: s, close: sync.OnceValue(s.Reset)}
}

// Close resets the stream: a half close would leave the peer's reader, and what the resource
// manager counts for it, alive. Closing again returns what the first time did.
func (c *conn) Close() error { return c.close() }

func (c *conn) LocalAddr() net.Addr  { return addr(c.Conn().LocalPeer()) }
func (c *conn) RemoteAddr() net.Addr { return addr(c.Conn().RemotePeer()) }

// Read returns net.ErrClosed where libp2p speaks of a reset, so users of net.Conn understand.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Stream.Read(b)
	if e, ok := errors.AsType[*network.StreamError](err); ok && !e.Remote {
		err = fmt.Errorf("%w: %w", net.ErrClosed, err)
	}
	return n, err
}

// addr is a node as a net.Addr: its String is the node id.
type addr peer.ID

func (addr) Network() string  { return "libp2p" }
func (a addr) String() string { return peer.ID(a).String() }
