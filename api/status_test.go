package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

func TestStatusReads(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	h.board.load = horde.Performance{
		QueuedRequests: 4, QueuedTextRequests: 5, QueuedForms: 6, QueuedPixelsteps: 5_242_880, QueuedTokens: 80,
		Workers: 1, TextWorkers: 2, AlchemyWorkers: 3, Threads: 10, TextThreads: 20, AlchemyThreads: 30,
		PastMinutePixelsteps: 1_234_567, PastMinuteTokens: 8,
	}
	none := `{"images":0,"ps":0}`
	noText := `{"requests":0,"tokens":0}`
	for _, tt := range []struct{ path, want string }{
		{"/api/v2/status/heartbeat", `{"message":"OK","version":"5.1.5","queue":0,"threads":45,"active_count":0,"db_connection":true}`},
		{"/api/v2/status/performance", `{"queued_requests":4,"queued_text_requests":5,"worker_count":1,"text_worker_count":2,"interrogator_count":3,"thread_count":10,"text_thread_count":20,"interrogator_thread_count":30,"queued_megapixelsteps":5.24,"past_minute_megapixelsteps":1.23,"queued_forms":6,"queued_tokens":80,"past_minute_tokens":8}`},
		{"/api/v2/stats/img/totals", `{"minute":` + none + `,"hour":` + none + `,"day":` + none + `,"month":` + none + `,"total":` + none + `}`},
		{"/api/v2/stats/text/totals", `{"minute":` + noText + `,"hour":` + noText + `,"day":` + noText + `,"month":` + noText + `,"total":` + noText + `}`},
		{"/api/v2/stats/img/models", `{"day":{},"month":{},"total":{}}`},
		{"/api/v2/stats/img/models?model_state=custom", `{"day":{},"month":{},"total":{}}`},
		{"/api/v2/stats/text/models", `{"day":{},"month":{},"total":{}}`},
	} {
		t.Run(tt.path, func(t *testing.T) {
			h.T = t
			h.do("GET", tt.path, "", nil).wants(200, "").golden(tt.want)
		})
	}
	h.T = t
	h.do("GET", "/api/v2/status/heartbeat", "", nil, "X-Fields", "message").wants(200, "").starts(`{"message":"OK","version"`)
	h.do("GET", "/api/v2/stats/img/models?model_state=odd", "", nil).wants(400, horde.RCBadRequest)
	h.do("GET", "/api/v2/status/news", "", nil).wants(200, "").starts(`[{"date_published":"2026-`)
}

func TestDocuments(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	for _, name := range []string{"terms", "privacy", "sponsors"} {
		h.do("GET", "/api/v2/documents/"+name, "", nil).wants(200, "").starts(`{"html":"<h1>`)
		h.do("GET", "/api/v2/documents/"+name+"?format=markdown", "", nil).wants(200, "").starts(`{"markdown":"# `)
		h.do("GET", "/api/v2/documents/"+name+"?format=pdf", "", nil).wants(400, horde.RCBadRequest)
	}
	h.do("GET", "/api/v2/documents/secrets", "", nil).wants(404, "")
	if got, want := documentHTML("# A & B\n\nx <y>"), "<h1>A &amp; B</h1>\n<p>x &lt;y&gt;</p>\n"; got != want {
		t.Errorf("documentHTML = %q, want %q", got, want)
	}
}

func TestModels(t *testing.T) {
	h, _, live := newAccountHarness(t)
	image, text := knownModels(t, h)
	live.models[horde.KindImage] = []horde.ModelStatus{
		{Name: image, Kind: horde.KindImage, Count: 3, Performance: 1234567.89, Queued: 5242880, Jobs: 2, ETA: 7},
		{Name: "custom/one", Kind: horde.KindImage, Count: 1},
		{Name: "horde_special::mod#9", Kind: horde.KindImage, Count: 1},
	}
	live.models[horde.KindText] = []horde.ModelStatus{{Name: text, Kind: horde.KindText, Count: 2, Jobs: 1, ETA: 10000}}
	known := `{"name":"` + image + `","count":3,"performance":1234567.9,"queued":5242880,"jobs":2,"eta":7,"type":"image"}`
	custom := `{"name":"custom/one","count":1,"performance":0,"queued":0,"jobs":0,"eta":0,"type":"image"}`
	special := `{"name":"horde_special::mod#9","count":1,"performance":0,"queued":0,"jobs":0,"eta":0,"type":"image"}`
	written := `{"name":"` + text + `","count":2,"performance":0,"queued":0,"jobs":1,"eta":10000,"type":"text"}`
	twice := func(s string) string { return url.PathEscape(url.PathEscape(s)) }
	for _, tt := range []struct{ path, want string }{
		{"", "[" + known + "," + custom + "]"},
		{"?type=image&model_state=known", "[" + known + "]"},
		{"?model_state=custom", "[" + custom + "]"},
		{"?min_count=2", "[" + known + "]"},
		{"?max_count=2&min_count=1", "[" + custom + "]"},
		{"?type=text", "[" + written + "]"},
		{"?type=odd", "[]"},
		{"/" + twice(image), "[" + known + "]"},
		{"/" + twice(text), "[" + written + "]"},
		{"/" + twice("custom/one"), "[]"},
		{"/" + twice("horde_special::mod#9"), "[" + special + "]"},
		{"/none", "[]"},
		{"/50%25", "[]"}, // what is left after decoding once does not decode again
	} {
		t.Run(tt.path, func(t *testing.T) {
			h.T = t
			h.do("GET", "/api/v2/status/models"+tt.path, "", nil).wants(200, "").golden(tt.want)
		})
	}
	h.T = t
	h.do("GET", "/api/v2/status/models?model_state=odd", "", nil).wants(400, horde.RCBadRequest)
	if got := h.do("GET", "/api/v2/status/models?min_count=x", "", nil).wants(400, "").errorsAt(); got != "min_count" {
		t.Errorf("errors at %q, want min_count", got)
	}
}

