//go:build clients

package acceptance

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// expectedResults reads testdata/pypi/expected.txt: the tests of the SDK that do not pass on so
// many nodes, with what they come to. Lines are "outcome nodes test fragment # reason"; nodes
// is a number or "any", fragment words that the failure must tell.
func expectedResults(t *testing.T, nodes int) map[string]testResult {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "pypi", "expected.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	expected := map[string]testResult{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		entry, reason, found := strings.Cut(line, " # ")
		words := strings.Fields(entry)
		if !found || reason == "" || len(words) < 4 {
			t.Fatalf("expected.txt:%d: want \"outcome nodes test fragment # reason\"", n)
		}
		if words[0] != "failed" && words[0] != "skipped" {
			t.Fatalf("expected.txt:%d: outcome %q, want failed or skipped", n, words[0])
		}
		if words[1] == "any" || words[1] == strconv.Itoa(nodes) {
			expected[words[2]] = testResult{words[0], strings.Join(words[3:], " ")}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return expected
}

// compareExpected fails for each result that is not as expected, either way.
func compareExpected(t *testing.T, results map[string]testResult, expected map[string]testResult) {
	t.Helper()
	for test, got := range results {
		want, listed := expected[test]
		if !listed {
			want = testResult{outcome: "passed"}
		}
		if got.outcome != want.outcome || !strings.Contains(got.why, want.why) {
			t.Errorf("%s %s, want %s %q: %.600s", test, got.outcome, want.outcome, want.why, got.why)
		}
	}
	for test := range expected {
		if _, ran := results[test]; !ran {
			t.Errorf("%s is expected but did not run", test)
		}
	}
}
