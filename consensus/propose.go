package consensus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

const (
	maxQueue   = 4096 // proposals that wait for an entry; more wait in Propose
	maxEntries = 4    // entries in flight
)

// A proposal is in the queue until a packer claims it or its caller gives up, whichever is
// first.
type proposal struct {
	data    []byte
	claimed atomic.Bool
	result  chan result // capacity 1
}

type result struct {
	index  uint64
	answer []byte
	err    error
}

// Propose puts a proposal into the log and returns the machine's answer and the index of the
// entry that carried it, when this node has applied it. Only the leader can: ErrNotLeader
// says that nothing happened, and so do ErrClosed, ErrTooLarge and the error of a ctx that
// ended while the proposal waited. ErrUnknown says that the proposal may or may not be
// applied, now or later. The proposal must not be changed afterwards.
func (g *Group) Propose(ctx context.Context, data []byte) (index uint64, answer []byte, err error) {
	if len(data) > MaxProposal {
		return 0, nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(data))
	}
	if err := g.enter(); err != nil {
		return 0, nil, err
	}
	defer g.calls.Done()
	if !g.IsLeader() {
		return 0, nil, g.notLeader()
	}
	p := &proposal{data: data, result: make(chan result, 1)}
	select {
	case g.queue <- p:
	case <-g.quit:
		return 0, nil, ErrClosed
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	select {
	case r := <-p.result:
		return r.index, r.answer, r.err
	case <-g.stopped: // only when raft hung: otherwise there was an answer before
		if p.claimed.CompareAndSwap(false, true) {
			return 0, nil, ErrClosed
		}
		return 0, nil, fmt.Errorf("%w: %w", ErrUnknown, ErrClosed)
	case <-ctx.Done():
		if p.claimed.CompareAndSwap(false, true) {
			return 0, nil, ctx.Err()
		}
		return 0, nil, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// pack is one of maxEntries packers. Each makes an entry of what waits, gives it to raft and
// waits for its outcome; so what arrives while all are waiting shares the next entry, and
// what arrives alone goes at once.
func (g *Group) pack() {
	for {
		g.packing <- struct{}{} // not a mutex: time stands still in a simulation while one is awaited
		first := g.held
		g.held = nil
		if first == nil {
			select {
			case first = <-g.queue:
			case <-g.quit:
				<-g.packing
				return
			}
		}
		runtime.Gosched() // callers that were answered together propose together: let them
		batch := g.collect(first)
		if len(batch) == 0 {
			<-g.packing
			continue
		}
		data := make([][]byte, len(batch))
		for i, p := range batch {
			data[i] = p.data
		}
		f := g.raft.Apply(encodeEntry(g.cfg.Now().UnixMilli(), data), 0)
		<-g.packing
		g.answer(f, batch)
	}
}

// collect claims what waits, up to the size of an entry. A proposal that does not fit stays
// for the next one.
func (g *Group) collect(first *proposal) (batch []*proposal) {
	size := 0
	for p := first; ; {
		if size > 0 && size+len(p.data) > maxEntryBytes {
			g.held = p
			return batch
		}
		if p.claimed.CompareAndSwap(false, true) {
			batch = append(batch, p)
			size += len(p.data)
		}
		if len(batch) == maxEntryProposals || size >= maxEntryBytes {
			return batch
		}
		select {
		case p = <-g.queue:
		default:
			return batch
		}
	}
}

// answer waits for raft and tells each caller.
func (g *Group) answer(f raft.ApplyFuture, batch []*proposal) {
	r := result{err: f.Error()}
	var answers [][]byte
	switch {
	case r.err == nil:
		o, ok := f.Response().(outcome)
		switch {
		case !ok || o.err == nil && len(o.answers) != len(batch):
			r.err = fmt.Errorf("%w: entry %d has no answers", ErrUnknown, f.Index())
		case o.err != nil:
			r.err = fmt.Errorf("%w: %w", ErrUnknown, o.err)
		default:
			r.index, answers = f.Index(), o.answers
		}
	default:
		r.err = g.raftError(r.err)
	}
	for i, p := range batch {
		if r.err == nil {
			r.answer = answers[i]
		}
		p.result <- r
	}
}

// raftError names raft's outcome: raft answers ErrNotLeader, or that it is handing over the
// leadership, only for what it has not put into its log.
func (g *Group) raftError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return g.notLeader()
	default:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
}

func (g *Group) notLeader() error {
	leader, _ := g.Leader()
	if leader == g.cfg.Self { // it is handing over
		leader = ""
	}
	return &ErrNotLeader{Leader: leader}
}
