package node

import (
	"context"
	"sync/atomic"
	"time"

	"hordenode/internal/horde"
)

// barLook is how often it is looked whether keys, flags or deletions changed: one comparison
// under a read lock. With it a ban is carried out well before the 300 ms of P21 are over.
const barLook = 25 * time.Millisecond

// bars counts what bans did at this node.
type bars struct {
	withdrawn atomic.Int64 // requests
	ended     atomic.Int64 // waits
}

// followBans carries out at this node what a ban means beyond what every call finds out by
// itself: what the banned have queued here is withdrawn, and who waits with a key that is not
// good any more is answered. Each node does so when it applies the command, so also after it
// was cut off; what a banned user did here meanwhile is named in the log, and its kudos are
// back with the withdrawal.
func (n *Node) followBans(ctx context.Context) error {
	t := time.NewTicker(barLook)
	defer t.Stop()
	known := map[horde.UserID]int64{}
	seen := n.ledger.Authority()
	for first := true; ; first = false {
		if now := n.ledger.Authority(); first || now != seen {
			seen = now
			if ended := n.api.EndRevoked(); ended > 0 {
				n.bars.ended.Add(int64(ended))
				n.log.InfoContext(ctx, "waits with revoked keys ended", "count", ended)
			}
			if err := n.withdrawBarred(ctx, known, first); err != nil && ctx.Err() == nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// withdrawBarred withdraws what newly barred users have queued here. At the first look after a
// start, what a flagged user made later than the ban stays: it was accepted with the flag
// known.
func (n *Node) withdrawBarred(ctx context.Context, known map[horde.UserID]int64, first bool) error {
	now := n.ledger.Bars()
	for user, at := range now {
		if known[user] == at {
			continue
		}
		known[user] = at
		since, before := time.UnixMilli(at), time.Time{}
		if first {
			before = since
		}
		ids, err := n.home.WithdrawUser(ctx, user, before)
		if err != nil {
			return err
		}
		if len(ids) > 0 {
			n.bars.withdrawn.Add(int64(len(ids)))
			n.log.WarnContext(ctx, "requests of a banned user withdrawn", "user", user, "banned", since, "count", len(ids), "requests", ids[:min(len(ids), 20)])
		}
	}
	for user := range known {
		if _, still := now[user]; !still {
			delete(known, user)
		}
	}
	return nil
}
