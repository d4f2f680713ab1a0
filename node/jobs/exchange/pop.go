package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/jobs/match"
)

const (
	popBudget  = 3 * time.Second // for all remote claims of a pop
	homeBudget = time.Second     // for the claims at one home
	avoidFor   = 5 * time.Second // a home that did not answer is left alone
	maxWant    = 8               // requests wanted in one claim
	maxAmount  = 20
	maxRounds  = 64 // claims of one pop
	lookAhead  = 64 // offers looked at to fill a claim
	herdStep   = 15 * time.Millisecond
	herdMost   = time.Second
	// keepClaim is how long a claim that was not answered is asked again.
	keepClaim  = 60 * time.Second
	maxPending = 10_000
)

// Pop is popNow, but waits up to p.Wait for a job that fits. A context that ends while it
// waits ends the wait: the result is then the one without a job.
func (e *Exchange) Pop(ctx context.Context, p horde.Pop) (horde.PopResult, error) {
	if p.Wait > 0 {
		return e.popLater(ctx, p)
	}
	return e.popNow(ctx, p)
}

// popNow gives a worker the most urgent jobs that it can serve, of whichever home: its
// owner's and priority users' first. With nothing to give, Grant is nil and Skipped counts
// the requests that it could not serve, by reason; a worker in maintenance gets
// horde.RCWorkerMaintenance instead. See admit for the refusals.
func (e *Exchange) popNow(ctx context.Context, p horde.Pop) (horde.PopResult, error) {
	w, caps, err := e.admit(ctx, p)
	if err != nil {
		return horde.PopResult{}, err
	}
	in := e.live.checkIn(w, caps, e.now())
	if in.fresh { // requests at other nodes wait for it, and may be posted there next
		e.announcer.nudge()
		e.tellWorker(ctx, w.ID)
	}
	e.followFor(ctx, w.Kind, caps.Models)
	if in.report != nil {
		e.reportUptime(ctx, w, in.report)
	}
	s := search{
		e: e,
		w: match.Worker{
			ID: w.ID, Kind: w.Kind, Owner: w.Owner, OwnerTrusted: p.User.Is(horde.RoleTrusted),
			Speed: in.speed, Maintenance: w.Maintenance, Paused: w.Paused, Profile: in.profile,
		},
		amount: min(max(p.Amount, 1), maxAmount),
		tried:  make(map[horde.RequestID]struct{}),
		spent:  make(map[horde.HomeTag]time.Duration),
		tally:  match.NewTally(w.Kind),
	}
	grant, err := s.run(ctx, p.Priority)
	if err != nil {
		return horde.PopResult{}, err
	}
	if grant == nil && w.Maintenance && e.hasOthers() && e.confirm(ctx, w.Owner, w.Kind) > 0 {
		if grant, err = s.run(ctx, p.Priority); err != nil {
			return horde.PopResult{}, err
		}
	}
	e.live.polled(w.ID, grant == nil && !w.Maintenance, e.now())
	switch {
	case grant != nil:
		res := horde.PopResult{Worker: w, Grant: grant, Skipped: map[string]int{}}
		if w.Kind == horde.KindAlchemy {
			res.More = s.more(ctx, len(grant.Jobs))
		}
		return res, nil
	case w.Maintenance:
		msg := w.MaintenanceMsg
		if msg == "" {
			msg = maintenanceMessage
		}
		return horde.PopResult{}, &horde.Error{RC: horde.RCWorkerMaintenance, Msg: msg}
	}
	return horde.PopResult{Worker: w, Skipped: s.skipped()}, nil
}

// reportUptime sends a worker's uptime to the ledger by the durable outbox.
func (e *Exchange) reportUptime(ctx context.Context, w horde.Worker, r *uptimeReport) {
	u := horde.Uptime{Worker: w.ID, Seconds: r.seconds}
	if r.reward {
		u.Reward = e.uptimeReward(w.Kind, r.caps)
	}
	if err := e.outbox(e.ledger.EncodeUptime(u)); err != nil {
		e.log.ErrorContext(ctx, "uptime not recorded", "worker", w.ID, "seconds", r.seconds, "err", err)
	}
}

// search is one pop's way through the offers.
type search struct {
	e      *Exchange
	w      match.Worker
	amount int
	tried  map[horde.RequestID]struct{}
	spent  map[horde.HomeTag]time.Duration // time waited for each home
	skip   []horde.HomeTag                 // homes not to ask again
	tally  *match.Tally                    // what homes said
	waited bool                            // the random delay is over

	ownOnly bool // this node's requests only, for now
}

