package ledger

import (
	"crypto/sha256"

	"hordenode/internal/horde"
)

// A Transfer moves kudos between users.
type Transfer struct {
	From, To horde.UserID
	Amount   horde.Kudos
	Key      string // Idempotency-Key; may be empty
}

// transfer is a Transfer on its way.
type transfer struct {
	From   horde.UserID `cbor:"1,keyasint,omitempty"`
	To     horde.UserID `cbor:"2,keyasint,omitempty"`
	Amount horde.Kudos  `cbor:"3,keyasint,omitempty"`
	Key    digest       `cbor:"4,keyasint,omitzero"` // hash of the Idempotency-Key

	SharedKey horde.SharedKeyRef `cbor:"5,keyasint,omitzero"` // stands for its owner, instead of To
}

func newTransfer(t Transfer) transfer {
	c := transfer{From: t.From, To: t.To, Amount: t.Amount}
	if t.Key != "" {
		c.Key = sha256.Sum256([]byte(t.Key))
	}
	return c
}

// params is a digest of what a repeat must have in common with the first.
func (c *transfer) params() digest {
	b := appendUser(appendPair(make([]byte, 0, 40), pair{c.From, c.To}), horde.UserID(c.Amount))
	if !c.SharedKey.IsZero() {
		b = appendID(b, c.SharedKey)
	}
	return sha256.Sum256(b)
}

// apply decides in the order of spec/accounts.md section 5.1. One thing differs: a true
// repeat of a transfer that was made is answered as the first was, whatever has become of
// the two accounts since.
func (c *transfer) apply(tx *tx) ([]byte, error) {
	var first *answered
	var params digest
	if c.Key != (digest{}) {
		params = c.params() // before To is what the shared key says
		if a := tx.answers.get(answerKey{c.From, c.Key}); a != nil && a.Expires > tx.now {
			if a.Params == params {
				return nil, nil
			}
			first = a
		}
	}
	var key *sharedKey
	if !c.SharedKey.IsZero() {
		if key = tx.sharedKeys.get(c.SharedKey); key != nil {
			c.To = key.Owner
		}
	}
	from, to := tx.user(c.From), tx.user(c.To)
	if key == nil && !c.SharedKey.IsZero() {
		to = nil
	}
	switch {
	case from == nil:
		return nil, horde.Refuse(horde.RCInvalidAPIKey, "The sending account is gone.")
	case c.From == horde.Anonymous:
		return nil, horde.Refuse(horde.RCKudosTransferFromAnon, "Anonymous cannot send kudos.")
	case key != nil && key.expired(tx.now):
		return nil, horde.Refuse(horde.RCSharedKeyExpired, "This shared key has expired.")
	case to == nil:
		return nil, horde.Refuse(horde.RCInvalidTargetUsername, "There is no such user to send kudos to.")
	case c.To == horde.Anonymous:
		return nil, horde.Refuse(horde.RCKudosTransferToAnon, "Anonymous cannot receive kudos.")
	case c.From == c.To:
		return nil, horde.Refuse(horde.RCKudosTransferToSelf, "Sender and receiver are the same account.")
	case tx.sentRecently(pair{c.To, c.From}):
		return nil, horde.Refuse(horde.RCTooFastKudosTransfers, "The receiver sent kudos to you less than a minute ago. Please wait a little.")
	case from.suspicious():
		return nil, horde.Refuse(horde.RCFaultWhenKudosSending, "Kudos cannot be sent from this account at the moment.")
	case from.is(horde.RoleFlagged):
		return nil, horde.Refuse(horde.RCSourceAccountFlagged, "The sending account is flagged and cannot send kudos.")
	case from.is(horde.RoleEducation):
		return nil, horde.Refuse(horde.RCEducationCannotSendKudos, "Education accounts cannot send kudos.")
	case to.suspicious():
		return nil, horde.Refuse(horde.RCFaultWhenKudosReceiving, "Kudos cannot be sent to this account at the moment.")
	case to.is(horde.RoleFlagged):
		return nil, horde.Refuse(horde.RCTargetAccountFlagged, "The receiving account is flagged and cannot receive kudos.")
	case to.is(horde.RoleDeleted):
		return nil, horde.Refuse(horde.RCDeletedUser, "The receiving account is deleted.")
	case from.is(horde.RoleDeleted):
		return nil, horde.Refuse(horde.RCDeletedUser, "The sending account is deleted.")
	case c.Amount < 0:
		return nil, horde.Refuse(horde.RCNegativeKudosTransfer, "The amount of kudos must be positive.")
	case c.Amount == 0:
		return nil, horde.Refuse(horde.RCInvalidKudosTransferAmount, "The amount of kudos must be more than zero.")
	case first != nil:
		return nil, horde.Refuse(horde.RCIdempotencyKeyConflict, "This Idempotency-Key was used for another transfer.")
	case from.available() < c.Amount:
		return nil, horde.Refuse(horde.RCKudosTransferNotEnough, "There are not enough kudos to send.")
	}
	as := actionGifted
	if to.is(horde.RoleEducation) {
		as = actionDonated
	}
	tx.users.edit(c.From).LastActive = tx.now
	tx.why = cause{reason: ReasonTransfer, from: c.From, to: c.To}
	if err := tx.post(spendable(c.From, as, -c.Amount), spendable(c.To, actionReceived, c.Amount)); err != nil {
		return nil, err
	}
	if key != nil && key.Kudos != horde.Unlimited {
		raised := tx.sharedKeys.edit(c.SharedKey)
		raised.Kudos = min(raised.Kudos+c.Amount, maxBalance)
	}
	tx.activity.edit(unit{}).Moved += c.Amount
	tx.recent.put(pair{c.From, c.To}, tx.now)
	tx.recents.push(tx.now+reverseCooldown, pair{c.From, c.To})
	if c.Key != (digest{}) {
		k := answerKey{c.From, c.Key}
		tx.answers.put(k, answered{Params: params, Expires: tx.now + keepAnswer})
		tx.answerEnd.push(tx.now+keepAnswer, k)
	}
	return nil, nil
}

