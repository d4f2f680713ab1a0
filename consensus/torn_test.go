package consensus

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

const sector = 512 // what a disk writes whole or not at all

// files reads every file below dir.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil {
			all[rel], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// torn builds, in a new directory, what a disk may hold when the power goes during a write: of the
// sectors that differ between before and after, only those that reached says.
func torn(t *testing.T, before, after map[string][]byte, reached func(n int) bool) (dir string, differ int) {
	t.Helper()
	dir = t.TempDir()
	for name, now := range after {
		b := bytes.Clone(now)
		was := before[name]
		for at := 0; at < len(b); at += sector {
			end := min(at+sector, len(b))
			old := make([]byte, end-at)
			if at < len(was) {
				copy(old, was[at:])
			}
			if bytes.Equal(old, b[at:end]) {
				continue
			}
			if !reached(differ) {
				copy(b[at:end], old)
			}
			differ++
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		// Sparse: most of a write-ahead log is zeros.
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(b); at += 1 << 16 {
			part := b[at:min(at+1<<16, len(b))]
			if len(bytes.Trim(part, "\x00")) == 0 {
				continue
			}
			if _, err := f.WriteAt(part, int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Truncate(int64(len(b))); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir, differ
}

// Row 6 of the fault matrix: the power goes while the last entry is written, and any of its
// sectors of 512 bytes may have reached the disk: a beginning, an end, some of them. What was
// acknowledged before is there whole, the last entry is there whole or not at all.
func TestFault06TornLastRecord(t *testing.T) {
	s, dir := newTestLog(t)
	const acked = 40
	for i := uint64(1); i <= acked; i++ {
		if err := s.StoreLogs(entries(i, i, 1)); err != nil {
			t.Fatal(err)
		}
	}
	before := files(t, dir)
	last := []*raft.Log{{Index: acked + 1, Term: 1, Type: raft.LogCommand, Data: bytes.Repeat([]byte("the last entry "), 400)}}
	if err := s.StoreLogs(last); err != nil {
		t.Fatal(err)
	}
	after := files(t, dir)
	want := entries(1, acked, 1)

	_, sectors := torn(t, before, after, func(int) bool { return true })
	if sectors < 10 {
		t.Fatalf("the last entry changed %d sectors, want many", sectors)
	}
	check := func(name string, whole bool, reached func(int) bool) {
		t.Run(name, func(t *testing.T) {
			dir, _ := torn(t, before, after, reached)
			again, err := openLogStore(dir, time.Now, slog.New(slog.DiscardHandler), func(error) {})
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			defer again.Close()
			first, end := again.bounds()
			if first != 1 || end != acked && end != acked+1 || whole && end != acked+1 {
				t.Fatalf("the log is %d to %d, want 1 to %d or %d", first, end, acked, acked+1)
			}
			var l raft.Log
			for i, w := range append(want, last...) {
				if uint64(i) >= end {
					break
				}
				if err := again.GetLog(uint64(i)+1, &l); err != nil || !bytes.Equal(l.Data, w.Data) {
					t.Fatalf("entry %d = %d bytes (%v), want %d", i+1, len(l.Data), err, len(w.Data))
				}
			}
			// And it goes on.
			if err := again.StoreLogs(entries(end+1, end+3, 2)); err != nil {
				t.Fatalf("store after the crash: %v", err)
			}
		})
	}
	check("all", true, func(int) bool { return true })
	check("none", false, func(int) bool { return false })
	for n := 1; n < sectors; n += 4 {
		check(fmt.Sprintf("first %d", n), false, func(i int) bool { return i < n })
		check(fmt.Sprintf("last %d", n), false, func(i int) bool { return i >= n })
	}
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		some := make([]bool, sectors)
		for i := range some {
			some[i] = rnd.IntN(2) == 0
		}
		check(fmt.Sprintf("seed %d", seed), false, func(i int) bool { return some[i] })
	}
}

// A crash right after Badger created a log file, before it gave it a size (row 4 found this):
// the next start goes as any other.
func TestFault04EmptyLogFiles(t *testing.T) {
	s, dir := newTestLog(t)
	if err := s.StoreLogs(entries(1, 3, 1)); err != nil {
		t.Fatal(err)
	}
	crashed := t.TempDir()
	copyDir(t, dir, crashed)
	for _, name := range []string{"000900.vlog", "00900.mem"} {
		if err := os.WriteFile(filepath.Join(crashed, "log", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, err := openLogStore(crashed, time.Now, slog.New(slog.DiscardHandler), func(error) {})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer again.Close()
	if first, last := again.bounds(); first != 1 || last != 3 {
		t.Errorf("the log is %d to %d, want 1 to 3", first, last)
	}
}
