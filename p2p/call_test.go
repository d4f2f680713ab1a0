package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hordenode/internal/horde"
)

const echo = "/horde/echo/1"

func answerEcho(_ context.Context, _ horde.NodeID, req []byte) ([]byte, error) { return req, nil }

func TestCall(t *testing.T) {
	a, b := startNode(t), startNode(t)
	meet(t, a, b)
	from := make(chan horde.NodeID, 1)
	b.Handle(echo, Limits{}, func(_ context.Context, f horde.NodeID, req []byte) ([]byte, error) {
		from <- f
		return append([]byte("re: "), req...), nil
	})
	got, err := a.Call(soon(t), b.ID(), echo, []byte("hello"))
	if err != nil || string(got) != "re: hello" {
		t.Fatalf("Call = %q, %v", got, err)
	}
	if got := receive(t, "who called", from); got != a.ID() {
		t.Errorf("the handler was called by %s, want %s", got, a.ID())
	}
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	if !b.gate.asked[echo] {
		t.Error("the gate was not asked about the protocol")
	}
}

func TestCallSizes(t *testing.T) {
	const limit = 20 << 20
	a, b := startNode(t), startNode(t)
	meet(t, a, b)
	lim := Limits{Request: limit, Response: limit}
	a.Handle(echo, lim, answerEcho)
	b.Handle(echo, lim, answerEcho)
	for _, size := range []int{0, 1, 127, 128, 16 << 10, 16<<10 + 1, 1 << 20, limit} {
		req := bytes.Repeat([]byte{'x'}, size)
		got, err := a.Call(soon(t), b.ID(), echo, req)
		if err != nil || !bytes.Equal(got, req) {
			t.Errorf("Call with %d bytes = %d bytes, %v", size, len(got), err)
		}
	}
	if _, err := a.Call(soon(t), b.ID(), echo, make([]byte, limit+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Call with a byte too much = %v, want ErrTooLarge", err)
	}
}

func TestLimitsHaveALimit(t *testing.T) {
	got := Limits{Request: MaxCall + 1, Response: 1 << 40}.withDefaults()
	if want := (Limits{Request: MaxCall, Response: MaxCall, Timeout: defaultTimeout}); got != want {
		t.Errorf("limits = %+v, want %+v", got, want)
	}
}

func TestCallLimitsOfThePeer(t *testing.T) {
	a, b := startNode(t), startNode(t)
	meet(t, a, b)
	const ask, tell = "/horde/ask/1", "/horde/tell/1"
	b.Handle(ask, Limits{Request: 1 << 20, Response: 10}, func(context.Context, horde.NodeID, []byte) ([]byte, error) {
		return make([]byte, 11), nil
	})
	b.Handle(tell, Limits{Request: 10}, answerEcho)
	for _, tt := range []struct {
		name, proto string
		size        int
	}{
		{"response a byte too long", ask, 0},
		{"request a byte too long", tell, 11},
	} {
		_, err := a.Call(soon(t), b.ID(), tt.proto, make([]byte, tt.size))
		remote, ok := errors.AsType[*RemoteError](err)
		if !ok || remote.Code != CodeTooLarge || !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: Call = %v, want %s from the peer", tt.name, err, CodeTooLarge)
		}
	}
	if got, err := a.Call(soon(t), b.ID(), tell, make([]byte, 10)); err != nil || len(got) != 10 {
		t.Errorf("a request of just the limit: %d bytes, %v", len(got), err)
	}
}

