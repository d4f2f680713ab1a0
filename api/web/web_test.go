package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// A source tells how often it was asked; the answer changes when told to.
type source struct {
	mu    sync.Mutex
	asked int
	o     Overview
}

func (s *source) Overview() Overview {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.o
}

func (s *source) set(o Overview) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o = o
}

func get(t *testing.T, h http.Handler, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestPagesAndAssets(t *testing.T) {
	h := Handler(&source{})
	for _, tt := range []struct {
		path, contentType string
		status            int
	}{
		{"/", "text/html; charset=utf-8", 200},
		{"/assets/page.css", "text/css; charset=utf-8", 200},
		{"/assets/page.js", "text/javascript; charset=utf-8", 200},
		{"/assets/pages.css", "text/css; charset=utf-8", 200},
		{"/assets/pages.js", "text/javascript; charset=utf-8", 200},
		{"/assets/mark.svg", "image/svg+xml", 200},
		{"/assets/", "", 404},
		{"/assets/none.css", "", 404},
		{"/assets/../web.go", "", 404},
		{"/index.html", "", 404},
	} {
		resp := get(t, h, tt.path)
		if resp.StatusCode != tt.status && resp.StatusCode != http.StatusMovedPermanently && resp.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("%s: got %d, want %d", tt.path, resp.StatusCode, tt.status)
		}
		if tt.status != 200 {
			continue
		}
		if got := resp.Header.Get("Content-Type"); got != tt.contentType {
			t.Errorf("%s: Content-Type: got %q, want %q", tt.path, got, tt.contentType)
		}
		if got := resp.Header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'self'") || strings.Contains(got, "unsafe") {
			t.Errorf("%s: policy: got %q, want self only", tt.path, got)
		}
		etag := resp.Header.Get("ETag")
		if again := get(t, h, tt.path, "If-None-Match", etag); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s again with its ETag %s: got %d, want 304", tt.path, etag, again.StatusCode)
		}
	}
}

// What the policy forbids must not be in the page, or it would break without a word.
func TestPageKeepsItsPolicy(t *testing.T) {
	h := Handler(&source{})
	for _, path := range []string{"/", "/assets/page.css", "/assets/page.js", "/assets/pages.css", "/assets/pages.js", "/assets/mark.svg"} {
		b, err := io.ReadAll(get(t, h, path).Body)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer(`xmlns="http://www.w3.org/2000/svg"`, "", `"http://www.w3.org/2000/svg"`, "", "http://127.0.0.1:7001", "").Replace(string(b))
		for _, bad := range []string{`\sstyle=`, `\son[a-z]+=`, `<script>`, `<style`, `https?://[a-z]`, `@import`, `url\(`, `innerHTML`, `eval\(`} {
			if found := regexp.MustCompile(bad).FindString(text); found != "" {
				t.Errorf("%s has %q, which the policy forbids or which loads from elsewhere", path, found)
			}
		}
	}
}

// Every id that the script asks for is in the page.
func TestScriptFindsItsElements(t *testing.T) {
	h := Handler(&source{})
	page, _ := io.ReadAll(get(t, h, "/").Body)
	script, _ := io.ReadAll(get(t, h, "/assets/page.js").Body)
	asked := regexp.MustCompile(`(?:\$|put)\("([a-z-]+)"`).FindAllSubmatch(script, -1)
	if len(asked) < 10 {
		t.Fatalf("found %d ids in the script, want more than 10", len(asked))
	}
	for _, m := range asked {
		if !strings.Contains(string(page), `id="`+string(m[1])+`"`) {
			t.Errorf("the script asks for id %q, which the page does not have", m[1])
		}
	}
}

func TestOverviewIsCachedForATick(t *testing.T) {
	src := &source{o: Overview{Node: "a"}}
	now := time.Unix(0, 0)
	h := &handler{src: src, tick: time.Second, now: func() time.Time { return now }}
	ask := func() Overview {
		w := httptest.NewRecorder()
		h.overview(w, nil)
		var o Overview
		if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	ask()
	src.set(Overview{Node: "b"})
	if got := ask(); got.Node != "a" || src.asked != 1 {
		t.Errorf("within a tick: got %q after %d questions, want the first answer again", got.Node, src.asked)
	}
	now = now.Add(time.Second)
	if got := ask(); got.Node != "b" {
		t.Errorf("after a tick: got %q, want b", got.Node)
	}
}

// events opens a stream and returns its lines.
func events(t *testing.T, url string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/fed/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp, bufio.NewScanner(resp.Body)
}

func next(t *testing.T, s *bufio.Scanner, prefix string) string {
	t.Helper()
	for s.Scan() {
		if rest, ok := strings.CutPrefix(s.Text(), prefix); ok {
			return rest
		}
	}
	t.Fatalf("the stream ended before %q: %v", prefix, s.Err())
	return ""
}

func start(t *testing.T, src Source, slots int) *httptest.Server {
	h := &handler{src: src, slots: make(chan struct{}, slots), tick: time.Millisecond, beat: 5 * time.Millisecond, now: time.Now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/fed/v1/events", h.events)
	srv := httptest.NewServer(mux)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return srv
}

func TestEvents(t *testing.T) {
	src := &source{o: Overview{Node: "a", Totals: Totals{Jobs: 1}}}
	resp, lines := events(t, start(t, src, 1).URL)
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type: got %q", got)
	}
	next(t, lines, "retry: ")
	for _, want := range []int64{1, 2, 3} {
		if got := next(t, lines, "event: "); got != "overview" {
			t.Errorf("event: got %q, want overview", got)
		}
		var o Overview
		if err := json.Unmarshal([]byte(next(t, lines, "data: ")), &o); err != nil || o.Totals.Jobs != want {
			t.Errorf("got %d jobs (%v), want %d", o.Totals.Jobs, err, want)
		}
		// Nothing changed: a heartbeat comes, and no event before it.
		if got := next(t, lines, ""); got != "" {
			t.Errorf("after the event: got %q, want an empty line", got)
		}
		if got := next(t, lines, ""); !strings.HasPrefix(got, ":") {
			t.Errorf("while nothing changed: got %q, want a comment", got)
		}
		src.set(Overview{Node: "a", Totals: Totals{Jobs: want + 1}})
	}
}

func TestEventsAreBounded(t *testing.T) {
	srv := start(t, &source{}, 1)
	first, lines := events(t, srv.URL)
	next(t, lines, "data: ")
	resp, _ := events(t, srv.URL)
	var body struct{ Message string }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body.Message == "" {
		t.Errorf("got no message: %v", err)
	}
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %d, Retry-After %q, want 503 with one", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	first.Body.Close()
	for { // the place is free once the server has seen that the first one left
		resp, _ := events(t, srv.URL)
		if resp.StatusCode == 200 {
			return
		}
	}
}

func TestNullsForWhatIsNotKnown(t *testing.T) {
	b, err := json.Marshal(Overview{Nodes: []Node{{Name: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"rtt_ms":null`, `"load":null`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("got %s, want %s in it: the page tells 0 ms from not measured", b, want)
		}
	}
}
