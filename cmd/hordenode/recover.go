package main

import (
	"errors"
	"fmt"
	"strings"

	"hordenode/node"
)

type recoverCmd struct {
	stoppedFlag `embed:""`

	Peers  string `help:"JSON file that lists who belongs to the federation from now on, this node among them: [{\"id\": \"12D3…\", \"address\": \"\"}, …]." placeholder:"FILE" type:"path"`
	Rejoin bool   `help:"On the other nodes: give up this node's copy of the ledger and fetch the recovered one."`
	Epoch  uint64 `help:"With --rejoin: the epoch that the recovered node told." placeholder:"N"`
}

// Help is shown by --help.
func (recoverCmd) Help() string {
	return `For the day when a majority of the voters is lost for good. Stop all nodes that are left, run this on the voter that
knows most (the largest 'applied' in 'hordenode status'), start it, then run 'recover --rejoin' on the others and start
them. Entries that only lost nodes had are lost. The new epoch is written into the ledger; nodes of the old one are refused.

Examples:
  echo '[{"id": "12D3KooW…"}]' > peers.json
  hordenode recover --peers peers.json --data /var/lib/hordenode
  hordenode recover --rejoin --epoch 2 --data /var/lib/hordenode`
}

// Run recovers a federation, or brings a node into a recovered one.
func (c recoverCmd) Run(a *app) error {
	switch {
	case c.Rejoin && c.Peers != "":
		return errors.New("either --peers, on the node that goes on, or --rejoin, on the others")
	case c.Rejoin:
		if c.Epoch < 1 {
			return errors.New("--rejoin needs --epoch: 'hordenode recover --peers' told it, and so does the log of a refused node")
		}
		if err := node.Rejoin(c.Data, c.Epoch); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.stdout, "At its next start this node forgets its copy of the ledger and fetches that of epoch %d.\n", c.Epoch)
		return err
	case c.Peers == "":
		return errors.New("--peers is needed: who belongs to the federation from now on?")
	}
	r, err := node.Recover(node.RecoverOptions{Data: c.Data, Peers: c.Peers})
	if err != nil {
		return err
	}
	removed := "nobody"
	if len(r.Removed) > 0 {
		removed = strings.Join(r.Removed, ", ")
	}
	_, err = fmt.Fprintf(a.stdout, `This node is the only voter now. It knows the ledger up to entry %d; epoch %d begins at its next start.
Members: %s. Removed: %s.
Start it, then on each of the others: hordenode recover --rejoin --epoch %d --data THEIR_DIR
`, r.Applied, r.Epoch, strings.Join(r.Kept, ", "), removed, r.Epoch)
	return err
}
