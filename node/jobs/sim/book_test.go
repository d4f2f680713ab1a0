package sim

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/node/jobs"
)

// A book is the replicated log without its replication: a proposal is committed if a voter can
// reach a majority of them.
type book struct {
	mu      sync.Mutex // guards all below
	entries []entry
	known   map[string]horde.Settlement // by command: what homes made
	settled map[slot]map[string]struct{}
	blind   bool // mutant: a slot that is settled is settled again
}

type entry struct {
	proposal []byte
	stamp    int64
}

type slot struct {
	request horde.RequestID
	n       int
}

func newBook() *book {
	return &book{known: map[string]horde.Settlement{}, settled: map[slot]map[string]struct{}{}}
}

func (b *book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.entries)
}

// add appends a proposal and returns its index, from 1.
func (b *book) add(proposal []byte) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, entry{proposal, time.Now().UnixMilli()})
	return len(b.entries)
}

// count notes which settlements a proposal brought about.
func (b *book) count(proposal, answer []byte) error {
	batch, err := ledger.DecodeBatch(proposal)
	if err != nil {
		return err
	}
	results, err := ledger.DecodeResults(answer)
	if err != nil {
		return nil // refused as a whole
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, c := range batch.Commands {
		s, ok := b.known[string(c.Data)]
		if !ok || results[i].Again || results[i].RC != "" && !(b.blind && results[i].RC == horde.RCDuplicateGen) {
			continue
		}
		at := slot{s.Request, s.Slot}
		if b.settled[at] == nil {
			b.settled[at] = map[string]struct{}{}
		}
		b.settled[at][string(c.Data)] = struct{}{} // the same command again is a durable one that was done before
	}
	return nil
}

// paid is how many slots of a request were settled.
func (b *book) paid(id horde.RequestID) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for at := range b.settled {
		if at.request == id {
			n++
		}
	}
	return n
}

// marked is a home's ledger: what it encodes is recognised when it is applied.
type marked struct {
	*ledger.Client
	b *book
}

func (m marked) EncodeSettlement(s horde.Settlement) []byte {
	cmd := m.Client.EncodeSettlement(s)
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	m.b.known[string(cmd)] = s
	return cmd
}

// A replica is a node's machine. It outlives the node's crashes, as what is on a disk does.
type replica struct {
	mu sync.Mutex // of Apply
	m  *ledger.Machine
	at int // entries applied
}

// catchUp applies the log up to an index, and returns the answer to the last entry.
func (r *replica) catchUp(b *book, upTo int) (answer []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.at < upTo {
		b.mu.Lock()
		e := b.entries[r.at]
		b.mu.Unlock()
		r.at++
		answers, err := r.m.Apply(uint64(r.at), e.stamp, sha256.Sum256(e.proposal), [][]byte{e.proposal})
		if err != nil {
			return nil, err
		}
		answer = answers[0]
		if r.at%64 == 0 {
			r.m.Changes()
		}
	}
	return answer, nil
}

var errNoLeader = errors.New("nobody leads")

// leader is the first voter that is up and reaches a majority.
func (s *sim) leader() *process {
	for _, n := range s.voters() {
		p := s.net.running(n.id)
		if p == nil {
			continue
		}
		reached := 1
		for _, o := range s.voters() {
			if o != n && s.net.running(o.id) != nil && !s.net.isCut(n.id, o.id) {
				reached++
			}
		}
		if 2*reached > len(s.voters()) {
			return p
		}
	}
	return nil
}

func (s *sim) voters() []*node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[:min(3, len(s.nodes))]
}

// propose commits a batch at the leader and has it spread.
func (p *process) propose(batch []byte) ([]byte, error) {
	s := p.n.s
	s.commits.Lock()
	defer s.commits.Unlock()
	if s.leader() != p {
		return nil, errNoLeader
	}
	if _, err := p.n.replica.catchUp(s.book, s.book.len()); err != nil {
		return nil, err
	}
	index := s.book.add(batch)
	answer, err := p.n.replica.catchUp(s.book, index)
	if err != nil {
		return nil, err
	}
	if err := s.book.count(batch, answer); err != nil {
		return nil, err
	}
	for _, n := range s.all() {
		if o := s.net.running(n.id); o != nil && o != p {
			s.net.flights.Go(func() {
				pause(o.ctx, s.net.delay())
				if !s.net.isCut(p.id(), o.id()) && o.ctx.Err() == nil {
					s.check(o.catchUp(index))
				}
			})
		}
	}
	return binary.BigEndian.AppendUint64(answer, uint64(index)), nil
}

