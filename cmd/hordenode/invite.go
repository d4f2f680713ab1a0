package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

type inviteCmd struct {
	dataFlag `embed:""`

	TTL     time.Duration `name:"ttl" help:"How long the token is good for." default:"24h"`
	Learner bool          `help:"The node that joins never votes: it replicates and serves only."`
}

// Help is shown by --help.
func (inviteCmd) Help() string {
	return `The token lets one node join. It goes to standard output and is a secret until it is used.

Example:
  TOKEN=$(hordenode invite --ttl 1h)
  hordenode run --data b --name elm --join "$TOKEN"`
}

// Run prints a token.
func (c inviteCmd) Run(a *app) error {
	token, err := newControl(c.Data).invite(a.ctx, c.TTL, !c.Learner)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, token)
	return err
}

// invite asks for a token with which a node can join.
func (c *control) invite(ctx context.Context, ttl time.Duration, voter bool) (string, error) {
	in := struct {
		TTL   int64 `json:"ttl_seconds"`
		Voter bool  `json:"voter"`
	}{int64(ttl.Seconds()), voter}
	var out struct{ Token string }
	err := c.do(ctx, http.MethodPost, "/invite", in, &out)
	return out.Token, err
}
