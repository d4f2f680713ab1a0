package p2p

import (
	"sync"
	"sync/atomic"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// GossipStats counts what gossip did since the host opened. Bytes are those of pubsub's
// messages on the wire, before encryption and framing.
type GossipStats struct {
	Topics map[string]TopicStats // by full name

	// SentBytes and ReceivedBytes are everything: messages, subscriptions, control.
	SentBytes, ReceivedBytes uint64
	// Dropped counts what was not sent because a peer's queue was full.
	Dropped uint64
}

// TopicStats counts copies: a message that went to four peers was sent four times.
type TopicStats struct {
	Sent, SentBytes         uint64
	Received, ReceivedBytes uint64 // duplicates included
	Delivered               uint64 // accepted, our own included
	Duplicates              uint64
	Refused                 uint64 // rejected or ignored by a validator, or badly signed
	Undelivered             uint64 // accepted, but the queue to deliver was full
}

// GossipStats returns the present counts.
func (h *Host) GossipStats() GossipStats { return h.meter.stats() }

// meter counts for GossipStats. pubsub calls it from its own goroutines.
type meter struct {
	sent, received, dropped atomic.Uint64

	mu     sync.RWMutex
	topics map[string]*topicMeter
}

type topicMeter struct {
	sent, sentBytes, received, receivedBytes    atomic.Uint64
	delivered, duplicates, refused, undelivered atomic.Uint64
}

var _ pubsub.RawTracer = (*meter)(nil)

func newMeter() *meter { return &meter{topics: map[string]*topicMeter{}} }

func (m *meter) add(topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.topics[topic] = &topicMeter{}
}

// topic returns nil for a topic we did not join.
func (m *meter) topic(name string) *topicMeter {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.topics[name]
}

func (m *meter) stats() GossipStats {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := GossipStats{
		Topics:    make(map[string]TopicStats, len(m.topics)),
		SentBytes: m.sent.Load(), ReceivedBytes: m.received.Load(), Dropped: m.dropped.Load(),
	}
	for name, t := range m.topics {
		s.Topics[name] = TopicStats{
			Sent: t.sent.Load(), SentBytes: t.sentBytes.Load(),
			Received: t.received.Load(), ReceivedBytes: t.receivedBytes.Load(),
			Delivered: t.delivered.Load(), Duplicates: t.duplicates.Load(),
			Refused: t.refused.Load(), Undelivered: t.undelivered.Load(),
		}
	}
	return s
}

func (m *meter) count(name string, field func(*topicMeter) *atomic.Uint64) {
	if t := m.topic(name); t != nil {
		field(t).Add(1)
	}
}

func (m *meter) SendRPC(rpc *pubsub.RPC, _ peer.ID) {
	m.sent.Add(uint64(rpc.Size()))
	for _, msg := range rpc.GetPublish() {
		if t := m.topic(msg.GetTopic()); t != nil {
			t.sent.Add(1)
			t.sentBytes.Add(uint64(msg.Size()))
		}
	}
}

func (m *meter) RecvRPC(rpc *pubsub.RPC) {
	m.received.Add(uint64(rpc.Size()))
	for _, msg := range rpc.GetPublish() {
		if t := m.topic(msg.GetTopic()); t != nil {
			t.received.Add(1)
			t.receivedBytes.Add(uint64(msg.Size()))
		}
	}
}

func (m *meter) DropRPC(*pubsub.RPC, peer.ID) { m.dropped.Add(1) }

func (m *meter) DeliverMessage(msg *pubsub.Message) {
	m.count(msg.GetTopic(), func(t *topicMeter) *atomic.Uint64 { return &t.delivered })
}

func (m *meter) RejectMessage(msg *pubsub.Message, _ string) {
	m.count(msg.GetTopic(), func(t *topicMeter) *atomic.Uint64 { return &t.refused })
}

func (m *meter) DuplicateMessage(msg *pubsub.Message) {
	m.count(msg.GetTopic(), func(t *topicMeter) *atomic.Uint64 { return &t.duplicates })
}

func (m *meter) UndeliverableMessage(msg *pubsub.Message) {
	m.count(msg.GetTopic(), func(t *topicMeter) *atomic.Uint64 { return &t.undelivered })
}

func (*meter) OnNewOutboundStream(peer.ID, protocol.ID) {}
func (*meter) OnClosedOutboundStream(peer.ID)           {}
func (*meter) Join(string)                              {}
func (*meter) Leave(string)                             {}
func (*meter) Graft(peer.ID, string)                    {}
func (*meter) Prune(peer.ID, string)                    {}
func (*meter) ValidateMessage(*pubsub.Message)          {}
func (*meter) ThrottlePeer(peer.ID)                     {}
