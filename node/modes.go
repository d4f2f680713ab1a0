package node

import (
	"context"
	"time"

	"hordenode/internal/horde"
)

// followModes carries out what switching a mode on does to this node's requests:
// maintenance stops image requests from being handed out (spec/moderation.md section 6).
// Refusing new requests is the API's business and needs no telling.
func (n *Node) followModes(ctx context.Context) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for was := n.ledger.Modes().Maintenance; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		now := n.ledger.Modes().Maintenance
		if now && !was {
			count, err := n.home.Withdraw(ctx, horde.KindImage)
			if err != nil {
				return err
			}
			n.log.InfoContext(ctx, "maintenance began", "withdrawn", count)
		}
		was = now
	}
}
