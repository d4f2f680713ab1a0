package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestRegisterWorker(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", 0, 0), w.person("bob", 0, 0)
	flagged, deleted := w.person("flagged", 0, horde.RoleFlagged), w.person("deleted", 0, 0)
	wantRC(t, w.DeleteUser(w.ctx, deleted, deleted), "")
	first := w.worker(alice, horde.KindImage, "painter")
	for _, tt := range []struct {
		name string
		in   NewWorker
		want horde.RC
	}{
		{"known", NewWorker{alice, horde.KindImage, "painter"}, ""},
		{"known, another kind", NewWorker{alice, horde.KindText, "painter"}, horde.RCPolymorphicNameConflict},
		{"known, another kind and owner", NewWorker{bob, horde.KindText, "painter"}, horde.RCPolymorphicNameConflict},
		{"known, another owner", NewWorker{bob, horde.KindImage, "painter"}, horde.RCWrongCredentials},
		{"names differ by case", NewWorker{bob, horde.KindImage, "Painter"}, ""},
		{"of anonymous", NewWorker{0, horde.KindImage, "x"}, horde.RCAnonForbiddenWorker},
		{"of a flagged user", NewWorker{flagged, horde.KindImage, "x"}, horde.RCWorkerFlaggedMaintenance},
		{"of a deleted user", NewWorker{deleted, horde.KindImage, "x"}, horde.RCDeletedUser},
		{"of nobody", NewWorker{99, horde.KindImage, "x"}, horde.RCInvalidAPIKey},
		{"no name", NewWorker{bob, horde.KindImage, ""}, horde.RCBadRequest},
		{"unknown kind", NewWorker{bob, 3, "x"}, horde.RCBadRequest},
		{"100 characters", NewWorker{bob, horde.KindImage, strings.Repeat("ö", 100)}, ""},
		{"101 characters", NewWorker{bob, horde.KindImage, strings.Repeat("ö", 101)}, horde.RCTooLongWorkerName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := w.m.content()
			v, err := w.RegisterWorker(w.ctx, tt.in)
			wantRC(t, err, tt.want)
			if tt.want != "" {
				if w.m.content() != before {
					t.Error("a refusal left a trace")
				}
				return
			}
			if got, ok := w.WorkerByName(tt.in.Name); !ok || got != v || v.Owner != tt.in.Owner || v.Kind != tt.in.Kind {
				t.Errorf("got %+v, by name %+v, %v", v, got, ok)
			}
			if tt.name == "known" && v.ID != first {
				t.Errorf("got another worker, want %v", first)
			}
			w.check()
		})
	}
	if n := len(w.WorkersOf(alice)); n != 1 || w.user(bob).Workers != 2 {
		t.Errorf("alice has %d workers, bob %d; want 1 and 2", n, w.user(bob).Workers)
	}
}

func TestWorkerLimits(t *testing.T) {
	for _, tt := range []struct {
		name    string
		roles   horde.Roles
		invited int
		invite  bool // invite-only mode
		kind    horde.Kind
		fit     int
		want    horde.RC
	}{
		{"untrusted", 0, 0, false, horde.KindImage, 4, horde.RCTooManyWorkers},
		{"untrusted and invited", 0, 30, false, horde.KindImage, 4, horde.RCTooManyWorkers},
		{"untrusted alchemists", 0, 0, false, horde.KindAlchemy, 4, horde.RCTooManyWorkers},
		{"trusted", horde.RoleTrusted, 0, false, horde.KindText, 21, horde.RCTooManyWorkersTrusted},
		{"trusted and invited", horde.RoleTrusted, 23, false, horde.KindText, 24, horde.RCTooManyWorkersTrusted},
		{"invite-only", horde.RoleTrusted, 2, true, horde.KindImage, 2, horde.RCWorkerInviteOnly},
		{"invite-only and not invited", horde.RoleTrusted, 0, true, horde.KindImage, 0, horde.RCWorkerInviteOnly},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			owner := w.person("owner", 0, tt.roles)
			if _, err := w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: owner, WorkerInvited: &tt.invited}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.SetModes(w.ctx, ModesChange{Actor: 1, InviteOnly: &tt.invite}); err != nil {
				t.Fatal(err)
			}
			for i := range tt.fit {
				w.worker(owner, tt.kind, fmt.Sprint("worker", i))
			}
			_, err := w.RegisterWorker(w.ctx, NewWorker{owner, tt.kind, "one more"})
			wantRC(t, err, tt.want)
			if tt.fit > 0 { // those that are there stay welcome
				w.worker(owner, tt.kind, "worker0")
			}
		})
	}
}

