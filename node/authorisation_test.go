package node_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hordenode/node/nodetest"
)

// The authorisation matrix is testdata/authorisation.txt: for every route of a real node, what
// each kind of caller is answered. A row is
//
//	METHOD PATH | body | no key, unknown key, anonymous, user, owner, worker owner, moderator, admin
//
// with a status, and after a slash the return code if there is one. {names} in paths and bodies
// stand for things that the owner made (a worker and its messages: the worker owner). What
// somebody changed is made anew for the next caller.

// callers are the columns.
var callers = []string{"none", "unknown", "anonymous", "user", "owner", "workerowner", "moderator", "admin"}

// A matrix is a node with somebody of every kind.
type matrix struct {
	*testing.T
	n     *nodetest.Node
	keys  map[string]string // by caller; "none" has none
	ids   map[string]string // of their accounts
	made  map[string]string // things by name
	count int
}

func TestSecurity20Authorisation(t *testing.T) {
	m := newMatrix(t)
	routes := m.routes()
	covered := map[string]bool{}
	for _, line := range tableLines(t, "testdata/authorisation.txt") {
		cells := strings.Split(line, "|")
		if len(cells) != 3 {
			t.Fatalf("row without three cells: %s", line)
		}
		method, path, _ := strings.Cut(strings.TrimSpace(cells[0]), " ")
		route, _, _ := strings.Cut(method+" "+literal.ReplaceAllString(path, "{$1}"), "?")
		covered[route] = true
		if !slices.Contains(routes, route) {
			t.Errorf("%s %s is in the table, but there is no such route", method, path)
			continue
		}
		want := strings.Fields(cells[2])
		if len(want) == 1 {
			want = slices.Repeat(want, len(callers))
		}
		if len(want) != len(callers) {
			t.Fatalf("row with %d answers, want %d: %s", len(want), len(callers), line)
		}
		var got []string
		for _, who := range callers {
			got = append(got, m.call(who, method, path, strings.TrimSpace(cells[1])))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s %s %s\n got %s\nwant %s", method, path, strings.TrimSpace(cells[1]), strings.Join(got, " "), strings.Join(want, " "))
		}
	}
	for _, r := range routes {
		if !covered[r] {
			t.Errorf("%s is not in node/testdata/authorisation.txt: add a row that says who may call it", r)
		}
	}
}

func tableLines(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			rows = append(rows, line)
		}
	}
	return rows
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	m := &matrix{
		T: t, n: nodetest.Run(t, nodetest.Config(t, "a")),
		keys: map[string]string{"unknown": "unknown-key-0000000000", "anonymous": "0000000000"}, ids: map[string]string{}, made: map[string]string{},
	}
	for _, who := range []string{"admin", "user", "owner", "workerowner", "moderator"} { // the first test user gets the founder's account
		m.person(who)
	}
	return m
}

// person makes a caller, anew if it was there. An admin need not be a moderator.
func (m *matrix) person(who string) {
	m.Helper()
	m.count++
	name := fmt.Sprintf("%s%d", who, m.count)
	made := m.make("none", "POST", "/api/v2/dev/test-user", map[string]any{
		"username": name, "oauth_id": "test_" + name, "kudos": 10_000, "moderator": who == "moderator", "trusted": who != "user",
	})
	m.keys[who], m.ids[who] = fmt.Sprint(made["api_key"]), fmt.Sprint(made["user_id"])
}

