package node

import (
	"context"
	"slices"
	"time"

	"hordenode/consensus"
	"hordenode/internal/horde"
	"hordenode/p2p"
)

const (
	// wantVoters is how many members vote, once there are enough. Fewer than three members
	// have one voter: two would both be needed, which is worse than one.
	wantVoters = 3
	// promoteLag is how many entries behind a learner may be and still become a voter.
	promoteLag = 200
	// deadAfter is how long a voter is missing before a healthy learner takes its place.
	deadAfter = 10 * time.Minute
)

// A sight is what the leader sees of a member.
type sight struct {
	member    horde.Member
	server    bool // is in raft's configuration
	voter     bool
	connected bool
	caughtUp  bool
	hidden    bool          // known not to be dialable: it would have to be reached through others
	missing   time.Duration // since it was last connected
}

// A step is one change of raft's configuration.
type step struct {
	do string // "add", "remove", "promote", "demote", or "" for nothing
	id horde.NodeID
}

// nextStep decides the one change to make now. It is pure: sights are sorted by id, so
// every leader decides alike.
func nextStep(self horde.NodeID, sights []sight, strangers []horde.NodeID) step {
	if len(strangers) > 0 {
		return step{"remove", strangers[0]}
	}
	var voters, healthy int
	for _, s := range sights {
		if !s.server && s.member.Active {
			return step{"add", s.member.ID}
		}
		if s.voter {
			voters++
			if s.connected || s.member.ID == self {
				healthy++
			}
		}
	}
	eligible := func(s sight) bool {
		return s.server && !s.voter && s.member.Voter && s.connected && s.caughtUp && !s.hidden
	}
	candidates := slices.IndexFunc(sights, eligible)
	able := voters
	for _, s := range sights {
		if eligible(s) {
			able++
		}
	}
	for _, s := range sights {
		if !s.voter || s.member.ID == self {
			continue
		}
		left := healthy
		if s.connected {
			left--
		}
		barred, dead := !s.member.Voter && voters > 1, candidates >= 0 && s.missing > deadAfter
		switch {
		case !barred && !dead, left <= (voters-1)/2: // those left could not go on without it
		case s.connected && candidates >= 0 && voters <= wantVoters: // four that are there can lose one, two cannot
			return step{"promote", sights[candidates].member.ID}
		default: // with a dead one, two that are there need no more than each other, and three of four would
			return step{"demote", s.member.ID}
		}
	}
	if candidates >= 0 && voters < wantVoters && able >= wantVoters {
		return step{"promote", sights[candidates].member.ID}
	}
	return step{}
}

// autopilot keeps raft's configuration equal to what the ledger says of the members, one
// change at a time, while this node leads.
func (n *Node) autopilot(ctx context.Context) error {
	seen := map[horde.NodeID]time.Time{}
	tick := time.NewTicker(n.cfg.AutopilotEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !n.group.IsLeader() {
			clear(seen)
			continue
		}
		if me, ok := n.ledger.Member(n.self); ok && me.Suspended { // others go on with the ledger
			if err := n.group.TransferLeadership(); err != nil {
				n.log.DebugContext(ctx, "a suspended leader finds no successor yet", "err", err)
			}
			continue
		}
		sights, strangers, err := n.look(ctx, seen)
		if err != nil {
			n.log.DebugContext(ctx, "autopilot cannot see the group", "err", err)
			continue
		}
		s := nextStep(n.self, sights, strangers)
		if s.do == "" {
			continue
		}
		if err := n.change(s.do, string(s.id)); err != nil {
			n.log.WarnContext(ctx, "membership change failed", "do", s.do, "node", s.id, "err", err)
			continue
		}
		n.log.InfoContext(ctx, "membership changed", "do", s.do, "node", s.id)
	}
}

func (n *Node) change(do, id string) error {
	switch do {
	case "add":
		return n.group.AddLearner(id)
	case "remove":
		return n.group.Remove(id)
	case "promote":
		return n.group.Promote(id)
	default:
		return n.group.Demote(id)
	}
}

// look gathers what the leader sees: every active member, and servers that are none.
func (n *Node) look(ctx context.Context, seen map[horde.NodeID]time.Time) (sights []sight, strangers []horde.NodeID, err error) {
	servers, err := n.group.Servers()
	if err != nil {
		return nil, nil, err
	}
	connected := map[horde.NodeID]bool{n.self: true}
	for _, p := range n.host.Peers() {
		connected[p.ID] = p.Connected && !p.Relayed // raft does not go through relays
	}
	for _, s := range servers {
		if m, ok := n.ledger.Member(horde.NodeID(s.ID)); !ok || !m.Active {
			strangers = append(strangers, horde.NodeID(s.ID))
		}
	}
	now := time.Now()
	for _, m := range n.ledger.Members() {
		if !m.Active {
			continue
		}
		if _, ok := seen[m.ID]; !ok || connected[m.ID] {
			seen[m.ID] = now
		}
		s := sight{member: m, connected: connected[m.ID], missing: now.Sub(seen[m.ID])}
		if i := slices.IndexFunc(servers, func(x consensus.Server) bool { return x.ID == string(m.ID) }); i >= 0 {
			s.server, s.voter = true, servers[i].Voter
		}
		if s.server && !s.voter && s.connected && m.ID != n.self {
			s.caughtUp, s.hidden = n.caughtUp(ctx, m.ID)
		}
		sights = append(sights, s)
	}
	slices.SortFunc(sights, func(a, b sight) int { return compareIDs(a.member.ID, b.member.ID) })
	slices.Sort(strangers)
	return sights, strangers, nil
}

func compareIDs(a, b horde.NodeID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// caughtUp asks a learner how far it is, and whether it is known not to be dialable.
func (n *Node) caughtUp(ctx context.Context, id horde.NodeID) (caughtUp, hidden bool) {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	st, err := n.askStatus(ctx, id)
	caughtUp = err == nil && !st.Full && st.Applied+promoteLag >= n.group.Applied() && st.Applied > 0
	return caughtUp, st.Dialable == p2p.DialableNo.String()
}

// tick stamps the ledger with the leader's clock and state hash, so that time passes for
// holds and a node that differs finds out.
func (n *Node) tick(ctx context.Context) error {
	t := time.NewTicker(n.cfg.TickEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if !n.group.IsLeader() {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, n.cfg.TickEvery)
		if err := n.ledger.Tick(ctx); err != nil && ctx.Err() == nil {
			n.log.WarnContext(ctx, "tick failed", "err", err)
		}
		cancel()
	}
}
