package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"hordenode/consensus"
)

// Row 48 too: a leader takes a voter's vote away and dies before the third has heard of it. The
// one that lost its vote must not know either, or the two could elect nobody until the leader
// came back.
func TestRow48DemotingLeaderDies(t *testing.T) {
	for name, take := range map[string]func(*consensus.Group, string) error{
		"demote": (*consensus.Group).Demote,
		"remove": (*consensus.Group).Remove,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, 48)
			s.play(t, func(ctx context.Context) error { return s.loseLeader(ctx, take) })
			for _, err := range s.errs {
				t.Error(err)
			}
		})
	}
}

func (s *sim) loseLeader(ctx context.Context, take func(*consensus.Group, string) error) error {
	a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
	group := a.live.Load().group
	if err := until(ctx, "a leads", time.Minute, group.IsLeader); err != nil {
		return err
	}
	before := group.Stats().LastLog
	s.net.sever("a", "c", false)
	ended := make(chan error, 1)
	go func() { ended <- take(group, string(b.id)) }()
	if err := until(ctx, "the change in the log of a", time.Second, func() bool { return group.Stats().LastLog > before }); err != nil {
		return err
	}
	pause(ctx, 100*time.Millisecond) // in which b would get it
	if err := a.crash(); err != nil {
		return err
	}
	if err := <-ended; err == nil {
		return errors.New("the change was committed without c")
	}
	s.net.heal()
	leads := func(n *simNode) bool { return n.live.Load().group.IsLeader() }
	if err := until(ctx, "a leader of the two left", time.Minute, func() bool { return leads(b) || leads(c) }); err != nil {
		return fmt.Errorf("%w: %s", err, s.voters())
	}
	return s.restart()
}
