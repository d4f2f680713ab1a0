package nodetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hordenode/internal/horde"
)

// links knows which pairs of nodes are cut off from each other.
type links struct {
	mu  sync.RWMutex
	cut map[[2]horde.NodeID]bool
}

func pair(a, b horde.NodeID) [2]horde.NodeID { return [2]horde.NodeID{min(a, b), max(a, b)} }

func (l *links) whole(a, b horde.NodeID) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return !l.cut[pair(a, b)]
}

func (l *links) set(a, b horde.NodeID, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut == nil {
		l.cut = map[[2]horde.NodeID]bool{}
	}
	l.cut[pair(a, b)] = cut
}

// Cut breaks the link between two running nodes: what is under way fails, and neither can
// reach the other until Heal. Gossip still goes round by others. It returns when both have
// noticed.
func (c *Cluster) Cut(a, b *Node) {
	c.t.Helper()
	c.links.set(a.ID(), b.ID(), true)
	c.Eventually(fmt.Sprintf("%s and %s apart", a.Name, b.Name), func() error {
		a.node().ClosePeer(b.ID())
		b.node().ClosePeer(a.ID())
		if a.connected(b) || b.connected(a) {
			return errors.New("still connected")
		}
		return nil
	})
}

// Isolate cuts a node off from all others that run.
func (c *Cluster) Isolate(a *Node) {
	c.t.Helper()
	for _, b := range c.Nodes {
		if b != a && b.Running() {
			c.Cut(a, b)
		}
	}
}

// Heal mends the link between two running nodes and waits until they are connected.
func (c *Cluster) Heal(a, b *Node) {
	c.t.Helper()
	c.links.set(a.ID(), b.ID(), false)
	c.Eventually(fmt.Sprintf("%s and %s together", a.Name, b.Name), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := a.node().Call(ctx, b.ID()); err != nil {
			return err
		}
		return b.node().Call(ctx, a.ID())
	})
}

// Rejoin mends all links of a node.
func (c *Cluster) Rejoin(a *Node) {
	c.t.Helper()
	for _, b := range c.Nodes {
		if b != a && b.Running() {
			c.Heal(a, b)
		}
	}
}

// ID is the node's id; it stays when the node restarts.
func (n *Node) ID() horde.NodeID {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id
}

func (n *Node) connected(to *Node) bool {
	for _, m := range n.node().MemberList() {
		if m.ID == to.ID() {
			return m.Connected
		}
	}
	return false
}

// Leads tells whether the node thinks that it leads.
func (n *Node) Leads() bool { return n.node().Status().Role == "leader" }
