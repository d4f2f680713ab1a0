package ledger

import (
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestAdmission(t *testing.T) {
	const alice horde.UserID = 2 // has 100, 75 of them above the floor
	for _, tt := range []struct {
		name            string
		in              horde.Admission
		want            horde.RC
		balance, holded horde.Kudos
	}{
		{"nothing up front", horde.Admission{Payer: alice, Slots: 1, Tax: 300}, "", 9700, 0},
		{"no tax", horde.Admission{Payer: alice, Slots: 1}, "", 10_000, 0},
		{"all up front, the tax out of it", horde.Admission{Payer: alice, Slots: 1, Tax: 300, Upfront: 7500}, "", 9700, 7200},
		{"a hundredth too much", horde.Admission{Payer: alice, Slots: 1, Tax: 300, Upfront: 7501}, horde.RCKudosUpfront, 10_000, 0},
		{"tax beyond the balance is forgiven", horde.Admission{Payer: alice, Slots: 1, Tax: horde.Whole(1000)}, "", 2500, 0},
		{"a payer that is not there", horde.Admission{Payer: 99, Slots: 1}, horde.RCUserNotFound, 10_000, 0},
		{"no slots", horde.Admission{Payer: alice}, horde.RCBadRequest, 10_000, 0},
		{"too many slots", horde.Admission{Payer: alice, Slots: maxSlots + 1}, horde.RCBadRequest, 10_000, 0},
		{"negative tax", horde.Admission{Payer: alice, Slots: 1, Tax: -1}, horde.RCBadRequest, 10_000, 0},
		{"negative hold", horde.Admission{Payer: alice, Slots: 1, Upfront: -1}, horde.RCBadRequest, 10_000, 0},
		{"unknown kind", horde.Admission{Payer: alice, Slots: 1, Kind: 3}, horde.RCBadRequest, 10_000, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.person("alice", horde.Whole(100), 0)
			tt.in.Request, tt.in.Deadline = w.request(), start.Add(time.Hour)
			before := w.m.content()
			wantRC(t, w.Admit(w.ctx, tt.in), tt.want)
			if tt.want != "" && w.m.content() != before {
				t.Error("a refusal left a trace")
			}
			if u := w.user(alice); u.Kudos != tt.balance || u.Held != tt.holded {
				t.Errorf("alice has %v and holds %v, want %v and %v", u.Kudos, u.Held, tt.balance, tt.holded)
			}
			if got := w.Held(tt.in.Request); got != (tt.want == "") {
				t.Errorf("Held = %v", got)
			}
			if tt.want == "" {
				wantRC(t, w.Admit(w.ctx, tt.in), horde.RCBadRequest) // a second time
			}
			w.check()
		})
	}
}

func TestSettlementRefusals(t *testing.T) {
	w := newWorld(t)
	payer, owner := w.person("payer", horde.Whole(100), 0), w.person("owner", 0, 0)
	worker := w.worker(owner, horde.KindImage, "worker")
	id := w.admit(horde.Admission{Payer: payer, Slots: 2})
	good := horde.Settlement{Request: id, Slot: 1, Worker: worker, Debit: 100, Credit: 100}
	wantRC(t, w.settle(good), "")
	w.join("node-b", false)
	b := w.as("node-b")
	for _, tt := range []struct {
		name   string
		from   *world
		change func(*horde.Settlement)
		want   horde.RC
	}{
		{"again", w, func(*horde.Settlement) {}, horde.RCDuplicateGen},
		{"again for another amount", w, func(s *horde.Settlement) { s.Debit = 1 }, horde.RCDuplicateGen},
		{"unknown request", w, func(s *horde.Settlement) { s.Request = w.request() }, horde.RCRequestNotFound},
		{"slot too large", w, func(s *horde.Settlement) { s.Slot = 2 }, horde.RCBadRequest},
		{"negative slot", w, func(s *horde.Settlement) { s.Slot = -1 }, horde.RCBadRequest},
		{"negative debit", w, func(s *horde.Settlement) { s.Slot, s.Debit = 0, -1 }, horde.RCBadRequest},
		{"negative credit", w, func(s *horde.Settlement) { s.Slot, s.Credit = 0, -1 }, horde.RCBadRequest},
		{"negative things", w, func(s *horde.Settlement) { s.Slot, s.Things = 0, -1 }, horde.RCBadRequest},
		{"unknown worker", w, func(s *horde.Settlement) { s.Slot, s.Worker = 0, horde.WorkerID{} }, horde.RCWorkerNotFound},
		{"by a node that is not the home", b, func(s *horde.Settlement) { s.Slot = 0 }, horde.RCForbidden},
		{"the other slot", w, func(s *horde.Settlement) { s.Slot = 0 }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := good
			tt.change(&s)
			before := w.m.content()
			wantRC(t, tt.from.settle(s), tt.want)
			if tt.want != "" && w.m.content() != before {
				t.Error("a refusal left a trace")
			}
			w.check()
		})
	}
	_, err := b.do(b.ctx, b.EncodeFinish(horde.Finish{Request: id}))
	wantRC(t, err, horde.RCForbidden)
	wantRC(t, b.Admit(b.ctx, horde.Admission{Request: w.request(), Payer: payer, Slots: 1}), horde.RCForbidden)
}

