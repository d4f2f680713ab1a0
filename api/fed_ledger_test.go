package api

import (
	"context"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// fakeBook has five movements of every user and three acts of moderation.
type fakeBook struct{ young bool }

var bookTime = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func (f fakeBook) Proof(user horde.UserID, private bool) (any, bool) {
	return map[string]any{"user": user, "private": private}, !f.young
}

func (fakeBook) Statement(_ horde.UserID, before uint64, limit int) []StatementLine {
	var list []StatementLine
	for n := uint64(5); n > 0 && len(list) < limit; n-- {
		if before == 0 || n < before {
			list = append(list, StatementLine{
				Number: n, At: bookTime, Amount: -150, Reason: "transfer", Kind: "gifted", With: "bob#3", Balance: horde.Kudos(n) * 100,
			})
		}
	}
	return list
}

func (fakeBook) Moderation(before uint64, limit int) []ModerationAct {
	var list []ModerationAct
	for n := uint64(3); n > 0 && len(list) < limit; n-- {
		if before == 0 || n < before {
			m := ModerationAct{Number: n, At: bookTime, Actor: "mod#9", Node: "elm", Action: "trusted=true", Target: "user #7", Reason: "good work"}
			if n == 2 {
				m.Until = bookTime.Add(time.Hour)
			}
			list = append(list, m)
		}
	}
	return list
}

func (fakeBook) Undo(context.Context, horde.UserID, uint64) error { return nil }

func TestProofShowsTheRestToFew(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	h.do("GET", "/api/fed/v1/proof/7", "", nil).wants(404, "") // a server without a ledger to show
	h.s.deps.Book = fakeBook{}
	for _, c := range []struct {
		name    string
		path    string
		key     horde.APIKey
		private bool
	}{
		{"nobody", "7", "", false},
		{"another", "7", ownerKey, false},
		{"the user", "7", aliceKey, true},
		{"a moderator", "7", modKey, true},
		{"anonymous of itself", "0", horde.AnonymousKey, false},
	} {
		if got := h.do("GET", "/api/fed/v1/proof/"+c.path, c.key, nil).wants(200, "").object()["private"]; got != c.private {
			t.Errorf("%s: private is %v, want %v", c.name, got, c.private)
		}
	}
	h.do("GET", "/api/fed/v1/proof/99", "", nil).wants(404, horde.RCUserNotFound)
	h.do("GET", "/api/fed/v1/proof/alice", "", nil).wants(404, horde.RCUserNotFound)
	h.do("GET", "/api/fed/v1/proof/7", "wrong", nil).wants(401, horde.RCInvalidAPIKey)
	h.s.deps.Book = fakeBook{young: true}
	h.do("GET", "/api/fed/v1/proof/7", "", nil).wants(503, horde.RCUnavailable)
}

func TestStatementIsPaged(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	h.s.deps.Book = fakeBook{}
	h.do("GET", "/api/fed/v1/statement?limit=1", aliceKey, nil).wants(200, "").golden(
		`{"user":"alice#7","entries":[{"number":5,"at":"2026-11-20T12:00:00Z","amount":-1.5,"escrow":false,"reason":"transfer","kind":"gifted",` +
			`"with":"bob#3","balance_after":5,"escrow_after":0}],"next":5}`)
	page := h.do("GET", "/api/fed/v1/statement?before=3&limit=9", aliceKey, nil).wants(200, "").object()
	if n := len(page["entries"].([]any)); n != 2 || page["next"] != nil {
		t.Errorf("the last page has %d entries and goes on with %v, want 2 and none", n, page["next"])
	}
	if full := h.do("GET", "/api/fed/v1/statement?before=3&limit=2", aliceKey, nil).wants(200, "").object(); full["next"] != nil {
		t.Errorf("a page that ends with number 1 goes on with %v", full["next"])
	}
	h.do("GET", "/api/fed/v1/statement", "", nil).wants(400, "")
	h.do("GET", "/api/fed/v1/statement", horde.AnonymousKey, nil).wants(403, horde.RCAnonForbidden)
	for _, q := range []string{"limit=0", "limit=201", "limit=x", "before=-1", "before=x"} {
		h.do("GET", "/api/fed/v1/statement?"+q, aliceKey, nil).wants(400, "")
	}
}

func TestModerationIsForEverybody(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	h.s.deps.Book = fakeBook{}
	h.do("GET", "/api/fed/v1/moderation?before=3&limit=1", "", nil).wants(200, "").golden(
		`{"acts":[{"number":2,"at":"2026-11-20T12:00:00Z","actor":"mod#9","node":"elm","action":"trusted=true","target":"user #7","reason":"good work",` +
			`"until":"2026-11-20T13:00:00Z"}],"next":2}`)
}

// A moderator says why; the answer does not repeat it.
func TestReasonsOfChanges(t *testing.T) {
	h, registry, _ := newAccountHarness(t)
	h.do("PUT", "/api/v2/users/7", modKey, m{"trusted": true, "reason": "good work"}).wants(200, "").golden(`{"trusted":true}`)
	if got := registry.lastUser.Reason; got != "good work" {
		t.Errorf("the reason is %q", got)
	}
	long := make([]byte, maxReason+1)
	for i := range long {
		long[i] = 'x'
	}
	h.do("PUT", "/api/v2/users/7", modKey, m{"trusted": true, "reason": string(long)}).wants(400, "")
}
