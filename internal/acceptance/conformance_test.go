//go:build conformance

package acceptance

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

// conform replays the scenarios. Over several nodes what one learns from another by gossip,
// such as that a worker has just come, may be milliseconds late, and the runner repeats reads
// only: so there a scenario that failed is tried again, alone, at most twice.
func conform(t *testing.T, runner string, nodes []*process, scenarios []string) {
	t.Helper()
	args := []string{"run", "-C", runner, ".", "-settle", "3s", "-base", nodes[0].url}
	for _, n := range nodes[1:] {
		args = append(args, "-base2", n.url)
	}
	tries := 1
	if len(nodes) > 1 {
		tries = 3
	}
	for try := 1; ; try++ {
		run := append(args, "-run", "^("+strings.Join(scenarios, "|")+")$")
		out, err := exec.Command("go", run...).CombinedOutput()
		last := bytes.TrimSpace(out)
		if i := bytes.LastIndexByte(last, '\n'); i >= 0 {
			last = last[i+1:]
		}
		t.Logf("%d nodes, %d scenarios: %s", len(nodes), len(scenarios), last)
		if err == nil {
			return
		}
		failed := failedScenarios(out)
		if try == tries || len(failed) == 0 {
			t.Errorf("%v\n%s", err, tail(string(out), 80))
			return
		}
		t.Logf("tried again: %v", failed)
		scenarios = failed
	}
}

var failLine = regexp.MustCompile(`(?m)^FAIL (\S+) #`)

func failedScenarios(out []byte) []string {
	var names []string
	for _, m := range failLine.FindAllSubmatch(out, -1) {
		if name := string(m[1]); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
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
