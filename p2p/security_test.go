package p2p

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"hordenode/internal/horde"
)

// Row 36: what goes over the wire tells nothing, and who answers must have the key of whom we
// dialled. A proxy in between sees the bytes of a call that carries a known text.
func TestSecurity36WireIsEncrypted(t *testing.T) {
	a, b := startNode(t), startNode(t)
	var target string
	for _, s := range b.ListenAddrs() {
		if _, port, ok := strings.Cut(s, "/tcp/"); ok {
			target = "127.0.0.1:" + port
		}
	}
	secret := []byte(strings.Repeat("what nobody else may read ", 100))
	b.Handle("/horde/secret/1", Limits{}, func(_ context.Context, _ horde.NodeID, req []byte) ([]byte, error) { return req, nil })
	proxy := tap(t, target)
	a.SetPeers(map[horde.NodeID][]string{b.ID(): {"/ip4/127.0.0.1/tcp/" + proxy.port}})
	got, err := a.Call(soon(t), b.ID(), "/horde/secret/1", secret)
	if err != nil || !bytes.Equal(got, secret) {
		t.Fatalf("Call = %d bytes, %v", len(got), err)
	}
	seen := proxy.bytes()
	if len(seen) < 2*len(secret) {
		t.Fatalf("the proxy saw %d bytes, want the whole call", len(seen))
	}
	if bytes.Contains(seen, []byte("nobody else")) || bytes.Contains(seen, []byte("/horde/secret")) {
		t.Error("the call can be read on the wire")
	}
	impostor := newPeerID(t)
	a.SetPeers(map[horde.NodeID][]string{nodeID(impostor): {"/ip4/127.0.0.1/tcp/" + proxy.port}})
	if _, err := a.Call(soon(t), nodeID(impostor), "/horde/secret/1", nil); err == nil {
		t.Error("a call to somebody else was answered by whoever listens there")
	}
}

// A wiretap forwards TCP and keeps what it sees.
type wiretap struct {
	port string
	mu   sync.Mutex
	seen bytes.Buffer
}

func (w *wiretap) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.Write(b)
}

func (w *wiretap) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.seen.Bytes())
}

func tap(t *testing.T, target string) *wiretap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{port: port}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			forward := func(to, from net.Conn) {
				_, _ = io.Copy(io.MultiWriter(w, to), from) // ends when either side does
				to.Close()
			}
			go forward(in, out)
			go forward(out, in)
		}
	}()
	return w
}

// Row 40: no limit is libp2p's default by accident.
func TestSecurity40Limits(t *testing.T) {
	m, err := newResourceManager()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p := newPeerID(t)
	open := func(proto protocol.ID) int {
		n := 0
		for ; n < 10_000; n++ {
			s, err := m.OpenStream(p, network.DirInbound)
			if err != nil {
				break
			}
			t.Cleanup(s.Done)
			if err := s.SetProtocol(proto); err != nil {
				break
			}
		}
		return n
	}
	if got := open(gossipProtocol); got != gossipStreamsPerPeer {
		t.Errorf("a peer may open %d gossip streams at once, want %d", got, gossipStreamsPerPeer)
	}
	if got := open("/horde/claim/1"); got != streamsPerProtocol {
		t.Errorf("a peer may open %d claim streams at once, want %d", got, streamsPerProtocol)
	}
	cfg := testConfig(t)
	h := start(t, cfg)
	if h.allowed(cfg.Topics+"elsewhere") || h.allowed("o/text") || !h.allowed(cfg.Topics+"o/text") {
		t.Error("topics are not limited to those of the configuration")
	}
	gate := &testGate{}
	stranger := newPeerID(t)
	gate.keepOut(nodeID(stranger))
	if score := scoreParams(gate).AppSpecificScore; score(stranger) != -10_000 || score(p) != 10 {
		t.Errorf("scores of a stranger and a member are %v and %v", score(stranger), score(p))
	}
	if gossipFrame != 64<<10 || MaxMessage >= gossipFrame {
		t.Errorf("messages may have %d bytes in frames of %d, want frames of 64 KiB", MaxMessage, gossipFrame)
	}
	if got := topicScore().InvalidMessageDeliveriesWeight; got != -10 {
		t.Errorf("an invalid message weighs %v, want -10", got)
	}
}
