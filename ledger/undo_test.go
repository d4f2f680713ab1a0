package ledger

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// Each act is done, undone and done again by undoing that: the community is as it was before,
// after, and before.
func TestUndo(t *testing.T) {
	network := netip.MustParsePrefix("192.0.2.0/24")
	for name, act := range map[string]func(w *world, mod horde.UserID, c community) error{
		"worker": func(w *world, mod horde.UserID, c community) error {
			_, err := w.UpdateWorker(w.ctx, WorkerChange{
				Actor: mod, Worker: c.worker, Name: ptr("renamed"), Info: ptr("changed"), Paused: ptr(true), Maintenance: ptr(true), MaintenanceMsg: ptr("stop"), Team: ptr(horde.TeamID{}),
			})
			return err
		},
		"paused": func(w *world, mod horde.UserID, c community) error {
			_, err := w.UpdateWorker(w.ctx, WorkerChange{Actor: mod, Worker: c.worker, Paused: ptr(true)})
			return err
		},
		"worker deleted": func(w *world, mod horde.UserID, c community) error {
			_, err := w.DeleteWorker(w.ctx, mod, c.worker)
			return err
		},
		"team": func(w *world, mod horde.UserID, c community) error {
			_, err := w.UpdateTeam(w.ctx, TeamChange{Actor: mod, Team: c.team, Name: ptr("renamed"), Info: ptr("changed")})
			return err
		},
		"team deleted": func(w *world, mod horde.UserID, c community) error {
			_, err := w.DeleteTeam(w.ctx, mod, c.team)
			return err
		},
		"filter": func(w *world, mod horde.UserID, c community) error {
			_, err := w.UpdateFilter(w.ctx, FilterChange{Actor: mod, Filter: c.filter, Regex: ptr("other"), Type: ptr(20)})
			return err
		},
		"filter added": func(w *world, mod horde.UserID, _ community) error {
			_, err := w.PutFilter(w.ctx, NewFilter{Actor: mod, Regex: "new", Type: 11})
			return err
		},
		"filter deleted": func(w *world, mod horde.UserID, c community) error { return w.DeleteFilter(w.ctx, mod, c.filter) },
		"message": func(w *world, mod horde.UserID, _ community) error {
			_, err := w.PostMessage(w.ctx, NewMessage{Actor: mod, Message: "to all", Expires: moment(w.now).Add(time.Hour)})
			return err
		},
		"message deleted": func(w *world, mod horde.UserID, c community) error { return w.DeleteMessage(w.ctx, mod, c.message) },
		"block": func(w *world, mod horde.UserID, _ community) error {
			return w.BlockIP(w.ctx, NewIPBlock{Actor: mod, Network: netip.MustParsePrefix("198.51.100.7/32"), For: time.Hour})
		},
		"block again": func(w *world, mod horde.UserID, _ community) error {
			return w.BlockIP(w.ctx, NewIPBlock{Actor: mod, Network: network, For: 9 * time.Hour, Reason: "longer"})
		},
		"unblock": func(w *world, mod horde.UserID, _ community) error { return w.UnblockIP(w.ctx, mod, network) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			mod, c := w.community(network)
			before := w.looks()
			if err := act(w, mod, c); err != nil {
				t.Fatal(err)
			}
			after := w.looks()
			if after == before {
				t.Fatal("the act changed nothing")
			}
			for i, want := range []string{before, after, before} {
				last := w.Moderations(0, 1)[0]
				if !last.CanUndo {
					t.Fatalf("act %d cannot be undone: %+v", i, last)
				}
				wantRC(t, w.UndoModeration(w.ctx, c.owner, last.Number), horde.RCNotModerator)
				wantRC(t, w.UndoModeration(w.ctx, mod, last.Number), "")
				w.check()
				if got := w.looks(); name != "message" && got != want || name == "message" && i%2 == 0 && got != want {
					t.Errorf("after undoing %d times:\n%s\nwant\n%s", i+1, got, want)
				}
				if name == "message" { // it is not kept what it said, so it does not come back
					break
				}
			}
		})
	}
}

// community has one of each that can be undone.
type community struct {
	owner   horde.UserID
	worker  horde.WorkerID
	team    horde.TeamID
	filter  int64
	message horde.MessageID
}

func (w *world) community(network netip.Prefix) (mod horde.UserID, c community) {
	w.Helper()
	mod = w.person("mod", 0, horde.RoleModerator)
	c.owner = w.person("alice", 0, horde.RoleTrusted)
	c.worker = w.worker(c.owner, horde.KindImage, "worker")
	team, err := w.CreateTeam(w.ctx, NewTeam{Actor: c.owner, Name: "team", Info: "info"})
	if err == nil {
		c.team = team.ID
		_, err = w.UpdateWorker(w.ctx, WorkerChange{Actor: c.owner, Worker: c.worker, Team: &c.team, Info: ptr("secret words")})
	}
	if err == nil {
		var f horde.Filter
		f, err = w.PutFilter(w.ctx, NewFilter{Actor: mod, Regex: "bad", Type: 10, Description: "d"})
		c.filter = f.ID
	}
	if err == nil {
		var m horde.WorkerMessage
		m, err = w.PostMessage(w.ctx, NewMessage{Actor: c.owner, Worker: c.worker, Message: "to myself", Expires: moment(w.now).Add(time.Hour)})
		c.message = m.ID
	}
	if err == nil {
		err = w.BlockIP(w.ctx, NewIPBlock{Actor: mod, Network: network, For: 2 * time.Hour, Reason: "spam"})
	}
	if err != nil {
		w.Fatal(err)
	}
	return mod, c
}

