package p2p

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"

	"hordenode/internal/horde"
)

const (
	dialTimeout = 3 * time.Second        // a QUIC dial to a dead host gets no answer at all
	redialWait  = time.Second            // of a Call, when the last dial failed
	failFast    = 500 * time.Millisecond // after a failed dial calls fail at once for so long
	pingEvery   = 15 * time.Second
	pingTimeout = 3 * time.Second
	readyEvery  = 250 * time.Millisecond // pings of a peer that is still starting
	stableAfter = 5 * time.Second        // a connection that lived so long is redialled at once
	memberTag   = "member"
)

// redialDelays are the pauses before the second, third, … dial in a row; the last one for ever.
var redialDelays = [...]time.Duration{
	200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
}

// redialDelay is the pause after n dials that did not lead to a lasting connection.
func redialDelay(n int) time.Duration {
	if n == 0 {
		return 0
	}
	return jitter(redialDelays[min(n, len(redialDelays))-1])
}

// jitter returns d give or take a fifth, so that nodes do not move in step.
func jitter(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5+1)
}

// A link is what we know of one peer, connected or not. It exists while the peer is in
// SetPeers, connected or called.
type link struct {
	h    *Host
	id   peer.ID
	node horde.NodeID
	kick chan struct{}      // something about the link changed; holds one
	stop context.CancelFunc // ends its keeper; nil if it has none; guarded by h.mu

	mu         sync.Mutex // guards the fields below; h.mu comes before it
	wanted     bool       // in SetPeers
	addrs      []multiaddr.Multiaddr
	fresh      bool      // a connection came up and OnConnect was not told yet
	moved      bool      // it has new addresses: dial now
	suspect    bool      // a call ran into its deadline: ping now
	failed     time.Time // when the last dial failed; zero if it did not
	rtt        time.Duration
	slots      map[protocol.ID]chan struct{} // calls in flight
	announcing bool                          // OnConnect functions run
	again      bool                          // and must run once more
}

// PeerInfo is what Peers knows of a peer. Peers we should be connected to are listed even if
// we are not.
type PeerInfo struct {
	ID        horde.NodeID
	Member    bool          // in SetPeers
	Connected bool          // directly or through a relay
	Relayed   bool          // through a relay only
	Via       horde.NodeID  // that relay
	RTT       time.Duration // smoothed; 0 until measured
	Addr      string        // of the oldest connection, a multiaddr
	Inbound   bool          // the peer dialled it
	Since     time.Time     // when it opened
}

