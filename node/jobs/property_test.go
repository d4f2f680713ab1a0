package jobs

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hordenode/internal/horde"
)

var errCrash = errors.New("crash")

// A story is a home that random things happen to, crashes included, and what is known of it
// from outside.
type story struct {
	*world
	requests []horde.RequestID
	workers  []horde.WorkerID
	jobs     []horde.JobID
	owner    map[horde.JobID]horde.UserID
	fake     map[horde.JobID]bool
	paid     map[horde.JobID]bool // answered with a reward
	cut      map[horde.JobID]bool // forms that were running when their request was cancelled
	empty    map[horde.RequestID]bool
	claims   []horde.Claim
	slots    map[slotGen]horde.JobID
	sent     uint64 // last outbox item that the ledger has
	crashing bool
}

type slotGen struct {
	id   horde.RequestID
	slot uint16
	gen  uint32
}

// TestStories checks, whatever happens: a slot is settled at most once, and once if its
// submission was answered; it is never leased to two in one generation; admission comes first
// and Finish last; every request ends and leaves nothing.
func TestStories(t *testing.T) {
	ram := "/dev/shm" // a disk is opened and closed a thousand times
	if _, err := os.Stat(ram); err != nil {
		ram = ""
	}
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(ram, "jobs")
		if err != nil {
			t.Fatal(err)
		}
		s := &story{
			world: worldIn(t, dir), owner: map[horde.JobID]horde.UserID{}, fake: map[horde.JobID]bool{},
			paid: map[horde.JobID]bool{}, cut: map[horde.JobID]bool{}, empty: map[horde.RequestID]bool{}, slots: map[slotGen]horde.JobID{},
		}
		defer func() {
			s.Close()
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}()
		s.workers = []horde.WorkerID{
			s.books.worker(1, bob), s.books.worker(2, bob), s.books.worker(3, alice),
			s.books.worker(4, bob, func(w *horde.Worker) { w.Paused = true }),
		}
		t.Repeat(map[string]func(*rapid.T){
			"accept":      s.acceptSome,
			"claim":       s.claimSome,
			"claim more":  s.claimSome,
			"claim again": s.claimAgain,
			"submit":      s.submitSome,
			"submit more": s.submitSome,
			"cancel":      s.cancelSome,
			"wait":        s.waitSome,
			"send":        func(*rapid.T) { s.send() },
			"crash soon":  s.crashSoon,
			"restart":     func(*rapid.T) { s.restart() },
			"":            s.check,
		})
		s.end()
	})
}

func (s *story) acceptSome(t *rapid.T) {
	q := s.text(rapid.IntRange(1, 4).Draw(t, "slots"))
	q.Kind = rapid.SampledFrom([]horde.Kind{horde.KindImage, horde.KindText, horde.KindAlchemy}).Draw(t, "kind")
	if q.Kind == horde.KindAlchemy {
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"caption", "nsfw"}), 0, 4).Draw(t, "forms")
		q = s.alchemy(names...)
	}
	q.Shape.Kind = q.Kind
	q.Body = make([]byte, rapid.SampledFrom([]int{10, pieceSize * 2}).Draw(t, "length"))
	_, err := s.Accept(context.Background(), q)
	if s.survived(err) {
		s.requests = append(s.requests, q.ID)
		s.empty[q.ID] = q.Slots == 0
	}
}

func (s *story) claimSome(t *rapid.T) {
	if len(s.requests) == 0 {
		t.Skip()
	}
	c := horde.Claim{
		Worker: rapid.SampledFrom(s.workers).Draw(t, "worker"), Amount: rapid.IntRange(1, 3).Draw(t, "amount"),
		Want: []horde.RequestID{rapid.SampledFrom(s.requests).Draw(t, "want")},
		Caps: horde.Caps{MaxPixels: 1 << 24, ExtraSlow: rapid.Bool().Draw(t, "slow")},
	}
	c.Caps.Models = rapid.SampledFrom([][]string{{"m", "caption"}, {"m", "caption", "nsfw"}}).Draw(t, "models")
	if rapid.Bool().Draw(t, "with nonce") {
		c.Nonce[0], c.Nonce[1] = 1, byte(len(s.claims))
	}
	s.ask(c)
}

