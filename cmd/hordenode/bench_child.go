package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hordenode/cmd/hordenode/internal/rest"
	"hordenode/cmd/hordenode/internal/simworker"
	"hordenode/node"
)

// A child is another process of this program: a node, or the calibration.
type child struct {
	url    string
	dir    string   // of a node
	env    []string // the program's, for another start
	args   []string
	cmd    *exec.Cmd
	exited chan struct{} // closed once err is set
	err    error
}

const (
	childStart = 30 * time.Second // most until a node serves
	childStop  = 15 * time.Second // most that it gets to stop; a node promises 10 s
)

// startChild runs this program with other arguments.
func startChild(out io.Writer, env []string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{env: env, args: args, cmd: exec.Command(self, args...), exited: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = out, out
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process, which stop waits for
		c.err = c.cmd.Wait()
		close(c.exited)
	}()
	return c, nil
}

// stop ends the process politely, then not, and waits for it.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	late := time.NewTimer(childStop)
	defer late.Stop()
	select {
	case <-c.exited:
	case <-late.C:
		_ = c.cmd.Process.Kill()
		<-c.exited
	}
}

// startCalibration runs the calibration server.
func startCalibration(ctx context.Context) (*child, error) {
	r, w := io.Pipe()
	c, err := startChild(w, nil, "bench", "calibration-server")
	if err != nil {
		return nil, err
	}
	first := make(chan string, 1)
	go func() { // ends when the pipe does
		s := bufio.NewScanner(r)
		if s.Scan() {
			first <- s.Text()
		}
		_, _ = io.Copy(io.Discard, r) // so that the child never blocks on its output
	}()
	go func() {
		<-c.exited
		_ = w.Close()
	}()
	select {
	case c.url = <-first:
		return c, nil
	case <-c.exited:
		return nil, fmt.Errorf("it ended: %w", c.err)
	case <-ctx.Done():
		c.stop()
		return nil, ctx.Err()
	}
}

// startNode runs a node on free ports with data and log under dir, and waits until it
// serves.
func startNode(ctx context.Context, dir, name, join string) (*child, error) {
	return startNodeAt(ctx, dir, name, join, "0", "0")
}

// startNodeAt is startNode on the given ports.
func startNodeAt(ctx context.Context, dir, name, join, api, p2p string) (_ *child, err error) {
	logs, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, logs.Close()) }() // the child has its own
	data := filepath.Join(dir, name)
	// The token is a secret, and arguments are for everybody to see.
	env := []string{"HORDE_TEST_APIKEYS=1", "HORDE_TEST_RATELIMIT_DISABLED=1", "HORDENODE_JOIN=" + join}
	c, err := startChild(logs, env, "run", "--data", data, "--api", "127.0.0.1:"+api, "--name", name,
		"--p2p", "/ip4/127.0.0.1/tcp/"+p2p, "--p2p", "/ip4/127.0.0.1/udp/"+p2p+"/quic-v1")
	if err != nil {
		return nil, err
	}
	c.dir = data
	if err := c.ready(ctx); err != nil {
		c.stop()
		return nil, fmt.Errorf("node %s: %w%s", name, err, lastLine(logs.Name()))
	}
	return c, nil
}

// ready waits until the node tells its address and serves there.
func (c *child) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, childStart)
	defer cancel()
	for {
		var s node.Status
		err := newControl(c.dir).do(ctx, http.MethodGet, "/status", nil, &s)
		if err == nil {
			c.url = s.URL
			if err = (&rest.Client{Base: s.URL}).Heartbeat(ctx); err == nil {
				return nil
			}
		}
		select {
		case <-c.exited:
			return fmt.Errorf("ended: %w", c.err)
		default:
		}
		if simworker.Sleep(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("does not serve: %w", err)
		}
	}
}

// startNodes starts n nodes, the first of which invites the others. The returned stop
// ends them all.
func startNodes(ctx context.Context, dir string, n int) (nodes []*child, stop func(), err error) {
	stop = func() {
		for i := len(nodes) - 1; i >= 0; i-- {
			nodes[i].stop()
		}
	}
	for i := range n {
		join := ""
		if i > 0 {
			if join, err = newControl(nodes[0].dir).invite(ctx, time.Hour, true); err != nil {
				stop()
				return nil, nil, fmt.Errorf("invite: %w", err)
			}
		}
		c, err := startNode(ctx, dir, fmt.Sprintf("bench%d-%d", n, i+1), join)
		if err != nil {
			stop()
			return nil, nil, err
		}
		nodes = append(nodes, c)
	}
	return nodes, stop, nil
}

// lastLine is the end of a log, for an error.
func lastLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(strings.TrimSpace(string(b))) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return ": " + lines[len(lines)-1]
}