// Peers lists known peers by id.
func (h *Host) Peers() []PeerInfo {
	h.mu.Lock()
	links := slices.Collect(maps.Values(h.links))
	h.mu.Unlock()
	infos := make([]PeerInfo, 0, len(links))
	for _, l := range links {
		infos = append(infos, l.info())
	}
	slices.SortFunc(infos, func(a, b PeerInfo) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return infos
}

func (l *link) info() PeerInfo {
	l.mu.Lock()
	p := PeerInfo{ID: l.node, Member: l.wanted, RTT: l.rtt}
	l.mu.Unlock()
	for _, c := range l.h.host.Network().ConnsToPeer(l.id) {
		s, relayed := c.Stat(), !direct(c)
		if !p.Connected || p.Relayed && !relayed || p.Relayed == relayed && s.Opened.Before(p.Since) {
			p.Connected, p.Relayed, p.Via = true, relayed, viaOf(c)
			p.Addr, p.Inbound, p.Since = c.RemoteMultiaddr().String(), s.Direction == network.DirInbound, s.Opened
		}
	}
	return p
}

// SetPeers says whom to stay connected to and at which multiaddrs (a /p2p suffix is fine); it
// replaces what was said before. Entries that make no sense are logged and skipped. Peers that
// the Gate no longer lets in are disconnected.
func (h *Host) SetPeers(peers map[horde.NodeID][]string) {
	book := make(map[peer.ID][]multiaddr.Multiaddr, len(peers))
	for node, texts := range peers {
		id, err := peerID(node)
		if err != nil {
			h.log.Warn("peer skipped", "peer", node, "err", err)
			continue
		}
		if id == h.host.ID() {
			continue
		}
		for _, text := range texts {
			addrs, err := parseAddrs([]string{text})
			if err != nil {
				h.log.Warn("peer's address skipped", "peer", node, "err", err)
			}
			book[id] = append(book[id], addrs...)
		}
		if len(texts) == 0 {
			book[id] = nil // it may dial us
		}
	}
	gate := h.gate()
	h.book.list(book, func(id peer.ID) bool { return gate.MayConnect(nodeID(id)) })

	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	for id := range book {
		h.link(id).want(h.book.addrs(id))
	}
	for _, id := range h.book.wanted() {
		if _, ok := book[id]; !ok && id != h.host.ID() && gate.MayConnect(nodeID(id)) {
			h.link(id).want(h.book.addrs(id))
			book[id] = nil
		}
	}
	for id, l := range h.links {
		if _, ok := book[id]; !ok {
			l.unwant()
			h.prune(l)
		}
	}
	h.mu.Unlock()

	for _, id := range h.host.Network().Peers() {
		if !gate.MayConnect(nodeID(id)) {
			h.closePeer(id, "no longer a member")
		}
	}
}

// OnConnect adds a function that is called when a peer came, or came back, and is ready, that
// is, runs its Run and so has its handlers: time to catch up with it. Calls about one peer do
// not overlap; a function may take its time. Functions are called while Run runs.
func (h *Host) OnConnect(f func(horde.NodeID)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onConnect = append(h.onConnect, f)
}

// ClosePeer closes the connections to a peer, which may be dead: keeping them only delays the
// next ones. A member is dialled again at once.
func (h *Host) ClosePeer(id string) {
	p, err := peerID(horde.NodeID(id))
	if err != nil {
		h.log.Warn("cannot close peer", "err", err)
		return
	}
	h.closePeer(p, "asked to")
}

func (h *Host) closePeer(p peer.ID, why string) {
	h.log.Info("closing connections to peer", "peer", p.String(), "why", why)
	if err := h.host.Network().ClosePeer(p); err != nil {
		h.log.Debug("connection closed badly", "peer", p.String(), "err", err)
	}
}

// link returns the peer's link, new if need be. h.mu is held.
func (h *Host) link(id peer.ID) *link {
	l, ok := h.links[id]
	if !ok {
		l = &link{h: h, id: id, node: nodeID(id), kick: make(chan struct{}, 1), slots: map[protocol.ID]chan struct{}{}}
		h.links[id] = l
		h.startKeeper(l)
	}
	return l
}

// prune forgets a link that nobody needs. h.mu is held.
func (h *Host) prune(l *link) {
	l.mu.Lock()
	needed := l.wanted || l.reached()
	l.mu.Unlock()
	if !needed {
		l.stopKeeper()
		delete(h.links, l.id)
	}
}

// startKeeper gives the link its keeper if Run runs. h.mu is held.
func (h *Host) startKeeper(l *link) {
	r := h.running
	if r == nil || l.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(r.ctx)
	l.stop = stop
	r.keepers.Go(func() {
		defer stop()
		l.keep(ctx)
	})
}

// stopKeeper tells the keeper to end. h.mu is held.
func (l *link) stopKeeper() {
	if l.stop != nil {
		l.stop()
		l.stop = nil
	}
}

// notifiee tells links about connections. libp2p waits for it, so it does little.
func (h *Host) notifiee() network.Notifiee {
	return &network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) {
			h.mu.Lock()
			defer h.mu.Unlock()
			l := h.link(c.RemotePeer())
			l.mu.Lock()
			l.fresh, l.failed = true, time.Time{}
			l.mu.Unlock()
			if c.Stat().Direction == network.DirOutbound && direct(c) {
				h.book.worked(c.RemotePeer(), c.RemoteMultiaddr(), time.Now())
			}
			l.wake()
			h.reach.wake()
		},
		DisconnectedF: func(_ network.Network, c network.Conn) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if l, ok := h.links[c.RemotePeer()]; ok {
				l.wake()
				h.prune(l)
			}
			h.reach.wake()
		},
	}
}

