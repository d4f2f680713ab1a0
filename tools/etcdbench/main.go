// Command etcdbench is the yardstick of `hordenode bench ledger`: three members of etcd v3.6
// on this machine and a load generator for them, in a module of its own so that nothing of it
// is a dependency of hordenode.
//
//	hordenode bench ledger ── one JSON question a line ──► etcdbench ── gRPC ──► etcd, etcd, etcd
//	                       ◄── one JSON answer a line ────            ── kill -9, start ──►
//
// The members are processes of this same program (etcdmain). They keep etcd's defaults, so
// every write is synced before it is answered; the heartbeat and election timeouts are
// etcd's, too: 100 ms and 1 s.
//
//	go build -C tools/etcdbench -o ../../bin/etcdbench .
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

// memberEnv makes this program a member of etcd; its arguments are etcd's.
const memberEnv = "ETCDBENCH_MEMBER"

func main() {
	if os.Getenv(memberEnv) != "" {
		etcdmain.Main(os.Args)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "etcdbench:", err)
		os.Exit(1)
	}
}

// A question is one line of the input.
type question struct {
	Op      string  `json:"op"`      // start, put, batch, get, fill, memory, kill-leader, kill-one, kill-all
	Dir     string  `json:"dir"`     // of start: where the members keep their data
	Clients int     `json:"clients"` // of put, batch and get
	Seconds float64 `json:"seconds"` // of put, batch and get
	Keys    int     `json:"keys"`    // of put, get and fill: how many there are
	Stale   bool    `json:"stale"`   // of get: a member's own state will do (serializable)
}

// An answer is one line of the output.
type answer struct {
	Ops     int     `json:"ops"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Errors  int     `json:"errors"`
	Bytes   int64   `json:"bytes,omitempty"`    // of memory: the largest member's
	Write   float64 `json:"write_ms,omitempty"` // of kill-*: until, or the longest without, a write
	Read    float64 `json:"read_ms,omitempty"`  // of kill-*: until, or the longest without, a member's own read
	Version string  `json:"version,omitempty"`  // of start
	Error   string  `json:"error,omitempty"`
}

// run answers questions until the input ends.
func run(ctx context.Context) error {
	c := &cluster{}
	defer c.stop()
	in := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	lines := make(chan []byte)
	go func() { // ends with the input
		defer close(lines)
		for in.Scan() {
			lines <- append([]byte(nil), in.Bytes()...)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, more := <-lines:
			if !more {
				return in.Err()
			}
			var q question
			if err := json.Unmarshal(line, &q); err != nil {
				return fmt.Errorf("read question: %w", err)
			}
			a, err := c.ask(ctx, q)
			if err != nil {
				a.Error = err.Error()
			}
			if err := out.Encode(a); err != nil {
				return fmt.Errorf("answer: %w", err)
			}
		}
	}
}

func (c *cluster) ask(ctx context.Context, q question) (answer, error) {
	if q.Op != "start" && c.client == nil {
		return answer{}, errors.New("not started")
	}
	switch q.Op {
	case "start":
		return c.start(ctx, q.Dir)
	case "put":
		return c.put(ctx, q)
	case "batch":
		return c.batch(ctx, q)
	case "get":
		return c.get(ctx, q)
	case "fill":
		return c.fill(ctx, q.Keys)
	case "memory":
		return c.memory()
	case "kill-leader":
		return c.killLeader(ctx)
	case "kill-one":
		return c.killOne(ctx)
	case "kill-all":
		return c.killAll(ctx)
	}
	return answer{}, fmt.Errorf("unknown question %q", q.Op)
}
