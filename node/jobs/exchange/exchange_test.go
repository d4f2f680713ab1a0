package exchange

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
)

func TestOfferIsPoppedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c")
		settle(time.Second)
		id := f.nodes["a"].ask(alice)
		within(t, 50*time.Millisecond, "b and c see the offer", func() bool { return f.nodes["b"].sees(id) && f.nodes["c"].sees(id) })
		if got := f.nodes["c"].Waiting(alice, horde.KindText); got != 1 {
			t.Errorf("Waiting at c = %d, want 1", got)
		}
		res := f.pop(f.nodes["b"], f.poll("w"))
		if res.Grant == nil || res.Grant.Request != id || res.Worker.Name != "w" || len(res.Skipped) != 0 {
			t.Fatalf("Pop at b = %+v, want a job of %s", res, id)
		}
		within(t, 50*time.Millisecond, "the offer is gone everywhere", func() bool {
			return !f.nodes["a"].sees(id) && !f.nodes["b"].sees(id) && !f.nodes["c"].sees(id)
		})
		if res := f.pop(f.nodes["c"], f.poll("w2")); res.Grant != nil {
			t.Errorf("second Pop = %+v, want nothing", res.Grant)
		}
	})
}

func TestClaimsRaceForOneSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c")
		settle(time.Second)
		id := f.nodes["a"].ask(alice)
		settle(100 * time.Millisecond)
		grants := make(chan *horde.Grant, 2)
		for name, worker := range map[string]string{"b": "w1", "c": "w2"} {
			go func() {
				res, err := f.nodes[name].Pop(f.ctx, f.poll(worker))
				if err != nil {
					t.Errorf("Pop at %s: %v", name, err)
				}
				grants <- res.Grant
			}()
		}
		won := 0
		for range 2 {
			if g := <-grants; g != nil {
				won++
			}
		}
		if won != 1 {
			t.Errorf("%d of 2 polls won the one slot, want 1", won)
		}
		if f.nodes["b"].sees(id) && f.nodes["c"].sees(id) {
			t.Error("both still see an offer that is gone")
		}
	})
}

func TestStaleOfferIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		gone := f.nodes["a"].ask(alice, func(o *horde.Offer) { o.Priority = 100 })
		open := f.nodes["a"].ask(alice)
		settle(100 * time.Millisecond)
		f.wire.set(func() { f.wire.drop = func(_, _ horde.NodeID, topic string) bool { return topic == TopicText } })
		f.nodes["a"].home.end(gone)
		if res := f.pop(f.nodes["b"], f.poll("w")); res.Grant == nil || res.Grant.Request != open {
			t.Errorf("Pop = %+v, want a job of %s", res.Grant, open)
		}
		if f.nodes["b"].sees(gone) {
			t.Error("b still offers what its home said is gone")
		}
	})
}

func TestBeaconRepairsWhatGossipLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(3 * time.Second)
		a, b := f.nodes["a"], f.nodes["b"]
		old := a.ask(alice)
		within(t, time.Second, "b sees the first offer", func() bool { return b.sees(old) })
		lossy := true
		f.wire.set(func() {
			f.wire.drop = func(_, _ horde.NodeID, topic string) bool { return topic == TopicText && lossy }
		})
		id := a.ask(alice)
		a.home.end(old)
		settle(time.Second)
		f.wire.set(func() { lossy = false })
		within(t, 4*time.Second, "b has repaired", func() bool { return b.sees(id) && !b.sees(old) })
		within(t, 4*time.Second, "b is complete", func() bool { return b.Stats().Homes[0].Complete })
	})
}

func TestNewNodeLearnsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		f.ledger.addMember(horde.Member{ID: "d", Active: true})
		for range 3000 { // several pages of a sync
			f.nodes["a"].ask(alice, func(o *horde.Offer) { o.Shape.Models = []string{"m", strings.Repeat("x", 300)} })
		}
		f.pop(f.nodes["b"], f.poll("w"))
		settle(time.Second)
		d := f.start("d")
		within(t, time.Second, "d has everything", func() bool {
			_, live := d.Live(horde.WorkerID{UUID: horde.UUID{0xee}})
			return d.offered(horde.KindText) == f.nodes["a"].offered(horde.KindText) && live
		})
		if calls := f.wire.calls[ProtoSync]; calls < 6 {
			t.Errorf("%d sync calls, want several pages", calls)
		}
	})
}

