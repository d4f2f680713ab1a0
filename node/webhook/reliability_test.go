package webhook

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// Row 44 of the fault matrix: targets that hang, send their answer byte by byte, redirect inside
// or answer 1 GB. The path of a submit ends at the queue, each message ends in bounded time, and
// nothing inside is called.
func TestReliabilityRow44EvilTargets(t *testing.T) {
	var inside atomic.Int32
	in := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	defer in.Close()
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"byte by byte", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond) // it is slow on purpose
			}
		}},
		{"redirects inside", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, in.URL, http.StatusTemporaryRedirect)
		}},
		{"answers 1 GB", func(w http.ResponseWriter, _ *http.Request) {
			chunk := make([]byte, 1<<20)
			for range 1 << 10 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			evil := httptest.NewTLSServer(tt.answer)
			defer evil.Close()
			s := open(t, t.TempDir(), client(t, evil))
			const n = 3 * queueSize
			for i := range n { // before anybody sends: even so a submit does not wait
				r := request(byte(i))
				r.ID.UUID[2] = byte(i >> 8)
				s.Delivered(r, result(byte(i)))
			}
			if st := s.Stats(); st.Queued != queueSize || st.Dropped != n-queueSize {
				t.Errorf("%+v, want %d queued and the rest dropped", st, queueSize)
			}
			stop := run(t, s, func(context.Context, *horde.Request, horde.Generation) (Message, error) {
				return Message{Address: evil.URL + "/hook", Account: 7}, nil
			}, fakeResults{})
			defer stop()
			deadline := time.Now().Add(time.Minute)
			for {
				st := s.Stats()
				if st.Delivered+st.Failed == queueSize {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("after a minute %+v, want all %d at an end", st, queueSize)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	if n := inside.Load(); n != 0 {
		t.Errorf("what is inside was called %d times", n)
	}
}

// Where messages go is the client's secret: it may hold a password or a token. However an attempt
// ends, the log names request and job only.
func TestSecurity05AddressesStayOutOfLogs(t *testing.T) {
	refuses := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer refuses.Close()
	gone := httptest.NewTLSServer(http.NotFoundHandler())
	gone.Close()
	const user, path, query = "hunter2", "hidden-path", "token-12345"
	for name, base := range map[string]string{
		"refused": refuses.URL, "nobody there": gone.URL, "inside": "https://10.0.0.1", "no such name": "https://no-such-host.invalid", "no address": "https://%zz",
	} {
		var logs bytes.Buffer
		s, err := Open(Config{
			Dir: t.TempDir(), Secret: []byte("0123456789abcdef"), Post: client(t, refuses), Now: time.Now,
			Log: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{base + "/" + path + "?key=" + query, strings.Replace(base, "https://", "https://me:"+user+"@", 1) + "/"} {
			s.send(t.Context(), delivery{request(1), result(1)}, to(address))
		}
		for _, secret := range []string{user, path, query} {
			if strings.Contains(logs.String(), secret) {
				t.Errorf("%s: %q is in the log: %s", name, secret, &logs)
			}
		}
		if logs.Len() == 0 && name != "no address" {
			t.Errorf("%s: nothing was logged", name)
		}
	}
}