// claimAgain repeats a claim, as if its answer had been lost.
func (s *story) claimAgain(t *rapid.T) {
	if len(s.claims) == 0 {
		t.Skip()
	}
	s.ask(rapid.SampledFrom(s.claims).Draw(t, "claim"))
}

func (s *story) ask(c horde.Claim) {
	if r, ok := s.Home.request(c.Want[0]); ok {
		w := s.books.workers[c.Worker]
		w.Kind = r.kind
		s.books.workers[c.Worker] = w
	}
	a, err := s.Claim(context.Background(), c)
	if !s.survived(err) {
		return
	}
	if c.Nonce != ([16]byte{}) {
		s.claims = append(s.claims, c)
	}
	if a.Grant == nil {
		return
	}
	for _, id := range a.Grant.Jobs {
		if s.owner[id] == 0 {
			s.jobs = append(s.jobs, id)
		}
		s.owner[id] = s.books.workers[c.Worker].Owner
		s.fake[id] = a.Grant.Fake
	}
}

func (s *story) submitSome(t *rapid.T) {
	if len(s.jobs) == 0 {
		t.Skip()
	}
	id := rapid.SampledFrom(s.jobs).Draw(t, "job")
	sub := horde.Submission{
		Job: id, By: rapid.SampledFrom([]horde.UserID{s.owner[id], s.owner[id], alice, bob}).Draw(t, "by"),
		State:  rapid.SampledFrom([]string{"ok", "ok", "censored", "faulted"}).Draw(t, "state"),
		Result: make([]byte, rapid.SampledFrom([]int{10, pieceSize * 2}).Draw(t, "length")),
	}
	got, err := s.Submit(context.Background(), sub)
	if err == nil && got.Reward > 0 {
		switch {
		case sub.By != s.owner[id]:
			t.Fatalf("job %s was paid to somebody else", id)
		case s.paid[id]:
			t.Fatalf("job %s was paid twice", id)
		}
		s.paid[id] = true
	}
	s.survived(err)
}

func (s *story) cancelSome(t *rapid.T) {
	if len(s.requests) == 0 {
		t.Skip()
	}
	id := rapid.SampledFrom(s.requests).Draw(t, "request")
	running := map[horde.JobID]horde.UserID{} // with owners: a crash may have hidden the grant from us
	if r, ok := s.Home.request(id); ok && r.kind == horde.KindAlchemy {
		for _, j := range r.jobs {
			if j.state == jobRunning {
				running[j.id] = j.owner
			}
		}
	}
	_, err := s.Cancel(context.Background(), id)
	if !s.survived(err) {
		return
	}
	for j, owner := range running {
		s.cut[j] = true
		if sub, err := s.submit(j, owner, ""); !errors.Is(err, horde.RCDuplicateGen) {
			t.Fatalf("Submit of a form that was cancelled = %+v, %v, want DuplicateGen", sub, err)
		}
	}
}

func (s *story) waitSome(t *rapid.T) {
	s.pass(rapid.SampledFrom([]time.Duration{time.Second, 100 * time.Second, 200 * time.Second, 10 * time.Minute, 21 * time.Minute}).Draw(t, "time"))
	s.survived(s.Sweep(context.Background(), s.now()))
}

// crashSoon makes the next write the last one: it is lost, or it is on disk but nobody hears.
func (s *story) crashSoon(t *rapid.T) {
	if s.crashing {
		t.Skip()
	}
	s.crashing = true
	fail := func() error { return errCrash }
	if rapid.Bool().Draw(t, "before") {
		s.store.beforeCommit = fail
	} else {
		s.store.afterCommit = fail
	}
}

// survived tells whether a call had an answer; if the home crashed, it is opened again.
func (s *story) survived(err error) bool {
	var refusal *horde.Error
	switch {
	case err == nil:
		return true
	case errors.As(err, &refusal):
		return false
	case s.crashing && errors.Is(err, errCrash):
		s.restart()
		return false
	}
	s.t.Fatalf("unexpected error: %v", err)
	return false
}