func TestBurstIsSeenEverywhereIn2Seconds(t *testing.T) {
	for _, loss := range []int{0, 3} { // of 3 messages one is lost
		t.Run(fmt.Sprintf("loss %d", loss), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := federate(t, "a", "b", "c")
				settle(5 * time.Second)
				n := 0
				f.wire.set(func() {
					f.wire.drop = func(_, _ horde.NodeID, topic string) bool {
						n++
						return loss > 0 && topic == TopicText && n%loss == 0
					}
				})
				for range 20_000 {
					f.nodes["a"].ask(alice)
				}
				within(t, 2*time.Second, "all 20000 are seen", func() bool {
					return f.nodes["b"].offered(horde.KindText) == 20_000 && f.nodes["c"].offered(horde.KindText) == 20_000
				})
			})
		})
	}
}

func TestSilentHomeIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		a, b := f.nodes["a"], f.nodes["b"]
		id := a.ask(alice)
		settle(time.Minute)
		if !b.sees(id) {
			t.Fatal("b forgot the offer of a home that lives")
		}
		a.stop()
		settle(30 * time.Second)
		if !b.sees(id) {
			t.Error("b forgot the offer after less than 45 s of silence")
		}
		within(t, 17*time.Second, "b forgets the offer", func() bool { return !b.sees(id) })
		if _, err := b.Status(f.ctx, id, false); !errors.Is(err, horde.RCUnavailable) {
			t.Errorf("Status of a request of a dead home = %v, want %v", err, horde.RCUnavailable)
		}
		f.start("a") // with the same requests
		within(t, 2*time.Second, "the offer is back", func() bool { return b.sees(id) })
	})
}

func TestRestartedHomeReplacesItsOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		a, b := f.nodes["a"], f.nodes["b"]
		kept, lost := a.ask(alice), a.ask(alice)
		settle(time.Second)
		a.stop()
		a.home.mu.Lock()
		delete(a.home.requests, lost)
		a.home.requests[kept].Rev = 1
		a.home.mu.Unlock()
		f.start("a")
		within(t, 3*time.Second, "b sees what a has now", func() bool { return b.sees(kept) && !b.sees(lost) })
	})
}

func TestHomeServesItsIdleWorkersFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		a, b := f.nodes["a"], f.nodes["b"]
		f.pop(a, f.poll("w"))
		id := a.ask(alice)
		settle(100 * time.Millisecond)
		if b.sees(id) {
			t.Error("b heard of an offer that an idle worker of its home can serve")
		}
		if res := f.pop(a, f.poll("w")); res.Grant == nil {
			t.Fatal("the home's own worker got nothing")
		}
		settle(500 * time.Millisecond)
		if b.sees(id) || f.wire.calls[ProtoClaim] > 0 {
			t.Error("a job served at home was told or claimed")
		}
		next := a.ask(alice, func(o *horde.Offer) { o.Shape.Models = []string{"other"} })
		within(t, 50*time.Millisecond, "an offer for others is told at once", func() bool { return b.sees(next) })
		f.pop(a, f.poll("w"))
		held := a.ask(alice)
		within(t, 250*time.Millisecond, "an offer held back is told in the end", func() bool { return b.sees(held) })
	})
}

func TestPriorityUsersFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		urgent := f.nodes["b"].ask(alice, func(o *horde.Offer) { o.Priority = 1_000_000 })
		friend := f.nodes["a"].ask(bob, func(o *horde.Offer) { o.Priority = -100 })
		own := f.nodes["a"].ask(owner, func(o *horde.Offer) { o.Priority = -50 })
		settle(time.Second)
		var got []horde.RequestID
		for range 3 {
			res := f.pop(f.nodes["b"], f.poll("w", func(p *horde.Pop) { p.Priority = []horde.UserID{bob} }))
			if res.Grant == nil {
				t.Fatal("no job")
			}
			got = append(got, res.Grant.Request)
			settle(time.Second)
		}
		if got[0] != own || got[1] != friend || got[2] != urgent {
			t.Errorf("order %v, want own %v, friend's %v, urgent %v", got, own, friend, urgent)
		}
	})
}

func TestMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		f.pop(f.nodes["b"], f.poll("w"))
		f.ledger.setWorker("w", func(w *horde.Worker) { w.Maintenance = true })
		f.nodes["a"].ask(alice)
		settle(time.Second)
		_, err := f.nodes["b"].Pop(f.ctx, f.poll("w"))
		var e *horde.Error
		if !errors.As(err, &e) || e.RC != horde.RCWorkerMaintenance || !strings.Contains(e.Msg, "maintenance mode") {
			t.Errorf("Pop = %v, want %v with the words maintenance mode", err, horde.RCWorkerMaintenance)
		}
		f.ledger.setWorker("w", func(w *horde.Worker) { w.MaintenanceMsg = "Gone fishing" })
		if _, err := f.nodes["b"].Pop(f.ctx, f.poll("w")); !errors.As(err, &e) || e.Msg != "Gone fishing" {
			t.Errorf("Pop = %v, want the owner's message", err)
		}
		own := f.nodes["a"].ask(owner)
		settle(time.Second)
		if res := f.pop(f.nodes["b"], f.poll("w")); res.Grant == nil || res.Grant.Request != own {
			t.Errorf("Pop = %+v, want the owner's job", res.Grant)
		}
	})
}

func TestSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		image := func(change func(*horde.Shape)) func(*horde.Offer) {
			return func(o *horde.Offer) {
				o.Shape = horde.Shape{Kind: horde.KindImage, Models: []string{"sd"}, SlowOK: true, Pixels: 64}
				change(&o.Shape)
			}
		}
		bad := f.nodes["a"].ask(alice, image(func(*horde.Shape) {}))
		f.nodes["a"].home.blacklist = map[horde.RequestID]bool{bad: true}
		f.nodes["a"].ask(alice, image(func(s *horde.Shape) { s.NSFW = true }))
		f.nodes["b"].ask(alice, image(func(s *horde.Shape) { s.NSFW = true }))
		f.nodes["b"].ask(alice, image(func(s *horde.Shape) { s.Models = []string{"xl"} }))
		f.nodes["b"].ask(alice, func(o *horde.Offer) { o.Shape.TrustedOnly = true }) // text
		settle(time.Second)
		res := f.pop(f.nodes["b"], f.poll("w", func(p *horde.Pop) {
			p.Kind, p.Caps = horde.KindImage, horde.Caps{BridgeAgent: "AI Horde Worker reGen:13:x", Models: []string{"sd"}, MaxPixels: 1 << 20, Blacklist: []string{"x"}}
		}))
		want := map[string]int{
			"models": 1, "worker_id": 0, "img2img": 0, "painting": 0, "unsafe_ip": 0, "nsfw": 2, "lora": 0, "post-processing": 0,
			"controlnet": 0, "performance": 0, "untrusted": 0, "bridge_version": 0, "blacklist": 1,
		}
		if res.Grant != nil || !maps.Equal(res.Skipped, want) {
			t.Errorf("image Skipped = %v, want %v", res.Skipped, want)
		}
		res = f.pop(f.nodes["a"], f.poll("w2"))
		if want := map[string]int{"untrusted": 1}; res.Grant != nil || !maps.Equal(res.Skipped, want) {
			t.Errorf("text Skipped = %v, want %v", res.Skipped, want)
		}
	})
}

func TestLostAnswerIsAskedForAgain(t *testing.T) {
	for _, lost := range []int{1, 2} { // answers
		t.Run(fmt.Sprintf("%d lost", lost), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := federate(t, "a", "b")
				settle(time.Second)
				id := f.nodes["a"].ask(alice)
				settle(time.Second)
				left := lost
				f.wire.set(func() {
					f.wire.lose = func(_ horde.NodeID, proto string) bool {
						if proto != ProtoClaim || left == 0 {
							return false
						}
						left--
						return true
					}
				})
				res := f.pop(f.nodes["b"], f.poll("w"))
				if lost > 1 {
					if res.Grant != nil {
						t.Fatal("a grant whose answers were lost")
					}
					res = f.pop(f.nodes["b"], f.poll("w"))
				}
				if res.Grant == nil || res.Grant.Request != id {
					t.Errorf("Pop = %+v, want the job that was granted before", res.Grant)
				}
			})
		})
	}
}

func TestUnreachableHomeIsSkippedQuickly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c")
		settle(time.Second)
		f.nodes["a"].ask(alice, func(o *horde.Offer) { o.Priority = 1000 })
		id := f.nodes["c"].ask(alice)
		settle(time.Second)
		f.wire.set(func() { f.wire.cut[[2]horde.NodeID{"a", "b"}] = true })
		began := time.Now()
		res := f.pop(f.nodes["b"], f.poll("w"))
		if took := time.Since(began); res.Grant == nil || res.Grant.Request != id || took > 3*time.Second {
			t.Errorf("Pop = %+v after %v, want a job of the home that can be reached", res.Grant, took)
		}
	})
}

