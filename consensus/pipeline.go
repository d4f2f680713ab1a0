package consensus

import (
	"sync"

	"github.com/hashicorp/raft"
)

// transport is raft's, but for two mistakes of raft's (v1.8.0) that are kept away here. The
// simulation in package node found both.
//
// A heartbeat is handled by the stream's own goroutine, which raft does not wait for when it
// stops: one that has a new term to store would find the log closed, and raft panics. drain
// waits for it.
//
// And raft sends entries to a follower through a pipeline: one goroutine sends, the pipeline's own
// reads the answers, a third takes them from Consumer. When the third has learnt of a newer
// term it goes away; the second then waits for somebody to take the next answer, the first for
// the second, and nobody ever closes the pipeline (pipelineReplicate). The old leader goes on with
// its heartbeats of an old term, and does not stop when it is told to. Here an answer is always
// taken, so the sender comes back to where it sees that it is over.
type transport struct {
	*raft.NetworkTransport

	withheld withheld

	gate   sync.Mutex     // guards closed
	closed bool           // no heartbeat may begin
	beats  sync.WaitGroup // being handled
}

// SetHeartbeatHandler is how raft takes heartbeats past its queue.
func (t *transport) SetHeartbeatHandler(handle func(raft.RPC)) {
	t.NetworkTransport.SetHeartbeatHandler(t.whileOpen(handle))
}

func (t *transport) whileOpen(handle func(raft.RPC)) func(raft.RPC) {
	return func(rpc raft.RPC) {
		t.gate.Lock()
		closed := t.closed
		if !closed {
			t.beats.Add(1)
		}
		t.gate.Unlock()
		if closed {
			rpc.Respond(nil, raft.ErrRaftShutdown)
			return
		}
		defer t.beats.Done()
		handle(rpc)
	}
}

// drain waits for heartbeats that are being handled and refuses all others.
func (t *transport) drain() {
	t.gate.Lock()
	t.closed = true
	t.gate.Unlock()
	t.beats.Wait()
}

// AppendEntriesPipeline opens a pipeline to a peer.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newPipeline(p, func(req *raft.AppendEntriesRequest) error { return t.withheld.pass(id, req) }), nil
}

// A pipeline takes every answer of the one below it at once and keeps it until it is asked for.
type pipeline struct {
	raft.AppendPipeline
	pass   func(*raft.AppendEntriesRequest) error // see withhold.go
	out    chan raft.AppendFuture
	quit   chan struct{}
	once   sync.Once
	pumped sync.WaitGroup
}

func newPipeline(below raft.AppendPipeline, pass func(*raft.AppendEntriesRequest) error) *pipeline {
	p := &pipeline{AppendPipeline: below, pass: pass, out: make(chan raft.AppendFuture), quit: make(chan struct{})}
	p.pumped.Go(p.pump)
	return p
}

// Consumer returns the answers in the order of the requests.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.out }

// Close ends the pipeline; what was not taken is dropped.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.quit) })
	err := p.AppendPipeline.Close()
	p.pumped.Wait()
	return err
}

// pump carries answers from below to out. What waits is bounded by how fast a peer answers
// while raft looks at one answer, and is nothing most of the time.
func (p *pipeline) pump() {
	var waiting []raft.AppendFuture
	for {
		var out chan raft.AppendFuture
		var first raft.AppendFuture
		if len(waiting) > 0 {
			out, first = p.out, waiting[0]
		}
		select {
		case f := <-p.AppendPipeline.Consumer():
			waiting = append(waiting, f)
		case out <- first:
			waiting = waiting[1:]
		case <-p.quit:
			return
		}
	}
}
