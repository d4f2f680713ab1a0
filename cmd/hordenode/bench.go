package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"hordenode/cmd/hordenode/internal/load"
)

type benchCmd struct {
	Async   benchAsyncCmd   `cmd:"" help:"Accepted text requests a second, kudos set aside (P1, P2)."`
	Pop     benchPopCmd     `cmd:"" help:"Pops a second with many requests waiting (P3)."`
	Submit  benchSubmitCmd  `cmd:"" help:"Submits a second, settled (P6)."`
	Cycle   benchCycleCmd   `cmd:"" help:"Complete jobs a second: async, pop, submit, status (P7)."`
	Ledger  benchLedgerCmd  `cmd:"" help:"Replicated ledger operations a second: kudos transfers (P9), or P9 to P18 beside etcd."`
	Watch   benchWatchCmd   `cmd:"" help:"From a worker's submit to the client that waits for it: long poll or events (P8)."`
	Growth  benchGrowthCmd  `cmd:"" help:"Pops with a thousand to a million requests waiting, on a node of its own (P4, P5, P14)."`
	Waiters benchWaitersCmd `cmd:"" help:"What thousands of waiting clients cost a node of its own (P13)."`
	All     benchAllCmd     `cmd:"" help:"Start federations of one and of three nodes on this machine and measure everything."`

	CalibrationServer calibrationCmd `cmd:"" hidden:"" help:"Serve what the others are compared with."`
}

// Help is shown by --help.
func (benchCmd) Help() string {
	return `Drives nodes over HTTP. Before every run a bare net/http handler that decodes the same 3 kB body and replies
JSON is measured with the same load, and results are ratios to it: absolute figures mean little on another
machine or another day.

The nodes need HORDE_TEST_RATELIMIT_DISABLED=1, and HORDE_TEST_APIKEYS=1 unless --key gives a funded account.

Examples:
  hordenode bench all
  hordenode bench async --url http://127.0.0.1:7001 -c 32 --duration 10s
  hordenode bench cycle --url http://127.0.0.1:7001 --url http://127.0.0.1:7002 --json`
}

// benchFlags are the flags of every mode.
type benchFlags struct {
	URL      []string      `name:"url" help:"Address of a node; clients take several in turn." default:"http://127.0.0.1:7001"`
	Key      string        `help:"API key of a funded account. Without it accounts are made with the test bootstrap." placeholder:"KEY"`
	Clients  int           `short:"c" help:"Clients at once." default:"32"`
	Duration time.Duration `help:"Of each run." default:"5s"`
	Rounds   int           `help:"Runs of calibration and mode in turns; the median counts." default:"3"`
	Users    int           `help:"Accounts to make." default:"32"`
	Workers  int           `help:"Workers to make; 0: 40, or 4 with --key." default:"0"`
	JSON     bool          `name:"json" help:"Print JSON with every run instead of a table."`
}

type benchAsyncCmd struct {
	benchFlags `embed:""`
}

// Run measures accepted requests.
func (c benchAsyncCmd) Run(a *app) error {
	return c.measure(a, "async", func(ctx context.Context, t *load.Target) ([]load.Result, error) {
		r, err := t.Async(ctx, c.Clients, c.Duration)
		return []load.Result{r}, err
	})
}

type benchPopCmd struct {
	benchFlags `embed:""`
	Queue      int `help:"Requests waiting, of up to ten jobs each." default:"1000"`
}

// Run measures pops.
func (c benchPopCmd) Run(a *app) error {
	return c.measure(a, "pop", func(ctx context.Context, t *load.Target) ([]load.Result, error) {
		pops, _, err := t.Drain(ctx, c.Clients, c.Queue, c.Duration)
		return []load.Result{pops}, err
	})
}

type benchSubmitCmd struct {
	benchFlags `embed:""`
	Queue      int `help:"Requests waiting, of up to ten jobs each." default:"1000"`
}

// Run measures submits.
func (c benchSubmitCmd) Run(a *app) error {
	return c.measure(a, "submit", func(ctx context.Context, t *load.Target) ([]load.Result, error) {
		_, submits, err := t.Drain(ctx, c.Clients, c.Queue, c.Duration)
		return []load.Result{submits}, err
	})
}

