package jobs

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hordenode/internal/horde"
)

// Config is what a Home needs. Blobs and Watcher may be nil; Now, Rand, Log and the limits
// have defaults.
type Config struct {
	Dir     string       // for Badger: local/
	Self    horde.NodeID // its tag is in all ids
	Ledger  Ledger
	Pricer  Pricer
	Matcher Matcher
	Watcher Watcher
	Blobs   Blobs
	Tell    Listener // nil: nobody listens

	MaxRequests int // kept at one time, finished ones included; 2,000,000 if 0
	MaxOutbox   int // commands that wait for the ledger before requests are refused; 2,000,000 if 0

	// Backup keeps copies of the requests elsewhere; nil: there are none.
	Backup Backup

	// CutOff tells whether a member at which workers may be could not be reached at some
	// moment since. It must not block nor call the Home. nil: there are no others.
	CutOff func(since time.Time) bool

	// Flush returns when all nodes have applied the outbox's items up to the given one, or
	// after a moment. It is called where what an item changes would be missed at once, not
	// for every settlement. nil: nobody waits.
	Flush func(ctx context.Context, upTo uint64)

	atOnce int // requests that Open reads; readAtOnce if 0

	Now  func() time.Time // time.Now
	Rand io.Reader        // crypto/rand.Reader
	Log  *slog.Logger
}

// How long things last (spec/image.md section 4.5).
const (
	expireAfter     = 20 * time.Minute // since a request was made, popped or settled
	expireAfterSlow = 60 * time.Minute // since an extra slow worker popped it
	nonceKept       = 10 * time.Minute // after the lease it is for
	maxFaults       = 3                // jobs of a request
	sweepEvery      = 5 * time.Second
)

// Limits of one item.
const (
	maxWant     = 8
	maxAmount   = 20
	maxMetadata = 50
	maxBody     = 16 << 20 // bytes
	maxResult   = 16 << 20 // bytes
)

// A Home is the single writer of this node's requests. Its methods may be called
// concurrently. Locks are taken in the order request.mu, Home.mu, then those of the store
// and the timers, and none is held over disk, ledger or blobs.
type Home struct {
	tag     horde.HomeTag
	ledger  Ledger
	pricer  Pricer
	matcher Matcher
	watcher Watcher
	blobs   Blobs
	backup  Backup
	ear     Listener
	limits  limits
	cutOff  func(since time.Time) bool             // nil: never
	flush   func(ctx context.Context, upTo uint64) // nil: nobody waits
	now     func() time.Time
	rand    io.Reader
	log     *slog.Logger

	boot   uint32 // how often the store was opened
	store  *store
	shapes shapes
	timers timers
	nonces nonces
	count  counters

	loading atomic.Pointer[loader] // nil once all requests are in memory

	mu       sync.RWMutex // guards the maps
	requests map[horde.RequestID]*request
	jobs     map[horde.JobID]*job
	users    map[horde.UserID]*request // the first of each; the others follow it
}

type limits struct{ requests, outbox int }

// Open loads what this node was doing when it stopped. Leases begin again at full length. Of very
// many requests it reads the most urgent ones; Run reads the others (lazy.go).
func Open(cfg Config) (*Home, error) {
	if cfg.Ledger == nil || cfg.Pricer == nil || cfg.Matcher == nil {
		return nil, errors.New("jobs: Ledger, Pricer and Matcher are needed")
	}
	h := &Home{
		tag:      cfg.Self.Tag(),
		ledger:   cfg.Ledger,
		pricer:   cfg.Pricer,
		matcher:  cfg.Matcher,
		watcher:  cfg.Watcher,
		blobs:    cfg.Blobs,
		backup:   cfg.Backup,
		ear:      cfg.Tell,
		limits:   limits{requests: cfg.MaxRequests, outbox: cfg.MaxOutbox},
		cutOff:   cfg.CutOff,
		flush:    cfg.Flush,
		now:      cfg.Now,
		rand:     &lockedReader{r: cfg.Rand},
		log:      cfg.Log,
		shapes:   shapes{refs: map[string]*shapeRef{}},
		nonces:   nonces{busy: map[[16]byte]chan struct{}{}},
		requests: map[horde.RequestID]*request{},
		jobs:     map[horde.JobID]*job{},
		users:    map[horde.UserID]*request{},
	}
	if h.limits.requests == 0 {
		h.limits.requests = 2_000_000
	}
	if h.limits.outbox == 0 {
		h.limits.outbox = 2_000_000
	}
	if h.now == nil {
		h.now = time.Now
	}
	if cfg.Rand == nil {
		h.rand = rand.Reader
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.timers.start = h.now()
	st, err := openStore(cfg.Dir, h.log)
	if err != nil {
		return nil, fmt.Errorf("open the job store: %w", err)
	}
	h.store = st
	if err := h.load(cmp.Or(cfg.atOnce, readAtOnce)); err != nil {
		return nil, errors.Join(fmt.Errorf("load requests: %w", err), st.close())
	}
	return h, nil
}

// Run reads what Open left on the disk, and ends leases and requests whose time is over, until ctx is done (then it returns nil)
// or the disk fails. After a failed write nothing is accepted any more: the node must stop.
func (h *Home) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if l := h.loading.Load(); l != nil {
		g.Go(func() error { return l.run(ctx) })
	}
	g.Go(func() error { return h.sweeps(ctx) })
	return g.Wait()
}