func (tx *tx) sentRecently(p pair) bool {
	at := tx.recent.get(p)
	return at != nil && tx.now-*at < reverseCooldown
}

// award makes or, with a negative amount, destroys kudos of a user.
type award struct {
	Actor  horde.UserID `cbor:"1,keyasint,omitempty"`
	To     horde.UserID `cbor:"2,keyasint,omitempty"`
	Amount horde.Kudos  `cbor:"3,keyasint,omitempty"`
}

// apply decides in the order of spec/accounts.md section 5.2.
func (c *award) apply(tx *tx) ([]byte, error) {
	actor, to := tx.user(c.Actor), tx.user(c.To)
	switch {
	case actor == nil:
		return nil, horde.Refuse(horde.RCInvalidAPIKey, "The acting account is gone.")
	case actor.is(horde.RoleDeleted):
		return nil, horde.Refuse(horde.RCDeletedUser, "This account is deleted.")
	case c.Actor != founderUser:
		return nil, horde.Refuse(horde.RCNotAllowedAwards, "This account may not award kudos.")
	case to == nil:
		return nil, horde.Refuse(horde.RCInvalidAwardUsername, "There is no such user to award kudos to.")
	case c.To == horde.Anonymous:
		return nil, horde.Refuse(horde.RCKudosAwardToAnon, "Anonymous cannot be awarded kudos.")
	case to.is(horde.RoleFlagged):
		return nil, horde.Refuse(horde.RCTargetAccountFlagged, "The account is flagged and cannot be awarded kudos.")
	case c.Amount > maxAmount || c.Amount < -maxAmount:
		return nil, horde.Refuse(horde.RCBadRequest, "The amount is out of range.")
	}
	tx.alone(c.Amount)
	tx.because(ReasonAward)
	return nil, tx.post(spendable(c.To, actionAwarded, c.Amount), system(AccountAward, -c.Amount))
}
