package api

import (
	"context"
	"crypto/rand"
	"html"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"hordenode/api/login"
	"hordenode/api/login/logintest"
	"hordenode/internal/horde"
	"hordenode/internal/outbound"
)

// fakeLogins is the logins of a small ledger.
type fakeLogins struct {
	*fakeRegistry
	byLogin map[string]horde.UserID
}

func (f *fakeLogins) UserByLogin(login string) (horde.User, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok := f.byLogin[login]
	return f.users[id], ok
}

func (f *fakeLogins) HasLogin(id horde.UserID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, of := range f.byLogin {
		if of == id {
			return true
		}
	}
	return false
}

func (f *fakeLogins) KeyMark(id horde.UserID) (mark [16]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, of := range f.keys {
		if of == id {
			copy(mark[:], "m"+string(key))
		}
	}
	return mark
}

func (f *fakeLogins) CreateLogin(ctx context.Context, name, login string) (horde.User, horde.APIKey, error) {
	u, key, err := f.CreateUser(ctx, NewUser{Name: name, Class: horde.ClassRegistered})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byLogin[login] = u.ID
	return u, key, err
}

func (f *fakeLogins) LinkLogin(_ context.Context, id horde.UserID, login string) (horde.User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, taken := f.byLogin[login]; taken {
		return horde.User{}, horde.Refuse(horde.RCForbidden, "This login belongs to another account.")
	}
	f.byLogin[login] = id
	return f.users[id], nil
}

func (f *fakeLogins) UnlinkLogin(_ context.Context, id horde.UserID) (horde.User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l, of := range f.byLogin {
		if of == id {
			delete(f.byLogin, l)
		}
	}
	return f.users[id], nil
}

const nodeURL = "https://node.example"

// What cookies are called under https, as nodeURL is.
const (
	hostAttempt = "__Host-" + attemptCookie
	hostSession = "__Host-" + sessionCookie
)

