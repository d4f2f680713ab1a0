package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"hordenode/node"
)

// userNumber reads 7 or alice#7.
func userNumber(s string) (int64, error) {
	id, err := strconv.ParseInt(s[strings.LastIndexByte(s, '#')+1:], 10, 64)
	if err != nil || id < 0 {
		return 0, fmt.Errorf("%q is neither a user's number nor an alias such as alice#7", s)
	}
	return id, nil
}

type reasonFlag struct {
	Reason string `help:"Why, for the public moderation log." placeholder:"TEXT"`
}

// changeUser asks the node for a change of a user.
func changeUser(a *app, data, user, do string, order node.UserOrder) (map[string]any, error) {
	id, err := userNumber(user)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	err = newControl(data).do(a.ctx, http.MethodPost, fmt.Sprintf("/users/%d/%s", id, do), order, &out)
	return out, err
}

type userRenameCmd struct {
	dataFlag   `embed:""`
	reasonFlag `embed:""`

	User string `arg:"" help:"Number or alias of the user: 7 or alice#7."`
	Name string `arg:"" help:"The new name, without the number."`
}

// Run renames a user.
func (c userRenameCmd) Run(a *app) error {
	out, err := changeUser(a, c.Data, c.User, "rename", node.UserOrder{Name: c.Name, Reason: c.Reason})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s is %s now\n", c.User, out["alias"])
	return err
}

type userMergeCmd struct {
	dataFlag   `embed:""`
	reasonFlag `embed:""`

	From string `arg:"" help:"Number or alias of the account that goes."`
	Into string `arg:"" help:"Number or alias of the account that stays."`
}

// Help is shown by --help.
func (userMergeCmd) Help() string {
	return `The account that goes leaves a tombstone: its number is never given again, its API key and login are good for
nothing. Kudos above the floor, escrow, open requests, workers, shared keys, teams, styles, collections and records move.

Example:
  hordenode user merge old#12 alice#7 --reason "lost the key of the old account"`
}

// Run merges two accounts.
func (c userMergeCmd) Run(a *app) error {
	into, err := userNumber(c.Into)
	if err != nil {
		return err
	}
	out, err := changeUser(a, c.Data, c.From, "merge", node.UserOrder{Into: into, Reason: c.Reason})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s was merged into %v, which has %v kudos\n", c.From, out["alias"], out["kudos"])
	return err
}

type userResetKeyCmd struct {
	dataFlag   `embed:""`
	reasonFlag `embed:""`

	User string `arg:"" help:"Number or alias of the user: 7 or alice#7."`
}

// Run gives a user a new API key.
func (c userResetKeyCmd) Run(a *app) error {
	out, err := changeUser(a, c.Data, c.User, "reset-key", node.UserOrder{Reason: c.Reason})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "API key  %v\n", out["api_key"])
	return err
}

type userMoveWorkerCmd struct {
	dataFlag   `embed:""`
	reasonFlag `embed:""`

	Worker string `arg:"" help:"Name or id of the worker."`
	To     string `arg:"" help:"Number or alias of its new owner."`
}

// Run gives a worker to another account.
func (c userMoveWorkerCmd) Run(a *app) error {
	to, err := userNumber(c.To)
	if err != nil {
		return err
	}
	order := node.WorkerOrder{To: to, Reason: c.Reason}
	if err := newControl(c.Data).do(a.ctx, http.MethodPost, "/workers/"+url.PathEscape(c.Worker)+"/move", order, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s belongs to %s now\n", c.Worker, c.To)
	return err
}
