// Package logintest is an identity provider for tests, on a port of its own: OpenID Connect
// with discovery, keys and signed tokens, and the plain OAuth 2.0 of Discord and GitHub. It
// checks what a strict provider checks (client, secret, redirect address, PKCE, one use of a
// code), lets in at once whoever asks, and can be told to lie.
package logintest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"hordenode/api/login"
)

// What clients must say.
const (
	ClientID = "hordenode-test"
	Secret   = "not much of a secret"
)

// A Provider is running until its test ends.
type Provider struct {
	URL string

	mu       sync.Mutex // guards the fields below
	ec       *ecdsa.PrivateKey
	ed       ed25519.PrivateKey
	asked    int             // how often the keys were asked for
	rsa      *rsa.PrivateKey // nil until it is asked for: making one takes long
	codes    map[string]asked
	tokens   map[string]bool
	subject  string
	name     string
	redirect string
	refuse   bool
	any      bool
	now      func() time.Time
	alg      string
	claims   func(map[string]any)
	noIss    bool
	iss      string
	problems []string
}

// asked is what a code was given for.
type asked struct{ challenge, nonce, redirect string }

// New starts a provider that knows one person: subject "1234", called "Ada".
func New(tb testing.TB) *Provider {
	tb.Helper()
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	p := &Provider{ec: ecKey, ed: edKey, codes: map[string]asked{}, tokens: map[string]bool{}, subject: "1234", name: "Ada", alg: "ES256", now: time.Now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.describe)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /github", p.user)
	mux.HandleFunc("GET /discord", p.user)
	srv := httptest.NewServer(mux)
	tb.Cleanup(srv.Close)
	p.URL = srv.URL
	return p
}

// Config is how a node names this provider.
func (p *Provider) Config(kind login.Kind, name string) login.Config {
	c := login.Config{Name: name, Kind: kind, ClientID: ClientID, Secret: Secret}
	switch kind {
	case login.Discord, login.GitHub:
		c.AuthURL, c.TokenURL, c.UserURL = p.URL+"/authorize", p.URL+"/token", p.URL+"/"+string(kind)
	default:
		c.Issuer = p.URL
	}
	return c
}

// Person says who is let in from now on.
func (p *Provider) Person(subject, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subject, p.name = subject, name
}

// Clock says what time the provider has.
func (p *Provider) Clock(now func() time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
}

// Rotate gives the provider another key for ES256, of the same name.
func (p *Provider) Rotate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ec = key
}

// KeysAsked is how often somebody asked for the keys.
func (p *Provider) KeysAsked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// Sign says with what ID tokens are signed: RS256, ES256, EdDSA, or what no client should accept:
// "none", "HS256", "stranger", an RS256 with a key that the provider does not list, and
// "confused", an ES256 that names the provider's RSA key.
func (p *Provider) Sign(alg string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alg = alg
	if p.rsa == nil && (alg == "RS256" || alg == "stranger" || alg == "confused") {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		p.rsa = key
	}
}

// Claims changes the claims of ID tokens before they are signed; nil: not any more.
func (p *Provider) Claims(change func(map[string]any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims = change
}

// Issuer says what callbacks name as their issuer (RFC 9207); "": nothing, though the
// description promises it.
func (p *Provider) Issuer(iss string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noIss, p.iss = iss == "", iss
}

// AnyRedirect makes the provider lead back to any address: that of each node of a federation.
func (p *Provider) AnyRedirect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.any = true
}

// Refuse makes the provider refuse everybody, or not any more.
func (p *Provider) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Problems are what clients did wrong so far.
func (p *Provider) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.problems...)
}

// Code makes a code as if a browser had been here with these parameters.
func (p *Provider) Code(challenge, nonce, redirect string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	code := rand.Text()
	p.codes[code] = asked{challenge, nonce, redirect}
	return code
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a test that hangs up sees it itself
}

func (p *Provider) describe(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"response_types_supported": []string{"code"}, "id_token_signing_alg_values_supported": []string{"RS256", "ES256", "EdDSA"},
		"code_challenge_methods_supported": []string{"S256"}, "authorization_response_iss_parameter_supported": true,
	})
}

func base(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	x, y := p.point()
	keys := []map[string]string{
		{"kty": "EC", "kid": "e", "use": "sig", "crv": "P-256", "x": base(x), "y": base(y)},
		{"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": base(p.ed.Public().(ed25519.PublicKey))},
		{"kty": "oct", "kid": "h", "k": base([]byte(Secret))},
		{"kty": "EC", "kid": "later", "crv": "secp256k1", "alg": "ES256K"}, // of no kind that clients know
	}
	if p.rsa != nil {
		keys = append(keys, map[string]string{"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": base(p.rsa.N.Bytes()), "e": base(big.NewInt(int64(p.rsa.E)).Bytes())})
	}
	answer(w, http.StatusOK, map[string]any{"keys": keys})
}

