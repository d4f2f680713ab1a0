package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

// A plan is how large a simulation is and how long it goes on, in simulated time.
type plan struct {
	nodes   int
	adds    int           // nodes that join later
	trouble time.Duration // what the nemesis has
	workers int
	clients int
	every   time.Duration // a client's mean pause between requests
}

type sim struct {
	plan
	seed    uint64
	dir     string
	log     *slog.Logger
	rnd     *rand.Rand // the nemesis's and the set-up's
	net     *network
	book    *book
	cluster ledger.ClusterID
	ctx     context.Context
	commits sync.Mutex // one proposal at a time
	mutants mutants
	script  func(context.Context) // instead of traffic and trouble; nil: none

	payers    []horde.UserID
	owner     horde.User // of the honest workers
	careless  horde.User
	rest      atomic.Bool // nobody begins anything new
	over      atomic.Bool
	followers sync.WaitGroup

	mu       sync.Mutex // guards all below
	nodes    []*node
	requests []*request
	leases   map[horde.JobID]string // that reached a worker
	grants   map[horde.JobID]horde.WorkerID
	owed     map[horde.UUID]struct{} // results that a relay promised to deliver
	counts   counts
	errs     []error
}

// counts say what happened, so that a simulation in which nothing does is noticed.
type counts struct {
	crashes, cuts, takeovers, calms, joined      int
	grants, delivered, refused, kept             int
	done, cancelled, faulted, expired, unsettled int
}

const maxErrors = 20

// wrong notes a violation.
func (s *sim) wrong(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errs) < maxErrors {
		s.errs = append(s.errs, fmt.Errorf(format, args...))
	}
}

func (s *sim) check(err error) {
	if err != nil {
		s.wrong("%v", err)
	}
}

func (s *sim) note(f func(*counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.counts)
}

func (s *sim) all() []*node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*node(nil), s.nodes...)
}

// somewhere is any node that runs.
func (s *sim) somewhere(rnd *rand.Rand) *process {
	all := s.all()
	return s.net.running(all[rnd.IntN(len(all))].id)
}

func (s *sim) resting() bool { return s.rest.Load() }

// simulate runs one seed and returns what it saw.
func simulate(t *testing.T, seed uint64, p plan, change func(*sim)) *sim {
	t.Helper()
	s := &sim{
		plan: p, seed: seed, dir: memoryDir(t), log: logger(), rnd: rand.New(rand.NewPCG(seed, 1)), book: newBook(),
		leases: map[horde.JobID]string{}, grants: map[horde.JobID]horde.WorkerID{}, owed: map[horde.UUID]struct{}{},
	}
	s.mutants.s = s
	if change != nil {
		change(s)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 7*24*time.Hour) // simulated
		defer cancel()
		s.ctx = ctx
		s.net = newNetwork(rand.New(rand.NewPCG(seed, 2)))
		watching, unwatch := context.WithCancel(ctx)
		s.net.flights.Go(func() { s.net.watch(watching) })
		if err := s.found(ctx); err != nil {
			s.wrong("found: %v", err)
		} else if s.script != nil {
			s.script(ctx)
		} else {
			s.play(ctx)
		}
		s.over.Store(true)
		s.followers.Wait()
		unwatch()
		for _, n := range s.all() {
			if err := n.crash(); err != nil {
				t.Errorf("seed %d: stop %s: %v", seed, n.id, err)
			}
		}
		s.net.flights.Wait()
	})
	return s
}

// memoryDir is in memory where there is such a place: the disk is not what is tested.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "hordejobs")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// logger is quiet unless HORDENODE_TEST_LOG names a level.
func logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv("HORDENODE_TEST_LOG"))); err != nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// found makes the federation and its accounts.
func (s *sim) found(ctx context.Context) error {
	a := s.newNode("a")
	founding, err := ledger.NewFounding(a.member(), ledger.Config{}, a.rnd)
	if err != nil {
		return err
	}
	s.cluster = founding.Cluster
	genesis, err := ledger.EncodeBatch(ledger.Batch{Origin: a.id, Boot: 1, Seq: 1, Commands: []ledger.Command{{Data: founding.Command}}}, a.sign)
	if err != nil {
		return err
	}
	if _, err := a.replica.catchUp(s.book, s.book.add(genesis)); err != nil {
		return err
	}
	a.boot = 1
	s.nodes = append(s.nodes, a)
	if err := a.start(); err != nil {
		return err
	}
	for range s.plan.nodes - 1 {
		if err := s.join(ctx); err != nil {
			return err
		}
	}
	client := s.net.running(a.id).client
	for i := range 3 {
		u, _, err := client.CreateUser(ctx, ledger.NewUser{Name: fmt.Sprint("payer", i), Class: horde.ClassRegistered, Kudos: horde.Whole(1_000_000)})
		if err != nil {
			return err
		}
		s.payers = append(s.payers, u.ID)
	}
	if s.owner, _, err = client.CreateUser(ctx, ledger.NewUser{Name: "owner", Class: horde.ClassRegistered, Roles: horde.RoleTrusted, Kudos: horde.Whole(100)}); err != nil {
		return err
	}
	s.careless, _, err = client.CreateUser(ctx, ledger.NewUser{Name: "careless", Class: horde.ClassRegistered, Kudos: horde.Whole(100)})
	return err
}

