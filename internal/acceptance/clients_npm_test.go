//go:build clients

package acceptance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestNpmClient drives @zeldafan0225/ai_horde, unmodified, over three nodes: requests are
// posted at A, popped and submitted at B, read at C, and both accounts agree everywhere.
func TestNpmClient(t *testing.T) {
	t.Parallel()
	nodes := clientNodes(t, 3)
	client := nodes[0].account("npmclient", 5000, false, false)
	owner := nodes[0].account("npmowner", 500, true, false)
	everywhere(t, nodes, client, owner)

	out := npmScript(t, "flow.mjs", []string{
		"NODE_A=" + nodes[0].url, "NODE_B=" + nodes[1].url, "NODE_C=" + nodes[2].url,
		"CLIENT_KEY=" + client.Key, "OWNER_KEY=" + owner.Key,
	})
	if got, want := lastLine(out), "12 jobs finished"; got != want {
		t.Errorf("the client says %q, want %q", got, want)
	}
	if k := sameKudos(nodes, client); k >= 5000 {
		t.Errorf("the client has %v after paying, want less than 5000", k)
	}
	if k := sameKudos(nodes, owner); k <= 500 {
		t.Errorf("the worker's owner has %v after working, want more than 500", k)
	}
}

// TestNpmSweep calls every method of the library as a stranger, a user, a moderator and the
// admin, and asserts each outcome: on one node, and rotating over three.
func TestNpmSweep(t *testing.T) {
	for name, n := range map[string]int{"one node": 1, "three nodes": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := clientNodes(t, n)
			accounts := map[string]account{
				// The first account of a horde is its admin.
				"admin": nodes[0].account("sweepadmin", 10_000, true, true),
				"user":  nodes[0].account("sweepuser", 10_000, false, false),
				"mod":   nodes[0].account("sweepmod", 10_000, true, true),
				"owner": nodes[0].account("sweepowner", 10_000, true, false),
			}
			for _, a := range accounts {
				everywhere(t, nodes, a)
			}
			accounts["anon"] = account{Key: "0000000000", ID: "0", Name: "Anonymous#0"}
			who, err := json.Marshal(accounts)
			if err != nil {
				t.Fatal(err)
			}
			out := npmScript(t, "sweep.mjs", []string{"NODES=" + commaList(urls(nodes)), "ACCOUNTS=" + string(who)})
			var got struct{ Methods, Calls, Finished int }
			if err := json.Unmarshal([]byte(lastLine(out)), &got); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got.Methods != 54 || got.Finished != 12 {
				t.Errorf("%d methods called and %d jobs finished, want 54 and 12", got.Methods, got.Finished)
			}
			t.Logf("%d calls of %d methods as expected", got.Calls, got.Methods)
		})
	}
}

// npmScript runs a script of testdata/npm beside the installed library.
func npmScript(t *testing.T, script string, env []string) string {
	t.Helper()
	packages := npmPackages(t, "npm")
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"image.mjs", script} {
		b, err := os.ReadFile(filepath.Join("testdata", "npm", f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return run(t, dir, env, "node", script)
}
