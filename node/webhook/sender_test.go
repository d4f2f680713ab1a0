package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
	"hordenode/internal/outbound"
)

func request(n byte) *horde.Request {
	return &horde.Request{ID: horde.RequestID{UUID: horde.UUID{1, n}}, Payer: 7, Notify: true}
}

func result(n byte) horde.Generation {
	return horde.Generation{ID: horde.JobID{UUID: horde.UUID{2, n}}}
}

// to renders messages to an address.
func to(address string) Render {
	return func(_ context.Context, r *horde.Request, g horde.Generation) (Message, error) {
		return Message{Address: address, Account: 7, Body: []byte(`{"request":"` + r.ID.String() + `","id":"` + g.ID.String() + `"}`)}, nil
	}
}

// fakePost fails as told and notes attempts.
type fakePost struct {
	mu       sync.Mutex
	attempts []time.Time
	headers  []http.Header
	fail     func(n int, address string) error // n: attempt, from 1
}

func (f *fakePost) Post(_ context.Context, address string, header http.Header, _ []byte, _ int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempts = append(f.attempts, time.Now())
	f.headers = append(f.headers, header)
	if f.fail == nil {
		return nil
	}
	return f.fail(len(f.attempts), address)
}

func (f *fakePost) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.attempts)
}

// fakeResults are what is left of requests after a restart.
type fakeResults map[horde.RequestID]horde.Status

func (f fakeResults) Status(_ context.Context, id horde.RequestID, _ bool) (horde.Status, error) {
	st, ok := f[id]
	if !ok {
		return st, horde.Refuse(horde.RCRequestNotFound, "gone")
	}
	return st, nil
}

func open(t *testing.T, dir string, p Poster) *Sender {
	t.Helper()
	s, err := Open(Config{Dir: dir, Secret: []byte("0123456789abcdef"), Post: p, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs s until stop is called.
func run(t *testing.T, s *Sender, render Render, left Results) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, render, left) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}
}

func notesIn(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestAttempts(t *testing.T) {
	refused := errors.New("connection refused")
	for _, tt := range []struct {
		name      string
		fail      func(n int, address string) error
		attempts  int
		delivered int64
	}{
		{"first", nil, 1, 1},
		{"second", func(n int, _ string) error { return map[bool]error{true: refused}[n < 2] }, 2, 1},
		{"third", func(n int, _ string) error { return map[bool]error{true: refused}[n < 3] }, 3, 1},
		{"never", func(int, string) error { return refused }, 3, 0},
		{"forbidden", func(int, string) error { return fmt.Errorf("%w: 10.0.0.1", outbound.ErrForbidden) }, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, dir := &fakePost{fail: tt.fail}, t.TempDir()
				s := open(t, dir, p)
				stop := run(t, s, to("https://client.test/hook?token=x"), fakeResults{})
				s.Delivered(request(1), result(1))
				time.Sleep(time.Minute) // of the test's own clock
				synctest.Wait()
				st := s.Stats()
				if p.count() != tt.attempts || st.Delivered != tt.delivered || st.Failed != 1-tt.delivered {
					t.Errorf("%d attempts, %+v, want %d attempts and %d delivered", p.count(), st, tt.attempts, tt.delivered)
				}
				for i, at := range p.attempts[1:] {
					if gap, least := at.Sub(p.attempts[i]), pause<<i; gap < least || gap > 2*least {
						t.Errorf("attempt %d came after %v, want %v to %v", i+2, gap, least, 2*least)
					}
				}
				stop()
				if n := notesIn(t, dir); n != 0 {
					t.Errorf("%d notes are left, want 0", n)
				}
			})
		})
	}
}

// Signatures are what a receiver would compute.
func TestSignature(t *testing.T) {
	type call struct {
		body   string
		header http.Header
	}
	calls := make(chan call, 1)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		calls <- call{string(b), r.Header}
	}))
	defer srv.Close()
	s := open(t, t.TempDir(), client(t, srv))
	defer run(t, s, to(srv.URL), fakeResults{})()
	s.Delivered(request(1), result(1))
	got := <-calls
	at := got.header.Get("Horde-Timestamp")
	m := hmac.New(sha256.New, []byte(Secret([]byte("0123456789abcdef"), 7)))
	m.Write([]byte(at + "." + got.body))
	if want := hex.EncodeToString(m.Sum(nil)); got.header.Get("Horde-Signature") != want || at == "" {
		t.Errorf("signature %q at %q, want %q", got.header.Get("Horde-Signature"), at, want)
	}
	if Secret([]byte("0123456789abcdef"), 7) == Secret([]byte("0123456789abcdef"), 8) {
		t.Error("two accounts have the same secret")
	}
	if got.header.Get("Content-Type") != "application/json" {
		t.Errorf("Content-Type %q", got.header.Get("Content-Type"))
	}
}

