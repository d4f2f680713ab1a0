package ledger

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hordenode/internal/horde"
)

// adminCommand makes the commands of operators and admins for anyCommand.
func adminCommand(t *rapid.T, user *rapid.Generator[horde.UserID], kudos *rapid.Generator[horde.Kudos], worker *rapid.Generator[horde.WorkerID]) []byte {
	actor := rapid.SampledFrom([]horde.UserID{1, 1, 1, 2}).Draw(t, "actor")
	switch rapid.IntRange(0, 7).Draw(t, "admin command") {
	case 5:
		return encodeCommand(kindLinkLogin, linkLogin{user.Draw(t, "user"), digest{byte(rapid.IntRange(0, 20).Draw(t, "login"))}})
	case 6:
		return encodeCommand(kindUnlinkLogin, unlinkLogin{user.Draw(t, "user")})
	case 7:
		return encodeCommand(kindSetPatrons, setPatrons{[]Patron{{User: user.Draw(t, "user"), Monthly: kudos.Draw(t, "monthly")}, {User: user.Draw(t, "other"), Until: start.UnixMilli() + 1_000_000}}})
	case 0:
		amount := kudos.Draw(t, "amount")
		booked := []Booked{{User: user.Draw(t, "user"), Escrow: rapid.Bool().Draw(t, "escrow"), Amount: amount}}
		switch rapid.IntRange(0, 2).Draw(t, "other side") {
		case 0:
			booked = append(booked, Booked{User: user.Draw(t, "other"), Amount: -amount})
		case 1:
			booked = append(booked, Booked{System: AccountAward, Amount: -amount})
		}
		return encodeCommand(kindReverse, reverse{Actor: actor, Of: Place{Index: uint64(rapid.IntRange(0, 3).Draw(t, "index"))}, Booked: booked})
	case 1:
		return encodeCommand(kindMergeUsers, mergeUsers{Actor: actor, From: user.Draw(t, "from"), Into: user.Draw(t, "into")})
	case 2:
		return encodeCommand(kindMoveWorker, moveWorker{Actor: actor, Worker: worker.Draw(t, "worker"), To: user.Draw(t, "to")})
	case 3:
		return encodeCommand(kindDiscipline, discipline{ID: rapid.SampledFrom([]horde.NodeID{"node-a", "node-b"}).Draw(t, "member"), Do: Discipline(rapid.IntRange(0, 4).Draw(t, "do"))})
	default:
		return encodeCommand(kindResetKey, resetKey{Actor: actor, User: user.Draw(t, "user"), Key: digest{byte(rapid.IntRange(0, 20).Draw(t, "key"))}})
	}
}

func TestReverse(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", 100_00, 0), w.person("bob", 50_00, 0)
	mod := w.person("mod", 0, horde.RoleModerator)
	if err := w.Transfer(w.ctx, Transfer{From: alice, To: bob, Amount: 40_00}); err != nil {
		t.Fatal(err)
	}
	of := Reversal{Actor: 1, Of: Place{Index: w.index}, Member: w.id, Reason: "stolen", Booked: []Booked{{User: alice, Amount: -40_00}, {User: bob, Amount: 40_00}}}

	for name, c := range map[string]struct {
		change func(*Reversal)
		want   horde.RC
	}{
		"by a moderator": {func(r *Reversal) { r.Actor = mod }, horde.RCNotAdmin},
		"of nothing":     {func(r *Reversal) { r.Booked = nil }, horde.RCBadRequest},
		"unbalanced":     {func(r *Reversal) { r.Booked = r.Booked[:1] }, horde.RCBadRequest},
		"no such user":   {func(r *Reversal) { r.Booked = []Booked{{User: 99, Amount: 1}, {User: bob, Amount: -1}} }, horde.RCUserNotFound},
		"no such entry":  {func(r *Reversal) { r.Of = Place{} }, horde.RCBadRequest},
		"no such account": {func(r *Reversal) { r.Booked = []Booked{{System: accountEnd, Amount: 1}, {User: bob, Amount: -1}} },
			horde.RCBadRequest},
		"escrow that is gone": {func(r *Reversal) {
			r.Booked = []Booked{{User: bob, Escrow: true, Amount: 1}, {System: AccountUptime, Amount: -1}}
		},
			horde.RCForbidden},
	} {
		r := of
		c.change(&r)
		t.Run(name, func(t *testing.T) { wantRC(t, w.Reverse(w.ctx, r), c.want) })
	}

	if err := w.Reverse(w.ctx, of); err != nil {
		t.Fatalf("Reverse: %v", err)
	}
	if a, b := w.user(alice).Kudos, w.user(bob).Kudos; a != 100_00 || b != 50_00 {
		t.Errorf("alice has %v, bob %v; want 100, 50", a, b)
	}
	if got := w.Totals().Accounts[AccountReversal]; got != 0 {
		t.Errorf("%v stay in the account of reversals, want 0", got)
	}
	wantRC(t, w.Reverse(w.ctx, of), horde.RCForbidden)
	if got := w.user(bob).Kudos; got != 50_00 {
		t.Errorf("reversed twice: bob has %v, want 50", got)
	}
	if !w.Reversed(of.Of) || w.Reversed(Place{Index: of.Of.Index, Nth: 1}) {
		t.Error("Reversed does not tell the one from the others")
	}
	lines := w.StatementPage(bob, 0, 1)
	if len(lines) != 1 || lines[0].Reason != ReasonReversal || lines[0].Of != of.Of.Index || lines[0].Amount != -40_00 || lines[0].Balance != 50_00 {
		t.Errorf("bob's statement says %+v", lines)
	}
	w.check()
}

