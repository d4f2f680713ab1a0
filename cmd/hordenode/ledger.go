package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"hordenode/node"
)

type ledgerCmd struct {
	Verify   ledgerVerifyCmd   `cmd:"" help:"Derive every balance again and compare; exit code 1 if anything is wrong."`
	Export   ledgerExportCmd   `cmd:"" help:"Write checkpoint and log to a file that others can verify."`
	History  ledgerHistoryCmd  `cmd:"" help:"Show every movement of a user's kudos that the log still tells."`
	Commands ledgerCommandsCmd `cmd:"" help:"List what a member wrote to the ledger."`
	Reverse  ledgerReverseCmd  `cmd:"" help:"Take back what a member's commands booked, by booking the opposite."`
	Proof    ledgerProofCmd    `cmd:"" help:"Print a proof of what an account has, to be checked offline."`
}

type stoppedFlag struct {
	Data string `help:"Data directory of the stopped node." default:"./hordenode-data" type:"path"`
}

type ledgerVerifyCmd struct {
	stoppedFlag `embed:""`

	File  string `help:"An export or a backup to verify instead." placeholder:"FILE" type:"path"`
	Proof string `help:"A proof of one account to verify instead." placeholder:"FILE" type:"path"`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// Help is shown by --help.
func (ledgerVerifyCmd) Help() string {
	return `Works on a copy: nothing in the directory is changed. Every batch is checked for its member's signature and
place in its sequence, every command is applied again, and the chain head, the state hash and every row are compared
with what is stored. The derivation begins with the founding of the federation if the log or the archive (run --archive)
still has it, else at the oldest snapshot, and says so.

Examples:
  hordenode ledger verify --data /var/lib/hordenode
  hordenode ledger verify --file ledger.hrd --json`
}

// Run verifies a ledger.
func (c ledgerVerifyCmd) Run(a *app) error {
	if c.Proof != "" {
		return verifyProof(a, c.Proof, c.JSON)
	}
	var r *node.Report
	var err error
	if c.File != "" {
		r, err = node.VerifyExport(a.ctx, c.File)
	} else {
		r, err = node.VerifyLedger(a.ctx, c.Data)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(a.stdout, r)
	} else {
		err = showReport(a, r)
	}
	if err == nil && !r.OK() {
		err = fmt.Errorf("the ledger of %s is NOT what its log leads to: %d problems", r.Source, len(r.Problems))
	}
	return err
}

func showReport(a *app, r *node.Report) error {
	t := newTable(a.stdout)
	t.row("ledger", r.Source)
	t.row("federation", fmt.Sprintf("%s, epoch %d", cmp.Or(r.Federation, "unknown"), r.Epoch))
	t.row("derived", fmt.Sprintf("%s, up to entry %d", r.Begins, r.Applied))
	t.row("checked", fmt.Sprintf("%d entries, %d signed batches in sequence, %d commands; %d batches refused, %d older ones by signature only", r.Entries, r.Batches, r.Commands, r.Refused, r.Earlier))
	t.row("compared", fmt.Sprintf("%d rows, balances of %d accounts", r.Rows, r.Accounts))
	t.row("chain head", r.ChainHead)
	t.row("state hash", r.StateHash)
	for _, n := range r.Notes {
		t.row("note", n)
	}
	for _, p := range r.Problems {
		t.row("PROBLEM", p)
	}
	verdict := "OK: every balance follows from the log since its beginning"
	switch {
	case !r.OK():
		verdict = "FAILED"
	case r.Checkpoint > 0:
		verdict = fmt.Sprintf("OK: every balance follows from the checkpoint of entry %d and the log since; the checkpoint itself is taken on trust", r.Checkpoint)
	}
	t.row("verdict", verdict)
	return t.flush()
}

type ledgerExportCmd struct {
	stoppedFlag `embed:""`

	File string `arg:"" help:"File to write." type:"path"`
}

// Help is shown by --help.
func (ledgerExportCmd) Help() string {
	return `The format is described in docs/export.md. The file holds no API key, no node key and,
but for keys made before version 2 of the ledger, no id of a shared key.

Example:
  hordenode ledger export ledger.hrd --data /var/lib/hordenode`
}

// Run exports a ledger.
func (c ledgerExportCmd) Run(a *app) error {
	h, err := node.ExportLedger(a.ctx, c.Data, c.File, version)
	if err != nil {
		return err
	}
	begins := "the genesis"
	if h.Checkpoint > 0 {
		begins = fmt.Sprintf("the checkpoint of entry %d", h.Checkpoint)
	}
	_, err = fmt.Fprintf(a.stdout, "%s: federation %s, epoch %d, from %s to entry %d, state hash %s\n", c.File, h.Cluster, h.Epoch, begins, h.Applied, h.StateHash)
	return err
}

type ledgerHistoryCmd struct {
	stoppedFlag `embed:""`

	User string `arg:"" help:"Number or alias of the user: 7 or alice#7."`
	JSON bool   `name:"json" help:"Print JSON, a line for each movement and one for the end."`
}

// Help is shown by --help.
func (ledgerHistoryCmd) Help() string {
	return `Example:
  hordenode ledger history alice#7 --data /var/lib/hordenode`
}

// Run shows a user's history.
func (c ledgerHistoryCmd) Run(a *app) error {
	var lines []node.Movement
	st, err := node.HistoryOf(a.ctx, c.Data, c.User, func(m node.Movement) error {
		lines = append(lines, m)
		return nil
	})
	if err != nil {
		return err
	}
	if c.JSON {
		for _, m := range lines {
			err = errors.Join(err, printJSON(a.stdout, m))
		}
		return errors.Join(err, printJSON(a.stdout, st))
	}
	t := newTable(a.stdout, "INDEX", "TIME", "KIND", "AMOUNT", "ESCROW", "HELD", "BALANCE")
	for _, m := range lines {
		t.row(strconv.FormatUint(m.Index, 10), m.At.Format(time.DateTime), m.Kind, m.Amount.String(), m.Escrow.String(), m.Held.String(), m.Balance.String())
	}
	if err := t.flush(); err != nil {
		return err
	}
	since := "since the federation was founded"
	if !st.Complete {
		since = fmt.Sprintf("since entry %d, when the balance was %v; what came before is not in the log any more", st.From, st.Opening)
	}
	_, err = fmt.Fprintf(a.stdout, "%s: %d movements %s. Balance %v, in escrow %v, set aside %v.\n", st.Name, len(lines), since, st.Balance, st.Escrow, st.Held)
	return err
}
