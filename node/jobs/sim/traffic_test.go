package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"hordenode/internal/horde"
)

// A request is one that was accepted.
type request struct {
	id        horde.RequestID
	slots     int
	accepted  time.Time
	cancelled bool // by the client, who was answered
	asked     bool // a cancellation may have been kept
	finished  int
	ended     string
	over      atomic.Bool // after ended is set
}

// end is how the request ended, as its client saw it; "" if it did not.
func (r *request) end() string {
	if !r.over.Load() {
		return ""
	}
	return r.ended
}

const expiresAfter = 20 * time.Minute

// client makes requests, and follows each until it ends.
func (s *sim) client(ctx context.Context, rnd *rand.Rand, payer horde.UserID, every time.Duration) {
	for n := uint64(0); ctx.Err() == nil; n++ {
		pause(ctx, time.Duration(float64(every)*rnd.ExpFloat64()))
		if s.resting() || ctx.Err() != nil {
			continue
		}
		p := s.somewhere(rnd)
		if p == nil {
			continue
		}
		r := &request{slots: 1 + rnd.IntN(3)}
		if !s.post(ctx, p, payer, r) {
			continue
		}
		own := rand.New(rand.NewPCG(rnd.Uint64(), n))
		s.followers.Go(func() { s.followRequest(r, own) })
	}
}

func (s *sim) post(ctx context.Context, p *process, payer horde.UserID, r *request) bool {
	if !p.enter() {
		return false
	}
	defer p.leave()
	id, err := p.exchange.NewRequestID()
	if err != nil {
		s.wrong("new id: %v", err)
		return false
	}
	_, err = p.exchange.Accept(ctx, horde.Request{
		ID: id, Kind: horde.KindText, Payer: payer, Slots: r.slots, Things: 80, TTL: 150, Created: time.Now(), Body: []byte("prompt"),
		Shape: horde.Shape{Kind: horde.KindText, Models: []string{"m"}, SlowOK: true, MaxLength: 80, MaxContextLength: 1024},
		Quote: horde.Quote{Tax: horde.Whole(1)},
	})
	if err != nil || p.ctx.Err() != nil {
		return false // nobody was told that it was accepted
	}
	r.id, r.accepted = id, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	return true
}

// followRequest polls at any node, as clients do, and now and then gives up.
func (s *sim) followRequest(r *request, rnd *rand.Rand) {
	cancels := rnd.IntN(10) == 0
	seen := r.accepted // when there was progress
	for !s.over.Load() {
		pause(s.ctx, time.Second+time.Duration(rnd.Int64N(int64(9*time.Second))))
		p := s.somewhere(rnd)
		if p == nil || !p.enter() {
			continue
		}
		var st horde.Status
		var err error
		if cancels && !s.resting() && rnd.IntN(4) == 0 {
			st, err = p.exchange.Cancel(p.ctx, r.id)
			r.asked = true
			r.cancelled = r.cancelled || err == nil && p.ctx.Err() == nil
		} else {
			st, err = p.exchange.Status(p.ctx, r.id, true)
		}
		p.leave()
		if p.ctx.Err() != nil {
			continue
		}
		switch {
		case errors.Is(err, horde.RCRequestNotFound):
			if time.Since(seen) < expiresAfter-time.Minute {
				s.wrong("%s: request %s, accepted %v ago, is not found at %s; %s", time.Now().Format(time.TimeOnly), r.id, time.Since(r.accepted), p.id(), s.whereabouts(r.id))
			}
			r.ended = "expired"
		case err != nil:
			continue
		case st.Faulted:
			r.ended = "faulted"
		case st.Waiting+st.Processing == 0 && st.Finished == r.slots:
			r.ended = "done"
		case st.Waiting+st.Processing == 0 && r.asked:
			r.ended = "cancelled"
		}
		if st.Finished > r.slots || len(st.Generations) > r.slots {
			s.wrong("request %s of %d slots has %d results", r.id, r.slots, max(st.Finished, len(st.Generations)))
		}
		if err == nil && st.Finished+st.Processing > 0 {
			seen = time.Now()
		}
		if r.ended != "" {
			r.finished = st.Finished
			r.over.Store(true)
			return
		}
	}
}

