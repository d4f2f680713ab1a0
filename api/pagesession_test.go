package api

import (
	"strings"
	"testing"
	"time"
)

// What harms others asks for the key again when the browser has been logged in for long; what
// does not goes on.
func TestOldSessionsNeedTheKey(t *testing.T) {
	for _, tt := range []struct {
		path   string
		fields []string
		asks   bool
	}{
		{"/moderation/users/7", []string{"has_flagged", "1", "flagged", "1", "has_trusted", "1", "trusted", "1"}, true},
		{"/moderation/users/7", []string{"has_trusted", "1", "trusted", "1"}, false},
		{"/moderation/modes", []string{"raid", "1"}, true},
		{"/moderation/blocks", []string{"ipaddr", "203.0.113.0/24"}, true},
		{"/moderation/blocks/delete", []string{"ipaddr", "192.0.2.0/24"}, true},
		{"/moderation/log", []string{"number", "3"}, true},
		{"/moderation/log", []string{"number", "4"}, true},
	} {
		for _, after := range []time.Duration{lately - time.Minute, lately} {
			h, _, _ := consoleWorld(t, "calm")
			h.s.deps.Book = pageBook{[]ModerationAct{{Number: 4, Action: "delete filter", CanUndo: true}, {Number: 3, Action: "flagged=true, trusted=true", Target: "user #7"}}}
			b := newBrowser(h)
			b.logIn(modKey)
			h.clock.advance(after)
			page := b.open(strings.TrimSuffix(tt.path, "/delete")).wants(200, "")
			want := 303
			if after == lately && tt.asks {
				want = 401
				if !strings.Contains(page.body, `name="apikey"`) {
					t.Errorf("%s %v has no field for the key", tt.path, tt.fields)
				}
			}
			if a := b.submit(tt.path, tt.fields...); a.status != want {
				t.Errorf("%s %v after %v: status %d, want %d: %s", tt.path, tt.fields, after, a.status, want, a.body)
			}
			if want == 303 {
				continue
			}
			if a := b.submit(tt.path, append(tt.fields, "apikey", ownerKey)...); a.status != 403 {
				t.Errorf("%s %v with another's key: status %d, want 403", tt.path, tt.fields, a.status)
			}
			if a := b.submit(tt.path, append(tt.fields, "apikey", modKey)...); a.status != 303 {
				t.Errorf("%s %v with the key: status %d, want 303", tt.path, tt.fields, a.status)
			}
		}
	}
}

// A cookie is one of this node's own name only: under https nobody of a sibling name can plant
// a session.
func TestPlantedSession(t *testing.T) {
	h, _, _ := newAccountHarness(t, func(c *Config) { c.PublicURL = nodeURL })
	b := newBrowser(h)
	b.logIn(aliceKey)
	if page := b.open("/profile"); !strings.Contains(page.body, "alice#7") {
		t.Fatalf("nobody is logged in: %s", page.body)
	}
	victim := newBrowser(h)
	victim.cookies[sessionCookie] = b.cookies[hostSession]
	if page := victim.open("/profile"); strings.Contains(page.body, "alice#7") {
		t.Error("a planted session counts")
	}
}
