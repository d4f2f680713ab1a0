package api

import (
	"testing"

	"hordenode/internal/horde"
)

// A limit of 20: nobody is asked far below it; near it the homes are, and what they say counts.
func TestNearALimitTheHomesAreAsked(t *testing.T) {
	for _, tt := range []struct {
		name                string
		waiting, unheard, n int
		confirmed           int64
		rc                  horde.RC
	}{
		{"far below", 10, 100, 5, 0, ""},
		{"just not near", 14, 100, 1, 0, ""},
		{"near, and heard of all", 15, 0, 1, 1, ""},
		{"near, and there is more", 15, 5, 1, 1, horde.RCTooManyPrompts},
		{"up to the limit", 15, 4, 1, 1, ""},
		{"a request of many comes near at once", 0, 1, 20, 1, horde.RCTooManyPrompts},
		{"above, but some have ended unheard", 20, -1, 1, 1, ""},
		{"above", 20, 0, 1, 1, horde.RCTooManyPrompts},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			h.accounts.change(aliceKey, func(u *horde.User) { u.Concurrency = 20 })
			h.board.waiting[7], h.board.unheard = tt.waiting, tt.unheard
			a := h.do("POST", "/api/v2/generate/async", aliceKey, with(m{"params": m{"n": tt.n}}))
			if tt.rc == "" {
				a.wants(202, "")
			} else {
				a.wants(429, tt.rc)
			}
			if got := h.board.confirmed.Load(); got != tt.confirmed {
				t.Errorf("the homes were asked %d times, want %d", got, tt.confirmed)
			}
		})
	}
}

// All who are anonymous share one account: its limit is counted for the models that are asked
// for. Everybody else's is counted in all.
func TestAnonymousLimitIsCountedByModel(t *testing.T) {
	for _, tt := range []struct {
		name   string
		key    horde.APIKey
		models []string
		status int
		rc     horde.RC
	}{
		{"a model that all want", horde.AnonymousKey, []string{"popular"}, 429, horde.RCTooManyPrompts},
		{"another model", horde.AnonymousKey, []string{"other"}, 202, ""},
		{"any model: all counts", horde.AnonymousKey, []string{}, 202, ""},
		{"an account is counted in all", aliceKey, []string{"popular"}, 202, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			h.board.waitingFor = map[string]int{"popular": 500}
			h.do("POST", "/api/v2/generate/async", tt.key, with(m{"models": tt.models})).wants(tt.status, tt.rc)
		})
	}
}

// Patrons may do what trusted users may: send several extra images, and refuse batches.
func TestPatronsAreTrustedWithImages(t *testing.T) {
	h := newHarness(t)
	h.accounts.change(aliceKey, func(u *horde.User) { u.MonthlyKudos = horde.Whole(1000) })
	h.do("POST", "/api/v2/generate/async", aliceKey, with(m{"disable_batching": true, "params": m{"n": 2}})).wants(202, "")
	h.do("POST", "/api/v2/generate/text/async", aliceKey, withText(m{"disable_batching": true, "params": m{"n": 2}})).wants(202, "")
	extra := m{"image": pngOf(t, 64, 64, false)}
	remix := m{"models": []string{"Stable Cascade 1.0"}, "source_processing": "remix", "source_image": pngOf(t, 64, 64, false)}
	remix["extra_source_images"] = []any{extra, extra}
	a := h.do("POST", "/api/v2/generate/async", aliceKey, with(remix))
	if rc := a.object()["rc"]; rc == string(horde.RCMoreThanMinExtraSourceImage) {
		t.Errorf("two extra images of a patron: %v", rc)
	}
}
