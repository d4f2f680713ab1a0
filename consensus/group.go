package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// A Group is this node's part in a replicated log. Its methods may be called concurrently.
type Group struct {
	cfg Config
	t   tuning

	log   *logStore
	snaps *raft.FileSnapshotStore
	disk  *stateDisk
	fsm   *fsm
	raft  *raft.Raft
	trans *transport

	queue    chan *proposal
	packing  chan struct{} // capacity 1, guards held: who is in it makes the next entry
	held     *proposal     // the next entry's first
	barriers barriers
	memberMu sync.Mutex // one change of the configuration at a time
	changes  chan struct{}

	gate   sync.RWMutex // guards closed
	closed bool         // no call may begin
	calls  sync.WaitGroup

	quit     chan struct{} // closed first: packers end
	packers  sync.WaitGroup
	stopped  chan struct{} // closed when raft has stopped: the rest ends
	wg       sync.WaitGroup
	stopping atomic.Bool // stop was called: the first call does it
	stopErr  error

	failure  chan error // capacity 1: the first failure
	failed   chan error
	closeOne sync.Once
	closeErr error
}

// Open opens the disks, checks them, gives the machine its state and starts raft. The group
// then follows its leader or, as a voter, stands for election; a group that was never founded
// here waits to be added to one.
//
// The errors to tell apart are ErrInUse, *ErrAmnesia, ErrStateVersion and ErrSnapshotVersion.
func Open(cfg Config, sm StateMachine) (*Group, error) {
	return open(cfg, sm, cfg.tuning())
}

func open(cfg Config, sm StateMachine, t tuning) (_ *Group, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Streams == nil {
		return nil, errors.New("consensus: Streams are required")
	}
	g, err := openDisks(cfg, sm, t)
	if err != nil {
		return nil, err
	}
	cache, err := raft.NewLogCache(512, g.log)
	if err != nil {
		return nil, fmt.Errorf("log cache: %w", errors.Join(err, g.closeDisks()))
	}
	g.trans = newTransport(cfg.Self, cfg.Streams, t.rpcTimeout, cfg.Log)
	g.raft, err = raft.NewRaft(t.raftConfig(cfg.Self, cfg.Log), g.fsm, cache, g.log, g.snaps, g.trans)
	if err != nil {
		return nil, fmt.Errorf("start raft: %w", errors.Join(err, g.trans.Close(), g.closeDisks()))
	}
	events := make(chan raft.Observation, 64)
	g.raft.RegisterObserver(raft.NewObserver(events, false, observed))
	notify(g.changes) // something may have changed before
	for range maxEntries {
		g.packers.Go(g.pack)
	}
	g.wg.Go(func() { g.observe(events) })
	g.wg.Go(g.watch)
	g.wg.Go(g.supervise) // last: it may stop all of these
	if err := g.hurry(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// openDisks opens, checks and repairs what is stored, gives the machine its state and starts
// to write behind. Raft is not running yet.
func openDisks(cfg Config, sm StateMachine, t tuning) (_ *Group, err error) {
	g := &Group{
		cfg: cfg, t: t,
		queue:   make(chan *proposal, maxQueue),
		packing: make(chan struct{}, 1),
		changes: make(chan struct{}, 1),
		quit:    make(chan struct{}), stopped: make(chan struct{}),
		failure: make(chan error, 1), failed: make(chan error, 1),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.closeDisks())
		}
	}()
	raftDir := filepath.Join(cfg.Dir, "raft")
	if err := os.MkdirAll(raftDir, 0o700); err != nil {
		return nil, fmt.Errorf("consensus: %w", err)
	}
	g.log, err = openLogStore(raftDir, cfg.Now, cfg.Log, g.fail)
	if err != nil {
		return nil, damage(err, cfg.Dir, "the log cannot be read")
	}
	g.log.before = cfg.BeforeWrite
	g.snaps, err = raft.NewFileSnapshotStoreWithLogger(raftDir, 2, newRaftLog(cfg.Log))
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	var applied uint64
	g.disk, applied, err = openState(cfg.Dir, cfg.Log)
	if err != nil && (isDamage(err) || isUnreadable(err)) {
		cfg.Log.Error("stored state is damaged, rebuilding it from snapshot and log", "error", err)
		g.disk, err = resetState(cfg.Dir, cfg.Log)
	}
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	g.fsm = newFSM(sm, g.disk, t, g.fail)
	if err := g.start(applied); err != nil {
		return nil, err
	}
	if err := g.startArchive(); err != nil {
		return nil, err
	}
	g.wg.Go(func() { g.fsm.run(g.stopped) })
	return g, nil
}

