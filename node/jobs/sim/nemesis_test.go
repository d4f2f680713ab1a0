package sim

import (
	"context"
	"fmt"
	"time"

	"hordenode/internal/horde"
)

// seenWithin is how long after a cut is mended an open offer may be missing somewhere
// (engineering.md section 3.4).
const seenWithin = 17 * time.Second

// nemesis makes trouble, with calm moments in between.
func (s *sim) nemesis(ctx context.Context) {
	calm := time.Now().Add(3 * time.Minute)
	for end := time.Now().Add(s.trouble); time.Now().Before(end) && ctx.Err() == nil; {
		pause(ctx, time.Duration(float64(20*time.Second)*s.rnd.ExpFloat64()))
		if time.Now().After(calm) {
			s.calm(ctx)
			calm = time.Now().Add(4 * time.Minute)
			continue
		}
		s.strike(ctx)
	}
	s.calm(ctx)
}

func (s *sim) strike(ctx context.Context) {
	all := s.all()
	n := all[s.rnd.IntN(len(all))]
	other := all[s.rnd.IntN(len(all))]
	switch s.rnd.IntN(8) {
	case 0, 1: // a crash, now and then for so long that the node is taken over
		away := time.Second + time.Duration(s.rnd.Int64N(int64(30*time.Second)))
		if s.rnd.IntN(3) == 0 {
			away += time.Minute
		}
		s.check(n.crash())
		s.note(func(c *counts) { c.crashes++ })
		s.followers.Go(func() {
			pause(s.ctx, away)
			s.restart(n)
		})
	case 2:
		if other != n {
			s.net.sever(n.id, other.id)
			s.note(func(c *counts) { c.cuts++ })
		}
	case 3, 4: // a node is alone
		for _, o := range all {
			if o != n {
				s.net.sever(n.id, o.id)
			}
		}
		s.note(func(c *counts) { c.cuts++ })
		if s.rnd.IntN(2) == 0 {
			pause(ctx, 80*time.Second)
		}
	case 5: // two halves
		for i, a := range all {
			for _, b := range all[i+1:] {
				if a.id.Tag()[0]&1 != b.id.Tag()[0]&1 {
					s.net.sever(a.id, b.id)
				}
			}
		}
		s.note(func(c *counts) { c.cuts++ })
	case 6:
		s.net.heal()
	case 7:
		s.net.mu.Lock()
		s.net.loss = []int{0, 5, 50, 500}[s.rnd.IntN(4)]
		s.net.jitter = []time.Duration{5, 20, 200, 900}[s.rnd.IntN(4)] * time.Millisecond
		s.net.mu.Unlock()
	}
}

func (s *sim) restart(n *node) {
	s.commits.Lock() // two may want to
	up := s.net.running(n.id) != nil
	s.commits.Unlock()
	if up || s.over.Load() {
		return
	}
	if err := n.start(); err != nil {
		s.wrong("start %s: %v", n.id, err)
	}
}

// mend repairs everything and waits until all nodes take part.
func (s *sim) mend(ctx context.Context) error {
	s.net.heal()
	s.net.mu.Lock()
	s.net.loss, s.net.jitter = 5, 8*time.Millisecond
	s.net.mu.Unlock()
	for until := time.Now().Add(10 * time.Minute); ; pause(ctx, time.Second) {
		var away horde.NodeID
		for _, n := range s.all() {
			if p := s.net.running(n.id); p == nil || p.superseded() {
				away = n.id
			}
		}
		if away == "" {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("%s does not take part again", away)
		}
	}
}

// calm mends everything, and sees that all open requests are poppable everywhere soon.
func (s *sim) calm(ctx context.Context) {
	s.rest.Store(true)
	defer s.rest.Store(false)
	if err := s.mend(ctx); err != nil {
		s.wrong("%v", err)
		return
	}
	var last string
	for mended := time.Now(); ; pause(ctx, 500*time.Millisecond) {
		missing, took := s.missing(), time.Since(mended)
		if missing == "" && took <= seenWithin {
			break
		}
		if missing == "" || took > 10*seenWithin {
			s.wrong("%v: %v after all was mended %s", time.Now().Format(time.TimeOnly), took, last)
			break
		}
		last = missing
		s.log.Info("not complete", "took", took, "missing", missing)
	}
	s.note(func(c *counts) { c.calms++ })
	if s.adds > 0 {
		s.adds--
		s.note(func(c *counts) { c.joined++ })
		s.check(s.join(ctx))
	}
}

// missing tells what some node does not see of another's open requests.
func (s *sim) missing() string {
	for _, home := range s.all() {
		h := s.net.running(home.id)
		if h == nil {
			return fmt.Sprintf("%s is down", home.id)
		}
		open := len(h.home.Offers())
		if own := h.exchange.Stats().OwnOffers[horde.KindText]; own != open {
			return fmt.Sprintf("%s itself sees %d of its %d open requests", home.id, own, open)
		}
		for _, n := range s.all() {
			p := s.net.running(n.id)
			if n == home || p == nil {
				continue
			}
			seen := -1
			for _, x := range p.exchange.Stats().Homes {
				if x.Node == home.id && x.Complete {
					seen = x.Offers[horde.KindText]
				}
			}
			if seen != open {
				return fmt.Sprintf("%s sees %d of the %d open requests of %s", n.id, seen, open, home.id)
			}
		}
	}
	return ""
}
