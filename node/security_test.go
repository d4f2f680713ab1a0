package node_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hordenode/api/openapi"
	"hordenode/node"
	"hordenode/node/nodetest"
)

// The first start makes the node's secrets, each node its own, and nobody else may read them.
func TestSecurity16SecretsAreGenerated(t *testing.T) {
	cfg := nodetest.Config(t, "a")
	n := nodetest.Run(t, cfg)
	n.Stop()
	found := 0
	err := filepath.WalkDir(cfg.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if name := d.Name(); name != "secret" && !strings.HasSuffix(name, ".key") {
			return nil
		}
		found++
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 || info.Size() < 16 {
			t.Errorf("%s: mode %v, %d bytes, want at least 16 bytes for the owner's eyes", path, info.Mode(), info.Size())
		}
		return nil
	})
	if err != nil || found < 2 {
		t.Errorf("%d secrets in %s, %v, want the node's key and the secret of its addresses", found, cfg.Data, err)
	}
	if info, err := os.Stat(cfg.Data); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the data directory: %v, %v, want it closed to others", info.Mode(), err)
	}
}

// A key that was replaced at one node is refused by all, and the new one is good, at once.
func TestSecurity18RotationReachesAllNodes(t *testing.T) {
	c := nodetest.New(t, 2)
	var old, fresh struct {
		Key string `json:"api_key"`
	}
	body := map[string]any{"username": "rotating", "oauth_id": "rotating", "kudos": 100, "moderator": false, "trusted": false}
	at := func(n *nodetest.Node) nodetest.REST { return nodetest.REST{URL: n.URL()} }
	c.NewAccount(10, false) // the first test user is the founder
	must(t, at(c.Nodes[0]), "POST", "/api/v2/dev/test-user", body, &old)
	must(t, nodetest.REST{URL: c.Nodes[1].URL(), Key: old.Key}, "GET", "/api/v2/find_user", nil, nil)
	must(t, at(c.Nodes[0]), "POST", "/api/v2/dev/test-user", body, &fresh)
	for _, n := range c.Nodes {
		must(t, nodetest.REST{URL: n.URL(), Key: fresh.Key}, "GET", "/api/v2/find_user", nil, nil)
		c.Eventually("the old key is refused at "+n.Name, func() error {
			a, err := nodetest.REST{URL: n.URL(), Key: old.Key}.Do("GET", "/api/v2/find_user", nil, nil)
			if err != nil || a.Status != 404 {
				return fmt.Errorf("%+v %v", a, err)
			}
			return nil
		})
	}
}

func TestSecurity48AdminIsPrivate(t *testing.T) {
	for address, ok := range map[string]bool{
		"": true, "127.0.0.1:9": true, "[::1]:9": true, "localhost:9": true, "10.1.2.3:9": true, "192.168.1.1:9": true, "[fd00::1]:9": true,
		"0.0.0.0:9": false, ":9": false, "[::]:9": false, "203.0.113.5:9": false, "example.org:9": false, "127.0.0.1": false,
	} {
		cfg := node.DefaultConfig()
		cfg.AdminListen = address
		if err := cfg.Validate(); (err == nil) != ok {
			t.Errorf("admin address %q: %v, want accepted: %v", address, err, ok)
		}
	}
}

// What the node serves itself is what the documents say it serves.
func TestSecurity55EndpointsAreDocumented(t *testing.T) {
	n := nodetest.Run(t, nodetest.Config(t, "a"))
	var doc struct {
		Paths map[string]map[string]struct{ Summary string }
	}
	must(t, nodetest.REST{URL: n.URL()}, "GET", "/api/openapi.json", nil, &doc)
	var served, told []string
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if method != "parameters" && op.Summary == "" {
				t.Errorf("%s %s is served, but not documented", strings.ToUpper(method), path)
			}
			served = append(served, strings.ToUpper(method)+" "+path)
		}
	}
	for _, op := range openapi.Operations() {
		if told = append(told, op.Method+" "+op.Path); op.Node && !slices.Contains(served, op.Method+" "+op.Path) {
			t.Errorf("%s %s is documented, but not served", op.Method, op.Path)
		}
	}
	if len(told) < 100 {
		t.Errorf("%d operations are documented, want more", len(told))
	}
}
