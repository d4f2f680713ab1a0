package node

import (
	"context"
	"time"

	"hordenode/internal/horde"
)

// leaderEvery is how often a call to the leader looks whether it still leads.
const leaderEvery = 20 * time.Millisecond

// whileLeads is ctx, and ends when this node does not take id for the leader any more: a
// leader that died does not answer, and a connection may take seconds to notice. What was
// asked of it has an unknown outcome then. The caller calls done.
func (n *Node) whileLeads(ctx context.Context, id horde.NodeID) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { // done waits for it
		defer close(ended)
		tick := time.NewTicker(leaderEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if leader, ok := n.group.Leader(); !ok || horde.NodeID(leader) != id {
				cancel()
				return
			}
		}
	}()
	return ctx, func() { cancel(); <-ended }
}
