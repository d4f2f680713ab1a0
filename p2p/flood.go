package p2p

import (
	"errors"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"golang.org/x/time/rate"

	"hordenode/internal/horde"
)

// What no honest member's gossip does. Whoever goes on with it is disconnected, and not let in
// again for a while: its own fault must not cost the others memory or time.
const (
	floodStrikes  = 3                // and a peer is barred; one is forgiven every
	floodForgive  = 10 * time.Second // so that a program error of a moment has no consequence
	barFirst      = time.Minute      // doubled each time
	barMost       = time.Hour
	barredMost    = 4096
	maxControl    = 2000    // entries of all control lists of one message
	maxBackoffSec = 60 * 60 // of a PRUNE: gossipsub's own is a minute
	gossipStreams = 20      // new streams of one peer per minute, and at once
	subsSlack     = 16      // subscriptions in one message beyond the topics that there are
)

var errFlood = errors.New("gossip beyond what a member sends")

// bars keeps out peers that misbehave.
type bars struct {
	now  func() time.Time
	drop func(peer.ID, string) // disconnects; called without the lock

	mu sync.Mutex
	by map[peer.ID]*offender
}

type offender struct {
	strikes *rate.Limiter
	streams *rate.Limiter
	times   int // barred
	until   time.Time
	seen    time.Time
}

func newBars(now func() time.Time, drop func(peer.ID, string)) *bars {
	return &bars{now: now, drop: drop, by: map[peer.ID]*offender{}}
}

// of returns what is known of a peer. b.mu is held.
func (b *bars) of(p peer.ID, now time.Time) *offender {
	o := b.by[p]
	if o == nil {
		if len(b.by) >= barredMost {
			b.forget(now)
		}
		o = &offender{
			strikes: rate.NewLimiter(rate.Every(floodForgive), floodStrikes-1),
			streams: rate.NewLimiter(rate.Every(time.Minute/gossipStreams), gossipStreams),
		}
		b.by[p] = o
	}
	o.seen = now
	return o
}

// forget makes room: of those who are not barred, and if need be of anybody. b.mu is held.
func (b *bars) forget(now time.Time) {
	for p, o := range b.by {
		if now.After(o.until) && now.Sub(o.seen) > barMost || len(b.by) >= barredMost {
			delete(b.by, p)
		}
	}
}

// barred tells whether a peer is kept out now.
func (b *bars) barred(p peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.by[p]
	return ok && b.now().Before(o.until)
}

// strike counts a fault of a peer.
func (b *bars) strike(p peer.ID, why string) {
	now := b.now()
	b.mu.Lock()
	o := b.of(p, now)
	if o.strikes.AllowN(now, 1) || now.Before(o.until) {
		b.mu.Unlock()
		return
	}
	o.until = now.Add(min(barFirst<<min(o.times, 10), barMost))
	o.times++
	b.mu.Unlock()
	b.drop(p, why)
}

// opened counts a gossip stream of a peer: those that are cut for what they carried come again
// and again.
func (b *bars) opened(p peer.ID) bool {
	now := b.now()
	b.mu.Lock()
	ok := b.of(p, now).streams.AllowN(now, 1)
	b.mu.Unlock()
	if !ok {
		b.strike(p, "too many gossip streams")
	}
	return ok
}

// inspector looks at each RPC before gossipsub does, and refuses those that are too much.
func inspector(b *bars, topics int) func(peer.ID, *pubsub.RPC) error {
	return func(p peer.ID, rpc *pubsub.RPC) error {
		why := ""
		if len(rpc.GetSubscriptions()) > topics+subsSlack {
			why = "too many subscriptions"
		}
		c := rpc.GetControl()
		entries := len(c.GetGraft()) + len(c.GetPrune())
		for _, i := range c.GetIhave() {
			entries += 1 + len(i.GetMessageIDs())
		}
		for _, i := range c.GetIwant() {
			entries += 1 + len(i.GetMessageIDs())
		}
		for _, i := range c.GetIdontwant() {
			entries += 1 + len(i.GetMessageIDs())
		}
		for _, r := range c.GetPrune() {
			if r.GetBackoff() > maxBackoffSec || len(r.GetPeers()) > 0 {
				why = "backoff beyond reason, or peers to dial"
			}
		}
		if entries > maxControl {
			why = "too many control entries"
		}
		if why == "" {
			return nil
		}
		b.strike(p, why)
		return errFlood
	}
}

// gossipHost is the host as gossipsub sees it: its streams are counted.
type gossipHost struct {
	host.Host
	bars *bars
}

func (g gossipHost) SetStreamHandler(p protocol.ID, f network.StreamHandler) {
	g.Host.SetStreamHandler(p, g.counted(f))
}

func (g gossipHost) SetStreamHandlerMatch(p protocol.ID, m func(protocol.ID) bool, f network.StreamHandler) {
	g.Host.SetStreamHandlerMatch(p, m, g.counted(f))
}

func (g gossipHost) counted(f network.StreamHandler) network.StreamHandler {
	return func(s network.Stream) {
		if !g.bars.opened(s.Conn().RemotePeer()) {
			s.Reset()
			return
		}
		f(s)
	}
}

// barredGate is the Gate, but for those who are kept out for a while.
type barredGate struct {
	Gate
	bars *bars
}

func (g barredGate) MayConnect(n horde.NodeID) bool {
	if !g.Gate.MayConnect(n) {
		return false
	}
	p, err := peerID(n)
	return err == nil && !g.bars.barred(p)
}

func (g barredGate) MaySpeak(n horde.NodeID, protocol string) bool {
	p, err := peerID(n)
	return err == nil && !g.bars.barred(p) && g.Gate.MaySpeak(n, protocol)
}
