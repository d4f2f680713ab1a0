package login

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

var (
	// ErrRefused is returned when the provider did not let the person in, or the person did not
	// want it.
	ErrRefused = errors.New("the provider refused")
	// ErrForged is returned for what does not belong together: a callback that this attempt did
	// not ask for, from another provider, or with a token that is not what it should be.
	ErrForged = errors.New("the answer does not belong to this attempt")
)

// An Attempt is what must be remembered between Begin and Finish, by this browser only and
// unseen by it: with it, a stranger could finish in the person's name.
type Attempt struct {
	Provider string // Config.Name
	State    string
	Verifier string // of PKCE
	Nonce    string // "" unless OpenID Connect
}

// An Identity is who a provider says somebody is.
type Identity struct {
	Login string // names the person at the provider for ever; a secret of sorts: only its hash is stored
	Name  string // what the person might like to be called; may be empty; anything may be in it
}

// A Provider is one way to log in. It may be used from many goroutines.
type Provider struct {
	cfg      Config
	redirect string
	http     *http.Client
	rnd      io.Reader
	now      func() time.Time

	mu    sync.Mutex // guards the fields below; not held across calls
	known *discovery // nil: not asked yet
	keys  *keySet
}

// New returns a provider. redirect is where browsers come back to, exactly; client makes all
// calls.
func New(cfg Config, redirect string, client *http.Client, rnd io.Reader, now func() time.Time) (*Provider, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Provider{cfg: cfg, redirect: redirect, http: client, rnd: rnd, now: now}, nil
}

// Name is the provider's name in addresses.
func (p *Provider) Name() string { return p.cfg.Name }

// Title is the provider's name on pages.
func (p *Provider) Title() string { return p.cfg.Title }

// Begin returns the address to send the browser to, and what to remember until it is back.
// again asks the provider to make sure that it is the person, where it knows how.
func (p *Provider) Begin(ctx context.Context, again bool) (address string, a Attempt, err error) {
	conf, _, err := p.client(ctx)
	if err != nil {
		return "", a, err
	}
	a.Provider = p.cfg.Name
	for _, into := range []*string{&a.State, &a.Verifier, &a.Nonce} {
		if *into, err = p.random(); err != nil {
			return "", a, err
		}
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.Verifier)}
	if p.cfg.usesOIDC() {
		options = append(options, oauth2.SetAuthURLParam("nonce", a.Nonce))
	} else {
		a.Nonce = ""
	}
	if prompt := p.cfg.prompt(); again && prompt != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", prompt))
	}
	return conf.AuthCodeURL(a.State, options...), a, nil
}

func (p *Provider) random() (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(p.rnd, b[:]); err != nil {
		return "", fmt.Errorf("make a login attempt: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// Finish turns the query of a callback into an identity: ErrRefused, ErrForged, or what kept
// the provider from being asked.
func (p *Provider) Finish(ctx context.Context, a Attempt, query url.Values) (Identity, error) {
	conf, known, err := p.client(ctx)
	if err != nil {
		return Identity{}, err
	}
	state, issuer := query.Get("state"), query.Get("iss")
	switch {
	case a.Provider != p.cfg.Name || a.State == "" || a.Verifier == "" || p.cfg.usesOIDC() && a.Nonce == "":
		return Identity{}, fmt.Errorf("%w: it was begun with another provider", ErrForged)
	case len(query["state"]) != 1 || subtle.ConstantTimeCompare([]byte(state), []byte(a.State)) != 1:
		return Identity{}, fmt.Errorf("%w: state", ErrForged)
	case len(query["iss"]) > 1 || issuer != "" && known != nil && issuer != p.cfg.Issuer, // RFC 9207
		issuer == "" && known != nil && known.NamesIssuer:
		return Identity{}, fmt.Errorf("%w: issuer", ErrForged)
	case query.Get("error") != "":
		return Identity{}, ErrRefused
	case len(query["code"]) != 1 || query.Get("code") == "":
		return Identity{}, fmt.Errorf("%w: no code", ErrForged)
	}
	token, err := conf.Exchange(p.through(ctx), query.Get("code"), oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return Identity{}, exchangeError(err)
	}
	if p.cfg.usesOIDC() {
		return p.fromIDToken(ctx, known, a.Nonce, token)
	}
	return p.fromUser(ctx, token)
}

// exchangeError keeps what a provider wrote, which may hold codes, out of errors.
func exchangeError(err error) error {
	var said *oauth2.RetrieveError
	if errors.As(err, &said) {
		if said.Response != nil && said.Response.StatusCode >= 500 {
			return fmt.Errorf("exchange the code: status %d", said.Response.StatusCode)
		}
		return fmt.Errorf("%w: the code was not accepted", ErrRefused)
	}
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	return fmt.Errorf("exchange the code: %w", err)
}

// client is the OAuth 2.0 client for this provider; known is nil unless OpenID Connect.
func (p *Provider) client(ctx context.Context) (conf *oauth2.Config, known *discovery, err error) {
	conf = &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.Secret, RedirectURL: p.redirect,
		Endpoint: oauth2.Endpoint{AuthURL: p.cfg.AuthURL, TokenURL: p.cfg.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
	}
	switch p.cfg.Kind {
	case Discord:
		conf.Scopes = []string{"identify"}
	case Google, OIDC:
		if known, err = p.discover(ctx); err != nil {
			return nil, nil, err
		}
		conf.Endpoint = oauth2.Endpoint{AuthURL: known.AuthURL, TokenURL: known.TokenURL, AuthStyle: known.secretStyle()}
		conf.Scopes = []string{"openid", "profile"}
	}
	return conf, known, nil
}

// through makes package oauth2 use our client.
func (p *Provider) through(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, p.http)
}

const maxAnswer = 256 << 10 // bytes of an answer of a provider

// get reads a JSON answer. Errors hold no address.
func (p *Provider) get(ctx context.Context, address, bearer string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("the provider named an address that is none")
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "hordenode")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := p.http.Do(r)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err
		}
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the provider answered with status %d", res.StatusCode)
	}
	return decodeJSON(io.LimitReader(res.Body, maxAnswer), into)
}

// fromUser asks a provider of plain OAuth 2.0 who a token is of.
func (p *Provider) fromUser(ctx context.Context, token *oauth2.Token) (Identity, error) {
	var u struct {
		ID         number `json:"id"`
		Login      string `json:"login"`       // GitHub
		Username   string `json:"username"`    // Discord
		GlobalName string `json:"global_name"` // Discord
		Name       string `json:"name"`        // GitHub
	}
	if !strings.EqualFold(token.Type(), "Bearer") {
		return Identity{}, fmt.Errorf("%w: type of the token", ErrForged)
	}
	if err := p.get(ctx, p.cfg.UserURL, token.AccessToken, &u); err != nil {
		return Identity{}, fmt.Errorf("ask who it is: %w", err)
	}
	if u.ID == "" {
		return Identity{}, fmt.Errorf("%w: the provider did not say who it is", ErrForged)
	}
	id := Identity{Login: p.cfg.identity(string(u.ID))}
	for _, name := range []string{u.GlobalName, u.Username, u.Login, u.Name} {
		if id.Name == "" {
			id.Name = name
		}
	}
	return id, nil
}