// closeDisks stores what is dirty, unless the group has failed, and closes what is open.
func (g *Group) closeDisks() (err error) {
	if g.fsm != nil {
		if g.fsm.alive() {
			err = g.fsm.flush()
		}
		g.fsm.stop(ErrClosed)
	}
	if g.fsm != nil && g.fsm.archive != nil {
		err = errors.Join(err, g.fsm.archive.Close())
	}
	if g.disk != nil {
		err = errors.Join(err, g.disk.Close())
	}
	if g.log != nil {
		err = errors.Join(err, g.log.Close())
	}
	return err
}

// hurry makes this node stand for election now if it is the only voter: there is nobody to
// wait for. Raft does so when the heartbeat timeout is lowered and no leader was heard.
func (g *Group) hurry() error {
	f := g.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	// A copy: raft hands out its own list, and everybody else is shown the same one.
	voters := slices.DeleteFunc(slices.Clone(f.Configuration().Servers), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
	if len(voters) != 1 || string(voters[0].ID) != g.cfg.Self {
		return nil
	}
	as := g.raft.ReloadableConfig()
	longer := as
	longer.HeartbeatTimeout += time.Millisecond
	longer.ElectionTimeout += time.Millisecond
	if err := errors.Join(g.raft.ReloadConfig(longer), g.raft.ReloadConfig(as)); err != nil {
		return fmt.Errorf("hurry election: %w", err)
	}
	return nil
}

// enter begins a call that may reach raft; the caller ends it with calls.Done. So nothing
// waits on raft when it stops: raft leaves what is in its queues unanswered.
func (g *Group) enter() error {
	g.gate.RLock()
	defer g.gate.RUnlock()
	if g.closed {
		return ErrClosed
	}
	g.calls.Add(1)
	return nil
}

// fail reports why the group cannot go on. It does not block.
func (g *Group) fail(err error) {
	select {
	case g.failure <- err:
	default: // only the first one counts
	}
}

// Failed gets one error when the group has stopped for good, and is then closed. The node
// should close the group and say why. It is not told of Close.
func (g *Group) Failed() <-chan error { return g.failed }

// supervise stops raft after a failure, so that the others elect another leader.
func (g *Group) supervise() {
	select {
	case err := <-g.failure:
		g.cfg.Log.Error("consensus stopped", "error", err)
		g.fsm.stop(err)
		if errors.Is(err, ErrDiskHangs) {
			// Raft cannot stop before its write returns and would go on to send heartbeats,
			// for which the others would wait instead of electing another leader.
			if err := g.trans.Close(); err != nil {
				g.cfg.Log.Error("the transport was not closed", "error", err)
			}
		}
		g.failed <- err
		close(g.failed)
		g.stop() //nolint:errcheck // Close returns it
	case <-g.stopped:
	}
}

// watch looks for a write to the log that does not return. A leader whose disk hangs would
// keep sending heartbeats and hold up the whole group. It counts its own ticks: a clock that
// jumps and a process that was stopped for a while are not a dead disk.
func (g *Group) watch() {
	const ticks = 10
	tick := time.NewTicker(max(g.t.storeHang/ticks, time.Millisecond))
	defer tick.Stop()
	for write, seen := uint64(0), 0; ; {
		select {
		case <-tick.C:
		case <-g.stopped:
			return
		}
		running, n := g.log.writing()
		if !running || n != write {
			write, seen = n, 0
			continue
		}
		if seen++; seen >= ticks {
			g.fail(fmt.Errorf("%w: a write to the log has taken more than %v", ErrDiskHangs, g.t.storeHang))
			return
		}
	}
}

// stop ends all calls and then raft. An error means that raft, or a call, hangs.
func (g *Group) stop() error {
	if !g.stopping.CompareAndSwap(false, true) {
		<-g.stopped
		return g.stopErr
	}
	defer close(g.stopped)
	g.gate.Lock()
	g.closed = true
	g.gate.Unlock()
	close(g.quit)
	idle := make(chan struct{})
	go func() {
		g.packers.Wait()
		g.calls.Wait()
		close(idle)
	}()
	deadline := time.NewTimer(g.t.shutdownWait)
	defer deadline.Stop()
	if !g.refuse(idle, deadline.C) {
		g.stopErr = errors.New("consensus: calls did not end")
	}
	down := make(chan error, 1)
	go func() {
		err := g.raft.Shutdown().Error() // closes the transport, too
		g.trans.drain()
		down <- err
	}()
	select {
	case err := <-down:
		if err != nil {
			g.stopErr = errors.Join(g.stopErr, fmt.Errorf("stop raft: %w", err))
		}
	case <-deadline.C:
		g.stopErr = errors.Join(g.stopErr, errors.New("consensus: raft did not stop"))
	}
	return g.stopErr
}

// refuse answers what is left in the queue until all calls have ended, or too late.
func (g *Group) refuse(idle <-chan struct{}, late <-chan time.Time) bool {
	for {
		select {
		case p := <-g.queue:
			if p.claimed.CompareAndSwap(false, true) {
				p.result <- result{err: ErrClosed}
			}
		case <-idle:
			return true
		case <-late:
			return false
		}
	}
}

// Close stops the group, stores what is dirty and closes the disks. A leader should
// TransferLeadership first: the others then need no timeout to go on. The group must not be
// used afterwards.
func (g *Group) Close() error {
	g.closeOne.Do(func() {
		if g.closeErr = g.stop(); g.closeErr != nil {
			return // raft may still write: the disks stay open until the process ends
		}
		g.wg.Wait()
		g.closeErr = g.closeDisks()
	})
	return g.closeErr
}

// Bootstrap founds a group of which this node is the only member. It returns ErrHasState if
// there is anything in the log or a snapshot. The node leads as soon as it has elected itself.
func (g *Group) Bootstrap() error {
	if err := g.enter(); err != nil {
		return err
	}
	defer g.calls.Done()
	err := g.raft.BootstrapCluster(g.alone()).Error()
	if errors.Is(err, raft.ErrCantBootstrap) {
		return ErrHasState
	}
	if err != nil {
		return fmt.Errorf("found group: %w", err)
	}
	return g.hurry()
}

// HasState tells whether this node is or was in a group: there is a log or a snapshot.
func (g *Group) HasState() bool {
	_, last := g.log.bounds()
	return last > 0 || g.raft.LastIndex() > 0
}

// Snapshot takes a snapshot now and shortens the log by what it holds.
func (g *Group) Snapshot() error {
	if err := g.enter(); err != nil {
		return err
	}
	defer g.calls.Done()
	err := g.raft.Snapshot().Error()
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}

// Stats is a look at the group. The indexes count all entries, raft's own included, but for
// Applied and Stored.
type Stats struct {
	State       string // raft's: Follower, Candidate, Leader or Shutdown
	Leader      string // node id, empty if none is known
	Term        uint64
	Commit      uint64        // this node knows that a quorum has it
	Applied     uint64        // see Applied
	Stored      uint64        // the stored state is as of this entry
	LastLog     uint64        // in this node's log or snapshot
	FirstLog    uint64        // the oldest entry still in the log
	LastContact time.Duration // since the leader was heard; 0 for a leader, -1 for never
	Queued      int           // proposals that wait for an entry
	LogWrite    time.Duration // how long writes to the log take, smoothed over some eight of them
}

// Stats returns what raft knows now. The values may be of slightly different moments.
func (g *Group) Stats() Stats {
	leader, _ := g.Leader()
	first, _ := g.log.bounds()
	s := Stats{
		State: g.raft.State().String(), Leader: leader, Term: g.raft.CurrentTerm(),
		Commit: g.raft.CommitIndex(), Applied: g.Applied(), Stored: g.fsm.stored.Load(),
		LastLog: g.raft.LastIndex(), FirstLog: first, Queued: len(g.queue), LogWrite: g.log.writeTime(),
	}
	if last := g.raft.LastContact(); !g.IsLeader() {
		s.LastContact = -1
		if !last.IsZero() {
			s.LastContact = time.Since(last) // raft's clock stamped it
		}
	}
	return s
}

// View hands over the state as it is now: the index that it is as of and its records, in the
// order of the keys, which may be gone through more than once. Everything else goes on
// meanwhile.
func (g *Group) View(see func(applied uint64, records iter.Seq2[[]byte, []byte]) error) error {
	if err := g.enter(); err != nil {
		return err
	}
	defer g.calls.Done()
	snap, err := g.fsm.pin()
	if err != nil {
		return fmt.Errorf("view state: %w", err)
	}
	defer snap.Release()
	v, err := get(snap.txn, appliedKey)
	if err != nil {
		return fmt.Errorf("view state: %w", err)
	}
	records, failed := snap.gen.records(snap.txn)
	err = see(binary.BigEndian.Uint64(v), func(yield func(k, v []byte) bool) {
		for k, v := range records {
			if failed() != nil || !yield(k, v) {
				return
			}
		}
	})
	return errors.Join(failed(), err)
}
