package consensus

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOfflineSharesNoTables: Badger empties the file of a table before it removes it, and a copy
// that is opened may be compacted. A table that were a hard link would be lost with its copy.
func TestOfflineSharesNoTables(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	files := []string{
		filepath.Join("raft", "log", "000001.sst"),
		filepath.Join("raft", "log", "000002.mem"),
		filepath.Join("state-1", "000001.sst"),
		filepath.Join("raft", "snapshots", "2-7-1", "state.bin"),
		"CURRENT",
	}
	for _, f := range files {
		path := filepath.Join(from, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := shareTree(from, to); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		copied := filepath.Join(to, f)
		if b, err := os.ReadFile(copied); err != nil || string(b) != f {
			t.Errorf("the copy of %s = %q, %v", f, b, err)
		}
		if filepath.Base(f) != "state.bin" { // raft removes snapshots, and changes none
			if err := os.Truncate(copied, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(copied); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(from, f)); err != nil || string(b) != f {
			t.Errorf("%s = %q, %v after its copy was emptied and removed; want it whole", f, b, err)
		}
	}
}