// newLoginHarness is an account harness with a provider "club".
func newLoginHarness(t *testing.T, kind login.Kind) (*harness, *fakeLogins, *logintest.Provider) {
	t.Helper()
	h, registry, _ := newAccountHarness(t, func(c *Config) { c.PublicURL = nodeURL })
	idp := logintest.New(t)
	idp.Clock(h.clock.now)
	out := outbound.New(outbound.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(out.Close)
	p, err := login.New(idp.Config(kind, "club"), nodeURL+"/login/club/callback", out.HTTP(), rand.Reader, h.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeLogins{registry, map[string]horde.UserID{}}
	h.s.deps.Providers, h.s.deps.Logins = []*login.Provider{p}, f
	return h, f, idp
}

var leadsTo = regexp.MustCompile(`<a class="button" href="(http[^"]+)"`)

// goTo sends a form to log in and follows it to the provider; it returns the path that the
// provider leads back to.
func (b *browser) goTo(pairs ...string) string {
	b.Helper()
	a := b.submit("/login/club", pairs...).wants(200, "")
	m := leadsTo.FindStringSubmatch(a.body)
	if m == nil || a.header.Get("Refresh") != "0; url="+html.UnescapeString(m[1]) {
		b.Fatalf("the page leads nowhere: %q, %s", a.header.Get("Refresh"), a.body)
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Get(html.UnescapeString(m[1]))
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	to := res.Header.Get("Location")
	path, ok := strings.CutPrefix(to, nodeURL)
	if !ok {
		b.Fatalf("the provider answered %d and leads to %q", res.StatusCode, to)
	}
	return path
}

func TestRegisterAndLogInWithProvider(t *testing.T) {
	for _, kind := range []login.Kind{login.OIDC, login.GitHub, login.Discord} {
		t.Run(string(kind), func(t *testing.T) {
			h, logins, idp := newLoginHarness(t, kind)
			idp.Person("77", "Ada <b>\u202e")
			b := newBrowser(h)
			if page := b.open("/register").wants(200, ""); !strings.Contains(page.body, `action="/login/club"`) {
				t.Errorf("no button on the page: %s", page.body)
			}
			back := b.goTo()
			if a := b.open(back); a.status != 303 || a.header.Get("Location") != "/register/login" {
				t.Fatalf("a new person: got %d to %q, want to choose a name: %s", a.status, a.header.Get("Location"), a.body)
			}
			page := b.open("/register/login").wants(200, "")
			if !strings.Contains(page.body, `value="Ada &lt;b&gt;"`) {
				t.Errorf("the provider's name is not suggested, made harmless: %s", page.body)
			}
			page = b.submit("/register/login", "username", "ada").wants(200, "")
			if !strings.Contains(page.body, "fresh-key") || len(logins.byLogin) != 1 {
				t.Errorf("no account: %v, %s", logins.byLogin, page.body)
			}
			if page := b.open("/profile"); !strings.Contains(page.body, "ada#100") {
				t.Errorf("nobody is logged in: %s", page.body)
			}
			if a := b.submit("/register/login", "username", "again"); a.status == 200 && strings.Contains(a.body, "fresh-key") || len(logins.byLogin) != 1 {
				t.Error("one login made two accounts")
			}

			b = newBrowser(h) // another day, another browser
			b.open("/profile")
			if a := b.open(b.goTo("next", "/transfer")); a.status != 303 || a.header.Get("Location") != "/transfer" {
				t.Errorf("a known person: got %d to %q, want /transfer", a.status, a.header.Get("Location"))
			}
			if page := b.open("/profile"); !strings.Contains(page.body, "ada#100") {
				t.Errorf("nobody is logged in: %s", page.body)
			}
			// A fresh login counts for the key; an old one does not.
			h.clock.advance(loginFresh)
			b.open("/profile")
			if a := b.submit("/profile/key"); a.status != 401 {
				t.Errorf("replace the key after ten minutes: status %d, want 401", a.status)
			}
			b.open(b.goTo("do", "again"))
			b.open("/profile")
			if a := b.submit("/profile/key"); a.status != 200 || !strings.Contains(a.body, "fresh-key") {
				t.Errorf("replace the key after coming back: status %d, want 200", a.status)
			}
			if got := idp.Problems(); len(got) > 0 {
				t.Errorf("the provider complains: %v", got)
			}
		})
	}
}

func TestLoginSessionEndsWithTheKey(t *testing.T) {
	h, logins, _ := newLoginHarness(t, login.OIDC)
	logins.byLogin["oidc "+h.s.deps.Providers[0].Name()] = 7 // not this one's
	b := newBrowser(h)
	b.logIn(aliceKey)
	b.open("/profile/settings")
	if a := b.open(b.goTo("do", "link", "apikey", aliceKey)); a.status != 303 || !logins.HasLogin(7) {
		t.Fatalf("link: status %d: %s", a.status, a.body)
	}
	other := newBrowser(h)
	other.open("/profile")
	other.open(other.goTo())
	if page := other.open("/profile"); !strings.Contains(page.body, "alice#7") {
		t.Fatalf("not logged in: %s", page.body)
	}
	b.open("/profile")
	b.submit("/profile/key", "apikey", aliceKey).wants(200, "")
	if page := other.open("/profile"); strings.Contains(page.body, "alice#7") {
		t.Error("the key was replaced, and a session by login went on")
	}
}

func TestLinkAndUnlink(t *testing.T) {
	h, logins, _ := newLoginHarness(t, login.OIDC)
	b := newBrowser(h)
	b.open("/profile")
	if a := b.submit("/login/club", "do", "link"); a.status != 401 {
		t.Errorf("link while nobody is logged in: status %d, want 401", a.status)
	}
	b.logIn(aliceKey)
	b.open("/profile/settings").wants(200, "")
	if a := b.submit("/login/club", "do", "link"); a.status != 401 || len(logins.byLogin) != 0 {
		t.Errorf("link without the key: status %d, want 401", a.status)
	}
	back := b.goTo("do", "link", "apikey", aliceKey)
	thief := newBrowser(h) // has the address, but another session
	thief.logIn(ownerKey)
	thief.cookies[hostAttempt] = b.cookies[hostAttempt]
	if a := thief.open(back); a.status != 403 || len(logins.byLogin) != 0 {
		t.Errorf("somebody else's attempt: status %d, logins %v, want 403 and none", a.status, logins.byLogin)
	}
	b.open("/profile/settings")
	b.open(b.goTo("do", "link", "apikey", aliceKey))
	if page := b.open("/profile/settings"); !logins.HasLogin(7) || !strings.Contains(page.body, "Unlink") {
		t.Errorf("not linked: %s", page.body)
	}
	if a := b.submit("/profile/unlink", "apikey", ownerKey); a.status != 403 || !logins.HasLogin(7) {
		t.Errorf("unlink with another key: status %d, want 403", a.status)
	}
	if a := b.submit("/profile/unlink", "apikey", aliceKey); a.status != 303 || logins.HasLogin(7) {
		t.Errorf("unlink: status %d, want 303: %s", a.status, a.body)
	}
}

// Callbacks that were not begun here, by this browser, for this provider, do nothing.
func TestForgedLogins(t *testing.T) {
	for _, tt := range []struct {
		name string
		with func(b *browser, idp *logintest.Provider, back string) string // the path to open
		want int
	}{
		{"good", func(_ *browser, _ *logintest.Provider, back string) string { return back }, 303},
		{"no cookie", func(b *browser, _ *logintest.Provider, back string) string {
			delete(b.cookies, hostAttempt)
			return back
		}, 403},
		{"forged cookie", func(b *browser, _ *logintest.Provider, back string) string {
			b.cookies[hostAttempt] = strings.Repeat("A", 400)
			return back
		}, 403},
		{"a cookie of another kind", func(b *browser, _ *logintest.Provider, back string) string {
			b.logIn(aliceKey)
			b.cookies[hostAttempt] = b.cookies[hostSession]
			return back
		}, 403},
		{"another browser's cookie", func(b *browser, _ *logintest.Provider, back string) string {
			other := newBrowser(b.harness)
			other.open("/profile")
			other.goTo()
			b.cookies[hostAttempt] = other.cookies[hostAttempt]
			return back
		}, 403},
		{"replayed", func(b *browser, _ *logintest.Provider, back string) string {
			kept := b.cookies[hostAttempt]
			b.open(back)
			b.cookies[hostAttempt] = kept
			return back
		}, 403},
		{"too late", func(b *browser, _ *logintest.Provider, back string) string { b.clock.advance(attemptTime); return back }, 403},
		{"wrong state", func(_ *browser, _ *logintest.Provider, back string) string {
			return strings.Replace(back, "state=", "state=x", 1)
		}, 403},
		{"mixed-up issuer", func(_ *browser, _ *logintest.Provider, back string) string {
			u, _ := url.Parse(back)
			q := u.Query()
			q.Set("iss", "https://evil.example")
			return u.Path + "?" + q.Encode()
		}, 403},
		{"another provider's callback", func(_ *browser, _ *logintest.Provider, back string) string {
			return strings.Replace(back, "/login/club/", "/login/other/", 1)
		}, 404},
		{"refused there", func(b *browser, idp *logintest.Provider, _ string) string {
			idp.Refuse(true)
			b.open("/profile")
			return b.goTo()
		}, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, logins, idp := newLoginHarness(t, login.OIDC)
			logins.byLogin["oidc "+idp.URL+" 1234"] = 8
			b := newBrowser(h)
			b.open("/profile")
			path := tt.with(b, idp, b.goTo())
			delete(b.cookies, hostSession)
			if a := b.open(path); a.status != tt.want {
				t.Errorf("status %d, want %d: %s", a.status, tt.want, a.body)
			}
			if page := b.open("/profile"); strings.Contains(page.body, "owner#8") != (tt.want == 303) {
				t.Errorf("somebody is logged in, or nobody is: %s", page.body)
			}
			if log := h.log.String(); strings.Contains(log, "code=") || strings.Contains(log, logintest.Secret) {
				t.Errorf("a secret is in the log: %s", log)
			}
		})
	}
}

func TestNobodyIsLedAway(t *testing.T) {
	for next, want := range map[string]string{
		"/transfer": "/transfer", "/teams/x": "/teams/x", "/moderation/users/7": "/moderation/users/7", "/profile?told=saved": "/profile?told=saved",
		"": "/profile", "/": "/profile", "//evil.example": "/profile", "https://evil.example/profile": "/profile", "/\\evil.example": "/profile",
		"/profile/../../evil": "/profile", "javascript:alert(1)": "/profile", "/profile\r\nSet-Cookie: a=b": "/profile", "/profilex": "/profile",
		"//evil.example/profile": "/profile", "/transfer//evil": "/profile", "\t//evil.example": "/profile", "/%2f/evil.example": "/profile",
	} {
		if got := ownPath(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
	h, logins, idp := newLoginHarness(t, login.OIDC)
	logins.byLogin["oidc "+idp.URL+" 1234"] = 8
	b := newBrowser(h)
	b.open("/profile?next=https://evil.example/")
	if a := b.open(b.goTo("next", "https://evil.example/")); a.header.Get("Location") != "/profile" {
		t.Errorf("led to %q, want /profile", a.header.Get("Location"))
	}
	b = newBrowser(h)
	b.open("/profile?next=//evil.example/")
	if a := b.submit("/profile", "apikey", aliceKey, "next", "//evil.example/"); a.header.Get("Location") != "/profile" {
		t.Errorf("led to %q, want /profile", a.header.Get("Location"))
	}
}

func TestUsedAttempts(t *testing.T) {
	var u used
	now := time.Unix(1, 0)
	if !u.once("a", now) || u.once("a", now) || !u.once("b", now) {
		t.Error("an attempt counts once")
	}
	for len(u.ends) < maxUsed {
		u.once(rand.Text(), now)
	}
	if u.once("c", now) {
		t.Error("a full table took one more")
	}
	if !u.once("c", now.Add(attemptTime)) || len(u.ends) != 1 {
		t.Error("what is old was not forgotten")
	}
}
