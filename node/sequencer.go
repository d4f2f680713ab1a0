package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"hordenode/consensus"
	"hordenode/internal/horde"
	"hordenode/p2p"
)

// Protocols between nodes that node itself speaks.
const (
	protoRaft    = "/horde/raft/1.0.0"
	protoApply   = "/horde/apply/1"   // batch → index, answer
	protoBarrier = "/horde/barrier/1" // → index that is committed now
	protoApplied = "/horde/applied/1" // index → when it is applied here
	protoStatus  = "/horde/status/1"  // → applied index, version, load
	protoAddress = "/horde/address/1" // worker id → from where it polls this node, "" if it does not
	protoPromote = "/horde/promote/1" // node id → makes it a voter
)

// Codes of a *p2p.RemoteError that callers tell apart.
const (
	codeNotLeader = "not_leader"
	codeUnknown   = "unknown"
)

// rpcFor bounds a call to the leader; the proposer tries again.
const rpcFor = 3 * time.Second

// deliver hands a batch to the leader: this node's own log, or a stream to the node that
// leads.
func (n *Node) deliver(ctx context.Context, batch []byte) (uint64, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, rpcFor)
	defer cancel()
	if n.group.IsLeader() {
		return n.propose(ctx, batch)
	}
	leader, err := n.leader()
	if err != nil {
		return 0, nil, err
	}
	ctx, done := n.whileLeads(ctx, leader)
	defer done()
	resp, err := n.host.Call(ctx, leader, protoApply, batch)
	if err != nil {
		return 0, nil, fmt.Errorf("propose at %s: %w", leader, err)
	}
	if len(resp) < 8 {
		return 0, nil, fmt.Errorf("propose at %s: short answer", leader)
	}
	return binary.BigEndian.Uint64(resp), resp[8:], nil
}

// propose puts a batch into the log, unless this version could not apply it: in the log it
// would stop every node like this one (docs/decisions/0008-poison.md).
func (n *Node) propose(ctx context.Context, batch []byte) (uint64, []byte, error) {
	if err := n.ledger.Readable(batch); err != nil {
		return 0, nil, fmt.Errorf("a newer node asks for what this leader, or the federation, does not know: %w", err)
	}
	return n.group.Propose(ctx, batch)
}

// sequence is the leader's side of deliver.
func (n *Node) sequence(ctx context.Context, _ horde.NodeID, batch []byte) ([]byte, error) {
	index, answer, err := n.propose(ctx, batch)
	if err != nil {
		return nil, remote(err)
	}
	return append(binary.BigEndian.AppendUint64(nil, index), answer...), nil
}

// syncOnce makes the local state as new as now: it asks the leader what is committed and
// waits until that is applied here.
func (n *Node) syncOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	index, err := n.commitIndex(ctx)
	if err != nil {
		return &horde.Error{RC: horde.RCUnavailable, Msg: "The ledger cannot be reached for the moment.", Err: err}
	}
	if err := n.group.WaitApplied(ctx, index); err != nil {
		return &horde.Error{RC: horde.RCUnavailable, Msg: "This node is behind the ledger for the moment.", Err: err}
	}
	return nil
}

func (n *Node) commitIndex(ctx context.Context) (uint64, error) {
	if n.group.IsLeader() {
		return n.group.Barrier(ctx)
	}
	leader, err := n.leader()
	if err != nil {
		return 0, err
	}
	ctx, done := n.whileLeads(ctx, leader)
	defer done()
	resp, err := n.host.Call(ctx, leader, protoBarrier, nil)
	if err != nil {
		return 0, err
	}
	return decodeIndex(resp)
}

func (n *Node) handleBarrier(ctx context.Context, _ horde.NodeID, _ []byte) ([]byte, error) {
	index, err := n.group.Barrier(ctx)
	if err != nil {
		return nil, remote(err)
	}
	return binary.BigEndian.AppendUint64(nil, index), nil
}

// handleApplied answers when this node has applied the index, so that a writer knows that
// its change holds here.
func (n *Node) handleApplied(ctx context.Context, _ horde.NodeID, req []byte) ([]byte, error) {
	index, err := decodeIndex(req)
	if err != nil {
		return nil, err
	}
	return nil, n.group.WaitApplied(ctx, index)
}

// spread waits until every connected member that keeps up has applied index, or ctx is done.
func (n *Node) spread(ctx context.Context, index uint64) {
	req := binary.BigEndian.AppendUint64(nil, index)
	done := make(chan struct{})
	calls := 0
	for _, p := range n.host.Peers() {
		if !p.Connected || !n.laggards.keepsUp(p.ID, time.Now()) {
			continue
		}
		calls++
		go func() {
			// An error means that the peer is gone or slow: it catches up by itself, and
			// nobody is kept waiting for it.
			_, err := n.host.Call(ctx, p.ID, protoApplied, req)
			if err == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) { // else the caller left
				n.laggards.saw(p.ID, err == nil, time.Now())
			}
			if err != nil {
				n.log.DebugContext(ctx, "peer has not applied in time", "peer", p.ID, "index", index, "err", err)
			}
			done <- struct{}{}
		}()
	}
	for range calls {
		<-done
	}
}

func (n *Node) leader() (horde.NodeID, error) {
	id, ok := n.group.Leader()
	if !ok || horde.NodeID(id) == n.self {
		return "", errNoLeader
	}
	return horde.NodeID(id), nil
}

func decodeIndex(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, errors.New("an index is 8 bytes")
	}
	return binary.BigEndian.Uint64(b), nil
}

// remote turns consensus' errors into codes that the other side understands.
func remote(err error) error {
	var nl *consensus.ErrNotLeader
	switch {
	case errors.As(err, &nl):
		return &p2p.RemoteError{Code: codeNotLeader, Msg: nl.Leader}
	case errors.Is(err, consensus.ErrUnknown):
		return &p2p.RemoteError{Code: codeUnknown, Msg: "outcome unknown"}
	}
	return err
}
