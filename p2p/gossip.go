package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"golang.org/x/time/rate"

	"hordenode/internal/horde"
)

// Settings of engineering.md section 3.2. Queues of the default 32 lost 79 % of a burst.
const (
	gossipProtocol = protocol.ID("/horde/gossip/1") // gossipsub 1.2 under our own name
	gossipQueue    = 1024                           // messages: to each peer, to validate, to deliver, to publish
	gossipFrame    = 64 << 10                       // bytes, of what goes over a stream
	publishRate    = 2500                           // messages per second and topic, after a burst of
	publishBurst   = gossipQueue / 2                // so that ours alone never overflow a peer's queue
	seenFor        = 5 * time.Minute
	smallNet       = 24 // members; below it fewer links do

	// MaxMessage is how many bytes a gossip message may have; the rest of its 64 KiB is for
	// topic, author and signature. Good messages stay below 1 KiB.
	MaxMessage = 63 << 10
)

// A Verdict is what a Validator thinks of a message.
type Verdict int

const (
	Ignore Verdict = iota // neither deliver nor forward; nobody's fault
	Accept                // deliver and forward
	Reject                // neither, and whoever forwarded it loses score
)

// A Validator judges a message of another node before it is delivered or forwarded. from is
// its author, whose signature is good and who is a member. It runs on several goroutines at a
// time, takes less than 100 µs and does not block.
type Validator func(from horde.NodeID, data []byte) Verdict

// newPubSub starts gossip; it ends with ctx and the host.
func newPubSub(ctx context.Context, h host.Host, cfg Config, gate Gate, allowed func(string) bool, b *bars, m *meter) (*pubsub.PubSub, error) {
	most := len(cfg.TopicNames) + cfg.MoreTopics
	return pubsub.NewGossipSub(ctx, h,
		pubsub.WithGossipSubProtocols([]protocol.ID{gossipProtocol}, gossipFeature),
		pubsub.WithGossipSubParams(gossipParams(cfg)),
		pubsub.WithPeerScore(scoreParams(gate), &pubsub.PeerScoreThresholds{
			GossipThreshold: -100, PublishThreshold: -200, GraylistThreshold: -400,
			AcceptPXThreshold: 1e9, // we tell no one whom to dial and are told by no one
		}),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(topicFilter(allowed), most+subsSlack)),
		pubsub.WithAppSpecificRpcInspector(inspector(b, most)),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithFloodPublish(false),
		pubsub.WithPeerExchange(false),
		pubsub.WithSeenMessagesTTL(seenFor),
		pubsub.WithMaxMessageSize(gossipFrame),
		pubsub.WithPeerOutboundQueueSize(gossipQueue),
		pubsub.WithValidateQueueSize(gossipQueue),
		pubsub.WithRawTracer(m),
		pubsub.WithLogger(slog.New(quieter{cfg.Log.Handler()}).With("lib", "pubsub")),
	)
}

// topicFilter lets peers subscribe to the topics that there are, and to no others.
type topicFilter func(topic string) bool

func (f topicFilter) CanSubscribe(topic string) bool { return f(topic) }

func (f topicFilter) FilterIncomingSubscriptions(_ peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	return pubsub.FilterSubscriptions(subs, f.CanSubscribe), nil
}

// gossipFeature tells which parts of gossipsub our protocol has: all of version 1.2.
func gossipFeature(f pubsub.GossipSubFeature, _ protocol.ID) bool {
	return pubsub.GossipSubDefaultFeatures(f, pubsub.GossipSubID_v12)
}

func gossipParams(cfg Config) pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.D, p.Dlo, p.Dhi, p.Dscore, p.Dout = 6, 5, 12, 4, 2
	if cfg.Members < smallNet {
		p.D, p.Dlo, p.Dhi, p.Dscore, p.Dout = 4, 3, 6, 3, 1
	}
	p.Dlazy = p.D
	if cfg.Heartbeat > 0 {
		p.HeartbeatInterval = cfg.Heartbeat
		p.HeartbeatInitialDelay = min(p.HeartbeatInitialDelay, cfg.Heartbeat)
		// Kept in heartbeats, meant in time: messages can be asked for again for 5 s.
		p.HistoryLength = max(p.HistoryLength, int(5*time.Second/cfg.Heartbeat))
		p.HistoryGossip = max(p.HistoryGossip, p.HistoryLength*3/5)
	}
	return p
}

