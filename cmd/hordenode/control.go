package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// dataFlag says which node an operator's command talks to.
type dataFlag struct {
	Data string `help:"Data directory of the running node." default:"./hordenode-data" type:"path"`
}

// A control talks to the running node of a data directory over its unix socket. Who may
// open the socket may do everything; there is no other password.
type control struct {
	dir  string
	http *http.Client
}

func newControl(dir string) *control {
	socket := filepath.Join(dir, "control.sock")
	return &control{dir: dir, http: &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", socket)
			},
		},
	}}
}

// do asks the node and decodes its answer into out, which may be nil. Refusals come back
// as errors that read like sentences.
func (c *control) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	return c.send(ctx, method, path, body, out)
}

// send is do with a body as it is.
func (c *control) send(ctx context.Context, method, path string, body io.Reader, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("read the node's answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		var refused struct{ Message string }
		if json.Unmarshal(b, &refused) != nil || refused.Message == "" {
			refused.Message = "the node answered " + resp.Status
		}
		return errors.New(refused.Message)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decode the node's answer: %w", err)
	}
	return nil
}

// explain says what a failed connection means to an operator.
func (c *control) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, serr := os.Stat(c.dir); errors.Is(serr, fs.ErrNotExist) {
			return fmt.Errorf("there is no data directory %s (say which with --data)", c.dir)
		}
		return fmt.Errorf("no node runs in %s", c.dir)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the node of %s is not running", c.dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("not allowed to control the node of %s: run this as the node's user", c.dir)
	}
	return fmt.Errorf("ask the node of %s: %w", c.dir, err)
}

// printJSON writes what a --json flag asks for.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
