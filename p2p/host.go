package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"

	"hordenode/internal/horde"
)

// Config says who we are, where we listen and whom we ask about others.
type Config struct {
	Key ed25519.PrivateKey // the node's identity, from LoadOrCreateKey

	// Listen are the multiaddrs to listen on: TCP and QUIC, best on one port number, such as
	// /ip4/0.0.0.0/tcp/4101 and /ip4/0.0.0.0/udp/4101/quic-v1. Every one must work.
	Listen []string
	// Announce are the addresses that others should dial; empty: those we listen on.
	Announce []string

	Topics     string                 // prefix of all gossip topics, /h/<net8>/
	TopicNames []string               // what may follow it: topics of other names do not exist, but
	TopicOK    func(name string) bool // those that this lets in, which is asked often; nil: none
	MoreTopics int                    // that a node may be in at once of those
	// Members is about how many nodes the federation has; below 24 (and so for 0) gossip
	// keeps fewer links.
	Members int
	Reach   Reach
	// Heartbeat is how often gossip mends its links: 0 is 1 s, which is also how long a new
	// connection may take to carry messages. Tests may want less.
	Heartbeat time.Duration

	Gate Gate
	Log  *slog.Logger // nil: no log

	blockDial func(peer.ID, multiaddr.Multiaddr) bool // tests: dials that must fail
	openLAN   func() (lanConn, error)                 // tests: instead of real multicast
	upgrade   time.Duration                           // tests: instead of upgradeEvery
}

func (c Config) validate() error {
	switch {
	case len(c.Key) != ed25519.PrivateKeySize:
		return errors.New("no ed25519 key")
	case c.Gate == nil:
		return errors.New("no gate")
	case c.Heartbeat < 0:
		return errors.New("negative heartbeat")
	case len(c.TopicNames) > 0 && c.Topics == "":
		return errors.New("topics without a prefix")
	}
	return nil
}

// A Host is this node among its peers. Its methods may be called from any goroutine.
type Host struct {
	cfg   Config
	log   *slog.Logger
	id    horde.NodeID
	host  host.Host
	gater *gater
	ps    *pubsub.PubSub
	meter *meter
	book  *addrBook
	reach *reachability
	bars  *bars

	ctx  context.Context // the host's life: handlers, callbacks, topics
	stop context.CancelFunc
	work sync.WaitGroup // what enter let in

	mu        sync.Mutex // guards the fields below; never held across a call to the Gate
	closed    bool
	links     map[peer.ID]*link
	limits    map[protocol.ID]Limits
	topics    map[string]*Topic
	layers    []*StreamLayer
	onConnect []func(horde.NodeID)
	running   *running // nil unless Run runs
}

// running is what Run owns: the keepers of all links.
type running struct {
	ctx     context.Context
	keepers sync.WaitGroup
}

// Listen opens the host: from now on members may connect, and Call dials. It stays connected
// to members by itself only while Run runs. The caller closes the host.
func Listen(cfg Config) (_ *Host, err error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("p2p: %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Host{
		cfg:    cfg,
		log:    cfg.Log,
		book:   newAddrBook(cfg.Reach.DialRanges),
		meter:  newMeter(),
		links:  map[peer.ID]*link{},
		limits: map[protocol.ID]Limits{},
		topics: map[string]*Topic{},
	}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.reach = newReachability(h)
	h.bars = newBars(time.Now, func(p peer.ID, why string) { h.spawn(func() { h.closePeer(p, why) }) })
	h.gater = &gater{gate: h.gate(), book: h.book, block: cfg.blockDial}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if err := h.openBook(); err != nil {
		return nil, fmt.Errorf("p2p: %w", err)
	}
	if h.host, err = newLibp2p(cfg, h.gater); err != nil {
		return nil, fmt.Errorf("p2p: %w", err)
	}
	h.id = nodeID(h.host.ID())
	if h.ps, err = newPubSub(h.ctx, gossipHost{h.host, h.bars}, cfg, h.gate(), h.allowed, h.bars, h.meter); err != nil {
		return nil, fmt.Errorf("p2p: start gossip: %w", err)
	}
	h.host.Network().Notify(h.notifiee())
	h.handle(pingProtocol, Limits{Relayed: true}, nil, h.answerPing)
	h.handle(whereProtocol, Limits{Request: whereMax, Response: whereMax, Relayed: true}, nil, h.answerWhere)
	h.handle(dialbackProtocol, Limits{Request: whereMax, Response: whereMax}, nil, h.answerDialback)
	if err := h.listen(cfg.Listen); err != nil {
		return nil, fmt.Errorf("p2p: %w", err)
	}
	return h, nil
}