func (l *link) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (l *link) connected() bool {
	return l.h.host.Network().Connectedness(l.id) == network.Connected
}

func (l *link) want(addrs []multiaddr.Multiaddr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wanted && slices.EqualFunc(l.addrs, addrs, multiaddr.Multiaddr.Equal) {
		return
	}
	l.wanted, l.moved, l.addrs = true, true, addrs
	book := l.h.host.Peerstore()
	book.ClearAddrs(l.id)
	book.AddAddrs(l.id, addrs, peerstore.PermanentAddrTTL)
	l.h.host.ConnManager().Protect(l.id, memberTag)
	l.wake()
}

func (l *link) unwant() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.wanted {
		return
	}
	l.wanted, l.addrs = false, nil
	l.h.host.Peerstore().ClearAddrs(l.id)
	l.h.host.ConnManager().Unprotect(l.id, memberTag)
	l.wake()
}

// take returns a flag and clears it.
func (l *link) take(flag *bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := *flag
	*flag = false
	return was
}

// keep is the link's keeper: connected, it pings; not connected but wanted, it dials, soon at
// first, then every 10 s for ever; else it sleeps.
func (l *link) keep(ctx context.Context) {
	var (
		up       time.Time // when the present connection was first seen; zero: none
		ready    bool      // the peer answered a ping since it came
		retry    time.Time // no dial before
		nextPing time.Time
		upgrade  time.Time // when a relayed link is next dialled directly
		asked    time.Time // when others were last asked where the peer is
		dials    int       // in a row that did not lead to a lasting connection
	)
	for ctx.Err() == nil {
		var until time.Time // when to look again unless kicked; zero: only then
		switch {
		case l.reached():
			if up.IsZero() {
				up, upgrade = time.Now(), time.Now().Add(l.h.upgradeAfter())
			}
			if !l.connected() && l.isWanted() && !time.Now().Before(upgrade) {
				upgrade = time.Now().Add(l.h.upgradeAfter())
				if err := l.dial(ctx, dialTimeout); err != nil {
					l.h.log.Debug("still through a relay", "peer", l.node, "err", err)
				}
				continue
			}
			if l.take(&l.fresh) {
				ready, nextPing = false, time.Time{}
			}
			if suspect := l.take(&l.suspect); suspect || !time.Now().Before(nextPing) {
				if answered := l.check(ctx); answered && !ready {
					ready = true
					l.h.log.Info("peer connected", "peer", l.node)
					l.exchangeRecords()
					l.announce()
				}
				nextPing = time.Now().Add(jitter(pingEvery))
				if !ready {
					nextPing = time.Now().Add(readyEvery)
				}
				continue
			}
			until = nextPing
			if !l.connected() && upgrade.Before(until) {
				until = upgrade
			}
		default:
			if !up.IsZero() {
				if ready {
					l.h.log.Info("peer lost", "peer", l.node)
				}
				if time.Since(up) >= stableAfter {
					dials = 0
				}
				up, ready, retry = time.Time{}, false, time.Now().Add(redialDelay(dials))
			}
			if !l.isWanted() {
				break
			}
			if l.take(&l.moved) {
				dials, retry = 0, time.Time{}
			}
			if !time.Now().Before(retry) {
				err := l.dial(ctx, dialTimeout)
				dials++
				retry = time.Now().Add(redialDelay(dials))
				if err != nil && ctx.Err() == nil && l.viaRelays() {
					err = l.dialRelayed(ctx)
				}
				if err == nil {
					continue
				}
				if time.Since(asked) >= askEvery && ctx.Err() == nil {
					asked = time.Now()
					l.h.spawn(func() { l.lookFor(l.h.ctx) })
				}
				l.h.log.Debug("dial failed", "peer", l.node, "dials", dials, "err", err)
			}
			until = retry
		}
		l.sleep(ctx, until)
	}
}

