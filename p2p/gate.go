package p2p

import (
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"hordenode/internal/horde"
)

// A Gate says who may take part. It is asked for every connection, every incoming stream and
// for the score of gossip peers, from many goroutines: it answers from memory, at once.
type Gate interface {
	// MayConnect tells whether peer is a member. Expelled peers are disconnected at the next
	// SetPeers, or within pingEvery.
	MayConnect(peer horde.NodeID) bool
	// MaySpeak tells whether a connected peer may open streams of a protocol to us.
	MaySpeak(peer horde.NodeID, protocol string) bool
}

// gater asks the Gate for libp2p, and the book of addresses.
type gater struct {
	gate  Gate
	book  *addrBook
	block func(peer.ID, multiaddr.Multiaddr) bool // tests: dials that must fail; nil: none
}

func (g *gater) InterceptPeerDial(p peer.ID) bool { return g.gate.MayConnect(nodeID(p)) }

// InterceptAddrDial lets us dial what the operator, the ledger or the member itself named, and
// of what we learned otherwise only public addresses and those in ranges that the operator
// allows: nobody can make us knock at our neighbours' doors.
func (g *gater) InterceptAddrDial(p peer.ID, addr multiaddr.Multiaddr) bool {
	return g.mayDial(p, addr) && !g.blocked(p, addr)
}

func (g *gater) mayDial(p peer.ID, addr multiaddr.Multiaddr) bool {
	if isCircuit(addr) { // the way to the relay is dialled by itself, and judged then
		relay, err := addr.ValueForProtocol(multiaddr.P_P2P)
		return err == nil && g.gate.MayConnect(horde.NodeID(relay))
	}
	return manet.IsPublicAddr(addr) || g.book.ranged(addr) || g.book.has(p, addr)
}

// blocked is for tests in which two hosts cannot reach each other.
func (g *gater) blocked(p peer.ID, addr multiaddr.Multiaddr) bool {
	return g.block != nil && g.block(p, addr)
}

// resolvesTo tells whether a name, say /dns4/lab/tcp/4101, can stand for addr: equal but for
// the host, which the operator's resolver chose.
func resolvesTo(name, addr multiaddr.Multiaddr) bool {
	host, rest := multiaddr.SplitFirst(name)
	if host == nil {
		return false
	}
	switch host.Protocol().Code {
	case multiaddr.P_DNS, multiaddr.P_DNS4, multiaddr.P_DNS6, multiaddr.P_DNSADDR:
		_, addrRest := multiaddr.SplitFirst(addr)
		return rest.Equal(addrRest) || host.Protocol().Code == multiaddr.P_DNSADDR
	}
	return false
}

// InterceptAccept lets everybody knock: before the handshake nobody has a name. How often is
// limited per address by the resource manager.
func (g *gater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

func (g *gater) InterceptSecured(_ network.Direction, p peer.ID, _ network.ConnMultiaddrs) bool {
	return g.gate.MayConnect(nodeID(p))
}

func (g *gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
