package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"hordenode/internal/horde"
)

// What anyone can prove of the accounts (docs/decisions/0011-accounts-root.md). At every tick
// the provable part of each account becomes a leaf of a hash tree, at the place of its id:
//
//	tick at index 812 ──► state hash                  rows changed since the tick before,
//	                 ├──► chain at 812                 encoded and hashed once for both
//	                 └──► accounts root ◄── tree ◄─── {user, balance, commitment to the rest}
//
// The next tick, signed by a member that may vote, carries the root as it carries the state
// hash, so a node whose accounts differ stops; and every node signs its head on demand
// (signhead.go). The tree is held in memory alone: no row and no command that there was before
// looks different for it. A node that has just started has proofs from its next tick on.
type accountTree struct {
	tree    merkle
	leaves  []accountLeaf             // as of the last tick, by user id
	changed map[horde.UserID]struct{} // rows hashed since
	at      tickMark                  // zero: no tick since the start
}

// A tickMark is where the ledger stood at a tick.
type tickMark struct {
	epoch uint64
	index uint64
	time  int64
	chain digest
	state digest
	root  digest
}

// accountLeaf is what of an account can be proved. Escrow and what is held are shown to the
// user and moderators alone, so the leaf has a commitment to them.
type accountLeaf struct {
	kudos, escrow, held horde.Kudos
	blind               [16]byte
}

const (
	domainAccount = "hordenode/account/1\x00"
	domainBlind   = "hordenode/blind/1\x00"
)

func newAccountTree() *accountTree {
	return &accountTree{changed: make(map[horde.UserID]struct{})}
}

// newLeaf makes a user's leaf. What blinds the commitment is different after every movement,
// and to be guessed by nobody who has not the ledger itself.
func newLeaf(salt []byte, id horde.UserID, u *user) accountLeaf {
	b := make([]byte, 0, 96)
	b = append(b, domainBlind...)
	b = append(b, salt...)
	b = binary.BigEndian.AppendUint64(appendUser(b, id), u.Moves)
	b = binary.BigEndian.AppendUint64(b, uint64(u.Held))
	sum := sha256.Sum256(b)
	return accountLeaf{kudos: u.Kudos, escrow: u.Escrow, held: u.Held, blind: [16]byte(sum[:])}
}

// commitment binds to escrow and held without showing them.
func commitment(blind [16]byte, escrow, held horde.Kudos) digest {
	var b [32]byte
	copy(b[:], blind[:])
	binary.BigEndian.PutUint64(b[16:], uint64(escrow))
	binary.BigEndian.PutUint64(b[24:], uint64(held))
	return sha256.Sum256(b[:])
}

// accountDigest is the leaf's hash in the tree.
func accountDigest(id horde.UserID, kudos horde.Kudos, committed digest) digest {
	b := make([]byte, 0, 80)
	b = append(b, domainAccount...)
	b = binary.BigEndian.AppendUint64(appendUser(b, id), uint64(kudos))
	return leafDigest(append(b, committed[:]...))
}

func (l *accountLeaf) digest(id horde.UserID) digest {
	return accountDigest(id, l.kudos, commitment(l.blind, l.escrow, l.held))
}

// touch notes that a user's row was hashed.
func (t *accountTree) touch(id horde.UserID) { t.changed[id] = struct{}{} }

// update brings the tree to where the users are. An id that nobody has is an empty leaf.
func (t *accountTree) update(s *state) {
	m := s.meta.get(unit{})
	if m == nil {
		return
	}
	size, old := int(m.NextUser), len(t.leaves)
	t.leaves = append(t.leaves, make([]accountLeaf, size-old)...)
	places := make([]int, 0, len(t.changed)+size-old)
	for id := range t.changed {
		if int(id) < old {
			places = append(places, int(id))
		}
	}
	for i := old; i < size; i++ {
		places = append(places, i)
	}
	clear(t.changed)
	slices.Sort(places)
	t.tree.update(size, places, func(i int) digest {
		id := horde.UserID(i)
		u := s.users.get(id)
		if u == nil {
			return leafDigest(nil)
		}
		t.leaves[i] = newLeaf(m.Salt, id, u)
		return t.leaves[i].digest(id)
	})
}

// mark is called by a tick, after the state hash was taken.
func (t *accountTree) mark(s *state, h *head) {
	t.update(s)
	t.at = tickMark{epoch: s.meta.get(unit{}).Epoch, index: h.TickIndex, time: h.Time, chain: h.Chain, state: h.TickHash, root: t.tree.root()}
}

// A Checkpoint is where the ledger stood at a tick, on all nodes alike.
type Checkpoint struct {
	Cluster  ClusterID
	Epoch    uint64
	Index    uint64    // of the tick
	Time     time.Time // ledger time
	Chain    [32]byte  // hash over all entries up to Index
	State    [32]byte  // state hash
	Accounts uint64    // number of leaves
	Root     [32]byte  // of the accounts' tree
}

// An AccountProof shows an account as it was at a checkpoint.
type AccountProof struct {
	Checkpoint Checkpoint
	User       horde.UserID // the leaf's place as well
	Kudos      horde.Kudos
	Escrow     horde.Kudos
	Held       horde.Kudos
	Blind      [16]byte   // of the commitment to Escrow and Held
	Path       [][32]byte // neighbours, from the leaf up
}

// Checkpoint returns where the ledger stood at the last tick; false if there was none since
// this node started.
func (r Reader) Checkpoint() (Checkpoint, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	return r.m.s.checkpoint()
}

func (s *state) checkpoint() (Checkpoint, bool) {
	m, at := s.meta.get(unit{}), s.proofs.at
	if m == nil || at.index == 0 {
		return Checkpoint{}, false
	}
	return Checkpoint{
		Cluster: m.Cluster, Epoch: at.epoch, Index: at.index, Time: moment(at.time), Chain: at.chain, State: at.state,
		Accounts: uint64(s.proofs.tree.size()), Root: at.root,
	}, true
}

// Proof proves an account as of the last tick; false if there was no tick since this node
// started, or no such user then.
func (r Reader) Proof(id horde.UserID) (AccountProof, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	s := r.m.s
	at, ok := s.checkpoint()
	if !ok || id < 0 || int(id) >= len(s.proofs.leaves) || !s.users.has(id) {
		return AccountProof{}, false
	}
	l := s.proofs.leaves[id]
	p := AccountProof{Checkpoint: at, User: id, Kudos: l.kudos, Escrow: l.escrow, Held: l.held, Blind: l.blind}
	for _, d := range s.proofs.tree.path(int(id)) {
		p.Path = append(p.Path, d)
	}
	return p, true
}
