package ledger

import "hordenode/internal/horde"

// A bar is the moment at which a user was flagged or deleted: what the user has queued by then
// is withdrawn, by every node from its own queue when it applies the command (package node).
// The row stays as long as the user is barred, so that a node that was away finds it when it
// is back.
//
//	PUT flagged, DELETE user ──► bar ──► every node: withdraw, end the user's long polls
//	unflag, undelete ─────────► the row goes

// bar notes that a user is barred from now on.
func (tx *tx) bar(id horde.UserID) {
	tx.authority++
	if tx.version() >= barVersion {
		tx.bars.put(id, tx.now)
	}
}

// unbar notes that a user is not barred any more, unless for another reason.
func (tx *tx) unbar(id horde.UserID) {
	tx.authority++
	if u := tx.users.get(id); !u.is(horde.RoleFlagged) && !u.is(horde.RoleDeleted) {
		tx.bars.remove(id)
	}
}

// barVersion is the first of which nodes know bars.
const barVersion Version = 2

// An Authority stands for who may do what. It changes when a key, a flag or a deletion does,
// or when the whole state is replaced.
type Authority struct {
	of *state
	n  uint64
}

// Authority returns what changes when keys, flags or deletions do. It is cheap to ask.
func (r Reader) Authority() Authority {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	return Authority{r.m.s, r.m.s.authority}
}

// Bars returns since when users are flagged or deleted, in milliseconds of ledger time.
func (r Reader) Bars() map[horde.UserID]int64 {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	out := make(map[horde.UserID]int64, r.m.s.bars.live)
	r.m.s.bars.all(func(id horde.UserID, at *int64) bool {
		out[id] = *at
		return true
	})
	return out
}
