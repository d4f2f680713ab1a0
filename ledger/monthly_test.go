package ledger

import (
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestMonthAfter(t *testing.T) {
	for _, tt := range []struct{ from, want string }{
		{"2026-01-15T10:00:00Z", "2026-02-15T10:00:00Z"},
		{"2026-12-31T23:59:59Z", "2027-01-31T23:59:59Z"},
		{"2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"},
		{"2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"2026-08-31T05:00:00Z", "2026-09-30T05:00:00Z"},
	} {
		from, err := time.Parse(time.RFC3339, tt.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := moment(monthAfter(from.UnixMilli())).Format(time.RFC3339); got != tt.want {
			t.Errorf("after %s: got %s, want %s", tt.from, got, tt.want)
		}
	}
}

func TestMonthlyKudos(t *testing.T) {
	w := newWorld(t)
	id := w.person("patron", horde.Whole(100), 0)
	mod := w.person("mod", horde.Whole(100), horde.RoleModerator)
	both := w.person("both", horde.Whole(100), horde.RoleModerator)
	plain := w.person("plain", horde.Whole(100), 0)
	for _, u := range []horde.UserID{id, both} { // paid at once
		must(w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: u, MonthlyKudos: ptr(horde.Whole(10))}))(t)
	}
	runs := 0
	run := func(d time.Duration) {
		t.Helper()
		w.pass(d)
		must(0, w.Tick(w.ctx))(t)
		runs++
	}
	want := func(patron, moderator, two int64) {
		t.Helper()
		for u, k := range map[horde.UserID]int64{id: 110 + patron, mod: 100 + moderator, both: 110 + two, plain: 100} {
			if got := w.user(u).Kudos; got != horde.Whole(k) {
				t.Errorf("run %d: user %d has %v, want %v", runs, u, got, horde.Whole(k))
			}
		}
		w.check()
	}
	const perMod = 300_000
	run(time.Minute) // the first tick only begins the hour
	want(0, 0, 0)
	run(59 * time.Minute)
	want(0, 0, 0)
	run(time.Minute) // moderators who never got any are due
	want(0, perMod, 0)
	run(time.Hour)
	want(0, perMod, 0)
	run(30*24*time.Hour + time.Hour) // December 20: a month since November 20
	want(10, 2*perMod, perMod+10)

	// Three missed months are paid over three runs.
	run(95 * 24 * time.Hour)
	want(20, 3*perMod, 2*(perMod+10))
	run(time.Second) // not before an hour has passed
	want(20, 3*perMod, 2*(perMod+10))
	run(time.Hour)
	want(30, 4*perMod, 3*(perMod+10))
	run(time.Hour)
	want(40, 5*perMod, 4*(perMod+10))
	run(time.Hour)
	want(40, 5*perMod, 4*(perMod+10))

	u := w.user(id)
	if got := u.MonthlyLast; !got.Equal(start.AddDate(0, 4, 0)) {
		t.Errorf("last paid for %v, want four months after %v", got, start)
	}
	if u.Details.Recurring != horde.Whole(50) {
		t.Errorf("recurring is %v, want 50", u.Details.Recurring)
	}
	// Who is a moderator no more gets nothing more.
	must(w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: mod, Moderator: ptr(false)}))(t)
	before := w.user(mod).Kudos
	run(40 * 24 * time.Hour)
	if got := w.user(mod).Kudos; got != before {
		t.Errorf("a former moderator got %v", got-before)
	}
}

// The entitlement of a wiped user is paid no more.
func TestMonthlyKudosEndWithTheAccount(t *testing.T) {
	w := newWorld(t)
	id := w.person("patron", horde.Whole(100), 0)
	must(w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: id, MonthlyKudos: ptr(horde.Whole(10))}))(t)
	must(0, w.DeleteUser(w.ctx, id, id))(t)
	w.pass(31 * 24 * time.Hour)
	must(0, w.DeleteUser(w.ctx, id, id))(t)
	must(0, w.Tick(w.ctx))(t)
	w.pass(2 * time.Hour)
	must(0, w.Tick(w.ctx))(t)
	if got := w.m.s.users.get(id).Kudos; got != horde.Whole(110) {
		t.Errorf("the balance is %v, want 110", got)
	}
}

func TestWipeTakesSharedKeysAndTeams(t *testing.T) {
	w := newWorld(t)
	owner := w.person("owner", horde.Whole(100), horde.RoleTrusted)
	worker := w.worker(owner, horde.KindImage, "worker")
	team := must(w.CreateTeam(w.ctx, NewTeam{owner, "team", ""}))(t).ID
	must(w.UpdateWorker(w.ctx, WorkerChange{Actor: owner, Worker: worker, Team: &team}))(t)
	key := must(w.CreateSharedKey(w.ctx, NewSharedKey{Owner: owner, Kudos: 100}))(t)
	n := newStyle(owner, "s")
	n.SharedKey = key.Ref
	style := must(w.CreateStyle(w.ctx, n))(t).ID
	must(0, w.DeleteUser(w.ctx, owner, owner))(t)
	w.try(t, horde.RCCannotWipeActiveUser, func() error { return w.DeleteUser(w.ctx, owner, owner) })
	w.pass(30 * 24 * time.Hour)
	w.try(t, "", func() error { return w.DeleteUser(w.ctx, owner, owner) })
	if _, ok := w.User(owner); ok {
		t.Error("the wiped user is found")
	}
	if _, ok := w.SharedKey(key.ID); ok {
		t.Error("the shared key is there")
	}
	if _, ok := w.Worker(worker); ok {
		t.Error("the worker is there")
	}
	if v, _ := w.Team(team); len(v.Workers) != 0 {
		t.Error("the worker is in its team")
	}
	if s, _ := w.Style(style); !s.SharedKey.IsZero() {
		t.Error("the style has the key that is gone")
	}
	if got := w.m.s.users.get(owner).Kudos; got != horde.Whole(100) {
		t.Errorf("the balance is %v, want it kept", got)
	}
	// Nobody is rewarded for the styles of a wiped user.
	w.admit(horde.Admission{Payer: w.person("payer", horde.Whole(100), 0), Style: style})
	if got := w.m.s.users.get(owner).Kudos; got != horde.Whole(100) {
		t.Errorf("a wiped user has %v", got)
	}
	w.check()
}
