package ledger

import (
	"context"
	"fmt"

	"hordenode/internal/horde"
)

// Patrons support a federation elsewhere, and an operator who knows of it imports what that
// entitles them to each month. Nothing here depends on who takes the money: an import names
// accounts, amounts and until when. It is kept apart from what admins grant (user.Monthly), so
// that the one does not undo the other; ticks pay the sum (monthly.go).

// maxPatrons bounds one command.
const maxPatrons = 1000

// A Patron is what an account is entitled to each month for supporting the federation.
type Patron struct {
	User    horde.UserID `cbor:"1,keyasint"`
	Monthly horde.Kudos  `cbor:"2,keyasint,omitempty"` // 0: nothing any more
	Until   int64        `cbor:"3,keyasint,omitempty"` // Unix milliseconds; 0: until another import
}

// setPatrons sets the entitlements that it names, all or none.
type setPatrons struct {
	Patrons []Patron `cbor:"1,keyasint"`
}

func (c *setPatrons) apply(tx *tx) ([]byte, error) {
	if len(c.Patrons) == 0 || len(c.Patrons) > maxPatrons {
		return nil, horde.Refuse(horde.RCBadRequest, "An import names 1 to %d accounts.", maxPatrons)
	}
	for _, p := range c.Patrons {
		switch {
		case p.User == horde.Anonymous || tx.user(p.User) == nil:
			return nil, userNotFound(p.User)
		case !amountInRange(p.Monthly) || p.Until < 0:
			return nil, horde.Refuse(horde.RCBadRequest, "The entitlement of user %d is out of range.", p.User)
		}
		tx.alone(p.Monthly)
		u := tx.users.edit(p.User)
		u.Patron, u.PatronUntil = p.Monthly, p.Until
		if p.Monthly == 0 {
			u.PatronUntil = 0
		}
	}
	return nil, nil
}

func (c *setPatrons) moderates(tx *tx) moderation {
	return moderation{Node: tx.from, Action: fmt.Sprintf("set patrons: %d", len(c.Patrons))}
}

// patronage is what a user gets each month as a patron, at a ledger time.
func (u *user) patronage(now int64) horde.Kudos {
	if u.PatronUntil != 0 && now >= u.PatronUntil {
		return 0
	}
	return u.Patron
}

// SetPatrons sets the monthly entitlements of patrons; accounts that are not named keep
// theirs. Each command of up to maxPatrons is done whole or not at all.
func (c *Client) SetPatrons(ctx context.Context, list []Patron) error {
	for len(list) > 0 {
		n := min(len(list), maxPatrons)
		if _, err := c.everywhere(ctx, encodeCommand(kindSetPatrons, setPatrons{list[:n]})); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// Patrons returns who is entitled to something, in no particular order.
func (r Reader) Patrons() []Patron {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	var list []Patron
	r.m.s.users.all(func(id horde.UserID, u *user) bool {
		if u.Patron > 0 && !u.Wiped {
			list = append(list, Patron{id, u.Patron, u.PatronUntil})
		}
		return true
	})
	return list
}
