package exchange

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// Waiting counts a user's jobs that nobody took yet, at all homes.
func (e *Exchange) Waiting(user horde.UserID, kind horde.Kind, models ...string) int {
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	if q := e.index.queue(kind); q != nil {
		return q.Slots(user, models...)
	}
	return 0
}

// Live returns a worker as it was at its last check-in, at whichever node.
func (e *Exchange) Live(id horde.WorkerID) (horde.LiveWorker, bool) { return e.live.get(id, e.now()) }

// LiveWorkers returns all workers that checked in during the last hour, at whichever node,
// in no order.
func (e *Exchange) LiveWorkers() []horde.LiveWorker { return e.live.all(e.now()) }

// Performance is what the federation does now (spec/status.md section 1): requests count
// with their open slots and running jobs.
func (e *Exchange) Performance() horde.Performance {
	now := e.now()
	var p horde.Performance
	past := e.delivered.past(now)
	e.index.mu.RLock()
	image, text := e.index.queues[horde.KindImage].Totals(), e.index.queues[horde.KindText].Totals()
	p.QueuedForms = e.index.queues[horde.KindAlchemy].Totals().Jobs
	for tag, f := range e.index.feeds {
		if tag != e.tag {
			for k := range past {
				past[k] += f.beacon.Delivered[k]
			}
		}
	}
	e.index.mu.RUnlock()
	p.QueuedRequests, p.QueuedPixelsteps = image.Jobs, image.Things
	p.QueuedTextRequests, p.QueuedTokens = text.Jobs, text.Things
	p.PastMinutePixelsteps, p.PastMinuteTokens = past[horde.KindImage], past[horde.KindText]
	for _, c := range []struct {
		kind             horde.Kind
		workers, threads *int
	}{
		{horde.KindImage, &p.Workers, &p.Threads},
		{horde.KindText, &p.TextWorkers, &p.TextThreads},
		{horde.KindAlchemy, &p.AlchemyWorkers, &p.AlchemyThreads},
	} {
		e.live.each(c.kind, now, func(x *worker) bool {
			*c.workers++
			*c.threads += x.caps.Threads
			return true
		})
	}
	return p
}

// noCapacity is the ETA of a model that nobody serves.
const noCapacity = 10_000

// Models returns the models of a kind that an online worker serves or an offer names
// (spec/status.md section 2), by name. Jobs and Queued count open slots and running jobs;
// Performance is the mean speed of the workers that serve the model.
func (e *Exchange) Models(kind horde.Kind) []horde.ModelStatus {
	e.index.mu.RLock()
	q := e.index.queue(kind)
	if q == nil {
		e.index.mu.RUnlock()
		return nil
	}
	loads := q.Loads()
	e.index.mu.RUnlock()

	type sum struct {
		threads int
		speed   float64
		n       int
	}
	served := make(map[string]sum)
	e.live.each(kind, e.now(), func(x *worker) bool {
		if rec, ok := e.ledger.Worker(x.id); !ok || rec.Maintenance {
			return true
		}
		speed := x.samples.mean()
		for _, name := range x.caps.Models {
			s := served[name]
			s.threads += x.caps.Threads
			if speed > 0 {
				s.speed += speed
				s.n++
			}
			served[name] = s
		}
		return true
	})
	models := make([]horde.ModelStatus, 0, len(served)+len(loads))
	for name, s := range served {
		m := horde.ModelStatus{Name: name, Kind: kind, Count: s.threads}
		if s.n > 0 {
			m.Performance = s.speed / float64(s.n)
		}
		models = append(models, m)
	}
	for name := range loads {
		if _, ok := served[name]; !ok {
			models = append(models, horde.ModelStatus{Name: name, Kind: kind})
		}
	}
	models = slices.DeleteFunc(models, func(m horde.ModelStatus) bool { return strings.Contains(m.Name, "horde_special") })
	for i := range models {
		m := &models[i]
		load := loads[m.Name]
		m.Jobs, m.Queued = load.Jobs, load.Things
		m.ETA = eta(m)
	}
	slices.SortFunc(models, func(a, b horde.ModelStatus) int { return cmp.Compare(a.Name, b.Name) })
	return models
}

// eta is in seconds; 0 if nothing waits for the model.
func eta(m *horde.ModelStatus) int {
	rate := float64(m.Count) * m.Performance
	switch {
	case m.Jobs == 0:
		return 0
	case rate == 0:
		return noCapacity
	}
	return int(min(float64(m.Queued)/rate, math.MaxInt32))
}

// Stats are figures of a running exchange for operators.
type Stats struct {
	Offers      [kinds]int // of all homes, by kind
	OwnOffers   [kinds]int
	LiveWorkers int
	Homes       []HomeStats // of the others
}

// HomeStats says how well this node knows another home.
type HomeStats struct {
	Node     horde.NodeID
	Offers   [kinds]int
	Heard    time.Duration // since its last word
	Complete bool          // nothing of it is known to be missing
	Failures int           // syncs in a row
}

// Stats returns figures for operators.
func (e *Exchange) Stats() Stats {
	now := e.now()
	s := Stats{LiveWorkers: len(e.live.all(now))}
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	for k, q := range e.index.queues {
		s.Offers[k], s.OwnOffers[k] = q.Len(), q.HomeLen(e.tag)
	}
	for tag, f := range e.index.feeds {
		if tag == e.tag {
			continue
		}
		h := HomeStats{Node: f.node, Heard: now.Sub(f.heard), Complete: e.index.complete(f) && !e.index.missed(f), Failures: f.failures}
		for k, q := range e.index.queues {
			h.Offers[k] = q.HomeLen(tag)
		}
		s.Homes = append(s.Homes, h)
	}
	slices.SortFunc(s.Homes, func(a, b HomeStats) int { return cmp.Compare(a.Node, b.Node) })
	return s
}