// routes are all methods of all paths that the node documents, which are all it serves.
func (m *matrix) routes() []string {
	m.Helper()
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	must(m.T, nodetest.REST{URL: m.n.URL()}, "GET", "/api/openapi.json", nil, &doc)
	var all []string
	for path, methods := range doc.Paths {
		for method := range methods {
			if method != "parameters" {
				all = append(all, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(all)
	return all
}

var (
	placeholder = regexp.MustCompile(`\{[a-z_]+\}`)
	literal     = regexp.MustCompile(`\{([a-z_]+):([^}]*)\}`) // {user_id:0} is the user 0
)

// call makes one call as somebody and returns how it was answered.
func (m *matrix) call(who, method, path, body string) string {
	m.Helper()
	fill := func(s string) string {
		return placeholder.ReplaceAllStringFunc(s, func(name string) string { return m.thing(path, strings.Trim(name, "{}")) })
	}
	url, body := fill(literal.ReplaceAllString(path, "$2")), fill(body)
	status, answer := m.send(who, method, url, body)
	if status < 300 && method != "GET" && !strings.Contains(path, "/operations/") { // what was there may be another now, or gone
		clear(m.made)
		if strings.HasPrefix(path, "/api/v2/users/") {
			m.person("owner")
		}
	}
	var e struct{ RC string }
	if err := json.Unmarshal(answer, &e); err != nil || e.RC == "" {
		return fmt.Sprint(status)
	}
	return fmt.Sprintf("%d/%s", status, strings.ReplaceAll(e.RC, " ", "_"))
}

func (m *matrix) send(who, method, url, body string) (int, []byte) {
	m.Helper()
	r, err := http.NewRequest(method, m.n.URL()+url, strings.NewReader(body))
	if err != nil {
		m.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if key, ok := m.keys[who]; ok {
		r.Header.Set("apikey", key)
	}
	client := http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		m.Fatal(err)
	}
	defer res.Body.Close()
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return res.StatusCode, nil
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		m.Fatalf("%s %s: %v", method, url, err)
	}
	return res.StatusCode, b
}

// make calls as somebody who may, and returns the answer.
func (m *matrix) make(who, method, path string, body any) map[string]any {
	m.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		m.Fatal(err)
	}
	status, answer := m.send(who, method, path, string(b))
	var out map[string]any
	if err := json.Unmarshal(answer, &out); err != nil || status >= 300 {
		m.Fatalf("%s %s as %s: %d %.300s %v", method, path, who, status, answer, err)
	}
	return out
}

// thing is what a {name} of a path stands for.
func (m *matrix) thing(path, name string) string {
	m.Helper()
	if name == "id" { // of a request, by the path that it is asked for at
		switch {
		case strings.Contains(path, "/interrogate/"):
			name = "form_request"
		case strings.Contains(path, "/text/"):
			name = "text_request"
		default:
			name = "image_request"
		}
	}
	if name == "style_id" || name == "style_name" {
		kind, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/v2/styles/"), "/")
		name = strings.TrimSuffix(kind, "_by_name") + "_" + name
	}
	if v, ok := m.made[name]; ok {
		return v
	}
	m.count++
	unique := fmt.Sprintf("thing %d", m.count)
	keep := func(names ...string) {
		for i := 0; i+1 < len(names); i += 2 {
			m.made[names[i]] = names[i+1]
		}
	}
	id := func(v map[string]any) string { return fmt.Sprint(v["id"]) }
	switch name {
	case "user_id":
		return m.ids["owner"]
	case "other_id":
		return m.ids["user"]
	case "p", "np": // of styles' prompts
		return "{" + name + "}"
	case "worker_id", "worker_name", "worker_title", "message_id":
		m.person("workerowner") // nobody may have many workers
		m.make("workerowner", "POST", "/api/v2/generate/text/pop", map[string]any{"name": unique, "models": []string{"none/such"}, "max_length": 80, "max_context_length": 1024, "bridge_agent": "test:1:x"})
		worker := m.make("none", "GET", "/api/v2/workers/name/"+strings.ReplaceAll(unique, " ", "%20"), nil)
		message := m.make("workerowner", "POST", "/api/v2/workers/messages", map[string]any{"worker_id": id(worker), "message": "hello there"})
		keep("worker_id", id(worker), "worker_title", unique, "worker_name", strings.ReplaceAll(unique, " ", "%20"), "message_id", id(message))
	case "team_id":
		keep(name, id(m.make("owner", "POST", "/api/v2/teams", map[string]any{"name": unique, "info": "a team"})))
	case "sharedkey_id":
		keep(name, id(m.make("owner", "PUT", "/api/v2/sharedkeys", map[string]any{"kudos": 10, "name": unique})))
	case "image_style_id", "image_style_name", "example_id":
		style := m.make("owner", "POST", "/api/v2/styles/image", map[string]any{"name": unique, "info": "a style of a test", "prompt": "{p} {np}", "models": []string{"stable_diffusion"}, "params": map[string]any{"steps": 10}})
		example := m.make("owner", "POST", "/api/v2/styles/image/"+id(style)+"/example", map[string]any{"url": "https://example.org/" + id(style), "primary": true})
		keep("image_style_id", id(style), "image_style_name", strings.ReplaceAll(unique, " ", "%20"), "example_id", id(example))
	case "text_style_id", "text_style_name":
		style := m.make("owner", "POST", "/api/v2/styles/text", map[string]any{"name": unique, "info": "a style of a test", "prompt": "{p}", "models": []string{"none/such"}})
		keep("text_style_id", id(style), "text_style_name", strings.ReplaceAll(unique, " ", "%20"))
	case "collection_id", "collection_name":
		c := m.make("owner", "POST", "/api/v2/collections", map[string]any{"name": unique, "info": "a collection", "styles": []string{m.thing("/api/v2/styles/image/{style_id}", "style_id")}})
		keep("collection_id", id(c), "collection_name", strings.ReplaceAll(unique, " ", "%20"))
	case "filter_id":
		keep(name, id(m.make("moderator", "PUT", "/api/v2/filters", map[string]any{"regex": "forbidden" + fmt.Sprint(m.count), "filter_type": 10, "description": "of a test"})))
	case "image_request":
		keep(name, id(m.make("owner", "POST", "/api/v2/generate/async", map[string]any{"prompt": "a boat", "models": []string{"none"}, "params": map[string]any{"steps": 1, "width": 64, "height": 64}})))
	case "text_request":
		keep(name, id(m.make("owner", "POST", "/api/v2/generate/text/async", map[string]any{"prompt": "a boat", "models": []string{"none/such"}})))
	case "form_request":
		keep(name, id(m.make("owner", "POST", "/api/v2/interrogate/async", map[string]any{"source_image": pixel, "forms": []map[string]any{{"name": "caption"}}})))
	case "text_job":
		m.make("owner", "POST", "/api/v2/generate/text/async", request("a boat"))
		m.person("workerowner")
		for deadline := time.Now().Add(30 * time.Second); m.made[name] == ""; {
			job := m.make("workerowner", "POST", "/api/v2/generate/text/pop", poll(unique))
			if job["id"] != nil {
				keep(name, id(job))
			} else if time.Now().After(deadline) {
				m.Fatal("no job for the worker")
			} else {
				time.Sleep(10 * time.Millisecond)
			}
		}
	case "unique":
		return unique
	case "pixel":
		return pixel
	default:
		keep(name, name) // whatever it is
	}
	return m.made[name]
}
