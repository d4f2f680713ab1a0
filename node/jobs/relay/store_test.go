package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/jobs/relay"
)

var home, other = horde.HomeTag{1}, horde.HomeTag{2}

func id(home horde.HomeTag, n byte) (u horde.UUID) {
	copy(u[:], home[:])
	u[15] = n
	return u
}

// carrier is a network of homes that can be cut off; it remembers what arrived.
type carrier struct {
	mu    sync.Mutex
	away  map[horde.HomeTag]bool
	fail  map[string]bool // items that their home cannot take for the moment
	got   []string
	tries int
}

func (c *carrier) Reachable(_ context.Context, h horde.HomeTag) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tries++
	return !c.away[h]
}

func (c *carrier) Deliver(_ context.Context, h horde.HomeTag, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away[h] || c.fail[string(data)] {
		return errors.New("not now")
	}
	c.got = append(c.got, string(data))
	return nil
}

func (c *carrier) set(h horde.HomeTag, away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away[h] = away
}

func (c *carrier) arrived() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

func open(t *testing.T, cfg relay.Config) *relay.Store {
	t.Helper()
	s, err := relay.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keep(t *testing.T, s *relay.Store, h horde.HomeTag, n byte, what, data string) {
	t.Helper()
	if err := s.Keep(h, id(h, n), what, []byte(data), true); err != nil {
		t.Fatalf("Keep %s: %v", data, err)
	}
}

// run delivers until stop is called.
func run(t *testing.T, s *relay.Store, c relay.Carrier) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, c) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestItemsWaitForTheirHomeOverARestart(t *testing.T) {
	cfg := relay.Config{Dir: t.TempDir()}
	c := &carrier{away: map[horde.HomeTag]bool{home: true}}
	s := open(t, cfg)
	long := string(bytes.Repeat([]byte("long "), 200_000)) // in several pieces
	keep(t, s, home, 1, "blob", long)
	keep(t, s, home, 1, "submit", "result 1")
	keep(t, s, home, 2, "submit", "result 2")
	keep(t, s, other, 3, "cancel", "cancel 3")
	stop := run(t, s, c)
	eventually(t, "the item of the home that answers", func() bool { return slices.Equal(c.arrived(), []string{"cancel 3"}) })
	eventually(t, "three items to wait", func() bool { return s.Len() == 3 }) // what has arrived is forgotten a moment later
	stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, cfg)
	if n := s.Len(); n != 3 || !s.Kept(id(home, 1), "submit") || !s.Waits(id(home, 2)) || s.Waits(id(other, 3)) {
		t.Errorf("after the restart %d items wait, want 3 with their names", n)
	}
	c.set(home, false)
	stop = run(t, s, c)
	want := []string{"cancel 3", long, "result 1", "result 2"}
	eventually(t, "all items", func() bool { return len(c.arrived()) == len(want) && s.Len() == 0 })
	if !slices.Equal(c.arrived(), want) {
		t.Error("items did not arrive in the order in which they were kept")
	}
	stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = open(t, cfg); s.Len() != 0 {
		t.Errorf("%d delivered items came back with the disk", s.Len())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFailureHoldsUpItsGroupOnly(t *testing.T) {
	s := open(t, relay.Config{Dir: t.TempDir()})
	c := &carrier{away: map[horde.HomeTag]bool{}, fail: map[string]bool{"blob 1": true}}
	keep(t, s, home, 1, "blob", "blob 1")
	keep(t, s, home, 1, "submit", "result 1")
	keep(t, s, home, 2, "submit", "result 2")
	stop := run(t, s, c)
	eventually(t, "the other group", func() bool { return slices.Equal(c.arrived(), []string{"result 2"}) })
	c.mu.Lock()
	clear(c.fail)
	c.mu.Unlock()
	s.Wake(home)
	eventually(t, "the group in its order", func() bool { return slices.Equal(c.arrived(), []string{"result 2", "blob 1", "result 1"}) })
	stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRoomAndNames(t *testing.T) {
	s := open(t, relay.Config{Dir: t.TempDir(), MaxItems: 16, MaxBytes: 1000})
	defer s.Close()
	for _, tt := range []struct {
		name    string
		n       byte
		what    string
		size    int
		vouched bool
		want    error
	}{
		{"the first", 1, "submit", 10, true, nil},
		{"the same again", 1, "submit", 10, true, relay.ErrKept},
		{"another of its group", 1, "blob", 10, true, nil},
		{"a stranger", 2, "submit", 10, false, nil},
		{"a second stranger", 3, "submit", 10, false, nil},
		{"a stranger beyond their share", 4, "submit", 10, false, relay.ErrFull},
		{"what we vouch for", 4, "submit", 10, true, nil},
		{"more bytes than there is room for", 5, "submit", 951, true, relay.ErrFull},
		{"what just fits", 5, "submit", 950, true, nil},
	} {
		if err := s.Keep(home, id(home, tt.n), tt.what, make([]byte, tt.size), tt.vouched); !errors.Is(err, tt.want) {
			t.Errorf("%s: Keep = %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestLifeEnds(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	s := open(t, relay.Config{Dir: dir, Now: clock})
	c := &carrier{away: map[horde.HomeTag]bool{home: true}}
	keep(t, s, home, 1, "submit", "too late")
	s.Note(id(home, 1), []byte("fact"), time.Hour)
	stop := run(t, s, c)
	eventually(t, "a try", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.tries > 0 })
	mu.Lock()
	now = now.Add(24*time.Hour + time.Second)
	mu.Unlock()
	s.Wake(home)
	eventually(t, "the item to be dropped", func() bool { return s.Len() == 0 })
	if _, ok := s.Fact(id(home, 1)); ok {
		t.Error("a fact outlived its life")
	}
	stop()
	if got := c.arrived(); len(got) != 0 {
		t.Errorf("delivered %q after its life", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFactsSurviveARestart(t *testing.T) {
	cfg := relay.Config{Dir: t.TempDir()}
	s := open(t, cfg)
	s.Note(id(home, 1), []byte("what it was granted for"), time.Hour)
	if f, ok := s.Fact(id(home, 1)); !ok || string(f) != "what it was granted for" {
		t.Errorf("Fact = %q, %v at once", f, ok)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, cfg)
	defer s.Close()
	if f, ok := s.Fact(id(home, 1)); !ok || string(f) != "what it was granted for" {
		t.Errorf("Fact = %q, %v after a restart", f, ok)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(home, id(home, 1), "submit", nil, true); err == nil {
		t.Error("Keep after Close said that the item is durable")
	}
}

// TestKeepAtOnce has the same name kept by many: one wins.
func TestKeepAtOnce(t *testing.T) {
	s := open(t, relay.Config{Dir: t.TempDir()})
	defer s.Close()
	errs := make(chan error, 20)
	var wg sync.WaitGroup
	for i := range cap(errs) {
		wg.Go(func() { errs <- s.Keep(home, id(home, 1), "submit", fmt.Append(nil, i), true) })
	}
	wg.Wait()
	close(errs)
	won := 0
	for err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, relay.ErrKept):
			t.Errorf("Keep = %v, want ErrKept", err)
		}
	}
	if won != 1 || s.Len() != 1 {
		t.Errorf("%d of %d won, %d items wait; want 1 and 1", won, cap(errs), s.Len())
	}
}
