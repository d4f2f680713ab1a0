package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"hordenode/internal/horde"
)

func TestSetPeersConnects(t *testing.T) {
	for _, transport := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(transport, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.Listen = []string{transport}
			a, b := startNode(t), start(t, cfg)
			came := make(chan horde.NodeID, 8)
			b.OnConnect(func(id horde.NodeID) { came <- id })
			meet(t, a, b)

			if got := receive(t, "OnConnect at b", came); got != a.ID() {
				t.Errorf("OnConnect(%s), want %s", got, a.ID())
			}
			eventually(t, "round trip measured", func() bool { return a.peer(b.ID()).RTT > 0 && b.peer(a.ID()).RTT > 0 })
			got := a.peer(b.ID())
			if !got.Member || got.Inbound || got.Addr != b.Addrs()[0] || got.Since.IsZero() {
				t.Errorf("a sees %+v, want an outbound member at %s", got, b.Addrs()[0])
			}
			if got := b.peer(a.ID()); got.Member || !got.Inbound {
				t.Errorf("b sees %+v, want an inbound peer that is not in its SetPeers", got)
			}
		})
	}
}

func TestReconnectsAfterRestart(t *testing.T) {
	a, cfg := startNode(t), testConfig(t)
	b := start(t, cfg)
	came := make(chan horde.NodeID, 8)
	a.OnConnect(func(id horde.NodeID) { came <- id })
	meet(t, a, b)
	receive(t, "first OnConnect", came)
	cfg.Listen = b.ListenAddrs()

	b.stop()
	eventually(t, "b lost", func() bool { return !a.peer(b.ID()).Connected })
	if got := a.peer(b.ID()); !got.Member {
		t.Errorf("a sees %+v, want a member that is not connected", got)
	}
	b = start(t, cfg) // same key, same port; it does not know a

	receive(t, "OnConnect after the restart", came)
	eventually(t, "connected again", func() bool { return a.peer(b.ID()).Connected })
}

func TestClosedConnectionIsDialledAgain(t *testing.T) {
	a, b := startNode(t), startNode(t)
	meet(t, a, b)
	before := a.peer(b.ID()).Since
	b.ClosePeer(string(a.ID()))
	eventually(t, "a new connection", func() bool {
		p := a.peer(b.ID())
		return p.Connected && p.Since.After(before)
	})
}

func TestGateRefusesStrangers(t *testing.T) {
	t.Run("dialling us", func(t *testing.T) {
		a, cfg := startNode(t), testConfig(t)
		b, err := Listen(cfg) // no Run, so it is not the keeper who sends strangers away
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		cfg.Gate.(*testGate).keepOut(a.ID())
		a.SetPeers(map[horde.NodeID][]string{b.ID(): b.Addrs()})
		if _, err := a.Call(soon(t), b.ID(), pingProtocol, nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("a stranger's call = %v, want ErrUnreachable", err)
		}
		if got := b.Peers(); len(got) != 0 {
			t.Errorf("b had to do with strangers: %+v", got)
		}
	})
	t.Run("dialled by us", func(t *testing.T) {
		a, b := startNode(t), startNode(t)
		a.gate.keepOut(b.ID())
		a.SetPeers(map[horde.NodeID][]string{b.ID(): b.Addrs()})
		if _, err := a.Call(soon(t), b.ID(), pingProtocol, nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("Call = %v, want ErrUnreachable", err)
		}
		l := a.linkFor(t, b)
		if err := l.dial(soon(t), dialTimeout); err == nil || !strings.Contains(err.Error(), "gater") {
			t.Errorf("dial = %v, want the gater's refusal", err)
		}
	})
	t.Run("expelled while connected", func(t *testing.T) {
		a, b := startNode(t), startNode(t)
		meet(t, a, b)
		a.gate.keepOut(b.ID())
		a.SetPeers(nil)
		eventually(t, "disconnected", func() bool { return !a.peer(b.ID()).Connected && !b.peer(a.ID()).Connected })
	})
}

