package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/raft"
)

func openTestLog(t testing.TB, dir string) *logStore {
	t.Helper()
	s, err := openLogStore(dir, time.Now, slog.New(slog.DiscardHandler), func(error) {})
	if err != nil {
		t.Fatalf("open log: %v", err)
	}
	return s
}

func newTestLog(t testing.TB) (*logStore, string) {
	dir := t.TempDir()
	s := openTestLog(t, dir)
	t.Cleanup(func() { s.Close() })
	return s, dir
}

func entries(from, to, term uint64) (logs []*raft.Log) {
	for i := from; i <= to; i++ {
		logs = append(logs, &raft.Log{
			Index: i, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "entry %d of term %d", i, term),
			AppendedAt: time.Unix(1700000000, int64(i)),
		})
	}
	return logs
}

// holds checks that exactly from..to is visible, each entry of the term that term tells.
func holds(t *testing.T, s raft.LogStore, from, to uint64, term func(uint64) uint64) {
	t.Helper()
	first, err1 := s.FirstIndex()
	last, err2 := s.LastIndex()
	if first != from || last != to || err1 != nil || err2 != nil {
		t.Fatalf("range = %d..%d (%v, %v), want %d..%d", first, last, err1, err2, from, to)
	}
	var l raft.Log
	for _, i := range []uint64{0, from - 1, to + 1, to + 100} {
		if i >= from && i <= to && to > 0 {
			continue
		}
		if err := s.GetLog(i, &l); err != raft.ErrLogNotFound { // raft compares like this
			t.Errorf("GetLog(%d) = %v, want ErrLogNotFound itself", i, err)
		}
	}
	for i := from; i <= to && to > 0; i++ {
		if err := s.GetLog(i, &l); err != nil {
			t.Fatalf("GetLog(%d) = %v", i, err)
		}
		want := entries(i, i, term(i))[0]
		if l.Index != i || l.Term != want.Term || l.Type != want.Type || !bytes.Equal(l.Data, want.Data) || !l.AppendedAt.Equal(want.AppendedAt) {
			t.Fatalf("GetLog(%d) = %+v, want %+v", i, l, want)
		}
	}
}

func always(term uint64) func(uint64) uint64 { return func(uint64) uint64 { return term } }

func TestLogStore(t *testing.T) {
	for _, tt := range []struct {
		name     string
		do       func(s *logStore) error
		from, to uint64
		term     func(uint64) uint64
	}{
		{"empty", func(s *logStore) error { return nil }, 0, 0, nil},
		{"append", func(s *logStore) error { return s.StoreLogs(entries(1, 10, 1)) }, 1, 10, always(1)},
		{"append nothing", func(s *logStore) error { return s.StoreLogs(nil) }, 0, 0, nil},
		{"begin after a snapshot", func(s *logStore) error { return s.StoreLogs(entries(71, 80, 3)) }, 71, 80, always(3)},
		{"single entries", func(s *logStore) error {
			for _, l := range entries(1, 5, 1) {
				if err := s.StoreLog(l); err != nil {
					return err
				}
			}
			return nil
		}, 1, 5, always(1)},
		{"more than a transaction takes", func(s *logStore) error { return s.StoreLogs(entries(1, 30_000, 1)) }, 1, 30_000, always(1)},
		{"prefix", func(s *logStore) error {
			return errors.Join(s.StoreLogs(entries(1, 10, 1)), s.DeleteRange(1, 4))
		}, 5, 10, always(1)},
		{"prefix from before the beginning", func(s *logStore) error {
			return errors.Join(s.StoreLogs(entries(5, 10, 1)), s.DeleteRange(1, 6))
		}, 7, 10, always(1)},
		{"suffix", func(s *logStore) error {
			return errors.Join(s.StoreLogs(entries(1, 10, 1)), s.DeleteRange(8, 10))
		}, 1, 7, always(1)},
		{"suffix, then another", func(s *logStore) error {
			return errors.Join(s.StoreLogs(entries(1, 10, 1)), s.DeleteRange(4, 10), s.StoreLogs(entries(4, 6, 2)))
		}, 1, 6, func(i uint64) uint64 { return 1 + i/4 }},
		{"all", func(s *logStore) error {
			return errors.Join(s.StoreLogs(entries(1, 10, 1)), s.DeleteRange(1, 10))
		}, 0, 0, nil},
		{"all, then from a snapshot on", func(s *logStore) error {
			return errors.Join(s.StoreLogs(entries(1, 10, 1)), s.DeleteRange(1, 10), s.StoreLogs(entries(100, 101, 2)))
		}, 100, 101, always(2)},
		{"nothing to delete", func(s *logStore) error {
			return errors.Join(s.DeleteRange(1, 10), s.StoreLogs(entries(5, 10, 1)), s.DeleteRange(1, 4), s.DeleteRange(11, 20))
		}, 5, 10, always(1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, dir := newTestLog(t)
			if err := tt.do(s); err != nil {
				t.Fatal(err)
			}
			holds(t, s, tt.from, tt.to, tt.term)
			crashed := t.TempDir()
			copyDir(t, dir, crashed) // as a kill would leave it
			again := openTestLog(t, crashed)
			defer again.Close()
			holds(t, again, tt.from, tt.to, tt.term)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			closed := openTestLog(t, dir)
			defer closed.Close()
			holds(t, closed, tt.from, tt.to, tt.term)
		})
	}
}

func TestLogStoreRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(s *logStore) error
	}{
		{"a gap", func(s *logStore) error { return s.StoreLogs(entries(12, 13, 1)) }},
		{"an overlap", func(s *logStore) error { return s.StoreLogs(entries(10, 11, 1)) }},
		{"a gap inside", func(s *logStore) error { return s.StoreLogs(append(entries(11, 12, 1), entries(14, 14, 1)...)) }},
		{"a hole", func(s *logStore) error { return s.DeleteRange(3, 5) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newTestLog(t)
			var told error
			s.failed = func(err error) { told = err }
			if err := s.StoreLogs(entries(1, 10, 1)); err != nil {
				t.Fatal(err)
			}
			if err := tt.do(s); err == nil || told == nil {
				t.Errorf("= %v, failed told %v; want an error", err, told)
			}
			holds(t, s, 1, 10, always(1))
		})
	}
}

func TestLogStoreKeepsAllFields(t *testing.T) {
	s, _ := newTestLog(t)
	want := raft.Log{Index: 1, Term: 9, Type: raft.LogConfiguration, Data: []byte("data"), Extensions: []byte("ext")}
	var got raft.Log
	if err := errors.Join(s.StoreLog(&want), s.GetLog(1, &got)); err != nil {
		t.Fatal(err)
	}
	if got.Term != 9 || got.Type != want.Type || string(got.Data) != "data" || string(got.Extensions) != "ext" || !got.AppendedAt.IsZero() {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !s.IsMonotonic() {
		t.Error("IsMonotonic = false")
	}
}

func TestStableStore(t *testing.T) {
	s, dir := newTestLog(t)
	if _, err := s.Get([]byte("x")); err == nil || err.Error() != "not found" { // raft compares like this
		t.Errorf("Get of nothing = %v, want not found", err)
	}
	if _, err := s.GetUint64([]byte("x")); err == nil || err.Error() != "not found" {
		t.Errorf("GetUint64 of nothing = %v, want not found", err)
	}
	if err := errors.Join(s.SetUint64([]byte(keyCurrentTerm), 7), s.Set([]byte("LastVoteCand"), []byte("a"))); err != nil {
		t.Fatal(err)
	}
	crashed := t.TempDir()
	copyDir(t, dir, crashed)
	again := openTestLog(t, crashed)
	defer again.Close()
	n, err1 := again.GetUint64([]byte(keyCurrentTerm))
	v, err2 := again.Get([]byte("LastVoteCand"))
	if n != 7 || string(v) != "a" || err1 != nil || err2 != nil {
		t.Errorf("got %d, %q (%v, %v); want 7, a", n, v, err1, err2)
	}
	if _, err := again.GetUint64([]byte("LastVoteCand")); !errors.Is(err, errCorrupt) {
		t.Errorf("GetUint64 of text = %v, want corrupt", err)
	}
}

// What a crash after a truncation leaves behind stays invisible, and goes at the next open.
func TestLeftoverKeysAreInvisible(t *testing.T) {
	s, dir := newTestLog(t)
	if err := errors.Join(s.StoreLogs(entries(1, 20, 1)), s.DeleteRange(1, 5), s.DeleteRange(15, 20)); err != nil {
		t.Fatal(err)
	}
	err := s.db.Update(func(txn *badger.Txn) error {
		for _, i := range []uint64{2, 5, 15, 19} {
			if err := txn.Set(logKey(i), seal(logKey(i), encodeLog(entries(i, i, 1)[0]))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, s, 6, 14, always(1))
	if err := s.StoreLogs(entries(15, 16, 2)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := openTestLog(t, dir)
	defer again.Close()
	holds(t, again, 6, 16, func(i uint64) uint64 { return 1 + i/15 })
	err = again.db.View(func(txn *badger.Txn) error {
		for _, i := range []uint64{2, 5, 19} {
			if _, err := txn.Get(logKey(i)); !errors.Is(err, badger.ErrKeyNotFound) {
				t.Errorf("key of entry %d is still there (%v)", i, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLogStoreFindsDamage(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(txn *badger.Txn) error
	}{
		{"a missing entry", func(txn *badger.Txn) error { return txn.Delete(logKey(5)) }},
		{"a missing last entry", func(txn *badger.Txn) error { return txn.Delete(logKey(10)) }},
		{"a changed byte", func(txn *badger.Txn) error {
			v := seal(logKey(5), encodeLog(entries(5, 5, 1)[0]))
			v[20] ^= 1
			return txn.Set(logKey(5), v)
		}},
		{"an entry under another's key", func(txn *badger.Txn) error {
			return txn.Set(logKey(5), seal(logKey(6), encodeLog(entries(6, 6, 1)[0])))
		}},
		{"a short record", func(txn *badger.Txn) error { return txn.Set(logKey(5), []byte{1, 2}) }},
		{"a damaged range", func(txn *badger.Txn) error { return txn.Set(rangeKey, make([]byte, 20)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, dir := newTestLog(t)
			if err := s.StoreLogs(entries(1, 10, 1)); err != nil {
				t.Fatal(err)
			}
			if err := s.db.Update(tt.do); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(tt.name, "range") {
				index := uint64(5)
				if strings.Contains(tt.name, "last") {
					index = 10
				}
				if err := s.GetLog(index, new(raft.Log)); !errors.Is(err, errCorrupt) || errors.Is(err, raft.ErrLogNotFound) {
					t.Errorf("GetLog = %v, want corrupt", err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := openLogStore(dir, time.Now, slog.New(slog.DiscardHandler), nil); !errors.Is(err, errCorrupt) {
				t.Errorf("open = %v, want corrupt", err)
			}
		})
	}
}

// Badger shortens a write-ahead log that is damaged and says nothing; the mark does.
func TestSilentTruncationIsFound(t *testing.T) {
	s, dir := newTestLog(t)
	for i := uint64(1); i <= 3000; i += 10 {
		if err := s.StoreLogs(entries(i, i+9, 1)); err != nil {
			t.Fatal(err)
		}
	}
	crashed := t.TempDir()
	copyDir(t, dir, crashed)
	wals, err := filepath.Glob(filepath.Join(crashed, "log", "*.mem"))
	if err != nil || len(wals) == 0 {
		t.Fatalf("no write-ahead logs: %v, %v", wals, err)
	}
	flipped := false
	for _, wal := range wals {
		b, err := os.ReadFile(wal)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, []byte("entry 1500 of")); at > 0 {
			b[at] ^= 0xff
			flipped = true
			if err := os.WriteFile(wal, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !flipped {
		t.Fatal("entry 1500 is in no write-ahead log")
	}
	again, err := openLogStore(crashed, time.Now, slog.New(slog.DiscardHandler), func(error) {})
	if errors.Is(err, errCorrupt) {
		return // found even before
	}
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, last := again.bounds(); last >= again.hwm.last || again.hwm.last < 3000-hwmEveryEntries {
		t.Errorf("log ends at %d, mark says %d; want the mark near 3000 and above the log", last, again.hwm.last)
	}
}

func TestHighWater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hwm")
	now := time.Unix(1000, 0)
	h, err := openHighWater(path, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	reads := func(last, term, vote uint64) {
		t.Helper()
		g, err := openHighWater(path, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		defer g.f.Close()
		if g.last != last || g.term != term || g.voteTerm != vote {
			t.Errorf("file says %d, %d, %d; want %d, %d, %d", g.last, g.term, g.voteTerm, last, term, vote)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	reads(0, 0, 0)
	do(h.appended(1)) // the first one is written
	reads(1, 0, 0)
	do(h.appended(200)) // soon after, and few
	reads(1, 0, 0)
	do(h.appended(300)) // many
	reads(300, 0, 0)
	now = now.Add(hwmEvery)
	do(h.appended(301)) // a while later
	reads(301, 0, 0)
	do(h.stable(keyCurrentTerm, number(4)))
	do(h.stable(keyLastVoteTerm, number(3)))
	do(h.stable("LastVoteCand", []byte("somebody")))
	reads(301, 4, 3)
	do(h.truncating(250))
	reads(250, 4, 3)
	do(h.truncating(260)) // below the mark already
	reads(250, 4, 3)
	do(h.close(270))
	reads(270, 4, 3)
	b, err := os.ReadFile(path)
	do(err)
	b[3] ^= 1
	do(os.WriteFile(path, b, 0o600))
	reads(0, 0, 0) // a torn write says nothing
}
