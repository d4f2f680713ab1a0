package consensus

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// A Server is a member of the group.
type Server struct {
	ID    string
	Voter bool // false: a learner, which follows the log and has no vote
}

// changeTimeout bounds how long a change waits for one before it.
const changeTimeout = 10 * time.Second

// Servers returns the members as of the latest configuration, committed or not, in its order.
func (g *Group) Servers() ([]Server, error) {
	if err := g.enter(); err != nil {
		return nil, err
	}
	defer g.calls.Done()
	return g.servers()
}

func (g *Group) servers() ([]Server, error) {
	f := g.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var out []Server
	for _, s := range f.Configuration().Servers {
		out = append(out, Server{ID: string(s.ID), Voter: s.Suffrage == raft.Voter})
	}
	return out, nil
}

// AddLearner adds a server without a vote; it gets the log, or a snapshot and then the log. A
// server that is in the group already stays what it is.
//
// AddLearner, Promote, Demote and Remove return when the change is committed. Only the leader
// can; ErrNotLeader says that nothing happened, ErrUnknown that one has to look.
func (g *Group) AddLearner(id string) error {
	return g.change(func([]Server) raft.IndexFuture {
		return g.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(id), 0, changeTimeout)
	})
}

// Promote makes a learner a voter, or returns ErrNotMember.
func (g *Group) Promote(id string) error {
	return g.change(func(servers []Server) raft.IndexFuture {
		if !isMember(servers, id) {
			return nil
		}
		return g.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(id), 0, changeTimeout)
	})
}

// Demote makes a voter a learner, or returns ErrNotMember. raft refuses to demote the last
// voter. A leader does not demote itself: it hands over and returns ErrNotLeader.
func (g *Group) Demote(id string) error {
	if id == g.cfg.Self && g.IsLeader() {
		return g.handOver()
	}
	return g.change(func(servers []Server) raft.IndexFuture {
		if !isMember(servers, id) {
			return nil
		}
		return g.raft.DemoteVoter(raft.ServerID(id), 0, changeTimeout)
	}, id)
}

// Remove takes a server out of the group. One that is not in it is no error. A leader does not
// remove itself: it hands over and returns ErrNotLeader.
func (g *Group) Remove(id string) error {
	if id == g.cfg.Self && g.IsLeader() {
		return g.handOver()
	}
	return g.change(func([]Server) raft.IndexFuture {
		return g.raft.RemoveServer(raft.ServerID(id), 0, changeTimeout)
	}, id)
}

// handOver makes another node lead, which may then do what the leader must not do to itself:
// raft's servers without a vote stand in no election, not even while the change that took it is
// uncommitted (v1.8.0, runFollower). If the leadership is lost before the other voters have
// that change, this node's log is ahead of theirs, they do not get its vote, and nobody ever
// leads again. The simulation found it.
func (g *Group) handOver() error {
	if err := g.TransferLeadership(); err != nil {
		return err
	}
	return g.notLeader()
}

func isMember(servers []Server, id string) bool {
	for _, s := range servers {
		if s.ID == id {
			return true
		}
	}
	return false
}

// change runs one change of the configuration; f returns nil for ErrNotMember. The servers that
// lose their vote by it learn of it when it is committed.
func (g *Group) change(f func([]Server) raft.IndexFuture, losers ...string) error {
	if err := g.enter(); err != nil {
		return err
	}
	defer g.calls.Done()
	g.memberMu.Lock()
	defer g.memberMu.Unlock()
	if !g.IsLeader() {
		return g.notLeader()
	}
	servers, err := g.servers()
	if err != nil {
		return err
	}
	var holdups []func(decided bool)
	for _, id := range losers {
		holdups = append(holdups, g.trans.withheld.withhold(raft.ServerID(id), g.raft.CurrentTerm()))
	}
	future := f(servers)
	if future == nil {
		err = ErrNotMember
	} else {
		err = future.Error()
	}
	for _, end := range holdups {
		end(!errors.Is(err, raft.ErrLeadershipLost) && !errors.Is(err, raft.ErrRaftShutdown))
	}
	switch {
	case future == nil:
		return ErrNotMember
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("an earlier change of the group is not done yet: %w", err)
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown):
		return g.raftError(err)
	default: // raft refused it: no voter would be left
		return fmt.Errorf("change group: %w", err)
	}
}

// TransferLeadership hands the leadership to the voter that knows most, and returns when this
// node has stepped down. Proposals meanwhile get ErrNotLeader.
func (g *Group) TransferLeadership() error {
	if err := g.enter(); err != nil {
		return err
	}
	defer g.calls.Done()
	err := g.raft.LeadershipTransfer().Error()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return g.notLeader()
	default:
		return fmt.Errorf("transfer leadership: %w", err)
	}
}

// Leader names the leader, if one is known.
func (g *Group) Leader() (id string, ok bool) {
	_, leader := g.raft.LeaderWithID()
	return string(leader), leader != ""
}

// IsLeader tells whether this node believes to lead. Only a Barrier or a Propose proves it.
func (g *Group) IsLeader() bool { return g.raft.State() == raft.Leader }

// LeaderChanges gets a value after the leader or this node's role changed. Changes in quick
// succession share one.
func (g *Group) LeaderChanges() <-chan struct{} { return g.changes }

// closeEvery is how many heartbeats lie between two closings of a peer's connection.
const closeEvery = 20

// observe handles what raft tells of leaders and of peers that do not answer.
func (g *Group) observe(events <-chan raft.Observation) {
	away := map[raft.ServerID]time.Time{} // and when we last closed its connection
	for {
		select {
		case <-g.stopped:
			return
		case e := <-events:
			switch e := e.Data.(type) {
			case raft.FailedHeartbeatObservation:
				closed, known := away[e.PeerID]
				if !known {
					away[e.PeerID] = time.Time{}
					g.cfg.Log.Warn("peer does not answer", "peer", string(e.PeerID), "last", e.LastContact)
				}
				// raft's clock, not ours: it stamped LastContact. Not more often than that: the
				// others' streams to a peer whose raft does not answer use the connection, too.
				if time.Since(e.LastContact) > 3*g.t.heartbeat && time.Since(closed) > closeEvery*g.t.heartbeat {
					away[e.PeerID] = time.Now()
					g.cfg.ClosePeer(string(e.PeerID))
				}
			case raft.ResumedHeartbeatObservation:
				delete(away, e.PeerID)
				g.cfg.Log.Info("peer answers again", "peer", string(e.PeerID))
			case raft.PeerObservation:
				if e.Removed {
					delete(away, e.Peer.ID)
				}
			default:
				notify(g.changes)
			}
		}
	}
}

// observed selects the events for observe.
func observed(o *raft.Observation) bool {
	switch o.Data.(type) {
	case raft.LeaderObservation, raft.RaftState, raft.PeerObservation,
		raft.FailedHeartbeatObservation, raft.ResumedHeartbeatObservation:
		return true
	}
	return false
}
