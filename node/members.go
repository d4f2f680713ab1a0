package node

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

// roster is who belongs to the federation, as this node knows it: the ledger's members, or
// until there is a ledger, those that it was told of when it joined. It answers the gate's
// questions without a lock, since they are asked for every connection and stream.
type roster struct {
	self    horde.NodeID
	peers   *acquaintances // who is of another epoch; may be nil
	members atomic.Pointer[map[horde.NodeID]horde.Member]
}

func newRoster(self horde.NodeID, known []horde.Member) *roster {
	r := &roster{self: self}
	r.set(known)
	return r
}

func (r *roster) set(members []horde.Member) {
	m := make(map[horde.NodeID]horde.Member, len(members))
	for _, x := range members {
		m[x.ID] = x
	}
	r.members.Store(&m)
}

func (r *roster) get(id horde.NodeID) (horde.Member, bool) {
	m, ok := (*r.members.Load())[id]
	return m, ok
}

// MayConnect lets in members only; strangers join over HTTP (join.go).
func (r *roster) MayConnect(id horde.NodeID) bool {
	m, ok := r.get(id)
	return ok && m.Active
}

// MaySpeak keeps raft among members that may vote, leader included: only candidates and
// leaders open raft streams. It asks the registry, never raft's own configuration, since a
// lagging node must accept a leader that it does not know of yet.
func (r *roster) MaySpeak(id horde.NodeID, protocol string) bool {
	m, ok := r.get(id)
	switch {
	case !ok || !m.Active:
		return false
	case protocol == protoHello, protocol == protoRejoin:
		return true
	case r.peers != nil && r.peers.refused(id):
		return false
	}
	return !strings.HasPrefix(protocol, protoRaft) || m.Voter
}

// addresses are those of the active members but this node.
func (r *roster) addresses() map[horde.NodeID][]string {
	out := map[horde.NodeID][]string{}
	for id, m := range *r.members.Load() {
		if m.Active && id != r.self {
			out[id] = m.Addrs
		}
	}
	return out
}

// keepRoster follows the ledger's members: who may connect, and whom to stay connected to.
// It also tells the ledger when this node's own addresses have changed.
func (n *Node) keepRoster(ctx context.Context) error {
	var last map[horde.NodeID][]string
	for first := true; ; first = false {
		if members := n.ledger.Members(); len(members) > 0 {
			n.roster.set(members)
		}
		if now := n.roster.addresses(); first || !maps.EqualFunc(now, last, slices.Equal) {
			last = now
			n.host.SetPeers(now)
			if members := n.ledger.Members(); len(members) > 0 {
				if err := n.rememberMembers(members); err != nil {
					n.log.WarnContext(ctx, "cannot write down who the members are", "err", err)
				}
			}
		}
		n.announceSelf(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// announceSelf writes this node's addresses and URL to the ledger when they differ from
// what it says, at most every ten seconds.
func (n *Node) announceSelf(ctx context.Context) {
	me, ok := n.ledger.Member(n.self)
	if !ok || !me.Active || time.Since(n.announced) < 10*time.Second {
		return
	}
	addrs, url := n.announceAddrs(), n.URL()
	if slices.Equal(me.Addrs, addrs) && me.URL == url {
		return
	}
	n.announced = time.Now()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := n.ledger.UpdateMember(ctx, ledger.MemberChange{ID: n.self, Addrs: addrs, URL: &url}); err != nil && ctx.Err() == nil {
		n.log.WarnContext(ctx, "cannot announce this node's addresses", "err", err)
	}
}

func (n *Node) announceAddrs() []string { return n.host.Addrs() }
