package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openTestState(t testing.TB, dir string) (*stateDisk, uint64) {
	t.Helper()
	s, applied, err := openState(dir, quiet())
	if err != nil {
		t.Fatalf("open state: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s, applied
}

func contents(t *testing.T, s *stateDisk) map[string]string {
	t.Helper()
	txn := s.cur.db.NewTransaction(false)
	defer txn.Discard()
	got := map[string]string{}
	seq, failed := s.cur.records(txn)
	for k, v := range seq {
		got[string(k)] = string(v)
	}
	if err := failed(); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestStateStores(t *testing.T) {
	many := map[string][]byte{"gone": nil}
	wantMany := map[string]string{}
	for i := range 40_000 { // more keys than a transaction takes
		many[fmt.Sprintf("k%d", i)] = fmt.Appendf(nil, "v%d", i)
		wantMany[fmt.Sprintf("k%d", i)] = fmt.Sprintf("v%d", i)
	}
	big := map[string][]byte{}
	wantBig := map[string]string{"gone": "x"}
	for i := range 40 { // more bytes than a transaction takes
		big[fmt.Sprintf("b%d", i)] = bytes.Repeat([]byte{byte(i)}, 100<<10)
		wantBig[fmt.Sprintf("b%d", i)] = strings.Repeat(string(byte(i)), 100<<10)
	}
	for _, tt := range []struct {
		name   string
		writes map[string][]byte
		want   map[string]string
	}{
		{"nothing", nil, map[string]string{"gone": "x"}},
		{"a few", map[string][]byte{"a": []byte("1"), "empty": {}, "gone": nil, "never": nil}, map[string]string{"a": "1", "empty": ""}},
		{"many keys", many, wantMany},
		{"many bytes", big, wantBig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s, applied := openTestState(t, dir)
			if applied != 0 {
				t.Errorf("a new state is as of %d", applied)
			}
			if err := errors.Join(s.store(map[string][]byte{"gone": []byte("x")}, 3), s.store(tt.writes, 7)); err != nil {
				t.Fatal(err)
			}
			crashed := t.TempDir()
			copyDir(t, dir, crashed)
			again, applied := openTestState(t, crashed)
			if got := contents(t, again); applied != 7 || !maps.Equal(got, tt.want) {
				t.Errorf("%d records as of %d, want %d as of 7", len(got), applied, len(tt.want))
			}
		})
	}
}

// A crash in the middle of a large write finds the journal and does it again.
func TestJournalIsRedone(t *testing.T) {
	dir := t.TempDir()
	s, _ := openTestState(t, dir)
	if err := s.store(map[string][]byte{"a": []byte("old"), "b": []byte("old"), "c": []byte("old")}, 5); err != nil {
		t.Fatal(err)
	}
	journal := encodeJournal(map[string][]byte{"a": []byte("new"), "b": nil, "e": {}}, 6)
	if err := os.WriteFile(filepath.Join(s.cur.dir, journalFile), journal, 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.cur.db.Update(func(txn *badger.Txn) error { return setRecord(txn, "a", []byte("new")) }) // a part of it
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	again, applied := openTestState(t, dir)
	want := map[string]string{"a": "new", "c": "old", "e": ""}
	if got := contents(t, again); applied != 6 || !maps.Equal(got, want) {
		t.Errorf("%v as of %d, want %v as of 6", got, applied, want)
	}
	if _, err := os.Stat(filepath.Join(again.cur.dir, journalFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the journal is still there (%v)", err)
	}
}

func TestJournalDamage(t *testing.T) {
	whole := encodeJournal(map[string][]byte{"a": []byte("new"), "b": nil}, 6)
	for i := range whole {
		for _, b := range [][]byte{whole[:i], append(bytes.Clone(whole[:i]), append([]byte{whole[i] ^ 1}, whole[i+1:]...)...)} {
			if _, err := decodeJournal(b, func(string, []byte) error { return nil }); !errors.Is(err, errCorrupt) {
				t.Fatalf("decodeJournal of a journal damaged at %d = %v, want corrupt", i, err)
			}
		}
	}
}

func TestStateVersion(t *testing.T) {
	dir := t.TempDir()
	s, _ := openTestState(t, dir)
	err := s.cur.db.Update(func(txn *badger.Txn) error { return txn.Set(versionKey, seal(versionKey, []byte{9})) })
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openState(dir, quiet()); !errors.Is(err, ErrStateVersion) || isDamage(err) {
		t.Errorf("open = %v, want ErrStateVersion", err)
	}
}

func snapshotOf(t *testing.T, s *stateDisk) []byte {
	t.Helper()
	g := s.hold()
	snap := &fsmSnapshot{disk: s, gen: g, txn: g.db.NewTransaction(false), done: func(err error) {
		if err != nil {
			t.Error(err)
		}
	}}
	defer snap.Release()
	var b bytes.Buffer
	if err := snap.write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSnapshotRoundTrip(t *testing.T) {
	from, _ := openTestState(t, t.TempDir())
	want := map[string]string{}
	writes := map[string][]byte{}
	for i := range 5000 {
		k, v := fmt.Sprintf("k%d", i), strings.Repeat("v", i%50)
		want[k], writes[k] = v, []byte(v)
	}
	if err := from.store(writes, 42); err != nil {
		t.Fatal(err)
	}
	b := snapshotOf(t, from)

	dir := t.TempDir()
	to, _ := openTestState(t, dir)
	if err := to.store(map[string][]byte{"old": []byte("x")}, 7); err != nil {
		t.Fatal(err)
	}
	held := to.hold() // a snapshot of the old state is being streamed
	_, applied, err := to.restore(bytes.NewReader(b))
	if err != nil || applied != 42 {
		t.Fatalf("restore = %d, %v; want 42", applied, err)
	}
	if got := contents(t, to); !maps.Equal(got, want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	txn := held.db.NewTransaction(false)
	if _, err := txn.Get([]byte("kold")); err != nil {
		t.Errorf("the old state is gone while it is held: %v", err)
	}
	txn.Discard()
	if err := to.release(held); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(held.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old state's directory is still there (%v)", err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	again, applied := openTestState(t, dir)
	if got := contents(t, again); applied != 42 || !maps.Equal(got, want) {
		t.Errorf("after a restart: %d records as of %d, want %d as of 42", len(got), applied, len(want))
	}
}

// A snapshot that is not whole changes nothing.
func TestRestoreIsAtomic(t *testing.T) {
	from, _ := openTestState(t, t.TempDir())
	if err := from.store(map[string][]byte{"a": []byte("new"), "b": []byte("new")}, 42); err != nil {
		t.Fatal(err)
	}
	whole := snapshotOf(t, from)
	flip := func(i int) []byte { b := bytes.Clone(whole); b[i] ^= 1; return b }
	later := bytes.Clone(whole)
	later[11] = snapshotVersion + 1
	for _, tt := range []struct {
		name string
		r    io.Reader
		want error
	}{
		{"empty", bytes.NewReader(nil), ErrSnapshotCorrupt},
		{"another kind of file", strings.NewReader(strings.Repeat("x", 200)), ErrSnapshotCorrupt},
		{"a later version", bytes.NewReader(later), ErrSnapshotVersion},
		{"cut in the header", bytes.NewReader(whole[:20]), ErrSnapshotCorrupt},
		{"cut in a record", bytes.NewReader(whole[:40]), ErrSnapshotCorrupt},
		{"cut in the trailer", bytes.NewReader(whole[:len(whole)-1]), ErrSnapshotCorrupt},
		{"longer", io.MultiReader(bytes.NewReader(whole), strings.NewReader("x")), ErrSnapshotCorrupt},
		{"other index", bytes.NewReader(flip(19)), ErrSnapshotCorrupt},
		{"other count", bytes.NewReader(flip(27)), ErrSnapshotCorrupt},
		{"other key length", bytes.NewReader(flip(28)), ErrSnapshotCorrupt},
		{"other value", bytes.NewReader(flip(len(whole) - 33)), ErrSnapshotCorrupt},
		{"other trailer", bytes.NewReader(flip(len(whole) - 1)), ErrSnapshotCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			to, _ := openTestState(t, dir)
			if err := to.store(map[string][]byte{"old": []byte("x")}, 7); err != nil {
				t.Fatal(err)
			}
			if g, _, err := to.restore(tt.r); !errors.Is(err, tt.want) || g != nil {
				t.Errorf("restore = %v, %v; want %v", g, err, tt.want)
			}
			if got := contents(t, to); len(got) != 1 || got["old"] != "x" {
				t.Errorf("state = %v, want the old one", got)
			}
			if dirs, _ := filepath.Glob(filepath.Join(dir, statePrefix+"*")); len(dirs) != 1 {
				t.Errorf("directories = %v, want one", dirs)
			}
		})
	}
}

// A crash before CURRENT names the new generation leaves the old one.
func TestCrashBeforeSwitch(t *testing.T) {
	dir := t.TempDir()
	s, _ := openTestState(t, dir)
	if err := s.store(map[string][]byte{"old": []byte("x")}, 7); err != nil {
		t.Fatal(err)
	}
	g, err := s.build(2)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.finish(42), g.db.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	again, applied := openTestState(t, dir)
	if got := contents(t, again); applied != 7 || got["old"] != "x" {
		t.Errorf("%v as of %d, want the old state as of 7", got, applied)
	}
	if _, err := os.Stat(g.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unfinished directory is still there (%v)", err)
	}
}
