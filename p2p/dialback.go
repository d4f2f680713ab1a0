package p2p

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/fxamacker/cbor/v2"
	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multistream"
	"golang.org/x/sync/errgroup"

	"hordenode/internal/horde"
)

// Whether others can dial us, only others can say. A member asks some that it is connected to;
// each opens a TCP connection of its own to the asker's addresses, shakes hands with Noise, so
// that it knows whom it has reached, and hangs up before there is a libp2p connection. (AutoNAT v2
// asks the same, but its servers dial back under a throw-away identity, which the gate of a closed
// membership refuses: docs/decisions/0023-reachability.md.)
const (
	dialbackProtocol = "/horde/dialback/1"
	dialbackAddrs    = 8
	dialbackTimeout  = 3 * time.Second
	dialbackEvery    = 2 * time.Second // at most so often for one peer
	askDialback      = 4               // members
)

type dialbackRequest struct {
	Addrs []string `cbor:"1,keyasint"`
}

type dialbackResponse struct {
	Tried   int `cbor:"1,keyasint"`
	Reached int `cbor:"2,keyasint"`
}

// A Dialable says whether others can connect to this node by themselves.
type Dialable int32

const (
	DialableUnknown Dialable = iota // nobody to ask, or nothing that could be tried
	DialableYes
	DialableNo
)

// String returns yes, no or unknown.
func (d Dialable) String() string {
	switch d {
	case DialableYes:
		return "yes"
	case DialableNo:
		return "no"
	}
	return "unknown"
}

// verdict makes one of the opinions of those who tried: at least half must have reached us.
func verdict(yes, no int) Dialable {
	switch {
	case yes+no == 0:
		return DialableUnknown
	case yes >= no:
		return DialableYes
	}
	return DialableNo
}

// probe asks connected members to dial us.
func (h *Host) probe(ctx context.Context) Dialable {
	var addrs []string
	for _, text := range h.directAddrs() {
		if a, err := multiaddr.NewMultiaddr(text); err == nil && probeable(a) && len(addrs) < dialbackAddrs {
			addrs = append(addrs, text)
		}
	}
	ask := h.connectedLinks((*link).connected)
	if len(addrs) == 0 || len(ask) == 0 {
		return DialableUnknown
	}
	rand.Shuffle(len(ask), func(i, j int) { ask[i], ask[j] = ask[j], ask[i] })
	req, err := cbor.Marshal(dialbackRequest{Addrs: addrs})
	if err != nil {
		h.log.Warn("nobody asked to dial us", "err", err)
		return DialableUnknown
	}
	var yes, no atomic.Int32
	var g errgroup.Group
	for _, l := range ask[:min(len(ask), askDialback)] {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, 2*dialbackTimeout)
			defer cancel()
			answer, err := l.call(ctx, dialbackProtocol, req, l.haveConnection)
			var res dialbackResponse
			if err == nil {
				err = cbor.Unmarshal(answer, &res)
			}
			switch {
			case err != nil:
				h.log.Debug("not dialled back", "peer", l.node, "err", err)
			case res.Reached > 0:
				yes.Add(1)
			case res.Tried > 0:
				no.Add(1)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		h.log.Warn("dial-back failed", "err", err)
	}
	return verdict(int(yes.Load()), int(no.Load()))
}

// probeable tells whether an address can be tried without becoming a connection: plain TCP.
func probeable(a multiaddr.Multiaddr) bool {
	protos := a.Protocols()
	return len(protos) == 2 && protos[1].Code == multiaddr.P_TCP &&
		(protos[0].Code == multiaddr.P_IP4 || protos[0].Code == multiaddr.P_IP6)
}

// answerDialback serves /horde/dialback/1: the asker's own addresses only, of those only what the
// gater lets us dial, and not often.
func (h *Host) answerDialback(ctx context.Context, from horde.NodeID, req []byte) ([]byte, error) {
	var q dialbackRequest
	if err := cbor.Unmarshal(req, &q); err != nil || len(q.Addrs) > dialbackAddrs {
		return nil, &RemoteError{Code: CodeRefused, Msg: "malformed"}
	}
	p, err := peerID(from)
	if err != nil {
		return nil, err
	}
	if !h.reach.mayDialBack(p, time.Now()) {
		return nil, &RemoteError{Code: codeBusy, Msg: "asked a moment ago"}
	}
	ctx, cancel := context.WithTimeout(ctx, dialbackTimeout)
	defer cancel()
	var res dialbackResponse
	var reached atomic.Int32
	var g errgroup.Group
	for _, text := range q.Addrs {
		addr, err := multiaddr.NewMultiaddr(text)
		if err != nil || !probeable(addr) || !h.gater.mayDial(p, addr) {
			continue
		}
		res.Tried++
		g.Go(func() error {
			if err := h.knock(ctx, p, addr); err != nil {
				h.log.Debug("dial-back failed", "peer", from, "addr", text, "err", err)
				return nil
			}
			reached.Add(1)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	res.Reached = int(reached.Load())
	return cbor.Marshal(res)
}

// knock connects to addr and makes sure that p is there.
func (h *Host) knock(ctx context.Context, p peer.ID, addr multiaddr.Multiaddr) error {
	if h.gater.blocked(p, addr) {
		return errors.New("blocked")
	}
	c, err := (&manet.Dialer{}).DialContext(ctx, addr)
	if err != nil {
		return err
	}
	defer func() {
		if e := c.Close(); e != nil {
			h.log.Debug("connection closed badly", "err", e)
		}
	}()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if err := multistream.SelectProtoOrFail(noise.ID, c); err != nil {
		return fmt.Errorf("no node there: %w", err)
	}
	key, err := libp2pcrypto.UnmarshalEd25519PrivateKey(h.cfg.Key)
	if err != nil {
		return err
	}
	shake, err := noise.New(noise.ID, key, nil)
	if err != nil {
		return err
	}
	if _, err := shake.SecureOutbound(ctx, c, p); err != nil {
		return fmt.Errorf("another node there: %w", err)
	}
	return nil
}