// scoreParams punish what an honest member never does. A quiet peer, or one that shares an
// address with others, does nothing wrong.
func scoreParams(gate Gate) *pubsub.PeerScoreParams {
	return &pubsub.PeerScoreParams{
		Topics: map[string]*pubsub.TopicScoreParams{}, // added by Join
		AppSpecificScore: func(p peer.ID) float64 {
			if gate.MayConnect(nodeID(p)) {
				return 10
			}
			return -10_000
		},
		AppSpecificWeight:        1,
		IPColocationFactorWeight: 0,
		BehaviourPenaltyWeight:   -1,
		BehaviourPenaltyDecay:    0.9,
		DecayInterval:            time.Second,
		DecayToZero:              0.01,
		RetainScore:              10 * time.Minute,
	}
}

// topicScore counts invalid messages only.
func topicScore() *pubsub.TopicScoreParams {
	return &pubsub.TopicScoreParams{
		SkipAtomicValidation:           true,
		TopicWeight:                    1,
		TimeInMeshQuantum:              time.Second, // weight 0, but pubsub divides by it
		InvalidMessageDeliveriesWeight: -10,
		InvalidMessageDeliveriesDecay:  0.9,
	}
}

// messageID is the author's last 16 bytes (all random, unlike the first) and its number.
func messageID(m *pb.Message) string {
	from := m.GetFrom()
	return string(from[max(0, len(from)-16):]) + string(m.GetSeqno())
}

// A Topic is a gossip topic that we take part in until the host closes.
type Topic struct {
	h    *Host
	name string
	t    *pubsub.Topic
	out  chan []byte

	ctx  context.Context // ends with Leave or the host
	stop context.CancelFunc
	work sync.WaitGroup
}

// Join takes part in a topic, named as in Config.TopicNames, with or without the prefix.
// Messages of others that v accepts reach deliver, one at a time, with their author; our own
// do not. If deliver is slow, a queue of 1024 holds them, then the newest are dropped.
func (h *Host) Join(topic string, v Validator, deliver func(from horde.NodeID, data []byte)) (*Topic, error) {
	name := h.cfg.Topics + strings.TrimPrefix(topic, h.cfg.Topics)
	t, err := h.join(name, v, deliver)
	if err != nil {
		return nil, fmt.Errorf("join topic %s: %w", name, err)
	}
	return t, nil
}

func (h *Host) join(name string, v Validator, deliver func(horde.NodeID, []byte)) (*Topic, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, ErrClosed
	case !h.allowed(name):
		return nil, ErrTopic
	case h.topics[name] != nil:
		return nil, errors.New("joined already")
	case v == nil || deliver == nil:
		return nil, errors.New("no validator or nowhere to deliver to")
	}
	if err := h.ps.RegisterTopicValidator(name, h.validator(v), pubsub.WithValidatorInline(true)); err != nil {
		return nil, err
	}
	pt, err := h.ps.Join(name)
	if err != nil {
		return nil, err
	}
	if err := pt.SetScoreParams(topicScore()); err != nil {
		return nil, fmt.Errorf("score: %w", err)
	}
	h.meter.add(name)
	sub, err := pt.Subscribe(pubsub.WithBufferSize(gossipQueue))
	if err != nil {
		return nil, err
	}
	t := &Topic{h: h, name: name, t: pt, out: make(chan []byte, gossipQueue)}
	t.ctx, t.stop = context.WithCancel(h.ctx)
	h.topics[name] = t
	h.work.Add(1)
	t.work.Go(func() { t.receive(sub, deliver) })
	t.work.Go(t.send)
	go func() {
		defer h.work.Done()
		t.work.Wait()
		t.stop()
	}()
	return t, nil
}

