package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"

	"hordenode/internal/horde"
)

const (
	callTimeout   = 3 * time.Second // of a Call whose context has no deadline
	callsInFlight = 32              // per peer and protocol; others wait
	doubtAfter    = time.Second     // a call that timed out after so long casts doubt on the connection
)

// Call sends a request to a peer and returns its response; both are at most as long as the
// Limits that we gave Handle for the protocol (1 MiB if we did not). It takes at most 3 s if
// ctx has no deadline, waiting for one of the 32 places included.
//
// Errors: ErrUnreachable (no connection, or it broke: the peer may or may not have handled the
// request), ErrBusy (nothing was sent: no place became free in time), *RemoteError (the peer
// refused), ErrTooLarge, ctx's error (the peer was asked but did not answer in time).
func (h *Host) Call(ctx context.Context, to horde.NodeID, proto string, req []byte) ([]byte, error) {
	l, err := h.linkTo(to)
	if err == nil {
		var resp []byte
		connect := l.connect
		if h.limitsOf(protocol.ID(proto)).Relayed {
			connect = l.connectAny
		}
		if resp, err = l.call(ctx, protocol.ID(proto), req, connect); err == nil {
			return resp, nil
		}
	}
	return nil, fmt.Errorf("call %s at %s: %w", proto, to, err)
}

// linkTo returns the link to a peer that may be called.
func (h *Host) linkTo(to horde.NodeID) (*link, error) {
	id, err := peerID(to)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if id == h.host.ID() {
		return nil, fmt.Errorf("%w: that is ourselves", ErrUnreachable)
	}
	if !h.gate().MayConnect(to) {
		return nil, fmt.Errorf("%w: not a member", ErrUnreachable)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	return h.link(id), nil
}

// call is Call once the link is known; connect sees to it that there is a connection.
func (l *link) call(ctx context.Context, proto protocol.ID, req []byte, connect func(context.Context) error) ([]byte, error) {
	lim := l.h.limitsOf(proto)
	if len(req) > lim.Request {
		return nil, fmt.Errorf("%w: request of %d bytes, limit %d", ErrTooLarge, len(req), lim.Request)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	if lim.Relayed {
		ctx = network.WithAllowLimitedConn(ctx, "small calls")
	}
	slot := l.slot(proto)
	select {
	case slot <- struct{}{}:
		defer func() { <-slot }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
	s, err := l.open(ctx, proto, connect)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	unlink := context.AfterFunc(ctx, func() { s.Reset() }) // ends our Read and the peer's handler
	defer unlink()
	resp, err := exchange(s, req, max(lim.Response+1, maxErrorFrame))
	if err != nil {
		s.Reset()
		if ctx.Err() != nil {
			if time.Since(begin) >= doubtAfter {
				l.doubt()
			}
			return nil, ctx.Err()
		}
		return nil, streamError(err)
	}
	if s.Close() != nil { // a QUIC peer that is done with the stream already has cancelled it
		s.Reset()
	}
	return parseResponse(resp)
}

// exchange writes a request and reads the response frame. A peer may answer before it has
// read all, so a failed write does not end the exchange by itself.
func exchange(s network.Stream, req []byte, limit int) ([]byte, error) {
	_, writeErr := s.Write(frame(req))
	resp, err := readFrame(bufio.NewReader(s), limit, reserveOn(s))
	if err != nil && writeErr != nil {
		return nil, writeErr
	}
	return resp, err
}

// reserveOn asks the resource manager for memory that is given back when the stream ends.
func reserveOn(s network.Stream) func(int) error {
	return func(n int) error { return s.Scope().ReserveMemory(n, network.ReservationPriorityAlways) }
}

// slot returns the semaphore of the protocol's calls to this peer.
func (l *link) slot(proto protocol.ID) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.slots[proto]
	if !ok {
		s = make(chan struct{}, callsInFlight)
		l.slots[proto] = s
	}
	return s
}

// open opens a stream. Nothing was sent yet when that fails, so it may try twice: the first
// failure is often how we learn that the connection is gone.
func (l *link) open(ctx context.Context, proto protocol.ID, connect func(context.Context) error) (network.Stream, error) {
	for attempt := 1; ; attempt++ {
		if err := connect(ctx); err != nil {
			return nil, err
		}
		s, err := l.h.host.NewStream(network.WithNoDial(ctx, "connected above"), l.id, proto)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, ctx.Err())
		}
		err = streamError(err)
		if !errors.Is(err, ErrUnreachable) {
			return nil, err
		}
		if attempt == 2 {
			l.noteFailed()
			return nil, err
		}
	}
}

// streamError says in our words why a stream ended or did not open.
func streamError(err error) error {
	if e, ok := errors.AsType[*network.StreamError](err); ok && e.Remote {
		switch e.ErrorCode {
		case network.StreamGated:
			return &RemoteError{Code: CodeRefused, Msg: "not allowed to speak this protocol"}
		case network.StreamProtocolNegotiationFailed:
			return &RemoteError{Code: CodeUnsupported, Msg: "protocol not known"}
		case network.StreamResourceLimitExceeded:
			return fmt.Errorf("%w: %w", ErrBusy, err)
		}
	}
	switch {
	case errors.Is(err, multistream.ErrNotSupported[protocol.ID]{}):
		return &RemoteError{Code: CodeUnsupported, Msg: "protocol not known"}
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrBusy), errors.Is(err, errFrame):
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}
