package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

// How a federation gets to the next version of its ledger while its nodes are upgraded one by
// one (docs/decisions/0013-versions.md):
//
//	every node    greets the others with the version that its program knows; 1 if it says nothing
//	the leader    has heard of all active members that they know more than the federation is at:
//	              it raises the federation's version by a command
//	every node    then notes in its own row what it knows, and may send the newer commands

// reportEvery is how often a node that is not heard says again what it supports.
const reportEvery = 10 * time.Second

// errNotHeard means that a member's version is not known here.
var errNotHeard = errors.New("not every member is known to support a newer version")

// supported is the newest version of the ledger that this node knows.
func (c *Config) supported() ledger.Version {
	if c.TestLedgerVersion > 0 {
		return ledger.Version(c.TestLedgerVersion)
	}
	return ledger.NewestVersion
}

// heard returns what a member's program supports, as it said in its greeting; 0: never met.
func (a *acquaintances) heard(id horde.NodeID) ledger.Version {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[id].Ledger
}

// hear notes what the program of a node that answered a greeting supports.
func (a *acquaintances) hear(id horde.NodeID, v ledger.Version) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.seen[id]
	g.Ledger = max(v, 1)
	a.seen[id] = g
}

// versionOf is what a member's program supports: its own word, else its row in the ledger.
func (n *Node) versionOf(m horde.Member) ledger.Version {
	if m.ID == n.self {
		return n.cfg.supported()
	}
	if v := n.peers.heard(m.ID); v > 0 {
		return v
	}
	return ledger.Version(m.Ledger)
}

// commonVersion is the newest version that all active members support, and who they are;
// an error if one is not known.
func (n *Node) commonVersion() (v ledger.Version, ids []horde.NodeID, err error) {
	v = n.cfg.supported()
	for _, m := range n.ledger.Members() {
		if !m.Active {
			continue
		}
		knows := n.versionOf(m)
		if knows == 0 {
			err = fmt.Errorf("%w: %s", errNotHeard, m.Name)
			continue
		}
		v, ids = min(v, knows), append(ids, m.ID)
	}
	return v, ids, err
}

// followVersion raises the federation's version while this node leads, and keeps this node's
// own row right.
func (n *Node) followVersion(ctx context.Context) error {
	tick := time.NewTicker(n.cfg.AutopilotEvery)
	defer tick.Stop()
	var reported time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !n.founded() {
			continue
		}
		at := n.ledger.Version()
		if at < n.cfg.supported() && n.group.IsLeader() {
			n.raiseVersion(ctx, at)
		}
		me, ok := n.ledger.Member(n.self)
		if at > 1 && ok && me.Active && me.Ledger != uint16(n.cfg.supported()) && time.Since(reported) > reportEvery {
			reported = time.Now()
			if err := n.ReportVersion(ctx); err != nil && ctx.Err() == nil {
				n.log.WarnContext(ctx, "cannot note in the ledger what this node supports", "err", err)
			}
		}
	}
}

// ReportVersion notes in this node's row of the ledger what its program supports.
func (n *Node) ReportVersion(ctx context.Context) error {
	return n.order(ctx, ledger.EncodeReportVersion(n.cfg.supported()))
}

// raiseVersion takes the federation to what all support, if that is more than now.
func (n *Node) raiseVersion(ctx context.Context, at ledger.Version) {
	v, ids, err := n.commonVersion()
	if err != nil || v <= at {
		return // it is tried again; hordenode members shows for whom the federation waits
	}
	if err := n.order(ctx, ledger.EncodeRaiseVersion(v, ids, false)); err != nil {
		if ctx.Err() == nil {
			n.log.WarnContext(ctx, "cannot raise the federation's version", "from", at, "to", v, "err", err)
		}
		return
	}
	n.log.InfoContext(ctx, "the federation's version was raised: every member supports it", "from", at, "to", v)
}

// Upgrade takes the federation to the newest version that its members support, now. With
// force it is this node's, and members that do not support it stop until they are upgraded.
func (n *Node) Upgrade(ctx context.Context, force bool) (ledger.Version, error) {
	at := n.ledger.Version()
	v, ids, err := n.commonVersion()
	switch {
	case force:
		v = n.cfg.supported()
	case err != nil:
		return at, err
	}
	if v <= at {
		return at, nil
	}
	if err := n.order(ctx, ledger.EncodeRaiseVersion(v, ids, force)); err != nil {
		return at, err
	}
	return v, nil
}

// order writes one command and returns its refusal, if it is refused.
func (n *Node) order(ctx context.Context, cmd []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	results, err := n.proposer.Do(ctx, cmd)
	if err != nil {
		return err
	}
	return results[0].Err()
}
