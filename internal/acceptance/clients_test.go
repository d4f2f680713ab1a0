//go:build clients

package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestNpmClient drives @zeldafan0225/ai_horde, unmodified, over three nodes: requests are
// posted at A, popped and submitted at B, read at C, and both accounts agree everywhere.
func TestNpmClient(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"package.json", "package-lock.json", "flow.mjs"} {
		b, err := os.ReadFile(filepath.Join("testdata", "npm", f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, nil, "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")

	nodes := startFederation(t, 3)
	client, clientID := nodes[0].testUser("npmclient", 5000, false)
	owner, ownerID := nodes[0].testUser("npmowner", 500, true)
	out := run(t, dir, []string{
		"NODE_A=" + nodes[0].url, "NODE_B=" + nodes[1].url, "NODE_C=" + nodes[2].url,
		"CLIENT_KEY=" + client, "OWNER_KEY=" + owner,
	}, "node", "flow.mjs")
	t.Logf("npm client: %s", out)

	for _, id := range []string{clientID, ownerID} {
		nodes[0].eventually(10*time.Second, "equal balances of "+id, func() error {
			var first float64
			for i, n := range nodes {
				k, err := n.kudos(id)
				if err != nil {
					return err
				}
				if i == 0 {
					first = k
				} else if k != first {
					return fmt.Errorf("node %s says %v, node %s says %v", nodes[0].name, first, n.name, k)
				}
			}
			return nil
		})
	}
	if k, err := nodes[2].kudos(clientID); err != nil || k >= 5000 {
		t.Errorf("the client has %v (%v) after paying, want less than 5000", k, err)
	}
	if k, err := nodes[2].kudos(ownerID); err != nil || k <= 500 {
		t.Errorf("the worker's owner has %v (%v) after working, want more than 500", k, err)
	}
}

func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
