package node

import (
	"context"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

// What follows is for tests of whole nodes (package nodetest).

// Totals returns what this node's ledger has counted.
func (n *Node) Totals() ledger.Totals { return n.ledger.Totals() }

// Held tells whether this node's ledger has an open record of a request.
func (n *Node) Held(id horde.RequestID) bool { return n.ledger.Held(id) }

// WorkerNamed returns a worker as this node's ledger has it.
func (n *Node) WorkerNamed(name string) (horde.Worker, bool) { return n.ledger.WorkerByName(name) }

// Kept returns how many items wait here for homes that could not be reached.
func (n *Node) Kept() int { return n.relay.Len() }

// Call asks a member how it is, dialling it if need be.
func (n *Node) Call(ctx context.Context, id horde.NodeID) error {
	_, err := n.askStatus(ctx, id)
	return err
}

// Standin tells who keeps copies of a member's requests and who took them over.
func (n *Node) Standin(id horde.NodeID) horde.Standin { return n.ledger.Standin(id) }
