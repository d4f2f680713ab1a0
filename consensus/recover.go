package consensus

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// Recover makes this node the only member of its group, for good: the way on after a majority
// is lost. It is for an operator who knows that the others will not come back with their
// data, runs offline, and is to be run on the node that knows most. Every entry of this
// node's log counts as committed from now on, also those that were not. The other nodes must
// be wiped before they join again.
//
// It returns the index of the last entry applied. The machine must be a fresh one and is of
// no further use; cfg.Streams is not used. A directory with no state, in use or damaged is
// refused.
func Recover(cfg Config, sm StateMachine) (applied uint64, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return 0, err
	}
	t := cfg.tuning()
	g, err := openDisks(cfg, sm, t)
	if err != nil {
		return 0, err
	}
	_, trans := raft.NewInmemTransport(raft.ServerAddress(cfg.Self)) // only names the server
	err = raft.RecoverCluster(t.raftConfig(cfg.Self, cfg.Log), g.fsm, g.log, g.log, g.snaps, trans, g.alone())
	applied = g.Applied()
	close(g.stopped)
	g.wg.Wait()
	if err := errors.Join(err, g.closeDisks()); err != nil {
		return 0, fmt.Errorf("recover group: %w", err)
	}
	return applied, nil
}

// alone is the configuration of a group of this node only.
func (g *Group) alone() raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{{
		ID: raft.ServerID(g.cfg.Self), Address: raft.ServerAddress(g.cfg.Self), Suffrage: raft.Voter,
	}}}
}
