package consensus

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

func TestFoundAndPropose(t *testing.T) {
	c := newCluster(t, quick(), "a")
	a := c.nodes["a"]
	if !a.g.HasState() {
		t.Error("HasState = false after Bootstrap")
	}
	if err := a.g.Bootstrap(); !errors.Is(err, ErrHasState) {
		t.Errorf("second Bootstrap = %v, want ErrHasState", err)
	}
	for want := 1; want <= 3; want++ {
		index, answer, err := a.g.Propose(t.Context(), []byte("x"))
		if err != nil || string(answer) != strconv.Itoa(want) {
			t.Fatalf("Propose = %s, %v; want %d", answer, err, want)
		}
		if a.g.Applied() != index {
			t.Errorf("Applied = %d after the answer, want %d", a.g.Applied(), index)
		}
	}
	if _, _, err := a.g.Propose(t.Context(), make([]byte, MaxProposal+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Propose of too much = %v, want ErrTooLarge", err)
	}
	select {
	case <-a.g.LeaderChanges():
	default:
		t.Error("no leader change was told")
	}
	if st := a.g.Stats(); st.State != "Leader" || st.Leader != "a" || st.Term == 0 || st.LastContact != 0 {
		t.Errorf("Stats = %+v", st)
	}
}

func TestNotFoundedIsNoLeader(t *testing.T) {
	c := newCluster(t, quick())
	a := c.start("a")
	if a.g.HasState() {
		t.Error("HasState = true in an empty directory")
	}
	var nl *ErrNotLeader
	if _, _, err := a.g.Propose(t.Context(), []byte("x")); !errors.As(err, &nl) || nl.Leader != "" {
		t.Errorf("Propose = %v, want ErrNotLeader without a leader", err)
	}
	if _, err := a.g.Barrier(t.Context()); !errors.As(err, &nl) {
		t.Errorf("Barrier = %v, want ErrNotLeader", err)
	}
	if err := a.g.AddLearner("b"); !errors.As(err, &nl) {
		t.Errorf("AddLearner = %v, want ErrNotLeader", err)
	}
	if err := a.g.TransferLeadership(); !errors.As(err, &nl) {
		t.Errorf("TransferLeadership = %v, want ErrNotLeader", err)
	}
}

func TestManyProposersOnThreeNodes(t *testing.T) {
	c := newCluster(t, quick(), "a", "b", "c")
	const workers, each = 50, 20
	l := c.leader()
	before := l.g.Stats().LastLog
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if _, answer, err := l.g.Propose(t.Context(), []byte(name(w, i))); err != nil || string(answer) != "1" {
					t.Errorf("Propose %s = %s, %v; want 1", name(w, i), answer, err)
				}
			}
		})
	}
	wg.Wait()
	c.agree()
	if entries := l.g.Stats().LastLog - before; entries > workers*each/2 {
		t.Errorf("%d proposals took %d entries: no group commit", workers*each, entries)
	}
	var nl *ErrNotLeader
	for _, f := range c.followers() {
		if _, _, err := f.g.Propose(t.Context(), []byte("x")); !errors.As(err, &nl) || nl.Leader != l.id {
			t.Errorf("Propose at %s = %v, want ErrNotLeader that names %s", f.id, err, l.id)
		}
	}
}

