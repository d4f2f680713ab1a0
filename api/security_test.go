package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// The rows of the security checklist (docs/security.md) that this package answers for.

// raw serves one request as it is and returns the answer.
func (h *harness) raw(r *http.Request) answer {
	w := httptest.NewRecorder()
	h.s.Handler().ServeHTTP(w, r)
	return answer{h.T, w.Code, w.Header(), w.Body.String()}
}

// A body is refused by its route's own size, before a key is looked up: announced ones unread,
// others when they have reached it.
func TestSecurity06BodyCapsOfAllRoutes(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	for _, rt := range h.s.routes() {
		most := rt.body
		if most == 0 {
			most = defaultBody
		}
		if most > imageBodyMax {
			t.Errorf("%s %s takes bodies of %d bytes, more than images need", rt.method, rt.path, most)
		}
		path := strings.NewReplacer("{$}", "", "{", "", "}", "").Replace(rt.path)
		r := httptest.NewRequest(rt.method, path, noReader{t})
		r.ContentLength = 1 << 30
		r.Header.Set("apikey", "nobody-has-this-key-00")
		if a := h.raw(r); a.status != http.StatusRequestEntityTooLarge || a.header.Get("Connection") != "close" {
			t.Errorf("%s %s with 1 GB announced: %d, Connection %q, want 413 and close", rt.method, path, a.status, a.header.Get("Connection"))
		}
		if rt.raw || most > defaultBody && rt.path != "/api/v2/generate/async" {
			continue // raw ones read for themselves, through the same reader; one large one is enough
		}
		body := &zeros{}
		r = httptest.NewRequest(rt.method, path, body)
		r.ContentLength = -1
		r.Header.Set("apikey", "nobody-has-this-key-00")
		if a := h.raw(r); a.status != http.StatusRequestEntityTooLarge || int64(body.read) > 4*most {
			t.Errorf("%s %s with an endless body: %d after %d bytes, want 413 after about %d", rt.method, path, a.status, body.read, most)
		}
	}
	if h.accounts.syncs > 0 {
		t.Errorf("refused bodies cost %d look-ups with other nodes", h.accounts.syncs)
	}
}