func (p *process) catchUp(index int) error {
	_, err := p.n.replica.catchUp(p.n.s.book, index)
	return err
}

// atLeader has f done by the leader.
func (p *process) atLeader(ctx context.Context, f func(*process) ([]byte, error)) ([]byte, error) {
	l := p.n.s.leader()
	switch {
	case l == nil:
		return nil, errNoLeader
	case l == p:
		return f(p)
	}
	return p.n.s.net.call(ctx, p, l.id(), func(_ context.Context, far *process) ([]byte, error) { return f(far) })
}

// A proposer is this node's way into the log: one signed batch at a time, the same bytes until
// they are answered.
type proposer struct {
	p     *process
	boot  uint64
	calls chan *call
}

type call struct {
	cmds  [][]byte
	reply chan reply // capacity 1
}

type reply struct {
	results []ledger.Result
	err     error
}

var errStopped = &horde.Error{RC: horde.RCUnavailable, Msg: "stopped"}

func (x *proposer) Do(ctx context.Context, cmds ...[]byte) ([]ledger.Result, error) {
	c := &call{cmds, make(chan reply, 1)}
	select {
	case x.calls <- c:
	case <-x.p.ctx.Done():
		return nil, errStopped
	case <-ctx.Done():
		return nil, errStopped
	}
	select {
	case r := <-c.reply:
		return r.results, r.err
	case <-x.p.ctx.Done():
		return nil, errStopped
	case <-ctx.Done():
		return nil, errStopped
	}
}

func (x *proposer) DoEverywhere(ctx context.Context, cmds ...[]byte) ([]ledger.Result, error) {
	r, err := x.Do(ctx, cmds...)
	if err == nil {
		pause(ctx, 30*time.Millisecond)
	}
	return r, err
}

func (x *proposer) Sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	answer, err := x.p.atLeader(ctx, func(far *process) ([]byte, error) {
		return binary.BigEndian.AppendUint64(nil, uint64(far.n.s.book.len())), nil
	})
	if err != nil {
		return err
	}
	return x.p.catchUp(int(binary.BigEndian.Uint64(answer)))
}

// run sends batches until the process ends.
func (x *proposer) run(ctx context.Context, outbox *jobs.Outbox) error {
	var seq, sent uint64
	for {
		items, err := outbox.Pending(sent, 256)
		if err != nil {
			return err
		}
		var c *call
		select {
		case c = <-x.calls:
		default:
			if len(items) == 0 {
				select {
				case <-ctx.Done():
					return nil
				case <-outbox.Wait():
				case c = <-x.calls:
				}
			}
		}
		b := ledger.Batch{Cluster: x.p.n.s.cluster, Origin: x.p.id(), Boot: x.boot, Seq: seq + 1}
		for _, it := range items {
			b.Commands = append(b.Commands, ledger.Command{Item: it.N, Data: it.Data})
		}
		if c != nil {
			for _, cmd := range c.cmds {
				b.Commands = append(b.Commands, ledger.Command{Data: cmd})
			}
		}
		if len(b.Commands) == 0 {
			continue
		}
		seq++
		results, err := x.send(ctx, b)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		for _, r := range results[:len(items)] {
			if r.Again {
				return fmt.Errorf("%s is over its limit", x.p.id())
			}
		}
		if len(items) > 0 {
			sent = items[len(items)-1].N
			if err := outbox.Done(sent); err != nil {
				return err
			}
		}
		if c != nil {
			c.reply <- reply{results: results[len(items):]}
		}
	}
}

func (x *proposer) send(ctx context.Context, b ledger.Batch) ([]ledger.Result, error) {
	data, err := ledger.EncodeBatch(b, x.p.n.sign)
	if err != nil {
		return nil, err
	}
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		answer, err := x.p.atLeader(one, func(far *process) ([]byte, error) { return far.propose(data) })
		cancel()
		if err == nil {
			end := len(answer) - 8
			if err := x.p.catchUp(int(binary.BigEndian.Uint64(answer[end:]))); err != nil {
				return nil, err
			}
			return ledger.DecodeResults(answer[:end])
		}
		pause(ctx, wait)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}
