package exchange

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"hordenode/internal/horde"
)

// Config is what an Exchange is made of. All fields but the last three are required.
type Config struct {
	Self    horde.NodeID
	Home    Home
	Blobs   Blobs
	Ledger  Ledger
	Network Network
	Models  Models
	Now     func() time.Time
	Rand    io.Reader // ids and nonces: crypto/rand.Reader, or a seeded source in tests
	Log     *slog.Logger

	// Outbox makes a ledger command durable; it is applied exactly once, later.
	Outbox func(command []byte) error
	// UptimeReward is what a worker earns for ten minutes of being there.
	UptimeReward func(kind horde.Kind, caps horde.Caps) horde.Kudos

	// Relay keeps what homes that cannot be reached shall get; nil: nothing is kept, and the
	// caller is told that the home is away.
	Relay Relay
	// Pricer reckons rewards for homes that cannot be asked; nil: they are guessed.
	Pricer Pricer
	// Totals are the finished jobs of this home; nil: they are not counted.
	Totals func() horde.Totals
	// Adopting tells whether requests of other homes are being taken over here, so that what
	// is not known yet may be in a moment; nil: never.
	Adopting func() bool
	// Policy is what this node takes part in; nil: everything.
	Policy Policy
	// Follower takes part in shards; nil: offers are not divided.
	Follower Follower
}

// Exchange is the federation's requests and workers as this node sees them. It implements
// api's Board and, towards jobs.Home, its Watcher. Its methods may be called at once from
// many goroutines.
type Exchange struct {
	self         horde.NodeID
	tag          horde.HomeTag
	boot         atomic.Uint64 // of this process: Unix milliseconds, so that a later one is larger
	started      time.Time
	home         Home
	blobs        Blobs
	ledger       Ledger
	network      Network
	models       Models
	now          func() time.Time
	random       io.Reader
	log          *slog.Logger
	outbox       func([]byte) error
	uptimeReward func(horde.Kind, horde.Caps) horde.Kudos
	relay        Relay  // nil: none
	pricer       Pricer // nil: none
	policy       Policy // nil: none
	adopting     func() bool
	follower     Follower // nil: offers cannot be divided

	index     *index
	live      *live
	announcer *announcer
	waits     *waits
	audience  *audience
	totals    *totals
	delivered *delivered
	limits    *limits
	claims    *claims
	budgets   *budgets
	hello     *hello
	confirms  *rate.Limiter // reads of the newest ledger state for unknown ids
	repairs   chan struct{} // capacity 1: a feed wants a sync at once

	dice struct {
		sync.Mutex
		*rand.Rand
	}
}

// New makes an Exchange that knows nothing yet. Until Run it answers, but hears of own
// offers only and tells nobody.
func New(cfg Config) (*Exchange, error) {
	switch {
	case cfg.Self == "":
		return nil, errors.New("exchange: no node id")
	case cfg.Home == nil || cfg.Blobs == nil || cfg.Ledger == nil || cfg.Network == nil || cfg.Models == nil ||
		cfg.Now == nil || cfg.Rand == nil || cfg.Log == nil || cfg.Outbox == nil || cfg.UptimeReward == nil:
		return nil, errors.New("exchange: a part is missing in the configuration")
	}
	var seed [16]byte
	if _, err := io.ReadFull(cfg.Rand, seed[:]); err != nil {
		return nil, fmt.Errorf("seed exchange: %w", err)
	}
	a, b := binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:])
	now := cfg.Now()
	e := &Exchange{
		self: cfg.Self, tag: cfg.Self.Tag(), started: now,
		home: cfg.Home, blobs: cfg.Blobs, ledger: cfg.Ledger, network: cfg.Network, models: cfg.Models,
		now: cfg.Now, random: cfg.Rand, log: cfg.Log, outbox: cfg.Outbox, uptimeReward: cfg.UptimeReward,
		relay: cfg.Relay, pricer: cfg.Pricer, policy: cfg.Policy, adopting: cfg.Adopting, follower: cfg.Follower,
		index: newIndex(a), live: newLive(cfg.Self, cfg.Models), announcer: newAnnouncer(), waits: newWaits(),
		audience: newAudience(), totals: newTotals(cfg.Totals),
		delivered: &delivered{}, limits: &limits{buckets: make(map[horde.NodeID]*rate.Limiter)},
		claims:   &claims{pending: make(map[horde.WorkerID]pendingClaim)},
		budgets:  newBudgets(),
		hello:    newHello(),
		confirms: rate.NewLimiter(20, 20), repairs: make(chan struct{}, 1),
	}
	e.boot.Store(uint64(max(now.UnixMilli(), 1)))
	e.index.heard = e.waits.offered
	e.dice.Rand = rand.New(rand.NewPCG(a, b))
	return e, nil
}

// Run takes in the home's offers, tells the other nodes of them and keeps what is known of
// theirs complete, until ctx is done; then it returns nil. The home must tell OfferChanged
// of every change from before Run is called.
func (e *Exchange) Run(ctx context.Context) error {
	for _, o := range e.home.Offers() {
		e.OfferChanged(o)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.runAnnouncer(ctx) })
	g.Go(func() error { return e.runRepair(ctx) })
	g.Go(func() error { return e.runWaker(ctx) })
	g.Go(func() error { return e.runAudience(ctx) })
	return g.Wait()
}

// jitter returns a random duration in [0, most).
func (e *Exchange) jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	e.dice.Lock()
	defer e.dice.Unlock()
	return time.Duration(e.dice.Int64N(int64(most)))
}
