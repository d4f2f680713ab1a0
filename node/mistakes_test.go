package node_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hordenode/node"
	"hordenode/node/nodetest"
)

// TestMistakes makes what operators get wrong: each is told in a line, and nothing of what
// was there before is lost.
func TestMistakes(t *testing.T) {
	c := nodetest.New(t, 1)
	first := c.Nodes[0]
	account := c.NewAccount(1234, false)
	token := first.Invite(t, time.Hour)

	other := nodetest.New(t, 1)
	foreign := other.Nodes[0].Invite(t, time.Hour)

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, takenPort, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	used := first.Invite(t, time.Hour)
	joined := nodetest.Config(t, "second")
	joined.Join = used
	n, err := node.New(joined)
	if err != nil {
		t.Fatalf("join with a good token: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	// Its answer was lost, say: the same node may use the token again.
	if err := os.Remove(filepath.Join(joined.Data, "federation.json")); err != nil {
		t.Fatal(err)
	}
	if n, err = node.New(joined); err != nil {
		t.Fatalf("join again with the same token: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	member := func(c *node.Config) { c.Data = joined.Data } // a directory of first's federation
	for _, tt := range []struct {
		name string
		make func(*node.Config)
		want string // in the error
	}{
		{"the API's port is in use", func(c *node.Config) { c.API = taken.Addr().String() }, "cannot listen on " + taken.Addr().String()},
		{"the p2p port is in use", func(c *node.Config) { c.P2P = []string{"/ip4/127.0.0.1/tcp/" + takenPort} }, takenPort},
		{"the directory is in use", func(c *node.Config) { c.Data = first.Data() }, "in use by another hordenode"},
		{"the directory is a file", func(c *node.Config) { c.Data = file(t) }, "data directory"},
		{"the token was not copied completely", func(c *node.Config) { c.Join = token[:len(token)/2] }, "not an invite token"},
		{"the token is of nobody", func(c *node.Config) { c.Join = forge(token) }, "invite"},
		{"the token has expired", func(c *node.Config) { c.Join = first.Invite(t, -time.Second) }, "expired"},
		{"the token was used", func(c *node.Config) { c.Join = used }, "used"},
		{"the name is taken", func(c *node.Config) { c.Name, c.Join = "second", first.Invite(t, time.Hour) }, "name"},
		{"the directory belongs to another federation", func(c *node.Config) { member(c); c.Join = foreign }, "belongs to federation"},
		{"the directory's federation file is damaged", func(c *node.Config) { damage(t, c, "federation.json") }, "damaged"},
		{"the key file is damaged", func(c *node.Config) { damage(t, c, "node.key") }, "node.key"},
		{"the name has a blank", func(c *node.Config) { c.Name = "two words" }, "name"},
		{"the p2p address is no multiaddr", func(c *node.Config) { c.P2P = []string{"127.0.0.1:4001"} }, "127.0.0.1:4001"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := nodetest.Config(t, "newcomer")
			tt.make(&cfg)
			n, err := node.New(cfg)
			if err == nil {
				t.Error("New succeeds")
				if err := n.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "goroutine") || strings.Count(err.Error(), "\n") > 1 {
				t.Errorf("the error is %q, want a line about %q", err, tt.want)
			}
		})
	}
	if u, ok := first.User(account.ID); !ok || u.Kudos != 123400 {
		t.Errorf("the account is %+v, %v after all of that", u, ok)
	}
	c.CheckLedger()
}

func file(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("not a directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// damage starts the directory with a broken file in it.
func damage(t *testing.T, c *node.Config, name string) {
	t.Helper()
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Data, name), []byte("{\"half"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// forge changes a letter in the middle of a token: what it says, but not its signature.
func forge(token string) string {
	b := []byte(token)
	at := len(b) / 3
	if b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}
