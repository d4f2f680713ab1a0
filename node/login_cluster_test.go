package node_test

import (
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"hordenode/api/login"
	"hordenode/api/login/logintest"
	"hordenode/node"
	"hordenode/node/nodetest"
)

// A visitor is a browser without scripts that follows redirects and fills in forms.
type visitor struct {
	*testing.T
	http *http.Client
	base string
	page string // the last one
}

func newVisitor(t *testing.T, n *nodetest.Node) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{T: t, http: &http.Client{Jar: jar, Timeout: time.Minute}, base: n.URL()}
}

func (v *visitor) keep(res *http.Response, err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.Fatal(err)
	}
	v.page = string(b)
}

func (v *visitor) open(address string) {
	v.Helper()
	if strings.HasPrefix(address, "/") {
		address = v.base + address
	}
	v.keep(v.http.Get(address))
}

var (
	formToken  = regexp.MustCompile(`name="csrf" value="([^"]+)"`)
	toProvider = regexp.MustCompile(`<a class="button" href="(http[^"]+)"`)
	shownKey   = regexp.MustCompile(`id="key"[^>]*>\s*([A-Za-z0-9_-]{22})`)
)

func (v *visitor) found(what *regexp.Regexp) string {
	v.Helper()
	m := what.FindStringSubmatch(v.page)
	if m == nil {
		v.Fatalf("the page has no %v: %s", what, v.page)
	}
	return html.UnescapeString(m[1])
}

// submit sends a form with the token of the last page.
func (v *visitor) submit(path string, pairs ...string) {
	v.Helper()
	form := url.Values{"csrf": {v.found(formToken)}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	v.keep(v.http.PostForm(v.base+path, form))
}

// comeIn goes to the provider and back.
func (v *visitor) comeIn(from string) {
	v.Helper()
	v.open(from)
	v.submit("/login/club")
	v.open(v.found(toProvider))
}

func (v *visitor) sees(want string) {
	v.Helper()
	if !strings.Contains(v.page, want) {
		v.Fatalf("got %s\nwant %q in it", v.page, want)
	}
}

// Whoever made an account by a login at one node logs in at each; a key that is replaced at one
// ends the sessions at all, and so does unlinking end those of the login.
func TestLoginAtEveryNode(t *testing.T) {
	idp := logintest.New(t)
	idp.AnyRedirect()
	c := nodetest.New(t, 3, func(cfg *node.Config) {
		l := idp.Config(login.OIDC, "club")
		cfg.PublicURL = "http://" + cfg.API
		cfg.OutboundAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		cfg.Logins = []node.Login{{Name: l.Name, Kind: string(l.Kind), ClientID: l.ClientID, Secret: l.Secret, Issuer: l.Issuer}}
	})
	idp.Person("42", "Grace")
	first := newVisitor(t, c.Nodes[0])
	first.comeIn("/register")
	first.sees("Grace")
	first.submit("/register/login", "username", "Grace")
	key := first.found(shownKey)

	var others []*visitor
	for _, n := range c.Nodes[1:] {
		v := newVisitor(t, n)
		v.comeIn("/profile")
		v.sees("Grace#")
		others = append(others, v)
	}
	// A callback is of the browser that began.
	first.open("/profile")
	first.submit("/login/club")
	back, err := http.Get(first.found(toProvider))
	if err != nil {
		t.Fatal(err)
	}
	back.Body.Close() // it was followed to the first node, without its cookie
	if back.Request.URL.Host != strings.TrimPrefix(first.base, "http://") || back.StatusCode != http.StatusForbidden {
		t.Errorf("a callback without the cookie: %d at %s", back.StatusCode, back.Request.URL.Host)
	}

	others[0].open("/profile")
	others[0].submit("/profile/key", "apikey", key)
	fresh := others[0].found(shownKey)
	if fresh == key {
		t.Fatal("the key is the old one")
	}
	c.Eventually("the sessions under the old key end", func() error { return loggedOut(first, others[1]) })
	others[1].comeIn("/profile")
	others[1].sees("Grace#")
	others[0].comeIn("/profile")
	others[0].open("/profile/settings")
	others[0].submit("/profile/unlink", "apikey", fresh)
	c.Eventually("the sessions of the login end", func() error { return loggedOut(others...) })
	others[1].comeIn("/profile")
	others[1].sees("/register/login") // nobody's login now: a name is asked for
	if got := idp.Problems(); len(got) > 0 {
		t.Errorf("the provider complains: %v", got)
	}
	c.CheckLedger()
}

var errStillIn = errors.New("somebody is still logged in")

func loggedOut(list ...*visitor) error {
	for _, v := range list {
		v.open("/profile")
		if strings.Contains(v.page, "Grace#") {
			return errStillIn
		}
	}
	return nil
}
