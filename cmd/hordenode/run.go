package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"hordenode/node"
)

type runCmd struct {
	Data            string   `help:"Data directory. Empty at first start: a new federation is founded, or the one of --join is joined." default:"./hordenode-data" type:"path"`
	API             string   `name:"api" help:"Where the REST API listens." default:"127.0.0.1:7001"`
	P2P             []string `name:"p2p" help:"Where other nodes connect, as a multiaddr; may be given several times. Default: /ip4/127.0.0.1/tcp/4001 and its quic-v1 twin." placeholder:"ADDR"`
	Announce        []string `help:"Multiaddr to tell other nodes instead of the ones listened on, for a node behind NAT; may be given several times." placeholder:"ADDR"`
	Name            string   `help:"Name of this node, unique in its federation. Default: the host name." placeholder:"NAME"`
	Join            string   `help:"Token from 'hordenode invite' of a member; needed once." placeholder:"TOKEN"`
	PublicURL       string   `name:"public-url" help:"Where clients reach the API, if not where it listens." placeholder:"URL"`
	TrustedProxy    []string `help:"Address or network of a reverse proxy whose X-Forwarded-For is believed; may be given several times." placeholder:"CIDR"`
	OutboundAllow   []string `help:"Address or network that webhooks and source images may be fetched from although it is not public, such as a bucket of your own; may be given several times." placeholder:"CIDR"`
	ImageModels     []string `help:"File or URL of an image model reference; may be given several times." placeholder:"FILE"`
	TextModels      []string `help:"File or URL of a text model reference; may be given several times." placeholder:"FILE"`
	WorkerIPCheck   bool     `name:"worker-ip-check" help:"Ask the reputation service of --worker-ip-service about the addresses of untrusted workers and, in raid mode, of untrusted clients. The service learns these addresses."`
	WorkerIPService string   `name:"worker-ip-service" help:"URL of that service: {ipaddr} in it stands for an address, and it answers GET with a number from 0 to 1, from 0.93 on a VPN or proxy." placeholder:"URL"`
	Profile         string   `help:"Timeouts of the replicated log: ${enum}." enum:"lan,wan" default:"lan"`

	Login []string `help:"Provider that people may log in with; may be given several times. Needs --public-url. See below." placeholder:"KIND,..." sep:"none"`

	Archive bool  `help:"Keep every entry of the ledger's log in DATA/archive, so that it can be verified from its beginning for ever. Stays on once it was."`
	Ballast int64 `help:"MiB of the file that is given up when the disk is full. Negative: 256 on disks of 10 GiB and more, else none." default:"-1"`

	Shards int `help:"Into how many topics a new federation divides the offers of each kind, by model family; see docs/growth.md. 'hordenode shards' changes it later." default:"0"`

	TakeOverAfter time.Duration `name:"takeover-after" help:"How long another home must be silent before this node, as its backup, takes its requests over." default:"60s"`

	KudosModel string `help:"Network that prices images, as an .npz file. Default: the one of this program." placeholder:"FILE" type:"path"`

	policyFlags
	s3Flags
	reachFlags

	AdminListen string `help:"Where metrics and pprof are served; off if empty. Keep it private." placeholder:"HOST:PORT"`
}

// Help is shown by --help.
func (runCmd) Help() string {
	return `The first start of an empty directory founds a federation of one and prints the admin's API key once,
or joins the federation that --join is a token for. Later starts go on where the last one ended.
The first SIGINT or SIGTERM stops within 10 seconds and hands leadership over; a second one kills.

--login is kind=google|discord|github|oidc with client-id=ID and secret-file=FILE or secret-env=NAME, separated by commas; of oidc
also issuer=URL and name=NAME, and title=TEXT if pages should say something else. The provider must know the address
PUBLIC-URL/login/NAME/callback, exactly; NAME is the kind if it is not given.

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
	cfg.WorkerIPService = c.WorkerIPService
	cfg.WorkerIPCheck, cfg.Profile, cfg.AdminListen = c.WorkerIPCheck, c.Profile, c.AdminListen
	for _, s := range c.Login {
		l, err := parseLogin(s, getenv, os.ReadFile)
		if err != nil {
			return cfg, fmt.Errorf("--login: %w", err)
		}
		cfg.Logins = append(cfg.Logins, l)
	}
	cfg.Region, cfg.Policy = c.Region, c.policy()
	cfg.TakeOverAfter = c.TakeOverAfter
	cfg.Shards = c.Shards
	cfg.Archive, cfg.Ballast, cfg.Exit = c.Archive, c.Ballast<<20, os.Exit
	cfg.Version, cfg.Log, cfg.Out = version, a.log, a.stdout
	cfg.KudosModel = c.KudosModel
	var err error
	if cfg.S3, err = c.s3Flags.config(getenv); err != nil {
		return cfg, err
	}
	if cfg.Reach, err = c.reachFlags.config(); err != nil {
		return cfg, err
	}
	if len(c.P2P) > 0 {
		cfg.P2P = c.P2P
	}
	if c.Name != "" {
		cfg.Name = c.Name
	}
	if cfg.TrustedProxies, err = prefixes("--trusted-proxy", c.TrustedProxy); err != nil {
		return cfg, err
	}
	if cfg.OutboundAllow, err = prefixes("--outbound-allow", c.OutboundAllow); err != nil {
		return cfg, err
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
	if s := getenv("HORDE_TEST_LEDGER_VERSION"); s != "" {
		v, err := strconv.Atoi(s)
		if err != nil || v < 1 {
			return cfg, fmt.Errorf("HORDE_TEST_LEDGER_VERSION: %q is no version", s)
		}
		cfg.TestLedgerVersion = v
		a.log.WarnContext(a.ctx, "this node pretends to be an older one", "variable", "HORDE_TEST_LEDGER_VERSION", "version", v)
	}
	return cfg, cfg.Validate()
}

// prefixes reads the networks of a flag.
func prefixes(flag string, values []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, v := range values {
		p, err := prefix(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		out = append(out, p)
	}
	return out, nil
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
