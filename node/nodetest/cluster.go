package nodetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hordenode/internal/horde"
	"hordenode/node"
)

// A Cluster is some nodes of one federation. Its methods fail the test; they are for the
// test's own goroutine.
type Cluster struct {
	t     testing.TB
	Nodes []*Node

	change  []func(*node.Config)
	clients int // names of test users
	links   links
}

// A Node is one member: its directory and addresses stay, the process may come and go.
type Node struct {
	Name string
	t    testing.TB
	cfg  node.Config

	mu     sync.Mutex
	id     horde.NodeID // once it was started
	n      *node.Node
	cancel context.CancelFunc
	done   chan error
}

// New founds a federation of n nodes and waits until they are all in it and as many as
// should vote do. change is made to each node's configuration, also of those added later.
func New(t testing.TB, n int, change ...func(*node.Config)) *Cluster {
	t.Helper()
	c := &Cluster{t: t, change: change}
	for range n {
		c.Add()
	}
	c.WaitVoters()
	return c
}

// Add starts one more node, joined by an invitation of the first that runs. changes are made
// to its configuration.
func (c *Cluster) Add(changes ...func(*node.Config)) *Node {
	c.t.Helper()
	name := string(rune('a' + len(c.Nodes)))
	n := &Node{Name: name, t: c.t, cfg: Config(c.t, name)}
	for _, change := range c.change {
		change(&n.cfg)
	}
	if len(c.Nodes) > 0 {
		token, err := c.Any().node().Invite(time.Hour, true)
		if err != nil {
			c.t.Fatalf("invite %s: %v", name, err)
		}
		n.cfg.Join = token
	}
	n.cfg.Link = func(peer horde.NodeID) bool { return c.links.whole(n.ID(), peer) }
	for _, change := range changes {
		change(&n.cfg)
	}
	c.Nodes = append(c.Nodes, n)
	c.t.Cleanup(c.stopAll) // after Config made its directory: cleaned up before that is removed
	n.Start()
	return n
}

// Config is that of a node on free ports of this machine, in a directory of its own.
func Config(t testing.TB, name string) node.Config {
	cfg := node.DefaultConfig()
	cfg.Name = name
	cfg.Data = filepath.Join(t.TempDir(), name)
	cfg.API = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := freePort(t)
	cfg.P2P = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", p), fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", p)}
	cfg.TestAPIKeys, cfg.NoRateLimits = true, true
	cfg.AutopilotEvery = 100 * time.Millisecond
	cfg.TickEvery = 500 * time.Millisecond
	cfg.Log = logger(t, name)
	cfg.Out = io.Discard
	return cfg
}

// logger shows the nodes' logs when HORDENODE_TEST_LOG names a level; tests are quiet
// otherwise.
func logger(t testing.TB, name string) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv("HORDENODE_TEST_LOG"))); err != nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("node", name, "test", t.Name())
}

// Run starts one node with a configuration of the test's own and waits until it serves.
func Run(t testing.TB, cfg node.Config) *Node {
	t.Helper()
	n := &Node{Name: cfg.Name, t: t, cfg: cfg}
	t.Cleanup(n.Stop)
	n.Start()
	return n
}

// FreeAddress is an address of this machine that nobody listens on.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePort(t))
}

// Start runs the node and waits until it serves. A node that others need for a quorum is
// started with Launch instead.
func (n *Node) Start() {
	n.t.Helper()
	n.Launch()
	n.WaitReady()
}

// Launch runs the node without waiting.
func (n *Node) Launch() {
	n.t.Helper()
	nd, err := node.New(n.cfg)
	if err != nil {
		n.t.Fatalf("node %s: %v", n.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- nd.Run(ctx) }()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.n, n.cancel, n.done, n.id = nd, cancel, done, nd.ID()
}

// WaitReady waits until the node serves.
func (n *Node) WaitReady() {
	n.t.Helper()
	select {
	case <-n.node().Ready():
	case err := <-n.done:
		n.done <- err
		n.t.Fatalf("node %s ended: %v", n.Name, err)
	case <-time.After(30 * time.Second):
		n.t.Fatalf("node %s is not ready", n.Name)
	}
}

// Stop ends the node as SIGTERM does; stopping twice is harmless.
func (n *Node) Stop() {
	n.mu.Lock()
	cancel, done := n.cancel, n.done
	n.n, n.cancel, n.done = nil, nil, nil
	n.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel()
	if err := <-done; err != nil {
		n.t.Errorf("node %s: %v", n.Name, err)
	}
}

// stopAll stops all nodes at once, so that none waits for one that has gone before it.
func (c *Cluster) stopAll() {
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		wg.Go(n.Stop)
	}
	wg.Wait()
}

// Running tells whether the node was started and not stopped.
func (n *Node) Running() bool { return n.node() != nil }

// Data is the node's directory.
func (n *Node) Data() string { return n.cfg.Data }

// Invite makes a token for another node.
func (n *Node) Invite(t testing.TB, ttl time.Duration) string {
	t.Helper()
	token, err := n.node().Invite(ttl, true)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// URL is where the node's API is.
func (n *Node) URL() string { return "http://" + n.cfg.API }

func (n *Node) node() *node.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.n
}

// Any returns a node that runs.
func (c *Cluster) Any() *Node {
	c.t.Helper()
	for _, n := range c.Nodes {
		if n.Running() {
			return n
		}
	}
	c.t.Fatal("no node runs")
	return nil
}

// Leader returns the node that leads, waiting for an election if need be.
func (c *Cluster) Leader() *Node {
	c.t.Helper()
	var leader *Node
	c.Eventually("a leader", func() error {
		for _, n := range c.Nodes {
			if n.Running() && n.node().Status().Role == "leader" {
				leader = n
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return leader
}

// Follower returns a running node that does not lead.
func (c *Cluster) Follower() *Node {
	c.t.Helper()
	leader := c.Leader()
	for _, n := range c.Nodes {
		if n.Running() && n != leader {
			return n
		}
	}
	c.t.Fatal("no other node runs")
	return nil
}

// WaitVoters waits until one node votes, or three if there are as many.
func (c *Cluster) WaitVoters() {
	c.t.Helper()
	want := 1
	if len(c.Nodes) >= 3 {
		want = 3
	}
	c.Eventually("voters", func() error {
		got := 0
		for _, m := range c.Any().node().MemberList() {
			if m.Role == "leader" || m.Role == "voter" {
				got++
			}
		}
		if got != want {
			return fmt.Errorf("%d vote, want %d", got, want)
		}
		return nil
	})
}

// Eventually retries f until it returns nil. The time limit only bounds how long a broken
// build takes to fail.
func (c *Cluster) Eventually(what string, f func() error) {
	c.t.Helper()
	end := time.Now().Add(30 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// CheckLedger waits until all running nodes have applied the same, and checks that they
// agree on the state hash, that all postings sum to zero and that no account is below its
// floor (I1, I2, I4, I11 of the design).
func (c *Cluster) CheckLedger() {
	c.t.Helper()
	c.Eventually("equal ledgers", func() error {
		var seen []string
		for _, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			if err := n.node().CheckLedger(); err != nil {
				c.t.Fatalf("node %s: %v", n.Name, err)
			}
			index, hash := n.node().StateHash()
			seen = append(seen, fmt.Sprintf("%d %x", index, hash))
		}
		for _, s := range seen {
			if s != seen[0] {
				return fmt.Errorf("nodes differ: %s", strings.Join(seen, ", "))
			}
		}
		return nil
	})
}

// User returns what the node knows of an account.
func (n *Node) User(id horde.UserID) (horde.User, bool) { return n.node().User(id) }

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
