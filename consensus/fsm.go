package consensus

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// fsm drives the machine for raft and writes its state behind.
//
//	raft's fsm goroutine: ApplyBatch, Snapshot, Restore      flusher: run
//	        └── mu: the machine ──┘                            └── flushMu, then mu
//
// ApplyBatch blocks while more keys are dirty than one write takes.
type fsm struct {
	sm       StateMachine
	disk     *stateDisk
	delay    time.Duration // how long the flusher collects
	maxDirty int
	fail     func(error) // stops the group; called at most once per cause, must not block
	archive  *archive    // nil: off. It has a lock of its own

	applied atomic.Uint64 // the last command that the machine has seen
	stored  atomic.Uint64 // the index that the disk is as of
	waiters waiters

	flushMu sync.Mutex // held for a write of the state and for its replacement

	mu      sync.Mutex // guards the machine and the fields below
	room    *sync.Cond // the flusher took the dirty keys, or the fsm is dead
	skipTo  uint64     // entries up to here are in the loaded state
	seen    uint64     // the last entry that raft handed over
	dead    error      // set once: nothing is applied or stored any more
	dirtied chan struct{}
	full    chan struct{}
}

var (
	_ raft.FSM         = (*fsm)(nil)
	_ raft.BatchingFSM = (*fsm)(nil)
)

func newFSM(sm StateMachine, disk *stateDisk, t tuning, fail func(error)) *fsm {
	f := &fsm{
		sm: sm, disk: disk, delay: t.flushDelay, maxDirty: t.maxDirty, fail: fail,
		dirtied: make(chan struct{}, 1), full: make(chan struct{}, 1),
	}
	if f.maxDirty == 0 {
		f.maxDirty = disk.maxDirty()
	}
	f.room = sync.NewCond(&f.mu)
	return f
}

// load gives the machine the state on the disk, which is as of applied.
func (f *fsm) load(g *generation, applied uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := guard(func() error { return g.load(f.sm, applied) }); err != nil {
		return fmt.Errorf("load state as of %d: %w", applied, err)
	}
	f.loaded(applied)
	return nil
}

func (f *fsm) loaded(applied uint64) {
	f.skipTo, f.seen = applied, 0
	f.stored.Store(applied)
	f.applied.Store(applied)
	f.waiters.reached(applied)
}

// An outcome is what ApplyBatch answers to one entry.
type outcome struct {
	answers [][]byte
	err     error
}

// Apply applies one entry. raft calls ApplyBatch instead.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies committed entries in order and returns an outcome for each command.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]any, len(logs))
	for i, l := range logs {
		if l.Type == raft.LogCommand {
			answers, err := f.apply(l)
			out[i] = outcome{answers, err}
		}
		f.seen = max(f.seen, l.Index)
	}
	if f.dead == nil {
		f.waiters.reached(f.applied.Load())
	}
	return out
}

func (f *fsm) apply(l *raft.Log) ([][]byte, error) {
	for f.dead == nil && f.sm.Dirty() >= f.maxDirty {
		notify(f.full)
		f.room.Wait()
	}
	if f.dead != nil {
		return nil, f.dead
	}
	if l.Index <= f.skipTo {
		return nil, nil // replayed: the loaded state has it
	}
	stamp, proposals, err := decodeEntry(l.Data)
	var answers [][]byte
	if err == nil {
		err = guard(func() (err error) {
			answers, err = f.sm.Apply(l.Index, stamp, sha256.Sum256(l.Data), proposals)
			return err
		})
	}
	if err == nil && len(answers) != len(proposals) {
		err = fmt.Errorf("%d answers to %d proposals", len(answers), len(proposals))
	}
	if err != nil {
		err = fmt.Errorf("apply entry %d: %w", l.Index, err)
		f.die(err)
		return nil, err
	}
	f.applied.Store(l.Index)
	if f.archive != nil {
		f.archive.add(l.Index, l.Data)
	}
	notify(f.dirtied)
	if f.sm.Dirty() >= f.maxDirty/2 {
		notify(f.full)
	}
	return answers, nil
}

