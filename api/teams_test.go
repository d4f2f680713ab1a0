package api

import (
	"strings"
	"testing"

	"hordenode/internal/horde"
)

const someID = "00000000-0000-4000-8000-000000000001"

func TestTeamDetails(t *testing.T) {
	h, f := newCommunityHarness(t)
	id := horde.TeamID{UUID: f.id()}
	worker := func(n byte, kind horde.Kind, models ...string) horde.WorkerID {
		w := horde.Worker{ID: horde.WorkerID{UUID: horde.UUID{n}}, Kind: kind, Name: "w" + string('0'+n), Owner: 8, Team: id}
		f.registry.addWorker(f.live, h.clock.now(), w, horde.Caps{Models: models})
		return w.ID
	}
	members := []horde.WorkerID{worker(1, horde.KindImage, "a", "b"), worker(2, horde.KindText, "b"), worker(3, horde.KindAlchemy, "caption")}
	f.teams[id] = horde.Team{ID: id, Name: "Best", Owner: 8, Workers: members, Kudos: 1250, Fulfilled: 3, Uptime: 600}

	team := `{"info":"","requests_fulfilled":3,"kudos":13,"uptime":600,"creator":"owner#8","worker_count":3,"workers":[` +
		`{"type":"image","name":"w1","id":"` + members[0].String() + `","online":true},` +
		`{"type":"text","name":"w2","id":"` + members[1].String() + `","online":true},` +
		`{"type":"interrogation","name":"w3","id":"` + members[2].String() + `","online":true}],` +
		`"models":[{"name":"b","count":2},{"name":"a","count":1}],"name":"Best","id":"` + id.String() + `"}`
	h.do("GET", "/api/v2/teams", "", nil).wants(200, "").golden("[" + team + "]")
	h.do("GET", "/api/v2/teams/"+id.String(), "", nil).wants(200, "").golden(team)
	h.do("GET", "/api/v2/teams/"+id.String(), modKey, nil).wants(200, "").golden(team)
	h.do("GET", "/api/v2/teams/"+id.String(), aliceKey, nil).wants(403, horde.RCNotModerator)
	h.do("GET", "/api/v2/teams/"+id.String(), "who", nil).wants(401, horde.RCInvalidAPIKey)
	h.do("GET", "/api/v2/teams/x", "who", nil).wants(404, horde.RCTeamNotFound)
	h.do("GET", "/api/v2/teams/"+someID, "", nil).wants(404, horde.RCTeamNotFound)

	got := h.do("GET", "/api/v2/workers/"+members[0].String(), "", nil).wants(200, "")
	if want := `"team":{"name":"Best","id":"` + id.String() + `"}`; !strings.Contains(got.body, want) {
		t.Errorf("got %s, want %s in it", got.body, want)
	}
}

func TestCreateTeam(t *testing.T) {
	for _, tt := range []struct {
		name   string
		key    horde.APIKey
		body   string
		status int
		rc     horde.RC
		errors string
	}{
		{"no key", "", `{"name":"Team"}`, 400, "", "apikey"},
		{"unknown key", "who", `{"name":"Team"}`, 401, horde.RCInvalidAPIKey, ""},
		{"anonymous", horde.AnonymousKey, `{"name":"fuck"}`, 403, horde.RCAnonForbidden, ""},
		{"untrusted", aliceKey, `{"name":"fuck"}`, 403, horde.RCUntrustedTeamCreation, ""},
		{"taken, in another case", ownerKey, `{"name":"first","info":"fuck"}`, 400, horde.RCTeamNameAlreadyExists, ""},
		{"taken, after cleaning", ownerKey, `{"name":" a<b "}`, 400, horde.RCTeamNameAlreadyExists, ""},
		{"profane name", ownerKey, `{"name":"fuck","info":"fuck"}`, 400, horde.RCProfaneTeamName, ""},
		{"profane info", ownerKey, `{"name":"Team","info":"fuck"}`, 400, horde.RCProfaneTeamInfo, ""},
		{"short", ownerKey, `{"name":"ab","info":"ab"}`, 400, "", "info name"},
		{"nothing", ownerKey, `{}`, 400, "", "name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newCommunityHarness(t)
			for _, name := range []string{"First", "a&lt;b"} {
				id := horde.TeamID{UUID: f.id()}
				f.teams[id] = horde.Team{ID: id, Name: name, Owner: 8}
			}
			got := h.do("POST", "/api/v2/teams", tt.key, tt.body).wants(tt.status, tt.rc)
			if at := got.errorsAt(); at != tt.errors {
				t.Errorf("errors at %q, want %q", at, tt.errors)
			}
			if len(f.teams) != 2 {
				t.Error("a team was made")
			}
		})
	}
	h, f := newCommunityHarness(t)
	got := h.do("POST", "/api/v2/teams", ownerKey, `{"name":"Best"}`).wants(200, "")
	id := f.Teams()[0].ID.String()
	got.golden(`{"id":"` + id + `","name":"Best"}`)
	h.do("POST", "/api/v2/teams", ownerKey, `{"name":"Rest","info":"<b>x</b> & <i"}`).wants(200, "").
		golden(`{"id":"` + f.Teams()[1].ID.String() + `","name":"Rest","info":"<b>x</b> &amp; &lt;i"}`)
}

