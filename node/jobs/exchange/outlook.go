package exchange

import (
	"math"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/jobs/match"
)

// An outlook is what the queue and the workers mean for a request.
type outlook struct {
	position int  // 1 = next, 0 = not in the queue
	wait     int  // seconds until its open slots are done
	possible bool // an online worker can serve it; true if it is not in the queue
}

// decorate adds the outlook to a status, whose WaitTime is what its running jobs need.
func (o outlook) decorate(st *horde.Status) {
	if st.Waiting > 0 {
		st.QueuePosition = o.position
		st.WaitTime += o.wait
	}
	st.IsPossible = !st.Faulted && (o.possible || st.Processing > 0 || st.Waiting == 0)
}

// outlook looks a request of this home up in the queue of all homes (spec/status.md
// section 6): the work up to and including its own, by what all online workers of the kind
// do together; but no more of them than there are jobs up to it.
func (e *Exchange) outlook(id horde.RequestID, now time.Time) outlook {
	for _, kind := range []horde.Kind{horde.KindImage, horde.KindText} {
		e.index.mu.RLock()
		q := e.index.queues[kind]
		standing, ok := q.Standing(id)
		shape, payer, job, _ := q.Shape(id)
		e.index.mu.RUnlock()
		if !ok {
			continue
		}
		threads, speed := e.strength(kind, now)
		return outlook{
			position: standing.Before + 1,
			wait:     waitTime(standing, kind, threads, speed),
			possible: e.possible(shape, payer, job, now),
		}
	}
	return outlook{possible: true}
}

// waitTime is in seconds. speed is the mean of one thread in things per second.
func waitTime(s match.Standing, kind horde.Kind, threads int, speed float64) int {
	rate := speed * float64(min(int64(threads), s.Slots))
	if rate <= 0 { // nobody is there: as if one average thread were
		rate = match.Speed(kind, 0)
	}
	return int(math.Round(min(float64(s.Things)/rate, math.MaxInt32)))
}

// strength is how many threads the online workers of a kind have, and the mean speed of
// those that have delivered something.
func (e *Exchange) strength(kind horde.Kind, now time.Time) (threads int, speed float64) {
	sum, n := 0.0, 0
	e.live.each(kind, now, func(x *worker) bool {
		threads += x.caps.Threads
		if s := x.samples.mean(); s > 0 {
			sum += s
			n++
		}
		return true
	})
	if n > 0 {
		speed = sum / float64(n)
	}
	return threads, speed
}

// possible tells whether a worker that is online can serve a request. It is true as well
// while the workers of a connected node are not known yet.
func (e *Exchange) possible(s *horde.Shape, payer horde.UserID, job horde.Kudos, now time.Time) bool {
	p := e.payer(payer)
	p.Job = job
	found := false
	e.live.each(s.Kind, now, func(x *worker) bool {
		found = e.serves(x, x.profile, s, p)
		return !found
	})
	return found || !e.caughtUp(now)
}

// serves tells whether a worker would get real jobs of a request of shape s by p.
func (e *Exchange) serves(x *worker, profile *match.Profile, s *horde.Shape, p match.Payer) bool {
	rec, ok := e.ledger.Worker(x.id)
	if !ok || profile == nil || rec.Paused && rec.Owner != p.ID && rec.Kind != horde.KindAlchemy {
		return false
	}
	owner, ok := e.ledger.User(rec.Owner)
	if !ok || owner.Is(horde.RoleFlagged) || owner.Is(horde.RoleDeleted) {
		return false
	}
	w := match.Worker{
		ID: x.id, Kind: x.kind, Owner: rec.Owner, OwnerTrusted: owner.Is(horde.RoleTrusted),
		Speed: x.samples.mean(), Maintenance: rec.Maintenance, Paused: rec.Paused, Profile: profile,
	}
	return match.Check(&w, s, p) == ""
}

// idleWorkerServes tells whether a worker that waits for work at this node can serve a
// request.
func (e *Exchange) idleWorkerServes(s *horde.Shape, payer horde.UserID, job horde.Kudos, now time.Time) bool {
	p := e.payer(payer)
	p.Job = job
	found := false
	e.live.each(s.Kind, now, func(x *worker) bool {
		found = x.waits(now) && e.serves(x, x.popProfile, s, p)
		return !found
	})
	return found
}

// caughtUp tells whether this node knows the offers and workers of every node that it hears
// of. A member that was never heard counts as away once there was time for it to speak.
func (e *Exchange) caughtUp(now time.Time) bool {
	settled := now.Sub(e.started) > feedTTL
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	for _, m := range e.ledger.Members() {
		if !m.Active || m.ID == e.self {
			continue
		}
		f := e.index.feeds[m.ID.Tag()]
		if f == nil && !settled || f != nil && !e.index.complete(f) {
			return false
		}
	}
	return true
}