func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a")
		f.pop(f.nodes["a"], f.poll("taken"))
		refused := horde.Refuse(horde.RCTooManyWorkers, "Too many.")
		for _, tt := range []struct {
			name   string
			ledger func()
			poll   func(*horde.Pop)
			want   error
		}{
			{name: "deleted", poll: func(p *horde.Pop) { p.User.Roles = horde.RoleDeleted | horde.RoleFlagged }, want: horde.RCDeletedUser},
			{name: "flagged", poll: func(p *horde.Pop) { p.User.Roles = horde.RoleFlagged }, want: horde.RCWorkerFlaggedMaintenance},
			{name: "anonymous", poll: func(p *horde.Pop) { p.User.ID = horde.Anonymous }, want: horde.RCAnonForbiddenWorker},
			{name: "other kind has the name", poll: func(p *horde.Pop) { p.Name, p.Kind, p.User.ID = "taken", horde.KindImage, alice }, want: horde.RCPolymorphicNameConflict},
			{name: "other owner", poll: func(p *horde.Pop) { p.Name, p.User.ID = "taken", alice }, want: horde.RCWrongCredentials},
			{name: "refused by the ledger", ledger: func() { f.ledger.refuse = refused }, want: horde.RCTooManyWorkers},
			{name: "no quorum for a new one", ledger: func() { f.ledger.syncErr = errAway }, want: horde.RCUnavailable},
			{name: "no quorum for an old one", ledger: func() { f.ledger.syncErr = errAway }, poll: func(p *horde.Pop) { p.Name = "taken" }},
			{name: "no model", poll: func(p *horde.Pop) { p.Caps.Models = nil }, want: horde.RCBadRequest},
			{name: "somebody's text model", poll: func(p *horde.Pop) { p.Caps.Models = []string{"m::alice#8"} }, want: horde.RCBadRequest},
			{name: "own text model", poll: func(p *horde.Pop) { p.Caps.Models = []string{"m::owner#7"} }},
			{name: "unknown image model", poll: func(p *horde.Pop) { p.Kind, p.Caps.Models = horde.KindImage, []string{"mine"} }, want: horde.RCBadRequest},
			{name: "one known image model", poll: func(p *horde.Pop) { p.Kind, p.Caps.Models = horde.KindImage, []string{"mine", "sd"} }},
			{name: "customizer's image model", poll: func(p *horde.Pop) {
				p.Kind, p.Caps.Models, p.User.Roles = horde.KindImage, []string{"mine"}, horde.RoleCustomizer
			}},
			{name: "special's own model", poll: func(p *horde.Pop) {
				p.Kind, p.Caps.Models, p.User.Roles = horde.KindImage, []string{"x::owner#7"}, horde.RoleSpecial
			}},
			{name: "special's plain model", poll: func(p *horde.Pop) {
				p.Kind, p.Caps.Models, p.User.Roles = horde.KindImage, []string{"x"}, horde.RoleSpecial
			}, want: horde.RCBadRequest},
			{name: "special's foreign model", poll: func(p *horde.Pop) {
				p.Kind, p.Caps.Models, p.User.Roles = horde.KindImage, []string{"sd", "x::alice#8"}, horde.RoleSpecial
			}, want: horde.RCBadRequest},
			{name: "an alchemist without forms", poll: func(p *horde.Pop) { p.Kind, p.Caps.Models = horde.KindAlchemy, nil }},
			{name: "a kind that there is not", poll: func(p *horde.Pop) { p.Kind = horde.KindAlchemy + 1 }, want: horde.RCBadRequest},
		} {
			f.ledger.refuse, f.ledger.syncErr = nil, nil
			if tt.ledger != nil {
				tt.ledger()
			}
			p := f.poll("new " + tt.name)
			if tt.poll != nil {
				tt.poll(&p)
			}
			if _, err := f.nodes["a"].Pop(f.ctx, p); !errors.Is(err, tt.want) {
				t.Errorf("%s: Pop = %v, want %v", tt.name, err, tt.want)
			}
		}
	})
}

func TestCheckInIsDebounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a")
		a := f.nodes["a"]
		with := func(length int, model string) horde.Pop {
			return f.poll("w", func(p *horde.Pop) { p.Caps.MaxLength, p.Caps.Models = length, []string{model} })
		}
		stored := func() (int, string) {
			w, _ := a.Live(horde.WorkerID{UUID: horde.UUID{0xee}})
			return w.Caps.MaxLength, w.Caps.Models[0]
		}
		check := func(what string, length int, model string) {
			t.Helper()
			if l, m := stored(); l != length || m != model {
				t.Errorf("%s: stored %d, %q, want %d, %q", what, l, m, length, model)
			}
		}
		f.pop(a, with(1, "x"))
		settle(10 * time.Second)
		f.pop(a, with(2, "x"))
		check("a young worker", 2, "x")
		settle(25 * time.Second)
		f.pop(a, with(512, "m"))
		check("before 30 s", 2, "x")
		a.ask(alice)
		if res := f.pop(a, with(512, "m")); res.Grant != nil {
			t.Error("limits of a debounced poll were used")
		}
		a.ask(alice, func(o *horde.Offer) { o.Shape.MaxLength = 2 })
		if res := f.pop(a, with(512, "m")); res.Grant == nil {
			t.Error("models of a debounced poll were not used")
		}
		settle(6 * time.Second)
		f.pop(a, with(512, "m"))
		check("after 30 s", 512, "m")
	})
}