// run returns a grant, nil if there is nothing for the worker. It takes popBudget at most.
func (s *search) run(ctx context.Context, priority []horde.UserID) (*horde.Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, popBudget)
	defer cancel()
	if grant := s.askAgain(ctx); grant != nil {
		return grant, nil
	}
	first := append([]horde.UserID{s.w.Owner}, priority...)
	passes := [][]horde.UserID{first, nil}
	if s.w.Kind == horde.KindAlchemy {
		passes = passes[1:] // nobody comes first (spec/alchemy.md section 6.3)
	}
	passes, own := s.withOwn(passes)
	for i, only := range passes {
		s.ownOnly = i == own
		for range maxRounds {
			home, want := s.next(only)
			if len(want) == 0 || ctx.Err() != nil {
				break
			}
			if home != s.e.tag && !s.waited {
				s.waited = true
				if s.e.dodgeHerd(ctx, s.w.Kind) {
					continue // look again: others may have been quicker
				}
			}
			grant, err := s.claim(ctx, home, want)
			if grant != nil || err != nil {
				return grant, err
			}
		}
	}
	return nil, nil
}

// more returns grants of further requests until the worker has as many forms as it wants:
// forms of several requests are handed out together. What goes wrong ends the search only, as
// the worker has something already.
func (s *search) more(ctx context.Context, have int) (grants []*horde.Grant) {
	ctx, cancel := context.WithTimeout(ctx, homeBudget)
	defer cancel()
	for range maxRounds {
		s.amount -= have
		home, want := s.next(nil)
		if len(want) == 0 && s.ownOnly {
			s.ownOnly = false
			home, want = s.next(nil)
		}
		if s.amount <= 0 || len(want) == 0 || ctx.Err() != nil {
			return grants
		}
		grant, err := s.claim(ctx, home, want)
		if err != nil {
			s.e.log.WarnContext(ctx, "no further forms", "worker", s.w.ID, "err", err)
			return grants
		}
		if have = 0; grant != nil {
			have = len(grant.Jobs)
			grants = append(grants, grant)
		}
	}
	return grants
}

// next returns the home of the first offer in the order, and up to maxWant of its offers.
func (s *search) next(only []horde.UserID) (home horde.HomeTag, want []match.Candidate) {
	x := s.e.index
	now := s.e.now()
	x.mu.RLock()
	defer x.mu.RUnlock()
	looked := 0
	for c := range x.queues[s.w.Kind].Candidates(&s.w, s.e.payer, only) {
		if _, ok := s.tried[c.ID]; ok || !s.mayAsk(c.Home, now) || !s.permits(&c) {
			continue
		}
		if len(want) == 0 {
			home = c.Home
		}
		if c.Home == home {
			want = append(want, c)
		}
		if looked++; len(want) == maxWant || looked == lookAhead {
			break
		}
	}
	return home, want
}

// mayAsk tells whether a home may be asked for jobs. index.mu is held.
func (s *search) mayAsk(home horde.HomeTag, now time.Time) bool {
	for _, tag := range s.skip {
		if tag == home {
			return false
		}
	}
	f := s.e.index.feeds[home]
	return home == s.e.tag || f != nil && !now.Before(f.avoid)
}

// claim asks a home for one of the wanted requests. Without an answer the home is skipped.
func (s *search) claim(ctx context.Context, home horde.HomeTag, want []match.Candidate) (*horde.Grant, error) {
	c := horde.Claim{Worker: s.w.ID, Caps: *s.w.Profile.Caps(), Speed: s.w.Speed, Amount: s.amount}
	if _, err := io.ReadFull(s.e.random, c.Nonce[:]); err != nil {
		return nil, fmt.Errorf("make nonce: %w", err)
	}
	for _, x := range want {
		c.Want = append(c.Want, x.ID)
		s.tried[x.ID] = struct{}{}
	}
	answer, err := s.ask(ctx, home, &c)
	if err != nil {
		s.skip = append(s.skip, home)
		s.e.log.WarnContext(ctx, "claim failed", "worker", s.w.ID, "want", len(want), "err", err)
		return nil, nil
	}
	s.take(answer)
	s.remember(answer.Grant)
	if g := answer.Grant; g != nil { // the home did not look at those behind it
		at := slices.IndexFunc(want, func(x match.Candidate) bool { return x.ID == g.Request })
		for _, x := range want[at+1:] {
			delete(s.tried, x.ID)
		}
	}
	if g := answer.Grant; g != nil && home != s.e.tag && !g.Fake {
		for _, x := range want {
			if x.ID == g.Request && len(g.Jobs) >= x.Open {
				s.e.index.hide(s.w.Kind, x.ID)
			}
		}
	}
	return answer.Grant, nil
}

// take notes what an answer says beside its grant.
func (s *search) take(a *horde.Answer) {
	for reason, n := range a.Skipped {
		s.tally.Add(match.Reason(reason), n)
	}
	var remote []horde.RequestID
	for _, id := range a.Gone {
		if !s.e.keeps(s.e.self, id.Home()) {
			remote = append(remote, id)
		}
	}
	s.e.index.hide(s.w.Kind, remote...)
}

