package sim

import (
	"context"
	"slices"
	"sync"

	"hordenode/internal/horde"
	"hordenode/node/jobs"
	"hordenode/node/jobs/exchange"
	"hordenode/node/jobs/relay"
)

// mutants are parts that break a rule, for tests of the simulation itself.
type mutants struct {
	s           *sim
	sharedLease bool // a home forgets that a job was given to somebody: another worker gets it too
	leaky       bool // a relay that says that it keeps things
}

func (m *mutants) home(h *jobs.Home) exchange.Home {
	return &watchedHome{Home: h, m: m, last: map[horde.RequestID]horde.Answer{}}
}

func (m *mutants) relay(p *process) exchange.Relay { return watchedRelay{p.relay, m} }

// A watchedHome notes what reaches a home. As a mutant it forgets generations: what it granted
// for a request it grants again, to whoever asks.
type watchedHome struct {
	*jobs.Home
	m *mutants

	mu   sync.Mutex // guards last
	last map[horde.RequestID]horde.Answer
}

func (w *watchedHome) Claim(ctx context.Context, c horde.Claim) (horde.Answer, error) {
	if w.m.sharedLease {
		w.mu.Lock()
		for _, id := range c.Want {
			if a, ok := w.last[id]; ok {
				w.mu.Unlock()
				return a, nil
			}
		}
		w.mu.Unlock()
	}
	a, err := w.Home.Claim(ctx, c)
	if err == nil && a.Grant != nil {
		w.m.s.given(a.Grant.Jobs, c.Worker)
	}
	if w.m.sharedLease && err == nil && a.Grant != nil {
		w.mu.Lock()
		w.last[a.Grant.Request] = a
		w.mu.Unlock()
	}
	return a, err
}

func (w *watchedHome) Submit(ctx context.Context, x horde.Submission) (horde.Receipt, error) {
	r, err := w.Home.Submit(ctx, x)
	if ctx.Err() == nil {
		w.m.s.mu.Lock()
		delete(w.m.s.owed, x.Job.UUID)
		w.m.s.mu.Unlock()
	}
	return r, err
}

// A watchedRelay notes which results it promised to deliver.
type watchedRelay struct {
	*relay.Store
	m *mutants
}

func (w watchedRelay) Keep(home horde.HomeTag, group horde.UUID, what string, data []byte, vouched bool) error {
	if w.m.leaky {
		w.m.s.owe(group, what)
		return nil
	}
	err := w.Store.Keep(home, group, what, slices.Clone(data), vouched)
	if err == nil {
		w.m.s.owe(group, what)
	}
	return err
}

func (s *sim) owe(group horde.UUID, what string) {
	if what != "submit" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed[group] = struct{}{}
	s.counts.kept++
}

// given notes whom a home gave jobs to: the answer may be lost on its way.
func (s *sim) given(jobs []horde.JobID, to horde.WorkerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range jobs {
		s.grants[id] = to
	}
}

// missed counts the jobs that a worker was given and never heard of.
func (s *sim) missed(w horde.WorkerID) (n int64) {
	for job, to := range s.grants {
		if _, got := s.leases[job]; to == w && !got {
			n++
		}
	}
	return n
}
