package outbound

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"testing"
)

func TestHTTPObeysThePolicy(t *testing.T) {
	url, calls := serve(t, hello)
	shut := open(t, Policy{}).HTTP()
	if _, err := shut.Get(url); !errors.Is(err, ErrForbidden) || calls.Load() != 0 {
		t.Errorf("loopback: got %v and %d calls, want ErrForbidden and none", err, calls.Load())
	}
	if _, err := shut.Get("http://user:pass@example.com/"); !errors.Is(err, ErrForbidden) {
		t.Errorf("user name: got %v, want ErrForbidden", err)
	}
	c := open(t, Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Parallel: 1}).HTTP()
	for range 3 { // one turn at a time, given back each time
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != "hello" {
			t.Errorf("got %q, %v, want hello", body, err)
		}
		for range 2 {
			if err := res.Body.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	away, moved := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url, http.StatusFound) })
	if _, err := c.Get(away); !errors.Is(err, ErrRedirect) || moved.Load() != 1 {
		t.Errorf("redirect: got %v, want ErrRedirect", err)
	}
}
