package consensus

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A pipelineStub hands out answers only to somebody who takes them, as raft's own does.
type pipelineStub struct {
	done   chan raft.AppendFuture
	closed chan struct{}
}

func (p *pipelineStub) AppendEntries(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	p.done <- nil
	return nil, nil
}

func (p *pipelineStub) Consumer() <-chan raft.AppendFuture { return p.done }

func (p *pipelineStub) Close() error {
	close(p.closed)
	return nil
}

// A sender is never held up by answers that nobody takes, and Close ends what was started.
func TestPipelineTakesEveryAnswer(t *testing.T) {
	below := &pipelineStub{done: make(chan raft.AppendFuture), closed: make(chan struct{})}
	p := newPipeline(below, func(*raft.AppendEntriesRequest) error { return nil })
	const sent = 5
	for range sent {
		if _, err := p.AppendEntries(nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range sent - 1 {
		<-p.Consumer()
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	<-below.closed
}

// drain waits for a heartbeat that is being handled; after it they are refused.
func TestHeartbeatsEndBeforeTheLogIsClosed(t *testing.T) {
	tr := newTransport("a", newMemNet().join("a"), time.Second, quiet())
	defer tr.Close()
	begun, finish, handled := make(chan struct{}), make(chan struct{}), make(chan struct{})
	beat := tr.whileOpen(func(raft.RPC) {
		close(begun)
		<-finish
		close(handled)
	})
	go beat(raft.RPC{})
	<-begun
	drained := make(chan struct{})
	go func() {
		tr.drain()
		select {
		case <-handled:
		default:
			t.Error("drain did not wait for the heartbeat")
		}
		close(drained)
	}()
	close(finish)
	<-drained
	answers := make(chan raft.RPCResponse, 1)
	beat(raft.RPC{RespChan: answers})
	if r := <-answers; !errors.Is(r.Error, raft.ErrRaftShutdown) {
		t.Errorf("a heartbeat after drain: got %v, want %v", r.Error, raft.ErrRaftShutdown)
	}
}

// To hurry an election does not change what raft shows of the group.
func TestHurryLeavesTheServersAlone(t *testing.T) {
	c := newCluster(t, quick(), "a")
	for _, id := range []string{"b", "c"} {
		c.start(id)
		c.change(func(g *Group) error { return g.AddLearner(id) })
	}
	g := c.leader().g
	if err := g.hurry(); err != nil {
		t.Fatal(err)
	}
	servers, err := g.Servers()
	if want := []Server{{"a", true}, {"b", false}, {"c", false}}; err != nil || !slices.Equal(servers, want) {
		t.Errorf("got %v, %v, want %v", servers, err, want)
	}
}