func TestUptime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		poll := func(n *node, d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); settle(31 * time.Second) {
				f.pop(n, f.poll("w"))
			}
		}
		poll(f.nodes["a"], 400*time.Second)
		if got := f.nodes["a"].uptime; len(got) != 0 {
			t.Fatalf("reward after 400 s: %v", got)
		}
		poll(f.nodes["b"], 300*time.Second) // goes on where a stopped
		got := f.nodes["b"].uptime
		if len(got) != 1 || got[0].Seconds < 600 || got[0].Seconds > 640 || got[0].Reward != horde.Whole(1) || len(f.nodes["a"].uptime) != 0 {
			t.Errorf("uptime at b = %v, at a = %v, want one reward for a bit more than 600 s at b", got, f.nodes["a"].uptime)
		}
		poll(f.nodes["b"], 400*time.Second)
		f.ledger.setWorker("w", func(w *horde.Worker) { w.Maintenance = true })
		for range 3 {
			if _, err := f.nodes["b"].Pop(f.ctx, f.poll("w")); !errors.Is(err, horde.RCWorkerMaintenance) {
				t.Fatal(err)
			}
			settle(31 * time.Second)
		}
		f.ledger.setWorker("w", func(w *horde.Worker) { w.Maintenance = false })
		poll(f.nodes["b"], 520*time.Second)
		if got := f.nodes["b"].uptime; len(got) != 1 {
			t.Errorf("maintenance did not begin the interval anew: %v", got)
		}
		settle(301 * time.Second)
		poll(f.nodes["b"], 560*time.Second)
		if got := f.nodes["b"].uptime; len(got) != 1 {
			t.Errorf("absence did not begin the interval anew: %v", got)
		}
	})
}

func TestRestartedNodeKnowsItsWorkersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		a := f.nodes["a"]
		w := f.pop(a, f.poll("w")).Worker
		a.live.sample(w.ID, 12)
		settle(10 * time.Second)
		a.stop()
		a = f.start("a")
		f.pop(a, f.poll("w")) // before it has heard anything
		within(t, 2*time.Second, "a knows the speed again", func() bool {
			live, ok := a.Live(w.ID)
			return ok && live.Speed == 12
		})
		a.live.sample(w.ID, 24)
		within(t, 3*time.Second, "b hears of the next job", func() bool {
			live, ok := f.nodes["b"].Live(w.ID)
			return ok && live.Speed == 18
		})
	})
}

func TestRouting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		a, b := f.nodes["a"], f.nodes["b"]
		id := a.ask(alice)
		if st, err := b.Status(f.ctx, id, false); err != nil || st.Waiting != 1 || st.QueuePosition != 1 {
			t.Errorf("Status at b = %+v, %v, want first in the queue", st, err)
		}
		missing, _ := a.NewRequestID()
		unknown := horde.RequestID{UUID: horde.UUID{1, 2, 3}}
		for _, id := range []horde.RequestID{missing, unknown} {
			if _, err := b.Status(f.ctx, id, false); !errors.Is(err, horde.RCRequestNotFound) {
				t.Errorf("Status of %s = %v, want %v", id, err, horde.RCRequestNotFound)
			}
			if _, err := b.Submit(f.ctx, horde.Submission{Job: horde.JobID(id)}); !errors.Is(err, horde.RCInvalidJobID) {
				t.Errorf("Submit of %s = %v, want %v", id, err, horde.RCInvalidJobID)
			}
		}
		name := id.String() + ".source"
		if err := b.PutBlob(f.ctx, name, []byte("picture")); err != nil {
			t.Errorf("PutBlob = %v", err)
		}
		if got, err := a.Blob(f.ctx, name); err != nil || string(got) != "picture" {
			t.Errorf("Blob at its home = %q, %v", got, err)
		}
		if got, err := b.Blob(f.ctx, name); err != nil || string(got) != "picture" {
			t.Errorf("Blob elsewhere = %q, %v", got, err)
		}
		for _, name := range []string{missing.String(), "short", unknown.String()} {
			if _, err := b.Blob(f.ctx, name); !errors.Is(err, horde.RCRequestNotFound) {
				t.Errorf("Blob(%s) = %v, want %v", name, err, horde.RCRequestNotFound)
			}
		}
		a.home.active[alice] = map[horde.Kind][]horde.RequestID{horde.KindText: {id}}
		b.home.active[alice] = map[horde.Kind][]horde.RequestID{horde.KindText: {missing}}
		if got := b.ActiveRequests(f.ctx, alice)[horde.KindText]; len(got) != 2 {
			t.Errorf("ActiveRequests = %v, want those of both homes", got)
		}
		if st, err := b.Cancel(f.ctx, id); err != nil || st.Waiting != 1 || st.QueuePosition != 1 {
			t.Errorf("Cancel at b = %+v, %v, want the state before", st, err)
		}
		within(t, time.Second, "the cancelled request is offered no more", func() bool { return !b.sees(id) })
		f.wire.set(func() { f.wire.cut[[2]horde.NodeID{"a", "b"}] = true })
		for what, err := range map[string]error{
			"Status":  failure(b.Status(f.ctx, id, false)),
			"Cancel":  failure(b.Cancel(f.ctx, id)),
			"Submit":  failure(b.Submit(f.ctx, horde.Submission{Job: horde.JobID(id)})),
			"Blob":    failure(b.Blob(f.ctx, name)),
			"PutBlob": b.PutBlob(f.ctx, name, nil),
		} {
			if !errors.Is(err, horde.RCUnavailable) {
				t.Errorf("%s with the home away = %v, want %v", what, err, horde.RCUnavailable)
			}
		}
		if got := b.ActiveRequests(f.ctx, alice)[horde.KindText]; len(got) != 1 {
			t.Errorf("ActiveRequests with a home away = %v, want the own", got)
		}
	})
}

