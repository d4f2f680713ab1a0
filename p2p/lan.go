package p2p

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/time/rate"
)

// Members in one local network find each other by multicast DNS, without an address of either in
// the ledger being right. The service is named after the federation, so that several do not meet:
//
//	question  _h-<net>._udp.local TXT?
//	answer    _h-<net>._udp.local TXT "dnsaddr=/ip4/192.168.1.7/tcp/4001/p2p/<id>" …
//
// Anybody in the network may answer anything. So an answer counts only if it names a member, only
// for addresses that are the sender's own, and whoever is dialled there must have the member's key.
const (
	lanPort  = 5353
	lanEvery = time.Minute
	lanFirst = time.Second // after the start, then twice that, …
	lanMost  = 9000        // bytes of a message
	lanTTL   = 120         // seconds
	lanTag   = "dnsaddr="
)

var lanGroup = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: lanPort}

// lanConn is how multicast is sent and received.
type lanConn interface {
	ReadFrom([]byte) (int, net.Addr, error)
	WriteTo([]byte, net.Addr) (int, error)
	Close() error
}

// multicast is lanConn in the real network.
type multicast struct{ in, out *net.UDPConn }

func openMulticast() (lanConn, error) {
	in, err := net.ListenMulticastUDP("udp4", nil, lanGroup)
	if err != nil {
		return nil, err
	}
	out, err := net.ListenUDP("udp4", nil) // our own machine hears what this one sends
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return multicast{in, out}, nil
}

func (m multicast) ReadFrom(b []byte) (int, net.Addr, error)   { return m.in.ReadFrom(b) }
func (m multicast) WriteTo(b []byte, to net.Addr) (int, error) { return m.out.WriteTo(b, to) }
func (m multicast) Close() error                               { return errors.Join(m.in.Close(), m.out.Close()) }

// lanService is the name of a federation's service: of /h/0123abcd/ it is _h-0123abcd._udp.local.
func lanService(topics string) (dnsmessage.Name, error) {
	return dnsmessage.NewName("_" + strings.ReplaceAll(strings.Trim(topics, "/"), "/", "-") + "._udp.local.")
}

// lan speaks multicast DNS for a host.
type lan struct {
	h       *Host
	conn    lanConn
	service dnsmessage.Name
	answers *rate.Limiter
}

func newLAN(h *Host, conn lanConn) (*lan, error) {
	service, err := lanService(h.cfg.Topics)
	if err != nil {
		return nil, fmt.Errorf("service name: %w", err)
	}
	return &lan{h: h, conn: conn, service: service, answers: rate.NewLimiter(1, 2)}, nil
}

// keepLAN announces us and hears of others until ctx is done.
func (h *Host) keepLAN(ctx context.Context) {
	open := h.cfg.openLAN
	if open == nil {
		open = openMulticast
	}
	conn, err := open()
	if err != nil {
		h.log.Info("members in the local network are not looked for", "err", err)
		return
	}
	l, err := newLAN(h, conn)
	if err != nil {
		h.log.Warn("members in the local network are not looked for", "err", errors.Join(err, conn.Close()))
		return
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		l.listen(ctx)
	}()
	pause := lanFirst
	for ctx.Err() == nil {
		l.send(true)
		t := time.NewTimer(pause*4/5 + rand.N(pause*2/5))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		pause = min(2*pause, lanEvery)
	}
	if err := conn.Close(); err != nil {
		h.log.Debug("multicast closed badly", "err", err)
	}
	<-heard
}

// send tells our addresses, and asks for others' if it shall.
func (l *lan) send(ask bool) {
	data, err := l.message(ask)
	if err == nil {
		_, err = l.conn.WriteTo(data, lanGroup)
	}
	if err != nil {
		l.h.log.Debug("nothing told to the local network", "err", err)
	}
}

func (l *lan) message(ask bool) ([]byte, error) {
	m := dnsmessage.Message{Header: dnsmessage.Header{Response: !ask, Authoritative: true}}
	if ask {
		m.Questions = []dnsmessage.Question{{Name: l.service, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}}
	}
	var txt []string
	for _, a := range l.h.ListenAddrs() {
		if s := lanTag + a + "/p2p/" + string(l.h.id); len(s) <= 255 && len(txt) < 16 {
			txt = append(txt, s)
		}
	}
	if len(txt) > 0 {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: l.service, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET, TTL: lanTTL},
			Body:   &dnsmessage.TXTResource{TXT: txt},
		}}
	}
	return m.Pack()
}

// listen takes in what others send until the connection is closed.
func (l *lan) listen(ctx context.Context) {
	buf := make([]byte, lanMost)
	for {
		n, from, err := l.conn.ReadFrom(buf)
		if err != nil {
			if ctx.Err() == nil {
				l.h.log.Info("the local network is not heard any more", "err", err)
			}
			return
		}
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		if l.hear(buf[:n], udp.AddrPort().Addr().Unmap()) && l.answers.Allow() {
			l.send(false)
		}
	}
}

// hear takes in a message and tells whether it asks for us.
func (l *lan) hear(data []byte, from netip.Addr) (asked bool) {
	var m dnsmessage.Message
	if m.Unpack(data) != nil {
		return false // multicast DNS has many speakers
	}
	for _, q := range m.Questions {
		asked = asked || strings.EqualFold(q.Name.String(), l.service.String())
	}
	found := map[peer.ID][]multiaddr.Multiaddr{}
	for _, r := range m.Answers {
		txt, ok := r.Body.(*dnsmessage.TXTResource)
		if !ok || !strings.EqualFold(r.Header.Name.String(), l.service.String()) {
			continue
		}
		for _, s := range txt.TXT {
			if p, addr, ok := l.read(s, from); ok && len(found[p]) < 8 {
				found[p] = append(found[p], addr)
			}
		}
	}
	for p, addrs := range found {
		if p == l.h.host.ID() {
			return false // our own voice
		}
		slices.SortFunc(addrs, func(a, b multiaddr.Multiaddr) int { return a.Compare(b) })
		if l.h.book.hear(p, addrs) {
			l.h.log.Info("member heard in the local network", "peer", p.String(), "addrs", len(addrs))
			l.h.met(p)
		}
	}
	return asked
}

// read takes an address out of a TXT string if it is a member's and the sender's own.
func (l *lan) read(s string, from netip.Addr) (peer.ID, multiaddr.Multiaddr, bool) {
	text, ok := strings.CutPrefix(s, lanTag)
	if !ok {
		return "", nil, false
	}
	info, err := peer.AddrInfoFromString(text)
	if err != nil || len(info.Addrs) != 1 || isCircuit(info.Addrs[0]) {
		return "", nil, false
	}
	if info.ID != l.h.host.ID() && !l.h.gate().MayConnect(nodeID(info.ID)) {
		return "", nil, false
	}
	ip, err := manet.ToIP(info.Addrs[0])
	if err != nil {
		return "", nil, false
	}
	own, ok := netip.AddrFromSlice(ip)
	return info.ID, info.Addrs[0], ok && own.Unmap() == from
}

// met has a member dialled that was heard of by itself, whether SetPeers named it or not: the
// Gate knows it.
func (h *Host) met(p peer.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.link(p).want(h.book.addrs(p))
	}
}
