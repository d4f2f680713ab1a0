package p2p

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	a, b, c := startNode(t), startNode(t), startNode(t)
	ta, tb, tc := join(t, a, "n"), join(t, b, "n"), join(t, c, "n")
	la, lb := a.Streams(raftish), b.Streams(raftish)
	b.Handle(echo, Limits{}, answerEcho)
	a.OnConnect(func(id horde.NodeID) {
		if _, err := a.Call(soon(t), id, echo, nil); err != nil {
			t.Logf("call in OnConnect: %v", err) // c has no handler
		}
	})
	meet(t, a, b, c)
	meet(t, b, a, c)
	publishUntil(t, a, ta, tb, tc)
	conn, err := la.Dial(string(b.ID()), patience)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := lb.Accept(); err != nil {
		t.Fatal(err)
	}
	a.SetPeers(map[horde.NodeID][]string{b.ID(): b.Addrs(), c.ID(): {"/ip4/127.0.0.1/udp/9/quic-v1"}})

	a.stop()
	b.stop()
	c.stop()
	t.Cleanup(func() {
		if t.Failed() {
			stacks := make([]byte, 1<<20)
			t.Logf("%s", stacks[:runtime.Stack(stacks, true)])
		}
	})
	eventually(t, "no goroutine of ours is left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestCloseWithoutRun(t *testing.T) {
	h, err := Listen(testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if err := h.Run(context.Background()); err == nil {
		t.Error("Run of a closed host succeeded")
	}
	h.SetPeers(map[horde.NodeID][]string{h.ID(): nil})
	h.ClosePeer("nonsense")
}

// A part that hangs is named, and does not hang the node.
func TestCloseReportsAHandlerThatStays(t *testing.T) {
	t.Parallel()
	a, b := startNode(t), testConfig(t)
	hb, err := Listen(b)
	if err != nil {
		t.Fatal(err)
	}
	began, release := make(chan struct{}), make(chan struct{})
	hb.Handle(echo, Limits{}, func(context.Context, horde.NodeID, []byte) ([]byte, error) {
		close(began)
		<-release
		return nil, nil
	})
	a.SetPeers(map[horde.NodeID][]string{hb.ID(): hb.Addrs()})
	called := make(chan struct{})
	go func() {
		defer close(called)
		if _, err := a.Call(soon(t), hb.ID(), echo, nil); err == nil {
			t.Error("Call succeeded")
		}
	}()
	receive(t, "handler called", began)
	if err := hb.Close(); err == nil || !strings.Contains(err.Error(), "handler") {
		t.Errorf("Close = %v, want it to blame a handler", err)
	}
	close(release)
	receive(t, "call ended", called)
}
