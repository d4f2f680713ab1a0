package ledger

import (
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestCreateUser(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name  string
		in    NewUser
		want  horde.RC
		class horde.Class
		kudos horde.Kudos
		roles horde.Roles
	}{
		{"pseudonymous", NewUser{Name: "a"}, "", horde.ClassPseudonymous, 0, 0},
		{"registered", NewUser{Name: "a", OAuth: "g_1"}, "", horde.ClassRegistered, 0, 0},
		{"known login", NewUser{Name: "b", OAuth: "g_1"}, horde.RCBadRequest, 0, 0, 0},
		{"empty name", NewUser{}, "", horde.ClassPseudonymous, 0, 0},
		{"30 characters", NewUser{Name: strings.Repeat("ü", 30)}, "", horde.ClassPseudonymous, 0, 0},
		{"31 characters", NewUser{Name: strings.Repeat("u", 31)}, horde.RCTooLongUserName, 0, 0, 0},
		{"moderator is trusted", NewUser{Name: "m", Roles: horde.RoleModerator, Kudos: 5000}, "", horde.ClassPseudonymous, 5000, horde.RoleModerator | horde.RoleTrusted},
		{"born deleted", NewUser{Name: "m", Roles: horde.RoleDeleted}, horde.RCBadRequest, 0, 0, 0},
		{"negative kudos", NewUser{Name: "m", Kudos: -1}, horde.RCBadRequest, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := w.m.content()
			u, key, err := w.CreateUser(w.ctx, tt.in)
			wantRC(t, err, tt.want)
			if tt.want != "" {
				if w.m.content() != before {
					t.Error("a refusal left a trace")
				}
				return
			}
			if u.Class != tt.class || u.Kudos != tt.kudos || u.Roles != tt.roles || u.Concurrency != 30 || !u.Created.Equal(start) || u.UsagePermille != 1000 {
				t.Errorf("got %+v", u)
			}
			if got, ok := w.UserByKey(key); !ok || got != u {
				t.Errorf("by key: %+v, %v, want %+v", got, ok, u)
			}
			if len(key) != 22 {
				t.Errorf("the key has %d characters, want 22", len(key))
			}
			w.check()
		})
	}
	if _, ok := w.UserByLogin("g_1"); !ok {
		t.Error("the login is not known")
	}
	if _, ok := w.UserByKey("nobody's key"); ok {
		t.Error("a made-up key is known")
	}
}

func TestIDsAreSequential(t *testing.T) {
	w := newWorld(t)
	a := w.person("a", 0, 0)
	_, _, err := w.CreateUser(w.ctx, NewUser{Name: strings.Repeat("x", 31)}) // refused: takes no id
	wantRC(t, err, horde.RCTooLongUserName)
	if b := w.person("b", 0, 0); a != 2 || b != 3 {
		t.Errorf("ids are %d and %d, want 2 and 3", a, b)
	}
}

