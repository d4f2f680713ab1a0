package p2p

import (
	"sync"

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

// gater asks the Gate for libp2p. It is given its book of addresses after the host is made,
// before which nothing is dialled.
type gater struct {
	gate Gate

	mu    sync.RWMutex
	addrs map[peer.ID][]multiaddr.Multiaddr // what SetPeers said
}

func (g *gater) setAddrs(addrs map[peer.ID][]multiaddr.Multiaddr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addrs = addrs
}

func (g *gater) InterceptPeerDial(p peer.ID) bool { return g.gate.MayConnect(nodeID(p)) }

// InterceptAddrDial lets us dial what the operator or the ledger named, and of what peers say
// about themselves only public addresses: nobody can make us knock at our neighbours' doors.
func (g *gater) InterceptAddrDial(p peer.ID, addr multiaddr.Multiaddr) bool {
	if manet.IsPublicAddr(addr) {
		return true
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, known := range g.addrs[p] {
		if addr.Equal(known) || resolvesTo(known, addr) {
			return true
		}
	}
	return false
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
