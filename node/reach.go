package node

import (
	"context"
	"sync"
	"time"

	"hordenode/internal/horde"
	"hordenode/p2p"
)

// goneFor is how long a member must have been away before a job was granted for its absence
// to excuse nobody: workers have left it for other nodes by then.
const goneFor = time.Hour

// A reach remembers since when members cannot be reached.
type reach struct {
	mu   sync.Mutex
	lost map[horde.NodeID]time.Time
}

// follow notes who is away, until ctx is done.
func (r *reach) follow(members func() []horde.Member, peers func() []p2p.PeerInfo) func(context.Context) error {
	return func(ctx context.Context) error {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			r.note(members(), peers(), time.Now())
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
			}
		}
	}
}

func (r *reach) note(members []horde.Member, peers []p2p.PeerInfo, now time.Time) {
	connected := map[horde.NodeID]bool{}
	for _, p := range peers {
		connected[p.ID] = p.Connected
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.lost
	r.lost = map[horde.NodeID]time.Time{}
	for _, m := range members {
		if connected[m.ID] {
			continue
		}
		at, ok := old[m.ID]
		if !ok {
			at = now
		}
		r.lost[m.ID] = at
	}
}

// since is for how long a member has not been connected; 0 if it is, or is not known.
func (r *reach) since(id horde.NodeID, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost, ok := r.lost[id]
	if !ok {
		return 0
	}
	return now.Sub(lost)
}

// gone tells whether a member was away already, and for long, at the given time.
func (r *reach) gone(id horde.NodeID, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost, ok := r.lost[id]
	return ok && at.Sub(lost) > goneFor
}

// cutOff tells whether a member that workers may use could not be reached at some moment
// since: it is away now, or its oldest connection is younger. A connection that was replaced
// without a gap counts as one that was lost; that is the side to err on.
func (r *reach) cutOff(self horde.NodeID, members []horde.Member, peers []p2p.PeerInfo, since time.Time) bool {
	seen := map[horde.NodeID]p2p.PeerInfo{}
	for _, p := range peers {
		seen[p.ID] = p
	}
	for _, m := range members {
		if !m.Active || m.ID == self {
			continue
		}
		switch p := seen[m.ID]; {
		case p.Connected && !p.Since.After(since):
		case !p.Connected && r.gone(m.ID, since):
		default:
			return true
		}
	}
	return false
}

// cutOff is jobs.Config.CutOff.
func (n *Node) cutOff(since time.Time) bool {
	return n.reach.cutOff(n.self, n.ledger.Members(), n.host.Peers(), since)
}

// openLinks returns the gate of the network: the roster, and in tests what Config.Link cuts.
func (n *Node) openLinks() p2p.Gate {
	if n.cfg.Link == nil {
		return n.roster
	}
	return links{n.roster, n.cfg.Link}
}

// links are the roster's, but for those that are cut.
type links struct {
	*roster
	whole func(peer horde.NodeID) bool
}

func (l links) MayConnect(id horde.NodeID) bool { return l.whole(id) && l.roster.MayConnect(id) }

func (l links) MaySpeak(id horde.NodeID, protocol string) bool {
	return l.whole(id) && l.roster.MaySpeak(id, protocol)
}

// ClosePeer closes the connections to a member, which is dialled again if it may be: for
// tests that cut a link.
func (n *Node) ClosePeer(id horde.NodeID) { n.host.ClosePeer(string(id)) }
