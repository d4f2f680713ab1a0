package main

import (
	"context"
	"fmt"
	"net/http"
)

type userCmd struct {
	Create     userCreateCmd     `cmd:"" help:"Create a user and print the API key, once."`
	Rename     userRenameCmd     `cmd:"" help:"Give a user another name."`
	Merge      userMergeCmd      `cmd:"" help:"Merge an account into another: kudos, workers, shared keys, styles, records."`
	ResetKey   userResetKeyCmd   `cmd:"" help:"Give a user a new API key, for one who lost the old; printed once."`
	MoveWorker userMoveWorkerCmd `cmd:"" help:"Give a worker to another account."`
	Import     userImportCmd     `cmd:"" help:"Set who gets kudos each month for supporting the federation, from a file."`
}

type userCreateCmd struct {
	dataFlag `embed:""`
	newUser  `embed:""`

	JSON bool `name:"json" help:"Print JSON."`
}

// newUser is what the node is asked to create.
type newUser struct {
	Name      string `arg:"" help:"Name, without the number that the federation adds." json:"name"`
	Moderator bool   `help:"May moderate." json:"moderator"`
	Admin     bool   `help:"May do everything over the API." json:"admin"`
	Trusted   bool   `help:"Is trusted: earns without escrow, may run more workers." json:"trusted"`
	Kudos     int64  `help:"Kudos to begin with, minted for this user." default:"0" json:"kudos"`
}

// createdUser is the node's answer.
type createdUser struct {
	ID     int64  `json:"id"`
	Alias  string `json:"alias"`
	APIKey string `json:"api_key"`
}

// Help is shown by --help.
func (userCreateCmd) Help() string {
	return `Example:
  hordenode user create alice --trusted --kudos 1000`
}

// Run creates a user.
func (c userCreateCmd) Run(a *app) error {
	u, err := newControl(c.Data).createUser(a.ctx, c.newUser)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, u)
	}
	_, err = fmt.Fprintf(a.stdout, "alias    %s\nAPI key  %s\n", u.Alias, u.APIKey)
	return err
}

func (c *control) createUser(ctx context.Context, u newUser) (createdUser, error) {
	var out createdUser
	err := c.do(ctx, http.MethodPost, "/users", u, &out)
	return out, err
}