// Acknowledged proposals survive a leader that stops, and the node that comes back agrees.
func TestLeaderStops(t *testing.T) {
	for _, tt := range []struct {
		name     string
		snapshot bool
	}{{"log only", false}, {"with a snapshot", true}} {
		t.Run(tt.name, func(t *testing.T) {
			tu := quick()
			tu.trailing = 1
			c := newCluster(t, tu, "a", "b", "c")
			var mu sync.Mutex
			var acked []string
			stop := make(chan struct{})
			var wg sync.WaitGroup
			nodes := []*member{c.nodes["a"], c.nodes["b"], c.nodes["c"]}
			for w := range 8 {
				wg.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						for _, m := range nodes {
							if _, _, err := m.g.Propose(t.Context(), []byte(name(w, i))); err == nil {
								mu.Lock()
								acked = append(acked, name(w, i))
								mu.Unlock()
								break
							}
						}
					}
				})
			}
			progress := func() {
				mu.Lock()
				n := len(acked)
				mu.Unlock()
				waitFor(t, "progress", func() bool { mu.Lock(); defer mu.Unlock(); return len(acked) > n+50 })
			}
			progress()
			l := c.leader()
			c.stop(l.id)
			progress()
			close(stop)
			wg.Wait()
			if tt.snapshot {
				for _, m := range c.nodes {
					if err := m.g.Snapshot(); err != nil {
						t.Fatalf("snapshot at %s: %v", m.id, err)
					}
					if st := m.g.Stats(); st.LastLog-st.FirstLog > 5 {
						t.Fatalf("log of %s is %d..%d after a snapshot", m.id, st.FirstLog, st.LastLog)
					}
				}
			}
			c.propose("after")
			again := c.start(l.id)
			c.agree()
			for _, p := range acked {
				if again.sm.count(p) == 0 {
					t.Fatalf("acknowledged proposal %s is lost", p)
				}
			}
			if tt.snapshot && again.sm.loads < 2 {
				t.Errorf("%d loads, want the second to be the leader's snapshot", again.sm.loads)
			}
		})
	}
}

func TestRestartOfAll(t *testing.T) {
	for _, tt := range []struct {
		name     string
		snapshot bool
	}{{"log only", false}, {"with a snapshot", true}} {
		t.Run(tt.name, func(t *testing.T) {
			tu := quick()
			tu.trailing = 2
			c := newCluster(t, tu, "a", "b", "c")
			for i := range 20 {
				c.propose(strconv.Itoa(i % 7))
			}
			if tt.snapshot {
				if err := c.nodes["b"].g.Snapshot(); err != nil {
					t.Fatal(err)
				}
			}
			c.propose("delete 3")
			c.agree()
			_, want := c.nodes["a"].sm.state()
			for _, id := range []string{"a", "b", "c"} {
				c.stop(id)
			}
			for _, id := range []string{"c", "b", "a"} {
				m := c.start(id)
				if _, got := m.sm.state(); got != want {
					t.Errorf("state of %s right after its start = %x, want %x", id, got[:4], want[:4])
				}
			}
			c.propose("again")
			c.agree()
		})
	}
}

func TestMembers(t *testing.T) {
	c := newCluster(t, quick(), "a", "b", "c")
	d := c.start("d")
	c.change(func(g *Group) error { return g.AddLearner("d") })
	members := func() []Server {
		s, err := c.leader().g.Servers()
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(s, func(x, y Server) int { return int(x.ID[0]) - int(y.ID[0]) })
		return s
	}
	want := []Server{{"a", true}, {"b", true}, {"c", true}, {"d", false}}
	if got := members(); !slices.Equal(got, want) {
		t.Fatalf("members = %v, want %v", got, want)
	}
	c.propose("x")
	c.agree()

	c.change(func(g *Group) error { return g.Promote("d") })
	c.change(func(g *Group) error { return g.AddLearner("d") }) // no demotion
	want[3].Voter = true
	if got := members(); !slices.Equal(got, want) {
		t.Errorf("members = %v, want %v", got, want)
	}
	c.change(func(g *Group) error { return g.Demote("d") })
	want[3].Voter = false
	if got := members(); !slices.Equal(got, want) {
		t.Errorf("members = %v, want %v", got, want)
	}
	if err := c.leader().g.Promote("z"); !errors.Is(err, ErrNotMember) {
		t.Errorf("Promote a stranger = %v, want ErrNotMember", err)
	}
	c.change(func(g *Group) error { return g.Remove("d") })
	if got := members(); !slices.Equal(got, want[:3]) {
		t.Errorf("members = %v, want %v", got, want[:3])
	}
	c.change(func(g *Group) error { return g.Remove("d") }) // again: no error
	index := d.g.Applied()
	c.propose("y")
	if d.g.Applied() > index {
		t.Error("a removed server still follows")
	}
}

