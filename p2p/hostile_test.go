package p2p

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"hordenode/internal/horde"
)

// Row 42 of the fault matrix: 200 strangers dial one node at once, again and again. The gate
// refuses each of them, and the links to members stay.
func TestFault42Eclipse(t *testing.T) {
	victim, a, b := startNode(t), startNode(t), startNode(t)
	meet(t, victim, a, b)
	since := map[horde.NodeID]time.Time{a.ID(): victim.peer(a.ID()).Since, b.ID(): victim.peer(b.ID()).Since}
	members := map[horde.NodeID]bool{a.ID(): true, b.ID(): true}
	only := func(n horde.NodeID) bool { return members[n] }
	victim.gate.admitOnly(only)

	const sybils, rounds = 200, 1
	target := peer.AddrInfo{ID: victim.host.ID(), Addrs: victim.host.Addrs()}
	var in atomic.Int32
	var wg sync.WaitGroup
	places := make(chan struct{}, 4)
	for range sybils {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			cfg := testConfig(t)
			cfg.Listen, cfg.TopicNames, cfg.Log = nil, nil, nil
			s, err := Listen(cfg)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			s.book.tell(target.ID, target.Addrs)
			for range rounds {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				if err := s.host.Connect(network.WithForceDirectDial(ctx, "attack"), target); err == nil {
					// The dialler is done before the other side has judged: what counts is whether it may speak.
					if st, err := s.host.NewStream(network.WithNoDial(ctx, "attack"), target.ID, pingProtocol); err == nil {
						_, err := st.Write(frame(nil))
						if err == nil {
							_, err = st.Read(make([]byte, 1))
						}
						if err == nil {
							in.Add(1)
						}
						st.Reset()
					}
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if n := in.Load(); n != 0 {
		t.Errorf("%d strangers were answered, want none", n)
	}
	eventually(t, "no stranger is connected", func() bool { return len(victim.host.Network().Peers()) == len(members) })
	for id, at := range since {
		if p := victim.peer(id); !p.Connected || !p.Since.Equal(at) {
			t.Errorf("the link to member %s is %+v, want the one of before", id, p)
		}
	}
}

// Row 43: floods of subscriptions and topics, messages that are too long, a PRUNE for ever. The
// node's memory does not grow by more than 32 MB, and the peer is dropped and kept out for a while.
func TestFault43GossipFloods(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flood func(round int) []byte
	}{
		{"subscriptions", func(round int) []byte {
			rpc := &pb.RPC{}
			yes := true
			for i := range 1500 {
				topic := fmt.Sprintf("/h/0123abcd/t%d-%d", round, i)
				rpc.Subscriptions = append(rpc.Subscriptions, &pb.RPC_SubOpts{Subscribe: &yes, Topicid: &topic})
			}
			return rpcFrame(t, rpc)
		}},
		{"control", func(round int) []byte {
			topic, ids := "/h/0123abcd/n", []string{}
			for i := range 3000 {
				ids = append(ids, fmt.Sprintf("%d-%d", round, i))
			}
			return rpcFrame(t, &pb.RPC{Control: &pb.ControlMessage{Ihave: []*pb.ControlIHave{{TopicID: &topic, MessageIDs: ids}}}})
		}},
		{"prune for ever", func(int) []byte {
			topic, backoff := "/h/0123abcd/n", uint64(1)<<62
			return rpcFrame(t, &pb.RPC{Control: &pb.ControlMessage{Prune: []*pb.ControlPrune{{TopicID: &topic, Backoff: &backoff}}}})
		}},
		{"4 MB messages", func(int) []byte {
			return append(binary.AppendUvarint(nil, 4<<20), make([]byte, 4<<20)...)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			victim, bad, good := startNode(t), startNode(t), startNode(t)
			for _, n := range []*node{victim, bad, good} {
				joinNews(t, n)
			}
			meet(t, victim, good)
			bad.SetPeers(map[horde.NodeID][]string{victim.ID(): victim.Addrs()})
			eventually(t, "the bad peer is in", func() bool { return victim.peer(bad.ID()).Connected })

			before := heapInUse()
			peak := uint64(0)
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			for round := 0; !victim.bars.barred(bad.host.ID()); round++ {
				if ctx.Err() != nil {
					t.Fatal("the peer goes on unpunished")
				}
				s, err := bad.host.NewStream(ctx, victim.host.ID(), gossipProtocol)
				if err != nil {
					continue // cut off, and dialled again
				}
				for range 4 {
					if _, err := s.Write(tt.flood(round)); err != nil {
						break
					}
				}
				s.Reset()
				peak = max(peak, heapInUse())
			}
			if grown := int64(peak) - int64(before); grown > 32<<20 {
				t.Errorf("memory grew by %d MB, want at most 32", grown>>20)
			}
			eventually(t, "the bad peer is dropped", func() bool { return !victim.peer(bad.ID()).Connected })
			if !victim.peer(good.ID()).Connected {
				t.Error("the good peer was dropped too")
			}
		})
	}
}

func joinNews(t *testing.T, n *node) {
	t.Helper()
	_, err := n.Join("n", func(horde.NodeID, []byte) Verdict { return Accept }, func(horde.NodeID, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
}

func rpcFrame(t *testing.T, rpc *pb.RPC) []byte {
	t.Helper()
	b, err := rpc.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > gossipFrame {
		t.Fatalf("the test's message has %d bytes, more than gossip takes", len(b))
	}
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

// heapInUse is what is live after a collection.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A bar ends by itself, is longer the next time, and a fault now and then costs nothing.
func TestBarsAreForAWhile(t *testing.T) {
	now, dropped := time.Unix(0, 0), 0
	b := newBars(func() time.Time { return now }, func(peer.ID, string) { dropped++ })
	p := newPeerID(t)
	for range 10 {
		b.strike(p, "now and then")
		now = now.Add(floodForgive)
	}
	if dropped != 0 || b.barred(p) {
		t.Fatalf("a fault every %s barred the peer", floodForgive)
	}
	for want := barFirst; want <= barMost; want *= 2 {
		for !b.barred(p) {
			b.strike(p, "again")
		}
		now = now.Add(want - time.Second)
		if !b.barred(p) {
			t.Fatalf("not barred any more before %s", want)
		}
		now = now.Add(time.Second)
		if b.barred(p) {
			t.Fatalf("still barred after %s", want)
		}
		if want < barMost && 2*want > barMost {
			want = barMost / 2
		}
	}
	if dropped == 0 {
		t.Error("a barred peer was not dropped")
	}
}
