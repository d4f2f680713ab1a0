package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// patience is how long tests wait for what must happen; they go on as soon as it has.
const patience = 15 * time.Second

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("still not so after %s: %s", patience, what)
		}
	}
}

// receive returns the next value of c.
func receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing after %s: %s", patience, what)
		panic("unreachable")
	}
}

// testGate lets everybody in but those that it was told to keep out.
type testGate struct {
	mu    sync.Mutex
	out   map[horde.NodeID]bool
	mute  map[horde.NodeID]bool   // may connect, may not speak
	asked map[string]bool         // protocols
	only  func(horde.NodeID) bool // who is let in besides; nil: everybody
}

func (g *testGate) MayConnect(n horde.NodeID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.out[n] && (g.only == nil || g.only(n))
}

func (g *testGate) admitOnly(f func(horde.NodeID) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.only = f
}

func (g *testGate) MaySpeak(n horde.NodeID, protocol string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked == nil {
		g.asked = map[string]bool{}
	}
	g.asked[protocol] = true
	return !g.out[n] && !g.mute[n]
}

func (g *testGate) keepOut(n horde.NodeID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.out == nil {
		g.out = map[horde.NodeID]bool{}
	}
	g.out[n] = true
}

func (g *testGate) silence(n horde.NodeID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mute == nil {
		g.mute = map[horde.NodeID]bool{}
	}
	g.mute[n] = true
}

// node is a Host with what tests need around it.
type node struct {
	*Host
	gate *testGate
	stop func() // ends Run and closes; may be called twice
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func testConfig(t testing.TB) Config {
	log := slog.DiscardHandler
	if os.Getenv("P2P_TEST_LOG") != "" {
		log = slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	return Config{
		Key:        newKey(t),
		Listen:     []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"},
		Topics:     "/h/0123abcd/",
		TopicNames: []string{"o/text", "n"},
		Heartbeat:  100 * time.Millisecond,
		Gate:       &testGate{},
		Log:        slog.New(log),
	}
}

// start listens and runs.
func start(t testing.TB, cfg Config) *node {
	t.Helper()
	h, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	n := &node{Host: h, gate: cfg.Gate.(*testGate)}
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

func startNode(t testing.TB) *node {
	t.Helper()
	return start(t, testConfig(t))
}

// meet tells a to stay connected to the others and waits until it is.
func meet(t testing.TB, a *node, others ...*node) {
	t.Helper()
	peers := map[horde.NodeID][]string{}
	for _, b := range others {
		peers[b.ID()] = b.Addrs()
	}
	a.SetPeers(peers)
	for _, b := range others {
		eventually(t, "connected", func() bool { return a.peer(b.ID()).Connected && b.peer(a.ID()).Connected })
	}
}

// peer returns what h knows of a peer.
func (n *node) peer(id horde.NodeID) PeerInfo {
	for _, p := range n.Peers() {
		if p.ID == id {
			return p
		}
	}
	return PeerInfo{}
}

// soon is a context for a call that must come back.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
