package p2p

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

// The limits are the same on every machine, so a node behaves alike everywhere. libp2p's own
// are too low for us where many members share an address (8 connections per IPv4 address,
// one new one per 5 s) and where one peer has many calls open (engineering.md section 1.3).
const (
	connsPerIP    = 64
	newConnsPerIP = 5 // per second, after a burst of newConnsBurst
	newConnsBurst = 128

	streamsPerPeer     = 512 // open at once, each direction, all protocols
	streamsPerProtocol = 128 // open at once, each direction, one peer and protocol

	// One gossip stream lives at a time; while connections change there are some more.
	gossipStreamsPerPeer = 16
	smallStreamsPerPeer  = 32 // of pings, addresses and dial-backs: each, one peer

	// MaxCall is the most that Limits can allow a request or response, in bytes.
	MaxCall       = 64 << 20
	memoryPerPeer = 128 << 20 // for its requests and responses and what is under way
)

func newResourceManager() (network.ResourceManager, error) {
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: 1024, ConnsInbound: 768, ConnsOutbound: 768, FD: 1024,
			Streams: 32 << 10, StreamsInbound: 16 << 10, StreamsOutbound: 16 << 10,
			Memory: 512 << 20,
		},
		Transient: rcmgr.ResourceLimits{ // not yet authenticated, or protocol not yet known
			Conns: 256, ConnsInbound: 128, ConnsOutbound: 256, FD: 256,
			Streams: 4096, StreamsInbound: 2048, StreamsOutbound: 4096,
			Memory: 64 << 20,
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: 16, ConnsInbound: 8, ConnsOutbound: 8, FD: 8,
			Streams: 2 * streamsPerPeer, StreamsInbound: streamsPerPeer, StreamsOutbound: streamsPerPeer,
			Memory: memoryPerPeer,
		},
		ProtocolDefault: rcmgr.ResourceLimits{
			Streams: 16 << 10, StreamsInbound: 8 << 10, StreamsOutbound: 8 << 10,
			Memory: 256 << 20,
		},
		ProtocolPeerDefault: rcmgr.ResourceLimits{
			Streams: 2 * streamsPerProtocol, StreamsInbound: streamsPerProtocol, StreamsOutbound: streamsPerProtocol,
			Memory: memoryPerPeer,
		},
		ProtocolPeer: protocolLimits(),
		Stream:       rcmgr.ResourceLimits{Memory: MaxCall + 1<<20},
	}.Build(scaling.Scale(1<<30, 1024))
	m, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: connsPerIP}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 64, ConnCount: connsPerIP}, {PrefixLength: 48, ConnCount: 4 * connsPerIP}}),
		rcmgr.WithNetworkPrefixLimit(
			[]rcmgr.NetworkPrefixLimit{{Network: loopback4(), ConnCount: math.MaxInt}},
			[]rcmgr.NetworkPrefixLimit{{Network: loopback6(), ConnCount: math.MaxInt}}),
		rcmgr.WithConnRateLimiters(newConnRate()))
	if err != nil {
		return nil, fmt.Errorf("resource limits: %w", err)
	}
	return m, nil
}

// protocolLimits are those of one peer and protocol where the general ones are too wide.
func protocolLimits() map[protocol.ID]rcmgr.ResourceLimits {
	small := func(streams int) rcmgr.ResourceLimits {
		return rcmgr.ResourceLimits{
			Streams: rcmgr.LimitVal(2 * streams), StreamsInbound: rcmgr.LimitVal(streams),
			StreamsOutbound: rcmgr.LimitVal(streams), Memory: 8 << 20,
		}
	}
	return map[protocol.ID]rcmgr.ResourceLimits{
		gossipProtocol:   small(gossipStreamsPerPeer),
		pingProtocol:     small(smallStreamsPerPeer),
		whereProtocol:    small(smallStreamsPerPeer),
		dialbackProtocol: small(smallStreamsPerPeer),
	}
}

func newConnRate() *rate.Limiter {
	perIP := rate.Limit{RPS: newConnsPerIP, Burst: newConnsBurst}
	return &rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{{Prefix: loopback4()}, {Prefix: loopback6()}}, // zero: unlimited
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: perIP}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 64, Limit: perIP}},
		},
	}
}

func loopback4() netip.Prefix { return netip.MustParsePrefix("127.0.0.0/8") }
func loopback6() netip.Prefix { return netip.MustParsePrefix("::1/128") }
