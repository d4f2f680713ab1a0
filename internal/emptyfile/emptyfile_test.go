package emptyfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	if err := Remove(filepath.Join(dir, "nothing")); err != nil {
		t.Errorf("a directory that is not there: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir.mem"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, content string
		stays         bool
	}{
		{"000007.vlog", "", false}, {"00009.mem", "", false},
		{"000006.vlog", "x", true}, {"00008.mem", "x", true}, {"000001.sst", "", true}, {"LOCK", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.name)
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Remove(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path); (err == nil) != tt.stays {
				t.Errorf("stat = %v, want it to stay: %v", err, tt.stays)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "dir.mem")); err != nil {
		t.Errorf("a directory is no empty file: %v", err)
	}
}
