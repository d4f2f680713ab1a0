package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
)

// ID tokens are JSON Web Signatures. go-oidc and go-jose read and verify them; ours are the
// keys, which are read with a bound and kept (discovery.go), and what this client is stricter
// in than OpenID Connect asks: three algorithms (what providers sign with), one audience, an age.
const (
	maxToken = 16 << 10 // bytes
	skew     = 2 * time.Minute
	maxAge   = 15 * time.Minute // of a token when it arrives: it comes straight from the provider
)

// algorithms returns what tokens may be signed with. "none" and the HMACs are not among them.
func algorithms() []string { return []string{oidc.RS256, oidc.ES256, oidc.EdDSA} }

// fromIDToken verifies the ID token of an exchange (OpenID Connect Core, section 3.1.3.7).
func (p *Provider) fromIDToken(ctx context.Context, d *discovery, nonce string, token *oauth2.Token) (Identity, error) {
	raw, _ := token.Extra("id_token").(string)
	if len(raw) > maxToken {
		return Identity{}, fmt.Errorf("%w: the ID token is too long", ErrForged)
	}
	now := p.now()
	keys := &keySource{p: p, d: d}
	verifier := oidc.NewVerifier(p.cfg.Issuer, keys, &oidc.Config{
		ClientID: p.cfg.ClientID, SupportedSigningAlgs: algorithms(),
		Now: func() time.Time { return now.Add(-skew) }, // for the expiry; it is lenient of itself with "not before"
	})
	t, err := verifier.Verify(ctx, raw)
	switch {
	case keys.unread != nil:
		return Identity{}, keys.unread
	case err != nil: // with values of the token in it
		return Identity{}, fmt.Errorf("%w: the ID token is not valid", ErrForged)
	}
	var c struct {
		Party string `json:"azp"`
		Name  string `json:"name"`
		Nick  string `json:"preferred_username"`
	}
	fail := func(what string) (Identity, error) {
		return Identity{}, fmt.Errorf("%w: %s of the ID token", ErrForged, what)
	}
	switch {
	case t.Claims(&c) != nil:
		return fail("claims")
	case len(t.Audience) != 1: // others in it are nobody we trust
		return fail("audience")
	case c.Party != "" && c.Party != p.cfg.ClientID:
		return fail("authorized party")
	case t.IssuedAt.After(now.Add(skew)) || t.IssuedAt.Before(now.Add(-maxAge)):
		return fail("time")
	case subtle.ConstantTimeCompare([]byte(t.Nonce), []byte(nonce)) != 1:
		return fail("nonce")
	case t.Subject == "" || len(t.Subject) > 255:
		return fail("subject")
	}
	id := Identity{Login: p.cfg.identity(t.Subject), Name: c.Name}
	if id.Name == "" {
		id.Name = c.Nick
	}
	return id, nil
}

// A keySource is a provider's keys while one token is verified.
type keySource struct {
	p      *Provider
	d      *discovery
	unread error // why the keys could not be read
}

// VerifySignature returns the payload of a token that one of the provider's keys signed. When
// none of those we have did, they are read again, so that a provider may change them at any
// time, under new names or the same.
func (k *keySource) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	var algs []jose.SignatureAlgorithm
	for _, a := range algorithms() {
		algs = append(algs, jose.SignatureAlgorithm(a))
	}
	token, err := jose.ParseSignedCompact(raw, algs)
	if err != nil {
		return nil, err
	}
	for _, again := range []bool{false, true} {
		set, err := k.p.keySet(ctx, k.d, again)
		if err != nil {
			k.unread = err
			return nil, err
		}
		if key := set.find(token.Signatures[0].Header); key != nil {
			if payload, err := token.Verify(key); err == nil {
				return payload, nil
			}
		}
	}
	return nil, errors.New("none of the provider's keys signed it")
}

// keySet is a provider's keys.
type keySet struct {
	at   time.Time
	keys []jose.JSONWebKey
}

// find returns the key of a header's name, if it is for the header's algorithm; without a
// name, the only one of the algorithm. nil: there is none, or more than one.
func (s *keySet) find(h jose.Header) (found any) {
	for _, k := range s.keys {
		if k.Algorithm != h.Algorithm || h.KeyID != "" && k.KeyID != h.KeyID {
			continue
		}
		if found != nil {
			return nil
		}
		found = k.Key
	}
	return found
}

const maxKeys = 64

// readKeys reads the keys of a JWKS that sign in one of our algorithms, and tells of each
// which one: a key's kind decides, and what its list says of it may not differ.
func readKeys(raw []json.RawMessage, now time.Time) *keySet {
	set := &keySet{at: now}
	for _, r := range raw[:min(len(raw), maxKeys)] {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(r) != nil || k.Use != "" && k.Use != "sig" || !k.IsPublic() {
			continue
		}
		alg := algorithmOf(&k)
		if alg == "" || k.Algorithm != "" && k.Algorithm != alg {
			continue
		}
		k.Algorithm = alg
		set.keys = append(set.keys, k)
	}
	return set
}

// algorithmOf is what a key signs with: "" if it is of no kind that we know, or weak.
func algorithmOf(k *jose.JSONWebKey) string {
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n >= 2048 && n <= 8192 {
			return oidc.RS256
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return oidc.ES256
		}
	case ed25519.PublicKey:
		return oidc.EdDSA
	}
	return ""
}
