package api

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"hordenode/internal/horde"
)

const (
	suspectFor  = 24 * time.Hour // without a new report an address is forgotten
	timeoutStep = 3 * time.Minute
	maxSuspects = 1 << 14
	secondsUpTo = 4 * 24 * time.Hour // a longer timeout's rest is not told
)

// suspects are addresses that sent corrupt prompts to this node lately. Each report keeps the
// address out for longer: 3 minutes, 9, 15, … (spec/moderation.md section 9.1). An IPv6
// address stands for its /64. The federation's memory is in the ledger (Blocks); this one is
// for reports that the ledger could not be told, while this node is cut off: bounded, and
// this node's only.
type suspects struct {
	now func() time.Time

	mu  sync.Mutex // guards all
	all map[string]suspect
}

type suspect struct {
	reports int
	last    time.Time
	until   time.Time // timed out until then
}

func newSuspects(now func() time.Time) *suspects {
	return &suspects{now: now, all: map[string]suspect{}}
}

// report notes a corrupt prompt.
func (s *suspects) report(ip netip.Addr) {
	if !ip.IsValid() {
		return // it would stand for everybody whose address is unknown
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, key := s.now(), network(ip)
	if len(s.all) >= maxSuspects {
		for k, x := range s.all {
			if now.After(x.until) {
				delete(s.all, k)
			}
		}
		if len(s.all) >= maxSuspects {
			clear(s.all)
		}
	}
	x := s.all[key]
	if now.Sub(x.last) > suspectFor {
		x.reports = 0
	}
	x.until = now.Add(time.Duration(2*x.reports+1) * timeoutStep)
	x.reports++
	x.last = now
	s.all[key] = x
}

// until tells how long an address is timed out.
func (s *suspects) until(ip netip.Addr) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.all[network(ip)]
	return x.until, s.now().Before(x.until)
}

// forget lets an address in again.
func (s *suspects) forget(ip netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, network(ip))
}

// reportPatience bounds how long the ledger may take to be told of a corrupt prompt.
const reportPatience = 2 * time.Second

// reportAddress notes that a corrupt prompt came from an address: in the ledger, so that every
// node keeps it out, or, if the ledger cannot be reached, here.
func (s *Server) reportAddress(ctx context.Context, ip netip.Addr) {
	if !ip.IsValid() {
		return
	}
	if s.deps.Blocks == nil {
		s.suspects.report(ip)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportPatience)
	defer cancel()
	if err := s.deps.Blocks.ReportIP(ctx, ip); err != nil {
		s.log.WarnContext(ctx, "corrupt prompt counted at this node only", "err", err)
		s.suspects.report(ip)
	}
}

// timedOut tells whether an address must not send requests: moderators blocked it, or it sent
// corrupt prompts.
func (s *Server) timedOut(ip netip.Addr) (until time.Time, out bool) {
	if s.deps.Blocks != nil {
		if until, out = s.deps.Blocks.IPBlocked(ip); out {
			return until, true
		}
	}
	return s.suspects.until(ip)
}

// timeoutIP refuses an address that is timed out for some more time.
func timeoutIP(left time.Duration) error {
	if left > secondsUpTo {
		return horde.Refuse(horde.RCTimeoutIP, "Your address is timed out.")
	}
	return &horde.Error{RC: horde.RCTimeoutIP, Msg: fmt.Sprintf("Your address is timed out for another %d seconds.", int(max(left, 0).Seconds())+1)}
}
