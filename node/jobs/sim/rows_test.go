package sim

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/horde"
	"hordenode/node/jobs/exchange"
)

// Rows of the fault matrix (reliability.md section 4), each alone on three nodes.

// scripted runs a script on three nodes and reports what went wrong.
func scripted(t *testing.T, script func(ctx context.Context, s *sim)) {
	t.Helper()
	s := simulate(t, 1, plan{nodes: 3}, func(s *sim) {
		s.script = func(ctx context.Context) {
			pause(ctx, 5*time.Second) // until all have met
			for _, name := range []string{"one", "two"} {
				s.pop(0, name) // registers it
			}
			s.net.mu.Lock()
			s.net.loss, s.net.twice = 0, 0
			s.net.mu.Unlock()
			script(ctx, s)
		}
	})
	if err := s.err(); err != nil {
		t.Error(err)
	}
}

func (s *sim) at(i int) *process { return s.net.running(s.all()[i].id) }

// posted is a request at a node, which others have heard of.
func (s *sim) posted(ctx context.Context, at int) *request {
	r := &request{slots: 1}
	if !s.post(ctx, s.at(at), s.payers[0], r) {
		s.wrong("the request was not accepted")
	}
	pause(ctx, time.Second)
	return r
}

func (s *sim) pop(at int, worker string) *horde.Grant {
	p := s.at(at)
	res, err := p.exchange.Pop(p.ctx, horde.Pop{
		User: s.owner, Kind: horde.KindText, Name: worker, Amount: 1,
		Caps: horde.Caps{BridgeAgent: "KoboldCppEmbedWorker:2:x", Models: []string{"m"}, MaxLength: 512, MaxContextLength: 4096, Threads: 1},
	})
	if err != nil {
		s.wrong("pop of %s: %v", worker, err)
	}
	return res.Grant
}

func (s *sim) submit(at int, job horde.JobID, by horde.UserID) error {
	p := s.at(at)
	_, err := p.exchange.Submit(p.ctx, horde.Submission{Job: job, By: by, State: "ok", Result: []byte("result")})
	return err
}

// settles waits until a request is done and paid for once, and nobody is blamed.
func (s *sim) settles(ctx context.Context, r *request, workers ...string) {
	for range 120 {
		pause(ctx, time.Second)
		st, err := s.at(1).exchange.Status(ctx, r.id, true)
		if err != nil || st.Finished != 1 || s.book.paid(r.id) != 1 || s.at(1).client.Held(r.id) {
			continue
		}
		s.book.mu.Lock()
		times := len(s.book.settled[slot{r.id, 0}])
		s.book.mu.Unlock()
		if times != 1 {
			s.wrong("the slot of %s was settled %d times, want once", r.id, times)
		}
		for _, name := range workers {
			if w, ok := s.at(1).client.WorkerByName(name); !ok || w.Maintenance || w.Uncompleted > 0 {
				s.wrong("worker %s: known %v, %d not completed, maintenance %v, want no blame", name, ok, w.Uncompleted, w.Maintenance)
			}
		}
		s.check(s.all()[1].replica.m.CheckInvariants())
		return
	}
	s.wrong("the request was not done and paid for in two minutes; %s", s.whereabouts(r.id))
}

// Row 38: a node dies between the answer to a pop and the commit of what follows.
func TestRow38NodeDiesAfterThePop(t *testing.T) {
	for name, dies := range map[string]int{"the home": 0, "the popping node": 1} {
		t.Run(name, func(t *testing.T) {
			scripted(t, func(ctx context.Context, s *sim) {
				r := s.posted(ctx, 0)
				for _, n := range s.all() { // no quorum: what follows cannot be committed
					s.net.sever(n.id, s.all()[2].id)
				}
				g := s.pop(1, "one")
				if g == nil {
					s.wrong("no job")
					return
				}
				n := s.all()[dies]
				s.check(n.crash())
				if dies == 1 && s.pop(0, "two") != nil {
					s.wrong("the job was given away again before its lease was over")
				}
				pause(ctx, 20*time.Second)
				s.check(n.start())
				s.net.heal()
				pause(ctx, 10*time.Second)
				if dies == 0 && s.pop(2, "two") != nil {
					s.wrong("the job was given away again after the restart")
				}
				s.check(s.submit(2, g.Jobs[0], s.owner.ID))
				s.settles(ctx, r, "one")
			})
		})
	}
}

