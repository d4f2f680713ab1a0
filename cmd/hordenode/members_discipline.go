package main

import (
	"fmt"
	"net/http"
	"net/url"
)

type memberReason struct {
	memberName `embed:""`

	Reason string `help:"Why, for the public moderation log." placeholder:"TEXT"`
}

type memberSuspendCmd struct {
	memberReason `embed:""`
}

// Help is shown by --help.
func (memberSuspendCmd) Help() string {
	return `Nothing is lost: the member goes on replicating and serving what it can, and what it has to write waits at
the member until it is readmitted. To take back what it wrote before, see: hordenode ledger reverse --help

Example:
  hordenode members suspend elm --reason "mints kudos for workers that do not exist"`
}

// Run suspends a member.
func (m memberSuspendCmd) Run(a *app, c *cli) error {
	return c.Members.discipline(a, m.memberReason, "suspend", "is suspended")
}

type memberExpelCmd struct {
	memberReason `embed:""`
}

// Run expels a member.
func (m memberExpelCmd) Run(a *app, c *cli) error {
	return c.Members.discipline(a, m.memberReason, "expel", "was expelled")
}

type memberReadmitCmd struct {
	memberReason `embed:""`
}

// Run readmits a member.
func (m memberReadmitCmd) Run(a *app, c *cli) error {
	return c.Members.discipline(a, m.memberReason, "readmit", "is a member again")
}

// discipline asks for a measure and says that it was taken.
func (c membersCmd) discipline(a *app, m memberReason, what, done string) error {
	var out any
	body := struct {
		Reason string `json:"reason"`
	}{m.Reason}
	if err := newControl(c.Data).do(a.ctx, http.MethodPost, "/members/"+url.PathEscape(m.Name)+"/"+what, body, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, out)
	}
	_, err := fmt.Fprintf(a.stdout, "%s %s\n", m.Name, done)
	return err
}
