package jobs

import (
	"context"
	"errors"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestAcceptUpfront(t *testing.T) {
	lost := errors.New("connection lost")
	for _, tt := range []struct {
		name   string
		refuse error
		want   error
		sent   string // in the outbox
		kept   bool
	}{
		{"held", nil, nil, "", true},
		{"refused", horde.Refuse(horde.RCKudosUpfront, "no"), horde.RCKudosUpfront, "", false},
		{"outcome unknown", lost, lost, "F", false},
		{"ledger away", horde.Refuse(horde.RCUnavailable, "no"), horde.RCUnavailable, "F", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.books.refuse = tt.refuse
			q := w.image(3)
			q.Quote.Upfront = horde.Whole(50)
			_, err := w.Accept(context.Background(), q)
			if !errors.Is(err, tt.want) {
				t.Errorf("Accept = %v, want %v", err, tt.want)
			}
			items, err := w.Outbox().Pending(0, 10)
			if err != nil {
				t.Fatal(err)
			}
			sent := ""
			for _, it := range items {
				sent += string(it.Data[:1])
			}
			if sent != tt.sent {
				t.Errorf("outbox has %q, want %q", sent, tt.sent)
			}
			if _, err := w.Status(context.Background(), q.ID, false); (err == nil) != tt.kept {
				t.Errorf("Status = %v, kept should be %v", err, tt.kept)
			}
			if h := w.books.holds[q.ID]; tt.kept && (h == nil || h.admission.Slots != 3 || h.admission.Upfront != horde.Whole(50)) {
				t.Errorf("hold = %+v", h)
			}
		})
	}
}

func TestAcceptRefusals(t *testing.T) {
	w := newWorld(t)
	w.limits = limits{requests: 2, outbox: 100}
	other, none, many, long := w.text(1), w.text(1), w.text(1), w.text(1)
	other.ID.UUID[0]++
	none.Slots = 0
	many.Slots = maxSlots + 1
	long.Body = make([]byte, maxBody+1)
	for name, q := range map[string]horde.Request{"another home": other, "no slots": none, "many slots": many, "long body": long} {
		if _, err := w.Accept(context.Background(), q); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	q := w.text(1)
	w.accept(q)
	w.accept(q) // the same once more
	w.accept(w.text(1))
	if got := w.send(); got != "AA" {
		t.Errorf("outbox has %q, want two admissions", got)
	}
	if _, err := w.Accept(context.Background(), w.text(1)); !errors.Is(err, horde.RCUnavailable) {
		t.Errorf("Accept at a full home = %v", err)
	}
	w.limits = limits{requests: 100, outbox: 1}
	w.accept(w.text(1))
	if _, err := w.Accept(context.Background(), w.text(1)); !errors.Is(err, horde.RCUnavailable) {
		t.Errorf("Accept with a full outbox = %v", err)
	}
}

// However a request drags on, its hold outlives it.
func TestDeadline(t *testing.T) {
	for _, tt := range []struct {
		name string
		slow bool
		ttl  int
	}{{"quick", false, 150}, {"extra slow", true, 150}, {"long lease", true, 4000}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			worker := w.books.worker(1, bob)
			q := w.image(4)
			q.TTL, q.Shape.ExtraSlowOK = tt.ttl, tt.slow
			id := w.accept(q)
			w.send()
			left := w.books.holds[id].admission.Deadline
			faults := 0
			for {
				a := w.claimAs(horde.Claim{Worker: worker, Amount: 1, Want: []horde.RequestID{id},
					Caps: horde.Caps{Models: []string{"m"}, MaxPixels: 1 << 20, ExtraSlow: tt.slow}})
				if a.Grant == nil {
					break
				}
				if faults++; faults < maxFaults {
					w.sweepAfter(seconds(a.Grant.TTL) + time.Second)
				} else {
					w.pass(seconds(a.Grant.TTL))
					w.deliver(a.Grant.Jobs[0], bob)
				}
				r, ok := w.request(id)
				if !ok {
					t.Fatal("the request is gone")
				}
				w.pass(r.expiry.Sub(w.now())) // as late as can be
			}
			w.want(id, counts{finished: 4, restarted: 2, done: true})
			if now := w.now(); !now.Before(left.Add(-time.Hour)) {
				t.Errorf("at the end it is %s, the hold ended %s", now, left)
			}
		})
	}
}
