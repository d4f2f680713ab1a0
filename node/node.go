package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"hordenode/api"
	"hordenode/api/ratelimit"
	"hordenode/consensus"
	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/node/blob"
	"hordenode/node/ipcheck"
	"hordenode/node/jobs"
	"hordenode/node/jobs/exchange"
	"hordenode/node/jobs/relay"
	"hordenode/node/jobs/standby"
	"hordenode/node/modelref"
	"hordenode/node/pricing"
	"hordenode/node/webhook"
	"hordenode/p2p"
)

// A Node is one member of a federation, with all its parts.
type Node struct {
	cfg     Config
	log     *slog.Logger
	rand    io.Reader
	self    horde.NodeID
	key     ed25519.PrivateKey
	fed     federation
	cluster ledger.ClusterID // fed.Cluster
	genesis []byte           // the first command, while it is not in the ledger yet
	started time.Time

	dir       *dataDir
	disk      *diskGuard
	peers     *acquaintances
	met       chan struct{} // a member connected; capacity 1
	roster    *roster
	host      *p2p.Host
	machine   *ledger.Machine
	group     *consensus.Group
	proposer  *proposer
	laggards  laggards
	ledger    *ledger.Client
	models    *modelref.Store
	blobs     blob.Store
	standby   *standby.Store  // of other homes' requests
	copier    *standby.Copier // of this home's
	prices    *pricing.List
	ownPrices *pricing.Model // the operator's; nil: none

	content    content
	contentNew pending

	webhooks  *webhook.Sender
	home      *jobs.Home
	exchange  *exchange.Exchange
	relay     *relay.Store
	reach     reach
	network   *network
	api       *api.Server
	limits    *ratelimit.Counter
	limitNews *p2p.Topic // what limits tells
	addresses *api.Addresses
	listener  net.Listener // of the API
	control   net.Listener
	admin     net.Listener // nil if off

	announced time.Time // last UpdateMember of this node; keepRoster's own
	reports   reports
	load      load
	ticks     ticks
	bars      bars
	ipcheck   *ipcheck.Checker // nil: off
	ready     chan struct{}
	closers   []func() error // in the order of opening
}

// New opens all parts of a node: the first start of an empty directory founds a federation
// or, with a token, joins one. Nothing is served before Run. On error everything that was
// opened is closed again.
func New(cfg Config) (n *Node, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n = &Node{
		cfg: cfg, log: cfg.Log, rand: rand.Reader, started: time.Now(), ready: make(chan struct{}),
		peers: newAcquaintances(), met: make(chan struct{}, 1),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
			n = nil
		}
	}()
	for _, open := range []struct {
		part string
		do   func() error
	}{
		{"data directory", n.openDir},
		{"API address", n.listenAPI}, // before anything is founded: a port in use should cost nothing
		{"admin address", n.listenAdmin},
		{"federation", n.findFederation},
		{"network", n.openHost},
		{"ledger", n.openLedger},
		{"model references", n.openModels},
		{"requests", n.openJobs},
		{"rate limits", n.openLimits},
		{"API", n.openAPI},
		{"control socket", n.openControl},
	} {
		if err := open.do(); err != nil {
			return n, fmt.Errorf("%s: %w", open.part, err)
		}
	}
	return n, nil
}

func (n *Node) openDir() (err error) {
	if n.dir, err = openDataDir(n.cfg.Data); err != nil {
		return err
	}
	n.onClose(n.dir.Close)
	if n.disk, err = newDiskGuard(n.cfg.Data, n.cfg, n.log.With("part", "disk")); err != nil {
		return err
	}
	if err := n.disk.admit(); err != nil {
		return err
	}
	if n.key, err = p2p.LoadOrCreateKey(n.dir.join("node.key")); err != nil {
		return err
	}
	n.self, err = p2p.IDFromKey(n.key.Public().(ed25519.PublicKey))
	return err
}

