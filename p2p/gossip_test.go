package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"hordenode/internal/horde"
)

type message struct {
	from horde.NodeID
	data string
}

// listener joins a topic and keeps what it is given.
type listener struct {
	*Topic
	mu      sync.Mutex
	judged  []message
	got     []message
	verdict func(data string) Verdict // nil: Accept
}

func join(t testing.TB, n *node, topic string) *listener {
	t.Helper()
	l := &listener{}
	topicOf, err := n.Join(topic, func(from horde.NodeID, data []byte) Verdict {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.judged = append(l.judged, message{from, string(data)})
		if l.verdict == nil {
			return Accept
		}
		return l.verdict(string(data))
	}, func(from horde.NodeID, data []byte) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got = append(l.got, message{from, string(data)})
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Topic = topicOf
	return l
}

func (l *listener) has(m message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, got := range l.got {
		if got == m {
			return true
		}
	}
	return false
}

func (l *listener) count() (judged, delivered int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.judged), len(l.got)
}

// publishUntil repeats probes until the others have one: then the mesh is there.
func publishUntil(t testing.TB, from *node, sender *listener, others ...*listener) {
	t.Helper()
	sent := 0
	eventually(t, "a probe reaches everybody", func() bool {
		probe := fmt.Sprintf("probe %d", sent/100)
		if sent++; sent%100 == 1 {
			if err := sender.Publish(soon(t), []byte(probe)); err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range others {
			if !o.has(message{from.ID(), probe}) {
				return false
			}
		}
		return true
	})
}

func TestGossipReachesALine(t *testing.T) {
	a, b, c := startNode(t), startNode(t), startNode(t)
	ta, tb, tc := join(t, a, "o/text"), join(t, b, "o/text"), join(t, c, "/h/0123abcd/o/text")
	meet(t, b, a, c) // a and c know each other through b only
	publishUntil(t, a, ta, tb, tc)

	if got := tc.Name(); got != "/h/0123abcd/o/text" {
		t.Errorf("Name = %s", got)
	}
	if _, delivered := ta.count(); delivered != 0 {
		t.Errorf("a was given %d of its own messages", delivered)
	}
	if judged, _ := ta.count(); judged != 0 {
		t.Errorf("a judged %d of its own messages", judged)
	}
	stats := b.GossipStats().Topics[tb.Name()]
	if stats.Received == 0 || stats.Sent == 0 || stats.Delivered == 0 || stats.SentBytes < stats.Sent*20 || stats.ReceivedBytes < stats.Received*20 {
		t.Errorf("b counted %+v", stats)
	}
	if all := b.GossipStats(); all.SentBytes < stats.SentBytes || all.ReceivedBytes < stats.ReceivedBytes {
		t.Errorf("b counted %+v in all", all)
	}
}

func TestGossipForwardsOnlyWhatIsAccepted(t *testing.T) {
	a, b, c := startNode(t), startNode(t), startNode(t)
	ta, tb, tc := join(t, a, "n"), join(t, b, "n"), join(t, c, "n")
	tb.verdict = func(data string) Verdict {
		switch data {
		case "forged":
			return Reject
		case "stale":
			return Ignore
		case "poison":
			panic("bad message")
		}
		return Accept
	}
	meet(t, b, a, c)
	publishUntil(t, a, ta, tb, tc)
	for _, bad := range []string{"forged", "stale", "poison"} {
		if err := ta.Publish(soon(t), []byte(bad)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "b judged "+bad, func() bool {
			tb.mu.Lock()
			defer tb.mu.Unlock()
			return tb.judged[len(tb.judged)-1].data == bad
		})
	}
	publishAndWait(t, a, ta, "after", tb, tc)
	for _, bad := range []string{"forged", "stale", "poison"} {
		if tb.has(message{a.ID(), bad}) {
			t.Errorf("%s was delivered", bad)
		}
		tc.mu.Lock()
		for _, m := range tc.judged {
			if m.data == bad {
				t.Errorf("%s was forwarded", bad)
			}
		}
		tc.mu.Unlock()
	}
	if got := b.GossipStats().Topics[tb.Name()].Refused; got < 3 {
		t.Errorf("b counted %d refused, want 3", got)
	}
}

// publishAndWait sends one message and waits until all have it.
func publishAndWait(t testing.TB, from *node, sender *listener, name string, others ...*listener) {
	t.Helper()
	if err := sender.Publish(soon(t), []byte(name)); err != nil {
		t.Fatal(err)
	}
	eventually(t, name+" reaches everybody", func() bool {
		for _, o := range others {
			if !o.has(message{from.ID(), name}) {
				return false
			}
		}
		return true
	})
}

// What a non-member wrote is dropped even if a member forwards it.
func TestGossipOfStrangersIsIgnored(t *testing.T) {
	a, b, c := startNode(t), startNode(t), startNode(t)
	ta, tb, tc := join(t, a, "n"), join(t, b, "n"), join(t, c, "n")
	c.gate.keepOut(a.ID())
	meet(t, b, a, c)
	publishUntil(t, a, ta, tb)
	publishUntil(t, b, tb, tc)
	if tc.has(message{a.ID(), "probe 0"}) {
		t.Error("c was given a stranger's message")
	}
	eventually(t, "c refused it", func() bool { return c.GossipStats().Topics[tc.Name()].Refused > 0 })
	if got := b.peer(c.ID()); !got.Connected {
		t.Error("b and c parted over it")
	}
}

func TestGossipBurstArrivesWhole(t *testing.T) {
	a, b := startNode(t), startNode(t)
	ta, tb := join(t, a, "o/text"), join(t, b, "o/text")
	meet(t, a, b)
	publishUntil(t, a, ta, tb)
	_, before := tb.count()
	const burst = gossipQueue - 124 // what fits the queues arrives, however slow the machine
	for i := range burst {
		data := fmt.Append(nil, "burst ", i)
		eventually(t, "room to publish", func() bool {
			err := ta.Publish(soon(t), data)
			if err != nil && !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	eventually(t, "all delivered", func() bool {
		_, n := tb.count()
		return n >= before+burst
	})
}

func TestPublishRefuses(t *testing.T) {
	a := startNode(t)
	ta := join(t, a, "o/text")
	if err := ta.Publish(soon(t), make([]byte, MaxMessage+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Publish of a byte too much = %v, want ErrTooLarge", err)
	}
	cancelled, cancel := context.WithCancel(soon(t))
	cancel()
	if err := ta.Publish(cancelled, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish with a dead context = %v", err)
	}
	stuck := &Topic{h: a.Host, ctx: t.Context(), name: "stuck", out: make(chan []byte, 1)} // nobody sends
	if err := stuck.Publish(soon(t), nil); err != nil {
		t.Errorf("Publish = %v", err)
	}
	if err := stuck.Publish(soon(t), nil); !errors.Is(err, ErrBusy) {
		t.Errorf("Publish to a full queue = %v, want ErrBusy", err)
	}
	a.stop()
	if err := ta.Publish(soon(t), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Publish after Close = %v, want ErrClosed", err)
	}
}

func TestLargestMessagePasses(t *testing.T) {
	a, b := startNode(t), startNode(t)
	ta, tb := join(t, a, "n"), join(t, b, "n")
	meet(t, a, b)
	publishUntil(t, a, ta, tb)
	publishAndWait(t, a, ta, string(bytes.Repeat([]byte{'x'}, MaxMessage)), tb)
}

func TestJoinRefuses(t *testing.T) {
	a := startNode(t)
	accept := func(horde.NodeID, []byte) Verdict { return Accept }
	drop := func(horde.NodeID, []byte) {}
	for _, topic := range []string{"o/video", "", "/h/ffffffff/n", "o/text/"} {
		if _, err := a.Join(topic, accept, drop); !errors.Is(err, ErrTopic) {
			t.Errorf("Join(%q) = %v, want ErrTopic", topic, err)
		}
	}
	if _, err := a.Join("n", nil, drop); err == nil {
		t.Error("Join without a validator succeeded")
	}
	if _, err := a.Join("n", accept, drop); err != nil {
		t.Error(err)
	}
	if _, err := a.Join("n", accept, drop); err == nil {
		t.Error("joining twice succeeded")
	}
	a.stop()
	if _, err := a.Join("o/text", accept, drop); !errors.Is(err, ErrClosed) {
		t.Errorf("Join after Close = %v, want ErrClosed", err)
	}
}

func TestSubscriptionsOfPeersAreFiltered(t *testing.T) {
	cfg := testConfig(t)
	cfg.TopicNames = append(cfg.TopicNames, "secret")
	a, b := start(t, cfg), startNode(t)
	join(t, a, "secret")
	ta, tb := join(t, a, "n"), join(t, b, "n")
	meet(t, a, b)
	publishUntil(t, a, ta, tb)
	if got := b.ps.ListPeers("/h/0123abcd/secret"); len(got) != 0 {
		t.Errorf("b tracks %d peers of a topic that it does not know", len(got))
	}
}

func TestGossipSettingsAreValid(t *testing.T) {
	for _, members := range []int{0, 3, 11, 12, 100} {
		cfg := testConfig(t)
		cfg.Members = members
		cfg.Heartbeat = 0
		start(t, cfg).stop() // Listen fails if pubsub does not take the settings
	}
}
