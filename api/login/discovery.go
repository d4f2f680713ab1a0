package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// discovery is what an OpenID Connect provider says of itself.
type discovery struct {
	Issuer      string   `json:"issuer"`
	AuthURL     string   `json:"authorization_endpoint"`
	TokenURL    string   `json:"token_endpoint"`
	KeysURL     string   `json:"jwks_uri"`
	NamesIssuer bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
	PKCE        []string `json:"code_challenge_methods_supported"`
	Secrets     []string `json:"token_endpoint_auth_methods_supported"` // how the client's secret may be shown; none: basic

	at time.Time // when it was read
}

const (
	discoveryKept = 24 * time.Hour
	keysKept      = time.Hour   // a key that the provider takes back is good for that long
	keysAgain     = time.Minute // a token that no key fits makes the keys be read again, so often at most
)

// How a client may show its secret (OpenID Connect Core, section 9).
const (
	basicSecret  = "client_secret_basic"
	postedSecret = "client_secret_post"
)

// secretStyle is how the secret is shown. It is never tried out: a code serves once.
func (d *discovery) secretStyle() oauth2.AuthStyle {
	if len(d.Secrets) == 0 || slices.Contains(d.Secrets, basicSecret) {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

// discover reads the provider's description, once a day.
func (p *Provider) discover(ctx context.Context) (*discovery, error) {
	p.mu.Lock()
	known := p.known
	p.mu.Unlock()
	if known != nil && p.now().Sub(known.at) < discoveryKept {
		return known, nil
	}
	d := &discovery{at: p.now()}
	if err := p.get(ctx, strings.TrimSuffix(p.cfg.Issuer, "/")+"/.well-known/openid-configuration", "", d); err != nil {
		if known != nil { // what was true yesterday will do
			return known, nil
		}
		return nil, fmt.Errorf("read the provider's description: %w", err)
	}
	if d.Issuer != p.cfg.Issuer {
		return nil, fmt.Errorf("%w: the description is another issuer's", ErrForged)
	}
	if len(d.PKCE) > 0 && !slices.Contains(d.PKCE, "S256") {
		return nil, errors.New("the provider does not know PKCE with S256")
	}
	if len(d.Secrets) > 0 && !slices.Contains(d.Secrets, basicSecret) && !slices.Contains(d.Secrets, postedSecret) {
		return nil, errors.New("the provider takes no client secret in a way that we know")
	}
	for _, a := range []string{d.AuthURL, d.TokenURL, d.KeysURL} {
		if err := checkAddress(a); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = d
	return d, nil
}

// keySet is the provider's keys: those we have, or, if again, read now. They are read once a minute
// at most, whatever tokens name.
func (p *Provider) keySet(ctx context.Context, d *discovery, again bool) (*keySet, error) {
	p.mu.Lock()
	keys := p.keys
	p.mu.Unlock()
	if keys != nil {
		if age := p.now().Sub(keys.at); age < keysAgain || age < keysKept && !again {
			return keys, nil
		}
	}
	var set struct{ Keys []json.RawMessage }
	if err := p.get(ctx, d.KeysURL, "", &set); err != nil {
		return nil, fmt.Errorf("read the provider's keys: %w", err)
	}
	keys = readKeys(set.Keys, p.now())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
	return keys, nil
}

// decodeJSON reads one JSON value and nothing after it.
func decodeJSON(r io.Reader, into any) error {
	d := json.NewDecoder(r)
	err := d.Decode(into)
	if err == nil {
		_, err = d.Token()
	}
	if err != io.EOF {
		return errors.New("the provider's answer is not the JSON that was expected")
	}
	return nil
}

// A number is an id that some providers write as a number and some as a string.
type number string

// UnmarshalJSON reads both; what is neither is an error.
func (n *number) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*n = number(s)
		return nil
	}
	var v json.Number
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("read an id: %w", err)
	}
	if _, err := v.Int64(); err != nil {
		return fmt.Errorf("read an id: %w", err)
	}
	*n = number(v.String())
	return nil
}
