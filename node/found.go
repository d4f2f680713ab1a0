package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

// findFederation decides which federation this directory belongs to: the one it was told,
// the one of the token, or a new one.
func (n *Node) findFederation() error {
	known, err := n.dir.federation()
	if err != nil {
		return err
	}
	switch {
	case known != nil && n.cfg.Join != "":
		invite, err := ledger.ParseInvite(n.cfg.Join, time.Now())
		// An old token is not needed any more; only one of another federation is a mistake.
		if err == nil && invite.Cluster.String() != known.Cluster || err != nil && !errors.Is(err, ledger.ErrInviteExpired) {
			return fmt.Errorf("%s belongs to federation %s already, and the token is for another one: use an empty directory, or leave --join out",
				n.cfg.Data, short(known.Cluster))
		}
		if err == nil && invite.Epoch != known.Epoch {
			return fmt.Errorf("%s is of epoch %d of federation %s, and the token of epoch %d: they were parted by a restore or a recovery. Join with an empty directory", n.cfg.Data, known.Epoch, short(known.Cluster), invite.Epoch)
		}
		n.fed = *known
	case known != nil:
		n.fed = *known
	case n.cfg.Join != "":
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if n.fed, err = join(ctx, n.cfg.Join, n.asMember(), n.sign); err != nil {
			return err
		}
		if err := n.dir.setFederation(n.fed); err != nil {
			return err
		}
		n.log.Info("joined", "federation", short(n.fed.Cluster), "members", len(n.fed.Members))
	default:
		if err := n.invent(); err != nil {
			return err
		}
	}
	n.roster = newRoster(n.self, n.fed.Members)
	n.roster.peers = n.peers
	if n.cluster, err = ledger.ParseClusterID(n.fed.Cluster); err != nil {
		return fmt.Errorf("%s: %w", n.dir.join("federation.json"), err)
	}
	n.genesis, err = os.ReadFile(n.dir.join(genesisFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// genesisFile holds the first command of a new federation until it is in the ledger, so
// that a crash while founding is no reason to start over.
const genesisFile = "genesis"

// invent makes a new federation of this node: the first command of its ledger names the
// node, the anonymous account and the admin, whose key is shown once, now. Only the key's
// hash is in the command.
func (n *Node) invent() error {
	g, err := ledger.NewFounding(n.asMember(), ledger.Config{Shards: n.cfg.Shards}, n.rand)
	if err != nil {
		return err
	}
	if err := n.dir.write(genesisFile, g.Command); err != nil {
		return err
	}
	n.fed = federation{Cluster: g.Cluster.String(), Epoch: 1, Members: []horde.Member{n.asMember()}}
	if err := n.dir.setFederation(n.fed); err != nil {
		return err
	}
	_, err = fmt.Fprintf(n.cfg.Out, "Founded federation %s.\nThe admin's API key, shown only once: %s\n", short(n.fed.Cluster), string(g.AdminKey))
	return err
}

// found makes the new federation's log and writes the genesis into it.
func (n *Node) found() error {
	if !n.group.HasState() {
		if err := n.group.Bootstrap(); err != nil {
			return fmt.Errorf("found the federation: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for !n.group.IsLeader() {
		select {
		case <-n.group.LeaderChanges():
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("the new federation elected no leader")
		}
	}
	if _, err := n.group.Barrier(ctx); err != nil {
		return err
	}
	if !n.founded() {
		if err := n.writeGenesis(ctx); err != nil {
			return fmt.Errorf("write the genesis: %w", err)
		}
	}
	if err := os.Remove(n.dir.join(genesisFile)); err != nil {
		return err
	}
	n.genesis = nil
	return nil
}

// founded tells whether the ledger has its first entry.
func (n *Node) founded() bool { return n.machine.Head().Cluster == n.cluster }

func (n *Node) writeGenesis(ctx context.Context) error {
	more, err := n.foundSealKey()
	if err != nil {
		return err
	}
	batch, err := ledger.EncodeBatch(ledger.Batch{
		Origin: n.self, Boot: n.proposer.boot, Seq: 1, Commands: append([]ledger.Command{{Data: n.genesis}}, more...),
	}, n.sign)
	if err != nil {
		return err
	}
	_, answer, err := n.group.Propose(ctx, batch)
	if err != nil {
		return err
	}
	results, err := ledger.DecodeResults(answer)
	if err != nil {
		return err
	}
	if len(results) != 1+len(more) {
		return fmt.Errorf("%d answers to %d commands", len(results), 1+len(more))
	}
	for _, r := range results {
		if r.RC != "" {
			return fmt.Errorf("refused: %v", results)
		}
	}
	n.proposer.boot, err = n.dir.nextBoot() // the genesis was a session of its own
	return err
}

// asMember describes this node to the others. Its libp2p addresses follow once it is in
// (announceSelf): until then it dials the others.
func (n *Node) asMember() horde.Member {
	return horde.Member{
		ID: n.self, Name: n.cfg.Name, PublicKey: n.key.Public().(ed25519.PublicKey),
		Addrs: n.cfg.Announce, URL: n.URL(), Voter: true, Active: true,
		Ledger: uint16(n.cfg.supported()),
	}
}

func (n *Node) sign(data []byte) []byte { return ed25519.Sign(n.key, data) }

// topicPrefix is another one in every epoch.
func topicPrefix(f federation) string {
	if f.Epoch <= 1 {
		return "/h/" + short(f.Cluster) + "/"
	}
	return fmt.Sprintf("/h/%s-%d/", short(f.Cluster), f.Epoch)
}

// archiveDir is where entries are archived: once an archive was begun it is kept up, so that
// it has no gaps.
func (n *Node) archiveDir() string {
	if n.cfg.Archive {
		return n.dir.join(archiveDir)
	}
	return n.dir.archive()
}

func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
