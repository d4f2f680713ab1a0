package login

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// A Kind is what a provider speaks.
type Kind string

// The kinds of providers.
const (
	Google  Kind = "google"  // OpenID Connect, with its issuer known
	Discord Kind = "discord" // plain OAuth 2.0, and an address that says who the token is of
	GitHub  Kind = "github"  // likewise
	OIDC    Kind = "oidc"    // OpenID Connect, with the issuer given
)

// A Config is one provider that people may log in with.
type Config struct {
	Name     string // in addresses and forms: lower-case letters, digits and dashes
	Title    string // on pages; empty: by kind, or Name
	Kind     Kind
	ClientID string
	Secret   string // of the client
	Issuer   string // of kind oidc: https://..., as its discovery document writes it

	// Where a provider of kind discord or github is, if not where everybody knows it: a GitHub
	// of a company, or one of a test. Empty: where everybody knows it.
	AuthURL, TokenURL, UserURL string
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

const googleIssuer = "https://accounts.google.com"

// withDefaults fills in what the kind says, or tells what is wrong.
func (c Config) withDefaults() (Config, error) {
	fail := func(format string, args ...any) (Config, error) {
		return c, fmt.Errorf("login %q: "+format, append([]any{c.Name}, args...)...)
	}
	orElse := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	if !nameForm.MatchString(c.Name) {
		return fail("the name has lower-case letters, digits and dashes only, at most 32")
	}
	if c.ClientID == "" || c.Secret == "" {
		return fail("the client id or the client secret is missing")
	}
	switch c.Kind {
	case Google:
		orElse(&c.Title, "Google")
		orElse(&c.Issuer, googleIssuer)
	case Discord:
		orElse(&c.Title, "Discord")
		orElse(&c.AuthURL, "https://discord.com/oauth2/authorize")
		orElse(&c.TokenURL, "https://discord.com/api/oauth2/token")
		orElse(&c.UserURL, "https://discord.com/api/users/@me")
	case GitHub:
		orElse(&c.Title, "GitHub")
		orElse(&c.AuthURL, "https://github.com/login/oauth/authorize")
		orElse(&c.TokenURL, "https://github.com/login/oauth/access_token")
		orElse(&c.UserURL, "https://api.github.com/user")
	case OIDC:
		orElse(&c.Title, c.Name)
	default:
		return fail("the kind is google, discord, github or oidc, not %q", c.Kind)
	}
	addresses := []string{c.AuthURL, c.TokenURL, c.UserURL}
	if c.usesOIDC() {
		addresses = []string{c.Issuer}
	}
	for _, a := range addresses {
		if err := checkAddress(a); err != nil {
			return fail("%w", err)
		}
	}
	return c, nil
}

func (c *Config) usesOIDC() bool { return c.Kind == Google || c.Kind == OIDC }

// prompt is what makes the provider ask the person again; "": nothing does.
func (c *Config) prompt() string {
	switch c.Kind {
	case Google:
		return "select_account"
	case Discord:
		return "consent"
	case OIDC:
		return "login"
	}
	return ""
}

// checkAddress wants https. Plain http is for a provider on the same machine, in tests; what
// may be called at all is the HTTP client's to decide.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("an address of the provider is missing or none")
	}
	if host := u.Hostname(); u.Scheme != "https" && (u.Scheme != "http" || host != "127.0.0.1" && host != "localhost") {
		return errors.New("the provider's addresses must begin with https://")
	}
	return nil
}

// identity is what the ledger hashes. The prefixes of Google, Discord and GitHub are the
// reference's, so that its accounts could be brought along; others are kept apart by their
// issuer, because numbers of persons are unique at one issuer only.
func (c *Config) identity(subject string) string {
	switch {
	case c.Kind == Google && c.Issuer == googleIssuer:
		return "g_" + subject
	case c.Kind == Discord:
		return "d_" + subject
	case c.Kind == GitHub && strings.HasPrefix(c.UserURL, "https://api.github.com/"):
		return "gh_" + subject
	case c.Kind == GitHub:
		return "gh " + c.UserURL + " " + subject
	}
	return "oidc " + c.Issuer + " " + subject
}
