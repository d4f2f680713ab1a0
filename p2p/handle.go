package p2p

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"hordenode/internal/horde"
)

// Limits bound the calls of one protocol. Zero fields have defaults.
type Limits struct {
	Request  int           // bytes, up to MaxCall; 0: 1 MiB
	Response int           // bytes, up to MaxCall; 0: 1 MiB
	Timeout  time.Duration // of the handler; 0: 30 s
	// Relayed lets the calls pass through relays where there is no direct connection.
	Relayed bool
}

const (
	defaultMax     = 1 << 20
	defaultTimeout = 30 * time.Second
	slowBytes      = 64 << 10 // per second: a peer slower than that is cut off
	slowGrace      = 10 * time.Second
)

func (lim Limits) withDefaults() Limits {
	if lim.Request == 0 {
		lim.Request = defaultMax
	}
	if lim.Response == 0 {
		lim.Response = defaultMax
	}
	if lim.Timeout == 0 {
		lim.Timeout = defaultTimeout
	}
	lim.Request, lim.Response = min(lim.Request, MaxCall), min(lim.Response, MaxCall)
	return lim
}

// transferTime is how long n bytes may take.
func transferTime(n int) time.Duration {
	return slowGrace + time.Duration(n)*time.Second/slowBytes
}

// A Handler answers one request of a peer. Its context ends when the caller gives up, after
// the protocol's Timeout, or when the host closes; the handler then returns soon. It may keep
// req. Returning a *RemoteError or *horde.Error tells the caller why not.
type Handler = func(ctx context.Context, from horde.NodeID, req []byte) ([]byte, error)

// Handle answers calls of a protocol, named like /horde/claim/1. Its limits hold for our own
// Calls of the protocol too. A second Handle for a protocol replaces the first.
func (h *Host) Handle(proto string, lim Limits, f Handler) {
	may := func(from horde.NodeID) bool { return h.gate().MaySpeak(from, proto) }
	h.handle(protocol.ID(proto), lim, may, f)
}

// handle is Handle with its own gate; nil lets every connected peer in.
func (h *Host) handle(proto protocol.ID, lim Limits, may func(horde.NodeID) bool, f Handler) {
	lim = lim.withDefaults()
	h.mu.Lock()
	h.limits[proto] = lim
	h.mu.Unlock()
	h.host.SetStreamHandler(proto, func(s network.Stream) {
		if !h.enter() {
			s.Reset()
			return
		}
		defer h.work.Done()
		from := nodeID(s.Conn().RemotePeer())
		if s.Conn().Stat().Limited && !lim.Relayed || may != nil && !may(from) {
			h.log.Info("peer may not speak protocol", "peer", from, "protocol", proto)
			s.ResetWithError(network.StreamGated)
			return
		}
		if err := h.serve(s, from, lim, f); err != nil {
			h.log.Debug("call not served", "peer", from, "protocol", proto, "err", err)
			s.Reset()
		}
	})
}

func (h *Host) limitsOf(proto protocol.ID) Limits {
	h.mu.Lock()
	defer h.mu.Unlock()
	if lim, ok := h.limits[proto]; ok {
		return lim
	}
	return Limits{}.withDefaults()
}

// serve reads the request, has it answered and writes the answer. An error means that the
// stream is of no more use.
func (h *Host) serve(s network.Stream, from horde.NodeID, lim Limits, f Handler) error {
	if err := s.SetReadDeadline(time.Now().Add(transferTime(lim.Request))); err != nil {
		return err
	}
	r := bufio.NewReader(s)
	req, err := readFrame(r, lim.Request, reserveOn(s))
	switch {
	case errors.Is(err, ErrTooLarge):
		return h.answer(s, errorFrame(&RemoteError{Code: CodeTooLarge, Msg: err.Error()}))
	case errors.Is(err, ErrBusy):
		return h.answer(s, errorFrame(&RemoteError{Code: codeBusy, Msg: "out of memory for requests"}))
	case err != nil:
		return err
	}
	ctx, cancel := context.WithTimeout(h.ctx, lim.Timeout)
	defer cancel()
	caller, err := watch(s, r, cancel)
	if err != nil {
		return err
	}
	resp := h.respond(ctx, s.Protocol(), from, req, lim, f)
	if gone := caller.leave(); gone {
		return errors.New("the caller gave up")
	}
	return h.answer(s, resp)
}

// answer writes the response frame and ends the stream.
func (h *Host) answer(s network.Stream, frame []byte) error {
	if err := s.SetWriteDeadline(time.Now().Add(transferTime(len(frame)))); err != nil {
		return err
	}
	if _, err := s.Write(frame); err != nil {
		return err
	}
	return s.Close()
}

// respond calls the handler and returns the response frame, whatever the handler does.
func (h *Host) respond(ctx context.Context, proto protocol.ID, from horde.NodeID, req []byte, lim Limits, f Handler) []byte {
	var resp []byte
	err := errors.New("the handler panicked")
	h.guard(string(proto), func() { resp, err = f(ctx, from, req) })
	if err == nil && len(resp) > lim.Response {
		h.log.Error("response beyond its limit", "peer", from, "protocol", proto, "bytes", len(resp), "limit", lim.Response)
		return errorFrame(&RemoteError{Code: CodeTooLarge, Msg: "the response is beyond its limit"})
	}
	if err == nil {
		return okFrame(resp)
	}
	remote, internal := remoteError(err)
	if internal && ctx.Err() == nil {
		h.log.Error("call failed", "peer", from, "protocol", proto, "err", err)
	}
	return errorFrame(remote)
}

// A watcher notices when the caller ends its side of the stream before it has the answer.
type watcher struct {
	s    network.Stream
	done chan struct{}
	left bool // valid once done is closed: nobody stopped the watcher, the caller left
}

// watch calls cancel when the caller goes away. The caller of watch must call leave.
func watch(s network.Stream, r io.Reader, cancel context.CancelFunc) (*watcher, error) {
	if err := s.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	w := &watcher{s: s, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		var b [1]byte
		_, err := r.Read(b[:]) // a caller sends nothing more, so this ends with the stream
		w.left = !isTimeout(err)
		cancel()
	}()
	return w, nil
}

// leave ends the watcher and tells whether the caller went away meanwhile.
func (w *watcher) leave() bool {
	if err := w.s.SetReadDeadline(time.Unix(1, 0)); err != nil { // long past: Read returns
		w.s.Reset()
	}
	<-w.done
	return w.left
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}
