package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"hordenode/cmd/hordenode/internal/load"
)

type benchAllCmd struct {
	Clients  int           `short:"c" help:"Clients at once." default:"32"`
	Duration time.Duration `help:"Of each run." default:"5s"`
	Rounds   int           `help:"Rounds over all modes; medians count." default:"3"`
	Queue    int           `help:"Requests waiting while pops are measured." default:"1000"`
	Nodes    []int         `help:"Sizes of the federations to compare." default:"1,3"`
	Keep     bool          `help:"Keep the nodes' data and logs, and say where they are."`
	JSON     bool          `name:"json" help:"Print JSON with every run instead of a table."`
}

// ledgerClients are the numbers of clients that etcd was measured with.
var ledgerClients = []int{1, 64, 1000}

// Run starts the federations and measures everything, interleaved.
func (c benchAllCmd) Run(a *app) (err error) {
	if c.Clients < 1 || c.Rounds < 1 || c.Duration <= 0 || c.Queue < 1 || len(c.Nodes) == 0 {
		return errors.New("want at least one client, round, request and federation, and some duration")
	}
	dir, err := os.MkdirTemp("", "hordenode-bench-")
	if err != nil {
		return err
	}
	defer func() {
		if c.Keep {
			a.log.InfoContext(a.ctx, "data and logs are kept", "dir", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	var groups [][]load.Step
	for _, n := range c.Nodes {
		if n < 1 || n > 7 {
			return fmt.Errorf("a federation of %d nodes does not fit on this machine: want 1 to 7", n)
		}
		a.log.InfoContext(a.ctx, "starting a federation", "nodes", n)
		nodes, stop, err := startNodes(a.ctx, dir, n)
		if err != nil {
			return err
		}
		defer stop()
		var urls []string
		for _, c := range nodes {
			urls = append(urls, c.url)
		}
		target, err := load.Connect(a.ctx, load.Setup{URLs: urls, Conns: 1000})
		if err != nil {
			return err
		}
		defer target.Close()
		groups = append(groups, c.steps(target, nodes))
	}
	b := bencher{app: a, duration: c.Duration, rounds: c.Rounds, clients: c.Clients, json: c.JSON}
	return b.run(alternate(groups))
}

// steps are all modes against one federation.
func (c benchAllCmd) steps(t *load.Target, children []*child) []load.Step {
	nodes := len(children)
	label := "1 node"
	if nodes > 1 {
		label = fmt.Sprintf("%d nodes", nodes)
	}
	step := func(mode string, run func(ctx context.Context) ([]load.Result, error)) load.Step {
		return load.Step{Name: mode + ", " + label, Run: func(ctx context.Context) ([]load.Result, error) {
			results, err := run(ctx)
			for i := range results {
				results[i].Label = label
			}
			return results, err
		}}
	}
	one := func(r load.Result, err error) ([]load.Result, error) { return []load.Result{r}, err }
	steps := []load.Step{
		step("async", func(ctx context.Context) ([]load.Result, error) { return one(t.Async(ctx, c.Clients, c.Duration)) }),
		step("pop and submit", func(ctx context.Context) ([]load.Result, error) {
			pops, submits, err := t.Drain(ctx, c.Clients, c.Queue, 2*c.Duration)
			return []load.Result{pops, submits}, err
		}),
		step("cycle", func(ctx context.Context) ([]load.Result, error) {
			before, err := processorTime(children)
			if err != nil {
				return nil, err
			}
			r, err := t.Cycle(ctx, c.Clients, c.Duration)
			if err != nil {
				return nil, err
			}
			after, err := processorTime(children)
			r.CPU = (after - before).Seconds() * 1000 / float64(r.Ops)
			return []load.Result{r}, err
		}),
	}
	for _, how := range []string{load.LongPoll, load.Events} {
		steps = append(steps, step(how, func(ctx context.Context) ([]load.Result, error) {
			return one(t.Watch(ctx, how, nodes > 1, watchers, c.Duration))
		}))
	}
	for _, n := range ledgerClients {
		steps = append(steps, step(fmt.Sprintf("ledger with %d clients", n), func(ctx context.Context) ([]load.Result, error) {
			return one(t.Ledger(ctx, n, c.Duration, ""))
		}))
	}
	return steps
}

// watchers are few, so that what is measured is the way and not the queue for a processor.
const watchers = 4

// processorTime is what all nodes have used so far.
func processorTime(nodes []*child) (sum time.Duration, err error) {
	for _, c := range nodes {
		_, cpu, err := c.usage()
		if err != nil {
			return 0, err
		}
		sum += cpu
	}
	return sum, nil
}

// alternate takes a step of each group in turn: A1 B1 A2 B2.
func alternate(groups [][]load.Step) (all []load.Step) {
	for i := 0; ; i++ {
		added := false
		for _, g := range groups {
			if i < len(g) {
				all = append(all, g[i])
				added = true
			}
		}
		if !added {
			return all
		}
	}
}
