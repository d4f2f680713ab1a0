package ledger

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// Row 34 of the fault matrix: nothing but the log decides the state. The same logs are applied
// by processes of their own, which differ in the seed of their maps and in the number of their
// threads, and all come to the same hashes.
func TestRow34SameLogSameHashEverywhere(t *testing.T) {
	const child = "HORDENODE_TEST_ROW34"
	if procs := os.Getenv(child); procs != "" {
		fmt.Printf("hashes %x\n", hashOfAll(t))
		return
	}
	want := fmt.Sprintf("hashes %x", hashOfAll(t))
	for _, procs := range []string{"1", "2", "8"} {
		for range 2 {
			cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
			cmd.Env = append(os.Environ(), child+"="+procs, "GOMAXPROCS="+procs)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("GOMAXPROCS=%s: %v\n%s", procs, err, out)
			}
			if !strings.Contains(string(out), want) {
				t.Errorf("GOMAXPROCS=%s: got %.200s, want %s (here with %d)", procs, out, want, runtime.GOMAXPROCS(0))
			}
		}
	}
}

// hashOfAll applies every recorded log and hashes all the states that it went through.
func hashOfAll(tb testing.TB) digest {
	h := sha256.New()
	for _, r := range recordings(tb) {
		m := NewMachine()
		for _, e := range r.Entries {
			if _, err := m.Apply(e.Index, e.Stamp, sha256.Sum256(e.Proposals[0]), e.Proposals); err != nil {
				tb.Fatal(err)
			}
			_, sum := m.StateHash()
			h.Write(sum[:])
		}
	}
	return digest(h.Sum(nil))
}
