package p2p

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"hordenode/internal/horde"
)

// Where a member is, it says itself: a signed record, handed over when two meet and whenever it
// changes. Whoever looks for a member that has moved asks others for its record. A record that
// others bring is as good as one of the ledger's: only the member can have made it.
const (
	whereProtocol = "/horde/where/1"
	whereDomain   = "hordenode whereabouts"
	whereMax      = 32 << 10 // bytes of a request or an answer
	askEvery      = 5 * time.Second
	askOthers     = 3 // members, each time
)

// whereabouts is what a member says of itself.
type whereabouts struct {
	ID    horde.NodeID `cbor:"1,keyasint"`
	Seq   uint64       `cbor:"2,keyasint"` // Unix milliseconds; the larger is newer
	Addrs []string     `cbor:"3,keyasint"`
	Relay bool         `cbor:"4,keyasint,omitempty"` // it relays for members that cannot be dialled
}

// sealed is a whereabouts with its member's signature.
type sealed struct {
	Body []byte `cbor:"1,keyasint"`
	Sig  []byte `cbor:"2,keyasint"`
}

type whereRequest struct {
	Own sealed       `cbor:"1,keyasint"`
	Ask horde.NodeID `cbor:"2,keyasint,omitempty"` // whose record is wanted besides the answerer's
}

type whereResponse struct {
	Own   sealed  `cbor:"1,keyasint"`
	Found *sealed `cbor:"2,keyasint,omitempty"`
}

// A record is a member's newest whereabouts.
type record struct {
	whereabouts
	sealed sealed
}

var errRecord = errors.New("invalid address record")

// open checks a record: whose it is follows from the key in its id.
func (s sealed) open() (record, error) {
	r := record{sealed: s}
	if len(s.Body) > whereMax/2 {
		return r, fmt.Errorf("%w: %d bytes", errRecord, len(s.Body))
	}
	if err := cbor.Unmarshal(s.Body, &r.whereabouts); err != nil {
		return r, fmt.Errorf("%w: %w", errRecord, err)
	}
	p, err := peerID(r.ID)
	if err != nil {
		return r, fmt.Errorf("%w: %w", errRecord, err)
	}
	key, err := p.ExtractPublicKey()
	if err != nil {
		return r, fmt.Errorf("%w: %w", errRecord, err)
	}
	pub, err := key.Raw()
	if err != nil {
		return r, fmt.Errorf("%w: %w", errRecord, err)
	}
	if len(r.Addrs) > maxAddrs || !Verify(pub, whereDomain, s.Body, s.Sig) {
		return r, fmt.Errorf("%w: of %s", errRecord, r.ID)
	}
	return r, nil
}

// ownRecord returns our record, signed anew if it has changed.
func (h *Host) ownRecord() (sealed, bool, error) {
	addrs, relays := h.Addrs(), h.reach.relaying()
	addrs = addrs[:min(len(addrs), maxAddrs)]
	h.reach.mu.Lock()
	defer h.reach.mu.Unlock()
	own := &h.reach.own
	if own.Seq != 0 && slices.Equal(own.Addrs, addrs) && own.Relay == relays {
		return own.sealed, false, nil
	}
	w := whereabouts{ID: h.id, Seq: max(own.Seq+1, uint64(time.Now().UnixMilli())), Addrs: addrs, Relay: relays}
	body, err := cbor.Marshal(w)
	if err != nil {
		return sealed{}, false, err
	}
	sig, err := h.SignFor(whereDomain, body)
	if err != nil {
		return sealed{}, false, err
	}
	*own = record{whereabouts: w, sealed: sealed{Body: body, Sig: sig}}
	return own.sealed, true, nil
}

// learn takes in a record if it is a member's and newer than what we have.
func (h *Host) learn(s sealed) error {
	r, err := s.open()
	if err != nil {
		return err
	}
	p, err := peerID(r.ID)
	if err != nil {
		return err
	}
	if r.ID == h.id || !h.gate().MayConnect(r.ID) {
		return nil
	}
	var addrs []multiaddr.Multiaddr
	for _, text := range r.Addrs {
		parsed, err := parseAddrs([]string{text})
		if err != nil {
			return fmt.Errorf("%w: %w", errRecord, err)
		}
		addrs = append(addrs, parsed...)
	}
	h.reach.mu.Lock()
	if old, ok := h.reach.records[p]; ok && old.Seq >= r.Seq || !ok && len(h.reach.records) >= maxRemembered {
		h.reach.mu.Unlock()
		return nil
	}
	h.reach.records[p] = r
	h.reach.mu.Unlock()
	if h.book.tell(p, addrs) {
		h.rethink(p)
	}
	h.reach.wake()
	return nil
}

