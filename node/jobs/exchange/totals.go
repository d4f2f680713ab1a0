package exchange

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"hordenode/internal/horde"
)

const (
	// totalsAge is how old other homes' totals may be when they are told.
	totalsAge = time.Second
	// totalsBudget bounds how long a client waits for them.
	totalsBudget = 300 * time.Millisecond
	// maxTotalModels bounds what is taken from one home.
	maxTotalModels = 4096
)

// totals are the finished jobs of all homes. Each home counts its own and nobody else's, so
// the sum is the same wherever it is made (docs/decisions/0020). A home that cannot be asked
// counts as it was when it last could, but for the windows that have passed since.
type totals struct {
	own func() horde.Totals // nil: not counted

	asking chan struct{} // capacity 1: the homes are being asked

	mu   sync.Mutex // guards all below
	of   map[horde.HomeTag]homeTotals
	seen time.Time // when the homes were asked last
}

type homeTotals struct {
	totals horde.Totals
	at     time.Time
}

func newTotals(own func() horde.Totals) *totals {
	return &totals{own: own, asking: make(chan struct{}, 1), of: map[horde.HomeTag]homeTotals{}}
}

func (t *totals) here() horde.Totals {
	if t.own == nil {
		return horde.Totals{}
	}
	all := t.own()
	for k := range all {
		if len(all[k].Models) <= maxTotalModels {
			continue
		}
		slices.SortFunc(all[k].Models, func(a, b horde.ModelTotals) int {
			return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Name, b.Name))
		})
		all[k].Models = all[k].Models[:maxTotalModels] // those with most jobs
	}
	return all
}

func (t *totals) fresh(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(t.seen) < totalsAge
}

func (t *totals) learn(home horde.HomeTag, told horde.Totals, now time.Time) {
	for k := range told {
		told[k].Models = told[k].Models[:min(len(told[k].Models), maxTotalModels)]
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of[home] = homeTotals{told, now}
}

// Totals returns the finished jobs of all homes.
func (e *Exchange) Totals(ctx context.Context) horde.Totals {
	e.askTotals(ctx)
	now := e.now()
	sum := newSum()
	sum.add(e.totals.here(), 0)
	e.totals.mu.Lock()
	defer e.totals.mu.Unlock()
	for _, h := range e.totals.of {
		sum.add(h.totals, now.Sub(h.at))
	}
	return sum.totals()
}

// askTotals asks the homes that can be reached, if that was not done just now.
func (e *Exchange) askTotals(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, totalsBudget)
	defer cancel()
	select {
	case e.totals.asking <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-e.totals.asking }()
	if e.totals.fresh(e.now()) {
		return
	}
	var wg sync.WaitGroup
	for _, node := range e.listeners() {
		wg.Go(func() {
			res, err := e.callJob(ctx, node, jobRequest{Op: opTotals})
			if err != nil || res.Totals == nil {
				e.log.DebugContext(ctx, "totals not known", "node", node, "err", err)
				return
			}
			e.totals.learn(node.Tag(), *res.Totals, e.now())
		})
	}
	wg.Wait()
	e.totals.mu.Lock()
	e.totals.seen = e.now()
	e.totals.mu.Unlock()
}

// sum adds totals up.
type sum struct {
	all    horde.Totals
	models [2]map[string]horde.ModelTotals
}

func newSum() *sum {
	return &sum{models: [2]map[string]horde.ModelTotals{{}, {}}}
}

// add takes in what a home told some time ago.
func (s *sum) add(t horde.Totals, ago time.Duration) {
	for k, from := range t {
		to := &s.all[k]
		for _, w := range []struct {
			window time.Duration // 0: for ever
			to     *horde.Work
			from   horde.Work
		}{
			{time.Minute, &to.Minute, from.Minute}, {time.Hour, &to.Hour, from.Hour}, {day, &to.Day, from.Day},
			{30 * day, &to.Month, from.Month}, {0, &to.Total, from.Total},
		} {
			if w.window == 0 || ago < w.window {
				*w.to = w.to.Plus(w.from)
			}
		}
		for _, m := range from.Models {
			have := s.models[k][m.Name]
			have.Name = m.Name
			have.Total += m.Total
			if ago < day {
				have.Day += m.Day
			}
			if ago < 30*day {
				have.Month += m.Month
			}
			s.models[k][m.Name] = have
		}
	}
}

const day = 24 * time.Hour

func (s *sum) totals() horde.Totals {
	for k := range s.all {
		s.all[k].Models = make([]horde.ModelTotals, 0, len(s.models[k]))
		for _, m := range s.models[k] {
			s.all[k].Models = append(s.all[k].Models, m)
		}
		slices.SortFunc(s.all[k].Models, func(a, b horde.ModelTotals) int { return cmp.Compare(a.Name, b.Name) })
	}
	return s.all
}