// A leader that is to be demoted or removed hands over; the next one does it, and it lives on.
func TestLeaderLeavesItself(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*Group, string) error
	}{{"demote", (*Group).Demote}, {"remove", (*Group).Remove}} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, quick(), "a", "b", "c")
			l := c.leader()
			var nl *ErrNotLeader
			if err := tt.do(l.g, l.id); !errors.As(err, &nl) {
				t.Fatalf("%s itself: got %v, want ErrNotLeader", tt.name, err)
			}
			waitFor(t, "another leader", func() bool { return c.leader() != l })
			c.change(func(g *Group) error { return tt.do(g, l.id) })
			c.propose("x")
			if l.g.Stats().State == "Shutdown" {
				t.Error("the old leader's raft has shut down")
			}
			if _, _, err := l.g.Propose(t.Context(), []byte("x")); !errors.As(err, &nl) {
				t.Errorf("Propose = %v, want ErrNotLeader", err)
			}
		})
	}
}

func TestLastVoterStays(t *testing.T) {
	c := newCluster(t, quick(), "a")
	if err := c.leader().g.Demote("a"); err == nil {
		t.Error("the last voter was demoted")
	}
	c.propose("x")
}

// A learner that joins late gets a snapshot, because the log no longer has the beginning.
func TestLearnerJoinsBySnapshot(t *testing.T) {
	tu := quick()
	tu.trailing = 1
	c := newCluster(t, tu, "a")
	for i := range 30 {
		c.propose(strconv.Itoa(i))
	}
	c.propose("many 5000 k")
	if err := c.leader().g.Snapshot(); err != nil {
		t.Fatal(err)
	}
	c.propose("after")
	b := c.start("b")
	c.change(func(g *Group) error { return g.AddLearner("b") })
	c.agree()
	if b.sm.count("k4999") != 1 || b.sm.count("after") != 1 {
		t.Error("the learner lacks counts")
	}
	if b.sm.loads != 2 {
		t.Errorf("%d loads, want 2: the empty state and the snapshot", b.sm.loads)
	}
	if first := b.g.Stats().FirstLog; first < 20 {
		t.Errorf("the learner's log begins at %d, want none from before the snapshot", first)
	}
	c.propose("once more")
	c.agree()
	c.stop("b")
	c.start("b")
	c.agree()
}

func TestPartition(t *testing.T) {
	c := newCluster(t, quick(), "a", "b", "c")
	c.propose("before")
	old := c.leader()
	var rest []string
	for id := range c.nodes {
		if id != old.id {
			rest = append(rest, id)
		}
	}
	c.net.split([]string{old.id}, rest)
	// The old leader acknowledges nothing from now on.
	_, _, err := old.g.Propose(t.Context(), []byte("lost"))
	var nl *ErrNotLeader
	if !errors.Is(err, ErrUnknown) && !errors.As(err, &nl) {
		t.Fatalf("Propose at a leader that is cut off = %v, want ErrUnknown or ErrNotLeader", err)
	}
	term := c.nodes[rest[0]].g.Stats().Term
	for i := range 10 {
		c.propose("during " + strconv.Itoa(i))
	}
	if l := c.leader(); l == old {
		t.Fatal("the leader that is cut off proved its leadership")
	}
	c.net.heal()
	c.propose("healed")
	c.agree()
	if old.sm.count("during") < 10 {
		t.Errorf("the old leader has %d of 10 counts", old.sm.count("during"))
	}
	if now := c.leader().g.Stats().Term; now > term+20 {
		t.Errorf("term went from %d to %d: the node that was cut off stood for election", term, now)
	}
}

// A minority with a learner on its side is still a minority.
func TestBarrierNeedsVoters(t *testing.T) {
	c := newCluster(t, quick(), "a", "b", "c")
	c.start("d")
	c.change(func(g *Group) error { return g.AddLearner("d") })
	c.agree()
	l := c.leader()
	var others []string
	for id := range c.nodes {
		if id != l.id && id != "d" {
			others = append(others, id)
		}
	}
	c.net.split([]string{l.id, "d"}, others)
	if _, err := l.g.Barrier(t.Context()); err == nil {
		t.Error("Barrier = nil on the side of the minority")
	}
	c.net.heal()
	c.agree()
}

func TestTransferLeadership(t *testing.T) {
	c := newCluster(t, quick(), "a", "b", "c")
	c.propose("x")
	old := c.leader()
	if err := old.g.TransferLeadership(); err != nil {
		t.Fatalf("TransferLeadership = %v", err)
	}
	if l := c.leader(); l == old {
		t.Error("the leader is the same")
	}
	c.propose("y")
	c.agree()
}