// sweeps sweeps every few seconds.
func (h *Home) sweeps(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.store.broken:
			return fmt.Errorf("job store: %w", h.store.failure())
		case <-tick.C:
			if err := h.Sweep(ctx, h.now()); err != nil && ctx.Err() == nil {
				return fmt.Errorf("sweep: %w", err)
			}
		}
	}
}

// Close writes what is under way and closes the disk. Calls after it fail.
func (h *Home) Close() error {
	if l := h.loading.Load(); l != nil {
		l.close()
	}
	return h.store.close()
}

// Outbox returns the commands that wait for the ledger.
func (h *Home) Outbox() *Outbox { return &Outbox{s: h.store} }

// Offers returns the offers of all requests with open slots.
func (h *Home) Offers() []horde.Offer {
	now := h.now()
	var offers []horde.Offer
	for _, r := range h.all() {
		r.mu.Lock()
		if r.open > 0 && !r.deleted && !now.After(r.expiry) {
			offers = append(offers, r.offer(now))
		}
		r.mu.Unlock()
	}
	return offers
}

// Active returns the ids of a user's requests that are still kept, finished ones included.
func (h *Home) Active(user horde.UserID) map[horde.Kind][]horde.RequestID {
	h.mu.RLock()
	defer h.mu.RUnlock()
	ids := map[horde.Kind][]horde.RequestID{}
	for r := h.users[user]; r != nil; r = r.after {
		ids[r.kind] = append(ids[r.kind], r.id)
	}
	return ids
}

func (h *Home) all() []*request {
	h.mu.RLock()
	defer h.mu.RUnlock()
	all := make([]*request, 0, len(h.requests))
	for _, r := range h.requests {
		all = append(all, r)
	}
	return all
}

func (h *Home) request(id horde.RequestID) (*request, bool) {
	r, ok := h.inMemory(id)
	if !ok && h.loading.Load() != nil {
		h.readNow(id)
		return h.inMemory(id)
	}
	return r, ok
}

func (h *Home) inMemory(id horde.RequestID) (*request, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	r, ok := h.requests[id]
	return r, ok
}

func (h *Home) job(id horde.JobID) (*job, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	j, ok := h.jobs[id]
	return j, ok
}

// add makes r findable. It returns false if its id is taken.
func (h *Home) add(r *request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, taken := h.requests[r.id]; taken {
		return false
	}
	h.requests[r.id] = r
	if first := h.users[r.payer]; first != nil {
		r.after, first.before = first, r
	}
	h.users[r.payer] = r
	return true
}

// drop forgets r and its jobs. r.mu is held.
func (h *Home) drop(r *request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.requests, r.id)
	for _, j := range r.jobs {
		delete(h.jobs, j.id)
	}
	if r.after != nil {
		r.after.before = r.before
	}
	switch {
	case r.before != nil:
		r.before.after = r.after
	case r.after != nil:
		h.users[r.payer] = r.after
	default:
		delete(h.users, r.payer)
	}
	r.before, r.after = nil, nil
}

// save enqueues o with the state of r, which changed, and a Finish if r has ended by it. r.mu
// is held. The offer is what others should be told.
func (h *Home) save(r *request, o op, now time.Time) (*batch, horde.Offer) {
	if r.ended() && !r.closed {
		r.closed = true
		h.copyEnd(r)
		o.out = append(o.out, h.ledger.EncodeFinish(horde.Finish{Request: r.id}))
	}
	r.rev++
	o.puts = append(o.puts, encode(idKey(keyState, r.id.UUID), stateRecord{
		Cancelled: r.cancelled, Withdrawn: r.withdrawn, Faulted: r.faulted, Closed: r.closed,
		Expiry: r.expiry.UnixNano(), Consumed: r.consumed, Rev: r.rev, Boot: h.boot,
	}))
	h.count.request(r)
	r.last = h.store.enqueue(o)
	h.timers.set(r, r.next())
	return r.last, r.offer(now)
}

// tell shows o to the watcher.
func (h *Home) tell(o horde.Offer) {
	if h.watcher != nil {
		h.watcher.OfferChanged(o)
	}
}

// lockedReader makes a source of randomness safe for concurrent use.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}
