package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"hordenode/internal/horde"
)

// What a member did to balances can be taken back, and never erased: for a command in the log
// an admin books the opposite of what it booked, once.
//
//	log, archive or export ── replay ──► Doing{place, postings} ── admin ──► reverse ──► opposite postings
//	                                                                            │
//	                                              reversed: place -> reversal ◄─┘  a second time is refused
//
// The state does not have the log, so the postings come with the command, from the admin who
// replayed it; an admin may adjust any balance anyway. Each posting goes through the account
// "reversal", which ends at zero, so the system accounts are back where they were too. Balances
// do not fall below their floor: what a user has spent meanwhile is forgiven, and stands there
// as forgiveness.

// A Place names a command: the log entry, which of the entry's batches, and which of its
// commands, counted from 0.
type Place struct {
	Index uint64 `cbor:"1,keyasint" json:"index"`
	Batch uint16 `cbor:"2,keyasint,omitempty" json:"batch"`
	Nth   uint16 `cbor:"3,keyasint,omitempty" json:"nth"`
}

// String returns the place as people write it: 812/0/3.
func (p Place) String() string { return fmt.Sprintf("%d/%d/%d", p.Index, p.Batch, p.Nth) }

func appendPlace(b []byte, p Place) []byte {
	b = binary.BigEndian.AppendUint64(b, p.Index)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, p.Batch), p.Nth)
}

func parsePlace(b []byte) (Place, error) {
	if len(b) != 12 {
		return Place{}, errKey
	}
	return Place{binary.BigEndian.Uint64(b), binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:])}, nil
}

// reversal is the row of a command that was reversed.
type reversal struct {
	At     int64        `cbor:"1,keyasint"`
	Actor  horde.UserID `cbor:"2,keyasint,omitempty"`
	Member horde.NodeID `cbor:"3,keyasint,omitempty"` // whose command it was
}

// A Booked is by how much a command changed one balance: a user's, or if System is not 0, that
// account's.
type Booked struct {
	User   horde.UserID `cbor:"1,keyasint,omitempty" json:"user"`
	System Account      `cbor:"2,keyasint,omitempty" json:"system,omitempty"`
	Escrow bool         `cbor:"3,keyasint,omitempty" json:"escrow,omitempty"` // the user's escrow, not the spendable balance
	Amount horde.Kudos  `cbor:"4,keyasint,omitempty" json:"amount_hundredths"`
}

// String shows it as "user #7 -10.00".
func (b Booked) String() string {
	switch {
	case b.System != 0:
		return b.System.String() + " " + signed(b.Amount)
	case b.Escrow:
		return fmt.Sprintf("escrow of #%d %s", b.User, signed(b.Amount))
	}
	return fmt.Sprintf("user #%d %s", b.User, signed(b.Amount))
}

// A Reversal takes back what one command booked.
type Reversal struct {
	Actor  horde.UserID // an admin
	Of     Place
	Member horde.NodeID // whose command it was
	Booked []Booked     // what it booked, not the opposite
	Reason string       // public
}

// maxBooked bounds a reversal: a run of monthly kudos has many postings.
const maxBooked = 1000

type reverse struct {
	Actor  horde.UserID `cbor:"1,keyasint,omitempty"`
	Of     Place        `cbor:"2,keyasint"`
	Member horde.NodeID `cbor:"3,keyasint,omitempty"`
	Booked []Booked     `cbor:"4,keyasint"`
	Reason string       `cbor:"5,keyasint,omitempty"`
}

// ErrReversed is in the message of a refusal to reverse something twice.
var ErrReversed = errors.New("this command was reversed before")

// Reverse books the opposite of what a command booked. Repeats are refused with RCForbidden.
func (c *Client) Reverse(ctx context.Context, r Reversal) error {
	_, err := c.everywhere(ctx, encodeCommand(kindReverse, reverse(r)))
	return err
}

// Reversed tells whether a command was reversed.
func (r Reader) Reversed(p Place) bool {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	return r.m.s.reversed.has(p)
}

func (c *reverse) check(tx *tx) error {
	actor := tx.user(c.Actor)
	switch {
	case actor == nil:
		return actorGone()
	case !actor.is(horde.RoleAdmin):
		return horde.Refuse(horde.RCNotAdmin, "Only an admin may reverse what was booked.")
	case c.Of.Index == 0:
		return horde.Refuse(horde.RCBadRequest, "There is no such entry.")
	case tx.reversed.has(c.Of):
		return forbidden(strings.ToUpper(ErrReversed.Error()[:1]) + ErrReversed.Error()[1:] + ".")
	case len(c.Booked) == 0 || len(c.Booked) > maxBooked:
		return horde.Refuse(horde.RCBadRequest, "A reversal has 1 to %d postings.", maxBooked)
	}
	var sum horde.Kudos
	for _, b := range c.Booked {
		switch {
		case b.Amount == 0 || b.Amount > maxAmount || b.Amount < -maxAmount || b.System >= accountEnd || b.System != 0 && b.Escrow:
			return horde.Refuse(horde.RCBadRequest, "A posting of the reversal is malformed.")
		case b.System == 0 && !tx.users.has(b.User):
			return userNotFound(b.User)
		case b.Escrow && tx.users.get(b.User).Escrow < escrowOf(c.Booked, b.User):
			return horde.Refuse(horde.RCForbidden, "The escrow of user %d was paid out since. Please adjust that account itself.", b.User)
		}
		sum += b.Amount
	}
	if sum != 0 {
		return horde.Refuse(horde.RCBadRequest, "The postings of the reversal do not sum to zero.")
	}
	return nil
}

// escrowOf adds up what was booked to a user's escrow.
func escrowOf(booked []Booked, user horde.UserID) (sum horde.Kudos) {
	for _, b := range booked {
		if b.Escrow && b.User == user {
			sum += b.Amount
		}
	}
	return sum
}

func (c *reverse) apply(tx *tx) ([]byte, error) {
	if err := c.check(tx); err != nil {
		return nil, err
	}
	tx.why = cause{reason: ReasonReversal, of: c.Of.Index}
	for _, b := range c.Booked {
		opposite := spendable(b.User, actionAdmin, -b.Amount)
		switch {
		case b.System != 0:
			opposite = system(b.System, -b.Amount)
		case b.Escrow:
			opposite = escrow(b.User, -b.Amount)
		}
		if b.System == 0 {
			tx.alone(-b.Amount) // what the user gets
		}
		if err := tx.post(opposite, system(AccountReversal, b.Amount)); err != nil {
			return nil, err
		}
	}
	tx.reversed.put(c.Of, reversal{At: tx.now, Actor: c.Actor, Member: c.Member})
	return nil, nil
}

func (c *reverse) moderates(tx *tx) moderation {
	m := moderation{Actor: c.Actor, Action: "reverse command " + c.Of.String(), Reason: c.Reason}
	if c.Member != "" {
		m.Target = tx.memberTarget(c.Member)
	}
	return m
}
