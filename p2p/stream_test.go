package p2p

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

const raftish = "/horde/raft/1.0.0"

func TestStreamLayerCarriesBothWays(t *testing.T) {
	a, b := startNode(t), startNode(t)
	la, lb := a.Streams(raftish), b.Streams(raftish)
	meet(t, a, b)
	if got := la.Addr().String(); got != string(a.ID()) {
		t.Errorf("Addr = %s, want %s", got, a.ID())
	}
	out, err := la.Dial(string(b.ID()), patience)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	in, err := lb.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		got  net.Addr
		want *node
	}{
		{"dialled, local", out.LocalAddr(), a}, {"dialled, remote", out.RemoteAddr(), b},
		{"accepted, local", in.LocalAddr(), b}, {"accepted, remote", in.RemoteAddr(), a},
	} {
		if tt.got.String() != string(tt.want.ID()) {
			t.Errorf("%s address = %s, want %s", tt.name, tt.got, tt.want.ID())
		}
	}
	buf := make([]byte, 4)
	if _, err := io.ReadFull(in, buf); err != nil || string(buf) != "ping" {
		t.Fatalf("accepted side read %q, %v", buf, err)
	}

	bulk := bytes.Repeat([]byte("snapshot"), 1<<17) // 1 MiB, more than a window
	wrote := make(chan error, 1)
	go func() {
		_, err := in.Write(bulk)
		wrote <- err
	}()
	got := make([]byte, len(bulk))
	if _, err := io.ReadFull(out, got); err != nil || !bytes.Equal(got, bulk) {
		t.Fatalf("dialled side read %d bytes, %v", len(got), err)
	}
	if err := receive(t, "write", wrote); err != nil {
		t.Fatal(err)
	}

	if err := out.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := out.Read(buf); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("Read past its deadline = %v, want a timeout", err)
	}

	if err := out.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := out.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
	if _, err := in.Read(buf); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Read after the peer's Close = %v, want a reset", err)
	}
}

func TestStreamLayerAsksTheGate(t *testing.T) {
	a, b := startNode(t), startNode(t)
	la, lb := a.Streams(raftish), b.Streams(raftish)
	meet(t, a, b)
	b.gate.silence(a.ID())
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := lb.Accept(); err == nil {
			accepted <- c
		}
	}()
	c, err := la.Dial(string(b.ID()), patience)
	if err == nil { // that the peer refuses shows when the stream is opened, or only later
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err = c.Write([]byte("vote for me")); err == nil {
			_, err = c.Read(make([]byte, 1))
		}
	}
	if err == nil || isTimeout(err) {
		t.Errorf("the stream ended with %v, want the peer's refusal", err)
	}
	select {
	case <-accepted:
		t.Error("the stream was accepted")
	default:
	}
}

func TestStreamLayerCloses(t *testing.T) {
	a, b := startNode(t), startNode(t)
	la, lb := a.Streams(raftish), b.Streams(raftish)
	meet(t, a, b)
	ended := make(chan error, 1)
	go func() {
		_, err := lb.Accept()
		ended <- err
	}()
	if err := lb.Close(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "Accept", ended); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v, want net.ErrClosed", err)
	}
	if _, err := lb.Dial(string(a.ID()), patience); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial = %v, want net.ErrClosed", err)
	}
	a.stop()
	if _, err := la.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after the host's Close = %v, want net.ErrClosed", err)
	}
}

func TestStreamLayerDialsAPeerThatIsBack(t *testing.T) {
	a, cfg := startNode(t), testConfig(t)
	la := a.Streams(raftish)
	b := start(t, cfg)
	meet(t, a, b)
	cfg.Listen = b.ListenAddrs()
	b.stop()
	eventually(t, "b lost", func() bool { return !a.peer(b.ID()).Connected })
	if _, err := la.Dial(string(b.ID()), time.Second); err == nil {
		t.Error("Dial of a dead peer succeeded")
	}
	b = start(t, cfg)
	lb := b.Streams(raftish)
	c, err := la.Dial(string(b.ID()), patience) // at once, whatever failed before
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	in, err := lb.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}