// Leave ends taking part in the topic. What Publish was given last may not have been sent.
func (t *Topic) Leave() error {
	t.stop()
	t.work.Wait()
	t.h.mu.Lock()
	defer t.h.mu.Unlock()
	if t.h.closed || t.h.topics[t.name] != t {
		return nil
	}
	delete(t.h.topics, t.name)
	if err := errors.Join(t.t.Close(), t.h.ps.UnregisterTopicValidator(t.name)); err != nil {
		return fmt.Errorf("leave topic %s: %w", t.name, err)
	}
	return nil
}

func (h *Host) allowed(name string) bool {
	for _, n := range h.cfg.TopicNames {
		if name == h.cfg.Topics+n {
			return true
		}
	}
	rest, ok := strings.CutPrefix(name, h.cfg.Topics)
	return ok && h.cfg.TopicOK != nil && h.cfg.TopicOK(rest)
}

// validator asks v about messages of others whose author is a member. A stranger's message is
// ignored, not rejected: whoever forwarded it may know of a member that we do not know yet.
func (h *Host) validator(v Validator) pubsub.ValidatorEx {
	return func(_ context.Context, via peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		if via == h.host.ID() {
			return pubsub.ValidationAccept
		}
		from := nodeID(m.GetFrom())
		if len(m.GetData()) > MaxMessage {
			return pubsub.ValidationReject
		}
		if !h.gate().MayConnect(from) {
			return pubsub.ValidationIgnore
		}
		verdict := Ignore
		h.guard("validator", func() { verdict = v(from, m.GetData()) })
		switch verdict {
		case Accept:
			return pubsub.ValidationAccept
		case Reject:
			return pubsub.ValidationReject
		}
		return pubsub.ValidationIgnore
	}
}

// receive delivers until the host closes.
func (t *Topic) receive(sub *pubsub.Subscription, deliver func(horde.NodeID, []byte)) {
	defer sub.Cancel()
	for {
		m, err := sub.Next(t.ctx)
		if err != nil {
			return // closed
		}
		if m.ReceivedFrom == t.h.host.ID() {
			continue
		}
		t.h.guard("deliver", func() { deliver(nodeID(m.GetFrom()), m.GetData()) })
	}
}

// send publishes what Publish queued until the host closes. pubsub drops what peers are too
// slow for without telling, so it goes at a pace that a busy machine with one core can take.
func (t *Topic) send() {
	pace := rate.NewLimiter(publishRate, publishBurst)
	for {
		select {
		case data := <-t.out:
			if pace.Wait(t.ctx) != nil {
				return // closed
			}
			if err := t.t.Publish(t.ctx, data); err != nil && t.ctx.Err() == nil {
				t.h.log.Warn("message not published", "topic", t.name, "err", err)
			}
		case <-t.ctx.Done():
			return
		}
	}
}

// Name returns the full name, prefix included.
func (t *Topic) Name() string { return t.name }

// Publish sends a message to everybody who is in the topic, in the order of the calls, and
// does not wait for it. Gossip may lose it. data must not change afterwards. Errors:
// ErrTooLarge, ErrBusy (1024 messages wait already, which go at 2,500 a second: put more into
// one message), ErrClosed, ctx's.
func (t *Topic) Publish(ctx context.Context, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.ctx.Err() != nil {
		return fmt.Errorf("publish to %s: %w", t.name, ErrClosed)
	}
	if len(data) > MaxMessage {
		return fmt.Errorf("publish to %s: %w: %d bytes, limit %d", t.name, ErrTooLarge, len(data), MaxMessage)
	}
	select {
	case t.out <- data:
		return nil
	default:
		return fmt.Errorf("publish to %s: %w", t.name, ErrBusy)
	}
}

// Peers returns how many connected peers are in the topic.
func (t *Topic) Peers() int { return len(t.t.ListPeers()) }