func TestRotateKey(t *testing.T) {
	w := newWorld(t)
	u, old, err := w.CreateUser(w.ctx, NewUser{Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := w.RotateKey(w.ctx, u.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := w.UserByKey(old); ok {
		t.Error("the old key is still good")
	}
	if got, ok := w.UserByKey(key); !ok || got.ID != u.ID {
		t.Errorf("by the new key: %+v, %v", got, ok)
	}
	_, err = w.RotateKey(w.ctx, horde.Anonymous)
	wantRC(t, err, horde.RCAnonForbiddenUser)
	_, err = w.RotateKey(w.ctx, 99)
	wantRC(t, err, horde.RCUserNotFound)
	if _, ok := w.UserByKey(horde.AnonymousKey); !ok {
		t.Error("the anonymous key is gone")
	}
	w.check()
}

func TestTestUserAdoptsTheFounder(t *testing.T) {
	w := newWorld(t)
	in := TestUser{Name: "ci", OAuth: "ci_test_user", Moderator: true, Trusted: true, Kudos: horde.Whole(10_000)}
	u, key, created, err := w.TestUser(w.ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if u.ID != 1 || u.Name != "ci" || !created || !u.Is(horde.RoleAdmin|horde.RoleModerator|horde.RoleTrusted) || u.Kudos != horde.Whole(10_000) {
		t.Errorf("the first is %+v, created %v; want the founder's account", u, created)
	}
	if _, ok := w.UserByKey(w.admin); ok {
		t.Error("the founder's old key is still good")
	}
	in.Kudos, in.Moderator, in.Trusted = horde.Whole(5), false, false
	again, key2, created, err := w.TestUser(w.ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != 1 || created || again.Roles != u.Roles || again.Kudos != horde.Whole(25) {
		t.Errorf("refreshed: %+v, created %v", again, created)
	}
	if _, ok := w.UserByKey(key); ok || key == key2 {
		t.Error("the key was not renewed")
	}
	other, _, created, err := w.TestUser(w.ctx, TestUser{Name: "two", OAuth: "two", Kudos: horde.Whole(100)})
	if err != nil {
		t.Fatal(err)
	}
	if other.ID != 2 || !created || other.Roles != 0 || other.Class != horde.ClassRegistered || other.Kudos != horde.Whole(100) {
		t.Errorf("the second is %+v, created %v", other, created)
	}
	w.check()
}

// A founder who logs in somewhere keeps the account.
func TestTestUserDoesNotAdoptALinkedFounder(t *testing.T) {
	w := newWorld(t)
	w.run(encodeCommand(kindLinkLogin, linkLogin{User: founderUser, Login: digest{1}}))
	u, _, _, err := w.TestUser(w.ctx, TestUser{Name: "ci", OAuth: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	if u.ID == founderUser {
		t.Error("the founder's account was taken over")
	}
	w.check()
}

func TestTestUserDoesNotAdoptWhenThereAreOthers(t *testing.T) {
	w := newWorld(t)
	w.person("alice", 0, 0)
	u, _, _, err := w.TestUser(w.ctx, TestUser{Name: "ci", OAuth: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	if u.ID != 3 {
		t.Errorf("got id %d, want 3", u.ID)
	}
	if _, ok := w.UserByKey(w.admin); !ok {
		t.Error("the founder's key is gone")
	}
}

func TestUpdateUserAuthority(t *testing.T) {
	const admin, mod, alice, bob, service horde.UserID = 2, 3, 4, 5, 6
	yes := ptr(true)
	for _, tt := range []struct {
		name string
		in   UserChange
		want horde.RC
	}{
		{"nothing", UserChange{Actor: alice, Target: alice}, horde.RCNoUserModSelected},
		{"target not there", UserChange{Actor: mod, Target: 99, Trusted: yes}, horde.RCUserNotFound},
		{"actor not there", UserChange{Actor: 99, Target: alice, Trusted: yes}, horde.RCInvalidAPIKey},
		{"kudos by moderator", UserChange{Actor: mod, Target: alice, Kudos: ptr(horde.Kudos(1))}, horde.RCNotAdmin},
		{"kudos by admin", UserChange{Actor: admin, Target: alice, Kudos: ptr(horde.Kudos(1))}, ""},
		{"monthly by moderator", UserChange{Actor: mod, Target: alice, MonthlyKudos: ptr(horde.Kudos(1))}, horde.RCNotAdmin},
		{"usage multiplier by moderator", UserChange{Actor: mod, Target: alice, UsagePermille: ptr(int64(1000))}, horde.RCNotAdmin},
		{"usage multiplier out of range", UserChange{Actor: admin, Target: alice, UsagePermille: ptr(int64(99))}, horde.RCBadRequest},
		{"moderator by moderator", UserChange{Actor: mod, Target: alice, Moderator: yes}, horde.RCNotAdmin},
		{"moderator by admin", UserChange{Actor: admin, Target: alice, Moderator: yes}, ""},
		{"trusted by admin who is no moderator", UserChange{Actor: admin, Target: alice, Trusted: yes}, horde.RCNotModerator},
		{"the first refusal counts", UserChange{Actor: admin, Target: alice, Trusted: yes, Name: ptr(strings.Repeat("x", 31)), Kudos: ptr(horde.Kudos(1))}, horde.RCNotModerator},
		{"concurrency by the user", UserChange{Actor: alice, Target: alice, Concurrency: ptr(100)}, horde.RCNotModerator},
		{"concurrency by moderator", UserChange{Actor: mod, Target: alice, Concurrency: ptr(100)}, ""},
		{"concurrency too high", UserChange{Actor: mod, Target: alice, Concurrency: ptr(501)}, horde.RCBadRequest},
		{"invitations by moderator", UserChange{Actor: mod, Target: alice, WorkerInvited: ptr(-3)}, ""},
		{"comment by the user", UserChange{Actor: alice, Target: alice, AdminComment: ptr("I am great")}, horde.RCNotModerator},
		{"name by the user", UserChange{Actor: alice, Target: alice, Name: ptr("alicia")}, ""},
		{"name by another", UserChange{Actor: bob, Target: alice, Name: ptr("alicia")}, horde.RCNotModerator},
		{"name by moderator", UserChange{Actor: mod, Target: alice, Name: ptr("alicia")}, ""},
		{"long name", UserChange{Actor: alice, Target: alice, Name: ptr(strings.Repeat("x", 31))}, horde.RCTooLongUserName},
		{"anonymous renames itself", UserChange{Actor: 0, Target: 0, Name: ptr("me")}, horde.RCAnonForbiddenUserMod},
		{"anonymous renames another", UserChange{Actor: 0, Target: alice, Name: ptr("me")}, horde.RCNotModerator},
		{"moderator renames anonymous", UserChange{Actor: mod, Target: 0, Name: ptr("Nobody")}, ""},
		{"passkey without being a service", UserChange{Actor: alice, Target: alice, Passkey: "p"}, horde.RCNonServiceForbidden},
		{"passkey of a service", UserChange{Actor: service, Target: service, Passkey: "p"}, ""},
		{"undelete who is not deleted", UserChange{Actor: alice, Target: alice, Undelete: true}, horde.RCUserNotDeleted},
		{"reset suspicion by the user", UserChange{Actor: alice, Target: alice, ResetSuspicion: true}, horde.RCNotModerator},
		{"good and refused: nothing", UserChange{Actor: alice, Target: alice, Name: ptr("alicia"), Undelete: true}, horde.RCUserNotDeleted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.person("root", 0, horde.RoleAdmin)
			w.person("mod", 0, horde.RoleModerator)
			w.person("alice", horde.Whole(100), 0)
			w.person("bob", 0, 0)
			w.person("service", 0, horde.RoleService)
			before := w.m.content()
			u, err := w.UpdateUser(w.ctx, tt.in)
			wantRC(t, err, tt.want)
			if tt.want != "" && w.m.content() != before {
				t.Error("a refusal left a trace")
			}
			if tt.want == "" {
				if w.m.content() == before {
					t.Error("nothing has changed")
				}
				if got := w.user(tt.in.Target); got != u {
					t.Errorf("the answer is %+v, the user is %+v", u, got)
				}
			}
			w.check()
		})
	}
}

func TestUpdateUserEffects(t *testing.T) {
	const alice horde.UserID = 2
	for _, tt := range []struct {
		name  string
		given UserChange // before, by the founder
		in    UserChange
		want  func(u horde.User) bool
	}{
		{"kudos are added", UserChange{}, UserChange{Kudos: ptr(horde.Kudos(500))}, func(u horde.User) bool { return u.Kudos == 10_500 && u.Details.Admin == 10_500 }},
		{"kudos are taken, to the floor", UserChange{}, UserChange{Kudos: ptr(-horde.Whole(500))}, func(u horde.User) bool { return u.Kudos == 2500 }},
		{
			"monthly kudos are paid at once", UserChange{},
			UserChange{MonthlyKudos: ptr(horde.Kudos(500))},
			func(u horde.User) bool {
				return u.MonthlyKudos == 500 && u.Kudos == 10_500 && u.Details.Recurring == 500 && u.MonthlyLast.Equal(start)
			},
		},
		{
			"monthly kudos are not clawed back", UserChange{MonthlyKudos: ptr(horde.Kudos(500))},
			UserChange{MonthlyKudos: ptr(horde.Kudos(-900))},
			func(u horde.User) bool { return u.MonthlyKudos == 0 && u.Kudos == 10_500 },
		},
		{"moderators are trusted", UserChange{}, UserChange{Moderator: ptr(true)}, func(u horde.User) bool { return u.Is(horde.RoleModerator | horde.RoleTrusted) }},
		{"and stay so", UserChange{Moderator: ptr(true)}, UserChange{Moderator: ptr(false)}, func(u horde.User) bool { return !u.Is(horde.RoleModerator) && u.Is(horde.RoleTrusted) }},
		{
			"all roles", UserChange{},
			UserChange{Flagged: ptr(true), Customizer: ptr(true), VPN: ptr(true), Service: ptr(true), Special: ptr(true)},
			func(u horde.User) bool {
				return u.Roles == horde.RoleFlagged|horde.RoleCustomizer|horde.RoleVPN|horde.RoleService|horde.RoleSpecial
			},
		},
		{"a role is taken", UserChange{Flagged: ptr(true)}, UserChange{Flagged: ptr(false)}, func(u horde.User) bool { return u.Roles == 0 }},
		{"education raises concurrency", UserChange{}, UserChange{Education: ptr(true)}, func(u horde.User) bool { return u.Concurrency == 200 && u.Is(horde.RoleEducation) }},
		{"but not above a higher one", UserChange{Concurrency: ptr(300)}, UserChange{Education: ptr(true)}, func(u horde.User) bool { return u.Concurrency == 300 }},
		{"and not against what was said", UserChange{}, UserChange{Education: ptr(true), Concurrency: ptr(10)}, func(u horde.User) bool { return u.Concurrency == 10 }},
		{"the end of education lowers it", UserChange{Education: ptr(true)}, UserChange{Education: ptr(false)}, func(u horde.User) bool { return u.Concurrency == 30 }},
		{"unless it was another", UserChange{Education: ptr(true), Concurrency: ptr(250)}, UserChange{Education: ptr(false)}, func(u horde.User) bool { return u.Concurrency == 250 }},
		{
			"texts", UserChange{},
			UserChange{Name: ptr("ALICE"), Contact: ptr("here"), AdminComment: ptr("fine"), PublicWorkers: ptr(true), WorkerInvited: ptr(7)},
			func(u horde.User) bool {
				return u.Name == "ALICE" && u.Contact == "here" && u.AdminComment == "fine" && u.PublicWorkers && u.WorkerInvited == 7
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.person("alice", horde.Whole(100), 0)
			if (tt.given != UserChange{}) {
				tt.given.Actor, tt.given.Target = 1, alice
				if _, err := w.UpdateUser(w.ctx, tt.given); err != nil {
					t.Fatal(err)
				}
			}
			tt.in.Actor, tt.in.Target = 1, alice
			u, err := w.UpdateUser(w.ctx, tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.want(u) {
				t.Errorf("got %+v", u)
			}
			w.check()
		})
	}
}

func TestTrustDrainsEscrowAndUnpauses(t *testing.T) {
	w := newWorld(t)
	owner := w.person("owner", horde.Whole(100), 0)
	worker := w.worker(owner, horde.KindImage, "worker")
	w.run(w.EncodeUptime(horde.Uptime{Worker: worker, Seconds: 601, Reward: 1000}))
	if _, err := w.UpdateWorker(w.ctx, WorkerChange{Actor: 1, Worker: worker, Paused: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	u, err := w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: owner, Trusted: ptr(true)})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := w.Worker(worker)
	if u.Escrow != 0 || u.Kudos != 11_000 || u.Details.Accumulated != 1000 || v.Paused {
		t.Errorf("owner %+v, paused %v", u, v.Paused)
	}
	w.check()
}

func TestAnonymousHasNoRoles(t *testing.T) {
	w := newWorld(t)
	u, err := w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: 0, Trusted: ptr(true), Flagged: ptr(true), Moderator: ptr(true), Education: ptr(true)})
	if err != nil {
		t.Fatal(err)
	}
	if u.Roles != 0 || u.Concurrency != 500 {
		t.Errorf("anonymous has roles %b, concurrency %d", u.Roles, u.Concurrency)
	}
	wantRC(t, w.SuspectUser(w.ctx, 0, SuspicionCorruptPrompt), "")
	if got := w.user(0).Suspicion; got != 0 {
		t.Errorf("anonymous has %d suspicions", got)
	}
}

func TestPasskey(t *testing.T) {
	w := newWorld(t)
	s := w.person("service", 0, horde.RoleService)
	for _, pass := range []string{"one", "two"} {
		if u, err := w.UpdateUser(w.ctx, UserChange{Actor: s, Target: s, Passkey: pass}); err != nil || !u.HasPasskey {
			t.Fatalf("got %+v, %v", u, err)
		}
	}
	if _, ok := w.UserByPasskey("one"); ok {
		t.Error("the old passkey is still good")
	}
	if u, ok := w.UserByPasskey("two"); !ok || u.ID != s {
		t.Errorf("by passkey: %+v, %v", u, ok)
	}
	w.check()
}

func TestSuspicions(t *testing.T) {
	w := newWorld(t)
	owner := w.person("owner", 0, 0)
	worker := w.worker(owner, horde.KindImage, "worker")
	for i, tt := range []struct {
		why    Suspicion
		count  int
		paused bool
	}{
		{SuspicionUnsafeIP, 1, false},
		{SuspicionUnsafeIP, 1, false}, // once
		{SuspicionUnreasonablyFast, 2, false},
		{SuspicionUnreasonablyFast, 3, false}, // repeats
		{SuspicionTooManyAborts, 4, false},
		{SuspicionTooManyAborts, 5, true},
	} {
		wantRC(t, w.SuspectWorker(w.ctx, worker, tt.why), "")
		v, _ := w.Worker(worker)
		if u := w.user(owner); v.Suspicion != tt.count || u.Suspicion != tt.count || v.Paused != tt.paused {
			t.Errorf("step %d: worker %d, owner %d, paused %v; want %d, %v", i, v.Suspicion, u.Suspicion, v.Paused, tt.count, tt.paused)
		}
	}
	u, err := w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: owner, ResetSuspicion: true})
	v, _ := w.Worker(worker)
	if err != nil || u.Suspicion != 0 || v.Suspicion != 0 || !v.Paused {
		t.Errorf("after the reset: owner %d, worker %d, paused %v, %v", u.Suspicion, v.Suspicion, v.Paused, err)
	}
	wantRC(t, w.SuspectUser(w.ctx, owner, suspicions), horde.RCBadRequest)
	wantRC(t, w.SuspectUser(w.ctx, 99, 0), horde.RCUserNotFound)
	wantRC(t, w.SuspectWorker(w.ctx, horde.WorkerID{UUID: horde.UUID{1}}, 0), horde.RCWorkerNotFound)
}

func TestDeleteUser(t *testing.T) {
	const month = 30 * 24 * time.Hour
	w := newWorld(t)
	alice, bob, mod := w.person("alice", horde.Whole(100), 0), w.person("bob", 0, 0), w.person("mod", 0, horde.RoleModerator)
	_, err := w.UpdateUser(w.ctx, UserChange{Actor: alice, Target: alice, Contact: ptr("me@example")})
	wantRC(t, err, "")
	worker := w.worker(alice, horde.KindImage, "worker")
	for _, tt := range []struct {
		name          string
		wait          time.Duration
		actor, target horde.UserID
		want          horde.RC
	}{
		{"nobody", 0, mod, 99, horde.RCUserNotFound},
		{"by anonymous", 0, 0, alice, horde.RCAnonForbiddenUser},
		{"a moderator", 0, 1, mod, horde.RCCannotDeleteMod},
		{"by another", 0, bob, alice, horde.RCNotUserOrMod},
		{"anonymous: nothing happens", 0, mod, 0, ""},
		{"by the user", 0, alice, alice, ""},
		{"again, too soon", month - time.Second, alice, alice, horde.RCCannotWipeActiveUser},
		{"again, by another", time.Second, bob, alice, horde.RCNotUserOrMod},
		{"again, wiped", 0, mod, alice, ""},
		{"a wiped one", 0, mod, alice, horde.RCUserNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.pass(tt.wait)
			wantRC(t, w.DeleteUser(w.ctx, tt.actor, tt.target), tt.want)
			w.check()
		})
	}
	if w.user(0).Is(horde.RoleDeleted) {
		t.Error("anonymous is deleted")
	}
	if _, ok := w.User(alice); ok {
		t.Error("a wiped user is found")
	}
	if _, ok := w.Worker(worker); ok {
		t.Error("a wiped user's worker is found")
	}
	for k, v := range w.m.stored() {
		if strings.Contains(string(v), "me@example") {
			t.Errorf("the contact is still in %x", k)
		}
	}
	for _, u := range append(w.Users("age", 0, 100), w.Users("kudos", 0, 100)...) {
		if u.ID == alice {
			t.Error("a wiped user is listed")
		}
	}
}

func TestUsersList(t *testing.T) {
	w := newWorld(t)
	for _, k := range []horde.Kudos{5000, 9000, 7000} { // ids 2, 3, 4; 0 and 1 have nothing
		w.person("u", k, 0)
	}
	for _, tt := range []struct {
		sort          string
		offset, limit int
		want          []horde.UserID
	}{
		{"kudos", 0, 25, []horde.UserID{3, 4, 2, 0, 1}},
		{"kudos", 1, 2, []horde.UserID{4, 2}},
		{"age", 0, 3, []horde.UserID{0, 1, 2}},
		{"age", 3, 3, []horde.UserID{3, 4}},
		{"nonsense", 0, 1, []horde.UserID{3}},
		{"age", 5, 3, nil},
		{"age", -1, 3, nil},
		{"age", 0, 0, nil},
	} {
		var got []horde.UserID
		for _, u := range w.Users(tt.sort, tt.offset, tt.limit) {
			got = append(got, u.ID)
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s from %d: got %v, want %v", tt.sort, tt.offset, got, tt.want)
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("%s from %d: got %v, want %v", tt.sort, tt.offset, got, tt.want)
				break
			}
		}
	}
}

// Keys, logins and passkeys are nowhere in what is stored.
func TestNoSecretIsStored(t *testing.T) {
	w := newWorld(t)
	_, key, err := w.CreateUser(w.ctx, NewUser{Name: "alice", OAuth: "g_123456789"})
	if err != nil {
		t.Fatal(err)
	}
	s := w.person("service", 0, horde.RoleService)
	if _, err := w.UpdateUser(w.ctx, UserChange{Actor: s, Target: s, Passkey: "passkey-in-clear"}); err != nil {
		t.Fatal(err)
	}
	for k, v := range w.m.stored() {
		for _, secret := range []string{string(key), string(w.admin), "g_123456789", "passkey-in-clear", string(horde.AnonymousKey)} {
			if strings.Contains(k+string(v), secret) {
				t.Errorf("%q is in %q", secret, k)
			}
		}
	}
}

func TestWipedUserMayRegisterAgain(t *testing.T) {
	w := newWorld(t)
	in := NewUser{Name: "alice", OAuth: "g_1"}
	u, key, err := w.CreateUser(w.ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	wantRC(t, w.DeleteUser(w.ctx, u.ID, u.ID), "")
	if _, ok := w.UserByKey(key); !ok {
		t.Error("a deleted user's key is gone, want it known until the account is wiped")
	}
	w.pass(30 * 24 * time.Hour)
	wantRC(t, w.DeleteUser(w.ctx, 1, u.ID), "")
	w.check()
	if _, ok := w.UserByKey(key); ok {
		t.Error("a wiped user's key is known")
	}
	again, _, err := w.CreateUser(w.ctx, in)
	if err != nil || again.ID == u.ID {
		t.Errorf("got %+v, %v, want a new account", again, err)
	}
	w.check()
}