func TestBarriersAreShared(t *testing.T) {
	c := newCluster(t, quick(), "a", "b", "c")
	want := c.propose("x")
	l := c.leader()
	before := l.g.Stats().LastLog
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			if index, err := l.g.Barrier(t.Context()); err != nil || index != want {
				t.Errorf("Barrier = %d, %v; want %d", index, err, want)
			}
		})
	}
	wg.Wait()
	if n := l.g.Stats().LastLog - before; n > 250 {
		t.Errorf("500 callers took %d barriers", n)
	}
	for _, m := range c.nodes { // also where raft's own entries are the last
		if err := m.g.WaitApplied(t.Context(), want); err != nil {
			t.Errorf("WaitApplied at %s = %v", m.id, err)
		}
	}
}

func TestProposeContext(t *testing.T) {
	c := newCluster(t, quick(), "a")
	a := c.nodes["a"]
	a.sm.block = make(chan struct{})
	var first sync.WaitGroup
	for range maxEntries { // each takes a packer
		first.Go(func() {
			if _, _, err := a.g.Propose(t.Context(), []byte("x")); err != nil {
				t.Errorf("Propose = %v", err)
			}
		})
		waitFor(t, "the queue to drain", func() bool { return len(a.g.queue) == 0 })
	}
	ctx, cancel := context.WithCancel(t.Context())
	var second sync.WaitGroup
	second.Go(func() {
		for range 3 * maxEntries { // they hold back at most as many entries as there are packers
			_, _, err := a.g.Propose(ctx, []byte("y"))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Propose = %v, want the context's error", err)
			}
		}
	})
	cancel()
	second.Wait()
	close(a.sm.block)
	first.Wait()
	if got := a.sm.count("x"); got != maxEntries {
		t.Errorf("%d counts, want %d", got, maxEntries)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	before := runtime.NumGoroutine()
	c := newCluster(t, quick(), "a", "b", "c")
	l := c.leader()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				l.g.Propose(t.Context(), []byte("x")) //nolint:errcheck // any outcome will do
				l.g.Barrier(t.Context())              //nolint:errcheck
			}
		})
	}
	waitFor(t, "some proposals", func() bool { return l.sm.count("x") > 20 })
	for id := range c.nodes {
		c.stop(id)
	}
	close(stop)
	wg.Wait()
	if _, _, err := l.g.Propose(t.Context(), []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("Propose after Close = %v, want ErrClosed", err)
	}
	if err := l.g.WaitApplied(t.Context(), 1<<60); !errors.Is(err, ErrClosed) {
		t.Errorf("WaitApplied after Close = %v, want ErrClosed", err)
	}
	if n := c.net.open(); n != 0 {
		t.Errorf("%d streams are open", n)
	}
	waitFor(t, "the goroutines to end", func() bool {
		return runtime.NumGoroutine() <= before+2 // Badger's and glog's own
	})
}

// An entry that cannot be applied stops the group at that entry, again after a restart.
func TestApplyErrorStops(t *testing.T) {
	for _, poison := range []string{"poison", "panic"} {
		t.Run(poison, func(t *testing.T) {
			c := newCluster(t, quick(), "a")
			a := c.nodes["a"]
			index := c.propose("x")
			if _, _, err := a.g.Propose(t.Context(), []byte(poison)); !errors.Is(err, ErrUnknown) {
				t.Errorf("Propose = %v, want ErrUnknown", err)
			}
			if err := <-a.g.Failed(); err == nil {
				t.Error("Failed told nothing")
			}
			if _, _, err := a.g.Propose(t.Context(), []byte("y")); err == nil {
				t.Error("the group goes on")
			}
			if err := a.g.WaitApplied(t.Context(), index+1); err == nil {
				t.Error("WaitApplied = nil past the entry")
			}
			c.stop("a")
			again := c.start("a")
			if err := <-again.g.Failed(); err == nil {
				t.Error("Failed told nothing after a restart")
			}
			if got, _ := again.sm.state(); got != index {
				t.Errorf("state is as of %d, want %d", got, index)
			}
		})
	}
}

