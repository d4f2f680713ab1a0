package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

// The key that the ids of shared keys are sealed with (docs/decisions/0012-shared-key-ids.md).
// It is in a file of each member's data directory and in no ledger, export or log:
//
//	a new federation      the founder makes it; its print is in the ledger's first batch
//	one that was upgraded the leader makes it when the ledger is at version 2
//	whoever lacks it      asks the other members, over the connection that both are known by,
//	                      and takes the one whose print the ledger has
//	nobody can have it    the only member, after a restore without the file: it makes another,
//	                      and lists of shared keys begin anew
const protoSealKey = "/horde/sealkey/1" // nothing → the key

const (
	sealKeyFile  = "sharedkeys.key"
	sealKeyEvery = 500 * time.Millisecond
	sealKeyCall  = 5 * time.Second // of one member
	sealKeyAgain = 2 * time.Second // after nobody had it
)

var errSealKeyDamaged = errors.New("it should have 32 bytes: remove it, and the other members give it again")

// sealKey reads the key of the directory; ok is false if there is none.
func (d *dataDir) sealKey() (key ledger.SealKey, ok bool, err error) {
	b, err := os.ReadFile(d.join(sealKeyFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return key, false, nil
	case err != nil:
		return key, false, err
	case len(b) != len(key):
		return key, false, fmt.Errorf("%s is damaged: %w", d.join(sealKeyFile), errSealKeyDamaged)
	}
	return ledger.SealKey(b), true, nil
}

// ownSealKey returns the key of the directory, and makes it if there is none.
func (n *Node) ownSealKey() (ledger.SealKey, error) {
	key, ok, err := n.dir.sealKey()
	if ok || err != nil {
		return key, err
	}
	return n.newSealKey()
}

// newSealKey makes a key, on the disk first: once the ledger has its print, it must not be lost.
func (n *Node) newSealKey() (ledger.SealKey, error) {
	key, err := ledger.NewSealKey(n.rand)
	if err != nil {
		return key, err
	}
	return key, n.dir.write(sealKeyFile, key[:])
}

// openSealKey uses the key of the directory, if there is one.
func (n *Node) openSealKey() error {
	key, ok, err := n.dir.sealKey()
	if err != nil || !ok {
		return err
	}
	n.machine.UseSealKey(key)
	return nil
}

// foundSealKey makes the command that notes the key of a new federation; none while it is of
// version 1.
func (n *Node) foundSealKey() ([]ledger.Command, error) {
	if n.cfg.supported() < ledger.SealVersion {
		return nil, nil
	}
	key, err := n.ownSealKey()
	if err != nil {
		return nil, err
	}
	n.machine.UseSealKey(key)
	return []ledger.Command{{Data: ledger.EncodeSetSealKey(key.Print(), nil)}}, nil
}

// handleSealKey gives the key to another member. The connection says who it is.
func (n *Node) handleSealKey(ctx context.Context, from horde.NodeID, _ []byte) ([]byte, error) {
	if m, ok := n.ledger.Member(from); !ok || !m.Active || m.Suspended {
		return nil, errors.New("only members have the key of shared keys' ids")
	}
	if _, has := n.ledger.SealPrint(); !has {
		return nil, errors.New("this node does not have the key itself")
	}
	key, ok, err := n.dir.sealKey()
	if err != nil || !ok {
		return nil, errors.Join(err, errors.New("this node has no file with the key"))
	}
	n.log.InfoContext(ctx, "the key of shared keys' ids was given to a member", "member", from)
	return key[:], nil
}

// followSealKey gets the federation's key when this node lacks it.
func (n *Node) followSealKey(ctx context.Context) error {
	wait := sealKeyEvery
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = sealKeyEvery
		if err := n.alignSealKey(ctx); err != nil && ctx.Err() == nil {
			wait = sealKeyAgain
			n.log.WarnContext(ctx, "the key of shared keys' ids is not here yet", "err", err)
		}
	}
}

// alignSealKey takes one step towards having the key of the federation.
func (n *Node) alignSealKey(ctx context.Context) error {
	print, has := n.ledger.SealPrint()
	if has || !n.founded() || n.ledger.Version() < ledger.SealVersion {
		return nil
	}
	if len(print) == 0 && !n.group.IsLeader() {
		return nil // the leader makes one
	}
	if len(print) == 0 || n.alone() { // as of now, and not as of when this node was stopped?
		if err := n.ledger.Sync(ctx); err != nil {
			return err
		}
		if print, has = n.ledger.SealPrint(); has {
			return nil
		}
	}
	if len(print) == 0 {
		key, err := n.ownSealKey()
		if err != nil {
			return err
		}
		return n.setSealKey(ctx, key, nil)
	}
	if n.alone() {
		key, err := n.newSealKey()
		if err != nil {
			return err
		}
		n.log.WarnContext(ctx, "the key of shared keys' ids is lost, and there is no other member to have it: a new one is made. Shared keys from before work, and are not listed any more")
		return n.setSealKey(ctx, key, print)
	}
	return n.fetchSealKey(ctx, print)
}

// alone tells whether this node is the only member.
func (n *Node) alone() bool {
	for _, m := range n.ledger.Members() {
		if m.Active && m.ID != n.self {
			return false
		}
	}
	return true
}

func (n *Node) setSealKey(ctx context.Context, key ledger.SealKey, replaces []byte) error {
	n.machine.UseSealKey(key)
	return n.order(ctx, ledger.EncodeSetSealKey(key.Print(), replaces))
}

// fetchSealKey asks the other members for the key with a print.
func (n *Node) fetchSealKey(ctx context.Context, print []byte) error {
	why := errors.New("no other member is connected")
	for _, p := range n.host.Peers() {
		if !p.Connected {
			continue
		}
		ask, cancel := context.WithTimeout(ctx, sealKeyCall)
		data, err := n.host.Call(ask, p.ID, protoSealKey, nil)
		cancel()
		if err != nil {
			why = fmt.Errorf("%s: %w", p.ID, err)
			continue
		}
		if len(data) != len(ledger.SealKey{}) {
			why = fmt.Errorf("%s sent no key", p.ID)
			continue
		}
		key := ledger.SealKey(data)
		if got := key.Print(); !bytes.Equal(got[:], print) {
			why = fmt.Errorf("%s has another key than the federation's", p.ID)
			continue
		}
		if err := n.dir.write(sealKeyFile, key[:]); err != nil {
			return err
		}
		n.machine.UseSealKey(key)
		n.log.InfoContext(ctx, "the key of shared keys' ids is here", "from", p.ID)
		return nil
	}
	return why
}