func (s *story) restart() {
	if err := s.Close(); err != nil {
		s.t.Fatalf("Close: %v", err)
	}
	s.crashing = false
	s.open(s.dir)
}

// send hides world.send: the home may crash before it knows what the ledger has.
func (s *story) send() {
	items, err := s.Outbox().Pending(0, 10_000)
	if err != nil {
		s.t.Fatalf("Pending: %v", err)
	}
	for _, it := range items {
		if it.N <= s.sent {
			continue
		}
		s.sent = it.N
		if err := s.books.apply(it.Data); err != nil {
			s.t.Fatalf("item %d: %v", it.N, err)
		}
	}
	s.survived(s.Outbox().Done(s.sent))
}

// check looks inside.
func (s *story) check(t *rapid.T) {
	for id, r := range s.Home.requests {
		held := map[uint16]int{}
		running, finished, faults, settled := 0, 0, 0, 0
		aborts := map[uint16]int{}
		for _, j := range r.jobs {
			if j.fake {
				continue
			}
			key := slotGen{id, j.slot, j.gen}
			if other, taken := s.slots[key]; taken && other != j.id {
				t.Fatalf("slot %d of %s was leased twice in generation %d", j.slot, id, j.gen)
			}
			s.slots[key] = j.id
			switch j.state {
			case jobRunning:
				running++
				held[j.slot]++
			case jobDone:
				finished++
				held[j.slot]++
			case jobFaulted:
				faults++
				aborts[j.slot]++
			case jobCancelled:
				settled++
				held[j.slot]++
			}
			if r.kind == horde.KindAlchemy && r.forms[j.slot].Name != j.model.Value() {
				t.Fatalf("job %s is a %s, its slot a %s", j.id, j.model.Value(), r.forms[j.slot].Name)
			}
		}
		spent := 0
		for _, n := range aborts {
			if r.kind == horde.KindAlchemy && n >= maxFormFaults {
				spent++
			}
		}
		if settled > 0 && (r.kind != horde.KindAlchemy || !r.cancelled) {
			t.Fatalf("%d jobs of %s were settled without a result", settled, id)
		}
		for slot, n := range held {
			if n > 1 {
				t.Fatalf("slot %d of %s belongs to %d jobs", slot, id, n)
			}
		}
		if int(r.running) != running || int(r.finished) != finished || int(r.faults) != faults {
			t.Fatalf("%s counts %d, %d, %d, want %d, %d, %d", id, r.running, r.finished, r.faults, running, finished, faults)
		}
		open := int(r.slots) - running - finished - settled - spent
		if r.cancelled || r.faulted {
			open = 0
		}
		if int(r.open) != open {
			t.Fatalf("%s has %d open slots, want %d", id, r.open, open)
		}
		if r.closed != r.ended() {
			t.Fatalf("%s: Finish sent %v, ended %v", id, r.closed, r.ended())
		}
	}
}

// end lets all time pass and balances the books.
func (s *story) end() {
	s.restart() // what was to crash does not any more
	for range 10 {
		s.pass(time.Hour)
		if err := s.Sweep(context.Background(), s.now()); err != nil {
			s.t.Fatalf("Sweep: %v", err)
		}
	}
	s.wantEmptyDisk()
	s.send()
	if n := len(s.books.holds); n != 0 {
		s.t.Fatalf("%d requests never ended", n)
	}
	for _, id := range s.requests {
		if !s.books.closed[id] && !s.empty[id] {
			s.t.Fatalf("request %s was never finished", id)
		}
	}
	for id := range s.cut {
		if !s.books.settled[id] {
			s.t.Fatalf("form %s was cancelled in flight and not settled", id)
		}
	}
	for id := range s.paid {
		if s.books.settled[id] == s.fake[id] {
			s.t.Fatalf("job %s: settled %v, decoy %v", id, s.books.settled[id], s.fake[id])
		}
	}
}