type benchCycleCmd struct {
	benchFlags `embed:""`
}

// Run measures complete jobs.
func (c benchCycleCmd) Run(a *app) error {
	return c.measure(a, "cycle", func(ctx context.Context, t *load.Target) ([]load.Result, error) {
		r, err := t.Cycle(ctx, c.Clients, c.Duration)
		return []load.Result{r}, err
	})
}

type benchWatchCmd struct {
	benchFlags `embed:""`
	Events     bool `help:"Server-sent events instead of long polls."`
	Far        bool `help:"The client waits at the second address, the request's home is the first."`
}

// Run measures how soon a client that waits has its result.
func (c benchWatchCmd) Run(a *app) error {
	how := load.LongPoll
	if c.Events {
		how = load.Events
	}
	return c.measure(a, how, func(ctx context.Context, t *load.Target) ([]load.Result, error) {
		r, err := t.Watch(ctx, how, c.Far, c.Clients, c.Duration)
		return []load.Result{r}, err
	})
}

// measure runs one mode in turns with the calibration and prints the report.
func (f benchFlags) measure(a *app, mode string, run func(context.Context, *load.Target) ([]load.Result, error)) error {
	if err := f.check(); err != nil {
		return err
	}
	target, err := load.Connect(a.ctx, load.Setup{URLs: f.URL, Key: f.Key, Users: f.Users, Workers: f.Workers, Conns: f.Clients})
	if err != nil {
		return err
	}
	defer target.Close()
	label := f.URL[0]
	if len(f.URL) > 1 {
		label = fmt.Sprintf("%d addresses", len(f.URL))
	}
	b := bencher{app: a, duration: f.Duration, rounds: f.Rounds, clients: f.Clients, json: f.JSON}
	return b.run([]load.Step{{Name: mode, Run: func(ctx context.Context) ([]load.Result, error) {
		results, err := run(ctx, target)
		for i := range results {
			results[i].Label = label
		}
		return results, err
	}}})
}

func (f benchFlags) check() error {
	if f.Clients < 1 || f.Rounds < 1 || f.Duration <= 0 || f.Users < 1 || f.Workers < 0 {
		return errors.New("want at least one client, one round, one user and some duration")
	}
	return nil
}

// A bencher runs steps interleaved with the calibration, which is a process of its own, as
// the nodes are.
type bencher struct {
	app      *app
	duration time.Duration
	rounds   int
	clients  int
	json     bool
}

func (b bencher) run(steps []load.Step) error {
	ctx := b.app.ctx
	cal, err := startCalibration(ctx)
	if err != nil {
		return fmt.Errorf("start the calibration: %w", err)
	}
	defer cal.stop()
	calibrate := func(ctx context.Context) load.Result {
		return load.Calibrate(ctx, cal.url, b.clients, min(b.duration, 3*time.Second))
	}
	calibrate(ctx) // a first one warms connections up and does not count
	runs, errs := load.Interleave(ctx, b.rounds, calibrate, steps, func(r load.Result) {
		b.app.log.InfoContext(ctx, "run", "mode", r.Mode, "of", r.Label, "clients", r.Clients, "ops_s", int(r.Rate),
			"p50_ms", r.P50, "p99_ms", r.P99, "refused", r.Refused, "errors", r.Errors)
	})
	if err := context.Cause(ctx); err != nil {
		return errors.New("stopped before the end")
	}
	report := load.Summarize(machine(), b.rounds, runs, errs)
	if b.json {
		if err := printJSON(b.app.stdout, report); err != nil {
			return err
		}
	} else if err := report.Markdown(b.app.stdout); err != nil {
		return err
	}
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d runs failed, first: %w", len(errs), b.rounds*len(steps), errs[0])
	}
	return nil
}

type calibrationCmd struct{}

// Run serves the calibration until it is told to stop; its address is its first line.
func (calibrationCmd) Run(a *app) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(a.stdout, "http://%s\n", l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	srv := &http.Server{Handler: load.CalibrationHandler(), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(a.ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
