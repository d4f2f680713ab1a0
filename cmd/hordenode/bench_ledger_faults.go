package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	"hordenode/cmd/hordenode/internal/load"
	"hordenode/cmd/hordenode/internal/simworker"
	"hordenode/node"
)

// leaders is P18: the leader is killed under load.
func (d *duel) leaders(ctx context.Context) error {
	for range d.cfg.Rounds {
		victim, err := d.leader(ctx)
		if err != nil {
			return err
		}
		var others []int
		for i := range d.nodes {
			if i != victim {
				others = append(others, i)
			}
		}
		gaps, err := d.bank.Through(ctx, others, 500*time.Millisecond, 4*time.Second, func() error { return d.nodes[victim].kill() })
		if err != nil {
			return err
		}
		d.note(load.Sample{Row: load.RowGapWrite, Value: gaps.Write})
		d.note(load.Sample{Row: load.RowGapRead, Value: gaps.Read})
		d.note(load.Sample{Row: load.RowGapPop, Value: gaps.Pop})
		if err := d.nodes[victim].again(); err != nil {
			return err
		}
		if err := d.nodes[victim].ready(ctx); err != nil {
			return err
		}
		if err := d.voters(ctx); err != nil {
			return err
		}
		a, err := d.etcd.ask(etcdQuestion{Op: "kill-leader"})
		if err != nil {
			return err
		}
		d.note(load.Sample{Row: load.RowGapWrite, Of: load.Etcd, Value: a.Write})
		d.note(load.Sample{Row: load.RowGapRead, Of: load.Etcd, Value: a.Read})
	}
	return nil
}

// entries are P14, P16 and P17: memory, start and recovery with a full ledger.
func (d *duel) entries(ctx context.Context) error {
	d.app.log.InfoContext(ctx, "filling", "entries", d.cfg.Entries)
	rate, err := d.bank.Fill(ctx, d.cfg.Entries)
	if err != nil {
		return fmt.Errorf("fill the ledger: %w", err)
	}
	d.note(load.Sample{Row: load.RowFill, Value: rate})
	a, err := d.etcd.ask(etcdQuestion{Op: "fill", Keys: d.cfg.Entries})
	if err != nil {
		return fmt.Errorf("fill etcd: %w", err)
	}
	d.note(load.Sample{Row: load.RowFill, Of: load.Etcd, Value: float64(a.Ops) / a.Seconds})
	if err := d.memory(); err != nil {
		return err
	}
	for range d.cfg.Rounds {
		if err := d.restartOne(ctx); err != nil {
			return err
		}
		if err := d.restartAll(ctx); err != nil {
			return err
		}
	}
	return nil
}

// memory is that of the largest process of each.
func (d *duel) memory() error {
	var most int64
	for _, n := range d.nodes {
		rss, _, err := n.usage()
		if err != nil {
			return err
		}
		most = max(most, rss)
	}
	d.note(load.Sample{Row: load.RowMemory, Value: float64(most) / 1e6})
	a, err := d.etcd.ask(etcdQuestion{Op: "memory"})
	if err != nil {
		return err
	}
	d.note(load.Sample{Row: load.RowMemory, Of: load.Etcd, Value: float64(a.Bytes) / 1e6})
	return nil
}

// restartOne stops a follower politely and starts it (P16), then kills it and starts it (P17).
func (d *duel) restartOne(ctx context.Context) error {
	leader, err := d.leader(ctx)
	if err != nil {
		return err
	}
	victim := (leader + 1) % len(d.nodes)
	n := d.nodes[victim]
	for _, how := range []struct {
		row string
		end func() error
	}{{load.RowStart, func() error { n.stop(); return nil }}, {load.RowOneBack, n.kill}} {
		if err := how.end(); err != nil {
			return err
		}
		start := time.Now()
		if err := n.again(); err != nil {
			return err
		}
		took, err := d.bank.Answers(ctx, victim, false, start)
		if err != nil {
			return err
		}
		d.note(load.Sample{Row: how.row, Value: took.Seconds() * 1000})
	}
	a, err := d.etcd.ask(etcdQuestion{Op: "kill-one"})
	if err != nil {
		return err
	}
	d.note(load.Sample{Row: load.RowOneBack, Of: load.Etcd, Value: a.Read})
	return d.voters(ctx)
}

// restartAll kills everything at once (P17).
func (d *duel) restartAll(ctx context.Context) error {
	for _, n := range d.nodes {
		if err := n.kill(); err != nil {
			return err
		}
	}
	start := time.Now()
	for _, n := range d.nodes {
		if err := n.again(); err != nil {
			return err
		}
	}
	reads, err := d.bank.Answers(ctx, 0, false, start)
	if err != nil {
		return err
	}
	writes, err := d.bank.Answers(ctx, 0, true, start)
	if err != nil {
		return err
	}
	d.note(load.Sample{Row: load.RowAllRead, Value: reads.Seconds() * 1000})
	d.note(load.Sample{Row: load.RowAllWrite, Value: writes.Seconds() * 1000})
	a, err := d.etcd.ask(etcdQuestion{Op: "kill-all"})
	if err != nil {
		return err
	}
	d.note(load.Sample{Row: load.RowAllRead, Of: load.Etcd, Value: a.Read})
	d.note(load.Sample{Row: load.RowAllWrite, Of: load.Etcd, Value: a.Write})
	return d.voters(ctx)
}

// leader is the node that leads now.
func (d *duel) leader(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, childStart)
	defer cancel()
	for {
		for i, n := range d.nodes {
			var s node.Status
			if err := newControl(n.dir).do(ctx, http.MethodGet, "/status", nil, &s); err == nil && s.Role == "leader" {
				return i, nil
			}
		}
		if err := simworker.Sleep(ctx, 20*time.Millisecond); err != nil {
			return 0, errors.New("nobody leads")
		}
	}
}

// voters waits until all nodes serve and vote.
func (d *duel) voters(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*childStart)
	defer cancel()
	for {
		voting := 0
		for _, n := range d.nodes {
			var s node.Status
			if err := newControl(n.dir).do(ctx, http.MethodGet, "/status", nil, &s); err == nil && s.Role != "learner" && s.Role != "" && s.Leader != "" {
				voting++
			}
		}
		if voting == len(d.nodes) {
			return nil
		}
		if err := simworker.Sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d nodes vote", voting, len(d.nodes))
		}
	}
}

// kill ends the process as a power switch does.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	<-c.exited
	return nil
}

// again starts a process that has ended as it was started before. It does not wait for it.
func (c *child) again() error {
	// #nosec G204 -- the same program with the same arguments
	next := exec.Command(c.cmd.Path, c.args...)
	next.Env = append(os.Environ(), c.env...)
	next.Stdout, next.Stderr = c.cmd.Stdout, c.cmd.Stderr
	if f, ok := c.cmd.Stdout.(*os.File); ok { // startNodeAt has closed its own
		out, err := os.OpenFile(f.Name(), os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer out.Close() // the child has its own
		next.Stdout, next.Stderr = out, out
	}
	if err := next.Start(); err != nil {
		return err
	}
	c.cmd, c.exited = next, make(chan struct{})
	exited := c.exited
	go func() { // ends with the process, which stop waits for
		c.err = next.Wait()
		close(exited)
	}()
	return nil
}

// freePorts are n ports that nobody listens at.
func freePorts(n int) (ports []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at the end, so that they differ
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}
