package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/node/jobs"
)

// A leader that fails as often as it is told to, sometimes after it has applied the batch.
type flakyLeader struct {
	mu       sync.Mutex
	lost     int // answers to lose after applying
	down     int // calls to fail before applying
	applied  [][]byte
	batches  [][]byte // as they arrived
	lastSeq  uint64
	answered map[uint64][]byte
	hold     chan struct{} // closed: go on
	asked    chan struct{} // gets one when the leader is asked for the first time
}

func (l *flakyLeader) deliver(ctx context.Context, data []byte) (uint64, []byte, error) {
	select {
	case l.asked <- struct{}{}:
	default:
	}
	select {
	case <-l.hold:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches = append(l.batches, data)
	if l.down > 0 {
		l.down--
		return 0, nil, errors.New("down")
	}
	b, err := ledger.DecodeBatch(data)
	if err != nil {
		return 0, nil, err
	}
	if b.Seq != l.lastSeq { // a repeat is answered, not applied
		l.lastSeq = b.Seq
		var results []ledger.Result
		for _, c := range b.Commands {
			l.applied = append(l.applied, c.Data)
			results = append(results, ledger.Result{Data: c.Data})
		}
		l.answered[b.Seq] = ledger.EncodeAnswer(results)
	}
	if l.lost > 0 {
		l.lost--
		return 0, nil, errors.New("the answer was lost")
	}
	return uint64(len(l.applied)), l.answered[b.Seq], nil
}

// A memory outbox.
type memOutbox struct {
	mu    sync.Mutex
	items []jobs.Item
	wake  chan struct{}
}

func (o *memOutbox) add(n uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.items = append(o.items, jobs.Item{N: n, Data: fmt.Appendf(nil, "item %d", n)})
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *memOutbox) Pending(after uint64, most int) ([]jobs.Item, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []jobs.Item
	for _, it := range o.items {
		if it.N > after && len(out) < most {
			out = append(out, it)
		}
	}
	return out, nil
}

func (o *memOutbox) Done(upTo uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.items = slices.DeleteFunc(o.items, func(it jobs.Item) bool { return it.N <= upTo })
	return nil
}

func (o *memOutbox) Wait() <-chan struct{} { return o.wake }

func startProposer(t *testing.T, l *flakyLeader) (*proposer, *memOutbox, func()) {
	t.Helper()
	l.answered, l.asked = map[uint64][]byte{}, make(chan struct{}, 1)
	if l.hold == nil {
		l.hold = make(chan struct{})
		close(l.hold)
	}
	o := &memOutbox{wake: make(chan struct{}, 1)}
	p := &proposer{
		self: "n", boot: 1, sign: func(b []byte) []byte { return bytes.Repeat([]byte{1}, 64) },
		deliver: l.deliver,
		applied: func(context.Context, uint64) error { return nil },
		spread:  func(context.Context, uint64) {},
		log:     slog.New(slog.DiscardHandler),
		calls:   make(chan *call, maxQueued), outbox: o,
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return p, o, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

// Lost answers and a leader that is down cost time, never a command, and never one twice.
func TestProposerExactlyOnce(t *testing.T) {
	l := &flakyLeader{lost: 3, down: 2}
	p, o, stop := startProposer(t, l)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			cmd := fmt.Appendf(nil, "call %d", i)
			results, err := p.Do(t.Context(), cmd)
			if err != nil || len(results) != 1 || !bytes.Equal(results[0].Data, cmd) {
				t.Errorf("Do(%s) = %v, %v, want its own result", cmd, results, err)
			}
		})
		o.add(uint64(i + 1))
	}
	wg.Wait()
	if _, err := p.Do(t.Context(), []byte("last")); err != nil { // the items came before it
		t.Fatal(err)
	}
	stop()
	count := map[string]int{}
	last := 0
	for _, cmd := range l.applied {
		count[string(cmd)]++
		var n int
		if _, err := fmt.Sscanf(string(cmd), "item %d", &n); err == nil {
			if n != last+1 {
				t.Errorf("item %d was applied after item %d", n, last)
			}
			last = n
		}
	}
	if len(count) != 41 || last != 20 {
		t.Errorf("%d different commands applied, items up to %d; want 41 and 20", len(count), last)
	}
	for cmd, n := range count {
		if n != 1 {
			t.Errorf("%q was applied %d times", cmd, n)
		}
	}
	for i, b := range l.batches[:6] { // two failures and three lost answers before the sixth
		if !bytes.Equal(b, l.batches[0]) {
			t.Errorf("attempt %d sent other bytes than the first", i)
		}
	}
}

// Flush returns once an item of the outbox is applied at all nodes, and does not wait for ever.
func TestProposerFlush(t *testing.T) {
	l := &flakyLeader{hold: make(chan struct{})}
	p, o, stop := startProposer(t, l)
	defer stop()
	var spread atomic.Uint64
	p.spread = func(_ context.Context, index uint64) { spread.Store(index) }
	o.add(1)
	o.add(2)
	p.Flush(t.Context(), 2) // the leader is held: after everywhereFor
	if got := spread.Load(); got != 0 {
		t.Fatalf("waited for entry %d before the item was in one", got)
	}
	close(l.hold)
	for spread.Load() == 0 && t.Context().Err() == nil {
		p.Flush(t.Context(), 2)
	}
	if got := spread.Load(); got != 2 { // the double's entries are numbered by their last command
		t.Errorf("waited for entry %d, want that of the second item", got)
	}
}

// A caller that gives up learns that it cannot know, and the others go on.
func TestProposerCallerGivesUp(t *testing.T) {
	l := &flakyLeader{hold: make(chan struct{})}
	p, _, stop := startProposer(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := p.Do(ctx, []byte("impatient"))
		gaveUp <- err
	}()
	cancel()
	if err := <-gaveUp; !errors.Is(err, horde.RCUnavailable) {
		t.Errorf("Do = %v, want Unavailable", err)
	}
	close(l.hold)
	if _, err := p.Do(t.Context(), []byte("patient")); err != nil {
		t.Errorf("Do = %v", err)
	}
	stop()
}

// Whoever waits when the node stops is told so.
func TestProposerStops(t *testing.T) {
	l := &flakyLeader{hold: make(chan struct{})}
	p, _, stop := startProposer(t, l)
	waiting := make(chan error, 1)
	go func() {
		_, err := p.Do(t.Context(), []byte("waiting"))
		waiting <- err
	}()
	<-l.asked // it is with the leader
	stop()
	if err := <-waiting; !errors.Is(err, horde.RCUnavailable) {
		t.Errorf("Do = %v, want Unavailable", err)
	}
}

// Callers of a barrier that came while one was under way share the next.
func TestBarrierIsShared(t *testing.T) {
	var mu sync.Mutex
	runs := 0
	entered, release := make(chan struct{}, 10), make(chan struct{})
	b := &barrier{run: func(context.Context) error {
		mu.Lock()
		runs++
		mu.Unlock()
		entered <- struct{}{}
		<-release
		return nil
	}}
	var wg sync.WaitGroup
	wait := func() {
		wg.Go(func() {
			if err := b.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait()
	<-entered // the first is under way
	for range 10 {
		wait()
	}
	for joined := false; !joined; { // until the ten share one round that has not begun
		b.mu.Lock()
		joined = b.next != nil && b.next.waiting == 10
		b.mu.Unlock()
	}
	close(release)
	wg.Wait()
	if runs != 2 {
		t.Errorf("%d runs for 11 callers, want 2", runs)
	}
}
