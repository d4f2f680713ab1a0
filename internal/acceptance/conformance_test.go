//go:build conformance

package acceptance

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestConformance runs the recorded scenarios that this version serves against one node and
// rotating over three. The runner and the recordings live beside the repository; the
// variable CONFORMANCE says where.
func TestConformance(t *testing.T) {
	runner := os.Getenv("CONFORMANCE")
	if runner == "" {
		t.Fatal("CONFORMANCE does not name the runner's folder (make conformance sets it)")
	}
	for _, tt := range []struct {
		name  string
		nodes int
	}{{"one node", 1}, {"three nodes", 3}} {
		t.Run(tt.name, func(t *testing.T) {
			nodes := startFederation(t, tt.nodes, modelFlags(runner)...)
			conform(t, runner, nodes, served(t, tt.nodes))
		})
	}
}

// conform replays the scenarios, each once: what a node was told is true at all others when
// the answer is there, so nothing has to be tried again. The runner repeats reads only.
func conform(t *testing.T, runner string, nodes []*process, scenarios []string) {
	t.Helper()
	args := []string{"run", "-C", runner, ".", "-settle", "3s", "-base", nodes[0].url}
	for i, n := range nodes[1:] {
		args = append(args, fmt.Sprintf("-base%d", i+2), n.url)
	}
	args = append(args, "-run", "^("+strings.Join(scenarios, "|")+")$")
	out, err := exec.Command("go", args...).CombinedOutput()
	last := bytes.TrimSpace(out)
	if i := bytes.LastIndexByte(last, '\n'); i >= 0 {
		last = last[i+1:]
	}
	t.Logf("%d nodes, %d scenarios: %s", len(nodes), len(scenarios), last)
	if err != nil {
		t.Errorf("%v\n%s", err, tail(string(out), 80))
	}
}

func modelFlags(runner string) []string {
	ref := func(name string) string { return filepath.Join(runner, "refs", name) }
	return []string{
		"--image-models", ref("sd.json"), "--image-models", ref("diff.json"), "--text-models", ref("db.json"),
		"--trusted-proxy", "127.0.0.0/8",
	}
}

// served reads the names of the scenarios that pass on so many nodes, a line each; "one"
// after a name means one node only, and # starts a comment.
func served(t *testing.T, nodes int) []string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "conformance.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var names []string
	for s := bufio.NewScanner(f); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		if f := strings.Fields(line); len(f) == 1 || len(f) == 2 && f[1] == "one" && nodes == 1 {
			names = append(names, f[0])
		}
	}
	return names
}