// ask sends a claim to its home. A remote one is repeated once if the answer is lost and
// there is time, and kept to be asked again at the worker's next poll.
func (s *search) ask(ctx context.Context, home horde.HomeTag, c *horde.Claim) (*horde.Answer, error) {
	if home == s.e.tag {
		answer, err := s.e.home.Claim(ctx, *c)
		if err != nil {
			return nil, fmt.Errorf("claim here: %w", err)
		}
		return &answer, nil
	}
	m, ok := s.e.ledger.MemberByTag(home)
	if !ok || !m.Active {
		return nil, errNoMember
	}
	began := s.e.now()
	left := homeBudget - s.spent[home]
	answer, err := s.e.callClaim(ctx, m.ID, c, left)
	s.spent[home] += s.e.now().Sub(began)
	if s.spent[home] >= homeBudget {
		s.skip = append(s.skip, home)
	}
	if err == nil || errors.Is(err, errRefused) {
		return answer, err
	}
	s.e.claims.keep(s.w.ID, pendingClaim{node: m.ID, claim: *c, at: s.e.now()})
	s.e.avoid(home)
	return nil, err
}

// askAgain repeats the worker's last claim if it was never answered: its grant may wait.
func (s *search) askAgain(ctx context.Context) *horde.Grant {
	p, ok := s.e.claims.take(s.w.ID, s.e.now())
	if !ok {
		return nil
	}
	answer, err := s.e.callClaim(ctx, p.node, &p.claim, homeBudget)
	if err != nil {
		if !errors.Is(err, errRefused) {
			s.e.claims.keep(s.w.ID, p)
			s.e.avoid(p.node.Tag())
		}
		return nil
	}
	s.take(answer)
	s.remember(answer.Grant)
	return answer.Grant
}

var (
	errNoMember = errors.New("not a member")
	// errRefused: the home answered, and will answer the same again.
	errRefused = errors.New("the home refuses")
)

// callClaim sends a claim to another node, twice if the first try fails before the budget
// is used up: the home knows the nonce.
func (e *Exchange) callClaim(ctx context.Context, node horde.NodeID, c *horde.Claim, budget time.Duration) (*horde.Answer, error) {
	req, err := encode(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	data, err := e.network.Call(ctx, node, ProtoClaim, req)
	if err != nil && ctx.Err() == nil {
		data, err = e.network.Call(ctx, node, ProtoClaim, req)
	}
	if err != nil {
		return nil, fmt.Errorf("claim at %s: %w", node, err)
	}
	res, err := decode[claimResponse](data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	if res.Refusal != nil || res.Answer == nil {
		return nil, fmt.Errorf("%w: %w", errRefused, res.Refusal.err())
	}
	if g := res.Answer.Grant; g != nil && (len(g.Jobs) == 0 || !e.keeps(node, g.Request.Home())) {
		return nil, fmt.Errorf("%w: %w", errRefused, errInvalid)
	}
	return res.Answer, nil
}

// avoid keeps a home from being asked for a while.
func (e *Exchange) avoid(home horde.HomeTag) {
	e.index.mu.Lock()
	defer e.index.mu.Unlock()
	if f := e.index.feeds[home]; f != nil {
		f.avoid = e.now().Add(avoidFor)
	}
}

// dodgeHerd waits for a random time if workers of several nodes wait for fewer jobs than
// they are, so that they do not all claim the same one. It tells whether it waited.
func (e *Exchange) dodgeHerd(ctx context.Context, kind horde.Kind) bool {
	nodes, workers := 1, 1
	e.index.mu.RLock()
	for tag, f := range e.index.feeds {
		if tag != e.tag && f.beacon.Idle[kind] > 0 {
			nodes++
			workers += f.beacon.Idle[kind]
		}
	}
	slots := e.index.queues[kind].Totals().Slots
	e.index.mu.RUnlock()
	if nodes == 1 || slots >= workers {
		return false
	}
	timer := time.NewTimer(e.jitter(min(time.Duration(nodes)*herdStep, herdMost)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}

// skipped counts what the worker could not serve.
func (s *search) skipped() map[string]int {
	x := s.e.index
	x.mu.RLock()
	t := x.queues[s.w.Kind].Skipped(&s.w, s.e.payer)
	x.mu.RUnlock()
	t.AddAll(s.tally)
	return t.Map()
}

// payer tells what matching needs of a user.
func (e *Exchange) payer(id horde.UserID) match.Payer {
	u, ok := e.ledger.User(id)
	if !ok {
		return match.Payer{ID: id}
	}
	return match.Payer{ID: id, Trusted: u.Is(horde.RoleTrusted), Spendable: u.Available()}
}

// claims holds the claims that were not answered, one for each worker.
type claims struct {
	mu      sync.Mutex
	pending map[horde.WorkerID]pendingClaim
}

type pendingClaim struct {
	node  horde.NodeID
	claim horde.Claim
	at    time.Time
}

func (c *claims) keep(w horde.WorkerID, p pendingClaim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) < maxPending {
		c.pending[w] = p
	}
}

func (c *claims) take(w horde.WorkerID, now time.Time) (pendingClaim, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pending[w]
	delete(c.pending, w)
	return p, ok && now.Sub(p.at) <= keepClaim
}

func (c *claims) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w, p := range c.pending {
		if now.Sub(p.at) > keepClaim {
			delete(c.pending, w)
		}
	}
}
