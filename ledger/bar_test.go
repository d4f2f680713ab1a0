package ledger

import (
	"testing"

	"hordenode/internal/horde"
)

// A flag or a deletion is noted until it is taken back, and so over a restart; keys, flags and
// deletions change the authority, other things do not.
func TestBars(t *testing.T) {
	w := newWorld(t)
	mod, user := w.person("mod", 0, horde.RoleModerator), w.person("user", 0, 0)
	change := func(c UserChange) func() error {
		c.Actor, c.Target = mod, user
		return func() error { return one(w.UpdateUser(w.ctx, c)) }
	}
	for _, tt := range []struct {
		name    string
		do      func() error
		barred  bool
		changes bool
	}{
		{"a name", change(UserChange{Name: ptr("other")}), false, false},
		{"flagged", change(UserChange{Flagged: ptr(true)}), true, true},
		{"deleted, too", func() error { return w.DeleteUser(w.ctx, user, user) }, true, true},
		{"no flag any more", change(UserChange{Flagged: ptr(false)}), true, true},
		{"not deleted any more", change(UserChange{Undelete: true}), false, true},
		{"another key", func() error { return one(w.RotateKey(w.ctx, user)) }, false, true},
	} {
		before := w.Authority()
		w.pass(1000)
		if err := tt.do(); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := w.Authority() != before; got != tt.changes {
			t.Errorf("%s: the authority changed: %v, want %v", tt.name, got, tt.changes)
		}
		before = w.Authority()
		writes := w.m.stored()
		at, barred := w.Bars()[user]
		if barred != tt.barred || barred && (at <= 0 || at > w.now) {
			t.Errorf("%s: barred %v since %d, want %v", tt.name, barred, at, tt.barred)
		}
		m := NewMachine()
		if err := m.Load(w.index, disk(writes).all()); err != nil {
			t.Fatal(err)
		}
		if got, ok := m.Reader().Bars()[user]; got != at || ok != barred || m.Reader().Authority() == before {
			t.Errorf("%s: as loaded: barred %v since %d", tt.name, ok, got)
		}
	}
}

// Invitations may be needed for some kinds of workers alone.
func TestInviteOnlyByKind(t *testing.T) {
	w := newWorld(t)
	mod, plain := w.person("mod", 0, horde.RoleModerator), w.person("plain", 0, 0)
	owner := w.person("owner", 0, horde.RoleTrusted)
	modes := func(c ModesChange) func() error { return func() error { return one(w.SetModes(w.ctx, c)) } }
	w.try(t, horde.RCNotModerator, modes(ModesChange{Actor: plain, InviteKinds: ptr(uint8(1))}))
	w.try(t, horde.RCBadRequest, modes(ModesChange{Actor: mod, InviteKinds: ptr(uint8(8))}))
	names := 0
	for _, tt := range []struct {
		only  bool
		kinds uint8
		want  [3]bool // refused, by kind
	}{
		{false, 0, [3]bool{}}, {true, 0, [3]bool{true, true, true}}, {false, 7, [3]bool{}},
		{true, 1 << horde.KindImage, [3]bool{true, false, false}},
		{true, 1<<horde.KindText | 1<<horde.KindAlchemy, [3]bool{false, true, true}},
	} {
		w.try(t, "", modes(ModesChange{Actor: mod, InviteOnly: &tt.only, InviteKinds: &tt.kinds}))
		for kind, refused := range tt.want {
			names++
			rc := horde.RC("")
			if refused {
				rc = horde.RCWorkerInviteOnly
			}
			_, err := w.RegisterWorker(w.ctx, NewWorker{Owner: owner, Kind: horde.Kind(kind), Name: string('a' + rune(names))})
			wantRC(t, err, rc)
			if w.Modes().NeedsInvite(horde.Kind(kind)) != refused {
				t.Errorf("kind %d needs an invitation: %v, want %v", kind, !refused, refused)
			}
		}
		for _, worker := range w.WorkersOf(owner) {
			if _, err := w.DeleteWorker(w.ctx, owner, worker.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
}
