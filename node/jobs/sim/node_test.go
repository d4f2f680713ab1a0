package sim

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/node/jobs"
	"hordenode/node/jobs/exchange"
	"hordenode/node/jobs/match"
	"hordenode/node/jobs/relay"
	"hordenode/node/jobs/standby"
)

// A node is a member. What is in it survives crashes; what is in a process does not.
type node struct {
	s       *sim
	id      horde.NodeID
	key     ed25519.PrivateKey
	rnd     io.Reader
	dir     string
	replica *replica
	boot    uint64
	blobs   *blobs
}

// A process is a run of a node.
type process struct {
	n        *node
	ctx      context.Context
	stop     context.CancelFunc
	client   *ledger.Client
	proposer *proposer
	home     *jobs.Home
	exchange *exchange.Exchange
	relay    *relay.Store
	standby  *standby.Store
	copier   *standby.Copier
	runs     sync.WaitGroup

	mu      sync.Mutex // guards the below
	inside  int
	closing bool
	empty   chan struct{} // closed when nobody is inside any more
	lost    map[horde.NodeID]time.Time
}

func cmpID(a, b horde.NodeID) int { return cmp.Compare(a, b) }

func (p *process) id() horde.NodeID { return p.n.id }

// enter counts a caller in, unless the process has ended.
func (p *process) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return false
	}
	p.inside++
	return true
}

func (p *process) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inside--; p.inside == 0 && p.closing {
		close(p.empty)
	}
}

func (s *sim) newNode(name string) *node {
	seed := sha256.Sum256([]byte(fmt.Sprint(s.seed, name)))
	return &node{
		s: s, id: horde.NodeID(name), key: ed25519.NewKeyFromSeed(seed[:]), rnd: &lockedRand{r: rand.NewChaCha8(seed)},
		dir: filepath.Join(s.dir, name), replica: &replica{m: ledger.NewMachine()}, blobs: &blobs{m: map[string][]byte{}},
	}
}

func (n *node) sign(b []byte) []byte { return ed25519.Sign(n.key, b) }

func (n *node) member() horde.Member {
	return horde.Member{ID: n.id, Name: string(n.id), PublicKey: n.key.Public().(ed25519.PublicKey), URL: "http://" + string(n.id)}
}

// start runs the node on what its directory holds.
func (n *node) start() (err error) {
	log := n.s.log.With("node", n.id)
	p := &process{n: n, empty: make(chan struct{}), lost: map[horde.NodeID]time.Time{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	n.boot++
	p.proposer = &proposer{p: p, boot: n.boot, calls: make(chan *call, 64)}
	p.client = ledger.NewClient(n.replica.m, p.proposer, n.rnd)
	if p.standby, err = standby.Open(standby.Config{Dir: filepath.Join(n.dir, "standby"), Key: n.key, Now: time.Now, Log: log}); err != nil {
		return err
	}
	p.copier = standby.NewCopier(standby.CopierConfig{
		Tag: n.id.Tag(), Call: p.Call, Choose: p.chooseBackup, Register: p.registerBackup, Rand: n.rnd, Log: log,
	})
	if p.relay, err = relay.Open(relay.Config{Dir: filepath.Join(n.dir, "relay"), Now: time.Now, Log: log}); err != nil {
		return err
	}
	ear := &ear{}
	p.home, err = jobs.Open(jobs.Config{
		Dir: filepath.Join(n.dir, "local"), Self: n.id, Ledger: marked{p.client, n.s.book}, Pricer: flat{}, Matcher: matches,
		Watcher: ear, Blobs: n.blobs, Backup: p.copier, CutOff: p.cutOff, Now: time.Now, Rand: n.rnd, Log: log,
	})
	if err != nil {
		return err
	}
	p.exchange, err = exchange.New(exchange.Config{
		Self: n.id, Home: n.s.mutants.home(p.home), Blobs: n.blobs, Ledger: accounts{p.client}, Network: p, Models: models{},
		Now: time.Now, Rand: n.rnd, Log: log, Outbox: p.home.Outbox().Add,
		UptimeReward: func(horde.Kind, horde.Caps) horde.Kudos { return horde.Whole(1) },
		Relay:        n.s.mutants.relay(p), Pricer: flat{}, Adopting: p.adopting,
	})
	if err != nil {
		return err
	}
	ear.set(p.exchange)
	for _, run := range []func(context.Context) error{
		func(ctx context.Context) error { return p.proposer.run(ctx, p.home.Outbox()) },
		p.home.Run, p.exchange.Run, p.standIn, p.follow,
		func(ctx context.Context) error { return p.relay.Run(ctx, p.exchange) },
		func(ctx context.Context) error { return p.copier.Run(ctx, p.home, p.superseded) },
	} {
		p.runs.Go(func() {
			if err := run(p.ctx); err != nil && p.ctx.Err() == nil {
				n.s.wrong("%s ends: %v", n.id, err)
			}
		})
	}
	n.s.net.mu.Lock()
	n.s.net.up[n.id] = p
	n.s.net.mu.Unlock()
	return nil
}

// crash ends the process in the middle of everything: nobody hears of it any more, and the next
// start finds what was on the disk.
func (n *node) crash() error {
	n.s.net.mu.Lock()
	p := n.s.net.up[n.id]
	delete(n.s.net.up, n.id)
	n.s.net.mu.Unlock()
	if p == nil {
		return nil
	}
	p.stop()
	p.mu.Lock()
	p.closing = true
	if p.inside == 0 {
		close(p.empty)
	}
	p.mu.Unlock()
	p.runs.Wait()
	<-p.empty
	return errors.Join(p.home.Close(), p.relay.Close(), p.standby.Close())
}

// Call and Publish are exchange.Network.
func (p *process) Call(ctx context.Context, to horde.NodeID, proto string, req []byte) ([]byte, error) {
	return p.n.s.net.call(ctx, p, to, func(ctx context.Context, far *process) ([]byte, error) {
		switch proto {
		case exchange.ProtoClaim:
			return far.exchange.HandleClaim(ctx, p.id(), req)
		case exchange.ProtoJob:
			return far.exchange.HandleJob(ctx, p.id(), req)
		case exchange.ProtoSync:
			return far.exchange.HandleSync(ctx, p.id(), req)
		case exchange.ProtoBlob:
			return far.exchange.HandleBlob(ctx, p.id(), req)
		case standby.Proto:
			return far.standby.Handle(ctx, p.id(), req)
		case protoHandover:
			return nil, far.takeHandover(ctx, p.id(), req)
		}
		return nil, fmt.Errorf("no protocol %s", proto)
	})
}

func (p *process) Publish(_ context.Context, topic string, data []byte) error {
	p.n.s.net.publish(p.id(), topic, data)
	return nil
}

func (p *process) meet(peer horde.NodeID) {
	if p.enter() {
		defer p.leave()
		p.exchange.Connected(peer)
		p.relay.Wake(peer.Tag())
	}
}

// note remembers since when others are away. The network's lock is held.
func (p *process) note(links map[pair]link, now time.Time) {
	members := p.client.Members()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range members {
		if _, ok := links[pairOf(p.id(), m.ID)]; ok || m.ID == p.id() {
			delete(p.lost, m.ID)
		} else if p.lost[m.ID].IsZero() {
			p.lost[m.ID] = now
		}
	}
}

func (p *process) silent(id horde.NodeID) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if lost, ok := p.lost[id]; ok {
		return time.Since(lost)
	}
	return 0
}

// cutOff is what package node answers: a member is away, or was since.
func (p *process) cutOff(since time.Time) bool {
	for _, m := range p.client.Members() {
		if m.ID == p.id() || !m.Active {
			continue
		}
		if at, ok := p.n.s.net.connected(p.id(), m.ID); !ok || at.After(since) {
			return true
		}
	}
	return false
}

// follow keeps the ledger here up to date if the leader can be heard, and ticks if this is it.
func (p *process) follow(ctx context.Context) error {
	s := p.n.s
	for n := 0; ctx.Err() == nil; n++ {
		pause(ctx, time.Second)
		l := s.leader()
		if l == nil || s.net.isCut(l.id(), p.id()) {
			continue
		}
		if err := p.catchUp(s.book.len()); err != nil {
			return err
		}
		if l == p && n%10 == 0 {
			if err := p.client.Tick(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("tick: %w", err)
			}
		}
	}
	return nil
}

// An ear passes offers on once there is an exchange.
type ear struct {
	mu sync.Mutex
	to *exchange.Exchange
}

func (e *ear) set(x *exchange.Exchange) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.to = x
}

