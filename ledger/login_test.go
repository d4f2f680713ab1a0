package ledger

import (
	"context"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestLinkLogin(t *testing.T) {
	w := newWorld(t)
	alice := w.person("alice", 0, 0)
	rich := w.person("rich", horde.Whole(100), 0)
	poor := w.person("poor", horde.Whole(1), 0) // lifted to 14
	taken, _, err := w.CreateUser(w.ctx, NewUser{Name: "g", OAuth: "g_1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		user  horde.UserID
		login string
		want  horde.RC
		kudos horde.Kudos
	}{
		{"nobody", 99, "g_2", horde.RCUserNotFound, 0},
		{"anonymous", horde.Anonymous, "g_2", horde.RCAnonForbiddenUser, 0},
		{"another account's", alice, "g_1", horde.RCForbidden, 0},
		{"an empty account stays empty", alice, "g_2", "", 0},
		{"again", alice, "g_2", "", 0},
		{"a second one", alice, "g_3", horde.RCForbidden, 0},
		{"above the floor", rich, "d_1", "", horde.Whole(100)},
		{"below the new floor", poor, "gh_1", "", horde.Whole(25)},
		{"one that came with a login", taken.ID, "g_9", horde.RCForbidden, 0},
	} {
		u, err := w.LinkLogin(w.ctx, tt.user, tt.login)
		wantRC(t, err, tt.want)
		if tt.want == "" {
			if u.Class != horde.ClassRegistered || u.Kudos != tt.kudos {
				t.Errorf("%s: got class %d, %v, want registered, %v", tt.name, u.Class, u.Kudos, tt.kudos)
			}
			if got, ok := w.UserByLogin(tt.login); !ok || got.ID != tt.user || !w.HasLogin(tt.user) {
				t.Errorf("%s: the login finds %+v, %v", tt.name, got, ok)
			}
		}
		w.check()
	}
	u, err := w.UnlinkLogin(w.ctx, alice)
	wantRC(t, err, "")
	if _, ok := w.UserByLogin("g_2"); ok || u.Class != horde.ClassPseudonymous || w.HasLogin(alice) {
		t.Errorf("after unlinking: the login is known, or got %+v", u)
	}
	_, err = w.UnlinkLogin(w.ctx, alice)
	wantRC(t, err, horde.RCForbidden)
	_, err = w.UnlinkLogin(w.ctx, 99)
	wantRC(t, err, horde.RCUserNotFound)
	if _, err := w.LinkLogin(w.ctx, rich, "g_2"); err == nil {
		t.Error("a second login was linked")
	}
	w.check()
	for k, v := range w.m.stored() {
		for _, secret := range []string{"g_1", "g_2", "d_1", "gh_1"} {
			if strings.Contains(k+string(v), secret) {
				t.Errorf("%q is in %q", secret, k)
			}
		}
	}
}

func TestKeyMark(t *testing.T) {
	w := newWorld(t)
	id, other := w.person("a", 0, 0), w.person("b", 0, 0)
	before := w.KeyMark(id)
	if before == w.KeyMark(other) || before == [16]byte{} {
		t.Error("marks are alike or zero")
	}
	must(w.LinkLogin(w.ctx, id, "g_1"))(t)
	linked := w.KeyMark(id)
	must(w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: id, Contact: ptr("x")}))(t)
	if w.KeyMark(id) != linked || linked == before {
		t.Error("the mark changed with something else than key and login, or not with the login")
	}
	must(w.UnlinkLogin(w.ctx, id))(t)
	if w.KeyMark(id) == linked {
		t.Error("the mark did not change when the login was unlinked")
	}
	must(w.RotateKey(w.ctx, id))(t)
	if w.KeyMark(id) == before {
		t.Error("the mark did not change with the key")
	}
	if w.KeyMark(99) != [16]byte{} {
		t.Error("nobody has a mark")
	}
}

