package ledger

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hordenode/internal/horde"
)

func TestStatementSaysWhatHappened(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", horde.Whole(100), 0), w.person("bob", 0, 0)
	worker := w.worker(bob, horde.KindText, "worker")
	w.pass(time.Second)
	must(0, w.Transfer(w.ctx, Transfer{From: alice, To: bob, Amount: horde.Whole(10)}))(t)
	id := w.admit(horde.Admission{Payer: alice, Tax: 300})
	must(0, w.settle(horde.Settlement{Request: id, Worker: worker, Debit: 700, Credit: 601}))(t)
	w.run(w.EncodeUptime(horde.Uptime{Worker: worker, Seconds: 601, Reward: 50}))
	must(0, w.Award(w.ctx, 1, alice, -horde.Whole(100)))(t)
	must(w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: bob, Trusted: ptr(true)}))(t)
	at := moment(w.now)
	for _, tt := range []struct {
		name string
		user horde.UserID
		want []StatementEntry
	}{
		{"alice", alice, []StatementEntry{
			{Number: 6, At: at, Amount: horde.Whole(45), Reason: ReasonForgiveness},
			{Number: 5, At: at, Amount: -horde.Whole(100), Action: "awarded", Reason: ReasonAward},
			{Number: 4, At: at, Amount: -700, Action: "accumulated", Reason: ReasonJob, Request: id},
			{Number: 3, At: at, Amount: -300, Action: "accumulated", Reason: ReasonTax, Request: id},
			{Number: 2, At: at, Amount: -horde.Whole(10), Action: "gifted", Reason: ReasonTransfer, With: bob},
			{Number: 1, At: at.Add(-time.Second), Amount: horde.Whole(100), Action: "admin", Reason: ReasonAdmin},
		}},
		{"bob", bob, []StatementEntry{
			{Number: 7, At: at, Amount: 351, Action: "accumulated", Reason: ReasonTrust},
			{Number: 6, At: at, Amount: -351, Escrow: true, Reason: ReasonTrust},
			{Number: 5, At: at, Amount: 50, Escrow: true, Reason: ReasonUptime},
			{Number: 4, At: at, Amount: 301, Escrow: true, Reason: ReasonJob, Request: id},
			{Number: 3, At: at, Amount: 300, Action: "accumulated", Reason: ReasonJob, Request: id},
			{Number: 2, At: at, Amount: horde.Whole(15), Reason: ReasonForgiveness},
			{Number: 1, At: at, Amount: horde.Whole(10), Action: "received", Reason: ReasonTransfer, With: alice},
		}},
		{"nobody", 99, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := w.Statement(tt.user, 0, 100); !slices.Equal(got, tt.want) {
				t.Errorf("got %+v,\nwant %+v", got, tt.want)
			}
		})
	}
	w.check()
}

// The last 200 movements are there, whatever the pages, the restarts and the way of asking.
func TestStatementIsARing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		alice := w.person("alice", horde.Whole(100), 0) // movement 1
		want := []horde.Kudos{horde.Whole(100)}
		store := disk{}
		for range rapid.IntRange(0, 12).Draw(rt, "turns") {
			n := rapid.IntRange(1, 60).Draw(rt, "awards")
			var cmds [][]byte
			for range n {
				amount := horde.Kudos(len(want))
				want = append(want, amount)
				cmds = append(cmds, encodeCommand(kindAward, award{1, alice, amount}),
					encodeCommand(kindAward, award{1, alice, maxAmount + 1}), // refused
				)
			}
			if _, err := w.Do(w.ctx, cmds...); err != nil {
				rt.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "restart") {
				writes, index := w.m.Changes()
				store.write(writes)
				if err := w.m.Load(index, store.all()); err != nil {
					rt.Fatal(err)
				}
			}
		}
		slices.Reverse(want)
		last := uint64(len(want))
		want = want[:min(len(want), maxMoves)]
		step := rapid.IntRange(1, 250).Draw(rt, "step")
		var got []horde.Kudos
		var before uint64
		for {
			page := w.Statement(alice, before, step)
			for _, m := range page {
				if m.Number != last {
					rt.Fatalf("got number %d, want %d", m.Number, last)
				}
				last--
				got = append(got, m.Amount)
			}
			if len(page) < step {
				break
			}
			before = page[len(page)-1].Number
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("got %v, want %v", got, want)
		}
		if err := w.m.CheckInvariants(); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestStatementRefusesLimits(t *testing.T) {
	w := newWorld(t)
	alice := w.person("alice", horde.Whole(100), 0)
	for _, limit := range []int{0, -1} {
		if got := w.Statement(alice, 0, limit); len(got) != 0 {
			t.Errorf("limit %d: got %v", limit, got)
		}
	}
	if got := w.Statement(alice, 1, 10); len(got) != 0 {
		t.Errorf("before the first: got %v", got)
	}
	if got := w.Statement(alice, 1000, 10); len(got) != 1 {
		t.Errorf("before one to come: got %v", got)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := ReasonOther; r <= ReasonMerge; r++ {
		if n := r.String(); seen[n] || n == "" || n[len(n)-1] == ')' {
			t.Errorf("reason %d is called %q", uint8(r), n)
		}
		seen[r.String()] = true
	}
	if got := (ReasonMerge + 1).String(); got != "reason(14)" {
		t.Errorf("an unknown reason is called %q", got)
	}
}