func (e *ear) OfferChanged(o horde.Offer) {
	e.mu.Lock()
	x := e.to
	e.mu.Unlock()
	if x != nil {
		x.OfferChanged(o)
	}
}

type accounts struct{ *ledger.Client }

func (a accounts) RegisterWorker(ctx context.Context, w exchange.NewWorker) (horde.Worker, error) {
	return a.Client.RegisterWorker(ctx, ledger.NewWorker{Owner: w.Owner, Kind: w.Kind, Name: w.Name})
}

// matches is what package node gives a home.
func matches(c jobs.Candidate, r *horde.Request, payer horde.User) string {
	w := match.Worker{
		ID: c.Worker.ID, Kind: c.Worker.Kind, Owner: c.Worker.Owner, OwnerTrusted: c.Owner.Is(horde.RoleTrusted), Speed: c.Speed,
		Maintenance: c.Worker.Maintenance, Paused: c.Worker.Paused, Profile: match.NewProfile(c.Worker.Kind, c.Caps, models{}),
	}
	return string(match.Check(&w, &r.Shape, match.Payer{
		ID: payer.ID, Trusted: payer.Is(horde.RoleTrusted), Spendable: payer.Available(), Job: r.Quote.Job,
	}))
}

type models struct{}

func (models) Image(string) (match.ImageModel, bool) { return match.ImageModel{}, true }
func (models) Parameters(string) (float64, bool)     { return 1, false }

// flat is a price list with one price.
type flat struct{}

func (flat) TooFast(*horde.Request, string, float64) int { return 0 }

func (flat) Price(r *horde.Request, _, _ string, _ bool, _ []byte, _ bool) horde.Price {
	return horde.Price{Reward: 10, Credit: horde.Whole(10), Debit: horde.Whole(11), Things: r.Things}
}

// blobs are a node's files.
type blobs struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (b *blobs) Has(_ context.Context, name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.m[name]
	return ok
}

func (b *blobs) Put(_ context.Context, name string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m[name] = data
	return nil
}

func (b *blobs) Get(_ context.Context, name string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d, ok := b.m[name]; ok {
		return d, nil
	}
	return nil, horde.Refuse(horde.RCRequestNotFound, "There is no such file.")
}

func (b *blobs) DeleteAll(_ context.Context, id horde.UUID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name := range b.m {
		if strings.HasPrefix(name, id.String()) {
			delete(b.m, name)
		}
	}
	return nil
}

type lockedRand struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedRand) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(b)
}
