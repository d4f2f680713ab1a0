package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"hordenode/api/login"
	"hordenode/internal/horde"
	"hordenode/internal/outbound"
	"hordenode/ledger"
)

// A Login is a provider that people may log in with; login.Config says what its fields mean.
type Login struct {
	Name, Title, Kind          string
	ClientID, Secret           string
	Issuer                     string
	AuthURL, TokenURL, UserURL string
}

// LogValue keeps the secret out of logs.
func (l Login) LogValue() slog.Value { return slog.StringValue(l.Kind + " " + l.Name) }

// callback is where a provider leads browsers back to.
func (c *Config) callback(l Login) string {
	return strings.TrimSuffix(c.PublicURL, "/") + "/login/" + l.Name + "/callback"
}

func (c *Config) provider(l Login, client *outbound.Client, n *Node) (*login.Provider, error) {
	return login.New(login.Config{
		Name: l.Name, Title: l.Title, Kind: login.Kind(l.Kind), ClientID: l.ClientID, Secret: l.Secret, Issuer: l.Issuer,
		AuthURL: l.AuthURL, TokenURL: l.TokenURL, UserURL: l.UserURL,
	}, c.callback(l), client.HTTP(), n.rand, time.Now)
}

// checkLogins wants an address of this node that providers can be told: one taken from
// requests could be anybody's.
func (c *Config) checkLogins() error {
	if len(c.Logins) > 0 && c.PublicURL == "" {
		return errors.New("logins need the public URL, to which providers lead people back")
	}
	names := map[string]bool{}
	for _, l := range c.Logins {
		if names[l.Name] {
			return fmt.Errorf("two logins are called %q", l.Name)
		}
		names[l.Name] = true
	}
	return nil
}

// openLogins makes the providers. Nothing is asked of them before somebody logs in.
func (n *Node) openLogins() ([]*login.Provider, error) {
	if len(n.cfg.Logins) == 0 {
		return nil, nil
	}
	client := outbound.New(outbound.Policy{
		Timeout: 10 * time.Second,
		Allow:   n.cfg.OutboundAllow,
		RootCAs: n.cfg.OutboundRoots,
		Own:     outbound.Interfaces,
	})
	n.onClose(func() error { client.Close(); return nil })
	var list []*login.Provider
	for _, l := range n.cfg.Logins {
		p, err := n.cfg.provider(l, client, n)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// logins is the ledger as logging in sees it.
type logins struct{ *ledger.Client }

func (l logins) CreateLogin(ctx context.Context, name, login string) (horde.User, horde.APIKey, error) {
	return l.Client.CreateUser(ctx, ledger.NewUser{Name: name, OAuth: login})
}
