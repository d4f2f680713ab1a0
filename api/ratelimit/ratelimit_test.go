package ratelimit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"testing"
	"time"
)

// A network is nodes with one clock whose messages arrive when the test says so.
type network struct {
	now   time.Time
	nodes []*Counter
}

func newNetwork(n int) *network {
	w := &network{now: time.Unix(1_800_000_000, 0)}
	for range n {
		w.nodes = append(w.nodes, New(func() time.Time { return w.now }, hash))
	}
	return w
}

func hash(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// gossip delivers what every node has to tell.
func (w *network) gossip(t *testing.T) {
	t.Helper()
	type message struct {
		from int
		data []byte
	}
	var sent []message
	for i, c := range w.nodes {
		for data, rows := c.Due(); rows > 0; data, rows = c.Due() {
			sent = append(sent, message{i, data})
		}
	}
	for _, m := range sent {
		for i, c := range w.nodes {
			if i == m.from {
				continue
			}
			if err := c.Hear(fmt.Sprint("node", m.from), m.data); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Load over all nodes, each gossiping every 50 ms: what is let through is within a fifth of
// the limit, whatever the limit, the load and its spread.
func TestNodesCountTogether(t *testing.T) {
	const step, windows = 5 * time.Millisecond, 12
	for _, tt := range []struct {
		name  string
		n     int
		per   time.Duration
		nodes int
		load  []int // hits per step, by node
	}{
		{"two a second, three nodes", 2, time.Second, 3, []int{1, 1, 1}},
		{"ten a second, three nodes", 10, time.Second, 3, []int{1, 1, 1}},
		{"ten a second, flooded", 10, time.Second, 3, []int{40, 40, 40}},
		{"sixty a second", 60, time.Second, 3, []int{2, 2, 2}},
		{"sixty a second, one node has most", 60, time.Second, 3, []int{20, 1, 0}},
		{"ninety a minute", 90, time.Minute, 3, []int{1, 1, 1}},
		{"ninety a minute, eight nodes", 90, time.Minute, 8, []int{1, 1, 1, 1, 1, 1, 1, 1}},
		{"one node", 10, time.Second, 1, []int{3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newNetwork(tt.nodes)
			begin, accepted := w.now, 0
			for i := 0; w.now.Sub(begin) < windows*tt.per; i++ {
				for node, hits := range tt.load {
					for range hits {
						if left, _ := w.nodes[node].Hit("k", tt.n, tt.per); left >= 0 {
							accepted++
						}
					}
				}
				if i%10 == 9 {
					w.gossip(t)
				}
				w.now = w.now.Add(step)
			}
			want := tt.n * windows
			t.Logf("let through %d of %d", accepted, want)
			if 5*accepted < 4*want || 5*accepted > 6*want {
				t.Errorf("let through %d in %d windows, want %d within a fifth", accepted, windows, want)
			}
		})
	}
}

// A client within its limit is never refused, however it goes about the nodes.
func TestWithinTheLimitNobodyIsRefused(t *testing.T) {
	w := newNetwork(3)
	for second := range 30 {
		for i := range 10 {
			if left, _ := w.nodes[(second*i)%3].Hit("k", 10, time.Second); left < 0 {
				t.Fatalf("second %d: hit %d was refused", second, i+1)
			}
			w.gossip(t)
			w.now = w.now.Add(10 * time.Millisecond)
		}
		w.now = w.now.Add(910 * time.Millisecond)
	}
}

func TestDebtIsPaid(t *testing.T) {
	w := newNetwork(3)
	for _, c := range w.nodes {
		for range 10 {
			c.Hit("k", 10, time.Second)
		}
	}
	w.gossip(t)
	begin := w.now
	if left, reset := w.nodes[0].Hit("k", 10, time.Second); left != -1 || !reset.Equal(begin.Add(3*time.Second)) {
		t.Errorf("left %d, room after %s, want -1 and 3s: two windows are owed", left, reset.Sub(begin))
	}
	for i, want := range []bool{false, false, true} {
		w.now = w.now.Add(time.Second)
		if left, _ := w.nodes[0].Hit("k", 10, time.Second); (left >= 0) != want {
			t.Errorf("window %d: left %d, want room: %v", i+2, left, want)
		}
	}
	w.now = w.now.Add(time.Hour)
	if left, _ := w.nodes[1].Hit("k", 10, time.Second); left != 9 {
		t.Errorf("after an hour %d are left, want 9", left)
	}
}

// A message that comes twice counts once; one of the sender's next window counts anew; a node
// that was started again counts anew.
func TestHear(t *testing.T) {
	w := newNetwork(1)
	c := w.nodes[0]
	message := func(opened, hits uint32) []byte {
		b := binary.BigEndian.AppendUint64([]byte{format}, hash("k"))
		b = binary.BigEndian.AppendUint32(b, opened)
		b = binary.BigEndian.AppendUint32(b, 60_000)
		return binary.BigEndian.AppendUint32(b, hits)
	}
	for i, tt := range []struct {
		from   string
		opened uint32
		hits   uint32
		want   int // total
	}{
		{"a", 1, 3, 3}, {"a", 1, 3, 3}, {"a", 1, 5, 5}, {"a", 1, 2, 5}, {"b", 1, 2, 7}, {"a", 2, 1, 8}, {"b", 9, 4, 12},
	} {
		if err := c.Hear(tt.from, message(tt.opened, tt.hits)); err != nil {
			t.Fatal(err)
		}
		if got := c.windows[hash("k")].total(); got != tt.want {
			t.Errorf("message %d: %d hits, want %d", i+1, got, tt.want)
		}
	}
	if left, _ := c.Hit("k", 20, time.Minute); left != 7 {
		t.Errorf("%d are left of 20, want 7", left)
	}
	for _, bad := range [][]byte{nil, {}, {2}, {format, 1}, make([]byte, 1+rowSize), append([]byte{format}, make([]byte, (maxRows+1)*rowSize)...)} {
		if err := c.Hear("a", bad); !errors.Is(err, errMalformed) {
			t.Errorf("%d bytes: %v, want %v", len(bad), err, errMalformed)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	w := newNetwork(2)
	for i := range maxWindows + maxWindows/2 {
		w.nodes[0].Hit(fmt.Sprint(i), 1, time.Hour)
	}
	if n := w.nodes[0].Len(); n > maxWindows {
		t.Errorf("%d keys remembered, want at most %d", n, maxWindows)
	}
	w.gossip(t)
	if n := w.nodes[1].Len(); n > maxForeign {
		t.Errorf("%d keys of others remembered, want at most %d", n, maxForeign)
	}
	// What has ended makes room, and a busy key is not the one that is forgotten.
	w.now = w.now.Add(2 * time.Hour)
	for range 5 {
		w.nodes[0].Hit("busy", 10, 100*time.Hour)
	}
	for i := range maxWindows {
		w.nodes[0].Hit(fmt.Sprint("again", i), 1, time.Hour)
	}
	if left, _ := w.nodes[0].Hit("busy", 10, 100*time.Hour); left != 4 {
		t.Errorf("the busy key has %d left, want 4", left)
	}
}

// Three nodes with real clocks and goroutines, for the race detector.
func TestRun(t *testing.T) {
	const nodes, limit = 3, 40
	ctx, cancel := context.WithCancel(t.Context())
	var counters []*Counter
	for range nodes {
		counters = append(counters, New(time.Now, hash))
	}
	var running sync.WaitGroup
	for i, c := range counters {
		running.Go(func() {
			if err := c.Run(ctx, func(_ context.Context, data []byte) {
				for j, other := range counters {
					if j == i {
						continue
					}
					if err := other.Hear(fmt.Sprint(i), data); err != nil {
						t.Error(err)
					}
				}
			}); err != nil {
				t.Error(err)
			}
		})
	}
	var mu sync.Mutex
	accepted := 0
	var load sync.WaitGroup
	for i := range nodes {
		load.Go(func() {
			for range 2 * limit / nodes { // twice what may be, and never so fast that a message takes longer
				if left, _ := counters[i].Hit("k", limit, time.Hour); left >= 0 {
					mu.Lock()
					accepted++
					mu.Unlock()
				}
				heard := func() bool { return i < 0 || allHeard(counters, i) }
				for deadline := time.Now().Add(20 * time.Second); !heard() && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	load.Wait()
	cancel()
	running.Wait()
	if accepted < limit || accepted > limit*6/5 {
		t.Errorf("%d were let through, want %d to %d", accepted, limit, limit*6/5)
	}
}

// allHeard tells whether the others know what a node counted, but for what it does not tell
// yet.
func allHeard(all []*Counter, i int) bool {
	own := func() int {
		all[i].mu.Lock()
		defer all[i].mu.Unlock()
		return all[i].windows[hash("k")].own
	}()
	for j, c := range all {
		if j == i {
			continue
		}
		c.mu.Lock()
		heard := 0
		if w := c.windows[hash("k")]; w != nil {
			for _, o := range w.others {
				if o.node == fmt.Sprint(i) {
					heard = o.hits
				}
			}
		}
		c.mu.Unlock()
		if own-heard > 3 {
			return false
		}
	}
	return true
}

func BenchmarkHit(b *testing.B) {
	c := New(time.Now, hash)
	for b.Loop() {
		c.Hit("k", 1<<30, time.Second)
	}
}
