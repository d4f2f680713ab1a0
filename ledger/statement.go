package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"hordenode/internal/horde"
)

// A statement is a user's last movements. It is a ring of pages, each a row of its own, so
// that a movement writes only the page that it is on:
//
//	user.Moves = 75, 32 movements to a page, 8 pages:
//	page 0: 0..31   page 1: 32..63   page 2: 64..74   pages 3 to 7: not yet, or those of the turn before
//
// So between 225 and 256 movements are there, of which Statement shows 200. A page is
// kept as encoded bytes, which only grow: it costs an append to write and nothing to flush.
const (
	pageMoves  = 32
	ringPages  = 8
	maxMoves   = 200
	pageBuffer = 256 // bytes to begin a page with
)

// A Reason is why kudos moved.
type Reason uint8

// The reasons. The values are stored: never renumber.
const (
	ReasonOther       Reason = iota
	ReasonTax                // activation of a request
	ReasonJob                // a delivered job: the payer's debit, the worker's owner's credit
	ReasonUptime             // a worker was there
	ReasonTransfer           // between users
	ReasonAward              // given by the first account
	ReasonAdmin              // adjusted by an admin
	ReasonMonthly            // monthly kudos
	ReasonTrust              // escrow that became spendable
	ReasonStyle              // somebody used a style
	ReasonForgiveness        // lifted to the floor
	ReasonTest               // set for a test
	ReasonReversal           // an admin took back what a command booked
	ReasonMerge              // two accounts became one
)

