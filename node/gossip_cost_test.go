package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/jobs/exchange"
	"hordenode/node/jobs/match"
	"hordenode/p2p"
)

// What gossip costs is measured with the real exchange over real sockets and no ledger: P19 and
// P20 of the project's performance document, and the figures of docs/growth.md.

// A gossipNode is an exchange and its host.
type gossipNode struct {
	*exchange.Exchange
	host *p2p.Host
}

// stubs stand in for what an exchange needs besides the network.
type stubs struct {
	mu      sync.Mutex
	members []horde.Member
}

var errStub = errors.New("not in this test")

func (*stubs) Accept(context.Context, horde.Request) (horde.Acceptance, error) {
	return horde.Acceptance{}, errStub
}
func (*stubs) Status(context.Context, horde.RequestID, bool) (horde.Status, error) {
	return horde.Status{}, errStub
}
func (*stubs) Cancel(context.Context, horde.RequestID) (horde.Status, error) {
	return horde.Status{}, errStub
}
func (*stubs) Claim(context.Context, horde.Claim) (horde.Answer, error) {
	return horde.Answer{}, errStub
}
func (*stubs) Submit(context.Context, horde.Submission) (horde.Receipt, error) {
	return horde.Receipt{}, errStub
}
func (*stubs) Offers() []horde.Offer                                { return nil }
func (*stubs) Active(horde.UserID) map[horde.Kind][]horde.RequestID { return nil }
func (*stubs) Put(context.Context, string, []byte) error            { return errStub }
func (*stubs) Get(context.Context, string) ([]byte, error)          { return nil, errStub }
func (*stubs) User(horde.UserID) (horde.User, bool)                 { return horde.User{}, false }
func (*stubs) Worker(horde.WorkerID) (horde.Worker, bool)           { return horde.Worker{}, false }
func (*stubs) WorkerByName(string) (horde.Worker, bool)             { return horde.Worker{}, false }
func (*stubs) Standin(horde.NodeID) horde.Standin                   { return horde.Standin{} }
func (*stubs) Sync(context.Context) error                           { return nil }
func (*stubs) EncodeUptime(horde.Uptime) []byte                     { return nil }
func (*stubs) Image(string) (match.ImageModel, bool)                { return match.ImageModel{}, false }
func (*stubs) Parameters(string) (float64, bool)                    { return 0, false }
func (*stubs) RegisterWorker(context.Context, exchange.NewWorker) (horde.Worker, error) {
	return horde.Worker{}, errStub
}

func (s *stubs) Members() []horde.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.members)
}

func (s *stubs) MemberByTag(tag horde.HomeTag) (horde.Member, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.members, func(m horde.Member) bool { return m.ID.Tag() == tag })
	if i < 0 {
		return horde.Member{}, false
	}
	return s.members[i], true
}

// open lets everybody in.
type openGate struct{}

func (openGate) MayConnect(horde.NodeID) bool       { return true }
func (openGate) MaySpeak(horde.NodeID, string) bool { return true }

// gossipNet runs count nodes that are connected all to all and have synced once.
func gossipNet(t *testing.T, count int) []*gossipNode {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	shared := &stubs{}
	var nodes []*gossipNode
	t.Cleanup(func() {
		stop()
		work.Wait()
		for _, n := range nodes {
			if err := n.host.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	addrs := map[horde.NodeID][]string{}
	for range count {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		host, err := p2p.Listen(p2p.Config{
			Key: key, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Topics: "/h/0123456789ab/", Members: count,
			TopicNames: []string{exchange.TopicImage, exchange.TopicText, exchange.TopicAlchemy, exchange.TopicNews},
			TopicOK:    exchange.ShardTopic, MoreTopics: 2 * exchange.MaxShards, Gate: openGate{},
		})
		if err != nil {
			t.Fatal(err)
		}
		w := &network{host: host, topics: map[string]*p2p.Topic{}}
		x, err := exchange.New(exchange.Config{
			Self: host.ID(), Home: shared, Blobs: shared, Ledger: shared, Network: w, Follower: w, Models: shared,
			Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
			Outbox:       func([]byte) error { return nil },
			UptimeReward: func(horde.Kind, horde.Caps) horde.Kudos { return 0 },
		})
		if err != nil {
			t.Fatal(err)
		}
		n := &Node{host: host, exchange: x, network: w}
		if err := n.joinTopics(); err != nil {
			t.Fatal(err)
		}
		host.Handle(exchange.ProtoSync, p2p.Limits{}, x.HandleSync)
		host.OnConnect(x.Connected)
		shared.mu.Lock()
		shared.members = append(shared.members, horde.Member{ID: host.ID(), Active: true})
		shared.mu.Unlock()
		addrs[host.ID()] = host.Addrs()
		nodes = append(nodes, &gossipNode{x, host})
	}
	for _, n := range nodes {
		n.host.SetPeers(addrs)
		work.Go(func() { check(t, n.host.Run(ctx)) })
		work.Go(func() { check(t, n.Run(ctx)) })
	}
	wait(t, "all nodes have synced with all others", func() bool {
		for _, n := range nodes {
			homes := n.Stats().Homes
			if len(homes) != count-1 || slices.ContainsFunc(homes, func(h exchange.HomeStats) bool { return !h.Complete }) {
				return false
			}
		}
		return true
	})
	// Gossip's mesh is there once a message of each node arrives at every other.
	for i, n := range nodes {
		n.OfferChanged(textOffer(t, n, 1, 1))
		wait(t, "an offer of each node is known everywhere", func() bool { return everywhere(nodes, i+1) })
	}
	return nodes
}

func check(t *testing.T, err error) {
	if err != nil {
		t.Error(err)
	}
}

func wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not so after a minute: %s", what)
		}
	}
}

