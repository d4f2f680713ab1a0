package ledger

import (
	"errors"
	"fmt"
	"math"

	"hordenode/internal/horde"
)

// An Account is a system account: where kudos come from when they are made and go to when
// they are destroyed, by reason. A negative balance is what was made.
type Account uint8

// The system accounts. The values are stored: never renumber.
const (
	AccountTax         Account = iota + 1 // activation tax of requests
	AccountJobTax                         // what a payer is debited beyond what the worker's owner gets
	AccountCensored                       // what owners get for censored jobs beyond the debit
	AccountSubsidy                        // what owners get beyond the debit for other reasons
	AccountUptime                         // uptime rewards
	AccountAward                          // awards
	AccountAdmin                          // adjustments by admins
	AccountRecurring                      // monthly kudos
	AccountForgiveness                    // what lifts a balance to its floor
	AccountTest                           // balances set for test users
	AccountStyle                          // rewards of authors of styles
	AccountReversal                       // passed by reversals on their way back; 0 after each
	accountEnd
)

// String returns the account's name, as metrics and exports show it.
func (a Account) String() string {
	switch a {
	case AccountTax:
		return "tax"
	case AccountJobTax:
		return "job_tax"
	case AccountCensored:
		return "censored"
	case AccountSubsidy:
		return "subsidy"
	case AccountUptime:
		return "uptime"
	case AccountAward:
		return "award"
	case AccountAdmin:
		return "admin"
	case AccountRecurring:
		return "recurring"
	case AccountForgiveness:
		return "forgiveness"
	case AccountTest:
		return "test"
	case AccountStyle:
		return "style"
	case AccountReversal:
		return "reversal"
	}
	return fmt.Sprintf("account(%d)", uint8(a))
}

// A posting adds an amount to one balance: a user's spendable kudos, a user's escrow, or a
// system account.
type posting struct {
	system Account      // if not 0
	user   horde.UserID // else
	escrow bool
	as     action // kudos_details bucket; spendable only
	amount horde.Kudos
}

func spendable(id horde.UserID, as action, amount horde.Kudos) posting {
	return posting{user: id, as: as, amount: amount}
}

func escrow(id horde.UserID, amount horde.Kudos) posting {
	return posting{user: id, escrow: true, amount: amount}
}

func system(a Account, amount horde.Kudos) posting { return posting{system: a, amount: amount} }

// maxAmount bounds what one command moves: ten million million kudos.
const maxAmount horde.Kudos = 1e15

// maxBalance is far from where sums of amounts overflow.
const maxBalance horde.Kudos = math.MaxInt64 / 4

// errUnbalanced and errNoAccount are mistakes in a command, not refusals.
var (
	errUnbalanced = errors.New("postings do not sum to zero")
	errNoAccount  = errors.New("posting to an account that does not exist")
)

// amountInRange tells whether 0 <= k <= maxAmount.
func amountInRange(k horde.Kudos) bool { return 0 <= k && k <= maxAmount }

// maxPostings bounds the postings of one set.
const maxPostings = 4

// post makes the postings, at most maxPostings, which sum to zero, and then lifts every user among them who is
// below the floor to it. So the floor counts once per command, after its net effect, and
// an account that was just opened, at 0 and below its floor, stays there until its first
// posting (spec/kudos.md section 2).
func (tx *tx) post(postings ...posting) error {
	var sum horde.Kudos
	var low [maxPostings]*user // who may be below the floor, by posting
	for i := range postings {
		p := &postings[i]
		sum += p.amount
		if p.amount == 0 {
			continue
		}
		if tx.booked != nil {
			*tx.booked = append(*tx.booked, Booked{User: p.user, System: p.system, Escrow: p.escrow, Amount: p.amount})
		}
		if p.system != 0 {
			tx.addSystem(p.system, p.amount)
			continue
		}
		u := tx.users.edit(p.user)
		if u == nil {
			return fmt.Errorf("%w: user %d", errNoAccount, p.user)
		}
		if p.escrow {
			u.Escrow += p.amount
			tx.escrow += p.amount
		} else {
			u.Kudos += p.amount
			tx.spendable += p.amount
			if p.as != actionNone {
				u.Details[p.as] += p.amount
			}
			low[i] = u
		}
		if u.Kudos > maxBalance || u.Kudos < -maxBalance || u.Escrow > maxBalance || u.Escrow < -maxBalance {
			return horde.Refuse(horde.RCBadRequest, "This would exceed the largest possible balance.")
		}
		tx.note(p.user, u, p, tx.why.reason)
	}
	if sum != 0 {
		return fmt.Errorf("%w: %v", errUnbalanced, sum)
	}
	for i := range postings {
		p, u := &postings[i], low[i]
		if u == nil {
			continue
		}
		if short := u.Class.Floor() - u.Kudos; short > 0 {
			u.Kudos += short
			tx.spendable += short
			tx.addSystem(AccountForgiveness, -short)
			lift := spendable(p.user, actionNone, short)
			tx.note(p.user, u, &lift, ReasonForgiveness)
			if tx.booked != nil {
				*tx.booked = append(*tx.booked, Booked{User: p.user, Amount: short}, Booked{System: AccountForgiveness, Amount: -short})
			}
		}
	}
	return nil
}

func (tx *tx) addSystem(a Account, amount horde.Kudos) {
	if balance := tx.accounts.edit(a); balance != nil {
		*balance += amount
		return
	}
	tx.accounts.put(a, amount)
}

// Totals says where all kudos are. Spendable, Escrow and all Accounts sum to zero.
type Totals struct {
	Accounts  map[Account]horde.Kudos
	Spendable horde.Kudos // of all users
	Escrow    horde.Kudos
	Held      horde.Kudos // the part of Spendable set aside by open requests
	Users     int
	Workers   int
	Holds     int // open requests

	Settled int64       // jobs paid since the genesis
	Moved   horde.Kudos // what settlements and transfers took from users since then
}
