package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"hordenode/cmd/hordenode/internal/load"
)

type benchLedgerCmd struct {
	benchFlags `embed:""`
	To         string `help:"Alias of the user who receives; needed with --key." placeholder:"NAME#N"`

	Etcd     string `help:"The program of tools/etcdbench: start three nodes and three of etcd and measure P9 to P12, P14 and P16 to P18 of both." placeholder:"PATH" type:"existingfile"`
	Entries  int    `help:"With --etcd: entries that are kept while memory, start and recovery are measured." default:"1000000"`
	Accounts int    `help:"With --etcd: accounts, and keys of etcd." default:"10000"`
	Only     string `help:"With --etcd: rates (P9 to P12), leader (P18) or entries (P14, P16, P17) alone." enum:",rates,leader,entries" default:""`
	Keep     bool   `help:"With --etcd: keep data and logs, and say where they are."`
}

// Help is shown by --help.
func (benchLedgerCmd) Help() string {
	return `Without --etcd: kudos transfers, one a call, at the given addresses.

With --etcd: three nodes and, on the same disk and at the same time, three of etcd, both with a sync of the disk
before each answer. What is measured takes turns (hordenode, etcd, hordenode, etcd), and the ratios of the medians
are the result.

  go build -C tools/etcdbench -o ../../bin/etcdbench .
  hordenode bench ledger --etcd bin/etcdbench --duration 2s --rounds 3`
}

// Run measures kudos transfers.
func (c benchLedgerCmd) Run(a *app) error {
	if c.Etcd != "" {
		return c.compare(a)
	}
	return c.measure(a, "ledger", func(ctx context.Context, t *load.Target) ([]load.Result, error) {
		r, err := t.Ledger(ctx, c.Clients, c.Duration, c.To)
		return []load.Result{r}, err
	})
}

// compare runs the whole comparison in a directory of its own.
func (c benchLedgerCmd) compare(a *app) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	if c.Entries < 1000 || c.Accounts < 16 {
		return errors.New("want at least a thousand entries and 16 accounts")
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
	d, stop, err := c.openDuel(a, dir)
	if err != nil {
		return err
	}
	defer stop()
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"rates", d.rates}, {"leader", d.leaders}, {"entries", d.entries}} {
		if c.Only != "" && c.Only != part.name {
			continue
		}
		if err := part.run(a.ctx); err != nil {
			if context.Cause(a.ctx) != nil {
				return errors.New("stopped before the end")
			}
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	lost, err := d.bank.Lost(a.ctx)
	if err != nil {
		return fmt.Errorf("count what arrived: %w", err)
	}
	rep := load.Duel(machine(), d.etcd.version, c.Rounds, c.Entries, lost, d.samples)
	if c.JSON {
		return printJSON(a.stdout, rep)
	}
	return rep.Markdown(a.stdout)
}

// A duel is three nodes and three members of etcd that are measured in turns.
type duel struct {
	app   *app
	cfg   benchLedgerCmd
	nodes []*child
	etcd  *etcdBench
	bank  *load.Bank

	samples []load.Sample
}

func (c benchLedgerCmd) openDuel(a *app, dir string) (_ *duel, stop func(), err error) {
	d := &duel{app: a, cfg: c}
	var closers []func()
	stop = func() {
		for i := len(closers) - 1; i >= 0; i-- {
			closers[i]()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	// Not through startNodes: these come back at the addresses that they had.
	for i := range 3 {
		join := ""
		if i > 0 {
			if join, err = newControl(d.nodes[0].dir).invite(a.ctx, time.Hour, true); err != nil {
				return nil, nil, fmt.Errorf("invite: %w", err)
			}
		}
		ports, err := freePorts(2)
		if err != nil {
			return nil, nil, err
		}
		n, err := startNodeAt(a.ctx, dir, fmt.Sprintf("bench-%d", i+1), join, ports[0], ports[1])
		if err != nil {
			return nil, nil, err
		}
		d.nodes = append(d.nodes, n)
		closers = append(closers, func() { d.nodes[i].stop() })
	}
	if err := d.voters(a.ctx); err != nil {
		return nil, nil, err
	}
	d.etcd, err = startEtcd(c.Etcd, dir, a.stderr)
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, d.etcd.stop)
	var urls []string
	for _, n := range d.nodes {
		urls = append(urls, n.url)
	}
	a.log.InfoContext(a.ctx, "making accounts", "accounts", c.Accounts)
	if d.bank, err = load.OpenBank(a.ctx, urls, c.Accounts); err != nil {
		return nil, nil, err
	}
	closers = append(closers, d.bank.Close)
	return d, stop, nil
}

// note keeps a sample and tells it.
func (d *duel) note(s load.Sample) {
	d.app.log.InfoContext(d.app.ctx, "run", "row", s.Row, "of", s.Of, "value", s.Value, "p50_ms", s.P50, "p99_ms", s.P99, "errors", s.Errors)
	d.samples = append(d.samples, s)
}

// rates are P9 to P12.
func (d *duel) rates(ctx context.Context) error {
	t := d.cfg.Duration
	transfer := func(row string, clients int, hot bool) func(context.Context) error {
		return func(ctx context.Context) error {
			r, err := d.bank.Transfer(ctx, clients, t, hot)
			return d.rate(row, r, err)
		}
	}
	read := func(row string, fresh bool) func(context.Context) error {
		return func(ctx context.Context) error {
			r, err := d.bank.Balance(ctx, 64, t, fresh)
			return d.rate(row, r, err)
		}
	}
	etcd := func(row string, q etcdQuestion) func(context.Context) error {
		q.Seconds, q.Keys = t.Seconds(), d.cfg.Accounts
		return func(context.Context) error { return d.peer(row, q) }
	}
	steps := []func(context.Context) error{
		transfer(load.RowOne, 1, false), etcd(load.RowOne, etcdQuestion{Op: "put", Clients: 1}),
		transfer(load.RowCalls, 64, false), etcd(load.RowCalls, etcdQuestion{Op: "put", Clients: 64}), transfer(load.RowHot, 64, true),
		transfer(load.RowMany, 1000, false), etcd(load.RowMany, etcdQuestion{Op: "put", Clients: 1000}),
		func(ctx context.Context) error {
			r, err := d.bank.Batch(ctx, batchClients, t)
			return d.rate(load.RowBatch, r, err)
		}, etcd(load.RowBatch, etcdQuestion{Op: "batch", Clients: 16}),
		read(load.RowFresh, true), etcd(load.RowFresh, etcdQuestion{Op: "get", Clients: 64}),
		read(load.RowLocal, false), etcd(load.RowLocal, etcdQuestion{Op: "get", Clients: 64, Stale: true}),
	}
	for range d.cfg.Rounds {
		for _, s := range steps {
			if err := s(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// batchClients are few: each has a thousand transfers in a call.
const batchClients = 6

func (d *duel) rate(row string, r load.Result, err error) error {
	if err != nil {
		return err
	}
	d.note(load.Sample{Row: row, Value: r.Rate, P50: r.P50, P99: r.P99, Errors: r.Errors + r.Refused})
	return nil
}

// peer asks etcd for a rate.
func (d *duel) peer(row string, q etcdQuestion) error {
	a, err := d.etcd.ask(q)
	if err != nil {
		return err
	}
	d.note(load.Sample{Row: row, Of: load.Etcd, Value: float64(a.Ops) / a.Seconds, P50: a.P50, P99: a.P99, Errors: a.Errors})
	return nil
}
