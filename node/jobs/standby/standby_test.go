package standby

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"hordenode/internal/horde"
)

func nodeKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func openStore(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(Config{Dir: dir, Key: nodeKey("backup")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A wire is the network between a home and a backup, which may be cut.
type wire struct {
	mu    sync.Mutex
	to    *Store
	cut   bool
	calls int
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

func (w *wire) call(ctx context.Context, _ horde.NodeID, _ string, req []byte) ([]byte, error) {
	w.mu.Lock()
	to, cut := w.to, w.cut
	w.calls++
	w.mu.Unlock()
	if cut {
		return nil, errors.New("cut")
	}
	return to.Handle(ctx, "home", req)
}

// kept is a Home of a few items.
type kept struct {
	mu    sync.Mutex
	items map[string][]byte // of request one
}

func (k *kept) Copies(_ context.Context, keep func(horde.RequestID, string, []byte, time.Time) bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for what, data := range k.items {
		if !keep(request1, what, data, later) {
			break
		}
	}
	return nil
}

var (
	home     = horde.NodeID("home").Tag()
	request1 = horde.RequestID{UUID: horde.UUID{1}}
	request2 = horde.RequestID{UUID: horde.UUID{2}}
	later    = time.Now().Add(time.Hour)
)

// start runs a copier of a home with the given items and waits until its backup is registered.
func start(t *testing.T, w *wire, items map[string][]byte) *Copier {
	t.Helper()
	registered := make(chan horde.NodeID, 16)
	c := NewCopier(CopierConfig{
		Tag: home, Call: w.call, Rand: rand.Reader,
		Choose:   func(horde.NodeID) (horde.NodeID, bool) { return "backup", true },
		Register: func(_ context.Context, to horde.NodeID) error { registered <- to; return nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, &kept{items: items}, func() bool { return false }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if got := <-registered; got != "backup" {
		t.Fatalf("registered %q", got)
	}
	return c
}

// stored returns what a store has of a home, by request and name.
func stored(t *testing.T, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := s.Copies(home, func(c Copy) error {
		for what, data := range c.Items {
			all[fmt.Sprint(c.ID.UUID[0], " ", what)] = string(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestCopiesOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	w := &wire{to: s}
	long := bytes.Repeat([]byte("a long prompt "), 100_000)
	c := start(t, w, map[string][]byte{"r": []byte("from before"), "b": long})
	<-c.Keep(request2, "r", []byte("secret prompt"), later)
	<-c.Keep(request2, "g1", []byte("a result"), later)
	<-c.Keep(request2, "g1", []byte("a better result"), later)

	w.set(true) // while the store is closed
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	got := stored(t, s)
	want := map[string]string{"1 r": "from before", "1 b": string(long), "2 r": "secret prompt", "2 g1": "a better result"}
	if len(got) != len(want) {
		t.Errorf("got %d items, want %d", len(got), len(want))
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: got %.20q of %d bytes, want %.20q of %d", k, got[k], len(got[k]), v, len(v))
		}
	}
	if !s.Has(home) || s.Has(horde.NodeID("other").Tag()) {
		t.Error("Has is wrong")
	}
	w.mu.Lock()
	w.to = s
	w.cut = false
	w.mu.Unlock()
	c.Drop(request2) // the session goes on after the backup's restart
	eventually(t, "the drop", func() bool { return len(stored(t, s)) == 2 })
	if err := s.Drop(request1, home); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, s); len(got) != 0 || s.Has(home) {
		t.Errorf("%d items left, Has %v; want none", len(got), s.Has(home))
	}
	if rest := s.Bytes(); rest < 0 || rest > 500 { // the session's key
		t.Errorf("%d bytes are left, want those of the session", rest)
	}
}

func TestNothingReadableOnDisk(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	c := start(t, &wire{to: s}, nil)
	<-c.Keep(request1, "r", []byte("a very secret prompt"), later)
	if len(stored(t, s)) != 1 {
		t.Fatal("nothing stored")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("secret")) {
			t.Errorf("the prompt is in %s", filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// Nor can a node with another key read it.
	other, err := Open(Config{Dir: dir, Key: nodeKey("thief")})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Copies(home, func(Copy) error { return nil }); err == nil {
		t.Error("another key opens the copies")
	}
}

// TestBackupThatIsAwayHoldsNobodyUp cuts the wire: Keep's channel closes all the same, and what
// was copied meanwhile arrives when the wire is whole.
func TestBackupThatIsAwayHoldsNobodyUp(t *testing.T) {
	s := openStore(t, t.TempDir())
	w := &wire{to: s}
	c := start(t, w, nil)
	w.set(true)
	<-c.Keep(request1, "r", []byte("one"), later)
	eventually(t, "lagging", func() bool {
		select {
		case <-c.Keep(request1, "s", []byte("two"), later):
			return c.Unprotected() > 0
		default:
			return false
		}
	})
	if got := stored(t, s); len(got) != 0 {
		t.Fatalf("got %v over a cut wire", got)
	}
	w.set(false)
	eventually(t, "the copies", func() bool { return len(stored(t, s)) == 2 })
}

// TestBackupThatForgot gets everything again.
func TestBackupThatForgot(t *testing.T) {
	w := &wire{to: openStore(t, t.TempDir())}
	c := start(t, w, map[string][]byte{"r": []byte("one")})
	fresh := openStore(t, t.TempDir())
	w.mu.Lock()
	w.to = fresh
	w.mu.Unlock()
	c.Keep(request2, "r", []byte("two"), later)
	eventually(t, "a new session", func() bool { return stored(t, fresh)["1 r"] == "one" })
}

func TestStoreRefuses(t *testing.T) {
	s := openStore(t, t.TempDir())
	s.max = 1000
	for _, tt := range []struct {
		name string
		req  []byte
	}{
		{"nonsense", []byte("nonsense")},
		{"a key for somebody else", mustEncode(t, &request{Session: horde.UUID{1}, Begin: []byte("sealed for another")})},
		{"too long a name", mustEncode(t, &request{Items: []item{{What: string(make([]byte, maxWhat+1))}}})},
	} {
		if _, err := s.Handle(t.Context(), "home", tt.req); err == nil {
			t.Errorf("%s: taken", tt.name)
		}
	}
	c := &Copier{cfg: CopierConfig{Tag: home, Call: (&wire{to: s}).call, Rand: rand.Reader}}
	ses, err := c.begin(t.Context(), "backup")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.deliver(t.Context(), ses, []*parcel{{item: item{ID: request1.UUID, What: "r"}, plain: make([]byte, 2000)}}); !errors.Is(err, errNoRoom) {
		t.Errorf("over the limit: got %v, want no room", err)
	}
	ses.id = horde.UUID{9}
	if err := c.deliver(t.Context(), ses, []*parcel{{item: item{Drop: true}}}); !errors.Is(err, errUnknown) {
		t.Errorf("another session: got %v, want unknown", err)
	}
}

func mustEncode(t *testing.T, r *request) []byte {
	t.Helper()
	data, err := encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestExpiredCopiesAreLeftOut(t *testing.T) {
	s := openStore(t, t.TempDir())
	c := start(t, &wire{to: s}, nil)
	<-c.Keep(request1, "r", []byte("old"), time.Now().Add(-time.Minute))
	<-c.Keep(request2, "r", []byte("new"), later)
	if got := stored(t, s); len(got) != 1 || got["2 r"] != "new" {
		t.Errorf("got %v, want the new one alone", got)
	}
	<-c.Keep(request1, "r", []byte("old"), time.Now().Add(-time.Minute))
	before := s.Bytes()
	if err := s.Sweep(time.Now(), func(horde.HomeTag) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if s.Bytes() >= before || s.Bytes() <= 0 {
		t.Errorf("%d bytes after the sweep, want some, but less than %d", s.Bytes(), before)
	}
	if err := s.Sweep(time.Now(), func(horde.HomeTag) bool { return false }); err != nil || !s.Has(home) {
		t.Fatalf("a home that is beginning: %v, Has %v", err, s.Has(home))
	}
	if err := s.Sweep(time.Now().Add(time.Hour), func(horde.HomeTag) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, s); len(got) != 0 || s.Has(home) || s.Bytes() != 0 {
		t.Errorf("%d items and %d bytes of a home that has another backup", len(got), s.Bytes())
	}
}

// Copies that nobody can ever read do not keep their home from coming back.
func TestUnreadableCopiesGo(t *testing.T) {
	s := openStore(t, t.TempDir())
	c := start(t, &wire{to: s}, nil)
	<-c.Keep(request1, "r", []byte("sealed"), later)
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Delete(sessionKey(home)) }); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.home(home).session = horde.UUID{} // as after a restart
	s.mu.Unlock()
	if got := stored(t, s); len(got) != 0 || s.Has(home) || s.Bytes() < 0 {
		t.Errorf("without a key there are %v, Has is %t, %d bytes", got, s.Has(home), s.Bytes())
	}
}