func (n *Node) listenAPI() (err error) {
	n.listener, err = net.Listen("tcp", n.cfg.API)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", n.cfg.API, err)
	}
	n.onClose(func() error { return ignoreClosed(n.listener.Close()) })
	return nil
}

// openHost starts libp2p. The gate lets in whom the roster knows.
func (n *Node) openHost() (err error) {
	n.host, err = p2p.Listen(p2p.Config{
		Key:        n.key,
		Listen:     n.cfg.P2P,
		Announce:   n.cfg.Announce,
		Topics:     topicPrefix(n.fed),
		TopicNames: []string{exchange.TopicImage, exchange.TopicText, exchange.TopicAlchemy, exchange.TopicNews, topicLimits},
		Members:    len(n.fed.Members),
		TopicOK:    exchange.ShardTopic,
		MoreTopics: 2 * exchange.MaxShards,
		Reach:      n.p2pReach(),
		Gate:       n.openLinks(),
		Log:        n.log.With("part", "p2p"),
	})
	if err != nil {
		return err
	}
	n.onClose(n.host.Close)
	return nil
}

// openLedger opens the replicated log and, in a new federation, writes its first entry.
func (n *Node) openLedger() (err error) {
	n.machine = ledger.NewMachine()
	n.machine.SupportOnly(n.cfg.supported())
	profile := consensus.LAN
	if n.cfg.Profile == "wan" {
		profile = consensus.WAN
	}
	n.group, err = n.openGroup(consensus.Config{
		Dir:       n.dir.join("ledger"),
		Self:      string(n.self),
		Streams:   n.host.Streams(raftProtocol(n.fed.Epoch)),
		Profile:   profile,
		ClosePeer: n.host.ClosePeer,
		Now:       time.Now,
		Log:       n.log.With("part", "consensus"),
		Archive:   n.archiveDir(),

		SnapshotAfter: n.cfg.TestSnapshotAfter, Trailing: n.cfg.TestSnapshotAfter,
	})
	if err != nil {
		return err
	}
	n.onClose(n.group.Close)
	boot, err := n.dir.nextBoot()
	if err != nil {
		return err
	}
	sync := &barrier{run: n.syncOnce}
	n.proposer = &proposer{
		self: n.self, cluster: n.cluster, boot: boot, sign: n.sign,
		allowed: n.machine.Reader().Allowed,
		deliver: n.deliver, applied: n.group.WaitApplied, spread: n.spread, barrier: sync.Wait,
		log:   n.log.With("part", "proposer"),
		calls: make(chan *call, maxQueued),
	}
	n.ledger = ledger.NewClient(n.machine, n.proposer, n.rand)
	if err := n.openSealKey(); err != nil {
		return err
	}
	n.addresses = api.NewAddresses()
	for proto, h := range map[string]p2p.Handler{
		protoApply:   n.sequence,
		protoBarrier: n.handleBarrier,
		protoApplied: n.handleApplied,
		protoPromote: n.handlePromote,
		protoAddress: n.handleAddress,
		protoHello:   n.handleHello,
		protoRejoin:  n.handleRejoin,
		protoSealKey: n.handleSealKey,
	} {
		n.host.Handle(proto, p2p.Limits{Relayed: true}, h)
	}
	n.host.Handle(protoContent, p2p.Limits{Response: modelref.MaxSize}, n.handleContent)
	n.host.OnConnect(func(horde.NodeID) {
		select {
		case n.met <- struct{}{}:
		default:
		}
	})
	if err := n.raise(); err != nil {
		return err
	}
	if n.genesis != nil {
		return n.found()
	}
	return nil
}

// openModels loads the model references; one that cannot be read is tried again later.
func (n *Node) openModels() error {
	n.models = modelref.Open(context.Background(), modelref.Config{
		Dir:    n.dir.join("models"),
		Images: orElse(n.cfg.ImageModels, modelref.BuiltinImages),
		Texts:  orElse(n.cfg.TextModels, modelref.BuiltinTexts),
		Fetch:  n.references(),
		Log:    n.log.With("part", "modelref"),
	})
	return nil
}

