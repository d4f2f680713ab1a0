package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"hordenode/node"
)

type runCmd struct {
	Data          string   `help:"Data directory. Empty at first start: a new federation is founded, or the one of --join is joined." default:"./hordenode-data" type:"path"`
	API           string   `name:"api" help:"Where the REST API listens." default:"127.0.0.1:7001"`
	P2P           []string `name:"p2p" help:"Where other nodes connect, as a multiaddr; may be given several times. Default: /ip4/127.0.0.1/tcp/4001 and its quic-v1 twin." placeholder:"ADDR"`
	Announce      []string `help:"Multiaddr to tell other nodes instead of the ones listened on, for a node behind NAT; may be given several times." placeholder:"ADDR"`
	Name          string   `help:"Name of this node, unique in its federation. Default: the host name." placeholder:"NAME"`
	Join          string   `help:"Token from 'hordenode invite' of a member; needed once." placeholder:"TOKEN"`
	PublicURL     string   `name:"public-url" help:"Where clients reach the API, if not where it listens." placeholder:"URL"`
	TrustedProxy  []string `help:"Address or network of a reverse proxy whose X-Forwarded-For is believed; may be given several times." placeholder:"CIDR"`
	ImageModels   []string `help:"File or URL of an image model reference; may be given several times." placeholder:"FILE"`
	TextModels    []string `help:"File or URL of a text model reference; may be given several times." placeholder:"FILE"`
	WorkerIPCheck bool     `name:"worker-ip-check" help:"Ask a reputation service about the addresses of untrusted workers."`
	Profile       string   `help:"Timeouts of the replicated log: ${enum}." enum:"lan,wan" default:"lan"`

	Archive bool  `help:"Keep every entry of the ledger's log in DATA/archive, so that it can be verified from its beginning for ever. Stays on once it was."`
	Ballast int64 `help:"MiB of the file that is given up when the disk is full. Negative: 256 on disks of 10 GiB and more, else none." default:"-1"`

	policyFlags

	AdminListen string `help:"Where metrics and pprof are served; off if empty. Keep it private." placeholder:"HOST:PORT"`
}

// Help is shown by --help.
func (runCmd) Help() string {
	return `The first start of an empty directory founds a federation of one and prints the admin's API key once,
or joins the federation that --join is a token for. Later starts go on where the last one ended.
The first SIGINT or SIGTERM stops within 10 seconds and hands leadership over; a second one kills.

Examples:
  hordenode run
  hordenode run --api 0.0.0.0:7001 --p2p /ip4/0.0.0.0/tcp/4001 --p2p /ip4/0.0.0.0/udp/4001/quic-v1 --name oak
  hordenode run --data b --api 127.0.0.1:7002 --p2p /ip4/127.0.0.1/tcp/4002 --name elm --join TOKEN`
}

// Run runs a node until it is told to stop.
func (c runCmd) Run(a *app) error {
	cfg, err := c.config(a, os.Getenv)
	if err != nil {
		return err
	}
	for again := 0; ; again++ {
		n, err := node.New(cfg)
		if err != nil {
			return err
		}
		err = n.Run(a.ctx)
		if !errors.Is(err, node.ErrStartAgain) || again == mostRestarts || a.ctx.Err() != nil {
			return err
		}
		a.log.WarnContext(a.ctx, "the node starts again to repair itself", "err", err)
	}
}

// mostRestarts is how often one process lets its node repair itself: what breaks again and
// again needs a person.
const mostRestarts = 3

// config is the node's configuration as the flags and the test switches say.
func (c runCmd) config(a *app, getenv func(string) string) (node.Config, error) {
	cfg := node.DefaultConfig()
	cfg.Data, cfg.API, cfg.Join, cfg.PublicURL = c.Data, c.API, c.Join, c.PublicURL
	cfg.Announce, cfg.ImageModels, cfg.TextModels = c.Announce, c.ImageModels, c.TextModels
	cfg.WorkerIPCheck, cfg.Profile, cfg.AdminListen = c.WorkerIPCheck, c.Profile, c.AdminListen
	cfg.Region, cfg.Policy = c.Region, c.policy()
	cfg.Archive, cfg.Ballast, cfg.Exit = c.Archive, c.Ballast<<20, os.Exit
	cfg.Version, cfg.Log, cfg.Out = version, a.log, a.stdout
	if len(c.P2P) > 0 {
		cfg.P2P = c.P2P
	}
	if c.Name != "" {
		cfg.Name = c.Name
	}
	for _, s := range c.TrustedProxy {
		p, err := prefix(s)
		if err != nil {
			return cfg, fmt.Errorf("--trusted-proxy: %w", err)
		}
		cfg.TrustedProxies = append(cfg.TrustedProxies, p)
	}
	if on(getenv("HORDE_TEST_APIKEYS")) {
		cfg.TestAPIKeys = true
		a.log.WarnContext(a.ctx, "test API keys are on: anybody on this machine can make accounts", "variable", "HORDE_TEST_APIKEYS")
	}
	if on(getenv("HORDE_TEST_RATELIMIT_DISABLED")) {
		cfg.NoRateLimits = true
		a.log.WarnContext(a.ctx, "rate limits are off", "variable", "HORDE_TEST_RATELIMIT_DISABLED")
	}
	if s := getenv("HORDE_TEST_SNAPSHOT_AFTER"); s != "" {
		after, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return cfg, fmt.Errorf("HORDE_TEST_SNAPSHOT_AFTER: %w", err)
		}
		cfg.TestSnapshotAfter = after
		a.log.WarnContext(a.ctx, "the log is shortened as early as tests want", "variable", "HORDE_TEST_SNAPSHOT_AFTER", "entries", after)
	}
	return cfg, cfg.Validate()
}

// prefix reads a network, or an address as the network of itself.
func prefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(s)
}

// on reads a switch as the reference does.
func on(v string) bool {
	switch strings.ToLower(v) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}
