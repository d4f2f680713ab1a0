package api

import (
	"strings"
	"testing"
)

// TestRepeatedRequest is row 35 of the fault matrix: an answer was lost, and the client asks again.
func TestRepeatedRequest(t *testing.T) {
	const path, header = "/api/v2/generate/text/async", "Idempotency-Key"
	h := newHarness(t)
	id := func(a answer) string {
		t.Helper()
		s, ok := a.wants(202, "").object()["id"].(string)
		if !ok || s == "" {
			t.Fatalf("no id: %s", a.body)
		}
		return s
	}
	first := id(h.do("POST", path, aliceKey, withText(nil), header, "one"))
	if again := id(h.do("POST", path, aliceKey, withText(nil), header, "one")); again != first || h.board.count() != 1 {
		t.Errorf("repeated: %s, %d requests; want %s, 1", again, h.board.count(), first)
	}
	ids := map[string]string{first: "the first"}
	for _, tt := range []struct {
		name string
		a    answer
	}{
		{"another key", h.do("POST", path, aliceKey, withText(nil), header, "two")},
		{"another client", h.do("POST", path, ownerKey, withText(nil), header, "one")},
		{"no key", h.do("POST", path, aliceKey, withText(nil))},
		{"no key again", h.do("POST", path, aliceKey, withText(nil))},
		{"a stranger", h.do("POST", path, "0000000000", withText(nil), header, "one")},
		{"another stranger", h.do("POST", path, "0000000000", withText(nil), header, "one")},
	} {
		got := id(tt.a)
		if other, ok := ids[got]; ok {
			t.Errorf("%s got the request of %s", tt.name, other)
		}
		ids[got] = tt.name
	}
	h.do("POST", path, aliceKey, withText(nil), header, strings.Repeat("x", 256)).wants(400, "")
}
