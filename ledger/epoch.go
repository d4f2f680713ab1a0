package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"hordenode/internal/horde"
)

// raiseEpoch is written once by the node that goes on after a majority was lost: from then
// on the federation is another one than that of the nodes which did not take part, and the
// command says so to everybody who reads the log.
type raiseEpoch struct {
	Epoch uint64         `cbor:"1,keyasint"` // the new one
	Keep  []horde.NodeID `cbor:"2,keyasint,omitempty"`
	From  uint64         `cbor:"3,keyasint,omitempty"` // last index that the recovered node had
}

// EncodeRaiseEpoch makes the command that begins an epoch: keep are the members that remain,
// the proposer among them; all others are removed. from is the last index of the old epoch.
func EncodeRaiseEpoch(epoch uint64, keep []horde.NodeID, from uint64) []byte {
	return encodeCommand(kindRaiseEpoch, raiseEpoch{Epoch: epoch, Keep: keep, From: from})
}

func (c *raiseEpoch) apply(tx *tx) ([]byte, error) {
	m := tx.meta.get(unit{})
	proposer := tx.members.get(tx.from)
	switch {
	case proposer == nil || !proposer.Voter:
		return nil, forbidden("Only a node that may vote can begin an epoch.")
	case c.Epoch != m.Epoch+1:
		return nil, forbidden("An epoch is one more than the one before.")
	case !slices.Contains(c.Keep, tx.from):
		return nil, forbidden("The node that begins an epoch belongs to it.")
	}
	tx.meta.edit(unit{}).Epoch = c.Epoch
	tx.dismiss(c.Keep)
	return nil, nil
}

// dismiss removes all members but some.
func (tx *tx) dismiss(keep []horde.NodeID) {
	var gone []horde.NodeID
	tx.members.all(func(id horde.NodeID, m *member) bool {
		if m.Active && !slices.Contains(keep, id) {
			gone = append(gone, id)
		}
		return true
	})
	for _, id := range gone { // each touches its own row: the order does not matter
		tx.members.edit(id).Active = false
	}
}

const domainFork = "hordenode/fork/1\x00"

// Fork makes the loaded state the beginning of a federation of founder alone: what a restored
// backup is. The epoch is raised, the members of the old federation are removed, and the
// chain goes on from a hash that names the fork, so that the two can never be taken for one
// another. Nothing may have been applied since Load.
func (m *Machine) Fork(founder horde.Member) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.s
	meta := s.meta.edit(unit{})
	if meta == nil {
		return ErrNotFounded
	}
	if at := s.tags.get(founder.ID.Tag()); at != nil && *at != founder.ID {
		return forbidden("The node's home tag is taken by a member of the old federation: it needs another key.")
	}
	meta.Epoch++
	tx := tx{state: s, from: founder.ID, index: m.index}
	tx.dismiss(nil)
	h := s.head.edit(unit{})
	h.TickIndex, h.TickHash = 0, digest{}
	s.proofs.at = tickMark{}
	link := append([]byte(domainFork), h.Chain[:]...)
	link = binary.BigEndian.AppendUint64(link, meta.Epoch)
	h.Chain = sha256.Sum256(append(link, founder.ID...))
	s.members.put(founder.ID, member{
		Name: founder.Name, PublicKey: founder.PublicKey, Addrs: founder.Addrs, URL: founder.URL,
		Voter: true, Active: true, Joined: h.Time, InvitedBy: founder.ID,
	})
	s.tags.put(founder.ID.Tag(), founder.ID)
	s.log.commit()
	return nil
}
