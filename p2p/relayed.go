package p2p

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	relaysvc "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/multiformats/go-multiaddr"

	"hordenode/internal/horde"
)

// A relayed connection is for small things: claims, status, syncs. Its limits are those of a
// community, not of libp2p's public relays (128 KiB, 2 min), which would cut a page of offers.
const (
	relayBytes     = 32 << 20 // each way
	relayTime      = 10 * time.Minute
	relayCircuits  = 64  // open at once, of one member
	relayPlaces    = 128 // members that are reached through one relay
	relayPerIP     = 64
	relayBuffer    = 8 << 10
	wantPlaces     = 2 // relays that we keep a place at
	reserveTimeout = 5 * time.Second
	upgradeEvery   = 30 * time.Second // a relayed link is dialled directly so often
)

// A place is a reservation at a relay.
type place struct {
	until time.Time // renewed halfway
	renew time.Time
	addrs []string // to announce, through the relay
}

// startRelaying lets members connect through us.
func (h *Host) startRelaying() {
	if h.reach.relaying() {
		return
	}
	s, err := relaysvc.New(h.host,
		relaysvc.WithACL(relayGate{h.gate()}),
		relaysvc.WithReservationAddressFilter(func(multiaddr.Multiaddr) bool { return true }),
		relaysvc.WithResources(relaysvc.Resources{
			Limit:                 &relaysvc.RelayLimit{Duration: relayTime, Data: relayBytes},
			ReservationTTL:        time.Hour,
			MaxReservations:       relayPlaces,
			MaxCircuits:           relayCircuits,
			BufferSize:            relayBuffer,
			MaxReservationsPerIP:  relayPerIP,
			MaxReservationsPerASN: relayPlaces,
		}))
	if err != nil {
		h.log.Warn("not relaying for others", "err", err)
		return
	}
	h.reach.mu.Lock()
	h.reach.service = s
	h.reach.mu.Unlock()
	h.log.Info("relaying for members that cannot be dialled")
}

func (h *Host) stopRelaying() {
	h.reach.mu.Lock()
	s := h.reach.service
	h.reach.service = nil
	h.reach.mu.Unlock()
	if s == nil {
		return
	}
	if err := s.Close(); err != nil {
		h.log.Warn("relay service closed badly", "err", err)
	}
}

// relayGate relays between members only.
type relayGate struct{ gate Gate }

func (g relayGate) AllowReserve(p peer.ID, _ multiaddr.Multiaddr) bool {
	return g.gate.MayConnect(nodeID(p))
}

func (g relayGate) AllowConnect(from peer.ID, _ multiaddr.Multiaddr, to peer.ID) bool {
	return g.gate.MayConnect(nodeID(from)) && g.gate.MayConnect(nodeID(to))
}

// leaveRelays gives up our places: we can be dialled.
func (r *reachability) leaveRelays() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.places)
}

// keepPlaces keeps a place at wantPlaces relays, the nearest that offer one.
func (h *Host) keepPlaces(ctx context.Context) {
	now := time.Now()
	offers := h.connectedLinks(func(l *link) bool {
		r, ok := h.recordOf(l.id)
		return ok && r.Relay && l.connected()
	})
	slices.SortFunc(offers, func(a, b *link) int { return int(a.roundTrip() - b.roundTrip()) })
	h.reach.mu.Lock()
	for p, at := range h.reach.places {
		there := slices.ContainsFunc(offers, func(l *link) bool { return l.id == p })
		if !there || !now.Before(at.until) {
			delete(h.reach.places, p)
		}
	}
	kept := len(h.reach.places)
	due := map[peer.ID]bool{}
	for p, at := range h.reach.places {
		due[p] = !now.Before(at.renew)
	}
	h.reach.mu.Unlock()
	for _, l := range offers {
		renew, have := due[l.id]
		if have && !renew || !have && kept >= wantPlaces {
			continue
		}
		if err := h.reserve(ctx, l); err != nil {
			h.log.Info("no place at a relay", "relay", l.node, "err", err)
			continue
		}
		if !have {
			kept++
			h.log.Info("reachable through a relay", "relay", l.node)
		}
	}
}

// reserve takes or renews a place at a relay.
func (h *Host) reserve(ctx context.Context, l *link) error {
	ctx, cancel := context.WithTimeout(ctx, reserveTimeout)
	defer cancel()
	res, err := circuit.Reserve(network.WithNoDial(ctx, "connected"), h.host, peer.AddrInfo{ID: l.id})
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	now := time.Now()
	at := place{until: res.Expiration, renew: now.Add(res.Expiration.Sub(now) / 2)}
	for _, a := range h.book.addrs(l.id) {
		if !isCircuit(a) && len(at.addrs) < 2 {
			at.addrs = append(at.addrs, a.String()+"/p2p/"+string(l.node)+"/p2p-circuit")
		}
	}
	if len(at.addrs) == 0 { // it dialled us, and has told no address: others know one
		at.addrs = []string{"/p2p/" + string(l.node) + "/p2p-circuit"}
	}
	h.reach.mu.Lock()
	defer h.reach.mu.Unlock()
	h.reach.places[l.id] = at
	return nil
}

// upgradeAfter is how long a relayed link waits for the next direct dial.
func (h *Host) upgradeAfter() time.Duration {
	if h.cfg.upgrade > 0 {
		return h.cfg.upgrade
	}
	return jitter(upgradeEvery)
}

func (l *link) roundTrip() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rtt
}

// reached tells whether there is a connection, direct or through a relay.
func (l *link) reached() bool {
	switch l.h.host.Network().Connectedness(l.id) {
	case network.Connected, network.Limited:
		return true
	}
	return false
}

// connectAny is connect, but content with a relayed connection.
func (l *link) connectAny(ctx context.Context) error {
	if l.reached() {
		return nil
	}
	err := l.connect(ctx)
	if err != nil && ctx.Err() == nil && l.viaRelays() {
		return l.dialRelayed(ctx)
	}
	return err
}

// haveAny is haveConnection, but content with a relayed one.
func (l *link) haveAny(context.Context) error {
	if l.reached() {
		return nil
	}
	return fmt.Errorf("%w: not connected", ErrUnreachable)
}

// viaRelays tells whether the peer is announced at relays.
func (l *link) viaRelays() bool { return slices.ContainsFunc(l.h.book.addrs(l.id), isCircuit) }

// dialRelayed connects through one of the peer's relays.
func (l *link) dialRelayed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(network.WithDialPeerTimeout(ctx, dialTimeout), dialTimeout)
	defer cancel()
	if s, ok := l.h.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(l.id) // it would hide a peer that is back
	}
	if _, err := l.h.host.Network().DialPeer(ctx, l.id); err != nil {
		return fmt.Errorf("%w: through relays: %w", ErrUnreachable, err)
	}
	return nil
}

// viaOf is the relay that a connection leads through; empty if it is direct.
func viaOf(c network.Conn) horde.NodeID {
	if direct(c) {
		return ""
	}
	relay, err := c.RemoteMultiaddr().ValueForProtocol(multiaddr.P_P2P)
	if err != nil {
		return "relay"
	}
	return horde.NodeID(relay)
}
