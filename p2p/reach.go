package p2p

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/observedaddrs"
	relaysvc "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"hordenode/internal/horde"
)

// Reach is what a host does to be reached and to reach others, beside dialling the addresses
// that SetPeers names. The zero value does nothing of it.
//
//	others can dial us (dialback.go) ──► we relay for members that cannot be dialled
//	they cannot ──► we keep a place at two members that relay, and announce it (relayed.go);
//	                links that came about so are replaced by direct ones where holes can be punched
type Reach struct {
	// Bootstrap are multiaddrs ending in /p2p/ID of members to stay connected to whatever
	// SetPeers says; the Gate still decides.
	Bootstrap []string
	// Store keeps the last addresses that members were reached at; nil: they are forgotten.
	Store Store
	// DialRanges are networks that addresses which we learned may be in; public ones always
	// may, and those that a member announced itself.
	DialRanges []netip.Prefix
	// PortMap asks the router of a home network (UPnP, NAT-PMP) to forward our ports.
	PortMap bool
	// Relay lets others' connections pass through this node if it can be dialled, and asks others
	// for the same if it cannot.
	Relay bool
	// LAN finds members of this federation in the local network by multicast DNS.
	LAN bool
	// Every is how often others are asked to dial us; 0 = 5 min. It is shorter while unknown.
	Every time.Duration
}

const (
	probeEvery   = 5 * time.Minute
	probeUnknown = 10 * time.Second // while nobody answered yet
	lookAround   = 5 * time.Second  // own addresses, reservations
	saveEvery    = 10 * time.Second
	smallOffice  = 8 // members: below it one observer of our address is enough
)

// reachability is what a host knows of how it is reached.
type reachability struct {
	host *Host
	kick chan struct{} // look again now; holds one

	mu       sync.Mutex
	own      record
	records  map[peer.ID]record
	dialable Dialable
	probed   time.Time
	dialback map[peer.ID]time.Time // when we last dialled back for a peer
	service  *relaysvc.Relay       // runs while we relay
	places   map[peer.ID]place     // at relays
}

func newReachability(h *Host) *reachability {
	return &reachability{
		host: h, kick: make(chan struct{}, 1),
		records: map[peer.ID]record{}, dialback: map[peer.ID]time.Time{}, places: map[peer.ID]place{},
	}
}

func (r *reachability) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *reachability) relaying() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.service != nil
}

// mayDialBack tells whether a peer may be dialled back for now, and counts it.
func (r *reachability) mayDialBack(p peer.ID, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for q, at := range r.dialback {
		if now.Sub(at) >= dialbackEvery {
			delete(r.dialback, q)
		}
	}
	if _, ok := r.dialback[p]; ok {
		return false
	}
	r.dialback[p] = now
	return true
}

// ReachStats is how a host is reached.
type ReachStats struct {
	Dialable Dialable
	Relaying bool           // for others
	Relays   []horde.NodeID // where it keeps a place, being not dialable
}

// Reach returns how the host is reached, as of the last look.
func (h *Host) Reach() ReachStats {
	h.reach.mu.Lock()
	defer h.reach.mu.Unlock()
	s := ReachStats{Dialable: h.reach.dialable, Relaying: h.reach.service != nil}
	for p := range h.reach.places {
		s.Relays = append(s.Relays, nodeID(p))
	}
	slices.Sort(s.Relays)
	return s
}

// active tells whether anything of Reach is on that needs looking after.
func (c Reach) active() bool { return c.Relay || c.PortMap }

// keepReach looks after how we are reached until ctx is done.
func (h *Host) keepReach(ctx context.Context) {
	every := lookAround
	if e := h.cfg.Reach.Every; e > 0 {
		every = min(every, e)
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		h.lookAround(ctx)
		select {
		case <-ctx.Done():
			h.stopRelaying()
			return
		case <-h.reach.kick:
		case <-t.C:
		}
	}
}