func failure[T any](_ T, err error) error { return err }

func TestSubmitFeedsStatistics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		a, b := f.nodes["a"], f.nodes["b"]
		w := f.pop(b, f.poll("w", func(p *horde.Pop) { p.Caps.Threads = 2 })).Worker
		a.home.receipt = horde.Receipt{Worker: w.ID, Speed: 10, Kind: horde.KindText, Things: 80}
		job, _ := a.NewRequestID()
		for range 2 {
			if _, err := b.Submit(f.ctx, horde.Submission{Job: horde.JobID(job)}); err != nil {
				t.Fatal(err)
			}
			a.home.receipt.Speed = 20
		}
		a.ask(alice, func(o *horde.Offer) { o.Open, o.Running = 2, 1 })
		within(t, 20*time.Second, "a and b agree on what was delivered", func() bool {
			return a.Performance().PastMinuteTokens == 160 && b.Performance().PastMinuteTokens == 160
		})
		for name, n := range f.nodes {
			p := n.Performance()
			if p.TextWorkers != 1 || p.TextThreads != 2 || p.QueuedTextRequests != 3 || p.QueuedTokens != 240 {
				t.Errorf("Performance at %s = %+v", name, p)
			}
			live, ok := n.Live(w.ID)
			if !ok || live.Speed != 15 {
				t.Errorf("speed at %s = %v, want 15", name, live.Speed)
			}
			want := horde.ModelStatus{Name: "m", Kind: horde.KindText, Count: 2, Performance: 15, Jobs: 3, Queued: 240, ETA: 8}
			if got := n.Models(horde.KindText); len(got) != 1 || got[0] != want {
				t.Errorf("Models at %s = %+v, want %+v", name, got, want)
			}
		}
		settle(61 * time.Second)
		if got := a.Performance().PastMinuteTokens; got != 0 {
			t.Errorf("%d tokens in the past minute, want 0", got)
		}
	})
}

func TestStatusOutlook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		a, b := f.nodes["a"], f.nodes["b"]
		w := f.pop(b, f.poll("w")).Worker
		b.live.sample(w.ID, 10)
		b.ask(bob, func(o *horde.Offer) { o.Priority, o.Open = 100, 2 })
		id := a.ask(alice)
		odd := a.ask(alice, func(o *horde.Offer) { o.Shape.Models = []string{"nobody"}; o.Priority = -100 })
		settle(2 * time.Second)
		st, err := a.Status(f.ctx, id, false)
		if err != nil || st.QueuePosition != 2 || st.WaitTime != 24 || !st.IsPossible {
			t.Errorf("Status = %+v, %v, want place 2, 24 s, possible", st, err)
		}
		if st, err = a.Status(f.ctx, odd, false); err != nil || st.QueuePosition != 3 || st.IsPossible {
			t.Errorf("Status = %+v, %v, want place 3, impossible", st, err)
		}
		f.ledger.setWorker("w", func(w *horde.Worker) { w.Paused = true })
		if st, _ = a.Status(f.ctx, id, false); st.IsPossible {
			t.Error("possible by a paused worker")
		}
	})
}