// String returns the reason in a word.
func (r Reason) String() string {
	switch r {
	case ReasonOther:
		return "other"
	case ReasonTax:
		return "tax"
	case ReasonJob:
		return "job"
	case ReasonUptime:
		return "uptime"
	case ReasonTransfer:
		return "transfer"
	case ReasonAward:
		return "award"
	case ReasonAdmin:
		return "admin"
	case ReasonMonthly:
		return "monthly"
	case ReasonTrust:
		return "trust"
	case ReasonStyle:
		return "style"
	case ReasonForgiveness:
		return "forgiveness"
	case ReasonTest:
		return "test"
	case ReasonReversal:
		return "reversal"
	case ReasonMerge:
		return "merge"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// A StatementEntry is one change of a user's balance or escrow.
type StatementEntry struct {
	Number  uint64 // 1, 2, 3, ... over the life of the account
	At      time.Time
	Amount  horde.Kudos
	Escrow  bool   // it changed the escrow, not the balance
	Action  string // bucket of kudos_details that it counts in, such as "gifted"; "" for none
	Reason  Reason
	With    horde.UserID    // who sent or received a transfer; else 0
	Request horde.RequestID // whose tax or job it was; else zero
	Of      uint64          // log entry that was reversed; else 0
}

// String returns the name that kudos_details has for the action; "" for none.
func (a action) String() string {
	switch a {
	case actionAccumulated:
		return "accumulated"
	case actionGifted:
		return "gifted"
	case actionDonated:
		return "donated"
	case actionAdmin:
		return "admin"
	case actionReceived:
		return "received"
	case actionRecurring:
		return "recurring"
	case actionAwarded:
		return "awarded"
	case actionStyled:
		return "styled"
	}
	return ""
}

// page is some movements after another. Data only grows, by append, so an older copy of
// the row, as the undo journal has, is a prefix and stays true.
type page struct {
	First uint64 `cbor:"1,keyasint"` // number of the first movement, less one
	Data  []byte `cbor:"2,keyasint"`
}

// pageKey names a page of a user's ring.
type pageKey struct {
	user horde.UserID
	slot uint8
}

// cause is what a command says of the movements that it makes.
type cause struct {
	reason  Reason
	request horde.RequestID
	from    horde.UserID // of a transfer
	to      horde.UserID
	of      uint64 // log entry that is reversed
}

// because says why the kudos move that are posted next.
func (tx *tx) because(r Reason) { tx.why = cause{reason: r} }

// note adds a movement to a user's statement.
func (tx *tx) note(id horde.UserID, u *user, p *posting, reason Reason) {
	slot := pageKey{id, uint8(u.Moves / pageMoves % ringPages)}
	switch {
	case u.Moves%pageMoves == 0:
		tx.pages.put(slot, page{First: u.Moves, Data: make([]byte, 0, pageBuffer)})
		u.tail = tx.pages.rows[slot]
	case u.tail == nil: // loaded
		u.tail = tx.pages.rows[slot]
	}
	tx.pages.touch(u.tail)
	u.Moves++
	u.tail.v.Data = tx.why.append(u.tail.v.Data, tx.now, id, p, reason)
}

// The flags of an encoded movement.
const (
	moveEscrow  = 1 << iota
	moveWith    // a user follows
	moveRequest // a request follows
	moveOf      // the log entry that was reversed follows
)

// append encodes a movement: flags, reason, action, time, amount, and what the flags say.
func (c *cause) append(b []byte, now int64, id horde.UserID, p *posting, reason Reason) []byte {
	at := len(b)
	b = append(b, 0, byte(reason), byte(p.as))
	b = binary.AppendUvarint(b, uint64(now))
	b = binary.AppendVarint(b, int64(p.amount))
	if p.escrow {
		b[at] |= moveEscrow
	}
	if reason == ReasonTransfer || reason == ReasonMerge {
		b[at] |= moveWith
		other := c.to
		if id == other {
			other = c.from
		}
		b = binary.AppendUvarint(b, uint64(other))
	}
	if !c.request.IsZero() {
		b[at] |= moveRequest
		b = append(b, c.request.UUID[:]...)
	}
	if c.of != 0 {
		b[at] |= moveOf
		b = binary.AppendUvarint(b, c.of)
	}
	return b
}

var errMovement = errors.New("malformed movement")

// movement decodes the first movement of b and returns what follows it.
func movement(b []byte) (StatementEntry, []byte, error) {
	if len(b) < 3 {
		return StatementEntry{}, nil, errMovement
	}
	flags := b[0]
	m := StatementEntry{Escrow: flags&moveEscrow != 0, Reason: Reason(b[1]), Action: action(b[2]).String()}
	b = b[3:]
	at, n := binary.Uvarint(b)
	if n <= 0 {
		return StatementEntry{}, nil, errMovement
	}
	m.At, b = moment(int64(at)), b[n:]
	amount, n := binary.Varint(b)
	if n <= 0 {
		return StatementEntry{}, nil, errMovement
	}
	m.Amount, b = horde.Kudos(amount), b[n:]
	if flags&moveWith != 0 {
		with, n := binary.Uvarint(b)
		if n <= 0 {
			return StatementEntry{}, nil, errMovement
		}
		m.With, b = horde.UserID(with), b[n:]
	}
	if flags&moveRequest != 0 {
		if len(b) < len(m.Request.UUID) {
			return StatementEntry{}, nil, errMovement
		}
		m.Request.UUID, b = horde.UUID(b), b[len(m.Request.UUID):]
	}
	if flags&moveOf != 0 {
		of, n := binary.Uvarint(b)
		if n <= 0 {
			return StatementEntry{}, nil, errMovement
		}
		m.Of, b = of, b[n:]
	}
	return m, b, nil
}

// moves decodes a page.
func (p *page) moves() ([]StatementEntry, error) {
	var list []StatementEntry
	for b, n := p.Data, p.First; len(b) > 0; {
		m, rest, err := movement(b)
		if err != nil {
			return nil, err
		}
		n++
		m.Number, b = n, rest
		list = append(list, m)
	}
	return list, nil
}

// Statement returns up to limit of a user's last 200 movements, newest first: those with
// numbers below before, or the newest if before is 0.
func (r Reader) Statement(id horde.UserID, before uint64, limit int) []StatementEntry {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	u := r.m.s.users.get(id)
	if u == nil || u.Wiped {
		return nil
	}
	return r.m.s.statement(id, u, before, limit)
}

func (s *state) statement(id horde.UserID, u *user, before uint64, limit int) []StatementEntry {
	oldest := u.Moves - min(u.Moves, maxMoves) // none with a number up to it is shown
	last := u.Moves
	if before != 0 {
		last = min(last, before-1)
	}
	var list []StatementEntry
	for last > oldest && len(list) < limit {
		p := s.pages.get(pageKey{id, uint8((last - 1) / pageMoves % ringPages)})
		if p == nil {
			return list
		}
		moves, err := p.moves()
		if err != nil { // CheckInvariants says more
			return list
		}
		for i := len(moves) - 1; i >= 0 && moves[i].Number > oldest && len(list) < limit; i-- {
			if moves[i].Number <= last {
				list = append(list, moves[i])
			}
		}
		last = min(last, p.First)
	}
	return list
}

// checkStatement tells what is wrong with a user's pages.
func (s *state) checkStatement(id horde.UserID, u *user) error {
	for n := u.Moves - min(u.Moves, maxMoves); n < u.Moves; {
		first := n - n%pageMoves
		p := s.pages.get(pageKey{id, uint8(n / pageMoves % ringPages)})
		if p == nil || p.First != first {
			return fmt.Errorf("movement %d is not where it belongs", n+1)
		}
		moves, err := p.moves()
		if err != nil {
			return err
		}
		if want := min(u.Moves-first, pageMoves); uint64(len(moves)) != want {
			return fmt.Errorf("a page has %d movements, want %d", len(moves), want)
		}
		n = first + pageMoves
	}
	return nil
}
