package consensus

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Whenever a node dies, its stored state is what the machine held at exactly one index, and
// with the log it comes back whole.
func TestStoredStateIsAPrefix(t *testing.T) {
	tu := quick()
	tu.flushDelay = time.Millisecond
	c := newCluster(t, tu, "a")
	a := c.nodes["a"]
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	acked := 0
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				p := name(w, i%50)
				if i%5 == 4 {
					p = "delete " + name(w, (i+7)%50)
				}
				if _, _, err := a.g.Propose(t.Context(), []byte(p)); err != nil {
					t.Errorf("Propose = %v", err)
					return
				}
				mu.Lock()
				acked++
				mu.Unlock()
			}
		})
	}
	for i := range 8 {
		mu.Lock()
		n := acked
		mu.Unlock()
		waitFor(t, "progress", func() bool { mu.Lock(); defer mu.Unlock(); return acked > n+100 })
		known := a.g.Applied() // acknowledged before the crash
		id := "crash" + strconv.Itoa(i)
		c.crash("a", id)

		sm := newCounter()
		disk, applied, err := openState(filepath.Join(c.root, id), quiet())
		if err != nil {
			t.Fatalf("open state after crash %d: %v", i, err)
		}
		if err := disk.cur.load(sm, applied); err != nil {
			t.Fatal(err)
		}
		_, got := sm.state()
		if want, ok := a.sm.history()[applied]; applied > 0 && (!ok || got != want) {
			t.Errorf("crash %d: state as of %d is %x, want %x", i, applied, got[:4], want[:4])
		}
		if err := disk.Close(); err != nil {
			t.Fatal(err)
		}

		again := newCounter()
		g, err := open(Config{Dir: filepath.Join(c.root, id), Self: "a", Streams: newMemNet().join("a")}, again, tu)
		if err != nil {
			t.Fatalf("open after crash %d: %v", i, err)
		}
		if err := g.WaitApplied(t.Context(), known); err != nil {
			t.Fatal(err)
		}
		at, got := again.state()
		waitFor(t, "the first node to be as far", func() bool { _, ok := a.sm.history()[at]; return ok })
		if want := a.sm.history()[at]; got != want {
			t.Errorf("crash %d: state after replay to %d is %x, want %x", i, at, got[:4], want[:4])
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
}

// damaged stops a single node after some proposals and a snapshot, has its directory
// damaged, and opens it again.
func damaged(t *testing.T, do func(t *testing.T, dir string)) (*cluster, *member, [32]byte, error) {
	t.Helper()
	tu := quick()
	tu.trailing = 5
	c := newCluster(t, tu, "a")
	for i := range 30 {
		c.propose(strconv.Itoa(i % 3))
		if i == 20 {
			if err := c.nodes["a"].g.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, want := c.nodes["a"].sm.state()
	dir := c.nodes["a"].dir
	c.stop("a")
	do(t, dir)
	m, err := c.tryStart("a")
	return c, m, want, err
}

func edit(t *testing.T, dir string, f func(*logStore) error) {
	t.Helper()
	s := openTestLog(t, filepath.Join(dir, "raft"))
	if err := errors.Join(f(s), s.db.Close(), s.hwm.f.Close()); err != nil {
		t.Fatal(err)
	}
}

func snapshotFile(t *testing.T, dir string) string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "state.bin"))
	if len(files) != 1 {
		t.Fatalf("snapshots = %v, want one", files)
	}
	return files[0]
}