func TestHoldIsUsedUpAndReleased(t *testing.T) {
	for _, end := range []string{"finish", "deadline"} {
		t.Run(end, func(t *testing.T) {
			w := newWorld(t)
			payer, owner := w.person("payer", horde.Whole(100), 0), w.person("owner", 0, 0)
			worker := w.worker(owner, horde.KindImage, "worker")
			id := w.admit(horde.Admission{Payer: payer, Slots: 3, Tax: 100, Upfront: 2000})
			held := func(want horde.Kudos) {
				t.Helper()
				if got := w.user(payer).Held; got != want {
					t.Errorf("held %v, want %v", got, want)
				}
			}
			held(1900)
			settle := func(slot int, want horde.RC) {
				t.Helper()
				wantRC(t, w.settle(horde.Settlement{Request: id, Slot: slot, Worker: worker, Debit: 1100, Credit: 1000}), want)
			}
			settle(0, "")
			held(800)
			if end == "finish" {
				w.run(w.EncodeFinish(horde.Finish{Request: id}))
				w.run(w.EncodeFinish(horde.Finish{Request: id})) // twice does no harm
			} else {
				w.pass(time.Hour - time.Millisecond)
				wantRC(t, w.Tick(w.ctx), "")
				held(800)
				w.pass(time.Millisecond)
				wantRC(t, w.Tick(w.ctx), "")
			}
			held(0)
			settle(1, horde.RCRequestNotFound) // late: nothing moves
			if got := w.user(payer).Kudos; got != horde.Whole(100)-1200 {
				t.Errorf("the payer has %v, want 88", got)
			}
			w.check()
		})
	}
	t.Run("jobs may cost more than is held", func(t *testing.T) {
		w := newWorld(t)
		payer := w.person("payer", horde.Whole(100), 0)
		worker := w.worker(w.person("owner", 0, 0), horde.KindImage, "worker")
		id := w.admit(horde.Admission{Payer: payer, Slots: 2, Upfront: 1500})
		for slot := range 2 {
			wantRC(t, w.settle(horde.Settlement{Request: id, Slot: slot, Worker: worker, Debit: 1100, Credit: 1000}), "")
		}
		if u := w.user(payer); u.Held != 0 || u.Kudos != horde.Whole(100)-2200 {
			t.Errorf("the payer has %v and holds %v, want 78 and 0", u.Kudos, u.Held)
		}
		w.check()
	})
}

func TestLateAdmissionIsStillPaid(t *testing.T) {
	w := newWorld(t)
	payer := w.person("payer", horde.Whole(100), 0)
	worker := w.worker(w.person("owner", 0, 0), horde.KindImage, "worker")
	id := w.admit(horde.Admission{Payer: payer, Deadline: start.Add(-time.Hour)})
	wantRC(t, w.Tick(w.ctx), "")
	wantRC(t, w.settle(horde.Settlement{Request: id, Worker: worker, Debit: 100, Credit: 100}), "")
	w.pass(10 * time.Minute)
	wantRC(t, w.Tick(w.ctx), "")
	if w.Held(id) {
		t.Error("the hold has no end")
	}
}

func TestDeletedWorkerIsStillPaid(t *testing.T) {
	w := newWorld(t)
	payer, owner := w.person("payer", horde.Whole(100), 0), w.person("owner", horde.Whole(100), horde.RoleTrusted)
	worker := w.worker(owner, horde.KindImage, "worker")
	id := w.admit(horde.Admission{Payer: payer, Slots: 2, Deadline: start.Add(40 * time.Hour)})
	if _, err := w.DeleteWorker(w.ctx, owner, worker); err != nil {
		t.Fatal(err)
	}
	settle := func(slot int) error {
		return w.settle(horde.Settlement{Request: id, Slot: slot, Worker: worker, Debit: 100, Credit: 100})
	}
	wantRC(t, settle(0), "")
	if got := w.user(owner).Kudos; got != 10_100 {
		t.Errorf("the owner has %v, want 101", got)
	}
	w.pass(24 * time.Hour)
	wantRC(t, w.Tick(w.ctx), "")
	wantRC(t, settle(1), horde.RCWorkerNotFound)
	w.check()
}
