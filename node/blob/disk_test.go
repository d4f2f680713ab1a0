package blob_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"hordenode/node/blob"
	"hordenode/node/blob/blobtest"
)

const job = "0123abcd-0000-8000-8000-0000000000aa"

func open(t *testing.T, cfg blob.Config) *blob.Disk {
	t.Helper()
	d, err := blob.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestDisk(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blobtest.Subject {
		var now atomic.Pointer[time.Time]
		now.Store(new(time.Time))
		d := open(t, blob.Config{
			Dir: t.TempDir(), MaxBlob: 1000, Quota: 5000, KeepFor: time.Hour,
			Now: func() time.Time { return *now.Load() },
		})
		return blobtest.Subject{Store: d, Clock: func(t time.Time) { now.Store(&t) }}
	})
}

// A node that was killed finds its blobs again, counts them, and forgets what was half written.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	first := open(t, blob.Config{Dir: dir})
	if err := first.Put(t.Context(), job, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, "tmp", "HALF")
	if err := os.WriteFile(half, []byte("hal"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := open(t, blob.Config{Dir: dir})
	if got, err := second.Get(t.Context(), job); err != nil || string(got) != "kept" {
		t.Errorf("Get = %q, %v, want kept", got, err)
	}
	if got := second.Usage(); got != 4 {
		t.Errorf("Usage = %d, want 4", got)
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was half written is still there: %v", err)
	}
}

// A link that somebody put into the folder does not lead out of it.
func TestNoWayOut(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, blob.Config{Dir: dir})
	if err := os.Symlink(outside, filepath.Join(dir, "aa", job)); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Get(t.Context(), job); err == nil {
		t.Errorf("Get = %q, want an error", got)
	}
}
