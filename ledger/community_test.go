package ledger

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// try does something that is refused with rc, and then leaves no trace, or, if rc is
// empty, succeeds.
func (w *world) try(t *testing.T, rc horde.RC, f func() error) {
	t.Helper()
	before := w.m.content()
	wantRC(t, f(), rc)
	if rc != "" && w.m.content() != before {
		t.Error("the refusal left a trace")
	}
	w.check()
}

// one drops a result.
func one[T any](_ T, err error) error { return err }

// must returns a result.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func TestTeamRefusals(t *testing.T) {
	w := newWorld(t)
	mod := w.person("mod", 0, horde.RoleModerator)
	trusted, other := w.person("trusted", 0, horde.RoleTrusted), w.person("other", 0, horde.RoleTrusted)
	plain := w.person("plain", 0, 0)
	team := must(w.CreateTeam(w.ctx, NewTeam{trusted, "Éclair", "info"}))(t)
	must(w.CreateTeam(w.ctx, NewTeam{trusted, "second", ""}))(t)
	nowhere := horde.TeamID{UUID: horde.UUID{9}}
	create := func(actor horde.UserID, name, info string) func() error {
		return func() error { return one(w.CreateTeam(w.ctx, NewTeam{actor, name, info})) }
	}
	update := func(c TeamChange) func() error { return func() error { return one(w.UpdateTeam(w.ctx, c)) } }
	remove := func(actor horde.UserID, id horde.TeamID) func() error {
		return func() error { return one(w.DeleteTeam(w.ctx, actor, id)) }
	}
	for _, tt := range []struct {
		name string
		do   func() error
		want horde.RC
	}{
		{"anonymous", create(horde.Anonymous, "x", ""), horde.RCAnonForbidden},
		{"untrusted", create(plain, "x", ""), horde.RCUntrustedTeamCreation},
		{"nobody", create(99, "x", ""), horde.RCInvalidAPIKey},
		{"same name", create(other, "second", ""), horde.RCTeamNameAlreadyExists},
		{"same name in other case", create(other, "éCLAIR", ""), horde.RCTeamNameAlreadyExists},
		{"no name", create(other, "", ""), horde.RCBadRequest},
		{"longest name", create(other, strings.Repeat("ä", 100), ""), ""},
		{"too long a name", create(other, strings.Repeat("ä", 101), ""), horde.RCBadRequest},
		{"too long an info", create(other, "x", strings.Repeat("x", maxText+1)), horde.RCBadRequest},

		{"unknown team", update(TeamChange{Actor: trusted, Team: nowhere, Name: ptr("x")}), horde.RCTeamNotFound},
		{"info by a stranger", update(TeamChange{Actor: other, Team: team.ID, Info: ptr("x"), Name: ptr("y")}), horde.RCNotOwner},
		{"name by a stranger", update(TeamChange{Actor: other, Team: team.ID, Name: ptr("x")}), horde.RCNotModerator},
		{"nothing", update(TeamChange{Actor: trusted, Team: team.ID}), horde.RCNoTeamModSelected},
		{"nothing, by a stranger", update(TeamChange{Actor: other, Team: team.ID}), horde.RCNoTeamModSelected},
		{"a name that is taken", update(TeamChange{Actor: trusted, Team: team.ID, Info: ptr("new"), Name: ptr("SECOND")}), horde.RCTeamNameAlreadyExists},
		{"its own name in other case", update(TeamChange{Actor: trusted, Team: team.ID, Name: ptr("éclair")}), ""},
		{"by a moderator", update(TeamChange{Actor: mod, Team: team.ID, Name: ptr("renamed"), Info: ptr("new")}), ""},

		{"delete an unknown team", remove(mod, nowhere), horde.RCTeamNotFound},
		{"delete by nobody", remove(99, team.ID), horde.RCInvalidAPIKey},
		{"delete by a stranger", remove(other, team.ID), horde.RCNotModerator},
		{"delete by a moderator", remove(mod, team.ID), ""},
		{"delete again", remove(mod, team.ID), horde.RCTeamNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) { w.try(t, tt.want, tt.do) })
	}
	if _, ok := w.TeamByName("RENAMED"); ok {
		t.Error("a deleted team is found by name")
	}
	if got := w.Teams(); len(got) != 2 || got[0].Name != "second" {
		t.Errorf("teams are %+v", got)
	}
}