func TestDirectoryInUse(t *testing.T) {
	c := newCluster(t, quick(), "a")
	_, err := open(Config{Dir: c.nodes["a"].dir, Self: "a", Streams: newMemNet().join("a")}, newCounter(), quick())
	if !errors.Is(err, ErrInUse) {
		t.Errorf("Open of an open directory = %v, want ErrInUse", err)
	}
	if err := Wipe(c.nodes["a"].dir); !errors.Is(err, ErrInUse) {
		t.Errorf("Wipe of an open directory = %v, want ErrInUse", err)
	}
}

func TestWipe(t *testing.T) {
	c := newCluster(t, quick(), "a", "b", "c")
	c.propose("x")
	c.agree()
	f := c.followers()[0]
	c.change(func(g *Group) error { return g.Remove(f.id) })
	c.stop(f.id)
	if err := Wipe(f.dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(f.dir, "*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	again := c.start(f.id)
	if again.g.HasState() {
		t.Error("HasState = true after Wipe")
	}
	c.change(func(g *Group) error { return g.AddLearner(f.id) })
	c.agree()
}

func TestHungDiskFails(t *testing.T) {
	tu := quick()
	tu.storeHang = 50 * time.Millisecond
	c := newCluster(t, tu, "a")
	a := c.nodes["a"]
	a.g.log.writes.Add(1) // a write begins and does not end
	if err := <-a.g.Failed(); !errors.Is(err, ErrDiskHangs) {
		t.Errorf("Failed told %v, want ErrDiskHangs", err)
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
	}{
		{"nothing", Config{}},
		{"no streams", Config{Dir: "x", Self: "a"}},
		{"unknown profile", Config{Dir: "x", Self: "a", Streams: newMemNet().join("a"), Profile: 7}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Open(tt.cfg, newCounter()); err == nil {
				t.Error("Open = nil")
			}
		})
	}
	for _, p := range []Profile{LAN, WAN} {
		if tu := p.tuning(); tu.lease > tu.heartbeat || tu.rpcTimeout < 3*time.Second {
			t.Errorf("profile %d: %+v", p, tu)
		}
	}
}

// After two of three nodes are lost, the third goes on alone, and others join it.
func TestRecover(t *testing.T) {
	for _, tt := range []struct {
		name     string
		snapshot bool
	}{{"log only", false}, {"with a snapshot", true}} {
		t.Run(tt.name, func(t *testing.T) {
			tu := quick()
			tu.trailing = 3
			c := newCluster(t, tu, "a", "b", "c")
			for i := range 20 {
				c.propose(strconv.Itoa(i))
			}
			if tt.snapshot {
				if err := c.nodes["c"].g.Snapshot(); err != nil {
					t.Fatal(err)
				}
				c.propose("after")
			}
			c.agree()
			_, want := c.nodes["c"].sm.state()
			index, dir := c.nodes["c"].g.Applied(), c.nodes["c"].dir
			if _, err := Recover(Config{Dir: dir, Self: "c"}, newCounter()); !errors.Is(err, ErrInUse) {
				t.Errorf("Recover of a running node = %v, want ErrInUse", err)
			}
			for _, id := range []string{"a", "b", "c"} {
				c.stop(id)
			}
			if got, err := Recover(Config{Dir: dir, Self: "c"}, newCounter()); err != nil || got != index {
				t.Fatalf("Recover = %d, %v; want %d", got, err, index)
			}
			m := c.start("c")
			if l := c.leader(); l != m {
				t.Fatalf("leader = %s", l.id)
			}
			if _, got := m.sm.state(); got != want {
				t.Errorf("state = %x, want %x", got[:4], want[:4])
			}
			c.start("d")
			c.change(func(g *Group) error { return g.AddLearner("d") })
			c.propose("on")
			c.agree()
		})
	}
	if _, err := Recover(Config{Dir: t.TempDir(), Self: "x"}, newCounter()); err == nil {
		t.Error("Recover of nothing = nil")
	}
}

// A node that is the only voter does not wait for a heartbeat that nobody sends.
func TestOnlyVoterLeadsAtOnce(t *testing.T) {
	tu := quick()
	tu.heartbeat = time.Hour
	c := newCluster(t, tu, "a") // waits for the leader
	c.propose("x")
	c.stop("a")
	c.start("a")
	c.propose("y")
}