func TestUpdateWorker(t *testing.T) {
	const alice, bob, mod horde.UserID = 2, 3, 4
	long := strings.Repeat("x", 101)
	for _, tt := range []struct {
		name string
		in   WorkerChange
		want horde.RC
		is   func(horde.Worker) bool
	}{
		{"nothing", WorkerChange{Actor: alice}, horde.RCNoWorkerModSelected, nil},
		{"only a message", WorkerChange{Actor: alice, MaintenanceMsg: ptr("x")}, horde.RCNoWorkerModSelected, nil},
		{"actor not there", WorkerChange{Actor: 99, Info: ptr("x")}, horde.RCInvalidAPIKey, nil},
		{
			"maintenance", WorkerChange{Actor: alice, Maintenance: ptr(true)},
			"", func(v horde.Worker) bool { return v.Maintenance && v.MaintenanceMsg == defaultMaintenance },
		},
		{
			"maintenance with a message", WorkerChange{Actor: mod, Maintenance: ptr(true), MaintenanceMsg: ptr("updating")},
			"", func(v horde.Worker) bool { return v.Maintenance && v.MaintenanceMsg == "updating" },
		},
		{
			"end of maintenance", WorkerChange{Actor: alice, Maintenance: ptr(false), MaintenanceMsg: ptr("updating")},
			"", func(v horde.Worker) bool { return !v.Maintenance && v.MaintenanceMsg == defaultMaintenance },
		},
		{"maintenance by another", WorkerChange{Actor: bob, Maintenance: ptr(true)}, horde.RCNotOwner, nil},
		{"info", WorkerChange{Actor: alice, Info: ptr("fast")}, "", func(v horde.Worker) bool { return v.Info == "fast" }},
		{"info by another", WorkerChange{Actor: bob, Info: ptr("fast")}, horde.RCNotOwner, nil},
		{"info too long", WorkerChange{Actor: alice, Info: ptr(strings.Repeat("x", maxText+1))}, horde.RCTooLongWorkerName, nil},
		{"paused by moderator", WorkerChange{Actor: mod, Paused: ptr(true)}, "", func(v horde.Worker) bool { return v.Paused }},
		{"paused by the owner", WorkerChange{Actor: alice, Paused: ptr(true)}, horde.RCNotModerator, nil},
		{"name", WorkerChange{Actor: alice, Name: ptr("new name")}, "", func(v horde.Worker) bool { return v.Name == "new name" }},
		{"its own name", WorkerChange{Actor: alice, Name: ptr("worker")}, "", func(v horde.Worker) bool { return v.Name == "worker" }},
		{"name by another", WorkerChange{Actor: bob, Name: ptr("new name")}, horde.RCNotModerator, nil},
		{"name too long", WorkerChange{Actor: alice, Name: &long}, horde.RCTooLongWorkerName, nil},
		{"no name", WorkerChange{Actor: alice, Name: ptr("")}, horde.RCBadRequest, nil},
		{"name taken by another kind", WorkerChange{Actor: alice, Name: ptr("writer")}, horde.RCWorkerNameAlreadyExists, nil},
		{"good and refused: nothing", WorkerChange{Actor: alice, Info: ptr("fast"), Paused: ptr(true)}, horde.RCNotModerator, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.person("alice", 0, 0)
			w.person("bob", 0, 0)
			w.person("mod", 0, horde.RoleModerator)
			w.worker(bob, horde.KindText, "writer")
			tt.in.Worker = w.worker(alice, horde.KindImage, "worker")
			before := w.m.content()
			v, err := w.UpdateWorker(w.ctx, tt.in)
			wantRC(t, err, tt.want)
			switch {
			case tt.want != "" && w.m.content() != before:
				t.Error("a refusal left a trace")
			case tt.want == "" && !tt.is(v):
				t.Errorf("got %+v", v)
			}
			w.check()
		})
	}
	w := newWorld(t)
	_, err := w.UpdateWorker(w.ctx, WorkerChange{Actor: 1, Worker: horde.WorkerID{UUID: horde.UUID{1}}, Info: ptr("x")})
	wantRC(t, err, horde.RCWorkerNotFound)
}

func TestDeleteWorker(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", 0, 0), w.person("bob", 0, 0)
	a, b := w.worker(alice, horde.KindImage, "a"), w.worker(alice, horde.KindImage, "b")
	_, err := w.DeleteWorker(w.ctx, bob, a)
	wantRC(t, err, horde.RCNotModerator)
	_, err = w.DeleteWorker(w.ctx, 0, a)
	wantRC(t, err, horde.RCNotModerator)
	v, err := w.DeleteWorker(w.ctx, alice, a)
	if err != nil || v.Name != "a" || v.ID != a {
		t.Errorf("got %+v, %v", v, err)
	}
	_, err = w.DeleteWorker(w.ctx, alice, a)
	wantRC(t, err, horde.RCWorkerNotFound)
	if _, err := w.DeleteWorker(w.ctx, 1, b); err != nil {
		t.Errorf("by a moderator: %v", err)
	}
	if n := w.user(alice).Workers; n != 0 {
		t.Errorf("alice has %d workers, want none", n)
	}
	w.worker(bob, horde.KindText, "a") // the name is free
	w.check()
	w.pass(25 * time.Hour)
	wantRC(t, w.Tick(w.ctx), "")
	if w.m.s.workers.live != 1 {
		t.Errorf("%d workers are kept, want 1", w.m.s.workers.live)
	}
}