func TestNeverImpossibleForLackOfKnowledge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		f.ledger.addMember(horde.Member{ID: "away", Active: true})
		settle(10 * time.Second)
		a := f.nodes["a"]
		id, _ := a.NewRequestID()
		r := horde.Request{ID: id, Kind: horde.KindText, Slots: 1, Payer: alice, Shape: horde.Shape{Kind: horde.KindText, Models: []string{"nobody"}}}
		if acc, err := a.Accept(f.ctx, r); err != nil || !acc.Possible {
			t.Errorf("Accept = %+v, %v before a member was heard, want possible", acc, err)
		}
		settle(time.Minute)
		r.ID, _ = a.NewRequestID()
		if acc, err := a.Accept(f.ctx, r); err != nil || acc.Possible {
			t.Errorf("Accept = %+v, %v with all known, want impossible", acc, err)
		}
		f.wire.set(func() { f.wire.lose = func(_ horde.NodeID, proto string) bool { return proto == ProtoSync } })
		a.Connected("b")
		r.ID, _ = a.NewRequestID()
		if acc, err := a.Accept(f.ctx, r); err != nil || !acc.Possible {
			t.Errorf("Accept = %+v, %v while b is not synced, want possible", acc, err)
		}
		f.wire.set(func() { f.wire.lose = nil })
	})
}

func TestValidators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		f.ledger.addMember(horde.Member{ID: "expelled"})
		settle(time.Second)
		b := f.nodes["b"]
		id := func(node horde.NodeID, n byte) horde.RequestID {
			tag := node.Tag()
			return horde.RequestID{UUID: horde.UUID{tag[0], tag[1], tag[2], tag[3], tag[4], tag[5], 15: n}}
		}
		offer := func(node horde.NodeID, change ...func(*horde.Offer)) []horde.Offer {
			o := horde.Offer{ID: id(node, 1), Rev: 1, Open: 1, Shape: horde.Shape{Kind: horde.KindText}}
			for _, c := range change {
				c(&o)
			}
			return []horde.Offer{o}
		}
		boot := f.nodes["a"].boot.Load()
		for _, tt := range []struct {
			name string
			from horde.NodeID
			msg  any
			want Verdict
		}{
			{"valid", "a", batch{Boot: boot, Seq: 900, Offers: offer("a")}, Accept},
			{"stranger", "x", batch{Boot: boot, Seq: 900, Offers: offer("x")}, Reject},
			{"expelled member", "expelled", batch{Boot: boot, Seq: 900, Offers: offer("expelled")}, Reject},
			{"another home's offer", "a", batch{Boot: boot, Seq: 900, Offers: offer("b")}, Reject},
			{"another home's closing", "a", batch{Boot: boot, Seq: 900, Closed: []closed{{ID: id("b", 1), Rev: 1}}}, Reject},
			{"image on the text topic", "a", batch{Boot: boot, Seq: 900, Offers: offer("a", func(o *horde.Offer) { o.Shape.Kind = horde.KindImage })}, Reject},
			{"no slots", "a", batch{Boot: boot, Seq: 900, Offers: offer("a", func(o *horde.Offer) { o.Open = 0 })}, Reject},
			{"negative age", "a", batch{Boot: boot, Seq: 900, Offers: offer("a", func(o *horde.Offer) { o.AgeMS = -1 })}, Reject},
			{"huge model name", "a", batch{Boot: boot, Seq: 900, Offers: offer("a", func(o *horde.Offer) { o.Shape.Models = []string{strings.Repeat("x", 600)} })}, Reject},
			{"oversize", "a", batch{Boot: boot, Seq: 900, Closed: make([]closed, 4000)}, Reject},
			{"no sequence", "a", batch{Boot: boot}, Reject},
			{"not a batch", "a", "hello", Reject},
			{"earlier boot", "a", batch{Boot: boot - 1, Seq: 900, Offers: offer("a")}, Ignore},
		} {
			data, err := encode(tt.msg)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.ValidateText(tt.from, data); got != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
		data, _ := encode(batch{Boot: boot, Seq: 901, Offers: offer("a")})
		b.DeliverText("a", data)
		if got := b.ValidateText("a", data); got != Ignore {
			t.Errorf("replay: %v, want %v", got, Ignore)
		}
		if got := b.ValidateText("a", append(data, 0)); got != Reject {
			t.Errorf("trailing byte: %v, want %v", got, Reject)
		}
		rec := workerRecord{Rev: 1, By: "a", LiveWorker: horde.LiveWorker{ID: horde.WorkerID{UUID: horde.UUID{1}}, Kind: horde.KindText}}
		for _, tt := range []struct {
			name   string
			change func(*workerRecord)
			want   Verdict
		}{
			{"valid worker", func(*workerRecord) {}, Accept},
			{"negative age", func(r *workerRecord) { r.AgeMillis = -1 }, Reject},
			{"too many samples", func(r *workerRecord) { r.Samples = 21 }, Reject},
			{"negative speed", func(r *workerRecord) { r.Speed = -1 }, Reject},
			{"no revision", func(r *workerRecord) { r.Rev = 0 }, Reject},
			{"by nobody", func(r *workerRecord) { r.By = "" }, Reject},
		} {
			r := rec
			tt.change(&r)
			data, _ := encode(news{Boot: boot, Seq: 900, Workers: []workerRecord{r}})
			if got := b.ValidateNews("a", data); got != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
		many, _ := encode(batch{Boot: boot, Seq: 902, Closed: manyClosed(id("a", 1), 2000)})
		verdicts := map[Verdict]int{}
		for range 40 {
			verdicts[b.ValidateText("a", many)]++
		}
		if verdicts[Reject] > 0 || verdicts[Ignore] == 0 || verdicts[Accept] < 20 {
			t.Errorf("verdicts of a flood: %v, want about 25 accepted and the rest ignored", verdicts)
		}
	})
}