func (p *Provider) point() (x, y []byte) {
	b, err := p.ec.PublicKey.Bytes()
	if err != nil || len(b) != 65 {
		panic("a P-256 key has 65 bytes")
	}
	return b[1:33], b[33:]
}

// authorize lets the person in at once.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.redirect == "" || p.any {
		p.redirect = q.Get("redirect_uri") // the first one registers itself
	}
	switch {
	case err != nil, q.Get("client_id") != ClientID, q.Get("response_type") != "code", q.Get("redirect_uri") != p.redirect:
		p.problems = append(p.problems, "authorize: client, type or redirect address")
		http.Error(w, "client, type or redirect address", http.StatusBadRequest)
		return
	case q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("state") == "":
		p.problems = append(p.problems, "authorize: no PKCE or no state")
		http.Error(w, "no PKCE or no state", http.StatusBadRequest)
		return
	}
	out := url.Values{"state": {q.Get("state")}}
	switch {
	case p.iss != "":
		out.Set("iss", p.iss)
	case !p.noIss:
		out.Set("iss", p.URL)
	}
	if p.refuse {
		out.Set("error", "access_denied")
	} else {
		code := rand.Text()
		p.codes[code] = asked{q.Get("code_challenge"), q.Get("nonce"), q.Get("redirect_uri")}
		out.Set("code", code)
	}
	back.RawQuery = out.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	} else if s, err := url.QueryUnescape(secret); err == nil {
		secret = s
	}
	code := r.PostFormValue("code")
	a, known := p.codes[code]
	delete(p.codes, code)
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case id != ClientID || secret != Secret:
		answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	case !known || a.redirect != r.PostFormValue("redirect_uri") || a.challenge != base(sum[:]):
		p.problems = append(p.problems, "token: code, redirect address or PKCE")
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	access := rand.Text()
	p.tokens[access] = true
	out := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 60}
	if a.nonce != "" {
		out["id_token"] = p.idToken(a.nonce)
	}
	answer(w, http.StatusOK, out)
}

func (p *Provider) idToken(nonce string) string {
	now := p.now().Unix()
	claims := map[string]any{
		"iss": p.URL, "sub": p.subject, "aud": ClientID, "iat": now, "exp": now + 300, "nonce": nonce,
		"name": p.name, "email": "somebody@example.com",
	}
	if p.claims != nil {
		p.claims(claims)
	}
	header := map[string]string{"alg": p.alg, "kid": map[string]string{"RS256": "r", "stranger": "r", "confused": "r", "ES256": "e", "EdDSA": "d", "HS256": "h"}[p.alg]}
	switch p.alg {
	case "stranger":
		header["alg"] = "RS256"
	case "confused":
		header["alg"] = "ES256"
	}
	head, err := json.Marshal(header)
	if err != nil {
		panic(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed := base(head) + "." + base(body)
	return signed + "." + base(p.sign(signed))
}

func (p *Provider) sign(signed string) []byte {
	sum := sha256.Sum256([]byte(signed))
	var out []byte
	var err error
	switch p.alg {
	case "RS256":
		out, err = rsa.SignPKCS1v15(rand.Reader, p.rsa, crypto.SHA256, sum[:])
	case "stranger":
		var other *rsa.PrivateKey
		if other, err = rsa.GenerateKey(rand.Reader, 2048); err == nil {
			out, err = rsa.SignPKCS1v15(rand.Reader, other, crypto.SHA256, sum[:])
		}
	case "EdDSA":
		out = ed25519.Sign(p.ed, []byte(signed))
	case "ES256", "confused":
		r, s, e := ecdsa.Sign(rand.Reader, p.ec, sum[:])
		if err = e; err == nil {
			out = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case "HS256":
		mac := sha256.Sum256(append([]byte(Secret), signed...))
		out = mac[:]
	}
	if err != nil {
		panic(err)
	}
	return out
}

// user answers as GitHub and Discord do: the one writes its ids as numbers, the other as
// strings.
func (p *Provider) user(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.tokens[bearer(r)] {
		answer(w, http.StatusUnauthorized, map[string]string{"message": "Bad credentials"})
		return
	}
	if r.URL.Path == "/github" {
		_, _ = io.WriteString(w, `{"login":"`+p.name+`","id":`+p.subject+`,"email":"somebody@example.com","name":null}`)
		return
	}
	answer(w, http.StatusOK, map[string]any{"id": p.subject, "username": "ada_1815", "global_name": p.name, "verified": false})
}

func bearer(r *http.Request) string {
	const prefix = "Bearer "
	h := r.Header.Get("Authorization")
	if len(h) < len(prefix) {
		return ""
	}
	return h[len(prefix):]
}