func TestAborts(t *testing.T) {
	for _, tt := range []struct {
		name        string
		kind        horde.Kind
		raid        bool
		every       time.Duration
		aborts      int
		maintenance bool
		suspicion   int
	}{
		{"twenty are tolerated", horde.KindImage, false, time.Second, 20, false, 0},
		{"the 21st is not", horde.KindImage, false, time.Second, 21, true, 1},
		{"the count starts again", horde.KindText, false, time.Second, 41, true, 1},
		{"and ends again", horde.KindText, false, time.Second, 42, true, 2},
		{"over hours", horde.KindImage, false, 4 * time.Minute, 60, false, 0},
		{"ten in a raid", horde.KindImage, true, time.Second, 10, false, 0},
		{"the 11th in a raid: only suspicion", horde.KindImage, true, time.Second, 11, false, 1},
		{"alchemists a hundred", horde.KindAlchemy, false, time.Second, 100, false, 0},
		{"but no more", horde.KindAlchemy, false, time.Second, 101, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			owner := w.person("owner", 0, 0)
			worker := w.worker(owner, tt.kind, "worker")
			if _, err := w.SetModes(w.ctx, ModesChange{Actor: 1, Raid: &tt.raid}); err != nil {
				t.Fatal(err)
			}
			for range tt.aborts {
				w.pass(tt.every)
				w.run(w.EncodeAbort(horde.Abort{Request: w.request(), Worker: worker}))
			}
			v, _ := w.Worker(worker)
			if v.Maintenance != tt.maintenance || v.Suspicion != tt.suspicion || v.Uncompleted != int64(tt.aborts) {
				t.Errorf("maintenance %v, suspicion %d, uncompleted %d; want %v, %d, %d", v.Maintenance, v.Suspicion, v.Uncompleted, tt.maintenance, tt.suspicion, tt.aborts)
			}
			if tt.maintenance && !strings.Contains(v.MaintenanceMsg, "maintenance mode") {
				t.Errorf("the message is %q", v.MaintenanceMsg)
			}
			w.check()
		})
	}
}

func TestDutyRefusals(t *testing.T) {
	w := newWorld(t)
	worker := w.worker(w.person("owner", 0, 0), horde.KindImage, "worker")
	foreign := horde.RequestID{UUID: horde.UUID{1, 2, 3}}
	do := func(cmd []byte) error { _, err := w.do(w.ctx, cmd); return err }
	wantRC(t, do(w.EncodeAbort(horde.Abort{Request: foreign, Worker: worker})), horde.RCForbidden)
	wantRC(t, do(w.EncodeAbort(horde.Abort{Request: w.request()})), horde.RCWorkerNotFound)
	wantRC(t, do(w.EncodeUptime(horde.Uptime{})), horde.RCWorkerNotFound)
	wantRC(t, do(w.EncodeUptime(horde.Uptime{Worker: worker, Seconds: -1})), horde.RCBadRequest)
	wantRC(t, do(w.EncodeUptime(horde.Uptime{Worker: worker, Reward: -1})), horde.RCBadRequest)
	if _, err := w.UpdateWorker(w.ctx, WorkerChange{Actor: 1, Worker: worker, Maintenance: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	wantRC(t, do(w.EncodeUptime(horde.Uptime{Worker: worker, Seconds: 600, Reward: 100})), horde.RCWorkerMaintenance)
}

func TestSetModes(t *testing.T) {
	const admin, mod, alice horde.UserID = 2, 3, 4
	yes := ptr(true)
	for _, tt := range []struct {
		name string
		in   ModesChange
		want horde.RC
		is   horde.Modes
	}{
		{"maintenance by admin", ModesChange{Actor: admin, Maintenance: yes}, "", horde.Modes{Maintenance: true}},
		{"maintenance by moderator", ModesChange{Actor: mod, Maintenance: yes}, horde.RCNotAdmin, horde.Modes{}},
		{"raid by moderator", ModesChange{Actor: mod, Raid: yes, InviteOnly: yes}, "", horde.Modes{Raid: true, InviteOnly: true}},
		{"raid by admin who is no moderator", ModesChange{Actor: admin, Raid: yes}, horde.RCNotModerator, horde.Modes{}},
		{"one of two refused", ModesChange{Actor: admin, Maintenance: yes, InviteOnly: yes}, horde.RCNotModerator, horde.Modes{}},
		{"by a user", ModesChange{Actor: alice, InviteOnly: yes}, horde.RCNotModerator, horde.Modes{}},
		{"by nobody", ModesChange{Actor: 99, InviteOnly: yes}, horde.RCInvalidAPIKey, horde.Modes{}},
		{"nothing", ModesChange{Actor: mod}, horde.RCNoHordeModSelected, horde.Modes{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.person("root", 0, horde.RoleAdmin)
			w.person("mod", 0, horde.RoleModerator)
			w.person("alice", 0, 0)
			got, err := w.SetModes(w.ctx, tt.in)
			wantRC(t, err, tt.want)
			if got != tt.is || w.Modes() != tt.is {
				t.Errorf("answered %+v, modes are %+v, want %+v", got, w.Modes(), tt.is)
			}
		})
	}
}