// sleep waits for a kick, the time, or the end of ctx.
func (l *link) sleep(ctx context.Context, until time.Time) {
	var alarm <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-ctx.Done():
	case <-l.kick:
	case <-alarm:
	}
}

func (l *link) isWanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wanted
}

// connect sees to it that there is a connection, quickly or not at all.
func (l *link) connect(ctx context.Context) error {
	if l.connected() {
		return nil
	}
	timeout := dialTimeout
	l.mu.Lock()
	failed := l.failed
	l.mu.Unlock()
	if !failed.IsZero() {
		if ago := time.Since(failed); ago < failFast {
			return fmt.Errorf("%w: a dial failed %s ago", ErrUnreachable, ago.Round(time.Millisecond))
		}
		timeout = redialWait
	}
	if err := l.dial(ctx, timeout); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return nil
}

// dialNow is connect without the haste: a failure a moment ago does not matter.
func (l *link) dialNow(ctx context.Context) error {
	if l.connected() {
		return nil
	}
	if err := l.dial(ctx, dialTimeout); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return nil
}

// haveConnection is connect for those who only want to use a connection.
func (l *link) haveConnection(context.Context) error {
	if l.connected() {
		return nil
	}
	return fmt.Errorf("%w: not connected", ErrUnreachable)
}

// dial opens a connection or joins a dial under way. It is direct and heeds no back-off of
// libp2p, which would hide a peer that is back for minutes.
func (l *link) dial(ctx context.Context, timeout time.Duration) error {
	dialCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	dialCtx = network.WithForceDirectDial(network.WithDialPeerTimeout(dialCtx, timeout), "hordenode")
	_, err := l.h.host.Network().DialPeer(dialCtx, l.id)
	if err == nil || ctx.Err() != nil { // the caller gave up: that says nothing about the peer
		return err
	}
	l.noteFailed()
	return err
}

// noteFailed makes calls fail fast for a while.
func (l *link) noteFailed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = time.Now()
}

// doubt makes the keeper ping the peer now: a call to it ran into its deadline.
func (l *link) doubt() {
	l.mu.Lock()
	l.suspect = true
	l.mu.Unlock()
	l.wake()
}

// check pings the peer and closes its connections if it does not answer twice: they are half
// open, and libp2p itself would go on using them for half a minute. It tells whether the peer
// is ready.
func (l *link) check(ctx context.Context) (ready bool) {
	if !l.h.gate().MayConnect(l.node) {
		l.h.closePeer(l.id, "no longer a member")
		return false
	}
	var err error
	for range 2 {
		if ready, err = l.ping(ctx); err == nil || ctx.Err() != nil || !l.reached() {
			return ready
		}
	}
	l.h.log.Warn("peer does not answer", "peer", l.node, "err", err)
	l.h.closePeer(l.id, "no answer to two pings")
	return false
}

// announce calls the OnConnect functions, not twice at a time for one peer.
func (l *link) announce() {
	l.mu.Lock()
	running := l.announcing
	l.announcing, l.again = true, running
	l.mu.Unlock()
	if running {
		return
	}
	l.h.spawn(func() {
		for more := true; more; {
			l.h.mu.Lock()
			callbacks := slices.Clone(l.h.onConnect)
			l.h.mu.Unlock()
			for _, f := range callbacks {
				l.h.guard("OnConnect", func() { f(l.node) })
			}
			l.mu.Lock()
			more, l.again = l.again, false
			l.announcing = more
			l.mu.Unlock()
		}
	})
}
