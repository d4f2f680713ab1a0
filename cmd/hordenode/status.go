package main

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hordenode/node"
)

type statusCmd struct {
	dataFlag `embed:""`

	JSON bool `name:"json" help:"Print JSON."`
}

// Help is shown by --help.
func (statusCmd) Help() string {
	return `Example:
  hordenode status --data /var/lib/hordenode --json`
}

// Run shows how the node is.
func (c statusCmd) Run(a *app) error {
	var s node.Status
	if err := newControl(c.Data).do(a.ctx, http.MethodGet, "/status", nil, &s); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, s)
	}
	t := newTable(a.stdout)
	t.row("node", fmt.Sprintf("%s (%s)", s.Name, s.ID))
	t.row("version", s.Version)
	t.row("up", (time.Duration(s.UptimeSeconds) * time.Second).String())
	t.row("federation", s.Federation)
	t.row("ledger version", fmt.Sprintf("%d (this program knows %d)", s.LedgerVersion, s.LedgerSupports))
	t.row("role", s.Role)
	t.row("leader", cmp.Or(s.Leader, "none"))
	t.row("term", strconv.FormatUint(s.Term, 10))
	t.row("applied", fmt.Sprintf("%d (committed %d, last %d)", s.AppliedIndex, s.CommitIndex, s.LastLog))
	t.row("chain head", s.ChainHead)
	t.row("state hash", s.StateHash)
	t.row("staleness", (time.Duration(s.StalenessMS) * time.Millisecond).String())
	t.row("API", s.URL)
	t.row("p2p", strings.Join(s.P2P, " "))
	t.row("reached", reached(s.Reach))
	t.row("requests", fmt.Sprintf("%d here, %d offers in the federation", s.Requests, s.Offers))
	t.row("workers", strconv.Itoa(s.Workers))
	t.row("image prices", s.ImagePrices)
	t.row("outbox", fmt.Sprintf("%d waiting for the ledger", s.Outbox))
	for i, p := range s.Peers {
		label := ""
		if i == 0 {
			label = "peers"
		}
		state := "not connected"
		if p.Connected {
			state = fmt.Sprintf("%.1f ms, %s", p.RTTMillis, way(p.Relay))
		}
		t.row(label, fmt.Sprintf("%s  %s", p.Name, state))
	}
	return t.flush()
}

// reached says how others come to a node.
func reached(r node.ReachStatus) string {
	switch {
	case len(r.Relays) > 0:
		return "through " + strings.Join(r.Relays, " and ") + ": others cannot connect to this node by themselves"
	case r.Dialable == "no":
		return "by nobody: others cannot connect to this node by themselves, and no member relays"
	case r.Dialable == "yes" && r.Relaying:
		return "directly; it relays for members that are not"
	case r.Dialable == "yes":
		return "directly"
	}
	return "unknown: nobody could be asked yet"
}

// way says how a connection leads to its member.
func way(relay string) string {
	if relay == "" {
		return "direct"
	}
	return "relayed by " + relay
}
