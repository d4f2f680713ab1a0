package p2p

import (
	"context"
	"errors"
	"time"

	"hordenode/internal/horde"
)

const (
	pingProtocol = "/horde/ping/1"
	codeStarting = "p2p.starting" // a ping's answer while Run does not run
)

// ping measures a round trip through the same path as any call, and so tests it. A nil error
// means that the peer is alive; ready, that it also has started.
func (l *link) ping(ctx context.Context) (ready bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	begin := time.Now()
	_, err = l.call(ctx, pingProtocol, nil, l.haveAny)
	if _, answered := errors.AsType[*RemoteError](err); answered || errors.Is(err, ErrBusy) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	l.measured(time.Since(begin))
	return true, nil
}

// measured smooths the round trip time.
func (l *link) measured(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rtt == 0 {
		l.rtt = took
	}
	l.rtt += (took - l.rtt) / 4
}

func (h *Host) answerPing(context.Context, horde.NodeID, []byte) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running == nil {
		return nil, &RemoteError{Code: codeStarting, Msg: "not all handlers are there"}
	}
	return nil, nil
}
