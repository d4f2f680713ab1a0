package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"

	"hordenode/node"
)

type membersCmd struct {
	dataFlag `embed:""`

	JSON    bool              `name:"json" help:"Print JSON."`
	List    membersListCmd    `cmd:"" default:"1" help:"List the members (the default)."`
	Promote memberPromoteCmd  `cmd:"" help:"Let a member vote."`
	Demote  memberDemoteCmd   `cmd:"" help:"Keep a member from voting; it goes on replicating and serving."`
	Remove  memberRemoveCmd   `cmd:"" help:"Remove a member for good: its commands have no effect any more."`
	Suspend memberSuspendCmd  `cmd:"" help:"Let a member's commands wait, and keep it from voting, until it is readmitted."`
	Expel   memberExpelCmd    `cmd:"" help:"Remove a member and say why, for everybody to read."`
	Readmit memberReadmitCmd  `cmd:"" help:"Take back a suspension or an expulsion."`
	Upgrade membersUpgradeCmd `cmd:"" help:"Raise the version of the federation's ledger to what its members support. It happens by itself."`
}

// Help is shown by --help.
func (membersCmd) Help() string {
	return `Examples:
  hordenode members
  hordenode members demote elm
  hordenode members --json`
}

type membersListCmd struct{}

// Run lists the members.
func (membersListCmd) Run(a *app, c *cli) error {
	var list []node.MemberStatus
	if err := newControl(c.Members.Data).do(a.ctx, http.MethodGet, "/members", nil, &list); err != nil {
		return err
	}
	if c.Members.JSON {
		return printJSON(a.stdout, list)
	}
	t := newTable(a.stdout, "NAME", "ROLE", "CONNECTED", "DIALABLE", "RTT", "LEDGER", "URL", "ID")
	for _, m := range list {
		rtt := ""
		if m.RTTMillis > 0 {
			rtt = fmt.Sprintf("%.1f ms", m.RTTMillis)
		}
		role := m.Role
		if role == "learner" && !m.Voter {
			role = "learner (never votes)"
		}
		t.row(m.Name, role, connection(m), cmp.Or(m.Dialable, "?"), rtt, versionOf(m), m.URL, string(m.ID))
	}
	return t.flush()
}

// connection says whether and how this node is connected to a member.
func connection(m node.MemberStatus) string {
	if m.Connected && m.Relay != "" {
		return way(m.Relay)
	}
	return yesNo(m.Connected)
}

// versionOf is the newest version of the ledger that a member knows, or a question mark.
func versionOf(m node.MemberStatus) string {
	if m.LedgerVersion == 0 {
		return "?"
	}
	return fmt.Sprintf("v%d", m.LedgerVersion)
}

type membersUpgradeCmd struct {
	Force bool `help:"Do not wait for members that cannot be asked or do not support it: they stop until they are upgraded."`
}

// Run raises the version.
func (m membersUpgradeCmd) Run(a *app, c *cli) error {
	var out struct {
		Version int `json:"version"`
	}
	if err := newControl(c.Members.Data).do(a.ctx, http.MethodPost, "/upgrade", map[string]bool{"force": m.Force}, &out); err != nil {
		return err
	}
	if c.Members.JSON {
		return printJSON(a.stdout, out)
	}
	_, err := fmt.Fprintf(a.stdout, "the federation is at version %d of its ledger\n", out.Version)
	return err
}

type memberName struct {
	Name string `arg:"" help:"Name or id of the member."`
}

type memberPromoteCmd struct {
	memberName `embed:""`
}

// Run promotes a member.
func (m memberPromoteCmd) Run(a *app, c *cli) error {
	return c.Members.change(a, m.Name, "promote", "may vote now")
}

type memberDemoteCmd struct {
	memberName `embed:""`
}

// Run demotes a member.
func (m memberDemoteCmd) Run(a *app, c *cli) error {
	return c.Members.change(a, m.Name, "demote", "votes no more")
}

type memberRemoveCmd struct {
	memberName `embed:""`
}

// Run removes a member.
func (m memberRemoveCmd) Run(a *app, c *cli) error {
	return c.Members.change(a, m.Name, "remove", "was removed")
}

// change asks for a change of one member and says that it happened.
func (c membersCmd) change(a *app, name, what, done string) error {
	var out any
	if err := newControl(c.Data).do(a.ctx, http.MethodPost, "/members/"+url.PathEscape(name)+"/"+what, nil, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, out)
	}
	_, err := fmt.Fprintf(a.stdout, "%s %s\n", name, done)
	return err
}
