package nodetest

import (
	"errors"
	"time"

	"hordenode/node"
)

// Status is what the node says of itself.
func (n *Node) Status() node.Status { return n.node().Status() }

// MemberList is what the node says of the members.
func (n *Node) MemberList() []node.MemberStatus { return n.node().MemberList() }

// ReportVersion has the node send a command of the second version of the ledger.
func (n *Node) ReportVersion() error { return n.node().ReportVersion(n.t.Context()) }

// Reconfigure changes the configuration for the next start, as another program would come with.
func (n *Node) Reconfigure(change func(*node.Config)) { change(&n.cfg) }

// TryStart opens the node and returns why it cannot be; one that can is closed again.
func (n *Node) TryStart() error {
	nd, err := node.New(n.cfg)
	if err != nil {
		return err
	}
	return nd.Close()
}

// Ended waits until the node has ended by itself and returns why.
func (n *Node) Ended() error {
	n.mu.Lock()
	done := n.done
	n.n, n.cancel, n.done = nil, nil, nil
	n.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		return errors.New("the node goes on")
	}
}
