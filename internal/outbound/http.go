package outbound

import (
	"fmt"
	"io"
	"net/http"
)

// HTTP returns a client for libraries that make their calls themselves. It obeys the same
// policy: every address is checked, again when its socket connects, calls wait for their
// turn, and redirects are followed only as far as the policy says.
func (c *Client) HTTP() *http.Client {
	return &http.Client{Transport: guarded{c}, Timeout: c.policy.Timeout, CheckRedirect: c.redirect}
}

// guarded is a Client as an http.RoundTripper.
type guarded struct{ c *Client }

// RoundTrip makes one call. The turn ends when the answer's body is closed.
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.c.CheckURL(r.URL); err != nil {
		return nil, err
	}
	leave, err := g.c.enter(r.Context())
	if err != nil {
		return nil, fmt.Errorf("wait for a turn: %w", err)
	}
	res, err := g.c.pool.RoundTrip(r)
	if err != nil {
		leave()
		return nil, err
	}
	res.Body = &turn{ReadCloser: res.Body, leave: leave}
	return res, nil
}

// turn is a body that gives its turn back when it is closed.
type turn struct {
	io.ReadCloser
	leave func()
}

// Close closes the body. Closing it again does nothing but that.
func (t *turn) Close() error {
	if t.leave != nil {
		t.leave()
		t.leave = nil
	}
	return t.ReadCloser.Close()
}