func manyClosed(id horde.RequestID, n int) []closed {
	list := make([]closed, n)
	for i := range list {
		list[i] = closed{ID: id, Rev: 1}
	}
	return list
}

func TestWindow(t *testing.T) {
	var w window
	for _, step := range []struct {
		add   uint64
		low   uint64
		whole bool
	}{{1, 1, true}, {3, 1, false}, {2, 3, true}, {2, 3, true}, {67, 3, false}, {200, 136, false}, {100, 136, false}} {
		w.add(step.add)
		if w.low != step.low || w.whole() != step.whole || !w.has(step.add) {
			t.Errorf("after %d: %+v, want low %d, whole %v", step.add, w, step.low, step.whole)
		}
	}
	w.reach(199)
	if w.low != 200 || !w.whole() || w.has(201) {
		t.Errorf("after reach: %+v, want all up to 200", w)
	}
}

// An alchemist gets as many forms as it asked for, of whichever request and home, and nobody
// comes first.
func TestFormsOfSeveralRequestsAreHandedOutTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(time.Second)
		forms := func(open int, priority int64, names ...string) func(*horde.Offer) {
			return func(o *horde.Offer) {
				o.Open, o.Priority, o.Things = open, priority, 1
				o.Shape = horde.Shape{Kind: horde.KindAlchemy, Models: names, Tiles: 1}
			}
		}
		first := f.nodes["a"].ask(alice, forms(1, 9, "caption"))
		second := f.nodes["a"].ask(alice, forms(2, 8, "caption", "nsfw"))
		third := f.nodes["b"].ask(alice, forms(1, 7, "caption"))
		fourth := f.nodes["a"].ask(owner, forms(2, 6, "caption")) // the owner's own is not preferred
		f.nodes["a"].ask(alice, forms(1, 99, "palette"))
		settle(100 * time.Millisecond)
		if got := f.nodes["b"].Waiting(alice, horde.KindAlchemy); got != 5 {
			t.Errorf("Waiting at b = %d, want 5", got)
		}
		if got := f.nodes["b"].Performance().QueuedForms; got != 7 {
			t.Errorf("QueuedForms at b = %d, want 7", got)
		}

		alchemist := f.poll("w", func(p *horde.Pop) {
			p.Kind, p.Amount = horde.KindAlchemy, 5
			p.Caps = horde.Caps{Models: []string{"caption", "nsfw", "caption"}, MaxTiles: 80, Threads: 1}
		})
		res := f.pop(f.nodes["b"], alchemist)
		if res.Grant == nil {
			t.Fatal("Pop found nothing")
		}
		got := map[horde.RequestID]int{res.Grant.Request: len(res.Grant.Jobs)}
		for _, g := range res.More {
			got[g.Request] += len(g.Jobs)
		}
		if want := map[horde.RequestID]int{first: 1, second: 2, third: 1, fourth: 1}; !maps.Equal(got, want) {
			t.Errorf("forms by request = %v, want %v", got, want)
		}
		if w, _ := f.nodes["b"].Live(res.Worker.ID); strings.Join(w.Caps.Models, " ") != "caption nsfw" {
			t.Errorf("forms offered = %v, want each once", w.Caps.Models)
		}
		settle(100 * time.Millisecond)
		alchemist.Caps.Models = nil
		if res := f.pop(f.nodes["b"], alchemist); res.Grant != nil {
			t.Errorf("Pop without forms = %+v, want nothing", res.Grant)
		}
	})
}
