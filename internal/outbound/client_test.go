package outbound

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// serve starts a server on loopback and counts its calls.
func serve(t *testing.T, h http.HandlerFunc) (url string, calls *atomic.Int32) {
	t.Helper()
	calls = &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, calls
}

func open(t *testing.T, p Policy) *Client {
	c := New(p)
	t.Cleanup(c.Close)
	return c
}

func hello(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }

// However loopback is spelled, nothing arrives there.
func TestSpellings(t *testing.T) {
	base, calls := serve(t, hello)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(base, "http://"))
	n, _ := strconv.Atoi(port)
	c := open(t, Policy{Ports: []uint16{uint16(n)}, Timeout: 2 * time.Second})
	for _, host := range []string{
		"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001",
		"0", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "127.0.0.1.", "①②⑦.⓪.⓪.①",
	} {
		if _, err := c.Get(t.Context(), "http://"+host+":"+port+"/", 10); err == nil {
			t.Errorf("%s was called", host)
		}
	}
	if got := calls.Load(); got != 0 {
		t.Errorf("%d calls arrived, want 0", got)
	}
}

func TestAllowList(t *testing.T) {
	base, calls := serve(t, hello)
	c := open(t, Policy{Allow: loopback})
	got, err := c.Get(t.Context(), base, 10)
	if string(got) != "hello" || err != nil || calls.Load() != 1 {
		t.Errorf("Get = %q, %v after %d calls, want hello", got, err, calls.Load())
	}
}

func TestCheckURL(t *testing.T) {
	plain, secure := open(t, Policy{Allow: loopback}), open(t, Policy{HTTPS: true, Allow: loopback})
	for _, tt := range []struct {
		c   *Client
		url string
	}{
		{plain, "ftp://127.0.0.1/"}, {plain, "file:///etc/passwd"}, {plain, "gopher://127.0.0.1/"}, {plain, "http:///x"},
		{plain, "http://user:secret@127.0.0.1/"}, {plain, "//127.0.0.1/"}, {plain, "http://127.0.0.1:99999/"}, {plain, "http://%zz/"},
		{secure, "http://127.0.0.1/"},
	} {
		_, err := tt.c.Get(t.Context(), tt.url, 10)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("Get(%s) = %v, want a refusal without the address", tt.url, err)
		}
	}
}

func TestPorts(t *testing.T) {
	c := open(t, Policy{Timeout: 100 * time.Millisecond})
	for _, tt := range []struct {
		address string
		ok      bool
	}{
		{"1.1.1.1:443", true}, {"1.1.1.1:80", true}, {"1.1.1.1:25", false}, {"1.1.1.1:6379", false}, {"1.1.1.1:0", false},
		{"[2606:4700::1111]:443", true}, {"[::1]:443", false}, {"nonsense", false},
	} {
		network := "tcp4"
		if strings.HasPrefix(tt.address, "[") {
			network = "tcp6"
		}
		if err := c.control(network, tt.address, nil); (err == nil) != tt.ok {
			t.Errorf("control(%s) = %v, want allowed %v", tt.address, err, tt.ok)
		}
	}
	if err := c.control("udp4", "1.1.1.1:443", nil); !errors.Is(err, ErrForbidden) {
		t.Errorf("UDP: %v, want ErrForbidden", err)
	}
	own := open(t, Policy{Own: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("1.1.1.1")} }})
	if err := own.control("tcp4", "1.1.1.1:443", nil); !errors.Is(err, ErrForbidden) {
		t.Errorf("own address: %v, want ErrForbidden", err)
	}
}

func TestRedirects(t *testing.T) {
	inside, calls := serve(t, hello)
	// Only the first server is allowed; the second stands for a host inside.
	var target string
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("no second loopback address here")
	}
	front := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, _ := strconv.Atoi(r.URL.Query().Get("n")); n > 0 {
			http.Redirect(w, r, fmt.Sprintf("/?n=%d", n-1), http.StatusFound)
			return
		}
		if r.URL.Path == "/in" {
			http.Redirect(w, r, target, http.StatusTemporaryRedirect)
			return
		}
		hello(w, r)
	})}}
	front.Start()
	t.Cleanup(front.Close)
	only := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	for _, tt := range []struct {
		name      string
		redirects int
		path      string
		target    string
		want      error
	}{
		{"none needed", 0, "/", "", nil},
		{"none allowed", 0, "/?n=1", "", ErrRedirect},
		{"as many as allowed", 3, "/?n=3", "", nil},
		{"one too many", 3, "/?n=4", "", ErrRedirect},
		{"to a host inside", 3, "/in", inside, ErrForbidden},
		{"to another scheme", 3, "/in", "file:///etc/passwd", ErrForbidden},
		{"to a name with a password", 3, "/in", "http://a:b@127.0.0.2/", ErrForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target = tt.target
			c := open(t, Policy{Redirects: tt.redirects, Allow: only})
			if _, err := c.Get(t.Context(), front.URL+tt.path, 10); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("Get = %v, want %v", err, tt.want)
			}
		})
	}
	if got := calls.Load(); got != 0 {
		t.Errorf("%d calls arrived inside, want 0", got)
	}
}

