package ledger

import (
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestTransferRefusals(t *testing.T) {
	const alice, bob horde.UserID = 2, 3
	refused := func(from, to horde.UserID, amount horde.Kudos) Transfer {
		return Transfer{From: from, To: to, Amount: amount}
	}
	suspectFive := func(id horde.UserID) func(*world) {
		return func(w *world) {
			for range 5 {
				if err := w.SuspectUser(w.ctx, id, SuspicionUnreasonablyFast); err != nil {
					w.Fatal(err)
				}
			}
		}
	}
	role := func(id horde.UserID, c UserChange) func(*world) {
		return func(w *world) {
			c.Actor, c.Target = 1, id
			if _, err := w.UpdateUser(w.ctx, c); err != nil {
				w.Fatal(err)
			}
		}
	}
	remove := func(id horde.UserID) func(*world) {
		return func(w *world) { wantRC(w, w.DeleteUser(w.ctx, id, id), "") }
	}
	done := func(tr Transfer) func(*world) {
		return func(w *world) { wantRC(w, w.Transfer(w.ctx, tr), "") }
	}
	nothing := func(*world) {}
	for _, tt := range []struct {
		name  string
		given func(*world)
		in    Transfer
		want  horde.RC
	}{
		{"all that is above the floor", nothing, refused(alice, bob, horde.Whole(75)), ""},
		{"a hundredth too much", nothing, refused(alice, bob, horde.Whole(75)+1), horde.RCKudosTransferNotEnough},
		{"from anonymous", nothing, refused(0, bob, 100), horde.RCKudosTransferFromAnon},
		{"from anonymous to nobody", nothing, refused(0, 99, 100), horde.RCKudosTransferFromAnon},
		{"to nobody", nothing, refused(alice, 99, 100), horde.RCInvalidTargetUsername},
		{"to anonymous", nothing, refused(alice, 0, 100), horde.RCKudosTransferToAnon},
		{"to self", nothing, refused(alice, alice, 100), horde.RCKudosTransferToSelf},
		{"back within a minute", done(refused(bob, alice, 100)), refused(alice, bob, 100), horde.RCTooFastKudosTransfers},
		{"the same way within a minute", done(refused(alice, bob, 100)), refused(alice, bob, 100), ""},
		{"back after a minute", func(w *world) { done(refused(bob, alice, 100))(w); w.pass(time.Minute) }, refused(alice, bob, 100), ""},
		{"from a suspicious account", suspectFive(alice), refused(alice, bob, 100), horde.RCFaultWhenKudosSending},
		{"from a flagged account", role(alice, UserChange{Flagged: ptr(true)}), refused(alice, bob, 100), horde.RCSourceAccountFlagged},
		{"from an education account", role(alice, UserChange{Education: ptr(true)}), refused(alice, bob, 100), horde.RCEducationCannotSendKudos},
		{"to a suspicious account", suspectFive(bob), refused(alice, bob, 100), horde.RCFaultWhenKudosReceiving},
		{"to a flagged account", role(bob, UserChange{Flagged: ptr(true)}), refused(alice, bob, 100), horde.RCTargetAccountFlagged},
		{"to a deleted account", remove(bob), refused(alice, bob, 100), horde.RCDeletedUser},
		{"from a deleted account", remove(alice), refused(alice, bob, 100), horde.RCDeletedUser},
		{"negative", nothing, refused(alice, bob, -1), horde.RCNegativeKudosTransfer},
		{"zero", nothing, refused(alice, bob, 0), horde.RCInvalidKudosTransferAmount},
		{
			"a key used for another amount", done(Transfer{alice, bob, 100, "k"}),
			Transfer{alice, bob, 200, "k"}, horde.RCIdempotencyKeyConflict,
		},
		{
			"a key used for another amount that is too much", done(Transfer{alice, bob, 100, "k"}),
			Transfer{alice, bob, horde.Whole(1000), "k"}, horde.RCIdempotencyKeyConflict,
		},
		{"another's key", done(Transfer{alice, bob, 100, "k"}), Transfer{4, bob, 200, "k"}, ""},
		{
			"what is held cannot be sent", func(w *world) { w.admit(horde.Admission{Payer: alice, Upfront: horde.Whole(50)}) },
			refused(alice, bob, horde.Whole(26)), horde.RCKudosTransferNotEnough,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if w.person("alice", horde.Whole(100), 0) != alice || w.person("bob", horde.Whole(100), 0) != bob {
				t.Fatal("ids are not as expected")
			}
			w.person("carol", horde.Whole(100), 0)
			tt.given(w)
			before, from, to := w.m.content(), w.user(0), w.user(0)
			if u, ok := w.User(tt.in.From); ok {
				from = u
			}
			if u, ok := w.User(tt.in.To); ok {
				to = u
			}
			wantRC(t, w.Transfer(w.ctx, tt.in), tt.want)
			if tt.want != "" {
				if w.m.content() != before {
					t.Error("a refusal left a trace")
				}
				return
			}
			if got, want := w.user(tt.in.From).Kudos, from.Kudos-tt.in.Amount; got != want {
				t.Errorf("the sender has %v, want %v", got, want)
			}
			if got, want := w.user(tt.in.To).Kudos, to.Kudos+tt.in.Amount; got != want {
				t.Errorf("the receiver has %v, want %v", got, want)
			}
			w.check()
		})
	}
}

