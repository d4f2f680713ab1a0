package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/node/jobs"
)

// A proposer gets this node's commands into the ledger, in order and exactly once.
//
//	callers ── Do ──┐
//	                ├─► batch {origin, boot, seq} ──► the leader, wherever it is
//	outbox ─────────┘         one in flight; the same bytes again until answered
//
// Everything that waits becomes one signed batch, so the cost of a commit is shared by all
// who wait for it. The ledger keeps each origin's last (boot, seq) and its results: a
// repeat is answered, not applied. A command of the durable outbox carries its item number
// besides, so it is applied once over restarts of this node too.
type proposer struct {
	self    horde.NodeID
	cluster ledger.ClusterID
	boot    uint64
	sign    func([]byte) []byte
	allowed func(cmd []byte) error // refuses commands that the federation is too old for; nil: none
	deliver deliverFunc
	applied func(ctx context.Context, index uint64) error // waits until this node has applied index
	spread  func(ctx context.Context, index uint64)       // waits until connected nodes have, bounded
	barrier func(ctx context.Context) error
	log     *slog.Logger

	calls  chan *call
	outbox outbox

	flushed flushed
}

// deliverFunc hands a batch to the leader and returns where it was applied and the
// machine's answer. An error means that the outcome is unknown or that nobody leads.
type deliverFunc func(ctx context.Context, batch []byte) (index uint64, answer []byte, err error)

// outbox is the durable side: jobs.Outbox.
type outbox interface {
	Pending(after uint64, max int) ([]jobs.Item, error)
	Done(upTo uint64) error
	Wait() <-chan struct{} // signalled when items were added
}

type call struct {
	ctx   context.Context
	cmds  [][]byte
	reply chan outcome // buffered
}

type outcome struct {
	index   uint64
	results []ledger.Result
	err     error
}

const (
	maxQueued     = 4096 // interactive calls waiting for a batch
	maxBatch      = 512  // commands in a batch
	localWait     = 60 * time.Millisecond
	everywhereFor = 150 * time.Millisecond
)

// errBusy is returned when more calls wait than a node should promise to serve.
var errBusy = &horde.Error{RC: horde.RCUnavailable, Msg: "Too many changes are waiting to be written. Please try again."}

// Do has the commands applied once, in order, and returns a result for each.
//
// On return this node has usually applied them too; when this node follows and the log is
// quiet that may take some milliseconds more, which Do waits for only briefly.
func (p *proposer) Do(ctx context.Context, cmds ...[]byte) ([]ledger.Result, error) {
	results, _, err := p.do(ctx, cmds)
	return results, err
}

// DoEverywhere is Do, and returns only when every connected node has applied the commands
// too, or after 150 ms.
func (p *proposer) DoEverywhere(ctx context.Context, cmds ...[]byte) ([]ledger.Result, error) {
	results, index, err := p.do(ctx, cmds)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, everywhereFor)
	defer cancel()
	p.spread(ctx, index)
	return results, nil
}

// Sync returns when the local state is as new as the moment of the call.
func (p *proposer) Sync(ctx context.Context) error { return p.barrier(ctx) }

func (p *proposer) do(ctx context.Context, cmds [][]byte) ([]ledger.Result, uint64, error) {
	for _, cmd := range cmds {
		if err := p.permit(cmd); err != nil {
			return nil, 0, err
		}
	}
	c := &call{ctx: ctx, cmds: cmds, reply: make(chan outcome, 1)}
	select {
	case p.calls <- c:
	default:
		return nil, 0, errBusy
	}
	select {
	case o := <-c.reply:
		if o.err != nil {
			return nil, 0, o.err
		}
		wait, cancel := context.WithTimeout(ctx, localWait)
		defer cancel()
		if err := p.applied(wait, o.index); err != nil && ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		return o.results, o.index, nil
	case <-ctx.Done():
		// The batch may still be applied: the caller learns that it cannot know.
		return nil, 0, &horde.Error{RC: horde.RCUnavailable, Msg: "The ledger did not answer in time; the change may still be made.", Err: ctx.Err()}
	}
}