// What was spent meanwhile is forgiven, and stands in the books as that.
func TestReverseStopsAtTheFloor(t *testing.T) {
	w := newWorld(t)
	bob, carol := w.person("bob", 0, 0), w.person("carol", 100_00, 0)
	if err := w.Award(w.ctx, 1, bob, 200_00); err != nil {
		t.Fatal(err)
	}
	at := w.index
	if err := w.Transfer(w.ctx, Transfer{From: bob, To: carol, Amount: 150_00}); err != nil {
		t.Fatal(err)
	}
	before := w.Totals().Accounts[AccountForgiveness]
	err := w.Reverse(w.ctx, Reversal{Actor: 1, Of: Place{Index: at}, Booked: []Booked{{User: bob, Amount: 200_00}, {System: AccountAward, Amount: -200_00}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.user(bob).Kudos; got != 25_00 {
		t.Errorf("bob has %v, want the floor of 25", got)
	}
	if got, want := before-w.Totals().Accounts[AccountForgiveness], horde.Kudos(175_00); got != want {
		t.Errorf("%v are forgiven, want %v", got, want)
	}
	if got := w.Totals().Accounts[AccountAward]; got != 0 {
		t.Errorf("awards stand at %v, want 0", got)
	}
	w.check()
}

func TestReverseNeverTakesEscrowBelowZero(t *testing.T) {
	w := newWorld(t)
	payer, owner := w.person("payer", 1000_00, 0), w.person("owner", 0, 0)
	id := w.admit(horde.Admission{Payer: payer, Slots: 1})
	wantRC(t, w.settle(horde.Settlement{Request: id, Worker: w.worker(owner, horde.KindImage, "w"), Debit: 10_00, Credit: 10_00}), "")
	half := w.user(owner).Escrow
	if half != 5_00 {
		t.Fatalf("escrow of %v, want half of the credit", half)
	}
	wantRC(t, w.Reverse(w.ctx, Reversal{Actor: 1, Of: Place{Index: 1}, Booked: []Booked{ // each posting alone would do
		{User: owner, Escrow: true, Amount: 4_00}, {User: owner, Escrow: true, Amount: 4_00}, {User: payer, Amount: -8_00},
	}}), horde.RCForbidden)
	w.check()
}

func TestMergeUsers(t *testing.T) {
	w := newWorld(t)
	from, into := w.person("old", 100_00, 0), w.person("new", 50_00, 0)
	mod := w.person("mod", 0, horde.RoleModerator)
	worker := w.worker(from, horde.KindImage, "painter")
	key, err := w.CreateSharedKey(w.ctx, NewSharedKey{Owner: from, Kudos: 500, MaxImagePixels: -1, MaxImageSteps: -1, MaxTextTokens: -1})
	if err != nil {
		t.Fatal(err)
	}
	request := w.request()
	if err := w.Admit(w.ctx, horde.Admission{Request: request, Payer: from, Slots: 1, Upfront: 20_00, Deadline: moment(w.now + 60_000)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		actor, from, into horde.UserID
		want              horde.RC
	}{
		{mod, from, into, horde.RCNotAdmin},
		{1, from, from, horde.RCBadRequest},
		{1, 1, into, horde.RCForbidden},
		{1, from, horde.Anonymous, horde.RCAnonForbiddenUserMod},
		{1, 99, into, horde.RCUserNotFound},
		{1, from, 99, horde.RCUserNotFound},
	} {
		_, err := w.MergeUsers(w.ctx, c.actor, c.from, c.into, "")
		wantRC(t, err, c.want)
	}
	had := w.user(from).Kudos
	u, err := w.MergeUsers(w.ctx, 1, from, into, "lost the key")
	if err != nil {
		t.Fatal(err)
	}
	if want := 50_00 + had - 25_00; u.Kudos != want || u.Held != 20_00 {
		t.Errorf("the account has %v and holds %v, want %v and 20", u.Kudos, u.Held, want)
	}
	if _, ok := w.User(from); ok {
		t.Error("the merged account is still there")
	}
	if got, _ := w.Worker(worker); got.Owner != into {
		t.Errorf("the worker is of %d, want %d", got.Owner, into)
	}
	if got, _ := w.SharedKey(key.ID); got.Owner != into || len(w.keysOf(into)) != 1 {
		t.Errorf("the shared key is of %d, want %d", got.Owner, into)
	}
	w.check()
	// The open request is paid by who is there now.
	w.run(w.EncodeSettlement(horde.Settlement{Request: request, Worker: w.worker(mod, horde.KindImage, "other"), Debit: 10_00, Credit: 9_00}))
	if got, want := w.user(into).Kudos, u.Kudos-10_00; got != want {
		t.Errorf("after the settlement there are %v, want %v", got, want)
	}
	w.check()
}

func TestMoveWorker(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", 0, 0), w.person("bob", 0, 0)
	id := w.worker(alice, horde.KindImage, "painter")
	for _, c := range []struct {
		actor, to horde.UserID
		want      horde.RC
	}{
		{alice, bob, horde.RCNotAdmin}, {1, alice, horde.RCBadRequest}, {1, horde.Anonymous, horde.RCAnonForbiddenWorker}, {1, 99, horde.RCUserNotFound}, {1, bob, ""},
	} {
		_, err := w.MoveWorker(w.ctx, c.actor, id, c.to, "sold")
		wantRC(t, err, c.want)
	}
	if got := w.WorkersOf(bob); len(got) != 1 || got[0].ID != id || len(w.WorkersOf(alice)) != 0 {
		t.Errorf("bob has %v, alice %v", got, w.WorkersOf(alice))
	}
	w.check()
}

func TestResetKey(t *testing.T) {
	w := newWorld(t)
	alice := w.person("alice", 0, 0)
	_, err := w.ResetKey(w.ctx, alice, alice, "")
	wantRC(t, err, horde.RCNotAdmin)
	key, err := w.ResetKey(w.ctx, 1, alice, "asked by mail")
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := w.UserByKey(key); !ok || u.ID != alice {
		t.Errorf("the new key is of %d, %t", u.ID, ok)
	}
}

func TestModerationLog(t *testing.T) {
	w := newWorld(t)
	alice := w.person("alice", 0, 0)
	mod := w.person("mod", 0, horde.RoleModerator)
	worker := w.worker(alice, horde.KindImage, "a worker with a telling name")
	before := len(w.Moderations(0, 1000))
	yes := true
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// What is the users' own business does not appear, nor what is refused.
	do(w.UpdateUser(w.ctx, UserChange{Actor: alice, Target: alice, Contact: ptr("mail")}))
	do(w.UpdateWorker(w.ctx, WorkerChange{Actor: alice, Worker: worker, Maintenance: &yes}))
	_, err := w.UpdateUser(w.ctx, UserChange{Actor: alice, Target: alice, Trusted: &yes, Reason: "please"})
	wantRC(t, err, horde.RCNotModerator)
	if got := len(w.Moderations(0, 1000)); got != before {
		t.Fatalf("%d acts, want %d", got, before)
	}

	do(w.UpdateUser(w.ctx, UserChange{Actor: mod, Target: alice, Trusted: &yes, AdminComment: ptr("a secret remark"), Reason: "good work"}))
	do(w.UpdateWorker(w.ctx, WorkerChange{Actor: mod, Worker: worker, Paused: &yes, Reason: "broken pictures"}))
	do(w.SetModes(w.ctx, ModesChange{Actor: mod, Raid: &yes, Reason: strings.Repeat("é", 400)}))
	do(nil, w.Award(w.ctx, 1, alice, 5_00))
	do(w.PutFilter(w.ctx, NewFilter{Actor: mod, Regex: "badword", Type: 10}))
	got := w.Moderations(0, 5)
	want := []Moderation{
		{Actor: "mod#", Action: "add filter of type 10"},
		{Action: "award: kudos=+5.00", Target: userTarget(alice)},
		{Action: "modes: raid=true", Reason: strings.Repeat("é", 250)},
		{Action: "paused=true", Target: workerTarget(worker), Reason: "broken pictures"},
		{Action: "trusted=true, admin_comment", Target: userTarget(alice), Reason: "good work"},
	}
	for i := range want {
		g := got[i]
		if g.Action != want[i].Action || g.Target != want[i].Target || g.Reason != want[i].Reason || !strings.HasPrefix(g.Actor, want[i].Actor) || g.At != moment(w.now) {
			t.Errorf("act %d is %+v, want %+v", i, g, want[i])
		}
	}
	if next := w.Moderations(got[1].Number, 2); len(next) != 2 || next[0] != got[2] {
		t.Errorf("the page after begins with %+v, want %+v", next, got[2])
	}
	w.check()
}

func TestModerationLogIsBounded(t *testing.T) {
	w := newWorld(t)
	alice := w.person("alice", 0, 0)
	for range keepModeration + 10 {
		if err := w.Award(w.ctx, 1, alice, 1); err != nil {
			t.Fatal(err)
		}
	}
	all := w.Moderations(0, 2*keepModeration)
	if len(all) != keepModeration {
		t.Fatalf("%d acts are kept, want %d", len(all), keepModeration)
	}
	if got := w.Moderations(all[keepModeration-1].Number, 5); len(got) != 0 {
		t.Errorf("before the first there is %+v", got)
	}
	w.check()
}

func TestDiscipline(t *testing.T) {
	w := newWorld(t)
	w.join("node-b", true)
	b := w.as("node-b")
	carol := b.person("carol", 0, 0)

	wantRC(t, w.Discipline(w.ctx, w.id, Suspend, ""), horde.RCForbidden) // itself
	if err := w.Discipline(w.ctx, b.id, Suspend, "mints kudos"); err != nil {
		t.Fatal(err)
	}
	wantRC(t, w.Discipline(w.ctx, b.id, Suspend, ""), horde.RCForbidden)
	if m, _ := w.Member(b.id); !m.Active || m.Voter || !m.Suspended {
		t.Errorf("the suspended member is %+v", m)
	}
	award := b.batch(encodeCommand(kindTransfer, newTransfer(Transfer{From: 1, To: carol, Amount: 1})))
	if _, err := b.answer(award); err == nil || !strings.Contains(err.Error(), ErrSuspended.Error()) {
		t.Errorf("a batch of a suspended member: %v, want ErrSuspended", err)
	}
	if err := w.Discipline(w.ctx, b.id, Readmit, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.answer(award); err != nil {
		t.Errorf("the same batch after the readmission: %v", err)
	}
	if err := w.Discipline(w.ctx, b.id, Expel, "again"); err != nil {
		t.Fatal(err)
	}
	if m, _ := w.Member(b.id); m.Active {
		t.Error("the expelled member is active")
	}
	if err := w.Discipline(w.ctx, b.id, Readmit, ""); err != nil {
		t.Fatal(err)
	}
	if got := w.Moderations(0, 1); len(got) != 1 || got[0].Action != "readmit member" || got[0].Actor != "operator" || got[0].Node != "alpha" || got[0].Target != "member name of node-b" {
		t.Errorf("the log ends with %+v", got)
	}
	w.check()
}

func TestStatementPageBalances(t *testing.T) {
	w := newWorld(t)
	alice := w.person("alice", 0, 0)
	for i := range 300 {
		if err := w.Award(w.ctx, 1, alice, horde.Kudos(i%7+1)*100); err != nil {
			t.Fatal(err)
		}
	}
	first := w.StatementPage(alice, 0, 60)
	if len(first) != 60 || first[0].Balance != w.user(alice).Kudos {
		t.Fatalf("%d lines, the newest with %v, want 60 with %v", len(first), first[0].Balance, w.user(alice).Kudos)
	}
	if err := w.Award(w.ctx, 1, alice, 77); err != nil { // meanwhile
		t.Fatal(err)
	}
	all := first
	for {
		page := w.StatementPage(alice, all[len(all)-1].Number, 60)
		if len(page) == 0 {
			break
		}
		all = append(all, page...)
	}
	if want := maxMoves - 1; len(all) != want { // the newest pushed one out
		t.Errorf("%d lines, want %d", len(all), want)
	}
	for i := 1; i < len(all); i++ {
		if newer, older := all[i-1], all[i]; older.Number+1 != newer.Number || older.Balance+newer.Amount != newer.Balance {
			t.Fatalf("line %d: %v and %v make not %v", newer.Number, older.Balance, newer.Amount, newer.Balance)
		}
	}
}
