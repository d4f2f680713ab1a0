package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"

	"hordenode/node"
)

type backupCmd struct {
	dataFlag `embed:""`

	File string `arg:"" help:"File to write." type:"path"`
}

// Help is shown by --help.
func (backupCmd) Help() string {
	return `The node goes on serving. The file is a snapshot of the ledger, accounts and kudos, and can be verified with
'hordenode ledger verify --file'. It holds no API key, no node key and nothing of open requests but their holds.

The ids of shared keys are in it sealed. Keep a copy of sharedkeys.key, of the data directory, elsewhere, and put it into
the restored directory before its first start; without it, shared keys work and are not listed any more.

Example:
  hordenode backup /backups/$(date +%F).hrd --data /var/lib/hordenode`
}

// Run takes a backup.
func (c backupCmd) Run(a *app) error {
	ctl := newControl(c.Data)
	ctl.http.Timeout = 0 // a large ledger takes its time
	req, err := http.NewRequestWithContext(a.ctx, http.MethodGet, "http://control/backup", nil)
	if err != nil {
		return err
	}
	resp, err := ctl.http.Do(req)
	if err != nil {
		return ctl.explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("the node cannot be backed up for the moment: it answered " + resp.Status)
	}
	h, err := node.SaveBackup(resp.Body, c.File)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s: federation %s, epoch %d, as of entry %d, state hash %s\n", c.File, h.Cluster, h.Epoch, h.Applied, h.StateHash)
	return err
}

type restoreCmd struct {
	File string `arg:"" help:"Backup or export." type:"existingfile"`
	Data string `help:"Data directory to make; it must be empty or absent." default:"./hordenode-data" type:"path"`
	Name string `help:"Name of the node. Default: the host name." placeholder:"NAME"`
}

// Help is shown by --help.
func (restoreCmd) Help() string {
	return `A backup is older than the ledger that it was taken of, so a restored node never joins that federation: it
begins one of its own, with all accounts and balances, a new node identity and a raised epoch. Use it when every node
is lost. While any voter is left, join a new node with 'hordenode invite' or use 'hordenode recover'.

Example:
  hordenode restore /backups/2026-11-20.hrd --data /var/lib/hordenode`
}

// Run restores a backup.
func (c restoreCmd) Run(a *app) error {
	name := c.Name
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "node"
		}
		name = host
	}
	r, err := node.Restore(c.File, c.Data, name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, `Restored %d accounts as of entry %d into %s.
This is a FORK of federation %s, from now on in epoch %d: this node, %s,
is its only member; the %d members of before were removed and cannot come back with their old data.
What happened after the backup was taken (%s) is not in it.
Start it with: hordenode run --data %s
`, r.Users, r.Applied, c.Data, r.Cluster, r.Epoch, r.Node, r.Former, r.BackupOf.Format("2006-01-02 15:04:05 MST"), c.Data)
	return err
}
