package p2p

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

func grant(int) error { return nil }

func TestReadFrame(t *testing.T) {
	full := errors.New("full")
	for _, tt := range []struct {
		name    string
		in      []byte
		limit   int
		reserve func(int) error
		want    string
		err     error
	}{
		{"empty frame", frame(), 10, grant, "", nil},
		{"small", frame([]byte("ab"), []byte("c")), 3, grant, "abc", nil},
		{"beyond the limit", frame([]byte("abcd")), 3, grant, "", ErrTooLarge},
		{"more than an int", bytes.Repeat([]byte{0xff}, 9), 3, grant, "", io.ErrUnexpectedEOF},
		{"huge announced", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, 1 << 30, grant, "", ErrTooLarge},
		{"nothing", nil, 3, grant, "", io.EOF},
		{"cut off", frame([]byte("abcd"))[:3], 10, grant, "", io.ErrUnexpectedEOF},
		{"no memory", frame(make([]byte, 1<<20)), 1 << 20, func(int) error { return full }, "", full},
		{"no memory is busy", frame(make([]byte, 1<<20)), 1 << 20, func(int) error { return full }, "", ErrBusy},
		{"little memory is not asked for", frame([]byte("x")), 10, func(int) error { return full }, "x", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readFrame(bufio.NewReader(bytes.NewReader(tt.in)), tt.limit, tt.reserve)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error = %v, want %v", err, tt.err)
			}
			if err == nil && string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whoever announces much and sends little costs little.
func TestReadFrameSpendsWhatArrives(t *testing.T) {
	in := frame(make([]byte, 64<<20))[:100]
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := readFrame(bufio.NewReader(bytes.NewReader(in)), 64<<20, grant); err == nil {
		t.Fatal("a frame that was cut off was read")
	}
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; spent > 1<<20 {
		t.Errorf("%d bytes were allocated for 100 received", spent)
	}
}

func TestParseResponse(t *testing.T) {
	body := func(frame []byte) []byte {
		b, err := readFrame(bufio.NewReader(bytes.NewReader(frame)), 1<<20, grant)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if got, err := parseResponse(body(okFrame([]byte("yes")))); err != nil || string(got) != "yes" {
		t.Errorf("ok response = %q, %v", got, err)
	}
	long := &RemoteError{Code: strings.Repeat("c", 2*maxCode), Msg: strings.Repeat("m", 2*maxMsg)}
	_, err := parseResponse(body(errorFrame(long)))
	if e, ok := errors.AsType[*RemoteError](err); !ok || len(e.Code) != maxCode || len(e.Msg) != maxMsg {
		t.Errorf("long error = %v", err)
	}
	if n := len(body(errorFrame(long))); n > maxErrorFrame {
		t.Errorf("error frame of %d bytes, want at most %d", n, maxErrorFrame)
	}
	if _, err := parseResponse(body(errorFrame(&RemoteError{Code: codeBusy}))); !errors.Is(err, ErrBusy) {
		t.Errorf("busy = %v, want ErrBusy", err)
	}
	for _, bad := range [][]byte{nil, {2}, {statusError}, {statusError, 5, 'a'}, {statusError, 0xff}, {statusError, 0xff, 0xff, 0xff}} {
		if _, err := parseResponse(bad); !errors.Is(err, errFrame) {
			t.Errorf("parseResponse(%v) = %v, want a malformed frame", bad, err)
		}
	}
}
