package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func newTestFSM(t *testing.T, tu tuning) (*fsm, *counter, *[]error) {
	disk, _ := openTestState(t, t.TempDir())
	sm, failures := newCounter(), new([]error)
	f := newFSM(sm, disk, tu, func(err error) { *failures = append(*failures, err) })
	if err := f.load(disk.cur, 0); err != nil {
		t.Fatal(err)
	}
	return f, sm, failures
}

func command(index uint64, proposals ...string) *raft.Log {
	var b [][]byte
	for _, p := range proposals {
		b = append(b, []byte(p))
	}
	return &raft.Log{Index: index, Type: raft.LogCommand, Data: encodeEntry(int64(index)*1000, b)}
}

func TestApplyBatch(t *testing.T) {
	f, sm, _ := newTestFSM(t, quick())
	got := f.ApplyBatch([]*raft.Log{command(3, "x", "y", "x"), {Index: 4, Type: raft.LogConfiguration}, command(5, "x")})
	if len(got) != 3 || got[1] != nil {
		t.Fatalf("ApplyBatch = %v", got)
	}
	for i, want := range map[int]string{0: "1 1 2", 2: "3"} {
		o := got[i].(outcome)
		if s := string(bytes.Join(o.answers, []byte(" "))); s != want || o.err != nil {
			t.Errorf("answer %d = %q, %v; want %q", i, s, o.err, want)
		}
	}
	if f.applied.Load() != 5 || !slices.Equal(sm.stamps, []int64{3000, 5000}) {
		t.Errorf("applied %d, stamps %v", f.applied.Load(), sm.stamps)
	}
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	if at, err := f.disk.cur.applied(); at != 5 || err != nil {
		t.Errorf("stored as of %d, %v; want 5", at, err)
	}
}

func TestApplySkipsWhatIsLoaded(t *testing.T) {
	f, sm, _ := newTestFSM(t, quick())
	f.ApplyBatch([]*raft.Log{command(3, "x"), command(4, "x")})
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.load(f.disk.cur, 4); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Snapshot(); err == nil {
		t.Error("Snapshot before the log is replayed")
	}
	f.ApplyBatch([]*raft.Log{command(3, "x")})
	if _, err := f.Snapshot(); err == nil {
		t.Error("Snapshot while the log is replayed")
	}
	f.ApplyBatch([]*raft.Log{command(4, "x"), command(5, "x")})
	if got := sm.count("x"); got != 3 {
		t.Errorf("%d counts, want 3", got)
	}
	s, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
	s.Release() // raft may, after an error
}

func TestApplyStopsForGood(t *testing.T) {
	newer := command(4, "x")
	newer.Data[0]++
	for _, tt := range []struct {
		name string
		bad  *raft.Log
	}{
		{"an error", command(4, "x", "poison", "x")},
		{"a panic", command(4, "panic")},
		{"a newer entry", newer},
		{"garbage", &raft.Log{Index: 4, Type: raft.LogCommand, Data: []byte("?")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, sm, failures := newTestFSM(t, quick())
			got := f.ApplyBatch([]*raft.Log{command(3, "y"), tt.bad, command(5, "y")})
			if err := got[0].(outcome).err; err != nil {
				t.Errorf("before: %v", err)
			}
			for i := 1; i <= 2; i++ {
				if o := got[i].(outcome); o.err == nil || !strings.Contains(o.err.Error(), "entry 4") {
					t.Errorf("outcome %d = %v, want an error that names entry 4", i, o.err)
				}
			}
			if sm.count("y") != 1 || f.applied.Load() != 3 {
				t.Errorf("%d counts, applied %d; want 1 and 3", sm.count("y"), f.applied.Load())
			}
			if len(*failures) != 1 {
				t.Errorf("failures = %v, want one", *failures)
			}
			if err := f.flush(); err == nil {
				t.Error("flush = nil after a part of an entry")
			}
			if _, err := f.Snapshot(); err == nil {
				t.Error("Snapshot = nil after a part of an entry")
			}
			if err := f.Restore(io.NopCloser(strings.NewReader(""))); err == nil {
				t.Error("Restore = nil")
			}
			if at, err := f.disk.cur.applied(); at != 0 || err != nil {
				t.Errorf("stored as of %d, %v; want 0", at, err)
			}
		})
	}
}

// ApplyBatch waits when more keys are dirty than one write takes.
func TestApplyWaitsForTheFlusher(t *testing.T) {
	tu := quick()
	tu.maxDirty, tu.flushDelay = 10, time.Hour
	f, _, _ := newTestFSM(t, tu)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); f.run(quit) }()
	for i := range uint64(100) {
		f.ApplyBatch([]*raft.Log{command(i+1, fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i))})
		if d := f.sm.Dirty(); d > tu.maxDirty+3 {
			t.Fatalf("%d keys are dirty, want at most %d", d, tu.maxDirty+3)
		}
	}
	close(quit)
	<-done
	if f.stored.Load() < 90 {
		t.Errorf("stored as of %d of 100", f.stored.Load())
	}
}

