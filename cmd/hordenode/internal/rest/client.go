// Package rest speaks the AI Horde REST API v2 from the client's and the worker's side: as
// much of it as simulated workers, demo clients and the load generator need.
//
//	client   Async ──────────────────► Status … Status (done)
//	worker            Pop ──► Submit
//
// It knows paths, JSON shapes and errors; when to ask again is its callers' business.
package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds how much of an answer is read: a status with 20 base64 images fits.
const maxAnswer = 64 << 20

// A Client calls one node with one API key. Its fields are set before first use; it is
// then safe for concurrent use.
type Client struct {
	Base  string       // http://host:port, without a slash at the end
	Key   string       // API key; empty sends none
	Agent string       // Client-Agent header; empty sends none
	HTTP  *http.Client // nil: http.DefaultClient
}

// An Error is an answer other than 2xx.
type Error struct {
	Status     int
	RC         string        // AI Horde return code; may be empty
	Message    string        // for people
	RetryAfter time.Duration // 0 if the server did not say
}

func (e *Error) Error() string {
	if e.RC == "" {
		return fmt.Sprintf("%d: %s", e.Status, e.Message)
	}
	return fmt.Sprintf("%d %s: %s", e.Status, e.RC, e.Message)
}

// Temporary tells whether asking again later, or at another node, may help.
func (e *Error) Temporary() bool {
	return e.Status == http.StatusTooManyRequests || e.Status >= 500
}

// HasRC tells whether err is an Error with the given return code.
func HasRC(err error, rc string) bool {
	var e *Error
	return errors.As(err, &e) && e.RC == rc
}

// Do sends in as JSON (nothing if nil) to path and decodes a 2xx answer into out (nil: the
// body is thrown away). It returns an *Error for any other status.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode %s %s: %w", method, path, err)
		}
	}
	return c.DoRaw(ctx, method, path, body, out)
}

// DoRaw is Do with a body that is JSON already.
func (c *Client) DoRaw(ctx context.Context, method, path string, body []byte, out any) error {
	var rd io.Reader
	if body != nil {
		rd = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, rd)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Key != "" {
		req.Header.Set("apikey", c.Key)
	}
	if c.Agent != "" {
		req.Header.Set("Client-Agent", c.Agent)
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return err // a *url.Error: it names method and address
	}
	defer drain(resp.Body)
	if resp.StatusCode/100 != 2 {
		return refusal(resp)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("decode answer to %s %s: %w", method, path, err)
	}
	return nil
}

// Upload puts data at a presigned URL the way real workers do: a bare PUT without a
// Content-Type, answered by exactly 200.
func (c *Client) Upload(ctx context.Context, url string, data []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	return nil
}

func (c *Client) http() *http.Client {
	if c.HTTP != nil {
		return c.HTTP
	}
	return http.DefaultClient
}

// drain lets the connection be used again.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 256<<10) // a longer rest costs the connection, no more
	_ = body.Close()
}

// refusal reads an error answer; a body that is not the API's JSON becomes its message.
func refusal(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header, time.Now())}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var body struct {
		Message string         `json:"message"`
		RC      string         `json:"rc"`
		Errors  map[string]any `json:"errors"`
	}
	switch {
	case err != nil:
		e.Message = err.Error()
	case json.Unmarshal(b, &body) == nil && body.Message != "":
		e.RC, e.Message = body.RC, body.Message
		for field, why := range body.Errors {
			e.Message += fmt.Sprintf(" [%s: %v]", field, why)
		}
	default:
		e.Message = strings.TrimSpace(string(b[:min(len(b), 200)]))
	}
	if e.Message == "" {
		e.Message = http.StatusText(resp.StatusCode)
	}
	return e
}

// retryAfter reads the header in either form (RFC 9110 section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 {
		return time.Duration(s * float64(time.Second))
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}
