package api

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// Row 9: nothing decodes pixels, and what large bodies take together is bounded, of one client
// and of all; what is refused comes to nothing, and the room comes back.
func TestSecurity09LargeBodiesShareABudget(t *testing.T) {
	read := func(b *bulk, client string, megabytes int) (*bulkBody, error) {
		body := &bulkBody{ReadCloser: io.NopCloser(io.LimitReader(&zeros{}, int64(megabytes)<<20)), bulk: b, client: func() string { return client }}
		_, err := io.Copy(io.Discard, body)
		return body, err
	}
	b := newBulk(64 << 20)
	first, err := read(b, "x", 20)
	if err != nil {
		t.Fatalf("one body of 20 MB: %v", err)
	}
	if _, err := read(b, "x", 20); err != errBulk {
		t.Errorf("a client's second large body: %v, want %v", err, errBulk)
	}
	if _, err := read(b, "x", 1); err != nil {
		t.Errorf("a small body: %v, want that it is never refused", err)
	}
	if _, err := read(b, "y", 20); err != nil {
		t.Errorf("another client's: %v", err)
	}
	if _, err := read(b, "z", 20); err != errBulk {
		t.Errorf("more than all may have: %v, want %v", err, errBulk)
	}
	if b.used > b.most {
		t.Errorf("%d bytes are in use, want %d at most", b.used, b.most)
	}
	first.free()
	first.free()
	if _, err := read(b, "x", 2); err != nil {
		t.Errorf("after the first was answered: %v", err)
	}
}

func TestSecurity09BudgetFitsTheMemory(t *testing.T) {
	for _, tt := range []struct{ limit, want int64 }{
		{0, 32 << 20},
		{150 << 20, 32 << 20}, // a container of 256 MB
		{2 << 30, 128 << 20},
		{1<<63 - 1, 256 << 20}, // no limit
	} {
		if got := bulkOf(tt.limit); got != tt.want {
			t.Errorf("bulkOf(%d) = %d, want %d", tt.limit, got, tt.want)
		}
	}
}

// Many large bodies at once: as many as fit are taken, the others are told to come again, and
// the heap stays where the budget puts it. Afterwards all room is back.
func TestSecurity09ManyLargeBodiesAtOnce(t *testing.T) {
	const n, size, budget = 24, 8 << 20, 32 << 20
	const fit = 2 // of one client: 20 MB, a megabyte of each not counted
	h := newHarness(t, func(c *Config) { c.LargeBodies = budget })
	srv := httptest.NewServer(h.s.Handler())
	defer srv.Close()
	before := memory()
	done := make(chan int, n)
	finish := make(chan struct{})
	for range n {
		go func() {
			r, w := io.Pipe()
			go func() {
				chunk := make([]byte, 64<<10)
				for sent := 0; sent < size; sent += len(chunk) {
					if _, err := w.Write(chunk); err != nil {
						return
					}
				}
				<-finish
				w.Close()
			}()
			res, err := http.Post(srv.URL+"/api/v2/generate/submit", "application/json", r)
			if err != nil { // the node closed the connection that it refused
				done <- http.StatusServiceUnavailable
				return
			}
			res.Body.Close()
			done <- res.StatusCode
		}()
	}
	codes := map[int]int{}
	for range n - fit { // these are refused, whatever the order
		select {
		case code := <-done:
			codes[code]++
		case <-time.After(time.Minute):
			close(finish)
			t.Fatalf("answers after a minute: %v, want %d refusals", codes, n-fit)
		}
	}
	runtime.GC()
	if used := memory() - before; used > 4*budget {
		t.Errorf("%d bodies of %d bytes take %d bytes, want about twice the budget of %d", n, size, used, budget)
	}
	close(finish)
	for range fit {
		codes[<-done]++
	}
	if codes[http.StatusServiceUnavailable] < n-fit {
		t.Errorf("answers %v, want %d or more of 503", codes, n-fit)
	}
	waitFor(t, "all room is back", func() bool {
		h.s.bulk.mu.Lock()
		defer h.s.bulk.mu.Unlock()
		return h.s.bulk.used == 0 && len(h.s.bulk.by) == 0
	})
}

// A refusal says so, in the usual form, and the upload of an image gets the same.
func TestSecurity09RefusalTellsToComeAgain(t *testing.T) {
	h := newHarness(t)
	h.s.bulk = newBulk(0)
	h.s.bulk.perClient = 0
	large := `{"prompt":"` + strings.Repeat("x", 2<<20) + `"}`
	a := h.do("POST", "/api/v2/generate/async", aliceKey, large)
	a.wants(http.StatusServiceUnavailable, horde.RCUnavailable)
	if a.header.Get("Connection") != "close" {
		t.Error("the rest of the body is waited for")
	}
	u := h.s.blobURL(httptest.NewRequest("GET", "/", nil), http.MethodPut, "some-job")
	h.do("PUT", u[strings.Index(u, "/api/"):], "", large).wants(http.StatusServiceUnavailable, horde.RCUnavailable)
}

// A body of 1 GB and clients that send theirs byte by byte cost other clients nothing.
func TestSecurity28SlowAndEndlessBodiesHoldNobodyUp(t *testing.T) {
	h := newHarness(t)
	srv := httptest.NewServer(h.s.Handler())
	defer srv.Close()
	var conns []net.Conn
	for _, length := range []int{1 << 30, 20 << 20, 20 << 20, 100} { // announced
		for range 8 {
			c, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := fmt.Fprintf(c, "POST /api/v2/generate/async HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", length); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
	}
	before := memory()
	res, err := http.Get(srv.URL + "/api/v2/status/heartbeat")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("heartbeat beside them = %v, %v", res, err)
	}
	res.Body.Close()
	if err := conns[0].SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conns[0])
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 413 ") {
		t.Errorf("a body of 1 GB: %.40q, %v, want 413 at once and the end", answer, err)
	}
	if used := memory() - before; used > 32<<20 {
		t.Errorf("announced bodies take %d bytes", used)
	}
}