// newLibp2p makes a libp2p host that does not listen yet.
func newLibp2p(cfg Config, g *gater) (host.Host, error) {
	key, err := libp2pcrypto.UnmarshalEd25519PrivateKey(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	announce, err := parseAddrs(cfg.Announce)
	if err != nil {
		return nil, fmt.Errorf("announce: %w", err)
	}
	conns, err := connmgr.NewConnManager(connsLow, connsHigh, connmgr.WithGracePeriod(time.Minute))
	if err != nil {
		return nil, fmt.Errorf("connection manager: %w", err)
	}
	resources, err := newResourceManager()
	if err != nil {
		return nil, errors.Join(err, conns.Close())
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.NoListenAddrs,
		// Without SO_REUSEPORT a port that is in use is an error, as it should be: two nodes
		// that share a port would each get some of the other's connections.
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		libp2p.Transport(libp2pquic.NewTransport),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Security(noise.ID, noise.New),
		libp2p.DefaultMuxers,
		libp2p.ConnectionGater(g),
		libp2p.ConnectionManager(conns),
		libp2p.ResourceManager(resources),
		libp2p.AddrsFactory(func(listening []multiaddr.Multiaddr) []multiaddr.Multiaddr {
			if len(announce) > 0 {
				return announce
			}
			return listening
		}),
		libp2p.UserAgent("hordenode"),
		libp2p.Ping(false),               // ours goes through the call path and so tests it
		libp2p.ForceReachabilityPublic(), // no probing by libp2p: see dialback.go
		libp2p.DisableMetrics(),
	}
	h, err := libp2p.New(append(opts, cfg.reachOptions()...)...)
	if err != nil {
		return nil, errors.Join(err, conns.Close(), resources.Close())
	}
	return h, nil
}

// reachOptions are libp2p's parts in reaching and being reached.
func (c Config) reachOptions() (opts []libp2p.Option) {
	if c.Reach.Relay {
		opts = append(opts, libp2p.EnableRelay(), libp2p.EnableHolePunching())
	} else {
		opts = append(opts, libp2p.DisableRelay())
	}
	if c.Reach.PortMap {
		opts = append(opts, libp2p.NATPortMap())
	}
	if !c.Reach.active() {
		return append(opts, libp2p.DisableIdentifyAddressDiscovery())
	}
	if c.Members < smallOffice {
		trustFewObservers()
	}
	return opts
}

// openBook fills the book of addresses with the operator's and with what was kept.
func (h *Host) openBook() error {
	if err := h.book.bootstrap(h.cfg.Reach.Bootstrap); err != nil {
		return err
	}
	if h.cfg.Reach.Store == nil {
		return nil
	}
	if err := h.book.load(h.cfg.Reach.Store); err != nil {
		h.log.Warn("remembered addresses are not used", "err", err)
	}
	return nil
}

// gate is the Gate, but for peers that are kept out for what they did.
func (h *Host) gate() Gate { return barredGate{h.cfg.Gate, h.bars} }

// Above connsHigh connections those to peers that are not in SetPeers are closed.
const (
	connsLow  = 256
	connsHigh = 384
)

// listen opens every address or fails, naming the one that does not work.
func (h *Host) listen(addrs []string) error {
	for _, text := range addrs {
		addr, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			return fmt.Errorf("listen on %q: not a multiaddr: %w", text, err)
		}
		if err := h.host.Network().Listen(addr); err != nil {
			return fmt.Errorf("listen on %s (is the port in use?): %w", text, err)
		}
	}
	return nil
}

