package node

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/horde"
	"hordenode/node/jobs"
	"hordenode/node/jobs/standby"
	"hordenode/p2p"
)

// Taking over the requests of a home that is gone (docs/decisions/0022-takeover.md):
//
//	home silent for takeOverAfter here and at the leader ─► TakeOver ─► adopt the copies
//	the home is back and finds itself superseded ─► hand over what it has ─► Resume
const (
	protoSilent   = "/horde/silent/1"   // node id → for how many ms it was not connected here
	protoHandover = "/horde/handover/1" // a request with what belongs to it → when it was adopted

	defaultTakeOverAfter = 60 * time.Second
	standInEvery         = 250 * time.Millisecond
	takeOverPause        = 5 * time.Second // between tries
	standbySweep         = 10 * time.Minute
)

// A handover is a request that passes from a home that was away to its successor.
type handover struct {
	ID    horde.RequestID   `cbor:"1,keyasint"`
	Items map[string][]byte `cbor:"2,keyasint"`
}

// standIn takes over from homes that are gone, and hands this node's requests over if it was
// taken to be gone itself, until ctx is done.
func (n *Node) standIn(ctx context.Context) error {
	t := time.NewTicker(standInEvery)
	defer t.Stop()
	var next time.Time // no takeover before
	swept := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			if n.ledger.Standin(n.self).Superseded {
				if err := n.surrender(ctx); err != nil && ctx.Err() == nil {
					n.log.InfoContext(ctx, "requests not handed over yet", "err", err)
				}
				continue
			}
			if now.Sub(swept) > standbySweep {
				swept = now
				if err := n.standby.Sweep(now, n.backsUp); err != nil {
					return err
				}
			}
			for _, m := range n.ledger.Members() {
				if m.ID == n.self {
					continue
				}
				s := n.ledger.Standin(m.ID)
				if s.Backup == n.self && !s.Superseded && !now.Before(next) && n.silent(m, now) >= n.cfg.TakeOverAfter {
					next = now.Add(takeOverPause)
					n.takeOver(ctx, m)
				}
				if s.Superseded && s.Successor == n.self && n.standby.Has(m.ID.Tag()) {
					if err := n.adopt(ctx, m.ID); err != nil && ctx.Err() == nil {
						n.log.ErrorContext(ctx, "requests not adopted", "home", m.ID, "err", err)
					}
				}
			}
		}
	}
}

// adopting tells whether copies of a home that this node stands in for are not its requests yet.
func (n *Node) adopting() bool {
	return slices.ContainsFunc(n.ledger.Members(), func(m horde.Member) bool {
		s := n.ledger.Standin(m.ID)
		return s.Superseded && s.Successor == n.self && n.standby.Has(m.ID.Tag())
	})
}

// backsUp tells whether copies of a home's requests should be here: this node is its backup,
// or may become so when the home has told the ledger.
func (n *Node) backsUp(home horde.HomeTag) bool {
	m, ok := n.ledger.MemberByTag(home)
	if !ok {
		return false
	}
	s := n.ledger.Standin(m.ID)
	return s.Backup == n.self || s.Backup == "" || s.Superseded && s.Successor == n.self
}

// silent is for how long a member has been away, as this node sees it. One that has left the
// federation does not come back.
func (n *Node) silent(m horde.Member, now time.Time) time.Duration {
	if !m.Active {
		return math.MaxInt64
	}
	return n.reach.since(m.ID, now)
}

// takeOver makes this node the successor of a home if the leader, too, sees that it is gone.
func (n *Node) takeOver(ctx context.Context, m horde.Member) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := n.confirmSilent(ctx, m)
	if err == nil {
		err = n.ledger.TakeOver(ctx, m.ID)
	}
	if err != nil {
		n.log.InfoContext(ctx, "home not taken over", "home", m.ID, "err", err)
		return
	}
	n.log.WarnContext(ctx, "home taken over: it was silent for too long", "home", m.ID, "name", m.Name)
}