func TestChangeTeam(t *testing.T) {
	for _, tt := range []struct {
		name         string
		method       string
		key          horde.APIKey
		body         any
		status       int
		rc           horde.RC
		errors, want string
	}{
		{"no key", "PATCH", "", `{"info":"xyz"}`, 400, "", "apikey", ""},
		{"unknown key", "PATCH", "who", `{"info":"xyz"}`, 401, horde.RCInvalidAPIKey, "", ""},
		{"another's info", "PATCH", aliceKey, `{"info":"fuck"}`, 403, horde.RCNotOwner, "", ""},
		{"another's name", "PATCH", aliceKey, `{"name":"fuck"}`, 403, horde.RCNotModerator, "", ""},
		{"nothing", "PATCH", ownerKey, `{}`, 400, horde.RCNoTeamModSelected, "", ""},
		{"profane both", "PATCH", ownerKey, `{"name":"fuck","info":"fuck"}`, 400, horde.RCProfaneTeamInfo, "", ""},
		{"profane name", "PATCH", ownerKey, `{"name":"fuck"}`, 400, horde.RCProfaneTeamName, "", ""},
		{"taken", "PATCH", ownerKey, `{"name":"SECOND"}`, 400, horde.RCTeamNameAlreadyExists, "", ""},
		{"short", "PATCH", ownerKey, `{"name":"ab"}`, 400, "", "name", ""},
		{"info", "PATCH", ownerKey, `{"info":"new"}`, 200, "", "", `{"info":"new"}`},
		{"both, by a moderator", "PATCH", modKey, `{"info":"new","name":"New"}`, 200, "", "", `{"name":"New","info":"new"}`},
		{"delete without key", "DELETE", "", nil, 400, "", "apikey", ""},
		{"delete another's", "DELETE", aliceKey, nil, 403, horde.RCNotModerator, "", ""},
		{"delete", "DELETE", ownerKey, nil, 200, "", "", `{"deleted_id":"ID","deleted_name":"First"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newCommunityHarness(t)
			id := horde.TeamID{UUID: f.id()}
			f.teams[id] = horde.Team{ID: id, Name: "First", Owner: 8}
			other := horde.TeamID{UUID: f.id()}
			f.teams[other] = horde.Team{ID: other, Name: "Second", Owner: 9}
			got := h.do(tt.method, "/api/v2/teams/"+id.String(), tt.key, tt.body).wants(tt.status, tt.rc)
			if tt.want != "" {
				got.golden(strings.ReplaceAll(tt.want, "ID", id.String()))
			} else if at := got.errorsAt(); at != tt.errors {
				t.Errorf("errors at %q, want %q", at, tt.errors)
			}
		})
	}
	h, _ := newCommunityHarness(t)
	h.do("PATCH", "/api/v2/teams/"+someID, "", `{"info":"xyz"}`).wants(404, horde.RCTeamNotFound)
	h.do("DELETE", "/api/v2/teams/x", "", nil).wants(404, horde.RCTeamNotFound)
}

func TestWorkerJoinsTeam(t *testing.T) {
	h, f := newCommunityHarness(t)
	id := horde.TeamID{UUID: f.id()}
	f.teams[id] = horde.Team{ID: id, Name: "Best", Owner: 9}
	w := horde.Worker{ID: horde.WorkerID{UUID: horde.UUID{1}}, Name: "w", Owner: 8}
	f.registry.addWorker(f.live, h.clock.now(), w, horde.Caps{})
	put := func(team string, key horde.APIKey) answer {
		return h.do("PUT", "/api/v2/workers/"+w.ID.String(), key, map[string]string{"team": team})
	}
	put(id.String(), ownerKey).wants(200, "").golden(`{"team":"Best"}`)
	if got := f.registry.lastWorker.Team; got == nil || *got != id {
		t.Errorf("asked for team %v, want %v", got, id)
	}
	put("", ownerKey).wants(200, "").golden(`{"team":"None"}`)
	if got := f.registry.lastWorker.Team; got == nil || !got.IsZero() {
		t.Errorf("asked for team %v, want none", got)
	}
	put("no id", ownerKey)
	if got := f.registry.lastWorker.Team; got == nil || *got != noTeam() {
		t.Errorf("asked for team %v, want one that nobody has", got)
	}
}
