package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"hordenode/cmd/hordenode/internal/load"
)

// benchOwn are the flags of modes that start a federation of their own, whose processes they
// look at.
type benchOwn struct {
	JSON bool `name:"json" help:"Print JSON instead of a table."`
}

type benchGrowthCmd struct {
	benchOwn `embed:""`
	Sizes    []int         `help:"Requests waiting, smallest first." default:"1000,10000,100000,1000000"`
	Duration time.Duration `help:"Of each measurement." default:"2s"`
	SVG      string        `name:"svg" help:"Draw the curve into this file." placeholder:"FILE"`
}

// Run measures pops over growing queues.
func (c benchGrowthCmd) Run(a *app) error {
	if len(c.Sizes) == 0 || c.Sizes[0] < 100 || !slices.IsSorted(c.Sizes) || c.Duration <= 0 {
		return errors.New("want sizes from 100, smallest first, and some duration")
	}
	users := load.GrowthUsers(c.Sizes[len(c.Sizes)-1])
	return withFederation(a, 1, load.Setup{Users: users, Workers: 64, Conns: 128}, func(t *load.Target, nodes []*child) error {
		g, err := t.Growth(a.ctx, c.Sizes, c.Duration, nodes[0].usage, func(p load.GrowthPoint) {
			a.log.InfoContext(a.ctx, "pops", "waiting", p.Queue, "workers", p.Workers, "models", p.Models, "ops_s", int(p.Rate),
				"p50_ms", p.P50, "p99_ms", p.P99, "rss_mb", p.RSS>>20)
		})
		if err != nil {
			return err
		}
		g.Machine = machine()
		if c.SVG != "" {
			if err := drawTo(c.SVG, g); err != nil {
				return fmt.Errorf("draw the curve: %w", err)
			}
		}
		if c.JSON {
			return printJSON(a.stdout, g)
		}
		return g.Markdown(a.stdout)
	})
}

func drawTo(path string, g load.Growth) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return g.SVG(f)
}

type benchWaitersCmd struct {
	benchOwn `embed:""`
	Count    int           `short:"n" help:"Clients that wait." default:"20000"`
	Quiet    time.Duration `help:"How long they wait before something happens." default:"10s"`
}

// Run measures what waiting clients cost.
func (c benchWaitersCmd) Run(a *app) error {
	if c.Count < 1 || c.Quiet <= 0 || c.Quiet > 50*time.Second {
		return errors.New("want at least one client, and up to 50 seconds")
	}
	return withFederation(a, 1, load.Setup{Conns: 64}, func(t *load.Target, nodes []*child) error {
		crowd, err := t.Crowd(a.ctx, c.Count, c.Quiet, nodes[0].usage)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(a.stdout, crowd)
		}
		_, err = fmt.Fprintf(a.stdout, "%d clients waited: %.1f kB each, %.3f cores while nothing happened; %d got their answers within %.0f ms.\n",
			crowd.Waiters, crowd.Bytes/1000, crowd.CPU, crowd.Answered, crowd.AnswerIn)
		return err
	})
}

// withFederation starts nodes, prepares accounts and workers, and ends all of it afterwards.
func withFederation(a *app, n int, setup load.Setup, run func(*load.Target, []*child) error) (err error) {
	dir, err := os.MkdirTemp("", "hordenode-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	nodes, stop, err := startNodes(a.ctx, dir, n)
	if err != nil {
		return err
	}
	defer stop()
	for _, c := range nodes {
		setup.URLs = append(setup.URLs, c.url)
	}
	target, err := load.Connect(a.ctx, setup)
	if err != nil {
		return err
	}
	defer target.Close()
	if err := run(target, nodes); err != nil {
		if cause := context.Cause(a.ctx); cause != nil {
			return errors.New("stopped before the end")
		}
		return err
	}
	return nil
}

func machine() string {
	return fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// usage is what the process uses: load.Usage. Linux only.
func (c *child) usage() (rss int64, cpu time.Duration, err error) {
	proc := fmt.Sprintf("/proc/%d/", c.cmd.Process.Pid)
	stat, err := os.ReadFile(proc + "stat")
	if err != nil {
		return 0, 0, fmt.Errorf("usage of a node: %w", err)
	}
	// Behind the name, which is in parentheses: state, ..., utime is the 12th, stime the 13th.
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	if len(f) < 22 {
		return 0, 0, fmt.Errorf("usage of a node: %d fields", len(f))
	}
	var ticks int64
	for _, s := range f[11:13] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("usage of a node: %w", err)
		}
		ticks += n
	}
	pages, err := strconv.ParseInt(f[21], 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("usage of a node: %w", err)
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Go runs on Linux
	return pages * int64(os.Getpagesize()), time.Duration(ticks) * tick, nil
}