func (n *Node) confirmSilent(ctx context.Context, m horde.Member) error {
	if n.group.IsLeader() || !m.Active {
		return nil
	}
	leader, err := n.leader()
	if err != nil {
		return err
	}
	answer, err := n.host.Call(ctx, leader, protoSilent, []byte(m.ID))
	if err != nil {
		return fmt.Errorf("ask the leader: %w", err)
	}
	ms, err := decodeIndex(answer)
	if err != nil {
		return err
	}
	if gone := time.Duration(ms) * time.Millisecond; gone < n.cfg.TakeOverAfter {
		return fmt.Errorf("the leader heard of it %s ago", gone)
	}
	return nil
}

// handleSilent tells a member for how long another was not connected here. A little is added:
// the two nodes look at different moments.
func (n *Node) handleSilent(_ context.Context, _ horde.NodeID, id []byte) ([]byte, error) {
	gone := n.reach.since(horde.NodeID(id), time.Now())
	if gone > 0 {
		gone += 2 * time.Second
	}
	return binary.BigEndian.AppendUint64(nil, uint64(gone.Milliseconds())), nil
}

// adopt makes the requests of a home that this node stands in for its own.
func (n *Node) adopt(ctx context.Context, home horde.NodeID) error {
	if err := n.ledger.Sync(ctx); err != nil {
		return err
	}
	tag := home.Tag()
	_, _, item := n.ledger.Origin(home)
	count := 0
	err := n.standby.Copies(tag, func(c standby.Copy) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !n.passesOn(home, c.ID) {
			n.log.ErrorContext(ctx, "copy not adopted: the request is not its home's", "home", home, "request", c.ID)
			return n.standby.Drop(c.ID, tag)
		}
		switch err := n.home.Adopt(ctx, c.ID, c.Items, jobs.Adopted{Held: n.ledger.Held(c.ID), Item: item}); {
		case errors.Is(err, jobs.ErrOver):
		case errors.Is(err, jobs.ErrCopies): // the others are adopted, and the home may come back
			n.log.ErrorContext(ctx, "request not adopted", "home", home, "err", err)
		case err != nil:
			return err
		default:
			count++
		}
		return n.standby.Drop(c.ID, tag)
	})
	n.log.InfoContext(ctx, "requests adopted", "home", home, "requests", count)
	return err
}

// surrender hands this node's requests to its successor, once all that it had to tell the
// ledger is told, and takes part again.
func (n *Node) surrender(ctx context.Context) error {
	if left := n.home.Outbox().Len(); left > 0 {
		return fmt.Errorf("%d commands wait for the ledger", left)
	}
	if err := n.ledger.Sync(ctx); err != nil {
		return err
	}
	to, ok := n.successor()
	if !ok {
		return errors.New("the successor is superseded itself")
	}
	count := 0
	err := n.home.Surrender(ctx, func(ctx context.Context, id horde.RequestID, items map[string][]byte) error {
		if err := n.addImages(ctx, id, items); err != nil {
			return err
		}
		for _, part := range handoverParts(items, p2p.MaxCall-handoverRoom) {
			data, err := cbor.Marshal(handover{ID: id, Items: part})
			if err != nil {
				return fmt.Errorf("encode handover: %w", err)
			}
			if _, err := n.host.Call(ctx, to, protoHandover, data); err != nil {
				return err
			}
		}
		count++
		return nil
	})
	if err != nil {
		return err
	}
	if left := n.home.Counters().Requests; left > 0 { // their clients asked just before this node knew
		return fmt.Errorf("%d requests were accepted meanwhile", left)
	}
	if _, err := n.host.Call(ctx, to, protoHandover, nil); err != nil {
		return err // it still adopts copies that this node would have it forget
	}
	if err := n.ledger.Resume(ctx); err != nil {
		return err
	}
	n.log.WarnContext(ctx, "this node was taken to be gone: its requests are its successor's", "successor", to, "requests", count)
	return nil
}

// handoverRoom is left in a message for what is not items, and itemRoom for what is not an
// item's name and content.
const handoverRoom, itemRoom = 1 << 10, 16