// recordOf returns the newest record of a member.
func (h *Host) recordOf(p peer.ID) (record, bool) {
	h.reach.mu.Lock()
	defer h.reach.mu.Unlock()
	r, ok := h.reach.records[p]
	return r, ok
}

// rethink has a peer dialled at the addresses that are known now.
func (h *Host) rethink(p peer.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[p]; l != nil && l.isWanted() && !h.closed {
		l.want(h.book.addrs(p))
	}
}

// swap hands our record to a connected peer and takes in its own, and that of ask, if any.
func (l *link) swap(ctx context.Context, ask horde.NodeID) error {
	own, _, err := l.h.ownRecord()
	if err != nil {
		return err
	}
	req, err := cbor.Marshal(whereRequest{Own: own, Ask: ask})
	if err != nil {
		return err
	}
	answer, err := l.call(ctx, whereProtocol, req, l.haveAny)
	if err != nil {
		return err
	}
	var res whereResponse
	if err := cbor.Unmarshal(answer, &res); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	err = l.h.learn(res.Own)
	if res.Found != nil {
		err = errors.Join(err, l.h.learn(*res.Found))
	}
	return err
}

// answerWhere serves /horde/where/1.
func (h *Host) answerWhere(_ context.Context, from horde.NodeID, req []byte) ([]byte, error) {
	var q whereRequest
	if err := cbor.Unmarshal(req, &q); err != nil {
		return nil, &RemoteError{Code: CodeRefused, Msg: "malformed"}
	}
	if err := h.learn(q.Own); err != nil {
		return nil, &RemoteError{Code: CodeRefused, Msg: err.Error()}
	}
	own, _, err := h.ownRecord()
	if err != nil {
		return nil, err
	}
	res := whereResponse{Own: own}
	if p, err := peerID(q.Ask); err == nil && q.Ask != from {
		if r, ok := h.recordOf(p); ok && h.gate().MayConnect(q.Ask) {
			res.Found = &r.sealed
		}
	}
	return cbor.Marshal(res)
}

// lookFor asks some connected members where a member is that cannot be reached.
func (l *link) lookFor(ctx context.Context) {
	others := l.h.connectedLinks(func(o *link) bool { return o != l && o.reached() })
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	for _, o := range others[:min(len(others), askOthers)] {
		ctx, cancel := context.WithTimeout(ctx, pingTimeout)
		if err := o.swap(ctx, l.node); err != nil {
			l.h.log.Debug("peer's whereabouts not told", "peer", o.node, "err", err)
		}
		cancel()
	}
}

// connectedLinks lists the links that f accepts.
func (h *Host) connectedLinks(f func(*link) bool) (out []*link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.links {
		if f(l) {
			out = append(out, l)
		}
	}
	return out
}

// tellWhere hands our record to all connected peers if it has changed.
func (h *Host) tellWhere(ctx context.Context) {
	if _, changed, err := h.ownRecord(); err != nil || !changed {
		if err != nil {
			h.log.Warn("own addresses not told", "err", err)
		}
		return
	}
	for _, l := range h.connectedLinks((*link).reached) {
		ctx, cancel := context.WithTimeout(ctx, pingTimeout)
		if err := l.swap(ctx, ""); err != nil {
			h.log.Debug("own addresses not told", "peer", l.node, "err", err)
		}
		cancel()
	}
}

// exchangeRecords swaps records with a peer that has just come.
func (l *link) exchangeRecords() {
	l.h.spawn(func() {
		ctx, cancel := context.WithTimeout(l.h.ctx, pingTimeout)
		defer cancel()
		if err := l.swap(ctx, ""); err != nil {
			l.h.log.Debug("addresses not exchanged", "peer", l.node, "err", err)
		}
	})
}
