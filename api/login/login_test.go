package login_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"hordenode/api/login"
	"hordenode/api/login/logintest"
	"hordenode/internal/outbound"
)

const redirect = "https://node.example/login/test/callback"

// client is the one that nodes use; it may call this machine.
func client(t *testing.T) *http.Client {
	c := outbound.New(outbound.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(c.Close)
	return c.HTTP()
}

func provider(t *testing.T, cfg login.Config) *login.Provider {
	t.Helper()
	p, err := login.New(cfg, redirect, client(t), rand.Reader, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// visit does what a browser does with the address of Begin, and returns what it comes back with.
func visit(t *testing.T, address string) url.Values {
	t.Helper()
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	to, err := res.Location()
	if err != nil || !strings.HasPrefix(to.String(), redirect+"?") {
		t.Fatalf("the provider answered %d and leads to %v, want %s", res.StatusCode, to, redirect)
	}
	return to.Query()
}

func begin(t *testing.T, p *login.Provider) (login.Attempt, url.Values) {
	t.Helper()
	address, a, err := p.Begin(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return a, visit(t, address)
}

func TestLogIn(t *testing.T) {
	idp := logintest.New(t)
	for _, tt := range []struct {
		kind      login.Kind
		alg       string
		want, say string
	}{
		{login.OIDC, "RS256", "oidc " + idp.URL + " 1234", "Ada"},
		{login.OIDC, "ES256", "oidc " + idp.URL + " 1234", "Ada"},
		{login.OIDC, "EdDSA", "oidc " + idp.URL + " 1234", "Ada"},
		{login.Discord, "", "d_1234", "Ada"},
		{login.GitHub, "", "gh " + idp.URL + "/github 1234", "Ada"}, // not github.com's
	} {
		t.Run(string(tt.kind)+tt.alg, func(t *testing.T) {
			idp.Sign(tt.alg)
			p := provider(t, idp.Config(tt.kind, "test"))
			a, q := begin(t, p)
			got, err := p.Finish(t.Context(), a, q)
			if want := (login.Identity{Login: tt.want, Name: tt.say}); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
			// The provider takes a code once.
			if _, err := p.Finish(t.Context(), a, q); !errors.Is(err, login.ErrRefused) {
				t.Errorf("the code again: got %v, want ErrRefused", err)
			}
		})
	}
}

// What does not belong together is refused, whatever part of it is wrong.
func TestForgedCallbacks(t *testing.T) {
	idp := logintest.New(t)
	p := provider(t, idp.Config(login.OIDC, "test"))
	plain := provider(t, idp.Config(login.GitHub, "test"))
	for _, tt := range []struct {
		name string
		p    *login.Provider
		with func(a *login.Attempt, q url.Values)
		want error
	}{
		{"nothing", p, func(*login.Attempt, url.Values) {}, nil},
		{"wrong state", p, func(_ *login.Attempt, q url.Values) { q.Set("state", "other") }, login.ErrForged},
		{"no state", p, func(_ *login.Attempt, q url.Values) { q.Del("state") }, login.ErrForged},
		{"state twice", p, func(_ *login.Attempt, q url.Values) { q.Add("state", "other") }, login.ErrForged},
		{"state of no attempt", p, func(a *login.Attempt, q url.Values) { *a = login.Attempt{}; q.Set("state", "") }, login.ErrForged},
		{"attempt of another provider", p, func(a *login.Attempt, _ url.Values) { a.Provider = "other" }, login.ErrForged},
		{"wrong nonce", p, func(a *login.Attempt, _ url.Values) { a.Nonce = strings.Repeat("A", 43) }, login.ErrForged},
		{"no nonce", p, func(a *login.Attempt, _ url.Values) { a.Nonce = "" }, login.ErrForged},
		{"no PKCE", p, func(a *login.Attempt, _ url.Values) { a.Verifier = "" }, login.ErrForged},
		{"wrong PKCE", p, func(a *login.Attempt, _ url.Values) { a.Verifier = strings.Repeat("A", 43) }, login.ErrRefused},
		{"plain: no PKCE", plain, func(a *login.Attempt, _ url.Values) { a.Verifier = "" }, login.ErrForged},
		{"plain: wrong PKCE", plain, func(a *login.Attempt, _ url.Values) { a.Verifier = strings.Repeat("A", 43) }, login.ErrRefused},
		{"mixed-up issuer", p, func(_ *login.Attempt, q url.Values) { q.Set("iss", "https://evil.example") }, login.ErrForged},
		{"issuer missing", p, func(_ *login.Attempt, q url.Values) { q.Del("iss") }, login.ErrForged},
		{"no code", p, func(_ *login.Attempt, q url.Values) { q.Del("code") }, login.ErrForged},
		{"two codes", p, func(_ *login.Attempt, q url.Values) { q.Add("code", "other") }, login.ErrForged},
		{"unknown code", p, func(_ *login.Attempt, q url.Values) { q.Set("code", "other") }, login.ErrRefused},
		{"refused", p, func(_ *login.Attempt, q url.Values) { q.Set("error", "access_denied") }, login.ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, q := begin(t, tt.p)
			tt.with(&a, q)
			if id, err := tt.p.Finish(t.Context(), a, q); !errors.Is(err, tt.want) || err != nil && id != (login.Identity{}) {
				t.Errorf("got %+v, %v, want %v and nobody", id, err, tt.want)
			}
		})
	}
}

func TestForgedTokens(t *testing.T) {
	idp := logintest.New(t)
	set := func(name string, v any) func(map[string]any) { return func(c map[string]any) { c[name] = v } }
	now := time.Now().Unix()
	for _, tt := range []struct {
		name, alg string
		claims    func(map[string]any)
		want      error
	}{
		{"good", "ES256", nil, nil},
		{"good, RSA", "RS256", nil, nil},
		{"audience in a list", "ES256", set("aud", []string{logintest.ClientID}), nil},
		{"no signature", "none", nil, login.ErrForged},
		{"the client's secret as the key", "HS256", nil, login.ErrForged},
		{"a key of another algorithm", "confused", nil, login.ErrForged},
		{"not yet valid", "ES256", set("nbf", now+3600), login.ErrForged},
		{"without an issue time", "ES256", set("iat", 0), login.ErrForged},
		{"without an expiry", "ES256", set("exp", nil), login.ErrForged},
		{"too long", "ES256", set("picture", strings.Repeat("x", 16<<10)), login.ErrForged},
		{"somebody else's key", "stranger", nil, login.ErrForged},
		{"another issuer", "ES256", set("iss", "https://evil.example"), login.ErrForged},
		{"another audience", "ES256", set("aud", "somebody"), login.ErrForged},
		{"audience of two", "ES256", set("aud", []string{logintest.ClientID, "somebody"}), login.ErrForged},
		{"another party", "ES256", set("azp", "somebody"), login.ErrForged},
		{"expired", "ES256", set("exp", now-600), login.ErrForged},
		{"from the future", "ES256", set("iat", now+600), login.ErrForged},
		{"from the past", "ES256", set("iat", now-7200), login.ErrForged},
		{"another nonce", "ES256", set("nonce", "other"), login.ErrForged},
		{"nobody", "ES256", set("sub", ""), login.ErrForged},
		{"a subject of an odd type", "ES256", set("sub", map[string]any{}), login.ErrForged},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := provider(t, idp.Config(login.OIDC, "test"))
			idp.Sign(tt.alg)
			idp.Claims(tt.claims)
			a, q := begin(t, p)
			if _, err := p.Finish(t.Context(), a, q); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// A provider may change its keys at any time, also under the old name. The keys are read again
// for it, but not oftener than once a minute, whatever comes.
func TestKeysChange(t *testing.T) {
	idp := logintest.New(t)
	now := time.Now()
	p, err := login.New(idp.Config(login.OIDC, "test"), redirect, client(t), rand.Reader, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after  time.Duration
		rotate bool
		want   error
		asked  int
	}{
		{0, false, nil, 1}, {50 * time.Second, false, nil, 1}, {time.Minute, true, nil, 2}, {time.Second, false, nil, 2},
		{time.Second, true, login.ErrForged, 2}, {time.Second, false, login.ErrForged, 2}, {time.Minute, false, nil, 3}, {2 * time.Hour, false, nil, 4},
	} {
		now = now.Add(step.after)
		idp.Clock(func() time.Time { return now })
		if step.rotate {
			idp.Rotate()
		}
		a, q := begin(t, p)
		if _, err := p.Finish(t.Context(), a, q); !errors.Is(err, step.want) {
			t.Errorf("%+v: got %v", step, err)
		}
		if got := idp.KeysAsked(); got != step.asked {
			t.Errorf("%+v: the keys were asked for %d times", step, got)
		}
	}
}

// An e-mail address that changes hands gives nobody an account; a number that stays does.
func TestIdentityIsTheSubject(t *testing.T) {
	idp := logintest.New(t)
	p := provider(t, idp.Config(login.OIDC, "test"))
	log := func(subject, email string) string {
		idp.Person(subject, "x")
		idp.Claims(func(c map[string]any) { c["email"] = email })
		a, q := begin(t, p)
		id, err := p.Finish(t.Context(), a, q)
		if err != nil {
			t.Fatal(err)
		}
		return id.Login
	}
	one := log("1", "ada@example.com")
	if got := log("1", "new@example.com"); got != one {
		t.Errorf("a new e-mail: got %q, want %q", got, one)
	}
	if got := log("2", "ada@example.com"); got == one {
		t.Errorf("somebody else with the e-mail: got %q as well", got)
	}
}

func TestConfig(t *testing.T) {
	good := login.Config{Name: "x", Kind: login.OIDC, ClientID: "a", Secret: "b", Issuer: "https://id.example"}
	for _, tt := range []struct {
		name   string
		change func(*login.Config)
		ok     bool
	}{
		{"good", func(*login.Config) {}, true},
		{"google needs no issuer", func(c *login.Config) { c.Kind, c.Issuer = login.Google, "" }, true},
		{"no name", func(c *login.Config) { c.Name = "" }, false},
		{"a path as name", func(c *login.Config) { c.Name = "../x" }, false},
		{"no secret", func(c *login.Config) { c.Secret = "" }, false},
		{"no client", func(c *login.Config) { c.ClientID = "" }, false},
		{"no issuer", func(c *login.Config) { c.Issuer = "" }, false},
		{"issuer in the clear", func(c *login.Config) { c.Issuer = "http://id.example" }, false},
		{"issuer with a password", func(c *login.Config) { c.Issuer = "https://a:b@id.example" }, false},
		{"unknown kind", func(c *login.Config) { c.Kind = "saml" }, false},
	} {
		cfg := good
		tt.change(&cfg)
		if _, err := login.New(cfg, redirect, http.DefaultClient, rand.Reader, time.Now); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want ok=%v", tt.name, err, tt.ok)
		}
	}
}

// Without the allow-list nothing on this machine is called, whatever an issuer says.
func TestCallsAreGuarded(t *testing.T) {
	idp := logintest.New(t)
	c := outbound.New(outbound.Policy{})
	t.Cleanup(c.Close)
	p, err := login.New(idp.Config(login.OIDC, "test"), redirect, c.HTTP(), rand.Reader, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, _, err := p.Begin(ctx, false); !errors.Is(err, outbound.ErrForbidden) {
		t.Errorf("got %v, want ErrForbidden", err)
	}
}