func TestSecurity07JSONIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		ok         bool
	}{
		{"as deep as may be", strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), true},
		{"deeper", strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1), false},
		{"very deep and never closed", strings.Repeat("[", 1<<20), false},
		{"brackets in a string", `"` + strings.Repeat("[", 100) + `"`, true},
		{"many values", "[" + strings.Repeat("0,", maxValues) + "0]", false},
		{"two values", "{}{}", false},
		{"not UTF-8", "\"\xff\"", false},
		{"not a number", `{"a":NaN}`, false},
	} {
		if _, err := parseJSON([]byte(tt.body)); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want accepted: %v", tt.name, err, tt.ok)
		}
	}
	v, err := parseJSON([]byte(`{"a":1,"b":{"c":1,"c":2},"a":"last"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(v); got != "map[a:last b:map[c:2]]" {
		t.Errorf("of duplicate keys the last counts: got %s", got)
	}
	// What is checked and what is used is the same one.
	h, registry, _ := newAccountHarness(t)
	h.do("PUT", "/api/v2/users/7", modKey, `{"concurrency":1000,"concurrency":40}`).wants(200, "")
	if got := registry.lastUser.Concurrency; got == nil || *got != 40 {
		t.Errorf("of two concurrencies %v counted, want 40", deref(got))
	}
	h.do("PUT", "/api/v2/users/7", modKey, `{"concurrency":40,"concurrency":1000}`).wants(400, "")
}

func TestSecurity10CompressedBodies(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(z, &zeros{}, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	h := newHarness(t)
	for _, path := range []string{"/api/v2/generate/async", "/api/v2/generate/text/submit", "/api/v2/kudos/transfer"} {
		for _, encoding := range []string{"gzip", "deflate", "br", "zstd", "identity, gzip"} {
			h.do("POST", path, aliceKey, bomb.Bytes(), "Content-Encoding", encoding).wants(http.StatusUnsupportedMediaType, "")
		}
		a := h.do("POST", path, aliceKey, bomb.Bytes(), "Transfer-Encoding", "gzip")
		if a.status < 400 {
			t.Errorf("%s: a bomb in disguise is answered %d", path, a.status)
		}
	}
	// Downloads do not unpack either: the bytes count as they come.
}

// Keys are 128 bit of the source, as 22 characters; a broken source gives none.
func TestSecurity15KeysAreRandom(t *testing.T) {
	key, err := newSecret(bytes.NewReader([]byte("0123456789abcdefXXXX")))
	if err != nil || key != "MDEyMzQ1Njc4OWFiY2RlZg" {
		t.Errorf("secret %q, %v, want all 16 bytes of the source", key, err)
	}
	if _, err := newSecret(strings.NewReader("too short")); err == nil {
		t.Error("a source that ends gave a secret")
	}
	a, errA := newSecret((&Server{}).secrets())
	b, errB := newSecret((&Server{}).secrets())
	if errA != nil || errB != nil || a == b || len(a) != 22 {
		t.Errorf("secrets %d and %d characters long, the same: %v", len(a), len(b), a == b)
	}
}

// There is no default secret.
func TestSecurity16NoSecretNoServer(t *testing.T) {
	for _, secret := range [][]byte{nil, {}, []byte("fifteen bytes!!")} {
		if _, err := New(Config{BlobSecret: secret}, Deps{}); err == nil {
			t.Errorf("a server was made with a secret of %d bytes", len(secret))
		}
	}
}

// Secrets are compared in constant time, and every byte of them counts.
func TestSecurity17ConstantTime(t *testing.T) {
	h := newHarness(t)
	exp := fmt.Sprint(h.clock.now().Add(time.Minute).Unix())
	good := h.s.blobSignature("GET", "x", exp)
	status := func(method, sig string) int {
		return h.do(method, blobPath+"x.webp?exp="+exp+"&sig="+url.QueryEscape(sig), "", nil).status
	}
	for i := range len(good) {
		bad := []byte(good)
		bad[i] ^= 1
		if got := status("GET", string(bad)); got != http.StatusForbidden {
			t.Errorf("a signature with another byte %d: %d, want 403", i, got)
		}
	}
	if status("GET", good) == http.StatusForbidden || status("GET", "") != http.StatusForbidden || status("PUT", good) != http.StatusForbidden {
		t.Error("the right signature does not pass, or another does")
	}
	src, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, f := range src {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		compared += bytes.Count(b, []byte("hmac.Equal("))
		if bytes.Contains(b, []byte("hmac.New(")) && !bytes.Contains(b, []byte("hmac.Equal(")) {
			t.Errorf("%s makes MACs and compares none with hmac.Equal", f)
		}
		if m := comparedSecret.Find(bytes.ReplaceAll(b, []byte("= nil"), nil)); m != nil {
			t.Errorf("%s compares a secret with ==: %s", f, m)
		}
	}
	if compared < 3 {
		t.Errorf("%d comparisons with hmac.Equal, want those of blobs, sessions and forms", compared)
	}
}

// comparedSecret is a comparison that takes the longer the more is right.
var comparedSecret = regexp.MustCompile(`(?i)\b(passkey|secret|token|sig|signature|csrf|mac)\b\)? [!=]= [a-z][\w.]*\b`)

// A key that nobody has and one that is malformed are told the same, and so are users that do
// not exist and those that were wiped; where ids are secret, an id that nobody has and one of
// another kind.
func TestSecurity19UniformAnswers(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	bodies := map[string][]string{}
	for _, key := range []horde.APIKey{"nobody-has-this-key-00", "short", aliceKey + "x", horde.APIKey(strings.Repeat("x", 500))} {
		for _, call := range []struct{ method, path, body string }{
			{"POST", "/api/v2/generate/text/async", `{"prompt":"x"}`}, {"GET", "/api/v2/users/7", ""}, {"PUT", "/api/v2/users/7", `{"username":"abc"}`},
			{"DELETE", "/api/v2/users/7", ""}, {"POST", "/api/v2/kudos/transfer", `{"username":"owner#8","amount":1}`},
		} {
			a := h.do(call.method, call.path, key, call.body).wants(401, horde.RCInvalidAPIKey)
			at := call.method + " " + call.path
			bodies[at] = append(bodies[at], a.body)
		}
	}
	for at, told := range bodies {
		if slices.Sort(told); len(slices.Compact(told)) != 1 {
			t.Errorf("%s tells keys apart: %q", at, slices.Compact(told))
		}
	}
	find := func(key horde.APIKey) string {
		return h.do("GET", "/api/v2/find_user", key, nil).wants(404, horde.RCUserNotFound).body
	}
	if a, b := find("nobody-has-this-key-00"), find("another"); a != b || strings.Contains(a, "nobody-has") {
		t.Errorf("find_user tells keys apart or repeats them: %s and %s", a, b)
	}
}

// What only some may see and change, by role, on users and workers.
func TestSecurity21Properties(t *testing.T) {
	h, registry, live := newAccountHarness(t)
	h.accounts.change(aliceKey, func(u *horde.User) {
		u.Contact, u.AdminComment, u.Suspicion, u.Escrow, u.MonthlyKudos, u.HasPasskey = "secret-contact", "secret-comment", 2, 50, horde.Whole(40), true
	})
	w := horde.Worker{ID: workerID(1), Name: "w", Owner: 7, Paused: true, Suspicion: 3, Info: "info"}
	registry.addWorker(live, h.clock.now(), w, horde.Caps{Threads: 1})
	h.s.deps.Addresses.Saw(w.ID, netip.MustParseAddr("198.51.100.77"))
	const user, worker = "/api/v2/users/7", "/api/v2/workers/"
	private := map[string]map[string]string{ // by path: property to those who see it
		user: {
			"evaluating_kudos": "mod", "suspicious": "mod", "admin_comment": "mod", "proxy_passkey": "mod", "monthly_kudos": "mod",
			"contact": "own mod", "vpn": "own mod", "special": "own mod", "worker_ids": "own mod", "sharedkey_ids": "own mod",
			"trusted": "none other own mod", "flagged": "none other own mod",
		},
		worker + w.ID.String(): {
			"ipaddr": "mod", "paused": "mod", "suspicious": "mod", "contact": "mod", "owner": "mod", "messages": "mod",
			"trusted": "none other own mod", "info": "none other own mod",
		},
	}
	private[worker+"name/w"] = private[worker+w.ID.String()]
	for path, properties := range private {
		for who, key := range map[string]horde.APIKey{"none": "", "other": ownerKey, "own": aliceKey, "mod": modKey} {
			a := h.do("GET", path, key, nil).wants(200, "")
			o := a.object()
			for p, seers := range properties {
				if _, seen := o[p]; seen != slices.Contains(strings.Fields(seers), who) {
					t.Errorf("%s as %s: %s is there: %v, want it for %s", path, who, p, seen, seers)
				}
			}
			if who != "mod" && strings.Contains(a.body, "198.51.100.77") || who != "mod" && who != "own" && strings.Contains(a.body, "secret-") {
				t.Errorf("%s as %s shows what is secret: %s", path, who, a.body)
			}
		}
	}
	for path, secret := range map[string]string{"/api/v2/users": "secret-", "/api/v2/workers": "198.51.100"} {
		if a := h.do("GET", path, aliceKey, nil).wants(200, ""); strings.Contains(a.body, secret) {
			t.Errorf("the list %s shows secrets", path)
		}
	}
	// Input that is no setting changes nothing, whoever sends it.
	for _, body := range []string{`{"id":1,"ipaddr":"1.2.3.4","roles":255,"api_key":"x","evaluating_kudos":9,"suspicious":0,"account_age":1,"deleted":false,"public_workers":true}`} {
		h.do("PUT", user, aliceKey, body).wants(200, "").golden(`{"public_workers":false}`)
	}
	want := UserChange{Actor: 7, Target: 7, PublicWorkers: new(true)}
	got := registry.lastUser
	if got.PublicWorkers == nil || !*got.PublicWorkers {
		t.Errorf("public_workers did not arrive: %+v", got)
	}
	if got.PublicWorkers = want.PublicWorkers; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("changed %+v, want %+v alone", got, want)
	}
}

// A forwarded address is believed of a trusted proxy alone, and of its last hop.
func TestSecurity26SpoofedAddresses(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.NoRateLimits = false
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	from := func(peer string, headers ...string) int {
		r := httptest.NewRequest("GET", "/api/v2/documents/terms", nil)
		r.RemoteAddr = peer
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		return h.raw(r).status
	}
	for i := range 90 { // a stranger that claims to be others each time
		if got := from("203.0.113.5:99", "X-Forwarded-For", fmt.Sprintf("198.51.100.%d", i), "Proxied-For", fmt.Sprintf("198.51.100.%d", i), "X-Real-Ip", "8.8.8.8", "Forwarded", "for=8.8.4.4"); got != 200 {
			t.Fatalf("call %d: %d", i+1, got)
		}
	}
	if got := from("203.0.113.5:99", "X-Forwarded-For", "8.8.8.8"); got != http.StatusTooManyRequests {
		t.Errorf("another claimed address: %d, want 429: it is the peer that counts", got)
	}
	if got := from("10.1.2.3:99", "X-Forwarded-For", "203.0.113.5"); got != http.StatusTooManyRequests {
		t.Errorf("the same address through the proxy: %d, want 429", got)
	}
	if got := from("10.1.2.3:99", "X-Forwarded-For", "203.0.113.5, 203.0.113.6"); got != 200 {
		t.Errorf("another address through the proxy: %d, want 200: the last hop counts", got)
	}
}

// A body that comes byte by byte is not waited for.
func TestSecurity28SlowBodies(t *testing.T) {
	h := newHarness(t)
	begin := time.Now()
	h.s.now = func() time.Time { return time.Now().Add(50*time.Millisecond - bodyTime - time.Second) } // so that the time is over soon
	srv := httptest.NewServer(h.s.Handler())
	defer srv.Close()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "POST /api/v2/kudos/transfer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 16384\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) {
		t.Errorf("a body that does not come: answered %.60q, %v, after %s; want 400 and the connection closed", answer, err, time.Since(begin))
	}
}

// Who waits is bounded by account and address; the one that waited longest makes room.
func TestSecurity29WaitersAreBounded(t *testing.T) {
	w := newWaiters(6, 2)
	first, _ := w.enter("key a", "ip 1")
	second, leave := w.enter("key a", "ip 2")
	w.enter("key a", "ip 3")
	isSent := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	if !isSent(first) || isSent(second) {
		t.Errorf("a third of one key: first sent away %v, second %v, want true, false", isSent(first), isSent(second))
	}
	leave()
	a, _ := w.enter("key b", "ip 9")
	w.enter("key c", "ip 9")
	w.enter("key d", "ip 9")
	if !isSent(a) {
		t.Error("a third of one address sends nobody away")
	}
	if maxWaitersPerClient > 1000 || maxWaiters > 100_000 {
		t.Errorf("%d waiters, %d of one client: too many", maxWaiters, maxWaitersPerClient)
	}
}

// Every answer says what it is and forbids to guess; JSON is never HTML.
func TestSecurity32And33HeadersOfAllRoutes(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	for _, rt := range h.s.routes() {
		path := strings.NewReplacer("{$}", "", "{", "", "}", "").Replace(rt.path)
		for _, method := range []string{rt.method, "OPTIONS", "TRACE"} {
			a := h.do(method, path, "", nil)
			if got := a.header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("%s %s: X-Content-Type-Options %q", method, path, got)
			}
			if got := a.header.Get("Access-Control-Allow-Credentials"); got != "" {
				t.Errorf("%s %s allows credentials of other origins: %q", method, path, got)
			}
			if kind := a.header.Get("Content-Type"); json.Valid([]byte(a.body)) && kind != "application/json; charset=utf-8" {
				t.Errorf("%s %s answers JSON as %q", method, path, kind)
			} else if a.status >= 300 && a.status < 400 {
				continue // leads somewhere else, and says nothing
			} else if strings.HasPrefix(kind, "text/html") {
				if got := a.header.Get("Access-Control-Allow-Origin"); got != "" {
					t.Errorf("%s %s, a page, may be read by origin %q", method, path, got)
				}
				if got := a.header.Get("Content-Security-Policy"); !strings.Contains(got, "frame-ancestors 'none'") || strings.Contains(got, "unsafe") {
					t.Errorf("%s %s: policy %q", method, path, got)
				}
				if got := a.header.Get("Referrer-Policy"); got != "no-referrer" {
					t.Errorf("%s %s: Referrer-Policy %q", method, path, got)
				}
			} else if got := a.header.Get("Access-Control-Allow-Origin"); got != "*" {
				t.Errorf("%s %s: Access-Control-Allow-Origin %q, want *", method, path, got)
			}
		}
	}
}

// What is answered to a key is kept by nobody on the way, and no answer is for all keys.
func TestPrivateAnswersAreNotKept(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	for _, rt := range h.s.routes() {
		path := strings.NewReplacer("{$}", "", "{", "", "}", "").Replace(rt.path)
		if rt.path == "/api/v2/users/{user_id}" || rt.path == "/api/v2/find_user" {
			path = strings.Replace(path, "user_id", "7", 1)
		}
		for _, mask := range []string{"", "message"} {
			a := h.do(rt.method, path, aliceKey, nil, "X-Fields", mask)
			cache := a.header.Get("Cache-Control")
			isSame := rt.unmasked && (cache == "no-cache" || strings.HasPrefix(cache, "private,")) // documents and files, the same for everybody
			if strings.Contains(cache, "public") || !strings.Contains(cache, "no-store") && !isSame {
				t.Errorf("%s %s with a key: Cache-Control %q", rt.method, path, cache)
			}
			if vary := a.header.Get("Vary"); !strings.Contains(vary, "apikey") || !strings.Contains(vary, "X-Fields") {
				t.Errorf("%s %s: Vary %q", rt.method, path, vary)
			}
		}
	}
}

// What went wrong inside stays inside.
func TestSecurity47ErrorsTellNothing(t *testing.T) {
	h := newHarness(t)
	h.board.fail(fmt.Errorf("badger: open /var/lib/hordenode/db: disk I/O error at 0xc000123"))
	a := h.do("POST", "/api/v2/generate/text/async", aliceKey, `{"prompt":"x"}`).wants(500, "")
	a.golden(`{"message":"Internal Server Error"}`)
	if !strings.Contains(h.log.String(), "disk I/O error") {
		t.Error("the log lacks the reason")
	}
	a = h.do("POST", "/api/v2/generate/text/async", "secret-key-of-somebody", `{"prompt":"x"}`).wants(401, horde.RCInvalidAPIKey)
	if strings.Contains(a.body+h.log.String(), "secret-key") {
		t.Errorf("a key is repeated: %s", a.body)
	}
}

// A handler that panics costs one answer.
func TestSecurity56Panics(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Endpoints = append(c.Endpoints, Endpoint{Method: "GET", Path: "/boom", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })})
	})
	srv := httptest.NewServer(h.s.Handler())
	defer srv.Close()
	for i := range 3 {
		res, err := http.Get(srv.URL + "/boom")
		if err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != 500 {
			t.Errorf("call %d: %d, %v, want 500", i+1, res.StatusCode, err)
		}
	}
}
