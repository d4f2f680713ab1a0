package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"hordenode/internal/horde"
	"hordenode/node"
)

// whose selects the commands of a member.
type whose struct {
	Member string `help:"Name or id of the member." required:""`
	Since  string `help:"From which log index (812), time (2026-11-20T10:00:00Z) or span before now (36h)." default:"0"`
	File   string `help:"An export to read (hordenode ledger export)." placeholder:"FILE" type:"path"`
}

func (w whose) query(booked bool) (node.DoingsQuery, error) {
	since, err := node.ParseSince(w.Since, time.Now())
	return node.DoingsQuery{Member: w.Member, Since: since, Booked: booked}, err
}

type ledgerCommandsCmd struct {
	stoppedFlag `embed:""`
	whose       `embed:""`

	Booked bool `help:"Only those that changed balances."`
	JSON   bool `name:"json" help:"Print JSON, a line for each command."`
}

// Help is shown by --help.
func (ledgerCommandsCmd) Help() string {
	return `Reads the log and archive of a stopped node, or an export.

Examples:
  hordenode ledger commands --member elm --since 36h --data /var/lib/hordenode
  hordenode ledger commands --member elm --since 812 --booked --file ledger.hrd --json`
}

// Run lists a member's commands.
func (c ledgerCommandsCmd) Run(a *app) error {
	q, err := c.query(c.Booked)
	if err != nil {
		return err
	}
	var list []node.Doing
	if c.File != "" {
		list, _, err = node.DoingsIn(a.ctx, c.File, q)
	} else {
		list, _, err = node.DoingsOf(a.ctx, c.Data, q)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		for _, d := range list {
			if err := printJSON(a.stdout, d); err != nil {
				return err
			}
		}
		return nil
	}
	return showDoings(a, list)
}

func showDoings(a *app, list []node.Doing) error {
	t := newTable(a.stdout, "COMMAND", "TIME", "KIND", "BOOKED")
	for _, d := range list {
		var did []string
		for _, b := range d.Booked {
			did = append(did, b.String())
		}
		switch {
		case d.Refused != "":
			did = []string{"refused: " + string(d.Refused)}
		case d.Reversed:
			did = append(did, "(reversed)")
		}
		t.row(d.Place.String(), d.At.Format(time.DateTime), d.Kind, strings.Join(did, ", "))
	}
	return t.flush()
}

type ledgerReverseCmd struct {
	dataFlag   `embed:""`
	whose      `embed:""`
	reasonFlag `embed:""`

	Kind   []string `help:"Only commands of these kinds, such as settlement or award." placeholder:"KIND"`
	DryRun bool     `help:"Show what would be reversed, and do nothing."`
}

// Help is shown by --help.
func (ledgerReverseCmd) Help() string {
	return `Books the opposite of what a member's commands booked. Nothing is erased: both stand in every statement, the second
as a reversal of the first. A command is reversed once, however often this is run. What commands did beside kudos (accounts,
roles, workers) stays; "ledger commands" lists it. No balance falls below its floor.

The log is read from an export (--file) that any stopped member, or this one before, has made; the reversals go
through the running node of --data.

Example, after "hordenode members suspend elm":
  hordenode ledger export /tmp/ledger.hrd --data /var/lib/hordenode     # a node that is stopped
  hordenode ledger reverse --member elm --since 2026-11-20 --file /tmp/ledger.hrd --dry-run
  hordenode ledger reverse --member elm --since 2026-11-20 --file /tmp/ledger.hrd --reason "invented workers"`
}

// Run reverses a member's commands, the newest first.
func (c ledgerReverseCmd) Run(a *app) error {
	if c.File == "" {
		return fmt.Errorf("--file is missing: an export of the ledger (hordenode ledger export)")
	}
	q, err := c.query(true)
	if err != nil {
		return err
	}
	all, member, err := node.DoingsIn(a.ctx, c.File, q)
	if err != nil {
		return err
	}
	list := c.reversible(all)
	if c.DryRun {
		if err := showDoings(a, list); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.stdout, "%d commands of %s would be reversed\n", len(list), member.Name)
		return err
	}
	done, before, err := c.reverse(a.ctx, newControl(c.Data), member.ID, list)
	if _, perr := fmt.Fprintf(a.stdout, "%d commands of %s reversed, %d were reversed before\n", done, member.Name, before); err == nil {
		err = perr
	}
	return err
}

// reversible are the commands to reverse, the newest first, so that what was paid on is taken
// back before what it was paid from.
func (c ledgerReverseCmd) reversible(all []node.Doing) []node.Doing {
	wanted := map[string]bool{}
	for _, k := range c.Kind {
		wanted[k] = true
	}
	var list []node.Doing
	for i := len(all) - 1; i >= 0; i-- {
		if d := all[i]; d.Reversible() && (len(wanted) == 0 || wanted[d.Kind]) {
			list = append(list, d)
		}
	}
	return list
}

// reverse goes on where it was broken off: what was reversed is refused without harm.
func (c ledgerReverseCmd) reverse(ctx context.Context, control *control, member horde.NodeID, list []node.Doing) (done, before int, err error) {
	for _, d := range list {
		var out node.ReverseAnswer
		order := node.ReverseOrder{Of: d.Place, Member: member, Booked: d.Booked, Reason: c.Reason}
		if err := control.do(ctx, http.MethodPost, "/ledger/reverse", order, &out); err != nil {
			return done, before, fmt.Errorf("command %v: %w", d.Place, err)
		}
		if out.Done {
			done++
		} else {
			before++
		}
	}
	return done, before, nil
}