func TestPatrons(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("a", horde.Whole(100), 0), w.person("b", horde.Whole(100), 0)
	must(w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: b, MonthlyKudos: ptr(horde.Whole(10))}))(t) // paid at once
	must(0, w.Tick(w.ctx))(t)
	until := start.Add(40 * 24 * time.Hour).UnixMilli()
	wantRC(t, w.SetPatrons(w.ctx, []Patron{{User: a, Monthly: horde.Whole(50), Until: until}, {User: b, Monthly: horde.Whole(5)}}), "")
	for _, bad := range [][]Patron{
		{{User: a, Monthly: 1}, {User: 99, Monthly: 1}}, {{User: horde.Anonymous, Monthly: 1}},
		{{User: a, Monthly: -1}}, {{User: a, Monthly: maxAmount + 1}}, {{User: a, Until: -1}},
	} {
		if err := w.SetPatrons(w.ctx, bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	want := func(what string, ka, kb int64) {
		t.Helper()
		if got := w.user(a).Kudos; got != horde.Whole(ka) {
			t.Errorf("%s: a has %v, want %d", what, got, ka)
		}
		if got := w.user(b).Kudos; got != horde.Whole(kb) {
			t.Errorf("%s: b has %v, want %d", what, got, kb)
		}
		w.check()
	}
	month := 31*24*time.Hour + time.Hour
	w.pass(time.Hour)
	must(0, w.Tick(w.ctx))(t)
	want("within the hour", 150, 110) // b was paid at once by the admin and waits for a month
	w.pass(month)
	must(0, w.Tick(w.ctx))(t)
	want("after a month", 200, 125)
	w.pass(month)
	must(0, w.Tick(w.ctx))(t)
	want("after the end", 200, 140)
	wantRC(t, w.SetPatrons(w.ctx, []Patron{{User: b}}), "")
	w.pass(month)
	must(0, w.Tick(w.ctx))(t)
	want("without patronage", 200, 150)
	if got := w.Patrons(); len(got) != 1 || got[0].User != a {
		t.Errorf("patrons: got %+v, want a", got)
	}
}

// What is personal in a deleted account can be taken out of the ledger: the number stays, and
// that there was an account.
func TestWipedAccountHoldsNothingPersonal(t *testing.T) {
	w := newWorld(t)
	u, key, err := w.CreateUser(w.ctx, NewUser{Name: "Ada Lovelace", OAuth: "g_77"})
	if err != nil {
		t.Fatal(err)
	}
	must(w.UpdateUser(w.ctx, UserChange{Actor: u.ID, Target: u.ID, Contact: ptr("ada@example.org")}))(t)
	must(w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: u.ID, AdminComment: ptr("knows Babbage"), Moderator: ptr(false)}))(t)
	w.worker(u.ID, horde.KindImage, "analytical engine")
	wantRC(t, w.SetPatrons(w.ctx, []Patron{{User: u.ID, Monthly: 100}}), "")
	hashes := [][]byte{}
	for _, secret := range []string{string(key), "g_77"} {
		d := w.hash(secret)
		hashes = append(hashes, d[:])
	}
	wantRC(t, w.DeleteUser(w.ctx, u.ID, u.ID), "")
	must(w.UpdateUser(w.ctx, UserChange{Actor: u.ID, Target: u.ID, Undelete: true}))(t)
	if got := w.user(u.ID); got.Name != "Ada Lovelace" || got.Contact != "ada@example.org" {
		t.Errorf("after undeleting: got %+v", got)
	}
	wantRC(t, w.DeleteUser(w.ctx, u.ID, u.ID), "")
	wantRC(t, w.DeleteUser(w.ctx, 1, u.ID), horde.RCCannotWipeActiveUser)
	w.pass(31 * 24 * time.Hour)
	wantRC(t, w.DeleteUser(w.ctx, 1, u.ID), "")
	w.pass(2 * 24 * time.Hour) // deleted workers are kept a day for their pay
	must(0, w.Tick(w.ctx))(t)
	w.check()
	for k, v := range w.m.stored() {
		for _, personal := range []string{"Ada", "ada@", "Babbage", "analytical", string(hashes[0]), string(hashes[1])} {
			if strings.Contains(k+string(v), personal) {
				t.Errorf("%q is still in the row %q", personal, k)
			}
		}
	}
	if _, ok := w.User(u.ID); ok {
		t.Error("a wiped account is found")
	}
	if len(w.Patrons()) != 0 {
		t.Error("a wiped account is a patron")
	}
	if next, _, err := w.CreateUser(context.Background(), NewUser{Name: "n"}); err != nil || next.ID == u.ID {
		t.Errorf("the number was given again: %+v, %v", next, err)
	}
}