func flipByte(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAmnesia(t *testing.T) {
	truncate := func(s *logStore) error {
		first, last := s.bounds()
		_, err := first, s.DeleteRange(last-3, last)
		return err
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, dir string)
	}{
		{"the log is gone", func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "raft")); err != nil {
				t.Fatal(err)
			}
		}},
		{"the log's end is gone", func(t *testing.T, dir string) { edit(t, dir, truncate) }},
		{"the log's end is gone and the state behind it", func(t *testing.T, dir string) {
			edit(t, dir, func(s *logStore) error {
				mark := s.hwm.last
				err := truncate(s)
				s.hwm.last = mark
				return errors.Join(err, s.hwm.write())
			})
			if err := os.Remove(filepath.Join(dir, currentFile)); err != nil {
				t.Fatal(err)
			}
		}},
		{"an entry is gone", func(t *testing.T, dir string) {
			edit(t, dir, func(s *logStore) error {
				_, last := s.bounds()
				return s.deleteKeys([][]byte{logKey(last - 2)})
			})
		}},
		{"the term went back", func(t *testing.T, dir string) {
			edit(t, dir, func(s *logStore) error {
				mark := s.hwm.term
				err := s.SetUint64([]byte(keyCurrentTerm), mark-1)
				s.hwm.term = mark
				return errors.Join(err, s.hwm.write())
			})
		}},
		{"the vote went back", func(t *testing.T, dir string) {
			edit(t, dir, func(s *logStore) error {
				mark := s.hwm.voteTerm
				err := s.SetUint64([]byte(keyLastVoteTerm), mark-1)
				s.hwm.voteTerm = mark
				return errors.Join(err, s.hwm.write())
			})
		}},
		{"a table of the log is damaged", func(t *testing.T, dir string) {
			damageTable(t, filepath.Join(dir, "raft", "log"))
		}},
		{"a table of the log is gone", func(t *testing.T, dir string) {
			if err := os.Remove(oneTable(t, filepath.Join(dir, "raft", "log"))); err != nil {
				t.Fatal(err)
			}
		}},
		{"a table of the log is cut short", func(t *testing.T, dir string) {
			cutShort(t, oneTable(t, filepath.Join(dir, "raft", "log")), 100)
		}},
		{"the snapshot is damaged and needed", func(t *testing.T, dir string) {
			flipByte(t, snapshotFile(t, dir), 60)
			if err := os.Remove(filepath.Join(dir, currentFile)); err != nil {
				t.Fatal(err)
			}
		}},
		{"the snapshot is gone, and the log does not reach back", func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "raft", "snapshots")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, m, _, err := damaged(t, tt.do)
			var amnesia *ErrAmnesia
			if !errors.As(err, &amnesia) {
				t.Fatalf("Open = %v, %v; want ErrAmnesia", m, err)
			}
			if amnesia.Dir == "" || amnesia.Reason == "" {
				t.Errorf("%+v says too little", amnesia)
			}
		})
	}
}

func oneTable(t *testing.T, dir string) string {
	t.Helper()
	tables, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	if len(tables) == 0 {
		t.Fatalf("no tables in %s", dir)
	}
	return tables[0]
}

func cutShort(t *testing.T, path string, size int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Size() <= size {
		t.Fatalf("%s: %v, or too short", path, err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func cutInHalf(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	cutShort(t, path, info.Size()/2)
}

func damageTable(t *testing.T, dir string) { flipByte(t, oneTable(t, dir), 30) }

// Damage of what can be derived again is repaired.
func TestSelfRepair(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, dir string)
	}{
		{"nothing", func(*testing.T, string) {}},
		{"no state", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, currentFile)); err != nil {
				t.Fatal(err)
			}
		}},
		{"damaged CURRENT", func(t *testing.T, dir string) { flipByte(t, filepath.Join(dir, currentFile), 0) }},
		{"damaged table", func(t *testing.T, dir string) { damageTable(t, stateDir(dir, 1)) }},
		{"table cut to nothing", func(t *testing.T, dir string) { cutShort(t, oneTable(t, stateDir(dir, 1)), 0) }},
		{"table cut to a byte", func(t *testing.T, dir string) { cutShort(t, oneTable(t, stateDir(dir, 1)), 1) }},
		{"table cut in its middle", func(t *testing.T, dir string) { cutInHalf(t, oneTable(t, stateDir(dir, 1))) }},
		{"a leftover table that is cut short", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(stateDir(dir, 1), "000077.sst"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"missing table", func(t *testing.T, dir string) {
			if err := os.Remove(oneTable(t, stateDir(dir, 1))); err != nil {
				t.Fatal(err)
			}
		}},
		{"empty directory", func(t *testing.T, dir string) {
			if err := errors.Join(os.RemoveAll(stateDir(dir, 1)), os.Mkdir(stateDir(dir, 1), 0o700)); err != nil {
				t.Fatal(err)
			}
		}},
		{"damaged record", func(t *testing.T, dir string) {
			s, _, err := openState(dir, quiet())
			if err != nil {
				t.Fatal(err)
			}
			wb := s.cur.db.NewWriteBatch()
			if err := errors.Join(wb.Set([]byte("k1"), []byte("12345678....")), wb.Flush(), s.Close()); err != nil {
				t.Fatal(err)
			}
		}},
		{"damaged snapshot that is not needed", func(t *testing.T, dir string) { flipByte(t, snapshotFile(t, dir), 60) }},
		{"no high-water mark", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "raft", "hwm")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, m, want, err := damaged(t, tt.do)
			if err != nil {
				t.Fatalf("Open = %v", err)
			}
			c.leader()
			if _, got := m.sm.state(); got != want {
				t.Errorf("state = %x, want %x", got[:4], want[:4])
			}
			c.propose("again")
			c.stop("a")
			c.start("a")
			c.propose("and again")
		})
	}
}