// handoverParts divides a request's items into messages with at most that many bytes of items:
// images first, which are shown with the results that they are, then what makes the request,
// and results that are too many for one message last. An item that is too large for any is
// left out.
func handoverParts(items map[string][]byte, most int) (parts []map[string][]byte) {
	names := slices.SortedFunc(maps.Keys(items), func(a, b string) int {
		return cmp.Or(cmp.Compare(jobs.HandoverRank(a), jobs.HandoverRank(b)), cmp.Compare(a, b))
	})
	room := 0
	for _, what := range names {
		size := len(what) + len(items[what]) + itemRoom
		if size > most {
			continue
		}
		if len(parts) == 0 || size > room {
			parts, room = append(parts, map[string][]byte{}), most
		}
		parts[len(parts)-1][what] = items[what]
		room -= size
	}
	return parts
}

// successor is who stands in for this node now.
func (n *Node) successor() (horde.NodeID, bool) {
	id := n.self
	for range 8 {
		s := n.ledger.Standin(id)
		if !s.Superseded {
			return id, id != n.self
		}
		id = s.Successor
	}
	return "", false
}

// addImages puts a request's images, and those of its jobs, beside its items.
func (n *Node) addImages(ctx context.Context, id horde.RequestID, items map[string][]byte) error {
	var owners []horde.UUID
	for what := range items {
		if owner, ok := jobs.BlobOwner(id, what); ok {
			owners = append(owners, owner)
		}
	}
	for _, owner := range owners {
		images, err := imagesOf(ctx, n.blobs, owner)
		switch {
		case ctx.Err() != nil, errors.Is(err, horde.RCUnavailable):
			return err // the store is away for the moment
		case err != nil: // one that can never be read must not keep this node from coming back
			n.log.ErrorContext(ctx, "images not handed over", "request", id, "err", err)
		}
		for _, x := range images {
			items[jobs.BlobItem(x.name)] = x.data
		}
	}
	return nil
}

// handleHandover adopts a request of a home that this node stands in for. Without one it tells
// whether all copies are adopted.
func (n *Node) handleHandover(ctx context.Context, from horde.NodeID, data []byte) ([]byte, error) {
	if !n.standsInFor(from) {
		return nil, fmt.Errorf("handover: %s is not stood in for by this node", from)
	}
	if len(data) == 0 {
		if n.standby.Has(from.Tag()) {
			return nil, errors.New("handover: copies are still being adopted")
		}
		return nil, nil
	}
	var h handover
	if err := cbor.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	if !n.passesOn(from, h.ID) {
		return nil, fmt.Errorf("handover: request %s is not of %s", h.ID, from)
	}
	if err := n.ledger.Sync(ctx); err != nil { // the home's last word must be known here
		return nil, err
	}
	err := n.home.Adopt(ctx, h.ID, h.Items, jobs.Adopted{Held: n.ledger.Held(h.ID), Item: math.MaxUint64})
	if errors.Is(err, jobs.ErrOver) {
		err = nil
	}
	return nil, err
}

func (n *Node) standsInFor(id horde.NodeID) bool { return n.standsIn(n.self, id) }

// standsIn tells whether a member is the successor of another, or the successor's.
func (n *Node) standsIn(by, id horde.NodeID) bool {
	chain := []horde.NodeID{id}
	for i := 0; i < len(chain) && i <= 8; i++ {
		s := n.ledger.Standin(chain[i])
		for _, next := range append([]horde.NodeID{s.Successor}, s.Earlier...) {
			switch {
			case next == by:
				return true
			case next != "" && !slices.Contains(chain, next):
				chain = append(chain, next)
			}
		}
	}
	return false
}

// passesOn tells whether a request may have been a member's to copy or to hand over: its own,
// or of a home that it stands in for.
func (n *Node) passesOn(from horde.NodeID, id horde.RequestID) bool {
	if id.Home() == from.Tag() {
		return true
	}
	m, ok := n.ledger.MemberByTag(id.Home())
	return ok && n.standsIn(from, m.ID)
}
