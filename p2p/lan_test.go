package p2p

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/net/dns/dnsmessage"
)

// wire is a local network: what one sends, all hear.
type wire struct {
	mu    sync.Mutex
	ports []*wirePort
}

type wirePort struct {
	wire *wire
	addr *net.UDPAddr
	in   chan packet
	done chan struct{}
	once sync.Once
}

type packet struct {
	data []byte
	from net.Addr
}

func (w *wire) open() (lanConn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &wirePort{wire: w, addr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40_000 + len(w.ports)}, in: make(chan packet, 256), done: make(chan struct{})}
	w.ports = append(w.ports, p)
	return p, nil
}

func (p *wirePort) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case x := <-p.in:
		return copy(b, x.data), x.from, nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

func (p *wirePort) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.wire.mu.Lock()
	defer p.wire.mu.Unlock()
	for _, q := range p.wire.ports {
		select {
		case q.in <- packet{slices.Clone(b), p.addr}:
		default: // as a network does
		}
	}
	return len(b), nil
}

func (p *wirePort) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Members in one local network find each other though nobody told them addresses; others of the
// same network, and members of other federations, do not get in.
func TestLANFindsMembers(t *testing.T) {
	w := &wire{}
	var nodes []*node
	for i := range 3 {
		cfg := testConfig(t)
		cfg.Reach.LAN, cfg.openLAN = true, w.open
		if i == 2 {
			cfg.Topics = "/h/another/"
		}
		nodes = append(nodes, start(t, cfg))
	}
	a, b, other := nodes[0], nodes[1], nodes[2]
	eventually(t, "two of a federation are connected", func() bool { return a.peer(b.ID()).Connected && b.peer(a.ID()).Connected })
	if a.peer(other.ID()).Connected || b.peer(other.ID()).Connected {
		t.Error("a node of another federation is connected")
	}
}

// What anybody may shout into the local network makes us dial nobody but members, and those only
// at the sender's own address.
func TestLANBelievesLittle(t *testing.T) {
	cfg := testConfig(t)
	a := start(t, cfg)
	l, err := newLAN(a.Host, nil)
	if err != nil {
		t.Fatal(err)
	}
	member, stranger := newPeerID(t), newPeerID(t)
	a.gate.keepOut(nodeID(stranger))
	say := func(txt ...string) []byte {
		m := dnsmessage.Message{Answers: []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: l.service, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.TXTResource{TXT: txt},
		}}}
		data, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	from := netip.MustParseAddr("192.168.1.7")
	for _, tt := range []struct {
		name string
		data []byte
		id   peer.ID
		want int
	}{
		{"a member at its own address", say("dnsaddr=/ip4/192.168.1.7/tcp/4001/p2p/" + member.String()), member, 1},
		{"somebody else's address", say("dnsaddr=/ip4/192.168.1.1/tcp/22/p2p/" + newPeerID(t).String()), "", 0},
		{"a stranger", say("dnsaddr=/ip4/192.168.1.7/tcp/4001/p2p/" + stranger.String()), stranger, 0},
		{"a name", say("dnsaddr=/dns4/printer.local/tcp/80/p2p/" + member.String()), member, 1},
		{"no address", say("dnsaddr=", "hello", "dnsaddr=/p2p/"+member.String()), member, 1},
		{"noise", []byte("\x00\x01\x02"), member, 1},
	} {
		l.hear(tt.data, from)
		if got := len(a.book.addrs(tt.id)); got != tt.want {
			t.Errorf("%s: %d addresses are known, want %d", tt.name, got, tt.want)
		}
	}
	if _, known := a.book.by[stranger]; known {
		t.Error("a stranger is in the book")
	}
}

// The same over the real network, where it carries multicast.
func TestLANOverMulticast(t *testing.T) {
	if why := noMulticast(t); why != "" {
		t.Skip("this machine's network does not carry multicast: " + why)
	}
	var nodes []*node
	for range 2 {
		cfg := testConfig(t)
		cfg.Topics = "/h/" + string(idOf(t, cfg))[40:] + "/"
		if len(nodes) > 0 {
			cfg.Topics = nodes[0].cfg.Topics
		}
		cfg.Listen = []string{"/ip4/0.0.0.0/tcp/0"}
		cfg.Reach.LAN = true
		nodes = append(nodes, start(t, cfg))
	}
	a, b := nodes[0], nodes[1]
	eventually(t, "connected", func() bool { return a.peer(b.ID()).Connected && b.peer(a.ID()).Connected })
}

// noMulticast tells why what is sent to the group does not come back; empty if it does.
func noMulticast(t *testing.T) string {
	t.Helper()
	c, err := openMulticast()
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	if _, err := c.WriteTo([]byte("hordenode test"), lanGroup); err != nil {
		return err.Error()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	heard := make(chan string, 1)
	go func() {
		buf := make([]byte, lanMost)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				heard <- err.Error()
				return
			}
			if string(buf[:n]) == "hordenode test" {
				heard <- ""
				return
			}
		}
	}()
	select {
	case why := <-heard:
		return why
	case <-ctx.Done():
		return "nothing came back within a second"
	}
}
