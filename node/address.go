package node

import (
	"context"
	"time"

	"hordenode/internal/horde"
)

// Addresses of workers stay at the node that they poll. Only when a moderator looks at a
// worker are the other nodes asked for it, and the answer is not kept.

// addressElsewhere returns from where a worker polls one of the other nodes.
func (n *Node) addressElsewhere(ctx context.Context, id horde.WorkerID) string {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	found := make(chan string)
	asked := 0
	for _, p := range n.host.Peers() {
		if !p.Connected {
			continue
		}
		asked++
		go func() {
			answer, err := n.host.Call(ctx, p.ID, protoAddress, id.UUID[:])
			if err != nil {
				n.log.DebugContext(ctx, "worker's address not told", "peer", p.ID, "err", err)
			}
			found <- string(answer)
		}()
	}
	address := ""
	for range asked {
		address = max(address, <-found)
	}
	return address
}

func (n *Node) handleAddress(_ context.Context, _ horde.NodeID, req []byte) ([]byte, error) {
	var id horde.WorkerID
	if err := id.UnmarshalBinary(req); err != nil {
		return nil, err
	}
	return []byte(n.addresses.Of(id)), nil
}
