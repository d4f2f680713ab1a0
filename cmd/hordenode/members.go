package main

import (
	"fmt"
	"net/http"
	"net/url"

	"hordenode/node"
)

type membersCmd struct {
	dataFlag `embed:""`

	JSON    bool             `name:"json" help:"Print JSON."`
	List    membersListCmd   `cmd:"" default:"1" help:"List the members (the default)."`
	Promote memberPromoteCmd `cmd:"" help:"Let a member vote."`
	Demote  memberDemoteCmd  `cmd:"" help:"Keep a member from voting; it goes on replicating and serving."`
	Remove  memberRemoveCmd  `cmd:"" help:"Remove a member for good: its commands have no effect any more."`
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
	t := newTable(a.stdout, "NAME", "ROLE", "CONNECTED", "RTT", "URL", "ID")
	for _, m := range list {
		rtt := ""
		if m.RTTMillis > 0 {
			rtt = fmt.Sprintf("%.1f ms", m.RTTMillis)
		}
		role := m.Role
		if role == "learner" && !m.Voter {
			role = "learner (never votes)"
		}
		t.row(m.Name, role, yesNo(m.Connected), rtt, m.URL, string(m.ID))
	}
	return t.flush()
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