func TestTeamAddsUpWhatItsWorkersDo(t *testing.T) {
	w := newWorld(t)
	owner := w.person("owner", 0, horde.RoleTrusted)
	payer := w.person("payer", horde.Whole(1000), 0)
	image, text := w.worker(owner, horde.KindImage, "image"), w.worker(owner, horde.KindText, "text")
	a := must(w.CreateTeam(w.ctx, NewTeam{owner, "a", ""}))(t)
	b := must(w.CreateTeam(w.ctx, NewTeam{owner, "b", ""}))(t)
	stranger := w.person("stranger", 0, 0)
	join := func(actor horde.UserID, id horde.WorkerID, team horde.TeamID) func() error {
		return func() error {
			return one(w.UpdateWorker(w.ctx, WorkerChange{Actor: actor, Worker: id, Team: &team}))
		}
	}
	w.try(t, horde.RCTeamNotFound, join(owner, image, horde.TeamID{UUID: horde.UUID{9}}))
	w.try(t, horde.RCNotModerator, join(stranger, image, a.ID))
	w.try(t, horde.RCNotModerator, join(horde.Anonymous, image, a.ID))
	w.try(t, "", join(owner, image, a.ID))
	w.try(t, "", join(owner, image, a.ID)) // again
	w.try(t, "", join(owner, text, a.ID))

	work := func(id horde.WorkerID, kind horde.Kind) {
		r := w.admit(horde.Admission{Payer: payer, Kind: kind})
		if err := w.settle(horde.Settlement{Request: r, Worker: id, Debit: 700, Credit: 600, Things: 5}); err != nil {
			t.Fatal(err)
		}
	}
	work(image, horde.KindImage)
	work(text, horde.KindText) // counts for the worker only
	w.run(w.EncodeUptime(horde.Uptime{Worker: text, Seconds: 600, Reward: 50}))
	got, _ := w.Team(a.ID)
	if got.Kudos != 600 || got.Things != 5 || got.Fulfilled != 1 || got.Uptime != 600 || !slices.Equal(got.Workers, []horde.WorkerID{image, text}) {
		t.Errorf("team a is %+v", got)
	}
	w.try(t, "", join(owner, image, b.ID))
	work(image, horde.KindImage)
	if v, _ := w.Team(a.ID); v.Fulfilled != 1 || !slices.Equal(v.Workers, []horde.WorkerID{text}) {
		t.Errorf("after a worker left, team a is %+v", v)
	}
	if v, _ := w.Team(b.ID); v.Fulfilled != 1 || v.Kudos != 600 {
		t.Errorf("team b is %+v", v)
	}
	if v, _ := w.Worker(image); v.Team != b.ID {
		t.Errorf("the worker is in %v", v.Team)
	}
	must(w.DeleteTeam(w.ctx, owner, b.ID))(t)
	if v, _ := w.Worker(image); !v.Team.IsZero() {
		t.Error("the worker is in a team that is gone")
	}
	must(w.DeleteWorker(w.ctx, owner, text))(t)
	if v, _ := w.Team(a.ID); len(v.Workers) != 0 {
		t.Error("a deleted worker is in a team")
	}
	w.try(t, "", join(owner, image, a.ID))
	w.try(t, "", join(owner, image, horde.TeamID{}))
	if v, _ := w.Team(a.ID); len(v.Workers) != 0 {
		t.Error("a worker that left is in the team")
	}
}

func TestMessages(t *testing.T) {
	w := newWorld(t)
	mod, owner, other := w.person("mod", 0, horde.RoleModerator), w.person("owner", 0, 0), w.person("other", 0, 0)
	id := w.worker(owner, horde.KindImage, "worker")
	in := func(h int) time.Time { return moment(w.now).Add(time.Duration(h) * time.Hour) }
	post := func(n NewMessage) func() error { return func() error { return one(w.PostMessage(w.ctx, n)) } }
	for _, tt := range []struct {
		name string
		msg  NewMessage
		want horde.RC
	}{
		{"anonymous", NewMessage{horde.Anonymous, id, "x", "", in(1)}, horde.RCAnonForbidden},
		{"nobody", NewMessage{99, id, "x", "", in(1)}, horde.RCInvalidAPIKey},
		{"unknown worker", NewMessage{mod, horde.WorkerID{UUID: horde.UUID{9}}, "x", "", in(1)}, horde.RCWorkerNotFound},
		{"to another's worker", NewMessage{other, id, "x", "", in(1)}, horde.RCMessagesOnlyOwnWorkers},
		{"to all", NewMessage{owner, horde.WorkerID{}, "x", "", in(1)}, horde.RCMessagesOnlyOwnWorkers},
		{"empty", NewMessage{owner, id, "", "", in(1)}, horde.RCBadRequest},
		{"expired", NewMessage{owner, id, "x", "", in(0)}, horde.RCBadRequest},
		{"for too long", NewMessage{owner, id, "x", "", in(722)}, horde.RCBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) { w.try(t, tt.want, post(tt.msg)) })
	}
	mine := must(w.PostMessage(w.ctx, NewMessage{owner, id, "mine", "the boss", in(2)}))(t)
	all := must(w.PostMessage(w.ctx, NewMessage{mod, horde.WorkerID{}, "to all", "Team", in(1)}))(t)
	if mine.Origin != "3" || all.Origin != "Team" || mine.Worker != id || !mine.Created.Equal(moment(w.now)) {
		t.Errorf("posted %+v and %+v", mine, all)
	}
	if got := w.MessagesFor(id); len(got) != 2 || got[0].Message != "mine" || got[1].Message != "to all" {
		t.Errorf("the worker's messages are %+v", got)
	}
	if got := w.MessagesFor(horde.WorkerID{UUID: horde.UUID{9}}); len(got) != 1 {
		t.Errorf("another's messages are %+v", got)
	}
	if got := w.Messages(); len(got) != 2 {
		t.Errorf("all messages are %+v", got)
	}
	del := func(actor horde.UserID, id horde.MessageID) func() error {
		return func() error { return w.DeleteMessage(w.ctx, actor, id) }
	}
	w.try(t, horde.RCForbidden, del(other, mine.ID))
	w.try(t, horde.RCForbidden, del(horde.Anonymous, mine.ID))
	w.try(t, horde.RCForbidden, del(owner, all.ID))
	w.try(t, horde.RCInvalidAPIKey, del(99, all.ID))
	w.try(t, "", del(owner, mine.ID))
	w.try(t, horde.RCWorkermessageNotFound, del(mod, mine.ID))

	// Expired messages are kept for a week, and purged by a tick.
	w.pass(time.Hour + 7*24*time.Hour - time.Second)
	must(0, w.Tick(w.ctx))(t)
	if _, ok := w.Message(all.ID); !ok {
		t.Error("purged before its time")
	}
	w.pass(time.Second)
	must(0, w.Tick(w.ctx))(t)
	if _, ok := w.Message(all.ID); ok || len(w.MessagesFor(id)) != 0 {
		t.Error("not purged in its time")
	}
	w.check()
}

