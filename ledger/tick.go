package ledger

import (
	"fmt"

	"hordenode/internal/horde"
)

// tick is the federation's heartbeat: it carries the state hash that its proposer had at
// the previous tick, so that a node whose state differs finds out, and it removes what has
// expired by ledger time.
type tick struct {
	Previous uint64 `cbor:"1,keyasint,omitempty"` // index of the previous tick, 0 = none
	Hash     digest `cbor:"2,keyasint"`           // state hash at Previous
	Accounts digest `cbor:"3,keyasint,omitzero"`  // root of the accounts' tree at Previous; zero: not known
}

// apply refuses members that may not vote: a wrong hash stops every node, so only those who
// could stop the federation anyway may name one. A tick that does not follow the previous
// one (two proposers at once) compares nothing.
//
// The state hash is taken after the command and leaves the head of the log out, where it
// is noted itself; the origin of this batch is in it as of the batch before.
func (c *tick) apply(tx *tx) ([]byte, error) {
	if m := tx.members.get(tx.from); !m.Active || !m.Voter {
		return nil, horde.Refuse(horde.RCForbidden, "Only a node that may vote ticks.")
	}
	last := tx.head.get(unit{})
	if c.Previous != 0 && c.Previous == last.TickIndex && c.Hash != last.TickHash {
		return nil, fmt.Errorf("%w: at index %d the state hash is %x here and %x at %s", ErrDiverged, c.Previous, last.TickHash[:8], c.Hash[:8], tx.from)
	}
	if at := tx.proofs.at; c.Accounts != (digest{}) && c.Previous != 0 && c.Previous == at.index && c.Accounts != at.root {
		return nil, fmt.Errorf("%w: at index %d the root of the accounts is %x here and %x at %s", ErrDiverged, c.Previous, at.root[:8], c.Accounts[:8], tx.from)
	}
	tx.expire()
	if err := tx.monthly(); err != nil {
		return nil, err
	}
	h := tx.head.edit(unit{})
	h.TickIndex, h.TickHash = tx.index, tx.state.hash()
	tx.proofs.mark(tx.state, h)
	return nil, nil
}

// expire removes what is past its time. The order does not matter: each removal touches
// only its own row and sums.
func (tx *tx) expire() {
	for id, ok := tx.holdEnds.due(tx.now); ok; id, ok = tx.holdEnds.due(tx.now) {
		if h := tx.holds.get(id); h != nil && h.Deadline <= tx.now {
			tx.release(id, h)
		}
	}
	for k, ok := tx.answerEnd.due(tx.now); ok; k, ok = tx.answerEnd.due(tx.now) {
		if a := tx.answers.get(k); a != nil && a.Expires <= tx.now {
			tx.answers.remove(k)
		}
	}
	for p, ok := tx.recents.due(tx.now); ok; p, ok = tx.recents.due(tx.now) {
		if at := tx.recent.get(p); at != nil && *at+reverseCooldown <= tx.now {
			tx.recent.remove(p)
		}
	}
	for n, ok := tx.nonceEnds.due(tx.now); ok; n, ok = tx.nonceEnds.due(tx.now) {
		if at := tx.nonces.get(n); at != nil && *at <= tx.now {
			tx.nonces.remove(n)
		}
	}
	for id, ok := tx.messageEnds.due(tx.now); ok; id, ok = tx.messageEnds.due(tx.now) {
		if m := tx.messages.get(id); m != nil && m.Expires+keepMessage <= tx.now {
			tx.dropMessage(id, m.Worker)
		}
	}
	tx.expireBlocks()
	tx.expireEnded()
	for id, ok := tx.buried.due(tx.now); ok; id, ok = tx.buried.due(tx.now) {
		if w := tx.workers.get(id); w != nil && w.Deleted != 0 && w.Deleted+keepDeletedWorker <= tx.now {
			tx.workers.remove(id)
		}
	}
}