// parseAddrs reads multiaddrs and drops a trailing /p2p/<id>.
func parseAddrs(texts []string) ([]multiaddr.Multiaddr, error) {
	addrs := make([]multiaddr.Multiaddr, 0, len(texts))
	for _, text := range texts {
		addr, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			return addrs, fmt.Errorf("%q is not a multiaddr: %w", text, err)
		}
		if addr, _ = peer.SplitAddr(addr); addr == nil {
			return addrs, fmt.Errorf("%q names no address", text)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// ID returns our own name.
func (h *Host) ID() horde.NodeID { return h.id }

// PublicKey returns the key that our signatures verify with.
func (h *Host) PublicKey() ed25519.PublicKey { return h.cfg.Key.Public().(ed25519.PublicKey) }

// Sign signs msg as it is (plain ed25519). msg begins with a string that no other use of this
// key begins with; for anything new take SignFor, which sees to that.
func (h *Host) Sign(msg []byte) []byte { return ed25519.Sign(h.cfg.Key, msg) }

// SignFor signs msg for one purpose; see Sign and Verify of this package.
func (h *Host) SignFor(domain string, msg []byte) ([]byte, error) {
	return Sign(h.cfg.Key, domain, msg)
}

// Addrs returns where others reach us, without /p2p: what is announced, else what we listen
// on, with the interfaces' addresses in place of 0.0.0.0, and what others see us at; and where
// we are reached through relays.
func (h *Host) Addrs() []string { return append(h.directAddrs(), h.relayedAddrs()...) }

// ListenAddrs returns what we listen on, ports and interfaces resolved.
func (h *Host) ListenAddrs() []string {
	addrs, err := h.host.Network().InterfaceListenAddresses()
	if err != nil {
		h.log.Warn("interface addresses unknown", "err", err)
		addrs = h.host.Network().ListenAddresses()
	}
	texts := make([]string, 0, len(addrs))
	for _, a := range addrs {
		if !isCircuit(a) {
			texts = append(texts, a.String())
		}
	}
	return texts
}

// Run keeps the host connected to its peers, measures their round trips and calls the
// OnConnect functions, until ctx or the host ends. It returns nil then. Run it once at a time,
// and after Handle, Join and Streams: only now do others learn that we are ready.
func (h *Host) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r := &running{ctx: ctx}
	h.mu.Lock()
	if h.closed || h.running != nil {
		defer h.mu.Unlock()
		if h.closed {
			return fmt.Errorf("run: %w", ErrClosed)
		}
		return errors.New("p2p: run: already running")
	}
	h.running = r
	for _, p := range h.book.wanted() {
		h.wantBoot(p)
	}
	for _, l := range h.links {
		h.startKeeper(l)
	}
	h.mu.Unlock()
	for _, part := range h.reachParts() {
		r.keepers.Go(func() { part(ctx) })
	}

	select {
	case <-ctx.Done():
	case <-h.ctx.Done():
	}

	stop()
	h.mu.Lock()
	h.running = nil
	for _, l := range h.links {
		l.stopKeeper()
	}
	h.mu.Unlock()
	r.keepers.Wait()
	return nil
}

// reachParts are what Run does to reach others and be reached.
func (h *Host) reachParts() (parts []func(context.Context)) {
	if h.cfg.Reach.active() {
		parts = append(parts, h.keepReach, h.watchAddrs)
	}
	if h.cfg.Reach.Store != nil {
		parts = append(parts, h.keepBook)
	}
	if h.cfg.Reach.LAN {
		parts = append(parts, h.keepLAN)
	}
	return parts
}

// wantBoot has a member of the bootstrap list dialled, if the Gate lets it in. h.mu is held.
func (h *Host) wantBoot(p peer.ID) {
	if p != h.host.ID() && h.gate().MayConnect(nodeID(p)) {
		h.link(p).want(h.book.addrs(p))
	}
}

// closeTimeout is how long Close waits for handlers to heed their context.
const closeTimeout = 5 * time.Second

// Close ends all connections, streams and topics, cancels the contexts of handlers and waits
// for them. It returns an error if one of them does not return; a second Close returns nil.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	layers := h.layers
	h.mu.Unlock()

	h.stop()
	for _, l := range layers {
		l.shut()
	}
	var err error
	if h.host != nil {
		err = h.host.Close()
	}
	done := make(chan struct{})
	go func() {
		h.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return err
	case <-time.After(closeTimeout):
		return errors.Join(err, fmt.Errorf("p2p: close: a handler still runs %s after its context ended", closeTimeout))
	}
}

// spawn runs f in a goroutine that Close waits for, or not at all once the host is closed.
func (h *Host) spawn(f func()) {
	if !h.enter() {
		return
	}
	go func() {
		defer h.work.Done()
		f()
	}()
}

// enter makes Close wait for the caller until h.work.Done, or reports false.
func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.work.Add(1)
	return true
}

// guard calls f, others' code, and keeps its panic from ending the node.
func (h *Host) guard(what string, f func()) (panicked bool) {
	defer func() {
		if v := recover(); v != nil {
			panicked = true
			h.log.Error("panic in a p2p callback", "in", what, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	f()
	return false
}
