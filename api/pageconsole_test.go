package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// pageBook is a log of one act for each test that needs one, and movements.
type pageBook struct{ acts []ModerationAct }

func (pageBook) Proof(horde.UserID, bool) (any, bool) { return nil, false }

func (pageBook) Statement(_ horde.UserID, before uint64, limit int) (list []StatementLine) {
	for n := uint64(120); n > 0 && len(list) < limit; n-- {
		if before == 0 || n < before {
			list = append(list, StatementLine{Number: n, At: time.Unix(int64(n), 0), Amount: horde.Whole(-3), Reason: "transfer", With: hostile})
		}
	}
	return list
}

func (f pageBook) Moderation(before uint64, limit int) (list []ModerationAct) {
	for _, a := range f.acts {
		if (before == 0 || a.Number < before) && len(list) < limit {
			list = append(list, a)
		}
	}
	return list
}

func (pageBook) Undo(context.Context, horde.UserID, uint64) error { return nil }

// filledPath fills in a route's wildcards.
func filledPath(pattern string, id map[string]string) string {
	for name, value := range id {
		pattern = strings.ReplaceAll(pattern, "{"+name+"}", value)
	}
	return pattern
}

// consoleWorld is a harness in which every page has something to show.
func consoleWorld(t *testing.T, text string) (*harness, *fakeCommunity, map[string]string) {
	t.Helper()
	h, f := newCommunityHarness(t)
	h.s.deps.Blocks = newFakeBlocks(h)
	h.s.deps.Book = pageBook{[]ModerationAct{{Number: 3, Actor: text, Action: text, Target: "user #7", Reason: text}}}
	for _, key := range []horde.APIKey{aliceKey, modKey} {
		h.accounts.change(key, func(u *horde.User) { u.Name, u.Contact, u.AdminComment, u.PublicWorkers = text, text, text, true })
	}
	k := horde.Worker{ID: horde.WorkerID{UUID: horde.UUID{1}}, Name: text, Owner: 7, Info: text, Maintenance: true, MaintenanceMsg: text}
	h.accounts.mu.Lock()
	h.accounts.workers[k.ID] = k
	h.accounts.mu.Unlock()
	f.live.workers = append(f.live.workers, horde.LiveWorker{ID: k.ID, CheckedIn: h.clock.now(), Caps: horde.Caps{Models: []string{text}, BridgeAgent: text}})
	team := horde.Team{ID: horde.TeamID{UUID: horde.UUID{2}}, Name: text, Info: text, Owner: 9, Workers: []horde.WorkerID{k.ID}}
	f.teams[team.ID] = team
	f.keys[horde.SharedKeyID{UUID: horde.UUID{3}}] = horde.SharedKey{ID: horde.SharedKeyID{UUID: horde.UUID{3}}, Owner: 9, Name: text}
	f.messages[horde.MessageID{UUID: horde.UUID{4}}] = horde.WorkerMessage{ID: horde.MessageID{UUID: horde.UUID{4}}, Message: text, Origin: text, Worker: k.ID, User: 9, Expires: h.clock.now().Add(time.Hour)}
	f.filters[1] = horde.Filter{ID: 1, Regex: text, Type: 10, Description: text, Replacement: text, Editor: 9}
	if err := h.s.deps.Blocks.BlockIP(t.Context(), NewIPBlock{Actor: 9, Network: netip.MustParsePrefix("192.0.2.0/24"), For: time.Hour, Reason: text}); err != nil {
		t.Fatal(err)
	}
	return h, f, map[string]string{"user_id": "7", "worker_id": k.ID.String(), "team_id": team.ID.String(), "provider": "club"}
}

const hostile = `<script>alert(1)</script>"><img src=x onerror=alert(2)>'<svg/onload=alert(3)>{{.}}`

// Whatever a text says, on every page it is text: also where it was stored before anything
// was escaped on the way in.
func TestPagesEscapeEverything(t *testing.T) {
	h, _, ids := consoleWorld(t, hostile)
	b := newBrowser(h)
	b.logIn(modKey)
	seen := 0
	for _, rt := range h.s.pageRoutes() {
		if rt.method != http.MethodGet || strings.Contains(rt.path, "callback") {
			continue
		}
		path := filledPath(rt.path, ids)
		for _, query := range []string{"", "?find=" + url.QueryEscape(hostile), "?to=" + url.QueryEscape(hostile), "?worker=" + url.QueryEscape(hostile), "?edit=1", "?told=" + url.QueryEscape(hostile), "?next=" + url.QueryEscape(hostile)} {
			a := b.open(path + query)
			if a.status >= 500 {
				t.Errorf("%s: status %d: %s", path+query, a.status, a.body)
			}
			for _, bad := range []string{"<script>alert", "<img src=x", "<svg/onload"} {
				if strings.Contains(a.body, bad) {
					t.Errorf("%s shows %q as markup", path+query, bad)
				}
			}
			seen += strings.Count(a.body, "&lt;script&gt;alert")
			if policy := a.header.Get("Content-Security-Policy"); a.status == 200 && (strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'")) {
				t.Errorf("%s: policy %q", path, policy)
			}
			if a.header.Get("Access-Control-Allow-Origin") != "" && a.status == 200 {
				t.Errorf("%s may be read by other origins", path)
			}
		}
	}
	if seen < 40 {
		t.Errorf("the text was shown %d times: the pages do not show what this test is about", seen)
	}
}

