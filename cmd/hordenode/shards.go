package main

import (
	"fmt"
	"net/http"

	"hordenode/node"
)

type shardsCmd struct {
	dataFlag `embed:""`

	JSON   bool `name:"json" help:"Print JSON."`
	Shards *int `arg:"" optional:"" help:"How many; 0 joins them again. Left out: show how many there are."`
}

// Help is shown by --help.
func (shardsCmd) Help() string {
	return `Offers of images and of texts go to one topic each, which all nodes are in. Divided, a node is in the topics
that its workers and requests need. It pays from some hundred nodes on: docs/growth.md.

Examples:
  hordenode shards
  hordenode shards 16`
}

// Run shows or sets the number.
func (c shardsCmd) Run(a *app) error {
	method, body := http.MethodGet, any(nil)
	if c.Shards != nil {
		method, body = http.MethodPut, node.ShardStatus{Shards: *c.Shards}
	}
	var s node.ShardStatus
	if err := newControl(c.Data).do(a.ctx, method, "/shards", body, &s); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, s)
	}
	text := "Offers are not divided."
	if s.Shards > 0 {
		text = fmt.Sprintf("Offers of images and of texts are divided into %d topics each.", s.Shards)
	}
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}
