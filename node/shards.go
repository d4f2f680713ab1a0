package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/node/jobs/exchange"
)

// Follow and Unfollow make network an exchange.Follower.
func (w *network) Follow(topic string, validate func(horde.NodeID, []byte) exchange.Verdict, deliver func(horde.NodeID, []byte)) error {
	t, err := w.host.Join(topic, verdicts(validate), deliver)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.topics[topic] = t
	return nil
}

func (w *network) Unfollow(topic string) error {
	w.mu.Lock()
	t := w.topics[topic]
	delete(w.topics, topic)
	w.mu.Unlock()
	if t == nil {
		return nil
	}
	return t.Leave()
}

// followShards divides this node's offers as the ledger says, until ctx is done.
func (n *Node) followShards(ctx context.Context) error {
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		if want := n.ledger.Config().Shards; want != n.exchange.Shards() {
			if err := n.exchange.Reshard(want); err != nil {
				n.log.WarnContext(ctx, "offers are divided, but not all is as it should be", "shards", want, "err", err)
			} else {
				n.log.InfoContext(ctx, "offers are divided", "shards", want)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// SetShards divides the offers of all nodes into so many topics per kind; 0 joins them again.
func (n *Node) SetShards(ctx context.Context, shards int) error {
	cfg := n.ledger.Config()
	cfg.Shards = shards
	return n.ledger.Configure(ctx, founder, cfg)
}

// ShardStatus is the answer of GET and PUT /shards on the control socket.
type ShardStatus struct {
	Shards int `json:"shards"` // 0: offers are not divided
}

func (n *Node) controlShards(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		var want ShardStatus
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&want); err != nil {
			writeError(w, http.StatusBadRequest, fmt.Sprintf("The number of shards is missing, want 0 to %d.", ledger.MaxShards))
			return
		}
		if err := n.SetShards(r.Context(), want.Shards); err != nil {
			answerError(w, err)
			return
		}
	}
	writeJSON(w, http.StatusOK, ShardStatus{Shards: n.ledger.Config().Shards})
}