// orElse returns the sources, or the given one if there are none.
func orElse(sources []string, builtin string) []string {
	if len(sources) > 0 {
		return sources
	}
	return []string{builtin}
}

// openJobs opens this node's requests and the view of everybody else's.
func (n *Node) openJobs() (err error) {
	if err := n.openBlobs(); err != nil {
		return err
	}
	if err := n.openStandby(); err != nil {
		return err
	}
	images := copiedStore{n.blobs, lateHome{n}, n.cfg.S3 != nil}
	if err := n.openPrices(); err != nil {
		return err
	}
	ref, ear := references{n.models}, &ear{}
	if err := n.openWebhooks(); err != nil {
		return err
	}
	n.home, err = jobs.Open(jobs.Config{
		Dir:     n.dir.join("local"),
		Self:    n.self,
		Ledger:  n.ledger,
		Pricer:  n.prices,
		Matcher: matcher(ref),
		Watcher: ear,
		Blobs:   images,
		Backup:  n.copier,
		CutOff:  n.cutOff,
		Flush:   n.proposer.Flush,
		Tell:    n.webhooks,
		Now:     time.Now,
		Rand:    n.rand,
		Log:     n.log.With("part", "jobs"),
	})
	if err != nil {
		return err
	}
	n.onClose(n.home.Close)
	n.host.Handle(protoStatus, p2p.Limits{Relayed: true}, n.handleStatus) // it tells of the requests: not earlier
	outbox := n.home.Outbox()
	n.proposer.outbox = outbox
	n.network = &network{host: n.host, topics: map[string]*p2p.Topic{}}
	n.relay, err = relay.Open(relay.Config{Dir: n.dir.join("relay"), Log: n.log.With("part", "relay")})
	if err != nil {
		return err
	}
	n.onClose(n.relay.Close)
	n.exchange, err = exchange.New(exchange.Config{
		Self:         n.self,
		Home:         n.home,
		Totals:       n.home.Totals,
		Ledger:       accounts{n.ledger},
		Network:      n.network,
		Follower:     n.network,
		Models:       ref,
		Blobs:        images,
		Outbox:       outbox.Add,
		UptimeReward: n.prices.Uptime,
		Relay:        n.relay,
		Adopting:     n.adopting,
		Pricer:       n.prices,
		Policy:       rules{Policy: &n.cfg.Policy, self: n.self, members: n.ledger.MemberByTag},
		Now:          time.Now,
		Rand:         n.rand,
		Log:          n.log.With("part", "exchange"),
	})
	if err != nil {
		return err
	}
	ear.to.Store(n.exchange)
	return n.openGossip()
}

func (n *Node) openAPI() error {
	if err := n.openIPCheck(); err != nil {
		return err
	}
	secret, err := n.dir.secret()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(n.listener.Addr().String())
	if err != nil {
		return err
	}
	n.api, err = n.newAPI(secret, port)
	return err
}

func (n *Node) openControl() (err error) {
	n.control, err = listenControl(n.dir.join("control.sock"))
	if err != nil {
		return err
	}
	n.onClose(func() error { return ignoreClosed(n.control.Close()) })
	return nil
}

// deliverKept brings homes what was kept for them, at once when one comes back.
func (n *Node) deliverKept(ctx context.Context) error { return n.relay.Run(ctx, n.exchange) }

