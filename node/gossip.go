package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"hordenode/internal/horde"
	"hordenode/node/jobs/exchange"
	"hordenode/p2p"
)

// network is what exchange sees of p2p.
type network struct {
	host *p2p.Host

	mu     sync.RWMutex // guards topics
	topics map[string]*p2p.Topic
}

// Call asks a member over a stream.
func (w *network) Call(ctx context.Context, to horde.NodeID, proto string, req []byte) ([]byte, error) {
	return w.host.Call(ctx, to, proto, req)
}

// Publish tells all members.
func (w *network) Publish(ctx context.Context, topic string, data []byte) error {
	w.mu.RLock()
	t, ok := w.topics[topic]
	w.mu.RUnlock()
	if !ok {
		return fmt.Errorf("unknown topic %s", topic)
	}
	return t.Publish(ctx, data)
}

// openGossip connects exchange's protocols and topics with the network.
func (n *Node) openGossip() error {
	for proto, h := range map[string]p2p.Handler{
		exchange.ProtoClaim: n.exchange.HandleClaim,
		exchange.ProtoJob:   n.exchange.HandleJob,
		exchange.ProtoSync:  n.exchange.HandleSync,
	} {
		n.host.Handle(proto, p2p.Limits{Request: 8 << 20, Response: 64 << 20, Relayed: true}, h)
	}
	n.host.Handle(exchange.ProtoBlob, p2p.Limits{Request: 32 << 20, Response: 32 << 20}, n.exchange.HandleBlob)
	if err := n.joinTopics(); err != nil {
		return err
	}
	n.host.OnConnect(n.exchange.Connected)
	n.host.OnConnect(func(id horde.NodeID) { n.relay.Wake(id.Tag()) })
	return nil
}

// joinTopics takes part in the topics that every node is in.
func (n *Node) joinTopics() error {
	for _, t := range []struct {
		name     string
		validate func(horde.NodeID, []byte) exchange.Verdict
		deliver  func(horde.NodeID, []byte)
	}{
		{exchange.TopicImage, n.exchange.ValidateImage, n.exchange.DeliverImage},
		{exchange.TopicText, n.exchange.ValidateText, n.exchange.DeliverText},
		{exchange.TopicAlchemy, n.exchange.ValidateAlchemy, n.exchange.DeliverAlchemy},
		{exchange.TopicNews, n.exchange.ValidateNews, n.exchange.DeliverNews},
	} {
		topic, err := n.host.Join(t.name, verdicts(t.validate), t.deliver)
		if err != nil {
			return err
		}
		n.network.topics[t.name] = topic
	}
	return nil
}

// verdicts translates: the two packages do not know each other.
func verdicts(f func(horde.NodeID, []byte) exchange.Verdict) p2p.Validator {
	return func(from horde.NodeID, data []byte) p2p.Verdict {
		switch f(from, data) {
		case exchange.Accept:
			return p2p.Accept
		case exchange.Reject:
			return p2p.Reject
		}
		return p2p.Ignore
	}
}

// An ear hears of offers from the moment the home is opened, and passes them on once there
// is an exchange, which asks the home for what it missed.
type ear struct {
	to atomic.Pointer[exchange.Exchange]
}

func (e *ear) OfferChanged(o horde.Offer) {
	if x := e.to.Load(); x != nil {
		x.OfferChanged(o)
	}
}
