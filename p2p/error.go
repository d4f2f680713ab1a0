package p2p

import (
	"errors"
	"fmt"

	"hordenode/internal/horde"
)

var (
	// ErrUnreachable: there is no connection to the peer and none could be had quickly, or it
	// broke during the call. In the second case the peer may have handled the request.
	ErrUnreachable = errors.New("peer unreachable")
	// ErrBusy: too much is under way already, here or at the peer. Nothing was done.
	ErrBusy = errors.New("too much in flight")
	// ErrTooLarge: a request, response or message is beyond the limit of its protocol.
	ErrTooLarge = errors.New("too large")
	// ErrTopic: the topic is not one of Config.TopicNames.
	ErrTopic = errors.New("topic not allowed")
	// ErrClosed: the host is closed.
	ErrClosed = errors.New("p2p host closed")
)

// Codes of a RemoteError that this package makes; handlers have their own.
const (
	CodeInternal    = "p2p.internal"    // the handler failed; its log knows why
	CodeRefused     = "p2p.refused"     // the peer's Gate does not let us speak this protocol
	CodeUnsupported = "p2p.unsupported" // the peer does not know the protocol
	CodeTooLarge    = "p2p.too_large"   // the peer's answer, or our request, is beyond its limit
	codeBusy        = "p2p.busy"        // becomes ErrBusy
)

// A RemoteError is what the handler at the peer answered instead of a response: the request
// arrived and was refused. A handler returns one to say why; a *horde.Error does as well and
// arrives as a RemoteError whose code is its RC. Any other error is logged where it happened
// and arrives as CodeInternal.
type RemoteError struct {
	Code string // up to 64 bytes
	Msg  string // up to 1 KiB
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("peer refused: %s: %s", e.Code, e.Msg)
}

// Is makes errors.Is(err, horde.RC...) true for a refusal of that code, and
// errors.Is(err, ErrTooLarge) for CodeTooLarge.
func (e *RemoteError) Is(target error) bool {
	if rc, ok := target.(horde.RC); ok {
		return e.Code == string(rc)
	}
	return target == ErrTooLarge && e.Code == CodeTooLarge
}

// remoteError is what err looks like to the peer; internal tells that the cause stays here.
func remoteError(err error) (_ *RemoteError, internal bool) {
	if e, ok := errors.AsType[*RemoteError](err); ok {
		return e, false
	}
	if e, ok := errors.AsType[*horde.Error](err); ok {
		return &RemoteError{Code: string(e.RC), Msg: e.Msg}, false
	}
	return &RemoteError{Code: CodeInternal, Msg: "the peer could not answer"}, true
}