// Row 39: the node at which a job was popped is cut off, and it is popped again elsewhere: one
// of both is paid, nobody is blamed.
func TestRow39PoppingNodeIsCutOff(t *testing.T) {
	scripted(t, func(ctx context.Context, s *sim) {
		r := s.posted(ctx, 0)
		first := s.pop(2, "one")
		if first == nil {
			s.wrong("no job")
			return
		}
		for _, o := range s.all()[:2] {
			s.net.sever(o.id, s.all()[2].id)
		}
		pause(ctx, 30*time.Second)
		if err := s.submit(2, first.Jobs[0], s.owner.ID); err != nil {
			s.wrong("a result at the node that is cut off: %v, want it kept", err)
		}
		var second *horde.Grant
		for range 200 {
			if second = s.pop(1, "two"); second != nil {
				break
			}
			pause(ctx, time.Second)
		}
		if second == nil {
			s.wrong("the job is not given away again")
			return
		}
		s.check(s.submit(1, second.Jobs[0], s.owner.ID))
		s.net.heal()
		s.settles(ctx, r, "one", "two")
		for range 60 {
			if s.at(2).relay.Len() == 0 {
				return
			}
			pause(ctx, time.Second)
		}
		s.wrong("the late result still waits")
	})
}

// Row 40: half of all gossip is lost, messages come twice, late and again: every job can be
// popped at every node.
func TestRow40GossipIsLostAndReplayed(t *testing.T) {
	scripted(t, func(ctx context.Context, s *sim) {
		s.net.mu.Lock()
		s.net.loss, s.net.twice = 500, 200
		s.net.mu.Unlock()
		const requests = 300
		for range requests {
			if !s.post(ctx, s.at(0), s.payers[0], &request{slots: 1}) {
				s.wrong("the request was not accepted")
			}
		}
		began := time.Now()
		s.net.mu.Lock()
		s.net.loss = 0 // of streams; gossip was lost already
		s.net.mu.Unlock()
		for s.missing() != "" {
			if pause(ctx, 100*time.Millisecond); time.Since(began) > seenWithin {
				s.wrong("%v later %s", seenWithin, s.missing())
				return
			}
		}
	})
}

// Claims and results in the name of others, from a member with a valid key.
func TestAdversaryClaimsAndSubmitsForOthers(t *testing.T) {
	scripted(t, func(ctx context.Context, s *sim) {
		r := s.posted(ctx, 0)
		mallory, home := s.all()[2].id, s.at(0)
		claim, err := cbor.Marshal(horde.Claim{Nonce: [16]byte{1}, Worker: horde.WorkerID{UUID: horde.UUID{9}}, Amount: 1, Want: []horde.RequestID{r.id}})
		s.check(err)
		answer, err := home.exchange.HandleClaim(ctx, mallory, claim)
		var res struct {
			Refusal *struct {
				RC horde.RC `cbor:"1,keyasint"`
			} `cbor:"1,keyasint"`
		}
		if err != nil || cbor.Unmarshal(answer, &res) != nil || res.Refusal == nil || res.Refusal.RC != horde.RCWorkerNotFound {
			s.wrong("a claim of a worker that nobody has: %+v, %v, want %v", res.Refusal, err, horde.RCWorkerNotFound)
		}
		if _, err := home.exchange.HandleClaim(ctx, mallory, make([]byte, 1<<20)); err == nil {
			s.wrong("a megabyte of nothing is taken for a claim")
		}
		g := s.pop(1, "one")
		if g == nil {
			s.wrong("no job")
			return
		}
		if err := s.submit(2, g.Jobs[0], s.careless.ID); !errors.Is(err, horde.RCWrongCredentials) {
			s.wrong("a result by somebody else: %v, want %v", err, horde.RCWrongCredentials)
		}
		made := g.Jobs[0]
		made.UUID[15]++
		if err := s.submit(2, made, s.owner.ID); !errors.Is(err, horde.RCInvalidJobID) {
			s.wrong("a result of a job that is made up: %v, want %v", err, horde.RCInvalidJobID)
		}
		if _, err := s.at(2).Call(ctx, home.id(), exchange.ProtoBlob, []byte("nonsense")); err == nil {
			s.wrong("nonsense is taken for a file")
		}
		s.check(s.submit(1, g.Jobs[0], s.owner.ID))
		s.settles(ctx, r, "one")
	})
}
