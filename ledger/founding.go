package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"hordenode/internal/horde"
)

// A Founding is what a new federation begins with. Command is the first one of its ledger;
// it holds only a hash of the admin's key, so it may be kept until it is committed.
type Founding struct {
	Command  []byte
	Cluster  ClusterID
	AdminKey horde.APIKey
}

// NewFounding makes the first command of a federation of which founder is the first
// member. It is proposed in a batch of the zero Cluster.
func NewFounding(founder horde.Member, cfg Config, rnd io.Reader) (Founding, error) {
	cmd, key, err := newGenesis(founder, cfg, rnd)
	if err != nil {
		return Founding{}, err
	}
	_, body, err := splitCommand(cmd)
	if err != nil {
		return Founding{}, err
	}
	return Founding{Command: cmd, Cluster: clusterOf(body), AdminKey: key}, nil
}

// clusterOf names the federation that a Genesis command with the given body founds.
func clusterOf(body []byte) ClusterID {
	return sha256.Sum256(append([]byte(domainCluster), body...))
}

// ParseClusterID reads what ClusterID.String wrote.
func ParseClusterID(s string) (ClusterID, error) {
	var c ClusterID
	n, err := hex.Decode(c[:], []byte(s[:min(len(s), 2*len(c))]))
	if err != nil || n != len(c) || len(s) != 2*len(c) {
		return ClusterID{}, errors.New("not a federation id")
	}
	return c, nil
}