func TestBounds(t *testing.T) {
	hang := make(chan struct{})
	base, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exact":
			io.WriteString(w, strings.Repeat("x", 100))
		case "/announced":
			w.Header().Set("Content-Length", "101")
			io.WriteString(w, strings.Repeat("x", 101))
		case "/endless":
			for chunk := make([]byte, 1<<16); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		case "/hang":
			<-hang
		case "/drip":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-hang
		case "/gone":
			w.WriteHeader(http.StatusGone)
		}
	})
	t.Cleanup(func() { close(hang) })
	c := open(t, Policy{Allow: loopback, Timeout: 200 * time.Millisecond})
	var status *StatusError
	for _, tt := range []struct {
		path string
		want func(error) bool
	}{
		{"/exact", func(err error) bool { return err == nil }},
		{"/announced", func(err error) bool { return errors.Is(err, ErrTooLarge) }},
		{"/endless", func(err error) bool { return errors.Is(err, ErrTooLarge) }},
		{"/hang", isTimeout},
		{"/drip", isTimeout},
		{"/gone", func(err error) bool { return errors.As(err, &status) && status.Status == http.StatusGone }},
	} {
		if _, err := c.Get(t.Context(), base+tt.path, 100); !tt.want(err) {
			t.Errorf("Get %s = %v", tt.path, err)
		}
	}
	if err := c.Post(t.Context(), base+"/endless", nil, []byte("x"), 1<<10); err != nil {
		t.Errorf("Post to an endless answer = %v, want nil", err)
	}
	if err := c.Post(t.Context(), base+"/gone", nil, nil, 10); !errors.As(err, &status) {
		t.Errorf("Post = %v, want a StatusError", err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// A name that resolves to a public address first and to loopback when it counts.
func TestRebinding(t *testing.T) {
	base, calls := serve(t, hello)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(base, "http://"))
	n, _ := strconv.Atoi(port)
	var asked atomic.Int32
	dns := nameServer(t, func() [4]byte {
		if asked.Add(1) == 1 {
			return [4]byte{1, 1, 1, 1}
		}
		return [4]byte{127, 0, 0, 1}
	})
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", dns)
	}}
	if first, err := resolver.LookupNetIP(t.Context(), "ip4", "rebind.test"); err != nil || first[0] != netip.MustParseAddr("1.1.1.1") {
		t.Fatalf("first answer %v, %v, want 1.1.1.1", first, err)
	}
	c := open(t, Policy{Ports: []uint16{uint16(n)}, Resolver: resolver, Timeout: 2 * time.Second})
	_, err := c.Get(t.Context(), "http://rebind.test:"+port+"/", 10)
	if !errors.Is(err, ErrForbidden) || calls.Load() != 0 {
		t.Errorf("Get = %v, %d calls, want ErrForbidden and none", err, calls.Load())
	}
	if asked.Load() < 2 {
		t.Error("the name was not asked for again")
	}
}

// nameServer answers every question for an IPv4 address with addr(), to be kept for 0 s.
func nameServer(t *testing.T, addr func() [4]byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			end := 12
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			end += 5 // root label, type, class
			kind := binary.BigEndian.Uint16(buf[end-4:])
			res := append([]byte{}, buf[:end]...)
			res[2], res[3] = 0x81, 0x80
			clear(res[6:12])
			if kind == 1 {
				ip := addr()
				res[7] = 1
				res = append(res, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				res = append(res, ip[:]...)
			}
			if _, err := conn.WriteTo(res, from); err != nil {
				return
			}
		}
	}()
	return conn.LocalAddr().String()
}