// everywhere tells whether every node knows so many offers.
func everywhere(nodes []*gossipNode, offers int) bool {
	return !slices.ContainsFunc(nodes, func(n *gossipNode) bool { return n.Stats().Offers[horde.KindText] != offers })
}

// textOffer is an offer as a usual text request makes it.
func textOffer(t *testing.T, n *gossipNode, rev uint32, open int) horde.Offer {
	t.Helper()
	id, err := n.NewRequestID()
	if err != nil {
		t.Fatal(err)
	}
	return horde.Offer{
		ID: id, Rev: rev, Open: open, Payer: 1234, Things: 80,
		Shape: horde.Shape{Kind: horde.KindText, Models: []string{"koboldcpp/Llama-3-8B-Instruct"}, SlowOK: true, MaxLength: 80, MaxContextLength: 2048},
	}
}

// P19: what a job costs on all links together, one message for its offer and one for its end, which
// is the most: busier nodes put several into one. P20: how long until every node knows of it.
func TestGossipCost(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	if testing.Short() {
		t.Skip("measures real networks of up to 12 nodes")
	}
	for _, tt := range []struct {
		nodes int
		most  uint64 // bytes per job
	}{{3, 5_000}, {7, 25_000}, {12, 60_000}} { // targets: 2,000, 10,000 and 25,000; a mesh may have links to spare: docs/growth.md
		nodes := gossipNet(t, tt.nodes)
		const jobs = 40
		sent := func() (sum uint64) {
			for _, n := range nodes {
				sum += n.host.GossipStats().SentBytes
			}
			return sum
		}
		base := len(nodes)
		before, began := sent(), time.Now()
		var took []time.Duration
		for i := range jobs {
			home := nodes[i%len(nodes)]
			o := textOffer(t, home, 1, 1)
			at := time.Now()
			home.OfferChanged(o)
			wait(t, "the job is known everywhere", func() bool { return everywhere(nodes, base+1) })
			took = append(took, time.Since(at))
			o.Open, o.Rev = 0, 2
			home.OfferChanged(o)
			wait(t, "its end is known everywhere", func() bool { return everywhere(nodes, base) })
		}
		perJob := (sent() - before) / jobs
		slices.SortFunc(took, cmp.Compare)
		t.Logf("%d nodes: %d B per job on all links (%s); known everywhere p50 %s, worst %s", tt.nodes, perJob,
			time.Since(began).Round(time.Millisecond), took[jobs/2].Round(10*time.Microsecond), took[jobs-1].Round(10*time.Microsecond))
		if perJob > tt.most {
			t.Errorf("%d nodes: a job costs %d B, want at most %d", tt.nodes, perJob, tt.most)
		}
	}
}

// The second half of P20: 20,000 requests at once are known everywhere within 2 s.
func TestGossipBurst(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	if testing.Short() {
		t.Skip("measures a real network")
	}
	const burst = 20_000
	nodes := gossipNet(t, 3)
	offers := make([]horde.Offer, burst)
	for i := range offers {
		offers[i] = textOffer(t, nodes[0], 1, 1)
	}
	began := time.Now()
	for _, o := range offers {
		nodes[0].OfferChanged(o)
	}
	wait(t, "the burst is known everywhere", func() bool { return everywhere(nodes, len(nodes)+burst) })
	took := time.Since(began)
	t.Logf("%d requests known on 3 nodes after %s", burst, took.Round(time.Millisecond))
	if took > 20*time.Second { // the target is 2 s on a machine that does nothing else
		t.Errorf("a burst of %d took %s, want at most 2 s", burst, took)
	}
}
