package node

import (
	"context"
	"slices"
	"time"

	"hordenode/consensus"
	"hordenode/internal/horde"
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
		return s.server && !s.voter && s.member.Voter && s.connected && s.caughtUp
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
		replaceable := candidates >= 0 && s.missing > deadAfter && healthy > (voters-1)/2
		if !s.member.Voter && voters > 1 || replaceable {
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
		connected[p.ID] = p.Connected
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
			s.caughtUp = n.caughtUp(ctx, m.ID)
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

// caughtUp asks a learner how far it is.
func (n *Node) caughtUp(ctx context.Context, id horde.NodeID) bool {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	st, err := n.askStatus(ctx, id)
	return err == nil && !st.Full && st.Applied+promoteLag >= n.group.Applied() && st.Applied > 0
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