func TestCallErrorsOfTheHandler(t *testing.T) {
	cfg := testConfig(t)
	var log syncBuffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	a, b := startNode(t), start(t, cfg)
	meet(t, a, b)
	for i, tt := range []struct {
		name    string
		handler Handler
		code    string
		msg     string
		is      error
		logged  string
	}{
		{"remote error", func(context.Context, horde.NodeID, []byte) ([]byte, error) {
			return nil, fmt.Errorf("claim: %w", &RemoteError{Code: "gone", Msg: "no such offer"})
		}, "gone", "no such offer", nil, ""},
		{"refusal of the horde", func(context.Context, horde.NodeID, []byte) ([]byte, error) {
			return nil, horde.Refuse(horde.RCRequestNotFound, "No such request.")
		}, "RequestNotFound", "No such request.", horde.RCRequestNotFound, ""},
		{"any error stays at home", func(context.Context, horde.NodeID, []byte) ([]byte, error) {
			return nil, errors.New("disk /var/lib/secret is full")
		}, CodeInternal, "the peer could not answer", nil, "secret is full"},
		{"panic", func(context.Context, horde.NodeID, []byte) ([]byte, error) {
			panic("index out of range")
		}, CodeInternal, "the peer could not answer", nil, "index out of range"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proto := fmt.Sprintf("/horde/fail%d/1", i)
			b.Handle(proto, Limits{}, tt.handler)
			_, err := a.Call(soon(t), b.ID(), proto, nil)
			remote, ok := errors.AsType[*RemoteError](err)
			if !ok || remote.Code != tt.code || remote.Msg != tt.msg {
				t.Fatalf("Call = %v, want code %q, message %q", err, tt.code, tt.msg)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("errors.Is(%v, %v) = false", err, tt.is)
			}
			if tt.logged != "" && !strings.Contains(log.String(), tt.logged) {
				t.Errorf("the peer's log does not hold %q", tt.logged)
			}
		})
	}
	b.Handle(echo, Limits{}, answerEcho)
	if _, err := a.Call(soon(t), b.ID(), echo, nil); err != nil {
		t.Errorf("after all that, Call = %v", err)
	}
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestCallRefused(t *testing.T) {
	a, b := startNode(t), startNode(t)
	meet(t, a, b)
	var called atomic.Bool
	b.Handle(echo, Limits{}, func(context.Context, horde.NodeID, []byte) ([]byte, error) {
		called.Store(true)
		return nil, nil
	})
	b.gate.silence(a.ID())
	_, err := a.Call(soon(t), b.ID(), echo, []byte("let me in"))
	if remote, ok := errors.AsType[*RemoteError](err); !ok || remote.Code != CodeRefused {
		t.Errorf("Call = %v, want %s", err, CodeRefused)
	}
	if called.Load() {
		t.Error("the handler was called")
	}
	_, err = a.Call(soon(t), b.ID(), "/horde/unheard/1", nil)
	if remote, ok := errors.AsType[*RemoteError](err); !ok || remote.Code != CodeUnsupported {
		t.Errorf("Call of an unknown protocol = %v, want %s", err, CodeUnsupported)
	}
}