// looks is the community as it can be read.
func (w *world) looks() string {
	var b strings.Builder
	for _, u := range []horde.UserID{1, 2, 3} {
		for _, k := range w.WorkersOf(u) {
			fmt.Fprintf(&b, "worker %+v\n", k)
		}
	}
	for _, id := range []string{"worker", "renamed"} {
		k, ok := w.WorkerByName(id)
		fmt.Fprintf(&b, "%s is %v %v\n", id, k.ID, ok)
	}
	for _, t := range w.Teams() {
		fmt.Fprintf(&b, "team %+v\n", t)
	}
	fmt.Fprintf(&b, "filters %+v\nmessages %+v\n", w.Filters(), w.Messages())
	blocks, err := w.IPBlocks()
	fmt.Fprintf(&b, "blocks %+v %v\n", blocks, err)
	fmt.Fprintf(&b, "of an address %+v\n", w.IPBlocksOf(netip.MustParseAddr("198.51.100.7")))
	return b.String()
}

func TestUndoRefusals(t *testing.T) {
	w := newWorld(t)
	mod, c := w.community(netip.MustParsePrefix("192.0.2.0/24"))
	number := func() uint64 { return w.Moderations(0, 1)[0].Number }
	wantRC(t, w.UndoModeration(w.ctx, mod, number()+1), horde.RCBadRequest)
	wantRC(t, w.UndoModeration(w.ctx, 99, number()), horde.RCInvalidAPIKey)
	must(w.UpdateUser(w.ctx, UserChange{Actor: mod, Target: c.owner, Customizer: ptr(true)}))(t)
	wantRC(t, w.UndoModeration(w.ctx, mod, number()), horde.RCBadRequest) // the opposite is done instead

	must(w.UpdateWorker(w.ctx, WorkerChange{Actor: mod, Worker: c.worker, Name: ptr("renamed")}))(t)
	renamed := number()
	w.worker(c.owner, horde.KindImage, "worker")
	wantRC(t, w.UndoModeration(w.ctx, mod, renamed), horde.RCWorkerNameAlreadyExists)

	wantRC(t, w.DeleteMessage(w.ctx, mod, c.message), "")
	deleted := number()
	w.pass(2 * time.Hour)
	wantRC(t, w.UndoModeration(w.ctx, mod, deleted), horde.RCBadRequest) // it has ended

	must(w.DeleteWorker(w.ctx, mod, c.worker))(t)
	deleted = number()
	w.pass(25 * time.Hour) // its row is gone
	must(0, w.Tick(w.ctx))(t)
	wantRC(t, w.UndoModeration(w.ctx, mod, deleted), horde.RCWorkerNotFound)

	// What is too large for the log cannot be undone.
	must(w.UpdateFilter(w.ctx, FilterChange{Actor: mod, Filter: c.filter, Regex: ptr(strings.Repeat("x", maxBefore))}))(t)
	wantRC(t, w.DeleteFilter(w.ctx, mod, c.filter), "")
	if w.Moderations(0, 1)[0].CanUndo {
		t.Error("a row has more than it may")
	}
	w.check()
}

// A worker that came back stays, although the day is over after which it would have gone.
func TestUndeletedWorkerStays(t *testing.T) {
	w := newWorld(t)
	mod, c := w.community(netip.MustParsePrefix("192.0.2.0/24"))
	must(w.DeleteWorker(w.ctx, mod, c.worker))(t)
	wantRC(t, w.UndoModeration(w.ctx, mod, w.Moderations(0, 1)[0].Number), "")
	w.pass(25 * time.Hour)
	must(0, w.Tick(w.ctx))(t)
	if k, ok := w.Worker(c.worker); !ok || k.Name != "worker" || k.Team != c.team {
		t.Errorf("got %+v, %v, want the worker", k, ok)
	}
	w.check()
}

// What the log holds of an account to undo things goes with it, and is in no row that others see.
func TestUndoKeepsNothingOfTheWiped(t *testing.T) {
	w := newWorld(t)
	mod, c := w.community(netip.MustParsePrefix("192.0.2.0/24"))
	must(w.UpdateWorker(w.ctx, WorkerChange{Actor: mod, Worker: c.worker, Info: ptr("")}))(t)
	held := func() (found bool) {
		for _, v := range w.m.stored() {
			found = found || strings.Contains(string(v), "secret words")
		}
		return found
	}
	if !held() {
		t.Fatal("the log does not know how it was")
	}
	if shown := fmt.Sprintf("%+v", w.Moderations(0, 100)); strings.Contains(shown, "secret words") {
		t.Errorf("the log shows it: %s", shown)
	}
	wantRC(t, w.DeleteUser(w.ctx, mod, c.owner), "")
	w.pass(31 * 24 * time.Hour)
	wantRC(t, w.DeleteUser(w.ctx, mod, c.owner), "")
	if held() {
		t.Error("it is still there after wiping")
	}
	w.check()
}
