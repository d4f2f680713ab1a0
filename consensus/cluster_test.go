package consensus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// quick are timeouts for tests. Snapshots are taken only when asked for.
func quick() tuning {
	return tuning{
		heartbeat: 200 * time.Millisecond, lease: 150 * time.Millisecond, commit: 5 * time.Millisecond,
		rpcTimeout: 3 * time.Second, snapshotEvery: time.Hour, snapshotAfter: 1 << 40, trailing: 1 << 40,
		flushDelay: 10 * time.Millisecond, storeHang: 10 * time.Second, shutdownWait: 20 * time.Second,
	}
}

// A cluster is a group in one process, over real disks and an in-memory network.
type cluster struct {
	t      testing.TB
	net    *memNet
	tuning tuning
	root   string
	nodes  map[string]*member
}

type member struct {
	id, dir string
	g       *Group
	sm      *counter
}

// newCluster founds a group of the given nodes, all voters, the first the founder.
func newCluster(t testing.TB, tu tuning, ids ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, net: newMemNet(), tuning: tu, root: t.TempDir(), nodes: map[string]*member{}}
	t.Cleanup(func() {
		for _, m := range c.nodes {
			if err := m.g.Close(); err != nil {
				t.Errorf("close %s: %v", m.id, err)
			}
		}
	})
	for i, id := range ids {
		m := c.start(id)
		if i == 0 {
			if err := m.g.Bootstrap(); err != nil {
				t.Fatalf("found group: %v", err)
			}
			c.leader()
			continue
		}
		c.change(func(g *Group) error { return g.AddLearner(id) })
		c.change(func(g *Group) error { return g.Promote(id) })
	}
	return c
}

// start opens a node, new or as it was.
func (c *cluster) start(id string) *member {
	c.t.Helper()
	m, err := c.tryStart(id)
	if err != nil {
		c.t.Fatalf("start %s: %v", id, err)
	}
	return m
}

func (c *cluster) tryStart(id string) (*member, error) {
	m := &member{id: id, dir: filepath.Join(c.root, id), sm: newCounter()}
	var err error
	m.g, err = open(Config{
		Dir: m.dir, Self: id, Streams: c.net.join(id), Log: testLog(c.t).With("node", id),
	}, m.sm, c.tuning)
	if err != nil {
		return nil, err
	}
	c.nodes[id] = m
	return m, nil
}

// stop closes a node.
func (c *cluster) stop(id string) {
	c.t.Helper()
	m := c.nodes[id]
	delete(c.nodes, id)
	if err := m.g.Close(); err != nil {
		c.t.Fatalf("close %s: %v", id, err)
	}
}

// leader waits for one that a majority follows.
func (c *cluster) leader() (l *member) {
	c.t.Helper()
	waitFor(c.t, "a leader", func() bool {
		for _, m := range c.nodes {
			ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
			_, err := m.g.Barrier(ctx)
			cancel()
			if err == nil {
				l = m
				return true
			}
		}
		return false
	})
	return l
}

func (c *cluster) followers() (f []*member) {
	l := c.leader()
	for _, m := range c.nodes {
		if m != l {
			f = append(f, m)
		}
	}
	return f
}

// change runs a change of the members on the leader until it is done.
func (c *cluster) change(f func(*Group) error) {
	c.t.Helper()
	var err error
	waitFor(c.t, "a change of the members", func() bool {
		err = f(c.leader().g)
		var nl *ErrNotLeader
		return !errors.As(err, &nl) && !errors.Is(err, ErrUnknown)
	})
	if err != nil {
		c.t.Fatalf("change members: %v", err)
	}
}

// propose proposes until it knows that p is applied. It may be applied more than once.
func (c *cluster) propose(p string) (index uint64) {
	c.t.Helper()
	waitFor(c.t, "the proposal "+p, func() bool {
		i, _, err := c.leader().g.Propose(c.t.Context(), []byte(p))
		index = i
		return err == nil
	})
	return index
}

// agree waits until all nodes have applied the same and checks that they hold the same.
func (c *cluster) agree() {
	c.t.Helper()
	l := c.leader()
	index, err := l.g.Barrier(c.t.Context())
	if err != nil {
		c.t.Fatalf("barrier: %v", err)
	}
	_, want := l.sm.state()
	for _, m := range c.nodes {
		ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
		err := m.g.WaitApplied(ctx, index)
		cancel()
		if err != nil {
			c.t.Fatalf("%s waits for %d, has %d: %v", m.id, index, m.g.Applied(), err)
		}
		if at, got := m.sm.state(); got != want {
			c.t.Errorf("%s has state %x at %d, %s has %x at %d", m.id, got[:4], at, l.id, want[:4], index)
		}
	}
}

// crash copies a node's directory as a kill would leave it. The node goes on; the locks make
// the copy one of a single moment.
func (c *cluster) crash(id, to string) {
	c.t.Helper()
	g := c.nodes[id].g
	g.fsm.flushMu.Lock()
	defer g.fsm.flushMu.Unlock()
	g.log.wmu.Lock()
	defer g.log.wmu.Unlock()
	copyDir(c.t, c.nodes[id].dir, filepath.Join(c.root, to))
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
	if err != nil {
		t.Fatalf("copy %s: %v", from, err)
	}
}

// waitFor polls a condition.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(60 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// testLog writes to the test's log with HORDE_TEST_LOG=1.
func testLog(t testing.TB) *slog.Logger {
	if os.Getenv("HORDE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func name(worker, i int) string { return fmt.Sprintf("w%d-%d", worker, i) }