func TestRestoreLoadsTheMachine(t *testing.T) {
	from, src, _ := newTestFSM(t, quick())
	from.ApplyBatch([]*raft.Log{command(8, "x", "y"), command(9, "x")})
	snap, err := from.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	sink := &memSink{}
	from.ApplyBatch([]*raft.Log{command(10, "later")})
	if err := from.flush(); err != nil {
		t.Fatal(err)
	}
	if err := snap.Persist(sink); err != nil || !sink.closed {
		t.Fatalf("Persist = %v, closed %v", err, sink.closed)
	}
	f, sm, _ := newTestFSM(t, quick())
	f.ApplyBatch([]*raft.Log{command(3, "old")})
	if err := f.Restore(io.NopCloser(&sink.Buffer)); err != nil {
		t.Fatal(err)
	}
	if at, got := sm.state(); at != 9 || got != src.history()[9] || f.applied.Load() != 9 {
		t.Errorf("state as of %d differs, or %d is not 9", at, f.applied.Load())
	}
	f.ApplyBatch([]*raft.Log{command(10, "later")})
	if _, got := sm.state(); got != src.history()[10] {
		t.Error("state differs after the next entry")
	}

	sm.fail = errors.New("no")
	again := &memSink{}
	snap2, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap2.Release()
	if err := errors.Join(snap2.Persist(again)); err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(io.NopCloser(&again.Buffer)); !errors.Is(err, sm.fail) || f.dead == nil {
		t.Errorf("Restore = %v, dead %v; want the machine's error and the end", err, f.dead)
	}
}

func TestPersistCancelsOnError(t *testing.T) {
	f, _, _ := newTestFSM(t, quick())
	f.ApplyBatch([]*raft.Log{command(8, "x")})
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	sink := &memSink{fail: errors.New("disk full")}
	if err := snap.Persist(sink); !errors.Is(err, sink.fail) || sink.closed || !sink.cancelled {
		t.Errorf("Persist = %v, closed %v, cancelled %v", err, sink.closed, sink.cancelled)
	}
}

type memSink struct {
	bytes.Buffer
	fail              error
	closed, cancelled bool
}

func (s *memSink) Write(p []byte) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	return s.Buffer.Write(p)
}
func (s *memSink) ID() string    { return "mem" }
func (s *memSink) Close() error  { s.closed = true; return nil }
func (s *memSink) Cancel() error { s.cancelled = true; return nil }

func TestWaiters(t *testing.T) {
	var w waiters
	ctx, cancel := context.WithCancel(t.Context())
	outcomes := make(chan error, 3)
	for _, index := range []uint64{7, 5, 9} {
		go func() { outcomes <- w.wait(t.Context(), index) }()
	}
	cancelled := make(chan error)
	go func() { cancelled <- w.wait(ctx, 6) }()
	size := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.heap) }
	waitFor(t, "the waiters", func() bool { return size() == 4 })
	cancel()
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("wait = %v, want Canceled", err)
	}
	if size() != 3 {
		t.Errorf("%d wait, want 3", size())
	}
	w.reached(4)
	if size() != 3 {
		t.Errorf("%d wait for more than 4, want 3", size())
	}
	w.reached(8)
	for range 2 {
		if err := <-outcomes; err != nil {
			t.Errorf("wait = %v", err)
		}
	}
	gone := errors.New("gone")
	w.close(gone)
	if err := <-outcomes; err != gone {
		t.Errorf("wait = %v, want %v", err, gone)
	}
	if err := w.wait(t.Context(), 8); err != nil {
		t.Errorf("wait for what is applied = %v", err)
	}
	if err := w.wait(t.Context(), 9); err != gone {
		t.Errorf("wait for more = %v, want %v", err, gone)
	}
}

func TestRaftLog(t *testing.T) {
	var b bytes.Buffer
	l := newRaftLog(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelInfo})))
	for _, tt := range []struct {
		name string
		do   func(hclog.Logger)
		want string
	}{
		{"a stream's normal end", func(l hclog.Logger) { l.Error("failed to decode incoming command", "error", io.EOF) }, ""},
		{"a peer that is away", func(l hclog.Logger) { l.Error("failed to heartbeat to", "peer", "b") }, ""},
		{"chatter", func(l hclog.Logger) { l.Info("entering leader state") }, ""},
		{"an error", func(l hclog.Logger) { l.Error("failed to commit logs", "error", "x") }, `level=ERROR msg=raft event="failed to commit logs" error=x`},
		{"a warning with context", func(l hclog.Logger) { l.With("id", 3).Warn("odd", "v", hclog.Fmt("%d/%d", 1, 2)) }, `level=WARN msg=raft event=odd id=3 v=1/2`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.Reset()
			tt.do(l)
			if got := b.String(); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("logged %q, want %q", got, tt.want)
			}
		})
	}
}

// A peer that does not answer is reported, so that its dead connection is closed.
func TestDeadPeerIsClosed(t *testing.T) {
	closed := make(chan string, 100)
	tu := quick()
	g := &Group{cfg: Config{ClosePeer: func(id string) { closed <- id }, Log: quiet()}, t: tu, stopped: make(chan struct{}), changes: make(chan struct{}, 1)}
	events := make(chan raft.Observation)
	g.wg.Go(func() { g.observe(events) })
	now := time.Now()
	for _, e := range []any{
		raft.FailedHeartbeatObservation{PeerID: "just", LastContact: now},
		raft.FailedHeartbeatObservation{PeerID: "long", LastContact: now.Add(-4 * tu.heartbeat)},
		raft.FailedHeartbeatObservation{PeerID: "long", LastContact: now.Add(-4 * tu.heartbeat)}, // too soon again
		raft.ResumedHeartbeatObservation{PeerID: "long"},
		raft.LeaderObservation{LeaderID: "x"},
		raft.LeaderObservation{LeaderID: "y"},
	} {
		events <- raft.Observation{Data: e}
	}
	close(g.stopped)
	g.wg.Wait()
	close(closed)
	var ids []string
	for id := range closed {
		ids = append(ids, id)
	}
	if !slices.Equal(ids, []string{"long"}) {
		t.Errorf("closed %v, want long", ids)
	}
	if len(g.changes) != 1 {
		t.Error("two changes of the leader did not leave one notice")
	}
}