func (h *Host) lookAround(ctx context.Context) {
	r := h.reach
	if h.cfg.Reach.Relay {
		if r.probeDue(time.Now(), h.cfg.Reach.Every) && len(h.connectedLinks((*link).connected)) > 0 {
			d := h.probe(ctx)
			if r.judged(d, time.Now()) {
				h.log.Info("whether others can dial us", "dialable", d.String())
			}
		}
		switch d := h.Reach().Dialable; d {
		case DialableYes:
			h.startRelaying()
			r.leaveRelays()
		case DialableNo:
			h.stopRelaying()
			h.keepPlaces(ctx)
		}
	}
	h.tellWhere(ctx)
}

func (r *reachability) probeDue(now time.Time, every time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if every == 0 {
		every = probeEvery
	}
	if r.dialable == DialableUnknown {
		every = min(every, probeUnknown)
	}
	return r.probed.IsZero() || now.Sub(r.probed) >= every
}

// judged notes a verdict and tells whether it is another. That nobody could be asked changes
// nothing.
func (r *reachability) judged(d Dialable, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probed = now
	if d == DialableUnknown || d == r.dialable {
		return false
	}
	r.dialable = d
	return true
}

// directAddrs are where others may dial us without a relay.
func (h *Host) directAddrs() []string {
	if len(h.cfg.Announce) > 0 {
		return slices.Clone(h.cfg.Announce)
	}
	addrs := h.ListenAddrs()
	if !h.cfg.Reach.active() {
		return addrs
	}
	all, ok := h.host.(interface{ AllAddrs() []multiaddr.Multiaddr })
	if !ok {
		return addrs
	}
	var seen []string // by others, or mapped at the router
	for _, a := range all.AllAddrs() {
		if text := a.String(); manet.IsPublicAddr(a) && !isCircuit(a) && !slices.Contains(addrs, text) {
			seen = append(seen, text)
		}
	}
	slices.Sort(seen)
	return append(addrs, seen...)
}

// relayedAddrs are the addresses of our places at relays.
func (h *Host) relayedAddrs() []string {
	h.reach.mu.Lock()
	defer h.reach.mu.Unlock()
	var out []string
	for _, p := range slices.Sorted(maps.Keys(h.reach.places)) {
		out = append(out, h.reach.places[p].addrs...)
	}
	return out
}

// keepBook writes the addresses that worked to disk, now and then and at the end.
func (h *Host) keepBook(ctx context.Context) {
	t := time.NewTicker(saveEvery)
	defer t.Stop()
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-t.C:
		}
		if err := h.book.save(h.cfg.Reach.Store); err != nil {
			h.log.Warn("addresses of members not kept", "err", err)
		}
	}
}

// isCircuit tells whether an address leads through a relay.
func isCircuit(a multiaddr.Multiaddr) bool {
	_, err := a.ValueForProtocol(multiaddr.P_CIRCUIT)
	return err == nil
}

var observers sync.Once

// trustFewObservers lets one peer be enough to learn our public address. libp2p wants four for
// each transport, which small federations never have. It is a setting of the process, made before
// its first host starts.
func trustFewObservers() { observers.Do(func() { observedaddrs.ActivationThresh = 1 }) }

// watchAddrs looks again when libp2p has learned another address of ours: the router has mapped
// a port, or others see us elsewhere.
func (h *Host) watchAddrs(ctx context.Context) {
	sub, err := h.host.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated))
	if err != nil {
		h.log.Warn("changes of own addresses are noticed late", "err", err)
		return
	}
	defer func() {
		if err := sub.Close(); err != nil {
			h.log.Debug("subscription closed badly", "err", err)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-sub.Out():
			if !ok {
				return
			}
			h.reach.wake()
		}
	}
}

// direct tells whether a connection leads straight to its peer.
func direct(c network.Conn) bool { return !c.Stat().Limited && !isCircuit(c.RemoteMultiaddr()) }
