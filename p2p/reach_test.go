package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"hordenode/internal/horde"
)

// wall is a set of hosts that cannot dial each other, nor be dialled back, until it falls.
type wall struct {
	mu     sync.Mutex
	hidden map[peer.ID]bool
}

func (w *wall) hide(t *testing.T, ids ...horde.NodeID) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range ids {
		p, err := peerID(n)
		if err != nil {
			t.Fatal(err)
		}
		w.hidden[p] = true
	}
}

func (w *wall) fall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.hidden)
}

// blocks is Config.blockDial.
func (w *wall) blocks(p peer.ID, a multiaddr.Multiaddr) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hidden[p] && !isCircuit(a)
}

func reachConfig(t *testing.T, w *wall) Config {
	cfg := testConfig(t)
	cfg.Reach = Reach{Relay: true, Every: 500 * time.Millisecond}
	cfg.blockDial = w.blocks
	cfg.upgrade = 200 * time.Millisecond
	return cfg
}

// idOf is the name that a configuration's key gives.
func idOf(t *testing.T, cfg Config) horde.NodeID {
	t.Helper()
	id, err := IDFromKey(cfg.Key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Two members that nobody can dial, neither each other, talk through a third; what is too big
// for a relay is not carried; and when the way is free they go without the relay.
func TestRelayedWhereNobodyCanDial(t *testing.T) {
	w := &wall{hidden: map[peer.ID]bool{}}
	configs := [3]Config{reachConfig(t, w), reachConfig(t, w), reachConfig(t, w)}
	w.hide(t, idOf(t, configs[0]), idOf(t, configs[1]))
	var nodes [3]*node
	for i, cfg := range configs {
		nodes[i] = start(t, cfg)
		nodes[i].Handle("/horde/small/1", Limits{Relayed: true}, func(context.Context, horde.NodeID, []byte) ([]byte, error) {
			return []byte("hello"), nil
		})
		nodes[i].Handle("/horde/big/1", Limits{}, func(context.Context, horde.NodeID, []byte) ([]byte, error) { return nil, nil })
	}
	a, b, relay := nodes[0], nodes[1], nodes[2]
	addrs := map[horde.NodeID][]string{a.ID(): a.ListenAddrs(), b.ID(): b.ListenAddrs(), relay.ID(): relay.ListenAddrs()}
	for _, n := range nodes {
		n.SetPeers(addrs)
	}

	eventually(t, "the relay knows that it can be dialled", func() bool { return relay.Reach().Relaying })
	for _, n := range []*node{a, b} {
		eventually(t, "a hidden node keeps a place at the relay", func() bool {
			s := n.Reach()
			return s.Dialable == DialableNo && slices.Equal(s.Relays, []horde.NodeID{relay.ID()})
		})
		if !slices.ContainsFunc(n.Addrs(), func(s string) bool { return strings.HasSuffix(s, string(relay.ID())+"/p2p-circuit") }) {
			t.Errorf("a hidden node announces %v, want an address at the relay", n.Addrs())
		}
	}
	eventually(t, "the hidden nodes are connected through the relay", func() bool {
		ab, ba := a.peer(b.ID()), b.peer(a.ID())
		return ab.Relayed && ab.Via == relay.ID() && ba.Relayed && ab.RTT > 0
	})

	got, err := a.Call(soon(t), b.ID(), "/horde/small/1", nil)
	if err != nil || string(got) != "hello" {
		t.Errorf("a small call = %q, %v, want hello", got, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := a.Call(ctx, b.ID(), "/horde/big/1", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a call that may not be relayed = %v, want ErrUnreachable", err)
	}
	if c, err := a.Streams("/horde/raft/1").Dial(string(b.ID()), time.Second); err == nil {
		t.Errorf("a raft stream opened through a relay, want an error")
		c.Close()
	}
	if p := a.peer(relay.ID()); p.Relayed || !p.Connected {
		t.Errorf("the link to the relay is %+v, want a direct one", p)
	}

	w.fall()
	eventually(t, "the link is direct once it can be", func() bool {
		p := a.peer(b.ID())
		return p.Connected && !p.Relayed
	})
	if _, err := a.Call(soon(t), b.ID(), "/horde/big/1", nil); err != nil {
		t.Errorf("a big call over the direct link = %v", err)
	}
	eventually(t, "nobody needs the relay", func() bool { return a.Reach().Dialable == DialableYes && len(a.Reach().Relays) == 0 })
}

// A relay serves members only.
func TestRelayIsForMembers(t *testing.T) {
	gate := &testGate{}
	stranger, member := newPeerID(t), newPeerID(t)
	gate.keepOut(nodeID(stranger))
	g := relayGate{gate}
	if !g.AllowReserve(member, nil) || g.AllowReserve(stranger, nil) {
		t.Error("places at the relay: want members in and strangers out")
	}
	if !g.AllowConnect(member, nil, member) || g.AllowConnect(stranger, nil, member) || g.AllowConnect(member, nil, stranger) {
		t.Error("circuits: want them between members only")
	}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		yes, no int
		want    Dialable
	}{
		{0, 0, DialableUnknown}, {1, 0, DialableYes}, {0, 1, DialableNo},
		{2, 2, DialableYes}, {1, 3, DialableNo}, {3, 1, DialableYes},
	} {
		if got := verdict(tt.yes, tt.no); got != tt.want {
			t.Errorf("verdict(%d reached, %d did not) = %s, want %s", tt.yes, tt.no, got, tt.want)
		}
	}
}

// Who is asked to dial back makes sure whom it reaches, and tries only what it may dial.
func TestDialbackKnowsWhomItReaches(t *testing.T) {
	a, b, c := startNode(t), startNode(t), startNode(t)
	at := func(n *node) multiaddr.Multiaddr {
		i := slices.IndexFunc(n.ListenAddrs(), func(s string) bool { return strings.Contains(s, "/tcp/") })
		return multiaddr.StringCast(n.ListenAddrs()[i])
	}
	if err := a.knock(soon(t), b.host.ID(), at(b)); err != nil {
		t.Errorf("knock at b = %v", err)
	}
	if err := a.knock(soon(t), b.host.ID(), at(c)); err == nil {
		t.Error("knock for b at c's address succeeded, want an error")
	}
	if n := len(b.host.Network().ConnsToPeer(a.host.ID())); n != 0 {
		t.Errorf("knocking left %d connections, want none", n)
	}
	req := mustCBOR(t, dialbackRequest{Addrs: []string{at(b).String(), "/ip4/127.0.0.1/tcp/9", "/ip4/10.1.2.3/udp/4001/quic-v1"}})
	answer, err := a.answerDialback(soon(t), b.ID(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got := readCBOR[dialbackResponse](t, answer); got.Tried != 0 {
		t.Errorf("tried %d addresses that nobody named, want none", got.Tried)
	}
	if _, err := a.answerDialback(soon(t), b.ID(), req); err == nil {
		t.Error("a second request at once was served, want a refusal")
	}
}

// A member that comes back elsewhere, and tells only one of the others, is found by all.
func TestFoundAtANewAddress(t *testing.T) {
	a, c, cfg := startNode(t), startNode(t), testConfig(t)
	b := start(t, cfg)
	meet(t, a, b, c)
	b.stop()
	eventually(t, "a has lost b", func() bool { return !a.peer(b.ID()).Connected })

	b = start(t, cfg) // other ports
	b.SetPeers(map[horde.NodeID][]string{c.ID(): c.Addrs()})
	eventually(t, "a is connected to b again", func() bool { return a.peer(b.ID()).Connected })
	if p := a.peer(b.ID()); p.Inbound {
		t.Errorf("b dialled a, which it does not know: %+v", p)
	}
}

// A node that has lost its list of peers, or whose list is wrong, joins back by the operator's.
func TestBootstrapListIsNeverForgotten(t *testing.T) {
	a, cfg := startNode(t), testConfig(t)
	for _, addr := range a.ListenAddrs() {
		cfg.Reach.Bootstrap = append(cfg.Reach.Bootstrap, addr+"/p2p/"+string(a.ID()))
	}
	b := start(t, cfg)
	eventually(t, "connected without SetPeers", func() bool { return b.peer(a.ID()).Connected })
	b.SetPeers(nil)
	b.ClosePeer(string(a.ID()))
	eventually(t, "connected again", func() bool { return a.peer(b.ID()).Connected && b.peer(a.ID()).Connected })
	if !b.peer(a.ID()).Member {
		t.Error("the member of the bootstrap list is not kept connected to")
	}
	cfg.Reach.Bootstrap = []string{"/ip4/127.0.0.1/tcp/4001"}
	if h, err := Listen(cfg); err == nil {
		t.Error("Listen with a bootstrap address that names no member succeeded")
		h.Close()
	}
}

// memory is a Store.
type memory struct {
	mu   sync.Mutex
	data []byte
}

func (m *memory) Load() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.data, nil
}

func (m *memory) Save(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = b
	return nil
}

func TestAddressesThatWorkedAreKept(t *testing.T) {
	a, cfg, kept := startNode(t), testConfig(t), &memory{}
	cfg.Reach.Store = kept
	b := start(t, cfg)
	meet(t, b, a)
	b.stop()
	b = start(t, cfg)
	b.SetPeers(map[horde.NodeID][]string{a.ID(): nil}) // the ledger knows no address
	eventually(t, "connected at the address that worked", func() bool { return b.peer(a.ID()).Connected && !b.peer(a.ID()).Inbound })
}

func TestAddressBook(t *testing.T) {
	p, everybody := newPeerID(t), func(peer.ID) bool { return true }
	b := newAddrBook(nil)
	for i := range 2 * maxAddrs {
		b.worked(p, multiaddr.StringCast(fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", 1000+i)), time.Unix(int64(i), 0))
	}
	b.worked(p, multiaddr.StringCast("/ip4/192.0.2.1/tcp/1099"), time.Unix(1000, 0))
	kept := &memory{}
	if err := b.save(kept); err != nil {
		t.Fatal(err)
	}
	again := newAddrBook(nil)
	if err := again.load(kept); err != nil {
		t.Fatal(err)
	}
	got := again.addrs(p)
	if len(got) != maxAddrs || got[0].String() != "/ip4/192.0.2.1/tcp/1099" || got[1].String() != "/ip4/192.0.2.1/tcp/1098" {
		t.Errorf("%d addresses are kept, the first ones %v, want the last %d", len(got), got[:2], maxAddrs)
	}
	again.list(map[peer.ID][]multiaddr.Multiaddr{}, everybody)
	if got := again.addrs(p); len(got) != maxAddrs {
		t.Errorf("a member that the ledger does not list has %d addresses, want what worked", len(got))
	}
	again.list(map[peer.ID][]multiaddr.Multiaddr{}, func(peer.ID) bool { return false })
	if got := again.addrs(p); len(got) != 0 {
		t.Errorf("a member that was removed has %d addresses, want none", len(got))
	}
	if err := again.load(&memory{data: []byte("{")}); err == nil {
		t.Error("a damaged file was read without an error")
	}
}

// Records are worth what their signature is, and the newest counts.
func TestRecords(t *testing.T) {
	a, b := startNode(t), startNode(t)
	own, _, err := b.ownRecord()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.learn(own); err != nil {
		t.Fatal(err)
	}
	forged := sealed{Body: slices.Clone(own.Body), Sig: own.Sig}
	forged.Body[len(forged.Body)-1] ^= 1
	if err := a.learn(forged); !errors.Is(err, errRecord) {
		t.Errorf("learn of a changed record = %v, want errRecord", err)
	}
	old := whereabouts{ID: b.ID(), Seq: 1, Addrs: []string{"/ip4/127.0.0.1/tcp/1"}}
	body := mustCBOR(t, old)
	sig, err := b.SignFor(whereDomain, body)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.learn(sealed{Body: body, Sig: sig}); err != nil {
		t.Fatal(err)
	}
	if r, ok := a.recordOf(b.host.ID()); !ok || !slices.Equal(r.Addrs, b.Addrs()) {
		t.Errorf("after an old record a knows %v, want %v", r.Addrs, b.Addrs())
	}
	a.gate.keepOut(b.ID())
	own, _, err = b.ownRecord()
	if err != nil {
		t.Fatal(err)
	}
	delete(a.reach.records, b.host.ID())
	if err := a.learn(own); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.recordOf(b.host.ID()); ok {
		t.Error("a stranger's record was kept")
	}
}

// Row 41 of the security checklist: learned addresses are dialled if they are public, in ranges
// that the operator allows, or announced by the member itself.
func TestSecurity41LearnedAddresses(t *testing.T) {
	id, relay, stranger := newPeerID(t), newPeerID(t), newPeerID(t)
	ma := multiaddr.StringCast
	gate := &testGate{}
	gate.keepOut(nodeID(stranger))
	g := &gater{gate: gate, book: newAddrBook([]netip.Prefix{netip.MustParsePrefix("10.8.0.0/16"), netip.MustParsePrefix("fd00::/8")})}
	g.book.tell(id, []multiaddr.Multiaddr{ma("/ip4/192.168.3.4/tcp/4001")})
	for _, tt := range []struct {
		addr string
		want bool
	}{
		{"/ip4/8.8.8.8/tcp/4001", true},
		{"/ip4/10.8.1.2/tcp/4001", true},
		{"/ip4/10.9.1.2/tcp/4001", false},
		{"/ip6/fd00::1/udp/4001/quic-v1", true},
		{"/ip6/fe80::1/udp/4001/quic-v1", false},
		{"/ip4/192.168.3.4/tcp/4001", true},
		{"/ip4/192.168.3.4/tcp/22", false},
		{"/ip4/192.168.3.5/tcp/4001", false},
		{"/ip4/127.0.0.1/tcp/4001", false},
		{"/ip4/169.254.169.254/tcp/80", false},
		{"/ip4/100.64.0.1/tcp/4001", false},
		{"/ip6/::1/tcp/4001", false},
		{"/ip4/0.0.0.0/tcp/4001", false},
		{"/dns4/localhost/tcp/4001", false},
		{"/p2p/" + relay.String() + "/p2p-circuit", true},
		{"/ip4/127.0.0.1/tcp/1/p2p/" + relay.String() + "/p2p-circuit", true},
		{"/p2p/" + stranger.String() + "/p2p-circuit", false},
	} {
		if got := g.InterceptAddrDial(id, ma(tt.addr)); got != tt.want {
			t.Errorf("may dial %s = %v, want %v", tt.addr, got, tt.want)
		}
	}
}

func mustCBOR(t *testing.T, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readCBOR[T any](t *testing.T, b []byte) (v T) {
	t.Helper()
	if err := cbor.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
