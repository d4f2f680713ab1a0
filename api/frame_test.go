package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"hordenode/internal/horde"
)

func TestUnknownPaths(t *testing.T) {
	h := newHarness(t)
	for _, path := range []string{"/api/v2/nothing", "/api/v2/generate/async/", "/api//v2/generate/async", "/api/v2/x/../generate/async", "/favicon.ico"} {
		t.Run(path, func(t *testing.T) {
			a := h.do("GET", path, "", nil).wants(404, "")
			if got := a.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
				t.Errorf("Content-Type %q", got)
			}
		})
	}
}

func TestMethods(t *testing.T) {
	h := newHarness(t)
	for _, tt := range []struct {
		method, path string
		allow        string
	}{
		{"GET", "/api/v2/generate/async", "OPTIONS, POST"},
		{"PATCH", "/api/v2/generate/text/async", "OPTIONS, POST"},
		{"DELETE", "/api/v2/generate/check/x", "GET, HEAD, OPTIONS"},
		{"POST", "/api/v2/generate/status/x", "DELETE, GET, HEAD, OPTIONS"},
	} {
		a := h.do(tt.method, tt.path, "", nil).wants(405, "")
		if got := a.header.Get("Allow"); got != tt.allow {
			t.Errorf("%s %s: Allow %q, want %q", tt.method, tt.path, got, tt.allow)
		}
	}
	a := h.do("OPTIONS", "/api/v2/generate/async", "", nil)
	if a.status != 200 || a.body != "" || a.header.Get("Allow") != "OPTIONS, POST" {
		t.Errorf("preflight: %d %q, Allow %q", a.status, a.body, a.header.Get("Allow"))
	}
	if a := h.do("HEAD", "/api/v2/generate/check/x", "", nil); a.status != 404 {
		t.Errorf("HEAD is not served as GET: %d", a.status)
	}
}

func TestHeadersOnEveryAnswer(t *testing.T) {
	h := newHarness(t)
	h.s.mux.Handle("/boom", h.s.endpoint([]route{{method: "GET", handle: func(http.ResponseWriter, *http.Request) error { panic("boom") }}}))
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"OPTIONS", "/api/v2/generate/async", 200},
		{"GET", "/api/v2/generate/check/x", 404},
		{"GET", "/nowhere", 404},
		{"PUT", "/api/v2/generate/async", 405},
		{"GET", "/boom", 500},
	} {
		a := h.do(tt.method, tt.path, "", nil)
		if a.status != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, a.status, tt.status)
		}
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin":  "*",
			"Access-Control-Allow-Methods": "POST, GET, OPTIONS, PUT, DELETE, PATCH",
			"Access-Control-Allow-Headers": "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, apikey, Client-Agent, X-Fields, X-Forwarded-For, Proxied-For, Proxy-Authorization",
			"Horde-Node":                   "node1:7001:5.1.5",
			"X-Content-Type-Options":       "nosniff",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s %s: %s is %q, want %q", tt.method, tt.path, name, got, want)
			}
		}
	}
}

func TestPanicIsOne500(t *testing.T) {
	h := newHarness(t)
	h.s.mux.Handle("/boom", h.s.endpoint([]route{{method: "GET", handle: func(http.ResponseWriter, *http.Request) error { panic("secret detail") }}}))
	h.do("GET", "/boom", "", nil).wants(500, "").golden(`{"message":"Internal Server Error"}`)
	if log := h.log.String(); !strings.Contains(log, "secret detail") || !strings.Contains(log, "frame_test.go") {
		t.Errorf("the log has no panic with stack: %s", log)
	}
	h.do("GET", "/api/v2/generate/check/x", "", nil).wants(404, horde.RCRequestNotFound)
}