// A snapshot that raft has filed and the machine has not taken is taken at the next start;
// the log from before it goes.
func TestCrashBetweenInstallAndRestore(t *testing.T) {
	tu := quick()
	tu.trailing = 1
	c := newCluster(t, tu, "a", "b")
	c.propose("x")
	c.agree()
	behind := c.followers()[0]
	c.crash(behind.id, "old") // the follower as it was
	for range 20 {
		c.propose("y")
	}
	l := c.leader()
	if err := l.g.Snapshot(); err != nil {
		t.Fatal(err)
	}
	_, want := l.sm.state()
	copyDir(t, filepath.Join(l.dir, "raft", "snapshots"), filepath.Join(c.root, "old", "raft", "snapshots"))
	sm := newCounter()
	g, err := open(Config{Dir: filepath.Join(c.root, "old"), Self: behind.id, Streams: newMemNet().join(behind.id)}, sm, tu)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, got := sm.state(); got != want {
		t.Errorf("state = %x, want the snapshot's %x", got[:4], want[:4])
	}
	if first, last := g.log.bounds(); last != 0 {
		t.Errorf("log = %d..%d, want none from before the snapshot", first, last)
	}
	if g.Applied() != l.g.Applied() {
		t.Errorf("Applied = %d, want %d", g.Applied(), l.g.Applied())
	}
}

func TestUnknownSnapshotVersionIsSaid(t *testing.T) {
	c := newCluster(t, quick(), "a")
	c.propose("x")
	if err := c.nodes["a"].g.Snapshot(); err != nil {
		t.Fatal(err)
	}
	dir := c.nodes["a"].dir
	c.stop("a")
	// A newer program's snapshot, which raft itself finds in order.
	whole, err := os.ReadFile(snapshotFile(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	whole = bytes.Clone(whole)
	whole[11] = snapshotVersion + 1
	snaps, err := raft.NewFileSnapshotStore(filepath.Join(dir, "raft"), 2, bytes.NewBuffer(nil))
	if err != nil {
		t.Fatal(err)
	}
	trans := newTransport("a", newMemNet().join("a"), time.Second, quiet())
	defer trans.Close()
	sink, err := snaps.Create(1, 1000, 99, raft.Configuration{}, 1, trans)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write(whole); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = c.tryStart("a")
	if !errors.Is(err, ErrSnapshotVersion) {
		t.Errorf("Open = %v, want ErrSnapshotVersion", err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "state.bin")); len(files) != 2 {
		t.Errorf("snapshots = %v, want both", files)
	}
}

func TestLoadErrorFailsOpen(t *testing.T) {
	sm := newCounter()
	sm.fail = errors.New("no")
	dir := t.TempDir()
	if _, err := open(Config{Dir: dir, Self: "a", Streams: newMemNet().join("a")}, sm, quick()); !errors.Is(err, sm.fail) {
		t.Fatalf("Open = %v, want the machine's error", err)
	}
	g, err := open(Config{Dir: dir, Self: "a", Streams: newMemNet().join("a")}, newCounter(), quick())
	if err != nil {
		t.Fatalf("Open after it = %v: something was left open", err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}
