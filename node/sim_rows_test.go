package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"hordenode/consensus"
	"hordenode/ledger"
)

// Rows of the fault matrix that the simulation plays on top of its usual trouble.

func simRow(t *testing.T, change func(*sim)) {
	for seed := range uint64(3) {
		s := runSim(t, seed, change)
		for _, err := range s.errs {
			t.Error(err)
		}
		finished, err := s.history.check()
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if !finished {
			t.Logf("seed %d: the history was not checked to the end", seed)
		}
		t.Log(s)
	}
}

// Row 27: the clock of one node, which leads at times, jumps by an hour back and forth, freezes
// and shakes. Holds end by the ledger's time, leases by no clock of ours: every job is paid once.
func TestRow27ClockJumps(t *testing.T) { simRow(t, func(s *sim) { s.clocks = true }) }

// Row 48: voters are demoted, removed, added and promoted while leaders die.
func TestRow48MembersChangeWhileLeadersDie(t *testing.T) {
	simRow(t, func(s *sim) { s.members = true })
}

// jump plays with a node's clock.
func (s *sim) jump(ctx context.Context, n *simNode) {
	rnd := rand.New(rand.NewPCG(s.seed, 27))
	for !s.stopping.Load() {
		var to time.Duration
		switch rnd.IntN(4) {
		case 0:
			to = time.Hour
		case 1:
			to = -time.Hour
		case 2:
			to = time.Duration(rnd.IntN(1000)-500) * time.Millisecond
		}
		n.skew.Store(int64(to))
		frozen := rnd.IntN(4) == 0
		for range 10 {
			pause(ctx, 50*time.Millisecond)
			if frozen {
				n.skew.Add(-int64(50 * time.Millisecond))
			}
		}
	}
	n.skew.Store(0)
}

var errNobodyLeads = errors.New("nobody leads")

// lead has f done by the leader.
func (s *sim) lead(f func(*consensus.Group) error) error {
	for _, n := range s.nodes {
		if l := n.live.Load(); l != nil && l.group.IsLeader() {
			return f(l.group)
		}
	}
	return errNobodyLeads
}

// change changes the voters, one step after the other, whoever leads.
func (s *sim) change(ctx context.Context) {
	rnd := rand.New(rand.NewPCG(s.seed, 48))
	for !s.stopping.Load() {
		pause(ctx, time.Duration(50+rnd.IntN(400))*time.Millisecond)
		id := string(s.nodes[rnd.IntN(len(s.nodes))].id)
		err := s.lead(func(g *consensus.Group) error {
			switch rnd.IntN(5) {
			case 0:
				return g.Demote(id)
			case 1:
				return g.Remove(id)
			case 2:
				return g.AddLearner(id)
			case 3:
				return g.Promote(id)
			default:
				return s.allVote(g)
			}
		})
		if err != nil {
			s.log.Debug("sim: change of members", "err", err) // leaders die
		}
	}
}

// allVote makes every node a voter.
func (s *sim) allVote(g *consensus.Group) error {
	for _, n := range s.nodes {
		if err := errors.Join(g.AddLearner(string(n.id)), g.Promote(string(n.id))); err != nil {
			return err
		}
	}
	return nil
}

// voters is how each node sees the group.
func (s *sim) voters() string {
	var b strings.Builder
	for _, n := range s.nodes {
		if l := n.live.Load(); l != nil {
			servers, err := l.group.Servers()
			st := l.group.Stats()
			fmt.Fprintf(&b, "%s is %s of term %d, last %d, commit %d, leader %q, servers %v %v; ", n.id, st.State, st.Term, st.LastLog, st.Commit, st.Leader, servers, err)
		}
	}
	return b.String()
}

// Row 33: an entry at which the machine panics stops the nodes, which say at which index. When
// they start again they stop at the same entry; none crashes, goes beyond it, or stores anything
// of it. The last of three may live on as a follower: nobody is left to tell it that the entry is
// committed.
func TestRow33PoisonEntry(t *testing.T) {
	s := newSim(t, 33)
	s.poison = []byte("poison")
	s.play(t, func(ctx context.Context) error {
		before, _ := s.nodes[0].live.Load().machine.StateHash()
		call, stop := context.WithTimeout(ctx, 5*time.Second)
		defer stop()
		if _, _, err := s.nodes[0].live.Load().client.CreateUser(call, ledger.NewUser{Name: "poison"}); err == nil {
			return errors.New("the poison was answered")
		}
		want := fmt.Sprintf("apply entry %d: state machine panicked: a mistake in a command", before+1)
		for round := range 3 {
			if err := s.halted(ctx, before, want); err != nil {
				return fmt.Errorf("start %d: %w", round, err)
			}
			for _, n := range s.nodes {
				if err := n.end(n.live.Swap(nil)); err != nil {
					return err
				}
			}
			if err := s.restart(); err != nil {
				return err
			}
		}
		return nil
	})
	for _, err := range s.errs {
		t.Error(err)
	}
}

// halted waits until two nodes have stopped and looks why.
func (s *sim) halted(ctx context.Context, index uint64, want string) error {
	stopped := map[*simNode]error{}
	if err := until(ctx, "the end of two nodes", time.Minute, func() bool {
		for _, n := range s.nodes {
			select {
			case err, ok := <-n.live.Load().group.Failed():
				if ok {
					stopped[n] = err
				}
			default:
			}
		}
		return len(stopped) >= 2
	}); err != nil {
		return err
	}
	for n, err := range stopped {
		if !strings.Contains(err.Error(), want) {
			return fmt.Errorf("%s: got %w, want %q", n.id, err, want)
		}
	}
	for _, n := range s.nodes {
		if at := n.live.Load().machine.Head().Index; at > index {
			return fmt.Errorf("%s is at index %d, want at most %d", n.id, at, index)
		}
	}
	return nil
}
