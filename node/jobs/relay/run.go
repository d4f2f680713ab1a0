package relay

import (
	"context"
	"sync"
	"time"

	"hordenode/internal/horde"
)

const (
	firstPause = 250 * time.Millisecond // between rounds that fail, doubled each time
	mostPause  = 10 * time.Second
	lookEvery  = 250 * time.Millisecond
)

// A Carrier brings items to homes.
type Carrier interface {
	// Reachable tells whether a home answers now.
	Reachable(ctx context.Context, home horde.HomeTag) bool
	// Deliver hands a home one item. nil means that nothing is left to do about it, whether
	// the home took it or refused it for good; after an error it is tried again.
	Deliver(ctx context.Context, home horde.HomeTag, data []byte) error
}

// Run delivers what is kept, and writes facts, until ctx is done; then it returns nil. Each
// home has its own goroutine while something is under way to it.
func (s *Store) Run(ctx context.Context, to Carrier) error {
	var rounds sync.WaitGroup
	defer rounds.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		if err := s.flush(); err != nil {
			return err
		}
		now := s.now()
		s.forget(now)
		for _, home := range s.due(now) {
			rounds.Go(func() { s.round(ctx, home, to) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		case <-t.C:
		}
	}
}

// wake has Run look at once.
func (s *Store) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Wake tries a home now: it came back.
func (s *Store) Wake(home horde.HomeTag) {
	s.mu.Lock()
	if l := s.lines[home]; l != nil {
		l.pause, l.retry = 0, time.Time{}
	}
	s.mu.Unlock()
	s.wake()
}

// due returns the homes to try now and marks them busy.
func (s *Store) due(now time.Time) []horde.HomeTag {
	s.mu.Lock()
	defer s.mu.Unlock()
	var homes []horde.HomeTag
	for home, l := range s.lines {
		switch {
		case l.busy:
		case len(l.items) == 0:
			delete(s.lines, home)
		case !now.Before(l.retry):
			l.busy = true
			homes = append(homes, home)
		}
	}
	return homes
}

// round tries what waits for a home, once.
func (s *Store) round(ctx context.Context, home horde.HomeTag, to Carrier) {
	s.mu.Lock()
	l := s.lines[home]
	items := append([]*item(nil), l.items...)
	s.mu.Unlock()
	ok := s.try(ctx, home, items, to)
	s.mu.Lock()
	defer s.mu.Unlock()
	l.busy = false
	if ok {
		l.pause, l.retry = 0, time.Time{}
		return
	}
	l.pause = min(max(2*l.pause, firstPause), mostPause)
	l.retry = s.now().Add(l.pause)
}

// try reports whether all items are done with. A failure of one holds up its group only,
// unless the home cannot be reached any more.
func (s *Store) try(ctx context.Context, home horde.HomeTag, items []*item, to Carrier) bool {
	left := items[:0:0]
	for _, x := range items {
		if s.now().Before(x.until) {
			left = append(left, x)
			continue
		}
		s.log.WarnContext(ctx, "kept for too long, dropped", "what", x.name.what, "id", x.name.group)
		if err := s.drop(home, x); err != nil {
			s.log.ErrorContext(ctx, "relay item not deleted", "err", err)
			return false
		}
	}
	if len(left) == 0 {
		return true
	}
	if !to.Reachable(ctx, home) {
		return false
	}
	stuck := map[horde.UUID]bool{}
	for _, x := range left {
		if ctx.Err() != nil {
			return false
		}
		if stuck[x.name.group] {
			continue
		}
		data, err := s.read(x)
		if err != nil {
			s.log.ErrorContext(ctx, "damaged relay item dropped", "what", x.name.what, "id", x.name.group, "err", err)
		} else if err = to.Deliver(ctx, home, data); err != nil {
			s.log.DebugContext(ctx, "not delivered yet", "what", x.name.what, "id", x.name.group, "err", err)
			stuck[x.name.group] = true
			if !to.Reachable(ctx, home) {
				return false
			}
			continue
		}
		if err := s.drop(home, x); err != nil {
			s.log.ErrorContext(ctx, "relay item not deleted", "err", err)
			return false
		}
	}
	return len(stuck) == 0
}
