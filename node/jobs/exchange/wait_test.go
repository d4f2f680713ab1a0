package exchange

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
)

// waitingPop starts a poll that waits, and returns where its result comes.
func (f *federation) waitingPop(n *node, p horde.Pop) <-chan horde.PopResult {
	f.t.Helper()
	out := make(chan horde.PopResult, 1)
	go func() {
		res, err := n.Pop(f.ctx, p)
		if err != nil {
			f.t.Errorf("Pop of %s: %v", p.Name, err)
		}
		out <- res
	}()
	return out
}

func patient(d time.Duration) func(*horde.Pop) {
	return func(p *horde.Pop) { p.Wait = d }
}

// A worker that waits gets a job as soon as there is one, of this node or another.
func TestWaitingPopIsWoken(t *testing.T) {
	for _, tt := range []struct {
		home   string
		within time.Duration
	}{{"a", time.Millisecond}, {"b", 200 * time.Millisecond}} {
		t.Run("home "+tt.home, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := federate(t, "a", "b")
				settle(time.Second)
				got := f.waitingPop(f.nodes["a"], f.poll("w", patient(time.Minute)))
				settle(30 * time.Second)
				began := time.Now()
				id := f.nodes[tt.home].ask(alice)
				res := <-got
				if res.Grant == nil || res.Grant.Request != id {
					t.Fatalf("Pop = %+v, want a job of %s", res, id)
				}
				if took := time.Since(began); took > tt.within {
					t.Errorf("the job came after %v, want %v at most", took, tt.within)
				}
			})
		})
	}
}

// Without a job a wait ends with its time, its context, or when it is told to.
func TestWaitingPopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a")
		leave := make(chan struct{})
		began := time.Now()
		if res := f.pop(f.nodes["a"], f.poll("w1", patient(7*time.Second))); res.Grant != nil || res.Worker.Name != "w1" || time.Since(began) != 7*time.Second {
			t.Errorf("Pop = %+v after %v, want nothing after 7 s", res, time.Since(began))
		}
		left := f.waitingPop(f.nodes["a"], f.poll("w2", patient(time.Minute), func(p *horde.Pop) { p.Leave = leave }))
		ctx, cancel := context.WithCancel(f.ctx)
		gone := make(chan error, 1)
		go func() {
			_, err := f.nodes["a"].Pop(ctx, f.poll("w3", patient(time.Minute)))
			gone <- err
		}()
		settle(time.Second)
		close(leave)
		cancel()
		if res := <-left; res.Grant != nil {
			t.Errorf("Pop that was told to leave = %+v", res)
		}
		if err := <-gone; err != nil {
			t.Errorf("Pop whose client has gone: %v", err)
		}
		if n := len(f.nodes["a"].waits.waiting(horde.KindText)); n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}

// Many jobs that come at once find workers at once, and several slots of one do.
func TestWaitingPopsShareABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a")
		const n = 50
		results := make(chan horde.PopResult, n)
		for i := range n {
			waiting := f.waitingPop(f.nodes["a"], f.poll(fmt.Sprint("w", i), patient(time.Minute)))
			go func() { results <- <-waiting }()
		}
		settle(time.Second)
		took := func(jobs int) {
			t.Helper()
			began := time.Now()
			for range jobs {
				if res := <-results; res.Grant == nil {
					t.Fatalf("%s got nothing", res.Worker.Name)
				}
			}
			if took := time.Since(began); took > 4*retryWake {
				t.Errorf("%d jobs were taken within %v, want %v", jobs, took, 4*retryWake)
			}
		}
		for range n / 2 {
			f.nodes["a"].ask(alice)
		}
		took(n / 2)
		f.nodes["a"].ask(alice, func(o *horde.Offer) { o.Open = n / 2 })
		took(n / 2)
	})
}