// worker polls, works and delivers. A careless one leaves some jobs undone.
func (s *sim) worker(ctx context.Context, rnd *rand.Rand, name string, owner horde.User, careless bool) {
	at := s.somewhere(rnd)
	for ctx.Err() == nil {
		pause(ctx, time.Duration(rnd.Int64N(int64(2*time.Second))))
		if s.resting() {
			continue
		}
		if at == nil || at.ctx.Err() != nil || rnd.IntN(20) == 0 {
			at = s.somewhere(rnd)
		}
		if at == nil || !at.enter() {
			continue
		}
		res, err := at.exchange.Pop(at.ctx, horde.Pop{
			User: owner, Kind: horde.KindText, Name: name, Amount: 1, Wait: time.Duration(rnd.IntN(2)) * 5 * time.Second,
			Caps: horde.Caps{BridgeAgent: "KoboldCppEmbedWorker:2:x", Models: []string{"m"}, MaxLength: 512, MaxContextLength: 4096, Threads: 1},
		})
		at.leave()
		if errors.Is(err, horde.RCWorkerMaintenance) && !careless {
			s.wrong("worker %s is in maintenance: %v", name, err)
		}
		if err != nil || at.ctx.Err() != nil || res.Grant == nil {
			if err != nil {
				at = nil
			}
			continue
		}
		for _, job := range res.Grant.Jobs {
			s.leased(job, name)
		}
		pause(ctx, time.Second+time.Duration(rnd.Int64N(int64(20*time.Second))))
		for _, job := range res.Grant.Jobs {
			if careless && rnd.IntN(3) == 0 {
				continue
			}
			s.deliver(s.ctx, rnd, at, owner, job)
		}
	}
}

// leased notes that a worker has a job.
func (s *sim) leased(job horde.JobID, worker string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.grants++
	if has, ok := s.leases[job]; ok && has != worker {
		s.errs = append(s.errs, fmt.Errorf("job %s was given to %s and to %s", job, has, worker))
	}
	s.leases[job] = worker
}

// deliver submits until somebody takes the result or refuses it for good.
func (s *sim) deliver(ctx context.Context, rnd *rand.Rand, at *process, owner horde.User, job horde.JobID) {
	for tries := 0; ctx.Err() == nil; tries++ {
		if tries > 0 {
			pause(ctx, 2*time.Second)
			at = s.somewhere(rnd)
		}
		if at == nil || !at.enter() {
			continue
		}
		_, err := at.exchange.Submit(at.ctx, horde.Submission{Job: job, By: owner.ID, State: "ok", Result: []byte(job.String())})
		at.leave()
		if at.ctx.Err() != nil || errors.Is(err, horde.RCUnavailable) {
			continue
		}
		s.note(func(c *counts) {
			if err == nil {
				c.delivered++
			} else {
				c.refused++
			}
		})
		var known *horde.Error
		if err != nil && !errors.As(err, &known) {
			s.wrong("submit of %s: %v", job, err)
		}
		return
	}
}

// whereabouts tells what the nodes know of a request, for the one who has to find out.
func (s *sim) whereabouts(id horde.RequestID) string {
	text := fmt.Sprintf(" %d slots settled;", s.book.paid(id))
	for _, n := range s.all() {
		in := n.replica.m.Reader().Standin(n.id)
		text += fmt.Sprintf(" %s (%x): backup %s, successor %s, superseded %v, earlier %v", n.id, n.id.Tag(), in.Backup, in.Successor, in.Superseded, in.Earlier)
		if n.replica.m.Reader().Held(id) {
			text += ", knows a hold"
		}
		if p := s.net.running(n.id); p == nil {
			text += ", down"
		} else if st, err := p.home.Status(p.ctx, id, false); err == nil {
			text += fmt.Sprintf(", has it: %+v", st)
		}
		text += ";"
	}
	return text
}