func TestTransferRepeatedByKey(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", horde.Whole(1000), 0), w.person("bob", horde.Whole(100), 0)
	tr := Transfer{From: alice, To: bob, Amount: horde.Whole(10), Key: "once"}
	for range 3 {
		wantRC(t, w.Transfer(w.ctx, tr), "")
	}
	if got := w.user(bob).Kudos; got != horde.Whole(110) {
		t.Errorf("bob has %v, want 110", got)
	}
	// The first answer stands, whatever became of bob.
	wantRC(t, w.DeleteUser(w.ctx, bob, bob), "")
	wantRC(t, w.Transfer(w.ctx, tr), "")
	if _, err := w.UpdateUser(w.ctx, UserChange{Actor: bob, Target: bob, Undelete: true}); err != nil {
		t.Fatal(err)
	}
	// After a day the key may be used again, whether a tick has come or not.
	w.pass(24 * time.Hour)
	wantRC(t, w.Transfer(w.ctx, tr), "")
	if got := w.user(bob).Kudos; got != horde.Whole(120) {
		t.Errorf("bob has %v, want 120", got)
	}
	w.pass(23 * time.Hour)
	if err := w.Tick(w.ctx); err != nil {
		t.Fatal(err)
	}
	if w.m.s.answers.live != 1 || w.m.s.recent.live != 0 {
		t.Errorf("%d keys and %d cooldowns are kept, want 1 and 0", w.m.s.answers.live, w.m.s.recent.live)
	}
	w.pass(time.Hour)
	if err := w.Tick(w.ctx); err != nil {
		t.Fatal(err)
	}
	if w.m.s.answers.live != 0 {
		t.Error("the key is kept for more than a day")
	}
	w.check()
}

func TestTransferDetails(t *testing.T) {
	w := newWorld(t)
	alice, bob, school := w.person("alice", horde.Whole(100), 0), w.person("bob", 0, 0), w.person("school", 0, horde.RoleEducation)
	wantRC(t, w.Transfer(w.ctx, Transfer{From: alice, To: bob, Amount: 300}), "")
	wantRC(t, w.Transfer(w.ctx, Transfer{From: alice, To: school, Amount: 200}), "")
	if d := w.user(alice).Details; d.Gifted != -300 || d.Donated != -200 {
		t.Errorf("alice's details are %+v", d)
	}
	if d := w.user(bob).Details; d.Received != 300 {
		t.Errorf("bob's details are %+v", d)
	}
	if got := w.user(bob).Kudos; got != horde.Whole(25) {
		t.Errorf("bob, who was new, has %v, want the floor", got)
	}
	w.check()
}

func TestAward(t *testing.T) {
	for _, tt := range []struct {
		name   string
		actor  horde.UserID
		to     horde.UserID
		amount horde.Kudos
		want   horde.RC
		left   horde.Kudos
	}{
		{"positive", 1, 2, 500, "", 10_500},
		{"negative", 1, 2, -500, "", 9_500},
		{"below the floor", 1, 2, -horde.Whole(1000), "", 2_500},
		{"by another", 2, 2, 500, horde.RCNotAllowedAwards, 10_000},
		{"to nobody", 1, 99, 500, horde.RCInvalidAwardUsername, 10_000},
		{"to anonymous", 1, 0, 500, horde.RCKudosAwardToAnon, 10_000},
		{"to a flagged account", 1, 3, 500, horde.RCTargetAccountFlagged, 10_000},
		{"by a deleted account", 4, 2, 500, horde.RCDeletedUser, 10_000},
		{"absurd", 1, 2, maxAmount + 1, horde.RCBadRequest, 10_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.person("alice", horde.Whole(100), 0)
			w.person("mallory", 0, horde.RoleFlagged)
			gone := w.person("gone", 0, 0)
			wantRC(t, w.DeleteUser(w.ctx, gone, gone), "")
			wantRC(t, w.Award(w.ctx, tt.actor, tt.to, tt.amount), tt.want)
			if got := w.user(2); got.Kudos != tt.left {
				t.Errorf("alice has %v, want %v", got.Kudos, tt.left)
			}
			w.check()
		})
	}
}
