package api

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"hordenode/internal/horde"
)

// RotateKey gives a user of the fake a new key, as the ledger does.
func (f *fakeRegistry) RotateKey(_ context.Context, id horde.UserID) (horde.APIKey, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return "", f.err
	}
	return f.newKey(f.users[id]), nil
}

// A browser keeps cookies and sends forms with the token of the page that it last saw.
type browser struct {
	*harness
	cookies map[string]string
	fields  url.Values // hidden fields of the last page's first form that has any
	set     []*http.Cookie
}

func newBrowser(h *harness) *browser {
	return &browser{harness: h, cookies: map[string]string{}}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`)

func (b *browser) keep(a answer) answer {
	b.set = (&http.Response{Header: a.header}).Cookies()
	for _, c := range b.set {
		b.cookies[c.Name] = c.Value
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	if found := hidden.FindAllStringSubmatch(a.body, -1); len(found) > 0 {
		b.fields = url.Values{}
		for _, m := range found {
			b.fields.Set(m[1], m[2])
		}
	}
	return a
}

func (b *browser) sent() string {
	var list []string
	for name, value := range b.cookies {
		list = append(list, name+"="+value)
	}
	return strings.Join(list, "; ")
}

func (b *browser) open(path string, headers ...string) answer {
	b.Helper()
	return b.keep(b.do("GET", path, "", nil, append(headers, "Cookie", b.sent())...))
}

// submit sends a form: pairs of names and values, and the page's hidden fields.
func (b *browser) submit(path string, pairs ...string) answer {
	b.Helper()
	form := url.Values{}
	for name, values := range b.fields {
		form[name] = values
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return b.keep(b.do("POST", path, "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Cookie", b.sent()))
}

// logIn opens the account page and logs in.
func (b *browser) logIn(key horde.APIKey) {
	b.Helper()
	b.open("/profile")
	if a := b.submit("/profile", "apikey", string(key)); a.status != http.StatusSeeOther {
		b.Fatalf("log in: status %d, want 303: %s", a.status, a.body)
	}
}

func TestSession(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	b := newBrowser(h)
	if page := b.open("/profile").wants(200, ""); !strings.Contains(page.body, `<label for="apikey">`) {
		t.Errorf("no form to log in: %s", page.body)
	}
	if page := b.submit("/profile", "apikey", "wrong"); page.status != 401 || !strings.Contains(page.body, `role="alert"`) {
		t.Errorf("wrong key: status %d, want 401 and an alert", page.status)
	}
	if page := b.submit("/profile", "apikey", string(horde.AnonymousKey)); page.status != 403 {
		t.Errorf("the anonymous key: status %d, want 403", page.status)
	}
	b.logIn(aliceKey)
	for _, c := range b.set {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Secure {
			t.Errorf("cookie %s: got %+v, want HttpOnly, Lax, for all paths, not Secure over plain HTTP", c.Name, c)
		}
		if strings.Contains(c.Value, aliceKey) {
			t.Errorf("cookie %s holds the key in the clear", c.Name)
		}
	}
	page := b.open("/profile").wants(200, "")
	if !strings.Contains(page.body, "alice#7") || page.header.Get("Cache-Control") != "no-store" || strings.Contains(page.body, aliceKey) {
		t.Errorf("want alice's page, not kept and without her key, got %s", page.body)
	}
	// The API looks at no cookie.
	b.do("GET", "/api/v2/find_user", "", nil, "Cookie", b.sent()).wants(401, horde.RCInvalidAPIKey)

	h.clock.advance(sessionTime - 1)
	if page := b.open("/profile"); !strings.Contains(page.body, "alice#7") {
		t.Error("the session ended early")
	}
	h.clock.advance(1)
	if page := b.open("/profile"); strings.Contains(page.body, "alice#7") {
		t.Error("the session did not end")
	}
	b.logIn(aliceKey)
	b.open("/profile")
	if a := b.submit("/profile/logout"); a.status != 303 || b.cookies[sessionCookie] != "" {
		t.Errorf("log out: status %d, session %q, want 303 and none", a.status, b.cookies[sessionCookie])
	}
	b.cookies[sessionCookie] = "AAAA" + strings.Repeat("x", 60)
	if page := b.open("/profile").wants(200, ""); strings.Contains(page.body, "alice#7") {
		t.Error("a forged cookie was believed")
	}
}

func TestSecureCookies(t *testing.T) {
	h, _, _ := newAccountHarness(t, func(c *Config) { c.PublicURL = "https://node.example" })
	b := newBrowser(h)
	b.logIn(aliceKey)
	if len(b.set) != 1 || !b.set[0].Secure {
		t.Errorf("over https: got %+v, want one Secure cookie", b.set)
	}
}

func TestFormsNeedTheirToken(t *testing.T) {
	forms := map[string][]string{
		"/register":       {"username", "new"},
		"/profile":        {"apikey", aliceKey},
		"/profile/key":    {"apikey", aliceKey},
		"/profile/logout": nil,
		"/transfer":       {"username", "owner#8", "amount", "5"},
	}
	for path, fields := range forms {
		h, registry, _ := newAccountHarness(t)
		b := newBrowser(h)
		b.logIn(aliceKey)
		other := newBrowser(h)
		other.open("/profile")
		for name, token := range map[string]string{"missing": "", "wrong": "x", "of another browser": other.fields.Get("csrf"), "of before the session": b.fields.Get("csrf")} {
			b.fields = url.Values{"csrf": {token}, "once": {"1"}}
			if a := b.submit(path, fields...); a.status != 403 {
				t.Errorf("%s, token %s: status %d, want 403", path, name, a.status)
			}
		}
		b.open("/transfer")
		token := b.fields.Get("csrf")
		for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
			form := url.Values{"csrf": {token}, "once": {"1"}}
			for i := 0; i+1 < len(fields); i += 2 {
				form.Set(fields[i], fields[i+1])
			}
			a := b.do("POST", path, "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Cookie", b.sent(), header[0], header[1])
			if a.status != 403 {
				t.Errorf("%s from elsewhere by %s: status %d, want 403", path, header[0], a.status)
			}
		}
		if registry.made != 0 || b.cookies[sessionCookie] == "" {
			t.Errorf("%s: a refused form had an effect", path)
		}
		if u, _ := registry.User(8); u.Kudos != horde.Whole(500) {
			t.Errorf("%s: a refused form moved kudos", path)
		}
	}
}

func TestRotateKeyPage(t *testing.T) {
	h, registry, _ := newAccountHarness(t)
	b := newBrowser(h)
	b.logIn(aliceKey)
	b.open("/profile")
	for key, status := range map[string]int{"": 401, ownerKey: 403, "wrong": 401} {
		if a := b.submit("/profile/key", "apikey", key); a.status != status {
			t.Errorf("with key %q: status %d, want %d", key, a.status, status)
		}
	}
	if registry.made != 0 {
		t.Fatal("a key was replaced without the old one")
	}
	a := b.submit("/profile/key", "apikey", aliceKey).wants(200, "")
	if !strings.Contains(a.body, "fresh-key-000000000001") || !strings.Contains(a.body, "alice#7") {
		t.Errorf("the new key is not shown: %s", a.body)
	}
	if _, ok := registry.UserByKey(aliceKey); ok {
		t.Error("the old key is still valid")
	}
	if a := b.open("/profile"); !strings.Contains(a.body, "alice#7") || strings.Contains(a.body, "fresh-key") {
		t.Errorf("afterwards: want the account without its key, got %s", a.body)
	}
	if a := b.submit("/profile/logout"); a.status != 303 {
		t.Errorf("log out afterwards: status %d, want 303", a.status)
	}
	if log := h.log.String(); strings.Contains(log, "fresh-key") || strings.Contains(log, aliceKey) {
		t.Error("a key was logged")
	}
}

func TestTransferPage(t *testing.T) {
	h, registry, _ := newAccountHarness(t)
	balance := func() int64 {
		u, _ := registry.User(8)
		return int64(u.Kudos / horde.Whole(1))
	}
	b := newBrowser(h)
	if a := b.open("/transfer?to=owner%238").wants(200, ""); !strings.Contains(a.body, `value="owner#8"`) || !strings.Contains(a.body, `name="apikey"`) {
		t.Errorf("want a form for owner#8 that asks for a key, got %s", a.body)
	}
	for name, fields := range map[string][]string{
		"no key": {"apikey", "", "username", "owner#8", "amount", "5"}, "anonymous": {"apikey", "0000000000", "username", "owner#8", "amount", "5"},
		"no number": {"apikey", aliceKey, "username", "owner", "amount", "5"}, "nobody": {"apikey", aliceKey, "username", "x#999", "amount", "5"},
		"negative": {"apikey", aliceKey, "username", "owner#8", "amount", "-5"}, "part": {"apikey", aliceKey, "username", "owner#8", "amount", "1.5"},
		"too much": {"apikey", aliceKey, "username", "owner#8", "amount", "99999999"},
	} {
		if a := b.submit("/transfer", fields...); a.status < 400 || a.status > 403 || !strings.Contains(a.body, `role="alert"`) {
			t.Errorf("%s: status %d, want a refusal: %s", name, a.status, a.body)
		}
	}
	if got := balance(); got != 500 {
		t.Fatalf("refused transfers moved kudos: %d", got)
	}
	b.logIn(aliceKey)
	b.open("/transfer")
	first := b.fields
	for range 2 { // a form sent twice
		b.fields = first
		if a := b.submit("/transfer", "username", "owner#8", "amount", "5"); a.status != 200 || !strings.Contains(a.body, "5 kudos were sent") {
			t.Errorf("status %d, want 200 and the confirmation: %s", a.status, a.body)
		}
	}
	if got := balance(); got != 505 {
		t.Errorf("balance %d, want 505", got)
	}
}

// evil are names that would run, if they could.
func evil() []string {
	return []string{
		"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, "javascript:alert(1)", "{{.}}<svg/onload=alert(1)>",
		"&lt;script&gt;alert(1)&lt;/script&gt;", "</td></table><iframe src=//evil.example>", "\u202egnp.exe", "<a href='javascript:alert(1)'>x", "--><b>",
	}
}

var live = regexp.MustCompile(`(?i)<(script>|img src=x|svg|iframe|b>|a href=.javascript)|<[^>"]*("[^"]*"[^>"]*)*\son[a-z]+=`)

// Whatever users, workers and models are called, pages show it as text.
func TestNamesAreText(t *testing.T) {
	for i, name := range evil() {
		for _, stored := range []string{name, sanitize(name)} {
			h, registry, workers := newAccountHarness(t)
			h.accounts.change(aliceKey, func(u *horde.User) { u.Name, u.PublicWorkers = stored, true })
			for n, kind := range []horde.Kind{horde.KindImage, horde.KindText, horde.KindAlchemy} {
				registry.addWorker(workers, h.clock.now(), horde.Worker{ID: workerID(byte(n + 1)), Kind: kind, Owner: 7, Name: stored, Info: stored},
					horde.Caps{Models: []string{stored}, BridgeAgent: stored})
			}
			b := newBrowser(h)
			b.logIn(aliceKey)
			pages := map[string]answer{
				"/profile": b.open("/profile"), "/workers": b.open("/workers"), "/workers?type=": b.open("/workers?type=" + url.QueryEscape(name)),
				"/leaderboard": b.open("/leaderboard?sort=" + url.QueryEscape(name)), "/transfer": b.open("/transfer?to=" + url.QueryEscape(name)),
				"transfer to": b.submit("/transfer", "username", name, "amount", name), "register": b.submit("/register", "username", name+" fuck"),
				"/api/": b.open("/api/?q=" + url.QueryEscape(name)),
			}
			for path, a := range pages {
				if found := live.FindString(a.body); found != "" {
					t.Errorf("name %d %q on %s: %q is markup", i, stored, path, found)
				}
				if p := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
					t.Errorf("%s: policy %q", path, p)
				}
				if got := a.header.Get("Access-Control-Allow-Origin"); got != "" {
					t.Errorf("%s may be read by %q", path, got)
				}
			}
			if !strings.Contains(pages["/workers"].body, "alert(1)") && strings.Contains(name, "alert(1)") {
				t.Errorf("name %d is not on the page of workers", i)
			}
		}
	}
}

func TestWorkersPage(t *testing.T) {
	h, registry, workers := newAccountHarness(t)
	registry.addWorker(workers, h.clock.now(), horde.Worker{ID: workerID(1), Kind: horde.KindImage, Owner: 7, Name: "painter"}, horde.Caps{Models: []string{"a", "b", "c", "d", "e"}})
	registry.addWorker(workers, h.clock.now(), horde.Worker{ID: workerID(2), Kind: horde.KindText, Owner: 7, Name: "writer", Maintenance: true}, horde.Caps{})
	registry.addWorker(workers, h.clock.now().Add(-time.Hour), horde.Worker{ID: workerID(3), Kind: horde.KindText, Owner: 7, Name: "sleeper"}, horde.Caps{})
	all := h.do("GET", "/workers", "", nil).wants(200, "").body
	for _, want := range []string{"painter", "writer", "maintenance", "and 2 more", "2 shown"} {
		if !strings.Contains(all, want) {
			t.Errorf("/workers lacks %q", want)
		}
	}
	if strings.Contains(all, "sleeper") || strings.Contains(all, "alice") {
		t.Error("/workers shows who is offline, or owners who did not agree")
	}
	if text := h.do("GET", "/workers?type=text", "", nil).wants(200, "").body; strings.Contains(text, "painter") || !strings.Contains(text, "writer") {
		t.Error("/workers?type=text: want writer only")
	}
}

func TestLeaderboard(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	for i := range 40 {
		h.accounts.add(horde.APIKey(strconv.Itoa(i)), horde.User{ID: horde.UserID(200 + i), Name: "u", Kudos: horde.Whole(int64(10_000 + i)), Created: h.clock.now()})
	}
	first := h.do("GET", "/leaderboard", "", nil).wants(200, "").body
	if !strings.Contains(first, "u#239") || strings.Contains(first, "u#200<") || !strings.Contains(first, "page=2") || strings.Contains(first, "page=0") {
		t.Errorf("first page: want the richest and a link to the second, got %s", first)
	}
	if second := h.do("GET", "/leaderboard?page=2", "", nil).wants(200, "").body; !strings.Contains(second, "u#200") || strings.Contains(second, "page=3") || !strings.Contains(second, "page=1") {
		t.Errorf("second page: want the others and a link back, got %s", second)
	}
	for _, q := range []string{"?page=x", "?page=-4", "?page=99999999999", "?sort=x"} {
		h.do("GET", "/leaderboard"+q, "", nil).wants(200, "")
	}
}

func TestDocumentPages(t *testing.T) {
	files := fstest.MapFS{"terms.md": {Data: []byte("# House rules\n\nBe **kind**. <script>alert(1)</script>\n")}}
	h, _, _ := newAccountHarness(t, func(c *Config) { c.Documents = files })
	page := h.do("GET", "/terms", "", nil).wants(200, "").body
	if !strings.Contains(page, "<h1>House rules</h1>") || !strings.Contains(page, "<strong>kind</strong>") || live.MatchString(page) {
		t.Errorf("/terms: want what the operator wrote, got %s", page)
	}
	if page := h.do("GET", "/privacy", "", nil).wants(200, "").body; !strings.Contains(page, "<h1>Privacy</h1>") {
		t.Errorf("/privacy: want ours, got %s", page)
	}
	if api := h.do("GET", "/api/v2/documents/terms?format=markdown", "", nil).wants(200, "").body; !strings.Contains(api, "House rules") {
		t.Errorf("documents/terms: want the same document, got %s", api)
	}
}

func TestMarkdown(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"# A\nb\nc\n\nd", "<h1>A</h1>\n<p>b c</p>\n<p>d</p>\n"},
		{"#### x *y*", "<h4>x <em>y</em></h4>\n"},
		{"- a\n- b\n\n1. c\n2. d\ne", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n<ol>\n<li>c</li>\n<li>d</li>\n</ol>\n<p>e</p>\n"},
		{"> q", "<blockquote>\n<p>q</p>\n</blockquote>\n"},
		{"**b** *e* `<c>` 2 * 3 * 4", "<p><strong>b</strong> <em>e</em> <code>&lt;c&gt;</code> 2 * 3 * 4</p>\n"},
		{"[x](https://a.example/?a=1&b=2)", `<p><a href="https://a.example/?a=1&amp;b=2" rel="noopener noreferrer nofollow">x</a></p>` + "\n"},
		{"[x](/terms) [y](mailto:a@b.example)", `<p><a href="/terms" rel="noopener noreferrer nofollow">x</a> <a href="mailto:a@b.example" rel="noopener noreferrer nofollow">y</a></p>` + "\n"},
		{"[x](javascript:alert) [y](//evil.example) [z](data:text/html,x)", "<p>[x](javascript:alert) [y](//evil.example) [z](data:text/html,x)</p>\n"},
		{`[x](https://a" onclick="alert)`, `<p>[x](https://a&#34; onclick=&#34;alert)</p>` + "\n"},
		{"![i](https://a.example/x.png)", "<p>![i](https://a.example/x.png)</p>\n"},
		{"<b>x</b> &amp; <!-- -->", "<p>&lt;b&gt;x&lt;/b&gt; &amp;amp; &lt;!-- --&gt;</p>\n"},
		{"**[x](https://a.example)**", `<p><strong><a href="https://a.example" rel="noopener noreferrer nofollow">x</a></strong></p>` + "\n"},
		{"a\r\nb", "<p>a b</p>\n"},
	} {
		if got := documentHTML(tt.in); got != tt.want {
			t.Errorf("documentHTML(%q)\ngot  %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

// However a document is written, no markup comes out but what documentHTML makes itself.
func FuzzMarkdown(f *testing.F) {
	for _, s := range evil() {
		f.Add(s)
		f.Add("[" + s + "](" + s + ") **" + s + "**")
	}
	own := regexp.MustCompile(`</?(h[1-4]|p|ul|ol|li|blockquote|strong|em|code|a)>|<a href="(https?://|mailto:|/|#)[^"<>]*" rel="noopener noreferrer nofollow">`)
	f.Fuzz(func(t *testing.T, s string) {
		if rest := own.ReplaceAllString(documentHTML(s), ""); strings.ContainsAny(rest, "<>") {
			t.Errorf("documentHTML(%q) leaves markup: %q", s, rest)
		}
	})
}

func TestNumbersForPeople(t *testing.T) {
	for f, want := range map[float64]string{0: "0", 1234567: "1\u202f234\u202f567", -0.5: "−0.5", 1000.25: "1\u202f000.25", -1234: "−1\u202f234", 99.999: "100"} {
		if got := groupedFloat(f); got != want {
			t.Errorf("groupedFloat(%v) = %q, want %q", f, got, want)
		}
	}
	for seconds, want := range map[int64]string{0: "less than a minute", 60: "1 minute", 7200: "2 hours", 86400: "1 day", 400 * 86400: "1 year"} {
		if got := roughly(seconds); got != want {
			t.Errorf("roughly(%d) = %q, want %q", seconds, got, want)
		}
	}
}