// knownModels returns an image and a text model of the harness's references.
func knownModels(t *testing.T, h *harness) (image, text string) {
	t.Helper()
	models := h.s.deps.Models.(*fakeModels)
	for name := range models.images {
		image = name
	}
	for name := range models.texts {
		text = name
	}
	if image == "" || text == "" {
		t.Fatal("the harness has no models")
	}
	return image, text
}

func TestModes(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	const path = "/api/v2/status/modes"
	h.do("GET", path, "", nil).golden(`{"maintenance_mode":false,"invite_only_mode":false}`)
	h.do("GET", path, modKey, nil).golden(`{"maintenance_mode":false,"invite_only_mode":false,"raid_mode":false}`)
	h.do("GET", path, aliceKey, nil).wants(403, horde.RCNotModerator)
	h.do("GET", path, "who", nil).wants(401, horde.RCInvalidAPIKey)
	h.do("PUT", path, "", `{"raid_mode": true}`).wants(400, "")
	h.do("PUT", path, "who", `{"raid_mode": true}`).wants(401, horde.RCInvalidAPIKey)
	h.do("PUT", path, aliceKey, `{"raid_mode": true}`).wants(403, horde.RCNotModerator)
	h.do("PUT", path, modKey, `{"maintenance_mode": true}`).wants(403, horde.RCNotAdmin)
	h.do("PUT", path, modKey, `{}`).wants(400, horde.RCNoHordeModSelected)
	h.do("PUT", path, modKey, `{"raid_mode": true, "invite_only_mode": "false"}`).golden(`{"invite_only_mode":false,"raid_mode":true}`)
	h.do("GET", path, "", nil).golden(`{"maintenance_mode":false,"invite_only_mode":false}`)
	h.do("GET", path, modKey, nil).golden(`{"maintenance_mode":false,"invite_only_mode":false,"raid_mode":true}`)
}

func TestTestUser(t *testing.T) {
	const path = "/api/v2/dev/test-user"
	post := func(h *harness, remote, body string, headers ...string) answer {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.RemoteAddr = remote
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		h.s.Handler().ServeHTTP(w, r)
		return answer{h.T, w.Code, w.Header(), w.Body.String()}
	}
	const local = "127.0.0.1:4000"
	off, _, _ := newAccountHarness(t)
	post(off, local, `{}`).wants(404, "")

	h, registry, _ := newAccountHarness(t, func(c *Config) { c.TestAPIKeys = true })
	post(h, "192.0.2.1:4000", `{}`).wants(403, "")
	post(h, "192.0.2.1:4000", `{}`, "X-Forwarded-For", "127.0.0.1").wants(403, "")
	for _, body := range []string{
		`{"username": 5}`, `{"username": ""}`, `{"oauth_id": 5}`, `{"moderator": "x"}`, `{"trusted": 1}`,
		`{"kudos": -1}`, `{"kudos": "x"}`, `{"kudos": true}`, `{"kudos": 1.5}`, `{"kudos": null}`,
	} {
		post(h, local, body).wants(400, "")
	}
	first := post(h, local, `{"username": "tu", "oauth_id": "tu_1", "kudos": 50, "moderator": false, "trusted": false}`).wants(201, "")
	first.golden(`{"api_key":"fresh-key-000000000001","user_id":"100","username":"tu","alias":"tu#100","kudos":50,"trusted":false,"moderator":false,"created":true}`)
	post(h, "[::1]:4000", `{"username": "tu", "oauth_id": "tu_1", "kudos": 70, "trusted": true}`).wants(200, "").
		golden(`{"api_key":"fresh-key-000000000002","user_id":"100","username":"tu","alias":"tu#100","kudos":70,"trusted":false,"moderator":false,"created":false}`)
	post(h, local, `{"oauth_id": "3e0f4d0e-0f0a-4b7e-9d53-000000000001"}`).wants(201, "")
	if u, _ := registry.User(102); u.Class != horde.ClassPseudonymous || u.Name != "test_user" || !u.Is(horde.RoleModerator) || u.Kudos != horde.Whole(10_000) {
		t.Errorf("defaults made %+v", u)
	}
}

