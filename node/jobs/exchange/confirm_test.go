package exchange

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
)

// Gossip has not told of it, but a refusal would be final: the homes are asked first.
func TestRefusalsAreConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c")
		settle(time.Second)
		f.pop(f.nodes["b"], f.poll("w"))
		settle(time.Second)
		f.ledger.setWorker("w", func(w *horde.Worker) { w.Maintenance = true })
		f.wire.set(func() { f.wire.drop = func(_, _ horde.NodeID, topic string) bool { return topic == TopicText } })

		own := f.nodes["a"].ask(owner)
		first, second := f.nodes["a"].ask(alice), f.nodes["c"].ask(alice)
		b := f.nodes["b"]
		if got := b.Waiting(alice, horde.KindText); got != 0 {
			t.Fatalf("b knows of %d slots by gossip that is dropped", got)
		}
		if got := b.ConfirmWaiting(f.ctx, alice, horde.KindText); got != 2 {
			t.Errorf("ConfirmWaiting = %d, want 2: %v and %v", got, first, second)
		}
		if got := b.Waiting(alice, horde.KindText); got != 2 {
			t.Errorf("Waiting afterwards = %d, want 2: what was told is remembered", got)
		}
		res, err := b.Pop(f.ctx, f.poll("w"))
		if err != nil || res.Grant == nil || res.Grant.Request != own {
			t.Errorf("Pop of a worker in maintenance = %+v, %v, want its owner's job", res.Grant, err)
		}
		if _, err := b.Pop(f.ctx, f.poll("w")); !errors.Is(err, horde.RCWorkerMaintenance) {
			t.Errorf("Pop = %v, want WorkerMaintenance: there is no more for it", err)
		}

		f.nodes["c"].home.end(second) // nobody hears of that either
		if got := b.ConfirmWaiting(f.ctx, alice, horde.KindText); got != 1 {
			t.Errorf("ConfirmWaiting after the end of one = %d, want 1", got)
		}
		f.wire.set(func() { f.wire.cut[[2]horde.NodeID{"b", "c"}] = true })
		if got := b.ConfirmWaiting(f.ctx, alice, horde.KindText); got != 2 {
			t.Errorf("ConfirmWaiting without c = %d, want 2 as b remembers", got)
		}
	})
}

// Near a limit the homes are asked how much waits, of more than one home tells at a time, and
// by model where that is the limit.
func TestLimitsAreConfirmedByModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c")
		settle(time.Second)
		f.wire.set(func() { f.wire.drop = func(_, _ horde.NodeID, topic string) bool { return topic == TopicText } })
		naming := func(slots int, models ...string) func(*horde.Offer) {
			return func(o *horde.Offer) { o.Open, o.Shape.Models = slots, models }
		}
		for range maxConfirmed + 10 {
			f.nodes["c"].ask(alice, naming(2, "m"))
		}
		f.nodes["b"].ask(alice, naming(3, "m", "x"))
		f.nodes["a"].ask(alice, naming(5))
		f.nodes["a"].ask(bob, naming(7, "m"))
		b := f.nodes["b"]
		const ofM, all = 2*(maxConfirmed+10) + 3, 2*(maxConfirmed+10) + 3 + 5
		for _, tt := range []struct {
			models      []string
			heard, want int
		}{
			{[]string{"x"}, 3, 3},
			{[]string{"m"}, 3, ofM},
			{[]string{"m", "x"}, 3 + 3 + 2*maxConfirmed, ofM + 3}, // that names both counts twice
			{[]string{"y"}, 0, 0},
			{nil, 3 + 2*maxConfirmed, all},
		} {
			if got := b.Waiting(alice, horde.KindText, tt.models...); got != tt.heard {
				t.Errorf("Waiting for %v = %d, want %d", tt.models, got, tt.heard)
			}
			if got := b.ConfirmWaiting(f.ctx, alice, horde.KindText, tt.models...); got != tt.want {
				t.Errorf("ConfirmWaiting for %v = %d, want %d", tt.models, got, tt.want)
			}
		}
	})
}
