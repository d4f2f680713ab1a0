package consensus

import (
	"context"
	"sync"
)

// barriers lets callers share raft barriers: all who arrived before one started.
type barriers struct {
	mu      sync.Mutex // guards the fields below
	next    *round     // who waits for the next barrier
	running bool
}

type round struct {
	done  chan struct{}
	index uint64 // set before done is closed, like err
	err   error
}

// Barrier returns an index such that everything that was acknowledged anywhere before the
// call is applied at this node, and will be at a node whose WaitApplied(index) returned. Only
// the leader can; an error that is not of ctx is ErrNotLeader, ErrClosed, or ErrUnknown if
// the leadership was lost meanwhile: ask the next leader.
func (g *Group) Barrier(ctx context.Context) (index uint64, err error) {
	if err := g.enter(); err != nil {
		return 0, err
	}
	defer g.calls.Done()
	if !g.IsLeader() {
		return 0, g.notLeader()
	}
	b := &g.barriers
	b.mu.Lock()
	if b.next == nil {
		b.next = &round{done: make(chan struct{})}
	}
	r := b.next
	if !b.running {
		b.running = true
		g.calls.Add(1)
		go g.runBarriers()
	}
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.index, r.err
	case <-g.stopped: // only when raft hung
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// runBarriers runs one barrier after the other while someone waits.
func (g *Group) runBarriers() {
	defer g.calls.Done()
	b := &g.barriers
	for {
		b.mu.Lock()
		r := b.next
		b.next = nil
		b.running = r != nil
		b.mu.Unlock()
		if r == nil {
			return
		}
		r.err = g.raftError(g.raft.Barrier(0).Error())
		if r.err == nil {
			r.index = g.Applied()
		}
		close(r.done)
	}
}

// WaitApplied returns when this node has applied the entry at index, with ctx's error, or
// with the group's when it applies no more.
func (g *Group) WaitApplied(ctx context.Context, index uint64) error {
	return g.fsm.waiters.wait(ctx, index)
}

// Applied is the index of the last entry with proposals that this node has applied. Entries
// of raft's own do not count, so it may stay below the index of the log.
func (g *Group) Applied() uint64 { return g.fsm.applied.Load() }