func TestRegister(t *testing.T) {
	form := func(h *harness, name string) answer {
		b := newBrowser(h)
		b.open("/register")
		return b.submit("/register", "username", name)
	}
	t.Run("form", func(t *testing.T) {
		h, _, _ := newAccountHarness(t)
		page := h.do("GET", "/register", "", nil).wants(200, "")
		for _, want := range []string{`<label for="username">`, `id="username"`, `<html lang="en">`, `action="/register"`} {
			if !strings.Contains(page.body, want) {
				t.Errorf("the form lacks %s", want)
			}
		}
		if policy := page.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'self';") {
			t.Errorf("policy %q, want one that begins with nothing and allows the node's own style", policy)
		}
	})
	t.Run("account", func(t *testing.T) {
		h, registry, _ := newAccountHarness(t)
		page := form(h, " new <b>one</b> ").wants(200, "")
		if !strings.Contains(page.body, "fresh-key-000000000001") || !strings.Contains(page.body, "#100") {
			t.Errorf("no key or alias in %s", page.body)
		}
		if page.header.Get("Cache-Control") != "no-store" {
			t.Error("the page with the key may be cached")
		}
		if strings.Contains(page.body, "<b>one") {
			t.Error("markup of the name is on the page")
		}
		if u, _ := registry.User(100); u.Class != horde.ClassPseudonymous || u.Name != "new &lt;b&gt;one&lt;/b&gt;" {
			t.Errorf("made %+v", u)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		h, registry, _ := newAccountHarness(t)
		for name, status := range map[string]int{"": 400, "  ": 400, "fuck": 400, strings.Repeat("x", 31): 400} {
			page := form(h, name)
			if page.status != status || !strings.Contains(page.body, `role="alert"`) {
				t.Errorf("%q: status %d, want %d and an alert: %s", name, page.status, status, page.body)
			}
		}
		registry.modes.Raid = true
		if page := form(h, "someone"); page.status != http.StatusForbidden {
			t.Errorf("raid mode: status %d, want 403", page.status)
		}
		if registry.made != 0 {
			t.Errorf("%d accounts were made", registry.made)
		}
	})
	t.Run("scripts", func(t *testing.T) {
		h, registry, _ := newAccountHarness(t)
		want := `{"api_key":"fresh-key-000000000001","alias":"bot#100"}`
		h.do("POST", "/register", "", map[string]any{"username": "bot"}, "Accept", "application/json").wants(200, "").golden(want)
		h.do("POST", "/register", "", "username=bot", "Accept", "application/json", "Content-Type", "application/x-www-form-urlencoded").
			wants(200, "").golden(`{"api_key":"fresh-key-000000000002","alias":"bot#101"}`)
		h.do("POST", "/register", "", `{broken`, "Accept", "application/json").wants(400, horde.RCBadRequest)
		h.do("POST", "/register", "", `{"username": "fuck"}`, "Accept", "application/json").wants(400, horde.RCProfaneUserName)
		h.do("POST", "/register", "", "username="+strings.Repeat("x", 5000), "Accept", "application/json", "Content-Type", "application/x-www-form-urlencoded").wants(413, "")
		h.do("POST", "/register", "", "x", "Accept", "application/json", "Content-Type", "text/plain").wants(400, horde.RCBadRequest)
		registry.modes.Raid = true
		h.do("POST", "/register", "", `{"username": "bot"}`, "Accept", "application/json").wants(403, horde.RCForbidden)
		if strings.Contains(h.log.String(), "fresh-key") {
			t.Error("a key was logged")
		}
	})
}

func TestServiceInfo(t *testing.T) {
	h, _, _ := newAccountHarness(t, func(c *Config) { c.PublicURL = "https://node.example" })
	h.do("GET", "/.well-known/serviceinfo", "", nil).wants(200, "").golden(`{"api":{"aihorde":{"base_url":"https://node.example","documentation":"https://node.example/api/swagger.json","name":"AI Horde API","rel_url":"/api/v2","version":"2.5"}},"software":{"homepage":"https://node.example/","logo":"","name":"hordenode","repository":"","version":"5.1.5"},"version":"0.2"}`)
	h.do("GET", "/api/v2/nothing/here", "", nil).wants(404, "")
}