func TestCallUnreachable(t *testing.T) {
	t.Parallel()
	a, b := startNode(t), startNode(t)
	addrs := b.Addrs()
	b.stop()
	stranger, err := IDFromKey(b.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	a.SetPeers(map[horde.NodeID][]string{stranger: addrs})
	for _, to := range []horde.NodeID{stranger, a.ID(), "nonsense", ""} {
		if _, err := a.Call(soon(t), to, echo, nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("Call to %q = %v, want ErrUnreachable", to, err)
		}
	}
	a.stop()
	if _, err := a.Call(soon(t), stranger, echo, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Call after Close = %v, want ErrClosed", err)
	}
}

func TestCallDialsByItself(t *testing.T) {
	a, b := startNode(t), startNode(t)
	b.Handle(echo, Limits{}, answerEcho)
	meet(t, a, b)
	a.ClosePeer(string(b.ID()))
	if _, err := a.Call(soon(t), b.ID(), echo, nil); err != nil {
		t.Errorf("Call = %v", err)
	}
}

// A handler that hangs ends with its caller, and the caller with its context.
func TestCallTimesOut(t *testing.T) {
	t.Parallel()
	a, b := startNode(t), startNode(t)
	meet(t, a, b)
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	b.Handle(echo, Limits{}, func(ctx context.Context, _ horde.NodeID, _ []byte) ([]byte, error) {
		began <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	for _, tt := range []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
		want error
	}{
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 50*time.Millisecond)
		}, context.DeadlineExceeded},
		{"cancelled", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			go func() {
				began <- <-began
				cancel()
			}()
			return ctx, cancel
		}, context.Canceled},
		{"default", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithCancel(ctx)
		}, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := tt.end(context.Background())
			defer cancel()
			begin := time.Now()
			if _, err := a.Call(ctx, b.ID(), echo, nil); !errors.Is(err, tt.want) {
				t.Errorf("Call = %v, want %v", err, tt.want)
			}
			if took := time.Since(begin); took > callTimeout+time.Second {
				t.Errorf("Call took %s", took)
			}
			receive(t, "handler called", began)
			receive(t, "handler's context ended", ended)
		})
	}
	t.Run("the handler's own", func(t *testing.T) {
		b.Handle(echo, Limits{Timeout: 20 * time.Millisecond}, func(ctx context.Context, _ horde.NodeID, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, &RemoteError{Code: "late", Msg: ctx.Err().Error()}
		})
		_, err := a.Call(soon(t), b.ID(), echo, nil)
		if remote, ok := errors.AsType[*RemoteError](err); !ok || remote.Code != "late" {
			t.Errorf("Call = %v, want the handler's word", err)
		}
	})
	t.Run("the host closes", func(t *testing.T) {
		b.Handle(echo, Limits{}, func(ctx context.Context, _ horde.NodeID, _ []byte) ([]byte, error) {
			began <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		failed := make(chan error, 1)
		go func() {
			_, err := a.Call(soon(t), b.ID(), echo, nil)
			failed <- err
		}()
		receive(t, "handler called", began)
		b.stop()
		if err := receive(t, "call failed", failed); err == nil {
			t.Error("Call succeeded")
		}
	})
}

func TestManyCallsToOnePeer(t *testing.T) {
	a, b := startNode(t), startNode(t)
	meet(t, a, b)
	var running, most atomic.Int64
	b.Handle(echo, Limits{}, func(_ context.Context, _ horde.NodeID, req []byte) ([]byte, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		return req, nil
	})
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			want := fmt.Sprint(i)
			got, err := a.Call(soon(t), b.ID(), echo, []byte(want))
			if err != nil || string(got) != want {
				t.Errorf("call %d = %q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	if most.Load() > 2*callsInFlight {
		t.Errorf("%d handlers ran at a time, want about %d at most", most.Load(), callsInFlight)
	}
}

func TestCallWaitsForAPlace(t *testing.T) {
	a, b := startNode(t), startNode(t)
	meet(t, a, b)
	release := make(chan struct{})
	var began sync.WaitGroup
	began.Add(callsInFlight)
	b.Handle(echo, Limits{}, func(_ context.Context, _ horde.NodeID, req []byte) ([]byte, error) {
		if string(req) == "block" {
			began.Done()
			<-release
		}
		return nil, nil
	})
	b.Handle("/horde/other/1", Limits{}, answerEcho)
	var wg sync.WaitGroup
	for range callsInFlight {
		wg.Go(func() {
			if _, err := a.Call(soon(t), b.ID(), echo, []byte("block")); err != nil {
				t.Errorf("blocking call = %v", err)
			}
		})
	}
	began.Wait()
	ctx, cancel := context.WithTimeout(soon(t), 20*time.Millisecond)
	defer cancel()
	if _, err := a.Call(ctx, b.ID(), echo, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("call number %d = %v, want ErrBusy", callsInFlight+1, err)
	}
	if _, err := a.Call(soon(t), b.ID(), "/horde/other/1", nil); err != nil {
		t.Errorf("call of another protocol = %v", err)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := a.Call(soon(t), b.ID(), echo, nil)
		waiting <- err
	}()
	close(release)
	if err := receive(t, "the call that waited", waiting); err != nil {
		t.Errorf("the call that waited = %v", err)
	}
	wg.Wait()
}