// No form does anything without its token, and none of the console for who is no moderator.
func TestFormsOfAllPages(t *testing.T) {
	h, f, ids := consoleWorld(t, "calm")
	mod, user, nobody := newBrowser(h), newBrowser(h), newBrowser(h)
	mod.logIn(modKey)
	user.logIn(ownerKey)
	nobody.open("/profile")
	before := h.accounts.Modes()
	for _, rt := range h.s.pageRoutes() {
		path := filledPath(rt.path, ids)
		console := strings.HasPrefix(rt.path, "/moderation")
		if rt.method == http.MethodGet {
			if !console {
				continue
			}
			if a := user.open(path); a.status != 403 {
				t.Errorf("%s for a user: status %d, want 403", path, a.status)
			}
			if a := nobody.open(path); a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), "/profile?next=") {
				t.Errorf("%s for nobody: status %d, want to be led to log in", path, a.status)
			}
			if a := mod.open(path); a.status != 200 {
				t.Errorf("%s for a moderator: status %d, want 200: %s", path, a.status, a.body)
			}
			continue
		}
		mod.open("/profile")
		mod.fields = url.Values{"csrf": {"wrong"}}
		want := 403
		if strings.HasPrefix(rt.path, "/login/") {
			want = 404 // there is no provider here
		}
		if a := mod.submit(path, "really", "1", "apikey", modKey, "id", "1", "raid", "1"); a.status != want {
			t.Errorf("%s with a wrong token: status %d, want %d", path, a.status, want)
		}
		if !console {
			continue
		}
		user.open("/profile")
		if a := user.submit(path, "really", "1", "apikey", ownerKey, "id", "1", "raid", "1"); a.status != 403 {
			t.Errorf("%s for a user: status %d, want 403", path, a.status)
		}
	}
	if len(f.teams) != 1 || len(f.filters) != 1 || len(f.messages) != 1 || h.accounts.Modes() != before {
		t.Error("a refused form had an effect")
	}
}

// What cannot be undone needs the key, although the browser is logged in.
func TestGraveDeedsNeedTheKey(t *testing.T) {
	h, _, ids := consoleWorld(t, "calm")
	b := newBrowser(h)
	b.logIn(modKey)
	for path, fields := range map[string][]string{
		"/moderation/users/8/delete": {"really", "1"}, "/moderation/workers/" + ids["worker_id"] + "/delete": {"really", "1"},
		"/moderation/users/8": {"kudos", "100"}, "/profile/delete": {"really", "1"}, "/profile/key": nil,
	} {
		b.open("/profile")
		for key, want := range map[string]int{"": 401, ownerKey: 403} {
			if a := b.submit(path, append(fields, "apikey", key)...); a.status != want {
				t.Errorf("%s with the key %q: status %d, want %d", path, key, a.status, want)
			}
		}
	}
	if u, _ := h.accounts.User(8); u.Is(horde.RoleDeleted) {
		t.Error("the account is deleted")
	}
}

func TestInverse(t *testing.T) {
	on, off := new(true), new(false)
	for _, tt := range []struct {
		action, target string
		ok, grave      bool
		check          func(undo) bool
	}{
		{"trusted=true, flagged=false", "user #7", true, false, func(u undo) bool {
			return u.user.Target == 7 && *u.user.Trusted == *off && *u.user.Flagged == *on
		}},
		{"kudos=+100.50", "user #7", true, true, func(u undo) bool { return *u.user.Kudos == -10050 }},
		{"kudos=-0.29", "user #7", true, true, func(u undo) bool { return *u.user.Kudos == 29 }},
		{"moderator=true", "user #7", true, true, func(u undo) bool { return !*u.user.Moderator }},
		{"delete account", "user #7", true, false, func(u undo) bool { return u.user.Undelete }},
		{"modes: raid=true", "", true, false, func(u undo) bool { return !*u.modes.Raid && u.modes.Maintenance == nil }},
		{"wipe account", "user #7", false, false, nil},
		{"trusted=true, name", "user #7", false, false, nil},
		{"concurrency=3", "user #7", false, false, nil},
		{"kudos=1e300", "user #7", false, false, nil},
		{"kudos=NaN", "user #7", false, false, nil},
		{"trusted=true", "worker 12345678", false, false, nil},
		{"modes: ", "", false, false, nil},
		{"", "user #7", false, false, nil},
		{"trusted=maybe", "user #7", false, false, nil},
	} {
		u, ok := inverse(ModerationAct{Action: tt.action, Target: tt.target})
		if ok != tt.ok || ok && (u.grave() != tt.grave || !tt.check(u)) {
			t.Errorf("%s of %s: got %+v, %v", tt.action, tt.target, u, ok)
		}
	}
}

func TestStatementPage(t *testing.T) {
	h, _, _ := consoleWorld(t, "calm")
	b := newBrowser(h)
	b.logIn(modKey)
	a := b.open("/profile/statement").wants(200, "")
	if strings.Count(a.body, "Sent to") != movementsPerPage || !strings.Contains(a.body, "before=71") {
		t.Errorf("want %d movements and older ones, got %d", movementsPerPage, strings.Count(a.body, "Sent to"))
	}
	if a := b.open("/profile/statement?before=71"); !strings.Contains(a.body, "before=21") {
		t.Error("the second page does not go on")
	}
	if a := b.open("/profile/statement?before=21"); strings.Count(a.body, "Sent to") != 20 || strings.Contains(a.body, "before=") {
		t.Error("the last page does not end")
	}
}