// die stops the fsm for good; f.mu is held. What is dirty is never stored: it may be a part
// of an entry.
func (f *fsm) die(err error) {
	if f.dead != nil {
		return
	}
	f.dead = err
	f.room.Broadcast()
	f.waiters.close(err)
	f.fail(err)
}

// stop ends the fsm from outside.
func (f *fsm) stop(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.die(err)
}

func (f *fsm) alive() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead == nil
}

// guard turns a panic of the machine into an error, so that a poisoned entry stops the group
// and names itself instead of crashing the node again and again.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("state machine panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// flush writes what is dirty in one atomic step.
func (f *fsm) flush() error {
	f.flushMu.Lock()
	defer f.flushMu.Unlock()
	return f.flushLocked()
}

func (f *fsm) flushLocked() error {
	f.mu.Lock()
	if f.dead != nil {
		defer f.mu.Unlock()
		return f.dead
	}
	writes, index := f.sm.Changes()
	f.room.Broadcast()
	f.mu.Unlock()
	if len(writes) == 0 && index <= f.stored.Load() {
		return nil
	}
	if f.archive != nil { // first: the archive may be ahead of the state, never behind
		if err := f.archive.flush(); err != nil {
			err = fmt.Errorf("archive entries up to %d: %w", index, err)
			f.stop(err)
			return err
		}
	}
	if err := f.disk.store(writes, index); err != nil {
		err = fmt.Errorf("store state as of %d: %w", index, err)
		f.stop(err)
		return err
	}
	f.stored.Store(index)
	return nil
}

// run is the flusher. It returns when quit is closed.
func (f *fsm) run(quit <-chan struct{}) {
	timer := time.NewTimer(f.delay)
	defer timer.Stop()
	for {
		select {
		case <-f.dirtied:
		case <-quit:
			return
		}
		timer.Reset(f.delay)
		select {
		case <-timer.C:
		case <-f.full:
		case <-quit:
			return
		}
		if f.flush() != nil {
			return // the group has been told
		}
	}
}

var (
	errReplaying = errors.New("the log is being replayed")
	errStopped   = errors.New("the state machine has stopped")
)

// Snapshot writes what is dirty and pins the stored state for Persist.
//
// It refuses while the log is replayed: the state is then ahead of the index that raft would
// label it with, and a follower with such a snapshot would seem to have lost entries.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	replaying := f.seen < f.skipTo
	f.mu.Unlock()
	if replaying {
		return nil, errReplaying
	}
	snap, err := f.pin()
	if err != nil {
		return nil, err // not a nil *fsmSnapshot in an interface
	}
	return snap, nil
}

// pin writes what is dirty and holds the stored state as it is then. The caller releases it.
func (f *fsm) pin() (*fsmSnapshot, error) {
	f.flushMu.Lock()
	defer f.flushMu.Unlock()
	if err := f.flushLocked(); err != nil {
		return nil, err
	}
	g := f.disk.hold()
	return &fsmSnapshot{disk: f.disk, gen: g, txn: g.db.NewTransaction(false), done: func(err error) {
		if err != nil {
			f.stop(fmt.Errorf("remove old state: %w", err))
		}
	}}, nil
}

// Restore replaces the state by a snapshot. A damaged snapshot leaves everything as it was; a
// machine that cannot load a sound one stops the group.
func (f *fsm) Restore(r io.ReadCloser) error {
	f.flushMu.Lock()
	defer f.flushMu.Unlock()
	if !f.alive() {
		return errStopped
	}
	g, applied, err := f.disk.restore(r)
	if err != nil {
		if g != nil { // the disk may hold the new state: the machine must not write to it
			f.stop(err)
		}
		return err
	}
	if err := f.load(g, applied); err != nil {
		f.stop(err)
		return err
	}
	if err := f.archiveFrom(g, applied); err != nil {
		f.stop(err)
		return err
	}
	f.mu.Lock()
	f.seen = applied
	f.mu.Unlock()
	return nil
}

// notify wakes a goroutine that waits on a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
