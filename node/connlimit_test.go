package node

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// pipes are a listener whose connections come from where the test says.
type pipes struct{ conns chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// from is a connection with an address.
type from struct {
	net.Conn
	addr string
}

func (f from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.addr)) }

func TestSecurity28ConnectionsPerAddress(t *testing.T) {
	in := pipes{make(chan net.Conn, 2)}
	l := limitConns(in, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	l.most, l.mostPer = 9, 2
	for i, tt := range []struct {
		addr string
		want bool
	}{
		{"192.0.2.1:1", true}, {"192.0.2.1:2", true}, {"192.0.2.1:3", false}, {"[::ffff:192.0.2.1]:4", false}, {"192.0.2.2:1", true},
		{"[2001:db8::1]:1", true}, {"[2001:db8::2]:1", true}, {"[2001:db8::3]:1", false}, {"[2001:db8:0:1::1]:1", true},
		{"10.0.0.1:1", true}, {"10.0.0.1:2", true}, {"10.0.0.1:3", true}, {"127.0.0.1:9", false}, // the last: nine are open
	} {
		if _, ok := l.enter(from{nil, tt.addr}.RemoteAddr()); ok != tt.want {
			t.Errorf("connection %d, %s: let in %v, want %v", i+1, tt.addr, ok, tt.want)
		}
	}
	l.leave(netip.MustParseAddr("192.0.2.1"))
	// One too many is closed and the next one taken; what is closed, even twice, makes room once.
	refused, server := net.Pipe()
	in.conns <- from{server, "192.0.2.2:2"}
	_, other := net.Pipe()
	in.conns <- from{other, "192.0.2.1:5"}
	l.mostPer = 1
	l.leave(netip.MustParseAddr("192.0.2.1"))
	c, err := l.Accept()
	if err != nil || c.RemoteAddr().String() != "192.0.2.1:5" {
		t.Fatalf("accepted %v, %v, want 192.0.2.1:5", c, err)
	}
	if _, err := refused.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection that is too much: %v, want it closed", err)
	}
	open := l.open
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	if l.open != open-1 || l.by[netip.MustParseAddr("192.0.2.1")] != 0 {
		t.Errorf("%d are open after one of %d was closed twice", l.open, open)
	}
	close(in.conns)
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener: %v", err)
	}
}

// A client that is slow with its headers is left, and HTTP/2, whose streams and resets would
// need limits of their own, is not spoken.
func TestSecurity28SlowHeadersAndHTTP2(t *testing.T) {
	srv := apiServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Proto", r.Proto) }))
	if srv.ReadHeaderTimeout <= 0 || srv.ReadHeaderTimeout > 10*time.Second || srv.IdleTimeout <= 0 || srv.MaxHeaderBytes > 64<<10 {
		t.Errorf("headers may take %s and %d bytes, idling %s", srv.ReadHeaderTimeout, srv.MaxHeaderBytes, srv.IdleTimeout)
	}
	if p := srv.Protocols; p == nil || !p.HTTP1() || p.HTTP2() || p.UnencryptedHTTP2() {
		t.Errorf("protocols %v, want HTTP/1 alone", p)
	}
	srv.ReadHeaderTimeout = 50 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	defer func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}()
	for _, sent := range []string{"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(bufio.NewReader(c))
		if err != nil || len(b) > 0 && string(b[:9]) != "HTTP/1.1 " {
			t.Errorf("%.10q: answered %.60q, %v, want the connection closed", sent, b, err)
		}
		_ = c.Close()
	}
}