// client calls srv, and loopback only for tests.
func client(t *testing.T, srv *httptest.Server) *outbound.Client {
	p := outbound.Policy{HTTPS: true, Timeout: 300 * time.Millisecond, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	if srv != nil {
		p.RootCAs = srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	}
	c := outbound.New(p)
	t.Cleanup(c.Close)
	return c
}

// Targets that hang, answer without end or point inside cost the path of a submit nothing, and
// others still get theirs.
func TestEvilTargets(t *testing.T) {
	hang := make(chan struct{})
	var inside atomic.Int32
	in := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	defer in.Close()
	evil := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-hang
		case "/redirect":
			http.Redirect(w, r, in.URL, http.StatusTemporaryRedirect)
		case "/huge":
			chunk := make([]byte, 1<<20)
			for range 1 << 10 { // 1 GB
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}
	}))
	defer evil.Close()
	defer close(hang)
	good := make(chan string, 8)
	fine := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { good <- r.URL.Path }))
	defer fine.Close()
	s := open(t, t.TempDir(), client(t, evil))
	targets := []string{"/hang", "/redirect", "/huge"}
	render := func(_ context.Context, r *horde.Request, _ horde.Generation) (Message, error) {
		n := int(r.ID.UUID[1])
		if n >= 200 {
			return Message{Address: fine.URL + "/fine"}, nil
		}
		return Message{Address: evil.URL + targets[n%len(targets)]}, nil
	}
	defer run(t, s, render, fakeResults{})()
	var worst time.Duration
	for n := range 200 {
		began := time.Now()
		s.Delivered(request(byte(n)), result(byte(n)))
		worst = max(worst, time.Since(began))
	}
	s.Delivered(request(200), result(200))
	if worst > 100*time.Millisecond {
		t.Errorf("a Delivered took %v, want far less than an attempt", worst)
	}
	select {
	case <-good:
	case <-time.After(20 * time.Second):
		t.Error("the host that answers was never called")
	}
	if n := inside.Load(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

func TestHugeAnswerCountsAsTaken(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for range 1 << 10 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	if err := client(t, srv).Post(t.Context(), srv.URL, nil, nil, replyMost); err != nil {
		t.Errorf("Post = %v, want nil after the first bytes", err)
	}
}

// A host that fails is left alone, then tried once, and taken back when it answers.
func TestBreaker(t *testing.T) {
	b := &breaker{hosts: map[string]*health{}}
	now := time.Unix(1_800_000_000, 0)
	for n := range tripAfter {
		if !b.allow("a", now) {
			t.Fatalf("refused after %d failures", n)
		}
		b.done("a", false, now)
	}
	for _, step := range []struct {
		name  string
		after time.Duration
		want  bool
	}{
		{"at once", 0, false},
		{"just before the end", tripFor - 1, false},
		{"the probe", 1, true},
		{"during the probe", 0, false},
	} {
		now = now.Add(step.after)
		if got := b.allow("a", now); got != step.want {
			t.Errorf("%s: allow = %v, want %v", step.name, got, step.want)
		}
	}
	if !b.allow("b", now) {
		t.Error("another host is refused")
	}
	b.done("a", false, now)
	if now = now.Add(2*tripFor - 1); b.allow("a", now) {
		t.Error("allowed before the doubled pause is over")
	}
	now = now.Add(1)
	if !b.allow("a", now) {
		t.Error("not probed again")
	}
	b.done("a", true, now)
	for range 2 {
		if !b.allow("a", now) {
			t.Error("a host that answers is refused")
		}
	}
	for n := range 2 * maxHosts {
		b.done(fmt.Sprint(n), false, now)
	}
	if len(b.hosts) > maxHosts {
		t.Errorf("%d hosts are remembered, want %d at most", len(b.hosts), maxHosts)
	}
}

func TestFullQueueDrops(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, &fakePost{})
	for n := range queueSize + 10 {
		r := request(byte(n))
		r.ID.UUID[2] = byte(n >> 8)
		s.Delivered(r, result(byte(n)))
	}
	if st := s.Stats(); st.Queued != queueSize || st.Dropped != 10 {
		t.Errorf("%+v, want %d queued and 10 dropped", st, queueSize)
	}
	if n := notesIn(t, dir); n != queueSize {
		t.Errorf("%d notes, want %d", n, queueSize)
	}
}

// What a stopped node had taken on is sent by its next run, unless it is too old or gone.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, &fakePost{})
	for n := range byte(4) {
		first.Delivered(request(n), result(n)) // never run: the node is killed
	}
	old := filepath.Join(dir, request(2).ID.String()+"."+result(2).ID.String())
	long := time.Now().Add(-keepFor - time.Minute)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "stranger"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	left := fakeResults{}
	for n := range byte(3) { // the fourth request has expired
		left[request(n).ID] = horde.Status{Generations: []horde.Generation{result(n)}}
	}
	var mu sync.Mutex
	var got []string
	all := make(chan struct{})
	p := &fakePost{}
	render := func(_ context.Context, r *horde.Request, _ horde.Generation) (Message, error) {
		mu.Lock()
		defer mu.Unlock()
		if got = append(got, r.ID.String()); len(got) == 2 {
			close(all)
		}
		return Message{Address: "https://client.test/"}, nil
	}
	second := open(t, dir, p)
	stop := run(t, second, render, left)
	<-all
	stop()
	mu.Lock()
	defer mu.Unlock()
	want := []string{request(0).ID.String(), request(1).ID.String()}
	if len(got) != 2 || !strings.Contains(strings.Join(got, " "), want[0]) || !strings.Contains(strings.Join(got, " "), want[1]) {
		t.Errorf("resumed %v, want %v", got, want)
	}
	if n := notesIn(t, dir); n > 3 { // the stranger, and what the stop may have interrupted
		t.Errorf("%d files are left", n)
	}
}

// An address that is none, or inside, is never called.
func TestForbiddenTargets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := outbound.New(outbound.Policy{HTTPS: true})
	defer c.Close()
	s := open(t, t.TempDir(), c)
	defer run(t, s, to("https://"+l.Addr().String()+"/"), fakeResults{})()
	s.Delivered(request(1), result(1))
	for s.Stats().Failed == 0 {
		select {
		case <-t.Context().Done():
			t.Fatal("never given up")
		case <-time.After(time.Millisecond):
		}
	}
}