// join adds a member.
func (s *sim) join(ctx context.Context) error {
	all := s.all()
	n := s.newNode(fmt.Sprintf("n%02d", len(all)))
	a := all[0]
	p := s.net.running(a.id)
	if p == nil {
		return errDown
	}
	token, err := ledger.SignInvite(ledger.Invite{
		Cluster: s.cluster, Epoch: 1, Inviter: a.id, Key: a.member().PublicKey, Voter: len(all) < 3,
		Expires: time.Now().Add(time.Hour), Nonce: ledger.Nonce{byte(len(all)), 1},
	}, a.sign)
	if err != nil {
		return err
	}
	m := n.member()
	join, err := ledger.SignJoin(ledger.JoinRequest{Token: token, ID: m.ID, PublicKey: m.PublicKey, Name: m.Name, URL: m.URL}, n.sign)
	if err != nil {
		return err
	}
	if err := p.client.AdmitMember(ctx, join); err != nil {
		return fmt.Errorf("admit %s: %w", n.id, err)
	}
	if _, err := n.replica.catchUp(s.book, s.book.len()); err != nil {
		return err
	}
	s.mu.Lock()
	s.nodes = append(s.nodes, n)
	s.mu.Unlock()
	return n.start()
}

// play has traffic and trouble, then waits for the end of everything and looks at it.
func (s *sim) play(ctx context.Context) {
	traffic, stop := context.WithCancel(ctx)
	var sources, hands sync.WaitGroup
	for i := range s.clients {
		rnd := rand.New(rand.NewPCG(s.seed, uint64(100+i)))
		sources.Go(func() { s.client(traffic, rnd, s.payers[i%len(s.payers)], s.every) })
	}
	working, end := context.WithCancel(ctx)
	for i := range s.workers {
		rnd := rand.New(rand.NewPCG(s.seed, uint64(1000+i)))
		owner := s.owner
		if i == 0 {
			owner = s.careless
		}
		hands.Go(func() { s.worker(working, rnd, fmt.Sprint("worker", i), owner, i == 0) })
	}
	s.nemesis(ctx)
	stop()
	sources.Wait()
	s.finish(ctx)
	end()
	hands.Wait()
	s.over.Store(true)
	s.followers.Wait()
	s.judge(ctx)
}

// finish mends everything and waits until all requests have ended.
func (s *sim) finish(ctx context.Context) {
	if err := s.mend(ctx); err != nil {
		s.wrong("mend: %v", err)
		return
	}
	for until := time.Now().Add(2 * time.Hour); ; pause(ctx, time.Second) {
		open := s.open()
		if len(open) == 0 {
			break
		}
		if time.Now().After(until) {
			s.wrong("%d requests did not end, such as %s", len(open), open[0].id)
			return
		}
	}
	for until := time.Now().Add(10 * time.Minute); ; pause(ctx, time.Second) {
		left := s.left()
		if left == "" {
			return
		}
		if time.Now().After(until) {
			s.wrong("in the end %s", left)
			return
		}
	}
}

// open are the requests that have not ended, as their clients saw it.
func (s *sim) open() (open []*request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if r.end() == "" {
			open = append(open, r)
		}
	}
	return open
}

// left tells what still waits somewhere.
func (s *sim) left() string {
	for _, n := range s.all() {
		p := s.net.running(n.id)
		switch {
		case p == nil:
			return fmt.Sprintf("%s is down", n.id)
		case p.superseded():
			return fmt.Sprintf("%s has not taken part again", n.id)
		case p.home.Outbox().Len() > 0:
			return fmt.Sprintf("%s has %d commands for the ledger", n.id, p.home.Outbox().Len())
		case p.relay.Len() > 0:
			return fmt.Sprintf("%s keeps %d items for homes", n.id, p.relay.Len())
		}
		for _, r := range s.accepted() {
			if p.client.Held(r.id) {
				return fmt.Sprintf("%s has a hold of %s, which is %s", n.id, r.id, r.end())
			}
		}
	}
	return ""
}

func (s *sim) accepted() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*request(nil), s.requests...)
}

// judge looks at the end.
func (s *sim) judge(ctx context.Context) {
	pause(ctx, 20*time.Second)
	var head [32]byte
	for i, n := range s.all() {
		if _, err := n.replica.catchUp(s.book, s.book.len()); err != nil {
			s.wrong("ledger of %s: %v", n.id, err)
		}
		if err := n.replica.m.CheckInvariants(); err != nil {
			s.wrong("ledger of %s: %v", n.id, err)
		}
		_, hash := n.replica.m.StateHash()
		if i == 0 {
			head = hash
		} else if hash != head {
			s.wrong("the ledgers of %s and the first node differ", n.id)
		}
	}
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	paid := map[horde.RequestID]int{}
	for at, cmds := range s.book.settled {
		paid[at.request]++
		if len(cmds) > 1 {
			s.wrong("slot %d of %s was settled %d times", at.n, at.request, len(cmds))
		}
	}
	for job := range s.owed {
		s.wrong("the result of job %s was kept for its home and never came", job)
	}
	for _, r := range s.accepted() {
		switch r.ended {
		case "done":
			s.counts.done++
		case "cancelled":
			s.counts.cancelled++
		case "faulted":
			s.counts.faulted++
		case "expired":
			s.counts.expired++
		}
		if r.ended == "done" && paid[r.id] < r.slots {
			s.counts.unsettled++
			if s.counts.takeovers == 0 {
				s.wrong("request %s is done: %d of %d slots are settled", r.id, paid[r.id], r.slots)
			}
		}
	}
	for i := 1; i < s.workers; i++ {
		w, ok := s.nodes[0].replica.m.Reader().WorkerByName(fmt.Sprint("worker", i))
		if ok && (w.Maintenance || w.Uncompleted > s.missed(w.ID)) {
			s.wrong("worker %s is blamed: %d jobs not completed, of %d it never heard, maintenance %v", w.Name, w.Uncompleted, s.missed(w.ID), w.Maintenance)
		}
	}
	if s.counts.done == 0 || s.counts.delivered == 0 {
		s.wrong("nothing happened: %+v", s.counts)
	}
}

func (s *sim) err() error { return errors.Join(s.errs...) }
