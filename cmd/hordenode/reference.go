package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"hordenode/node"
)

type referenceCmd struct {
	dataFlag `embed:""`

	JSON bool            `name:"json" help:"Print JSON."`
	List refListCmd      `cmd:"" default:"1" help:"Show what all nodes use (the default)."`
	Set  referenceSetCmd `cmd:"" help:"Make a file or address what all nodes use; they fetch it from each other."`
	Drop refDropCmd      `cmd:"" help:"Let each node use its own again."`
}

// Help is shown by --help.
func (referenceCmd) Help() string {
	return `Kinds: images and texts are references of models, in the AI Horde's JSON; prices is a network
that prices images, as an .npz file. The ledger holds their SHA-256.

Examples:
  hordenode reference
  hordenode reference set images stable_diffusion.json
  hordenode reference set texts https://example.org/db.json
  hordenode reference drop prices`
}

type refListCmd struct{}

// Run shows what is agreed on.
func (refListCmd) Run(a *app, c *cli) error {
	var list []node.ContentStatus
	if err := newControl(c.Reference.Data).do(a.ctx, http.MethodGet, "/content", nil, &list); err != nil {
		return err
	}
	if c.Reference.JSON {
		return printJSON(a.stdout, list)
	}
	t := newTable(a.stdout, "KIND", "ALL NODES USE", "IN USE HERE")
	for _, s := range list {
		agreed := s.Agreed
		if agreed == "" {
			agreed = "each its own"
		}
		t.row(s.Kind, agreed, yesNo(s.InUse))
	}
	return t.flush()
}

type referenceSetCmd struct {
	Kind string `arg:"" enum:"images,texts,prices" help:"images, texts or prices."`
	From string `arg:"" help:"File or http(s) address."`
}

// Run hands the content to the node.
func (s referenceSetCmd) Run(a *app, c *cli) error {
	in, err := openReference(a, s.From)
	if err != nil {
		return err
	}
	defer in.Close()
	var set node.ContentStatus
	if err := newControl(c.Reference.Data).send(a.ctx, http.MethodPut, "/content/"+s.Kind, in, &set); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "All nodes use %s %s.\n", set.Kind, set.Agreed)
	return err
}

// openReference opens a file, or an address that the operator chose.
func openReference(a *app, from string) (io.ReadCloser, error) {
	if !strings.HasPrefix(from, "http://") && !strings.HasPrefix(from, "https://") {
		return os.Open(from)
	}
	req, err := http.NewRequestWithContext(a.ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	res, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("%s answered %s", from, res.Status)
	}
	return res.Body, nil
}

type refDropCmd struct {
	Kind string `arg:"" enum:"images,texts,prices" help:"images, texts or prices."`
}

// Run gives the nodes their own back.
func (d refDropCmd) Run(a *app, c *cli) error {
	if err := newControl(c.Reference.Data).send(a.ctx, http.MethodDelete, "/content/"+d.Kind, nil, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "Each node uses its own %s.\n", d.Kind)
	return err
}
