package node

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
	"time"

	"hordenode/api/ratelimit"
	"hordenode/internal/horde"
	"hordenode/p2p"
)

// topicLimits is the gossip of the nodes about whose requests they counted.
const topicLimits = "l"

// openLimits makes the counter of the API's rate limits, and has it hear of the other nodes.
func (n *Node) openLimits() (err error) {
	h := &limitHash{derive: func() ([32]byte, bool) { return n.ledger.Derive("rate limits") }, seed: maphash.MakeSeed()}
	n.limits = ratelimit.New(time.Now, h.sum)
	n.limitNews, err = n.host.Join(topicLimits, func(_ horde.NodeID, data []byte) p2p.Verdict {
		if ratelimit.Check(data) != nil {
			return p2p.Reject
		}
		return p2p.Accept
	}, func(from horde.NodeID, data []byte) {
		if err := n.limits.Hear(string(from), data); err != nil {
			n.log.Debug("rate limits not heard", "from", from, "err", err)
		}
	})
	return err
}

// tellLimits tells the other nodes what this one counted, until ctx is done.
func (n *Node) tellLimits(ctx context.Context) error {
	return n.limits.Run(ctx, func(ctx context.Context, data []byte) {
		if err := n.limitNews.Publish(ctx, data); err != nil && ctx.Err() == nil {
			n.log.WarnContext(ctx, "rate limits not told", "err", err)
		}
	})
}

// A limitHash hides addresses and API keys behind a key that only members of the federation
// have. While the ledger is empty it hashes as no other node does.
type limitHash struct {
	derive func() ([32]byte, bool)
	seed   maphash.Seed
	key    atomic.Pointer[[32]byte]
}

func (h *limitHash) sum(name string) uint64 {
	key := h.key.Load()
	if key == nil {
		derived, ok := h.derive()
		if !ok {
			return maphash.String(h.seed, name)
		}
		key = &derived
		h.key.Store(key)
	}
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(name))
	return binary.BigEndian.Uint64(mac.Sum(nil))
}