func TestErrorsToHTTP(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		status int
		body   string
	}{
		{"refusal", horde.Refuse(horde.RCKudosUpfront, "no"), 403, `{"message":"no","rc":"KudosUpfront"}`},
		{"bare code", horde.RCInvalidJobID, 404, `{"message":"InvalidJobID","rc":"InvalidJobID"}`},
		{"cause stays here", &horde.Error{RC: horde.RCLocked, Msg: "busy", Err: errors.New("row 7")}, 423, `{"message":"busy","rc":"Locked"}`},
		{"unlisted code", horde.Refuse("Novel", "hm"), 400, `{"message":"hm","rc":"Novel"}`},
		{"too many", horde.Refuse(horde.RCTooManyPrompts, "wait"), 429, `{"message":"wait","rc":"TooManyPrompts"}`},
		{"overridden", withStatus(400, horde.Refuse(horde.RCDeletedUser, "gone")), 400, `{"message":"gone","rc":"DeletedUser"}`},
		{"validation", invalid("a.b", "is bad"), 400, `{"errors":{"a.b":"is bad"},"message":"Input payload validation failed"}`},
		{"unavailable", horde.Refuse(horde.RCUnavailable, "later"), 503, `{"message":"later","rc":"Unavailable"}`},
		{"unknown", errors.New("disk on fire"), 500, `{"message":"Internal Server Error"}`},
		{"overridden unknown", withStatus(400, errors.New("disk on fire")), 500, `{"message":"Internal Server Error"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			h.s.mux.Handle("/fail", h.s.endpoint([]route{{method: "GET", handle: func(http.ResponseWriter, *http.Request) error { return tt.err }}}))
			a := h.do("GET", "/fail", "", nil, "X-Fields", "nothing")
			if a.status != tt.status {
				t.Errorf("status %d, want %d", a.status, tt.status)
			}
			a.golden(tt.body)
			if got := a.header.Get("Retry-After"); (got == "1") != (tt.status == 503) {
				t.Errorf("Retry-After %q with %d", got, tt.status)
			}
		})
	}
}

// noReader fails the test when it is read.
type noReader struct{ t *testing.T }

func (r noReader) Read([]byte) (int, error) {
	r.t.Error("the body was read")
	return 0, io.EOF
}

// zeros is an endless body.
type zeros struct{ read int }

func (z *zeros) Read(p []byte) (int, error) {
	z.read += len(p)
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestLargeBodies(t *testing.T) {
	h := newHarness(t)
	for _, path := range []string{"/api/v2/generate/async", "/api/v2/generate/text/async", "/api/v2/generate/pop", "/api/v2/generate/text/submit"} {
		r := httptest.NewRequest("POST", path, noReader{t})
		r.ContentLength = 1 << 30
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.s.Handler().ServeHTTP(w, r)
		answer{t, w.Code, w.Header(), w.Body.String()}.wants(413, "")

		body := &zeros{}
		r = httptest.NewRequest("POST", path, body)
		r.ContentLength = -1
		r.Header.Set("Content-Type", "application/json")
		w = httptest.NewRecorder()
		h.s.Handler().ServeHTTP(w, r)
		answer{t, w.Code, w.Header(), w.Body.String()}.wants(413, "")
		if most := 2*imageBodyMax + 1<<20; body.read > most {
			t.Errorf("%s: %d bytes of an endless body were read", path, body.read)
		}
	}
	if h.accounts.syncs > 0 {
		t.Error("a refused body cost a look-up")
	}
}

func TestMalformedBodies(t *testing.T) {
	h := newHarness(t)
	deep := `{"prompt":"x","params":{"special":` + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40) + "}}"
	many := `{"prompt":"x","unknown":[` + strings.Repeat("0,", maxValues) + "0]}"
	for _, tt := range []struct {
		name, body string
		headers    []string
		status     int
		errors     string
	}{
		{"broken", `{broken`, nil, 400, ""},
		{"empty", ``, nil, 400, ""},
		{"two values", `{"prompt":"x"} {}`, nil, 400, ""},
		{"not UTF-8", "{\"prompt\":\"\xff\"}", nil, 400, ""},
		{"array", `[]`, nil, 400, ""},
		{"string", `"text"`, nil, 400, ""},
		{"null", `null`, nil, 400, ""},
		{"deep", deep, nil, 400, ""},
		{"many values", many, nil, 400, ""},
		{"text", `{"prompt":"x"}`, []string{"Content-Type", "text/plain"}, 400, ""},
		{"compressed", `{"prompt":"x"}`, []string{"Content-Encoding", "gzip"}, 415, ""},
		{"vendor type", `{}`, []string{"Content-Type", "application/vnd.x+json; charset=utf-8"}, 400, "prompt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := h.do("POST", "/api/v2/generate/async", aliceKey, tt.body, tt.headers...).wants(tt.status, "")
			if _, has := a.object()["errors"]; tt.errors == "" && has != (tt.name == "array" || tt.name == "string" || tt.name == "null") {
				t.Errorf("errors: %v in %s", has, a.body)
			}
			if tt.errors != "" && a.errorsAt() != tt.errors {
				t.Errorf("errors at %q, want %q", a.errorsAt(), tt.errors)
			}
		})
	}
	if n := h.board.count(); n > 0 {
		t.Errorf("%d requests were accepted", n)
	}
}

func TestAnswersAreJSONWithOneNewline(t *testing.T) {
	h := newHarness(t)
	h.s.mux.Handle("/names", h.s.endpoint([]route{{method: "GET", handle: func(w http.ResponseWriter, _ *http.Request) error {
		return encode(w, 201, struct {
			B string `json:"b"`
			A []int  `json:"a"`
		}{"<ä&>", []int{}})
	}}}))
	a := h.do("GET", "/names", "", nil)
	a.golden(`{"b":"<ä&>","a":[]}`)
	if a.status != 201 || a.header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("%d %q", a.status, a.header.Get("Content-Type"))
	}
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.NoRateLimits = false })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 20 {
				key := horde.APIKey(fmt.Sprint("unknown", i, n%3))
				if n%2 == 0 {
					key = aliceKey
				}
				for _, path := range []string{"/api/v2/generate/text/async", "/api/v2/generate/pop"} {
					r := httptest.NewRequest("POST", path, strings.NewReader(`{"prompt":"x","name":"w","models":["small"]}`))
					r.Header.Set("Content-Type", "application/json")
					r.Header.Set("apikey", string(key))
					w := httptest.NewRecorder()
					h.s.Handler().ServeHTTP(w, r)
					if w.Code >= 500 && w.Code != 503 {
						t.Errorf("%s: %d %s", path, w.Code, w.Body)
					}
				}
			}
		})
	}
	wg.Wait()
}
