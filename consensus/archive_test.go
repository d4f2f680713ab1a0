package consensus

import (
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// archived opens a group of one with an archive, in dir.
func archived(t *testing.T, dir string, tu tuning) (*Group, *counter) {
	t.Helper()
	sm := newCounter()
	g, err := open(Config{Dir: dir, Self: "a", Streams: newMemNet().join("a"), Archive: filepath.Join(dir, "archive")}, sm, tu)
	if err != nil {
		t.Fatal(err)
	}
	if !g.HasState() {
		if err := g.Bootstrap(); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "leadership", g.IsLeader)
	return g, sm
}

func propose(t *testing.T, g *Group, from, n int) {
	t.Helper()
	for i := range n {
		if _, _, err := g.Propose(t.Context(), []byte("k"+strconv.Itoa(from+i))); err != nil {
			t.Fatalf("Propose = %v", err)
		}
	}
}

// indexes are those of the archive's entries, which must be ascending.
func indexes(t *testing.T, dir string) (all []uint64) {
	t.Helper()
	r, err := OpenArchive(filepath.Join(dir, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Entries(0) {
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := DecodeEntry(e.Data); err != nil {
			t.Errorf("entry %d: %v", e.Index, err)
		}
		all = append(all, e.Index)
	}
	return all
}

// The archive has every entry that the log forgot, over restarts.
func TestArchiveKeepsWhatTheLogForgets(t *testing.T) {
	dir, tu := t.TempDir(), quick()
	tu.trailing = 2
	for round := range 3 {
		g, _ := archived(t, dir, tu)
		propose(t, g, round*10, 10)
		if err := g.Snapshot(); err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := len(indexes(t, dir)), 10*(round+1); got != want {
			t.Fatalf("round %d: %d entries archived, want %d", round, got, want)
		}
	}
	o, err := OpenOffline(dir, filepath.Join(dir, "archive"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}()
	if first, last := o.Bounds(); first <= 2 || last < first {
		t.Errorf("log is %d to %d: nothing was forgotten", first, last)
	}
	all := indexes(t, dir)
	if _, ok := o.Archive().Checkpoint(); ok || all[len(all)-1] != o.Applied() {
		t.Errorf("archive has a checkpoint: %v; ends at %d, want %d", ok, all[len(all)-1], o.Applied())
	}
}

func TestArchiveSegmentsAndDamage(t *testing.T) {
	entry := func(i uint64) []byte { return encodeEntry(int64(i), [][]byte{[]byte(fmt.Sprintf("proposal %d", i))}) }
	build := func(t *testing.T) string {
		dir := t.TempDir()
		a, err := openArchive(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		a.segment = 100
		for i := uint64(1); i <= 20; i++ {
			a.add(i, entry(i))
			if err := a.flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	segments := func(t *testing.T, dir string) []string {
		r, err := OpenArchive(dir)
		if err != nil || len(r.segments) < 3 {
			t.Fatalf("%d segments, %v; want some", len(r.segments), err)
		}
		return r.segments
	}
	read := func(t *testing.T, dir string) (n int, failed error) {
		r, err := OpenArchive(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range r.Entries(0) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	t.Run("whole", func(t *testing.T) {
		if n, err := read(t, build(t)); n != 20 || err != nil {
			t.Errorf("read %d entries, %v; want 20", n, err)
		}
	})
	t.Run("a torn end is cut off and written again", func(t *testing.T) {
		dir := build(t)
		all := segments(t, dir)
		last := all[len(all)-1]
		info, err := os.Stat(last)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(last, info.Size()-3); err != nil {
			t.Fatal(err)
		}
		a, err := openArchive(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if a.last != 19 {
			t.Errorf("the archive ends at %d, want 19", a.last)
		}
		a.add(20, entry(20))
		if err := a.flush(); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := read(t, dir); n != 20 || err != nil {
			t.Errorf("read %d entries, %v; want 20", n, err)
		}
	})
	t.Run("a damaged last segment is kept and not written to", func(t *testing.T) {
		dir := build(t)
		all := segments(t, dir)
		last := all[len(all)-1]
		b, err := os.ReadFile(last)
		if err != nil {
			t.Fatal(err)
		}
		b[30] ^= 1
		if err := os.WriteFile(last, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := read(t, dir); err == nil {
			t.Errorf("read %d entries and no error", n)
		}
		a, err := openArchive(dir, slog.New(slog.DiscardHandler))
		if err != nil || a.last != 0 {
			t.Fatalf("openArchive = %+v, %v; want one that needs a checkpoint", a, err)
		}
		if _, err := os.Stat(last + ".damaged"); err != nil {
			t.Error(err)
		}
	})
	t.Run("a flipped byte in the middle is damage", func(t *testing.T) {
		dir := build(t)
		path := segments(t, dir)[1]
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[30] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := read(t, dir); err == nil {
			t.Errorf("read %d entries and no error", n)
		}
	})
}

// An archive that is switched on late begins with a checkpoint.
func TestArchiveSwitchedOnLate(t *testing.T) {
	dir, tu := t.TempDir(), quick()
	sm := newCounter()
	g, err := open(Config{Dir: dir, Self: "a", Streams: newMemNet().join("a")}, sm, tu)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "leadership", g.IsLeader)
	propose(t, g, 0, 5)
	applied := g.Applied()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g, _ = archived(t, dir, tu)
	propose(t, g, 5, 5)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := OpenArchive(filepath.Join(dir, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	snap, ok := r.Checkpoint()
	if !ok || snap.Index != applied {
		t.Fatalf("checkpoint %d (%v), want %d", snap.Index, ok, applied)
	}
	rows := 0
	if at, err := snap.Read(func(_, _ []byte) error { rows++; return nil }); err != nil || at != applied || rows == 0 {
		t.Errorf("checkpoint read as of %d with %d rows, %v", at, rows, err)
	}
	if n := len(indexes(t, dir)); n != 5 {
		t.Errorf("%d entries after the checkpoint, want 5", n)
	}
}

// A state that is installed is what the group begins with, and its log goes on after it.
func TestInstall(t *testing.T) {
	from, to, tu := t.TempDir(), t.TempDir(), quick()
	g, sm := archived(t, from, tu)
	propose(t, g, 0, 10)
	_, want := sm.state()
	rows := map[string][]byte{}
	var applied uint64
	if err := g.View(func(at uint64, records iter.Seq2[[]byte, []byte]) error {
		applied = at
		for k, v := range records {
			rows[string(k)] = v
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	all := func(yield func(k, v []byte) bool) {
		for k, v := range rows {
			if !yield([]byte(k), v) {
				return
			}
		}
	}
	if err := Install(to, "a", applied, all); err != nil {
		t.Fatal(err)
	}
	g, sm = archived(t, to, tu)
	if at, got := sm.state(); at != applied || got != want {
		t.Errorf("installed state as of %d is %x, want %d and %x", at, got[:4], applied, want[:4])
	}
	propose(t, g, 10, 3)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Install(from, "a", applied, all); err == nil {
		t.Error("Install into a directory with a group = nil, want an error")
	}
}
