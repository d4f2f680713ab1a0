package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"hordenode/cmd/hordenode/internal/rest"
	"hordenode/cmd/hordenode/internal/simworker"
)

type workerCmd struct {
	URL         []string `name:"url" help:"Address of a node; given several times, the next one is used when one fails." default:"http://127.0.0.1:7001"`
	Nearest     bool     `help:"Ask the given nodes which others there are, measure them all, and use the fastest that works."`
	Key         string   `help:"API key that the workers earn for." required:"" placeholder:"KEY"`
	Simulate    []string `help:"What to produce, separated by commas: text, image, alchemy." required:"" placeholder:"KINDS"`
	Name        string   `help:"Name of the workers, to which their kind and number are added. Default: 'simulated' and the host name." placeholder:"NAME"`
	Models      []string `help:"Models to offer. Default: one that requests without a model fit; images need one of the node's model reference, alchemists name forms." placeholder:"MODEL"`
	Threads     int      `help:"Jobs at once of each worker." default:"1"`
	Speed       float64  `help:"1 is a middling graphics card (50 tokens/s, 5 megapixelsteps/s, a form in 2 s); 0 does not wait at all. Above 3 the horde grows suspicious of workers that it does not trust." default:"1"`
	Count       int      `help:"Workers of each kind. An account that is not trusted may have four." default:"1"`
	BridgeAgent string   `help:"Bridge agent to give instead of the usual ones." placeholder:"NAME:VERSION:LINK"`
}

// Help is shown by --help.
func (workerCmd) Help() string {
	return `The workers pop jobs over HTTP as any worker does, take as long as one would, and deliver synthetic
results: sentences that say so, images with a pattern, guesses about images that were never looked at. For demos and load, not for people who wait.

Text workers and alchemists call themselves "` + simworker.TextAgent + `".
A horde gives jobs only to bridges whose abilities it knows when they need r2, as images do by default. So
image workers take the name of one and say in the link who they are:
"` + simworker.ImageAgent + `".

Examples:
  hordenode worker --key KEY --simulate text,image
  hordenode worker --url http://127.0.0.1:7001 --url http://127.0.0.1:7002 --key KEY --simulate text --count 4 --speed 3`
}

// What simulated workers offer unless told otherwise.
var defaultModels = map[rest.Kind][]string{
	rest.Text:    {"hordenode/simulated"},
	rest.Image:   {"stable_diffusion"},
	rest.Alchemy: simworker.Forms(),
}

// Run works until it is told to stop, then says what was done.
func (c workerCmd) Run(a *app) error {
	kinds, err := kindsOf(c.Simulate)
	if err != nil {
		return err
	}
	if c.Threads < 1 || c.Threads > 50 || c.Count < 1 || c.Count > 1000 || c.Speed < 0 {
		return errors.New("want 1 to 50 threads, 1 to 1000 workers and a speed of 0 or more")
	}
	workers, err := c.workers(a, kinds)
	if err != nil {
		return err
	}
	a.log.InfoContext(a.ctx, "simulated workers started", "workers", len(workers), "kinds", c.Simulate, "urls", c.URL)
	g, ctx := errgroup.WithContext(a.ctx)
	for _, w := range workers {
		g.Go(func() error { return w.Run(ctx) })
	}
	err = g.Wait()
	var sum simworker.Stats
	for _, w := range workers {
		sum = sum.Add(w.Stats())
	}
	_, perr := fmt.Fprintf(a.stdout, "%d jobs done, %.2f kudos earned, %d jobs lost, %d failed polls\n", sum.Jobs, sum.Kudos, sum.Lost, sum.Fails)
	return errors.Join(err, perr)
}

func (c workerCmd) workers(a *app, kinds []rest.Kind) ([]*simworker.Worker, error) {
	name := c.Name
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "host"
		}
		name = "simulated " + host
	}
	urls := make([]string, len(c.URL))
	for i, u := range c.URL {
		urls[i] = strings.TrimRight(u, "/")
	}
	httpc := &http.Client{Timeout: simworker.CallTimeout, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: c.Count * c.Threads * len(kinds), IdleConnTimeout: simworker.CallTimeout,
	}}
	if c.Nearest {
		urls = simworker.Nearest(a.ctx, httpc, urls)
		a.log.InfoContext(a.ctx, "nodes measured", "nearest", urls[0], "nodes", len(urls))
	}
	var out []*simworker.Worker
	for _, k := range kinds {
		models := c.Models
		if len(models) == 0 {
			models = defaultModels[k]
		}
		for i := range c.Count {
			from := i % len(urls) // workers start at different nodes
			if c.Nearest {
				from = 0
			}
			w, err := simworker.New(simworker.Config{
				URLs: slices.Concat(urls[from:], urls[:from]), Nearest: c.Nearest,
				Key: c.Key, Kind: k, Name: fmt.Sprintf("%s %s %d", name, k, i+1), Agent: c.BridgeAgent,
				Models: models, Threads: c.Threads, Speed: c.Speed, HTTP: httpc, Log: a.log,
			})
			if err != nil {
				return nil, err
			}
			out = append(out, w)
		}
	}
	return out, nil
}

// kindsOf reads --simulate.
func kindsOf(names []string) ([]rest.Kind, error) {
	var kinds []rest.Kind
	for _, n := range names {
		switch k := rest.Kind(strings.ToLower(strings.TrimSpace(n))); k {
		case rest.Text, rest.Image, rest.Alchemy:
			if !slices.Contains(kinds, k) {
				kinds = append(kinds, k)
			}
		default:
			return nil, fmt.Errorf("cannot simulate %q: want text, image or alchemy", n)
		}
	}
	if len(kinds) == 0 {
		return nil, errors.New("nothing to simulate: want text, image, alchemy or several of them")
	}
	return kinds, nil
}
