package ledger

import (
	"hordenode/internal/horde"
)

// A tx is what a command sees: the state, who sent it and when. What it writes through the
// tables and what it adds to the sums is kept if the command succeeds and undone if it is
// refused.
type tx struct {
	*state
	from  horde.NodeID // the member whose batch the command is in
	index uint64
	now   int64  // ledger time, Unix milliseconds
	raw   []byte // the command's encoded body

	spendable, escrow, held horde.Kudos // by how much the command changed the sums over all users
	minted                  horde.Kudos // see alone
	used                    *quota      // of the sender's limits
	cfg                     *Config     // see config
	why                     cause       // of the movements that are posted
	place                   Place       // of the command that was run; in a Replay only
}

// hold sets kudos of a user aside, or gives them back if the amount is negative.
func (tx *tx) hold(id horde.UserID, amount horde.Kudos) {
	if amount == 0 {
		return
	}
	tx.users.edit(id).Held += amount
	tx.held += amount
}

// userData returns the user as result data.
func (tx *tx) userData(id horde.UserID) []byte {
	return encode(userRow{id, *tx.users.get(id), len(tx.workersOf(id))})
}

// workerData returns the worker as result data.
func (tx *tx) workerData(id horde.WorkerID) []byte {
	return encode(workerRow{id, *tx.workers.get(id)})
}

// userRow and workerRow are what a command that answers with a user or worker returns.
type userRow struct {
	ID      horde.UserID `cbor:"1,keyasint"`
	User    user         `cbor:"2,keyasint"`
	Workers int          `cbor:"3,keyasint,omitempty"`
}

type workerRow struct {
	ID     horde.WorkerID `cbor:"1,keyasint"`
	Worker worker         `cbor:"2,keyasint"`
}
