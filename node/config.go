package node

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
	"hordenode/node/blob"
	"hordenode/node/ipcheck"
)

// Config is everything an operator may choose. DefaultConfig fills in what most keep.
type Config struct {
	Data     string   // data directory; empty at first start
	API      string   // HOST:PORT that the REST API listens on; port 0 picks one
	P2P      []string // libp2p multiaddrs to listen on
	Announce []string // multiaddrs to tell other nodes instead of the ones listened on
	Name     string   // of this node, unique in its federation
	Join     string   // invite token; needed once
	// PublicURL is where clients reach the API, for links that the node hands out. Empty:
	// taken from each request.
	PublicURL string

	TrustedProxies []netip.Prefix // peers whose X-Forwarded-For is believed
	ImageModels    []string       // files or URLs of image model references; none: a short built-in one
	TextModels     []string       // likewise for texts
	KudosModel     string         // file of a network that prices images; empty: the fitted one
	// OutboundAllow are networks that webhooks and source images may be called at although they
	// are not public: loopback in tests, a private bucket. Empty: none.
	OutboundAllow []netip.Prefix
	OutboundRoots *x509.CertPool // authorities of their certificates; nil: the system's
	WorkerIPCheck bool           // ask a reputation service about workers' addresses
	// WorkerIPService is that service's URL, see ipcheck.Config. It may hold a key, so it is not
	// logged.
	WorkerIPService string

	// Logins are the providers that people may log in with, besides API keys. They need PublicURL.
	Logins []Login

	Profile     string // "lan" or "wan": raft's timeouts
	AdminListen string // HOST:PORT for metrics and pprof; empty = off

	TestAPIKeys  bool // enables POST /api/v2/dev/test-user for loopback peers
	NoRateLimits bool

	// Archive keeps every entry of the ledger's log in Data/archive. It stays on once it was.
	Archive bool
	// Ballast is the size in bytes of the file that is given up when the disk is full; negative:
	// 256 MiB on disks of 10 GiB and more.
	Ballast int64
	// S3 is the store that this node keeps images in; nil: the folder Data/blobs. The node's id
	// is added to Prefix.
	S3 *blob.S3Config
	// TestSnapshotAfter makes the log be shortened after so few entries. For tests only.
	TestSnapshotAfter uint64
	// TestLedgerVersion makes this node one of an older program, which knows no later version of
	// the ledger. For tests of upgrades only; 0: what the program knows.
	TestLedgerVersion int
	// Exit ends the process when its disk hangs and nothing else would; may be nil.
	Exit func(code int)

	Version string
	Log     *slog.Logger
	Out     io.Writer // what a person should read once: the admin's key, the addresses

	Policy Policy // what this node takes part in
	Reach  Reachability
	Shards int    // into how many topics a federation that is founded divides its offers; 0: one
	Region string // where it is, as its operator names it; may be empty
	// Link tells whether the link to another member is whole: tests cut links with it. It
	// is asked often and must answer at once. nil: all are.
	Link func(peer horde.NodeID) bool

	// TakeOverAfter is how long a home must be silent before its backup takes its requests
	// over; 0 = 60 s.
	TakeOverAfter time.Duration
	// AutopilotEvery is how often the leader looks after its members; 0 = 500 ms.
	AutopilotEvery time.Duration
	// TickEvery is how often the leader stamps the ledger with its clock and hash; 0 = 2 s.
	TickEvery time.Duration
}

// DefaultConfig is a node on this machine alone.
func DefaultConfig() Config {
	name, err := os.Hostname()
	if err != nil {
		name = "node"
	}
	return Config{
		Data:    "./hordenode-data",
		API:     "127.0.0.1:7001",
		P2P:     []string{"/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/udp/4001/quic-v1"},
		Name:    name,
		Profile: "lan",
		Version: "dev",
		Log:     slog.New(slog.DiscardHandler),
		Out:     io.Discard,
	}
}

// Validate reports what is wrong with the configuration, all of it at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Data == "" {
		bad("the data directory is empty")
	}
	if _, _, err := net.SplitHostPort(c.API); err != nil {
		bad("api address %q is not HOST:PORT: %w", c.API, err)
	}
	if len(c.P2P) == 0 {
		bad("no p2p address to listen on")
	}
	if c.Name == "" || len(c.Name) > 64 || strings.ContainsAny(c.Name, " \t\r\n/:") {
		bad("name %q: want 1 to 64 characters without blanks, slashes and colons", c.Name)
	}
	if c.PublicURL != "" {
		if u, err := url.Parse(c.PublicURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			bad("public URL %q is not http(s)://HOST", c.PublicURL)
		}
	}
	if err := c.checkLogins(); err != nil {
		errs = append(errs, err)
	}
	if c.Profile != "lan" && c.Profile != "wan" {
		bad("profile %q is neither lan nor wan", c.Profile)
	}
	if c.AdminListen != "" {
		if err := checkAdmin(c.AdminListen); err != nil {
			errs = append(errs, err)
		}
	}
	if c.WorkerIPCheck {
		if err := ipcheck.CheckURL(c.WorkerIPService); err != nil {
			bad("the worker IP check needs the URL of a reputation service: %w", err)
		}
	}
	if err := c.Policy.Validate(); err != nil {
		errs = append(errs, err)
	}
	if c.Shards < 0 || c.Shards > ledger.MaxShards {
		bad("%d shards: want 0 to %d", c.Shards, ledger.MaxShards)
	}
	if len(c.Region) > 64 {
		bad("region %q: want at most 64 bytes", c.Region)
	}
	return errors.Join(errs...)
}

// withDefaults fills in what a zero value leaves open.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Log == nil {
		c.Log = d.Log
	}
	if c.Out == nil {
		c.Out = d.Out
	}
	if c.Profile == "" {
		c.Profile = d.Profile
	}
	if c.Version == "" {
		c.Version = d.Version
	}
	if c.TakeOverAfter == 0 {
		c.TakeOverAfter = defaultTakeOverAfter
	}
	if c.AutopilotEvery == 0 {
		c.AutopilotEvery = 500 * time.Millisecond
	}
	if c.TickEvery == 0 {
		c.TickEvery = 2 * time.Second
	}
	return c
}
