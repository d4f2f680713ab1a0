package api

import (
	"strings"
	"testing"

	"hordenode/internal/horde"
)

func TestFilters(t *testing.T) {
	h, _ := newCommunityHarness(t)
	put := func(body string) answer { return h.do("PUT", "/api/v2/filters", modKey, body) }
	const first = `{"id":"1","regex":"zebra","filter_type":10,"description":"a beast","replacement":"horse","user":"mod#9"}`
	put(`{"regex":"zebra","filter_type":10,"description":"a beast","replacement":"horse"}`).wants(200, "").golden(first)
	put(`{"regex":"zebra","filter_type":10,"description":"again"}`).wants(200, "").golden(first)
	put(`{"regex":"gallop.","filter_type":20}`).wants(200, "").
		golden(`{"id":"2","regex":"gallop.","filter_type":20,"description":null,"replacement":"","user":"mod#9"}`)
	const second = `{"id":"2","regex":"gallop.","filter_type":20,"replacement":"","user":"mod#9"}`

	get := func(path string) answer { return h.do("GET", "/api/v2/filters"+path, modKey, nil).wants(200, "") }
	get("").golden("[" + first + "," + second + "]")
	get("?filter_type=20").golden("[" + second + "]")
	get("?contains=beast").golden("[" + first + "]")
	get("?contains=Beast").golden("[]")
	get("/2").golden(second)
	get("/regex").golden(`[{"filter_type":10,"regex":"zebra"},{"filter_type":11},{"filter_type":20,"regex":"gallop."}]`)
	get("/regex?filter_type=10").golden(`[{"filter_type":10,"regex":"zebra"}]`)

	try := func(body string) answer { return h.do("POST", "/api/v2/filters", modKey, body).wants(200, "") }
	try(`{"prompt":"a zebra gallops"}`).golden(`{"suspicion":"2","matches":["zebra","gallops"]}`)
	try(`{"prompt":"clean"}`).golden(`{"suspicion":"0","matches":[]}`)
	try(`{"prompt":"a zebra gallops","filter_type":20}`).golden(`{"suspicion":"1","matches":["gallops"]}`)
	try(`{"prompt":"a zebra gallops","filter_type":99}`).golden(`{"suspicion":"0","matches":[]}`)

	patch := func(body string) answer { return h.do("PATCH", "/api/v2/filters/1", modKey, body) }
	patch(`{"regex":"okapi"}`).wants(200, "").
		golden(`{"id":"1","regex":"okapi","filter_type":10,"description":"a beast","replacement":"horse","user":"mod#9"}`)
	patch(`{}`).wants(400, horde.RCNoFilterModSelected)
	patch(`{"replacement":""}`).wants(400, horde.RCNoFilterModSelected)
	try(`{"prompt":"a zebra or okapi"}`).golden(`{"suspicion":"1","matches":["okapi"]}`)
	h.do("DELETE", "/api/v2/filters/1", modKey, nil).wants(200, "").golden(`{"message":"OK"}`)
	try(`{"prompt":"an okapi"}`).golden(`{"suspicion":"0","matches":[]}`)
	h.do("DELETE", "/api/v2/filters/1", modKey, nil).wants(404, horde.RCFilterNotFound)
}

// An expression that cannot be run is refused; one that is there all the same, by an import,
// is shown with a warning and does not stop the others.
func TestInertFilter(t *testing.T) {
	h, f := newCommunityHarness(t)
	h.do("PUT", "/api/v2/filters", modKey, `{"regex":"zebra","filter_type":20}`).wants(200, "")
	got := h.do("PUT", "/api/v2/filters", modKey, `{"regex":"(a)\\1","filter_type":20}`).wants(400, horde.RCBadRequest)
	if !strings.Contains(got.body, "not one of RE2") {
		t.Errorf("it is not told why: %s", got.body)
	}
	h.do("PATCH", "/api/v2/filters/1", modKey, `{"regex":"(?<!x*)y"}`).wants(400, horde.RCBadRequest)
	h.do("PUT", "/api/v2/filters", modKey, `{"regex":"(?<=my )okapi","filter_type":20}`).wants(200, "")
	f.filters[9] = horde.Filter{ID: 9, Type: 20, Regex: `(a)\1`}
	got = h.do("GET", "/api/v2/filters/9", modKey, nil).wants(200, "")
	if !strings.Contains(got.body, `"warnings":[{"code":"InertFilter",`) {
		t.Errorf("no warning in %s", got.body)
	}
	h.do("GET", "/api/v2/filters/regex?filter_type=20", modKey, nil).golden(`[{"filter_type":20,"regex":"zebra|(?<=my )okapi"}]`)
	h.do("POST", "/api/v2/filters", modKey, `{"prompt":"zebra"}`).golden(`{"suspicion":"1","matches":["zebra"]}`)
	h.do("POST", "/api/v2/filters", modKey, `{"prompt":"my okapi"}`).golden(`{"suspicion":"1","matches":["okapi"]}`)
	h.do("POST", "/api/v2/filters", modKey, `{"prompt":"an okapi"}`).golden(`{"suspicion":"0","matches":[]}`)
}

func TestFilterRefusals(t *testing.T) {
	h, _ := newCommunityHarness(t)
	h.do("PUT", "/api/v2/filters", modKey, `{"regex":"zebra","filter_type":10}`).wants(200, "")
	bodies := map[string]string{"PUT": `{"regex":"x","filter_type":10}`, "POST": `{"prompt":"x"}`, "PATCH": `{"description":"xx"}`}
	for _, at := range []string{"GET /", "PUT /", "POST /", "GET /regex", "GET /1", "PATCH /1", "DELETE /1"} {
		method, path, _ := strings.Cut(at, " ")
		path = strings.TrimSuffix("/api/v2/filters"+path, "/")
		h.do(method, path, aliceKey, bodies[method]).wants(403, horde.RCNotModerator)
		h.do(method, path, "who", bodies[method]).wants(401, horde.RCInvalidAPIKey)
		if got := h.do(method, path, "", bodies[method]).wants(400, ""); got.errorsAt() != "apikey" {
			t.Errorf("%s: errors at %q, want apikey", at, got.errorsAt())
		}
	}
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		h.do(method, "/api/v2/filters/99", modKey, bodies[method]).wants(404, horde.RCFilterNotFound)
		h.do(method, "/api/v2/filters/x", modKey, bodies[method]).wants(404, horde.RCFilterNotFound)
	}
	h.do("GET", "/api/v2/filters/x", "", nil).wants(404, horde.RCFilterNotFound)
	for _, tt := range []struct{ method, path, body, errors string }{
		{"PUT", "", `{"regex":"x"}`, "filter_type"},
		{"PUT", "", `{"filter_type":30,"regex":""}`, "filter_type regex"},
		{"PATCH", "/1", `{"filter_type":9}`, "filter_type"},
		{"POST", "", `{}`, "prompt"},
		{"GET", "?filter_type=x", "", "filter_type"},
	} {
		if got := h.do(tt.method, "/api/v2/filters"+tt.path, modKey, tt.body).wants(400, ""); got.errorsAt() != tt.errors {
			t.Errorf("%s %s %s: errors at %q, want %q", tt.method, tt.path, tt.body, got.errorsAt(), tt.errors)
		}
	}
}
