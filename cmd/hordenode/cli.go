package main

import (
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// A cli is the whole grammar: the flags that all commands share, and a field per command.
type cli struct {
	Config   kong.ConfigFlag `help:"YAML file with values for any flag, by its name; flags of one command may stand in a section named like it." placeholder:"FILE"`
	LogLevel string          `help:"What is logged to standard error: ${enum}." enum:"debug,info,warn,error" default:"info"`

	Run     runCmd     `cmd:"" group:"node" help:"Run a node: found a federation, join one, or go on."`
	Invite  inviteCmd  `cmd:"" group:"node" help:"Print a token with which another node can join."`
	Members membersCmd `cmd:"" group:"node" help:"List the members of the federation, or change one."`
	Status  statusCmd  `cmd:"" group:"node" help:"Show how a running node is."`
	User    userCmd    `cmd:"" group:"node" help:"Manage users."`

	Shards    shardsCmd    `cmd:"" group:"node" help:"Show or set into how many topics the federation divides its offers."`
	Reference referenceCmd `cmd:"" group:"node" help:"Agree on model references and image prices for the whole federation."`

	Ledger  ledgerCmd  `cmd:"" group:"keep" help:"Verify the ledger of a stopped node, export it, or show a user's history."`
	Backup  backupCmd  `cmd:"" group:"keep" help:"Write the running node's ledger to a file."`
	Restore restoreCmd `cmd:"" group:"keep" help:"Begin a federation of one where a backup ends."`
	Recover recoverCmd `cmd:"" group:"keep" help:"Go on after a majority of the voters was lost."`

	Demo   demoCmd   `cmd:"" group:"try" help:"Watch three nodes work together on this machine."`
	Worker workerCmd `cmd:"" group:"try" help:"Run simulated workers against a horde."`
	Bench  benchCmd  `cmd:"" group:"try" help:"Measure nodes under load."`

	Version versionCmd `cmd:"" help:"Print the version."`
}

const description = `A node of a federation that serves the AI Horde REST API: one binary, no other services.

Examples:
  hordenode run                              found a federation of one, on 127.0.0.1:7001
  hordenode invite                           print a token ...
  hordenode run --data b --api 127.0.0.1:7002 --p2p /ip4/127.0.0.1/tcp/4002 --join TOKEN
  hordenode demo                             see it all on this machine

Every flag is also an environment variable (HORDENODE_ and its name: HORDENODE_LOG_LEVEL) and a
line of the --config file (log-level: debug). A flag wins over the environment, the environment
over the file. HORDE_TEST_APIKEYS=1 and HORDE_TEST_RATELIMIT_DISABLED=1 are for tests only.`

// newParser builds the command line. --help panics with exited; run recovers it.
func newParser(c *cli, stdout, stderr io.Writer) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("hordenode"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{NoExpandSubcommands: true, WrapUpperBound: 110}),
		kong.ExplicitGroups([]kong.Group{{Key: "node", Title: "Run a node"}, {Key: "keep", Title: "Keep the ledger safe"}, {Key: "try", Title: "Try and measure"}}),
		kong.Configuration(loadYAML),
		kong.PostBuild(nameEnvironment),
		kong.Vars{"version": version},
	)
}

// nameEnvironment gives every flag its environment variable: HORDENODE_ and the flag in
// capitals.
func nameEnvironment(k *kong.Kong) error {
	name := func(f *kong.Flag) {
		if f.Name == "help" || len(f.Envs) > 0 {
			return
		}
		env := "HORDENODE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		f.Envs = []string{env}
		f.Tag.Envs = []string{env}
	}
	return kong.Visit(k.Model, func(n kong.Visitable, next kong.Next) error {
		if f, ok := n.(*kong.Flag); ok {
			name(f)
		}
		return next(nil)
	})
}
