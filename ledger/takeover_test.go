package ledger

import (
	"testing"
	"time"

	"hordenode/internal/horde"
)

// homes returns a federation of a, b and c, where a copies its requests to b.
func homes(t *testing.T) (a, b, c *world) {
	t.Helper()
	a = newWorld(t)
	a.join("node-b", true)
	a.join("node-c", true)
	b, c = a.as("node-b"), a.as("node-c")
	wantRC(t, a.SetBackup(a.ctx, "node-b"), "")
	return a, b, c
}

func TestTakeOverRefusals(t *testing.T) {
	a, b, c := homes(t)
	wantRC(t, a.SetBackup(a.ctx, "node-a"), horde.RCForbidden)
	wantRC(t, a.SetBackup(a.ctx, "node-x"), horde.RCForbidden)
	wantRC(t, c.TakeOver(c.ctx, "node-a"), horde.RCForbidden)
	wantRC(t, b.TakeOver(b.ctx, "node-c"), horde.RCForbidden)
	wantRC(t, b.TakeOver(b.ctx, "node-a"), "")
	wantRC(t, b.TakeOver(b.ctx, "node-a"), "") // the answer was lost
	if got := a.Standin("node-a"); got.Successor != "node-b" || !got.Superseded || got.Backup != "node-b" {
		t.Errorf("got %+v, want node-b to stand in", got)
	}
	wantRC(t, b.SetBackup(b.ctx, "node-a"), "")
	wantRC(t, a.TakeOver(a.ctx, "node-b"), horde.RCForbidden) // it is superseded itself
	wantRC(t, a.Resume(a.ctx), "")
	if got := a.Standin("node-a"); got.Superseded || got.Successor != "node-b" {
		t.Errorf("got %+v, want node-a resumed and node-b known as its successor", got)
	}
	wantRC(t, a.TakeOver(a.ctx, "node-b"), "")
	a.check()
}

func TestFirstSettlementWinsAcrossTakeOver(t *testing.T) {
	a, b, c := homes(t)
	payer, owner := a.person("payer", horde.Whole(100), 0), a.person("owner", 0, 0)
	worker := a.worker(owner, horde.KindImage, "worker")
	id := a.admit(horde.Admission{Payer: payer, Slots: 3})
	s := horde.Settlement{Request: id, Worker: worker, Debit: 100, Credit: 100}
	wantRC(t, b.settle(s), horde.RCForbidden)
	wantRC(t, b.TakeOver(b.ctx, "node-a"), "")
	wantRC(t, c.settle(s), horde.RCForbidden)
	wantRC(t, b.settle(s), "")
	wantRC(t, a.settle(s), horde.RCDuplicateGen)
	s.Slot = 1
	wantRC(t, a.settle(s), "") // on its way when a was cut off
	wantRC(t, b.settle(s), horde.RCDuplicateGen)

	// b's successor goes on.
	wantRC(t, b.SetBackup(b.ctx, "node-c"), "")
	wantRC(t, c.TakeOver(c.ctx, "node-b"), "")
	s.Slot = 2
	wantRC(t, c.settle(s), "")
	if got := a.user(payer).Kudos; got != horde.Whole(100)-300 {
		t.Errorf("the payer has %v, want each slot paid once", got)
	}
	_, err := c.do(c.ctx, c.EncodeFinish(horde.Finish{Request: id}))
	wantRC(t, err, "")
	a.check()
}

func TestLateAdmissionOfWhatASuccessorFinished(t *testing.T) {
	a, b, _ := homes(t)
	payer := a.person("payer", horde.Whole(100), 0)
	id := a.request()
	admit := horde.Admission{Request: id, Payer: payer, Slots: 1, Tax: 100, Deadline: time.UnixMilli(a.now).Add(time.Hour)}
	wantRC(t, b.Admit(b.ctx, admit), horde.RCForbidden)
	wantRC(t, b.TakeOver(b.ctx, "node-a"), "")
	wantRC(t, b.Admit(b.ctx, admit), "") // a's outbox went with it
	wantRC(t, a.Admit(a.ctx, admit), horde.RCBadRequest)
	_, err := b.do(b.ctx, b.EncodeFinish(horde.Finish{Request: id}))
	wantRC(t, err, "")
	wantRC(t, a.Admit(a.ctx, admit), horde.RCBadRequest)
	wantRC(t, a.Resume(a.ctx), "")
	wantRC(t, a.Admit(a.ctx, admit), horde.RCBadRequest)
	if got := a.user(payer).Kudos; got != horde.Whole(99) {
		t.Errorf("the payer has %v, want the tax paid once", got)
	}
	a.pass(49 * time.Hour)
	a.index = a.m.Head().Index
	wantRC(t, a.Tick(a.ctx), "")
	if n := a.m.s.ended.live; n != 0 {
		t.Errorf("%d finished requests remembered after two days, want none", n)
	}
	if a.Standin("node-a").Successor != "" {
		t.Error("a successor of two days ago is still asked")
	}
	wantRC(t, b.Admit(b.ctx, horde.Admission{Request: a.request(), Payer: payer, Slots: 1}), horde.RCForbidden)
	a.check()
}

func TestTakenOverNamesTheHomes(t *testing.T) {
	_, b, _ := homes(t)
	got := TakenOver(b.batch(b.EncodeFinish(horde.Finish{}), encodeCommand(kindTakeOver, takeOver{"node-a"})))
	if len(got) != 1 || got[0] != "node-a" {
		t.Errorf("got %v, want node-a", got)
	}
	if got := TakenOver([]byte("nonsense")); got != nil {
		t.Errorf("got %v of nonsense, want nothing", got)
	}
}

// A second successor does not take from the first what that has taken over.
func TestEarlierSuccessorsSettle(t *testing.T) {
	a, b, c := homes(t)
	payer, owner := a.person("payer", horde.Whole(100), 0), a.person("owner", 0, 0)
	worker := a.worker(owner, horde.KindImage, "worker")
	id := a.admit(horde.Admission{Payer: payer, Slots: 2})
	s := horde.Settlement{Request: id, Worker: worker, Debit: 100, Credit: 100}
	wantRC(t, b.TakeOver(b.ctx, "node-a"), "")
	wantRC(t, a.Resume(a.ctx), "")
	wantRC(t, a.SetBackup(a.ctx, "node-c"), "")
	wantRC(t, c.TakeOver(c.ctx, "node-a"), "")
	wantRC(t, b.settle(s), "")
	s.Slot = 1
	wantRC(t, c.settle(s), "")
	if got := a.Standin("node-a"); got.Successor != "node-c" || len(got.Earlier) != 1 || got.Earlier[0] != "node-b" {
		t.Errorf("standin = %+v, want node-c now and node-b earlier", got)
	}
	a.pass(49 * time.Hour)
	a.index = a.m.Head().Index
	wantRC(t, a.Tick(a.ctx), "")
	if got := a.Standin("node-a"); len(got.Earlier) != 0 {
		t.Errorf("earlier = %v two days later, want nobody", got.Earlier)
	}
	a.check()
}
