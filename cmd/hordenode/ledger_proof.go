package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"hordenode/internal/horde"
	"hordenode/node"
)

type ledgerProofCmd struct {
	dataFlag `embed:""`

	User string `arg:"" help:"Number or alias of the user: 7 or alice#7."`
}

// Help is shown by --help.
func (ledgerProofCmd) Help() string {
	return `Prints a proof of what the account has, as of the ledger's last tick, with escrow and what is held: give it to the user
only. It is checked without a network by: hordenode ledger verify --proof FILE

Example:
  hordenode ledger proof alice#7 > alice.json`
}

// Run prints a proof.
func (c ledgerProofCmd) Run(a *app) error {
	id, err := userNumber(c.User)
	if err != nil {
		return err
	}
	var out json.RawMessage
	if err := newControl(c.Data).do(a.ctx, http.MethodGet, fmt.Sprintf("/ledger/proof/%d", id), nil, &out); err != nil {
		return err
	}
	return printJSON(a.stdout, out)
}

// verifyProof checks a proof from a file and says what it proves, and what it does not.
func verifyProof(a *app, path string, asJSON bool) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	p, err := node.VerifyProof(data)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.stdout, p)
	}
	t := newTable(a.stdout)
	t.row("account", fmt.Sprintf("#%d, one of %d", p.User, p.Head.Accounts))
	t.row("kudos", horde.Kudos(p.Kudos).String())
	if v := p.Private; v != nil {
		t.row("in escrow", horde.Kudos(v.Escrow).String())
		t.row("set aside", horde.Kudos(v.Held).String())
	}
	t.row("as of", fmt.Sprintf("entry %d, %s, epoch %d", p.Head.Index, p.Head.Time.Format(time.RFC3339), p.Head.Epoch))
	t.row("federation", fmt.Sprintf("%x", p.Head.Federation))
	t.row("root", fmt.Sprintf("%x", p.Head.Root))
	t.row("state hash", fmt.Sprintf("%x", p.Head.StateHash))
	t.row("signed by", string(p.Head.Node))
	t.row("verdict", "OK: the account is in the tree, and the node has signed its root")
	t.row("", "compare root and state hash with GET /api/fed/v1/ledger/head of other members for the same entry")
	return t.flush()
}
