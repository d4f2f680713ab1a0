package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"hordenode/cmd/hordenode/internal/rest"
	"hordenode/cmd/hordenode/internal/simworker"
	"hordenode/node"
)

type demoCmd struct {
	Duration time.Duration `help:"End by itself after this time; 0 waits for Ctrl-C." default:"0s"`
	Speed    float64       `help:"Speed of the simulated workers; 1 is a middling graphics card." default:"2"`
	Keep     bool          `help:"Keep the data directories and the nodes' logs, and say where they are."`
}

// Help is shown by --help.
func (demoCmd) Help() string {
	return `Starts a federation of three nodes on free ports of this machine: one founds it, two join with invitations.
Simulated workers and clients use different nodes, and each client asks for its results at another node than
the one it sent the request to. Open one of the addresses in a browser to watch. Ctrl-C ends it all and leaves
nothing behind.`
}

var demoNames = []string{"aurora", "borealis", "cirrus"}

// What the nodes of the demo know of the models that its workers offer.
const (
	demoImageModels = `{"stable_diffusion": {"name": "stable_diffusion", "type": "ckpt", "baseline": "stable diffusion 1"}}`
	demoTextModels  = `{"hordenode/simulated": {"name": "hordenode/simulated", "parameters": 7000000000}}`
)

const demoStart = 30 * time.Second // most that a node may take until it serves

// Run shows a federation at work.
func (c demoCmd) Run(a *app) (err error) {
	dir, err := os.MkdirTemp("", "hordenode-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if c.Keep {
			_, perr := fmt.Fprintf(a.stdout, "Data and logs are in %s\n", dir)
			err = errors.Join(err, perr)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	show, cancel := a.ctx, context.CancelFunc(func() {})
	if c.Duration > 0 {
		show, cancel = context.WithTimeout(a.ctx, c.Duration)
	}
	defer cancel()

	// The nodes outlive the show: workers deliver what they have in hand.
	run, stop := context.WithCancel(context.WithoutCancel(a.ctx))
	defer stop()
	nodes, ctx := errgroup.WithContext(run)
	// A node that fails ends the show.
	show, end := context.WithCancel(show)
	defer end()
	context.AfterFunc(ctx, end)

	err = c.play(show, ctx, nodes, dir, a)
	stop()
	if nerr := nodes.Wait(); nerr != nil {
		err = errors.Join(nerr, err)
	}
	if err != nil && !c.Keep {
		return fmt.Errorf("%w (run with --keep to see the nodes' logs)", err)
	}
	return err
}

// play starts the nodes in group and lets workers and clients use them until show is done.
func (c demoCmd) play(show, run context.Context, group *errgroup.Group, dir string, a *app) error {
	if _, err := fmt.Fprintln(a.stdout, "Starting three nodes ..."); err != nil {
		return err
	}
	nodes, err := c.federate(show, run, group, dir)
	if err != nil {
		return unlessStopped(show, err)
	}
	first := newControl(filepath.Join(dir, demoNames[0]))
	owner, err := first.createUser(show, newUser{Name: "workshop", Trusted: true})
	if err != nil {
		return unlessStopped(show, err)
	}
	client, err := first.createUser(show, newUser{Name: "artist", Trusted: true, Kudos: 1_000_000})
	if err != nil {
		return unlessStopped(show, err)
	}
	d := &demo{
		names: demoNames, started: time.Now(), homes: map[string]int{}, posted: make([]int, len(nodes)), done: make([]int, len(nodes)),
		http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		log:  a.log,
	}
	defer d.http.CloseIdleConnections()
	for _, n := range nodes {
		d.urls = append(d.urls, n.URL())
	}
	g, ctx := errgroup.WithContext(show)
	for i := range nodes {
		for _, k := range []rest.Kind{rest.Text, rest.Image} {
			w, err := d.worker(i, k, owner.APIKey, c.Speed)
			if err != nil {
				return err
			}
			g.Go(func() error { return w.Run(ctx) })
			g.Go(func() error { d.client(ctx, i, k, client.APIKey); return nil })
		}
	}
	v := newView(a.stdout)
	g.Go(func() error {
		for {
			leader := nodes[0].Status().Leader
			if err := v.show(d.snapshot(time.Now(), leader)); err != nil {
				return err
			}
			if simworker.Sleep(ctx, v.every()) != nil {
				return nil
			}
		}
	})
	err = g.Wait()
	return errors.Join(err, v.finish(d.snapshot(time.Now(), "")))
}

// unlessStopped returns err, or nil if it is only that we were told to stop.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// federate starts the nodes: the first founds the federation, the others join it with a
// token of the first.
func (c demoCmd) federate(show, run context.Context, group *errgroup.Group, dir string) ([]*node.Node, error) {
	images, texts := filepath.Join(dir, "image-models.json"), filepath.Join(dir, "text-models.json")
	err := errors.Join(os.WriteFile(images, []byte(demoImageModels), 0o600), os.WriteFile(texts, []byte(demoTextModels), 0o600))
	if err != nil {
		return nil, err
	}
	var nodes []*node.Node
	for i, name := range demoNames {
		cfg := node.DefaultConfig()
		cfg.Data, cfg.Name, cfg.API = filepath.Join(dir, name), name, "127.0.0.1:0"
		cfg.P2P = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}
		cfg.ImageModels, cfg.TextModels = []string{images}, []string{texts}
		cfg.NoRateLimits, cfg.Version, cfg.Out = true, version, io.Discard
		if i > 0 {
			var err error
			if cfg.Join, err = nodes[0].Invite(time.Hour, true); err != nil {
				return nil, fmt.Errorf("invite %s: %w", name, err)
			}
		}
		logs, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return nil, err
		}
		cfg.Log = slog.New(slog.NewTextHandler(logs, nil))
		n, err := node.New(cfg)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), logs.Close())
		}
		group.Go(func() error {
			err := n.Run(run)
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			return errors.Join(err, logs.Close())
		})
		late := time.NewTimer(demoStart)
		defer late.Stop()
		select {
		case <-n.Ready():
		case <-show.Done():
			return nil, show.Err()
		case <-late.C:
			return nil, fmt.Errorf("%s does not serve after %v", name, demoStart)
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}