// Run serves until ctx is done or a part fails. It returns nil after a clean stop: the API
// first, then leadership is handed over, then everything is closed, the disks last.
func (n *Node) Run(ctx context.Context) error {
	// The parts below the API go on until the API has stopped.
	below, stopBelow := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBelow()
	g, failing := errgroup.WithContext(below)
	for _, run := range []func(context.Context) error{
		n.host.Run, n.keepRoster, n.proposer.Run, n.autopilot, n.tick, n.watchGroup,
		n.models.Run, n.home.Run, n.exchange.Run, n.sweepBlobs, n.watch, n.ticks.follow(n.ledger), n.followModes, n.followBans,
		n.guardDisk, n.greet, n.followVersion, n.tellLimits,
		n.runCopier, n.standIn,
		n.followShards, n.followContent, n.followSealKey, n.runWebhooks, n.deliverKept, n.reach.follow(n.ledger.Members, n.host.Peers),
	} {
		g.Go(func() error { return run(failing) })
	}
	above, stopAbove := context.WithCancel(ctx)
	defer stopAbove()
	context.AfterFunc(failing, stopAbove)
	front, serving := errgroup.WithContext(above)
	front.Go(func() error { return n.serveControl(serving) })
	front.Go(func() error { return n.serveAPI(serving) })
	front.Go(func() error { return n.serveAdmin(serving) })
	front.Go(func() error { return n.becomeReady(serving) })

	err := front.Wait()
	if n.group.IsLeader() && n.voters() > 1 {
		if e := n.group.TransferLeadership(); e != nil {
			n.log.InfoContext(ctx, "leadership was not handed over", "err", e)
		}
	}
	stopBelow()
	return errors.Join(err, g.Wait(), n.Close())
}

// Close releases what New opened, last first. Run closes too; closing twice is harmless.
func (n *Node) Close() error {
	var errs []error
	for _, c := range slices.Backward(n.closers) {
		errs = append(errs, c())
	}
	n.closers = nil
	return errors.Join(errs...)
}

func (n *Node) onClose(f func() error) { n.closers = append(n.closers, f) }

// Ready is closed once the node can serve: it has a ledger and knows who leads.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// ID returns the node's id.
func (n *Node) ID() horde.NodeID { return n.self }

// URL returns where the API is: the public URL, or the address that it listens on.
func (n *Node) URL() string {
	if n.cfg.PublicURL != "" {
		return strings.TrimSuffix(n.cfg.PublicURL, "/")
	}
	return "http://" + n.listener.Addr().String()
}

// becomeReady waits until there is a ledger with a leader, and says so.
func (n *Node) becomeReady(ctx context.Context) error {
	for {
		if _, led := n.group.Leader(); led && n.founded() {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.group.LeaderChanges():
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := n.alignOutbox(ctx); err != nil {
		return err
	}
	close(n.ready)
	if _, err := fmt.Fprintf(n.cfg.Out, "API: %s/api/v2   Web page: %s/\n", n.URL(), n.URL()); err != nil {
		return err
	}
	n.log.InfoContext(ctx, "ready", "url", n.URL(), "node", n.self, "after", time.Since(n.started).Round(time.Millisecond))
	return nil
}

// alignOutbox keeps the outbox from using numbers again that the ledger has seen: a disk
// that lost its end would otherwise have new commands skipped as done.
func (n *Node) alignOutbox(ctx context.Context) error {
	if err := n.syncOnce(ctx); err != nil {
		n.log.InfoContext(ctx, "ready before the ledger could be asked", "err", err)
	}
	_, _, item := n.ledger.Origin(n.self)
	return n.home.Outbox().SkipTo(item)
}

// watchGroup stops the node when its ledger cannot go on: a command it does not know, or a
// state that differs from the others'. Going on would spread the damage.
func (n *Node) watchGroup(ctx context.Context) error {
	select {
	case err := <-n.group.Failed():
		return n.judgeFailure(err)
	case <-ctx.Done():
		return nil
	}
}

func (n *Node) sweepBlobs(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := n.blobs.Sweep(ctx, time.Now()); err != nil {
				n.log.WarnContext(ctx, "sweep blobs", "err", err)
			}
		}
	}
}

func (n *Node) serveAPI(ctx context.Context) error {
	return errors.Join(serve(ctx, apiServer(n.handler(ctx)), limitConns(n.listener, n.cfg.TrustedProxies)), n.api.Close())
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