// Run sends batches until ctx is done. It owns seq.
func (p *proposer) Run(ctx context.Context) error {
	var seq, sent uint64 // sent: the last durable item that was answered
	var callsLeft []*call
	for {
		items, err := p.outbox.Pending(sent, maxBatch/2)
		if err != nil {
			return fmt.Errorf("read the outbox: %w", err)
		}
		if items, sent, err = p.sift(items, sent); err != nil {
			return err
		}
		callsLeft = p.gather(callsLeft)
		if len(items) == 0 && len(callsLeft) == 0 {
			select {
			case <-ctx.Done():
				return p.refuseAll(callsLeft)
			case <-p.outbox.Wait():
			case c := <-p.calls:
				callsLeft = append(callsLeft, c)
			}
			continue
		}
		seq++
		batch, used := p.batch(seq, items, callsLeft)
		data, err := ledger.EncodeBatch(batch, p.sign)
		if err != nil {
			return fmt.Errorf("encode batch: %w", err)
		}
		index, results, err := p.send(ctx, data, len(batch.Commands))
		if err != nil {
			p.refuseAll(callsLeft)
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		done := answered(results[:len(items)])
		if done > 0 {
			sent = items[done-1].N
			p.note(items[:done], results)
			if err := p.outbox.Done(sent); err != nil {
				return fmt.Errorf("clear the outbox: %w", err)
			}
			p.flushed.advance(sent, index)
		}
		at := len(items)
		for _, c := range callsLeft[:used] {
			c.reply <- outcome{index: index, results: results[at : at+len(c.cmds)]}
			at += len(c.cmds)
		}
		callsLeft = append(callsLeft[:0], callsLeft[used:]...)
		if done < len(items) { // this node sends more than it may: let the ledger's clock go on
			p.log.WarnContext(ctx, "outbox is held back by the federation's limits", "items", len(items)-done)
			select {
			case <-time.After(overLimitPause):
			case <-ctx.Done():
			}
		}
	}
}

// permit refuses a command that the federation is too old for.
func (p *proposer) permit(cmd []byte) error {
	if p.allowed == nil {
		return nil
	}
	return p.allowed(cmd)
}

// sift drops durable commands that the federation is too old for, as the ledger would: holding
// them back would hold back everything behind them until the last member is upgraded. sent
// goes up when all of them went.
func (p *proposer) sift(items []jobs.Item, sent uint64) ([]jobs.Item, uint64, error) {
	kept := items[:0:0]
	for _, it := range items {
		if err := p.permit(it.Data); err != nil {
			p.log.Warn("outbox command dropped: the federation is not upgraded yet", "item", it.N, "why", err)
			continue
		}
		kept = append(kept, it)
	}
	if len(kept) > 0 || len(items) == 0 {
		return kept, sent, nil
	}
	sent = items[len(items)-1].N
	if err := p.outbox.Done(sent); err != nil {
		return nil, sent, fmt.Errorf("clear the outbox: %w", err)
	}
	return nil, sent, nil
}

// suspendedPause is how long a suspended node waits before it asks whether it still is.
const suspendedPause = 5 * time.Second

// overLimitPause is how long nothing is sent after the ledger told this node to slow down.
const overLimitPause = 200 * time.Millisecond

// answered counts the durable commands, from the first, that need not be sent again.
func answered(results []ledger.Result) int {
	if i := slices.IndexFunc(results, func(r ledger.Result) bool { return r.Again }); i >= 0 {
		return i
	}
	return len(results)
}

// gather takes what has been asked for meanwhile, without waiting.
func (p *proposer) gather(calls []*call) []*call {
	for len(calls) < maxBatch {
		select {
		case c := <-p.calls:
			if c.ctx.Err() == nil { // nobody waits for the others
				calls = append(calls, c)
			}
		default:
			return calls
		}
	}
	return calls
}

// batch puts durable items first, then as many calls as fit; used is how many did.
func (p *proposer) batch(seq uint64, items []jobs.Item, calls []*call) (b ledger.Batch, used int) {
	b = ledger.Batch{Cluster: p.cluster, Origin: p.self, Boot: p.boot, Seq: seq}
	for _, it := range items {
		b.Commands = append(b.Commands, ledger.Command{Item: it.N, Data: it.Data})
	}
	for _, c := range calls {
		if used > 0 && len(b.Commands)+len(c.cmds) > maxBatch {
			break
		}
		for _, cmd := range c.cmds {
			b.Commands = append(b.Commands, ledger.Command{Data: cmd})
		}
		used++
	}
	return b, used
}

// send repeats the same bytes until somebody says what became of them.
func (p *proposer) send(ctx context.Context, batch []byte, n int) (uint64, []ledger.Result, error) {
	const first, most = 10 * time.Millisecond, 500 * time.Millisecond
	for pause := first; ; pause = min(2*pause, most) {
		index, answer, err := p.deliver(ctx, batch)
		if err == nil {
			results, err := ledger.DecodeResults(answer)
			switch {
			case errors.Is(err, ledger.ErrSuspended): // the same bytes are good when it is readmitted
				p.log.WarnContext(ctx, "the federation has suspended this node: its changes wait")
				select {
				case <-time.After(suspendedPause):
					continue
				case <-ctx.Done():
					return 0, nil, ctx.Err()
				}
			case errors.Is(err, ledger.ErrFenced):
				return 0, nil, ErrFenced
			case err != nil: // fenced by a newer session of this node, or no member any more
				return 0, nil, fmt.Errorf("the ledger refuses this node: %w", err)
			case len(results) != n:
				return 0, nil, fmt.Errorf("the ledger answered %d commands with %d results", n, len(results))
			}
			return index, results, nil
		}
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		p.log.DebugContext(ctx, "batch not delivered yet", "err", err)
		if errors.Is(err, errNoLeader) { // costs nothing to ask: an election is soon over
			pause = first
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
	}
}

// note logs durable commands that the ledger refused: nobody waits for them, and they
// should be rare.
func (p *proposer) note(items []jobs.Item, results []ledger.Result) {
	for i, it := range items {
		if rc := results[i].RC; rc != "" {
			p.log.Info("outbox command refused", "item", it.N, "rc", rc, "why", results[i].Msg)
		}
	}
}

// refuseAll answers everybody who still waits when the proposer stops.
func (p *proposer) refuseAll(calls []*call) error {
	stopped := outcome{err: &horde.Error{RC: horde.RCUnavailable, Msg: "This node is stopping."}}
	for _, c := range calls {
		c.reply <- stopped
	}
	for {
		select {
		case c := <-p.calls:
			c.reply <- stopped
		default:
			return nil
		}
	}
}

// A barrier makes concurrent callers share one round trip: those that arrive while one is
// under way wait for the next, which starts after they came.
type barrier struct {
	run func(ctx context.Context) error

	mu   sync.Mutex
	next *round // not started; nil if none
	busy bool
}

type round struct {
	done    chan struct{}
	err     error
	waiting int
}

// Wait returns when a run that began after the call has ended, with its error.
func (b *barrier) Wait(ctx context.Context) error {
	b.mu.Lock()
	if b.next == nil {
		b.next = &round{done: make(chan struct{})}
		if !b.busy {
			b.busy = true
			go b.loop()
		}
	}
	r := b.next
	r.waiting++
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// loop runs rounds while there is somebody to run them for. Each is bounded by run itself.
func (b *barrier) loop() {
	for {
		b.mu.Lock()
		r := b.next
		b.next = nil
		if r == nil {
			b.busy = false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		r.err = b.run(context.Background())
		close(r.done)
	}
}

var errNoLeader = errors.New("no leader for the moment")
