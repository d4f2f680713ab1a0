package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// A Policy says whom a Client may call, and how much it bears. The zero value allows public
// hosts on ports 80 and 443, follows no redirects and waits for 10 s.
type Policy struct {
	HTTPS     bool           // refuse http://, also after a redirect
	Ports     []uint16       // allowed; nil: 80 and 443
	Redirects int            // followed; each hop is checked like the first
	Timeout   time.Duration  // of a call with its redirects and its body; 0: 10 s
	Parallel  int            // calls at once, more wait for their turn; 0: 32
	Allow     []netip.Prefix // networks that may be called on any port though they are not public

	// Own returns addresses of this machine, which are refused although they may be public;
	// nil: none. Interfaces is meant for it.
	Own func() []netip.Addr

	RootCAs  *x509.CertPool // nil: the system's
	Resolver *net.Resolver  // nil: the system's
}

// ErrTooLarge is returned for an answer that is longer than it may be.
var ErrTooLarge = errors.New("the answer is too long")

// ErrRedirect is returned for a redirect too many.
var ErrRedirect = errors.New("too many redirects")

// A Client calls public hosts only. It may be used from many goroutines.
type Client struct {
	policy Policy
	http   *http.Client
	pool   *http.Transport
	turns  chan struct{} // holds as many as calls are under way
}

// New returns a client that obeys p.
func New(p Policy) *Client {
	if p.Ports == nil {
		p.Ports = []uint16{80, 443}
	}
	if p.Timeout == 0 {
		p.Timeout = 10 * time.Second
	}
	if p.Parallel == 0 {
		p.Parallel = 32
	}
	c := &Client{policy: p, turns: make(chan struct{}, p.Parallel)}
	dialer := &net.Dialer{Timeout: p.Timeout, Resolver: p.Resolver, Control: c.control}
	c.pool = &http.Transport{
		// No Proxy: one would be asked to connect where we may not.
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.RootCAs},
		TLSHandshakeTimeout:    p.Timeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what is counted is what is sent
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           32,
		MaxIdleConnsPerHost:    2,
		MaxConnsPerHost:        8,
		IdleConnTimeout:        30 * time.Second,
	}
	c.http = &http.Client{Transport: c.pool, Timeout: p.Timeout, CheckRedirect: c.redirect}
	return c
}

// Close drops idle connections.
func (c *Client) Close() { c.pool.CloseIdleConnections() }

// control runs when a name has been resolved and a socket is about to connect: what DNS says
// by now is what is checked, whatever it said before.
func (c *Client) control(network, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || (network != "tcp4" && network != "tcp6") {
		return fmt.Errorf("%w: %s %s", ErrForbidden, network, address)
	}
	ip := at.Addr()
	if slices.ContainsFunc(c.policy.Allow, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return nil
	}
	if !slices.Contains(c.policy.Ports, at.Port()) {
		return fmt.Errorf("%w: port %d", ErrForbidden, at.Port())
	}
	if err := Check(ip); err != nil {
		return err
	}
	if c.policy.Own != nil && slices.Contains(c.policy.Own(), ip) {
		return fmt.Errorf("%w: %s is this machine", ErrForbidden, ip)
	}
	return nil
}

func (c *Client) redirect(r *http.Request, before []*http.Request) error {
	if len(before) > c.policy.Redirects {
		return ErrRedirect
	}
	return c.CheckURL(r.URL)
}

// CheckURL refuses, with ErrForbidden, addresses that would be refused whatever they resolve
// to: other schemes, no host, a user name or password.
func (c *Client) CheckURL(u *url.URL) error {
	switch {
	case u.Scheme != "https" && (c.policy.HTTPS || u.Scheme != "http"):
		return fmt.Errorf("%w: scheme %q", ErrForbidden, u.Scheme)
	case u.Hostname() == "":
		return fmt.Errorf("%w: no host", ErrForbidden)
	case u.User != nil:
		return fmt.Errorf("%w: it has a user name", ErrForbidden)
	}
	return nil
}

// Get reads what is at an address, most bytes at most: ErrTooLarge, ErrForbidden,
// ErrRedirect, a *StatusError, or what the network says. No error holds the address, which
// may have secrets in its query.
func (c *Client) Get(ctx context.Context, address string, most int64) ([]byte, error) {
	leave, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	res, err := c.do(ctx, http.MethodGet, address, nil, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, &StatusError{res.StatusCode}
	}
	if res.ContentLength > most {
		return nil, ErrTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", bare(err))
	case int64(len(data)) > most:
		return nil, ErrTooLarge
	}
	return data, nil
}

// Post sends a body and reads most bytes of the answer, which is thrown away so that the
// connection can be used again. A status from 300 on is a *StatusError; other errors as for
// Get.
func (c *Client) Post(ctx context.Context, address string, header http.Header, body []byte, most int64) error {
	leave, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	res, err := c.do(ctx, http.MethodPost, address, header, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, most)); err != nil {
		return fmt.Errorf("read the answer: %w", bare(err))
	}
	if res.StatusCode >= 300 {
		return &StatusError{res.StatusCode}
	}
	return nil
}

// enter waits for a turn.
func (c *Client) enter(ctx context.Context) (leave func(), err error) {
	select {
	case c.turns <- struct{}{}:
		return func() { <-c.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Client) do(ctx context.Context, method, address string, header http.Header, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: not an address", ErrForbidden)
	}
	if err := c.CheckURL(r.URL); err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", "hordenode")
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, bare(err)
	}
	return res, nil
}

// bare takes the address out of an error of net/http.
func bare(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// A StatusError is an answer that is no success.
type StatusError struct{ Status int }

func (e *StatusError) Error() string { return fmt.Sprintf("status %d", e.Status) }

// Interfaces returns the addresses of this machine's interfaces; none if they cannot be
// listed.
func Interfaces() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr())
		}
	}
	return own
}