// Only workers that a job suits are woken, and when the home refuses the first, the next is.
func TestWaitingPopGoesOnToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a")
		a := f.nodes["a"]
		other := f.waitingPop(a, f.poll("other", patient(time.Minute), func(p *horde.Pop) { p.Caps.Models = []string{"x"} }))
		refused := f.waitingPop(a, f.poll("refused", patient(time.Minute)))
		settle(time.Second)
		id := a.ask(alice, func(o *horde.Offer) { a.home.set(o.ID, true) })
		settle(time.Second)
		a.home.set(id, false) // what the first saw does not hold for the second
		next := f.waitingPop(a, f.poll("next", patient(time.Minute)))
		if res := <-next; res.Grant == nil || res.Grant.Request != id {
			t.Errorf("the next worker's Pop = %+v, want a job of %s", res, id)
		}
		a.ask(alice)
		if res := <-refused; res.Grant == nil {
			t.Error("the first worker was forgotten")
		}
		if res := <-other; res.Grant != nil {
			t.Errorf("the worker of another model: %+v", res)
		}
	})
}

// A worker that goes away just when it is woken leaves the job to the next.
func TestWaitingPopPassesOnWhatItDoesNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a")
		a := f.nodes["a"]
		first, leave := a.waits.park(a.waiterOf(f.poll("w0"), horde.Worker{Kind: horde.KindText}))
		second := f.waitingPop(a, f.poll("w1", patient(time.Minute)))
		settle(time.Second)
		a.ask(alice)
		<-first // is woken and does nothing
		leave()
		began := time.Now()
		if res := <-second; res.Grant == nil || time.Since(began) > 2*retryWake {
			t.Errorf("Pop = %+v after %v, want the job within %v", res.Grant, time.Since(began), 2*retryWake)
		}
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		a, b := f.nodes["a"], f.nodes["b"]
		id := a.ask(alice)
		own, every, stop := a.Watch(id)
		if every != 0 {
			t.Errorf("an own request is to be looked at every %v, want never", every)
		}
		far, every, stopFar := b.Watch(id)
		if every != askHome {
			t.Errorf("another's request is to be looked at every %v, want %v", every, askHome)
		}
		settle(time.Second)
		drain(own)
		drain(far)
		a.home.end(id)
		<-own
		<-far // its offer was closed
		a.home.end(id)
		<-own // a closed request changes too
		stop()
		stopFar()
		if len(a.waits.requests)+len(b.waits.requests) != 0 {
			t.Error("watchers are left")
		}
	})
}

func drain(ch <-chan struct{}) {
	select {
	case <-ch:
	default:
	}
}

// set has the home refuse a request to all workers, or not.
func (h *fakeHome) set(id horde.RequestID, refused bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.blacklist == nil {
		h.blacklist = map[horde.RequestID]bool{}
	}
	h.blacklist[id] = refused
}

// Who waits at one node for a request of another hears of changes at once, told by its home.
func TestWaitersElsewhereAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		f.wire.set(func() { f.wire.drop = func(_, _ horde.NodeID, _ string) bool { return true } }) // not by gossip
		a, b := f.nodes["a"], f.nodes["b"]
		id := a.ask(alice)
		changed, _, stop := b.Watch(id)
		defer stop()
		if _, err := b.Status(f.ctx, id, false); err != nil { // the first look subscribes
			t.Fatal(err)
		}
		for i := range 2 {
			began := time.Now()
			a.OfferChanged(f.nodes["a"].home.offer(id))
			select {
			case <-changed:
			case <-time.After(time.Minute):
				t.Fatalf("change %d is not told", i)
			}
			if took := time.Since(began); took > 10*time.Millisecond {
				t.Errorf("change %d was told after %v, want one call's time", i, took)
			}
		}

		f.wire.set(func() { f.wire.cut[[2]horde.NodeID{"a", "b"}] = true })
		a.home.end(id) // nobody hears
		settle(2 * tellBudget)
		f.wire.set(func() { clear(f.wire.cut) })
		select {
		case <-changed:
			t.Fatal("woken through a cut link")
		default:
		}
		b.Connected("a")
		select {
		case <-changed:
		case <-time.After(time.Second):
			t.Error("not woken when the home came back")
		}

		settle(watchTTL + 2*sweepAudience) // nobody looked for long
		if n := len(a.audience.by); n != 0 {
			t.Errorf("%d requests are still watched", n)
		}
	})
}

// offer returns a copy of a request's offer.
func (h *fakeHome) offer(id horde.RequestID) horde.Offer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return *h.requests[id]
}