func TestMessagesOfOneAuthorAreBounded(t *testing.T) {
	w := newWorld(t)
	owner := w.person("owner", 0, 0)
	id := w.worker(owner, horde.KindImage, "worker")
	post := func() error {
		return one(w.PostMessage(w.ctx, NewMessage{owner, id, "x", "", moment(w.now).Add(time.Hour)}))
	}
	for range maxMessages {
		must(0, post())(t)
	}
	w.try(t, horde.RCForbidden, post)
}

func TestFilters(t *testing.T) {
	w := newWorld(t)
	mod, plain := w.person("mod", 0, horde.RoleModerator), w.person("plain", 0, 0)
	put := func(n NewFilter) func() error { return func() error { return one(w.PutFilter(w.ctx, n)) } }
	for _, tt := range []struct {
		name string
		f    NewFilter
		want horde.RC
	}{
		{"no moderator", NewFilter{plain, "x", 10, "", ""}, horde.RCNotModerator},
		{"nobody", NewFilter{99, "x", 10, "", ""}, horde.RCInvalidAPIKey},
		{"type too low", NewFilter{mod, "x", 9, "", ""}, horde.RCBadRequest},
		{"type too high", NewFilter{mod, "x", 30, "", ""}, horde.RCBadRequest},
		{"no expression", NewFilter{mod, "", 10, "", ""}, horde.RCBadRequest},
		{"too long an expression", NewFilter{mod, strings.Repeat("x", maxRegex+1), 10, "", ""}, horde.RCBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) { w.try(t, tt.want, put(tt.f)) })
	}
	first := must(w.PutFilter(w.ctx, NewFilter{mod, "x(", 10, "about", "y"}))(t)
	if again := must(w.PutFilter(w.ctx, NewFilter{1, "x(", 10, "other", "z"}))(t); again != first || first.ID != 1 || first.Editor != mod {
		t.Errorf("got %+v, then %+v", first, again)
	}
	if other := must(w.PutFilter(w.ctx, NewFilter{mod, "x(", 29, "", ""}))(t); other.ID != 2 {
		t.Errorf("of another type: %+v", other)
	}
	update := func(c FilterChange) func() error { return func() error { return one(w.UpdateFilter(w.ctx, c)) } }
	w.try(t, horde.RCNotModerator, update(FilterChange{Actor: plain, Filter: 9, Regex: ptr("y")}))
	w.try(t, horde.RCFilterNotFound, update(FilterChange{Actor: mod, Filter: 9, Regex: ptr("y")}))
	w.try(t, horde.RCNoFilterModSelected, update(FilterChange{Actor: mod, Filter: 1}))
	w.try(t, horde.RCBadRequest, update(FilterChange{Actor: mod, Filter: 1, Description: ptr("kept out"), Type: ptr(5)}))
	w.try(t, "", update(FilterChange{Actor: 1, Filter: 1, Type: ptr(20), Replacement: ptr("")}))
	if f, ok := w.Filter(1); !ok || f.Type != 20 || f.Regex != "x(" || f.Description != "about" || f.Replacement != "" || f.Editor != 1 {
		t.Errorf("changed to %+v", f)
	}
	w.try(t, horde.RCNotModerator, func() error { return w.DeleteFilter(w.ctx, plain, 2) })
	w.try(t, horde.RCFilterNotFound, func() error { return w.DeleteFilter(w.ctx, mod, 3) })
	w.try(t, "", func() error { return w.DeleteFilter(w.ctx, mod, 2) })
	if third := must(w.PutFilter(w.ctx, NewFilter{mod, "new", 10, "", ""}))(t); third.ID != 3 {
		t.Errorf("ids are used again: %+v", third)
	}
	if got := w.Filters(); len(got) != 2 || got[0].ID != 1 || got[1].ID != 3 {
		t.Errorf("filters are %+v", got)
	}
}