func TestGaterAsksInBothDirections(t *testing.T) {
	gate := &testGate{}
	g := &gater{gate: gate}
	member, stranger := newPeerID(t), newPeerID(t)
	gate.keepOut(nodeID(stranger))
	for _, tt := range []struct {
		name string
		id   peer.ID
		want bool
	}{{"member", member, true}, {"stranger", stranger, false}} {
		for what, got := range map[string]bool{
			"dial":             g.InterceptPeerDial(tt.id),
			"inbound secured":  g.InterceptSecured(network.DirInbound, tt.id, nil),
			"outbound secured": g.InterceptSecured(network.DirOutbound, tt.id, nil),
		} {
			if got != tt.want {
				t.Errorf("%s, %s: allowed = %v, want %v", tt.name, what, got, tt.want)
			}
		}
	}
}

func newPeerID(t *testing.T) peer.ID {
	t.Helper()
	node, err := IDFromKey(newKey(t).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peerID(node)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// linkFor returns a's link to b.
func (n *node) linkFor(t *testing.T, b *node) *link {
	t.Helper()
	id, err := peerID(b.ID())
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.link(id)
}

func TestSetPeersForgets(t *testing.T) {
	a, b := startNode(t), startNode(t)
	meet(t, a, b)
	b.stop()
	eventually(t, "b lost", func() bool { return !a.peer(b.ID()).Connected })
	a.SetPeers(nil)
	if got := a.Peers(); len(got) != 0 {
		t.Errorf("Peers = %+v, want none", got)
	}
}

func TestSetPeersSkipsNonsense(t *testing.T) {
	a, b := startNode(t), startNode(t)
	a.SetPeers(map[horde.NodeID][]string{
		"not a peer id": {"/ip4/127.0.0.1/tcp/1"},
		a.ID():          a.Addrs(),
		b.ID():          {"nonsense", "", b.Addrs()[0] + "/p2p/" + string(b.ID())},
	})
	eventually(t, "connected", func() bool { return a.peer(b.ID()).Connected })
	if got := a.Peers(); len(got) != 1 {
		t.Errorf("Peers = %+v, want b only", got)
	}
}

func TestPortInUse(t *testing.T) {
	a := startNode(t)
	for _, addr := range a.ListenAddrs() {
		cfg := testConfig(t)
		cfg.Listen = []string{"/ip4/127.0.0.1/tcp/0", addr}
		h, err := Listen(cfg)
		if err == nil {
			t.Errorf("listening twice on %s succeeded", addr)
			h.Close()
		} else if !strings.Contains(err.Error(), addr) {
			t.Errorf("error %q does not name %s", err, addr)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*Config)
	}{
		{"no key", func(c *Config) { c.Key = nil }},
		{"no gate", func(c *Config) { c.Gate = nil }},
		{"listen is no multiaddr", func(c *Config) { c.Listen = []string{"127.0.0.1:80"} }},
		{"announce is no multiaddr", func(c *Config) { c.Announce = []string{"lab:80"} }},
		{"transport unknown", func(c *Config) { c.Listen = []string{"/ip4/127.0.0.1/tcp/0/ws"} }},
		{"topics without prefix", func(c *Config) { c.Topics = "" }},
		{"negative heartbeat", func(c *Config) { c.Heartbeat = -1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(t)
			tt.spoil(&cfg)
			if h, err := Listen(cfg); err == nil {
				h.Close()
				t.Error("Listen succeeded")
			}
		})
	}
}

func TestAnnounce(t *testing.T) {
	cfg := testConfig(t)
	cfg.Announce = []string{"/dns4/lab.example/tcp/4101"}
	n := start(t, cfg)
	if got := n.Addrs(); len(got) != 1 || got[0] != cfg.Announce[0] {
		t.Errorf("Addrs = %v, want %v", got, cfg.Announce)
	}
	for _, got := range n.ListenAddrs() {
		if strings.HasSuffix(got, "/tcp/0") || strings.Contains(got, "/udp/0/") {
			t.Errorf("ListenAddrs has %s, want its port", got)
		}
	}
}

// A peer that takes connections and says nothing must not hold up calls.
func TestSilentPeerIsUnreachable(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, port, _ := net.SplitHostPort(silent.Addr().String())
	id := nodeID(newPeerID(t))
	a := startNode(t)
	a.SetPeers(map[horde.NodeID][]string{id: {"/ip4/127.0.0.1/tcp/" + port}})
	if _, err := a.Call(soon(t), id, "/horde/test/1", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Call = %v, want ErrUnreachable", err)
	}
	begin := time.Now()
	if _, err := a.Call(soon(t), id, "/horde/test/1", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Call = %v, want ErrUnreachable", err)
	}
	if took := time.Since(begin); took > failFast {
		t.Errorf("the call after a failed dial took %s, want it to fail at once", took)
	}
}

func TestWhatMayBeDialled(t *testing.T) {
	id := newPeerID(t)
	ma := multiaddr.StringCast
	g := &gater{gate: &testGate{}, book: newAddrBook(nil)}
	g.book.list(map[peer.ID][]multiaddr.Multiaddr{id: {ma("/ip4/10.0.0.5/tcp/4101"), ma("/dns4/lab/udp/4101/quic-v1")}}, func(peer.ID) bool { return true })
	for _, tt := range []struct {
		name, addr string
		want       bool
	}{
		{"named by the ledger", "/ip4/10.0.0.5/tcp/4101", true},
		{"what a name resolved to", "/ip4/10.0.0.9/udp/4101/quic-v1", true},
		{"public, learned from the peer", "/ip4/8.8.8.8/tcp/4101", true},
		{"private, learned from the peer", "/ip4/10.0.0.6/tcp/4101", false},
		{"another port of a named host", "/ip4/10.0.0.5/tcp/22", false},
		{"loopback, learned from the peer", "/ip4/127.0.0.1/tcp/6379", false},
		{"metadata service", "/ip4/169.254.169.254/tcp/80", false},
	} {
		if got := g.InterceptAddrDial(id, ma(tt.addr)); got != tt.want {
			t.Errorf("%s: may dial %s = %v, want %v", tt.name, tt.addr, got, tt.want)
		}
	}
}

func TestRedialDelay(t *testing.T) {
	for n, want := range []time.Duration{0, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 10 * time.Second} {
		got := redialDelay(n)
		if got < want*4/5 || got > want*6/5 {
			t.Errorf("redialDelay(%d) = %s, want %s give or take a fifth", n, got, want)
		}
	}
	if got := redialDelay(1_000_000); got > 12*time.Second {
		t.Errorf("redialDelay(1000000) = %s, want 10 s", got)
	}
}

func TestAllDialAllAtOnce(t *testing.T) {
	nodes := make([]*node, 5)
	peers := map[horde.NodeID][]string{}
	came := make(chan [2]horde.NodeID, 1000)
	for i := range nodes {
		n := startNode(t)
		n.OnConnect(func(id horde.NodeID) { came <- [2]horde.NodeID{n.ID(), id} })
		nodes[i], peers[n.ID()] = n, n.Addrs()
	}
	for _, n := range nodes {
		n.SetPeers(peers)
	}
	told := map[[2]horde.NodeID]bool{}
	for len(told) < len(nodes)*(len(nodes)-1) {
		told[receive(t, "OnConnect of every pair", came)] = true
	}
	for _, n := range nodes {
		eventually(t, "four round trips measured", func() bool {
			for _, p := range n.Peers() {
				if !p.Member || !p.Connected || p.RTT == 0 {
					return false
				}
			}
			return len(n.Peers()) == len(nodes)-1
		})
	}
}

// A peer that listens but has not all its handlers yet is not announced.
func TestOnConnectWaitsForRun(t *testing.T) {
	a, cfg := startNode(t), testConfig(t)
	var ran atomic.Bool
	came := make(chan bool, 10)
	a.OnConnect(func(horde.NodeID) { came <- ran.Load() })
	b, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	a.SetPeers(map[horde.NodeID][]string{b.ID(): b.Addrs()})
	eventually(t, "b was asked whether it is ready", func() bool {
		_, err := a.Call(soon(t), b.ID(), pingProtocol, nil)
		remote, ok := errors.AsType[*RemoteError](err)
		return ok && remote.Code == codeStarting
	})
	ctx, cancel := context.WithCancel(soon(t))
	done := make(chan error, 1)
	ran.Store(true)
	go func() { done <- b.Run(ctx) }()
	if !receive(t, "OnConnect", came) {
		t.Error("b was announced before it ran")
	}
	cancel()
	if err := receive(t, "end of Run", done); err != nil {
		t.Error(err)
	}
}

// OnConnect functions do not overlap for one peer, and a slow one loses nothing.
func TestOnConnectIsCoalesced(t *testing.T) {
	a, b := startNode(t), startNode(t)
	calls, release := make(chan struct{}, 100), make(chan struct{})
	a.OnConnect(func(horde.NodeID) {
		calls <- struct{}{}
		<-release
	})
	defer close(release)
	meet(t, a, b)
	receive(t, "first call", calls)
	l := a.linkFor(t, b)
	for range 10 {
		l.announce()
	}
	if len(calls) != 0 {
		t.Error("calls about one peer overlap")
	}
	release <- struct{}{}
	receive(t, "one call more", calls)
	release <- struct{}{}
	eventually(t, "no further call", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !l.announcing
	})
	if len(calls) != 0 {
		t.Errorf("%d calls more than needed", len(calls))
	}
}

// A peer that vanished without a word (fault 24): calls fail by their deadlines, the ping
// notices, the connection is closed and a new one made.
func TestHalfOpenConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	a, cfg := startNode(t), testConfig(t)
	cfg.Listen = cfg.Listen[:1] // TCP, through the proxy only
	b := start(t, cfg)
	b.Handle(echo, Limits{}, answerEcho)
	wire := newProxy(t, b.Addrs()[0])
	a.SetPeers(map[horde.NodeID][]string{b.ID(): {wire.addr}})
	eventually(t, "connected", func() bool { return a.peer(b.ID()).Connected })
	first := a.peer(b.ID()).Since

	wire.cut()
	ctx, cancel := context.WithTimeout(soon(t), doubtAfter+100*time.Millisecond)
	defer cancel()
	if _, err := a.Call(ctx, b.ID(), echo, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Call over a cut wire = %v, want the deadline", err)
	}
	eventually(t, "a new connection", func() bool {
		p := a.peer(b.ID())
		return p.Connected && p.Since.After(first)
	})
	if _, err := a.Call(soon(t), b.ID(), echo, nil); err != nil {
		t.Errorf("Call = %v", err)
	}
}

// proxy forwards TCP connections until they are cut: they stay open then and carry nothing.
type proxy struct {
	addr string // a multiaddr

	mu   sync.Mutex
	dead chan struct{} // closed by cut, then new
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	_, to, err := manet.DialArgs(multiaddr.StringCast(target))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: addr.String(), dead: make(chan struct{})}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { in.Close() })
			out, err := net.Dial("tcp", to)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { out.Close() })
			p.mu.Lock()
			dead := p.dead
			p.mu.Unlock()
			wg.Go(func() { forward(out, in, dead) })
			wg.Go(func() { forward(in, out, dead) })
		}
	})
	return p
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.dead)
	p.dead = make(chan struct{})
}

// forward copies until an end closes; what it reads once dead is closed, it drops.
func forward(dst, src net.Conn, dead <-chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			dst.Close()
			return
		}
		select {
		case <-dead:
			continue
		default:
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			src.Close()
			return
		}
	}
}
