package ledger

import "hordenode/internal/horde"

// A StatementLine is a movement with what was there after it.
type StatementLine struct {
	StatementEntry
	WithAlias     string      // who sent or received a transfer; "" for other movements
	Balance       horde.Kudos // spendable, after the movement
	EscrowBalance horde.Kudos
}

// StatementPage is Statement with the balances after each movement. A number is a stable
// cursor: the lines before it stay the same, whatever is booked meanwhile, until they are too
// old to be shown.
func (r Reader) StatementPage(id horde.UserID, before uint64, limit int) []StatementLine {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	u := r.m.s.users.get(id)
	if u == nil || u.Wiped {
		return nil
	}
	// From what is there now, back through all that is kept: so each balance is exact.
	balance, escrow := u.Kudos, u.Escrow
	var lines []StatementLine
	for _, e := range r.m.s.statement(id, u, 0, maxMoves) {
		l := StatementLine{StatementEntry: e, Balance: balance, EscrowBalance: escrow}
		if e.Escrow {
			escrow -= e.Amount
		} else {
			balance -= e.Amount
		}
		if before != 0 && e.Number >= before {
			continue
		}
		if len(lines) == limit {
			break
		}
		if e.With != 0 {
			l.WithAlias = r.m.s.alias(e.With)
		}
		lines = append(lines, l)
	}
	return lines
}
