package ledger

import (
	"time"

	"hordenode/internal/horde"
)

const (
	// lateGrace is how long a hold lives that came after its deadline: its home was cut off,
	// and its settlements come right behind it.
	lateGrace = int64(10 * time.Minute / time.Millisecond)
	// longestHold bounds how far ahead a deadline may lie.
	longestHold = int64(48 * time.Hour / time.Millisecond)
	// maxThings bounds the work of one job.
	maxThings = 1 << 40
)

// admission is a horde.Admission on its way.
type admission struct {
	Request  horde.RequestID `cbor:"1,keyasint"`
	Kind     horde.Kind      `cbor:"2,keyasint,omitempty"`
	Payer    horde.UserID    `cbor:"3,keyasint,omitempty"`
	Slots    int             `cbor:"4,keyasint"`
	Tax      horde.Kudos     `cbor:"5,keyasint,omitempty"`
	Upfront  horde.Kudos     `cbor:"6,keyasint,omitempty"`
	Deadline int64           `cbor:"7,keyasint"`

	SharedKey  horde.SharedKeyRef `cbor:"8,keyasint,omitzero"`
	Style      horde.StyleID      `cbor:"9,keyasint,omitzero"`
	Collection horde.StyleID      `cbor:"10,keyasint,omitzero"`
}

func newAdmission(a horde.Admission) admission {
	return admission{
		Request: a.Request, Kind: a.Kind, Payer: a.Payer, Slots: a.Slots, Tax: a.Tax, Upfront: a.Upfront,
		Deadline: millis(a.Deadline), SharedKey: a.SharedKey, Style: a.Style, Collection: a.Collection,
	}
}

// notHome refuses what a node says about a request of another, unless it stands in for it
// (takeover.go).
func (tx *tx) notHome(home horde.HomeTag) error {
	if home != tx.from.Tag() && !tx.standsIn(tx.from, home) {
		return horde.Refuse(horde.RCForbidden, "Only the home of a request may do this.")
	}
	return nil
}

// apply opens the hold record, sets the upfront kudos aside and posts the tax, which is
// taken out of them: the request as a whole holds no more than Upfront.
//
// Only an admission with Upfront is waited for. One without comes through an outbox, when
// its jobs may be under way: nothing about its shared key or style refuses it, or workers
// would not be paid for what they did.
func (c *admission) apply(tx *tx) ([]byte, error) {
	if err := tx.notHome(c.Request.Home()); err != nil {
		return nil, err
	}
	payer := tx.user(c.Payer)
	switch {
	case payer == nil:
		return nil, userNotFound(c.Payer)
	case c.Kind > horde.KindAlchemy || c.Slots < 1 || c.Slots > maxSlots || !amountInRange(c.Tax) || !amountInRange(c.Upfront):
		return nil, horde.Refuse(horde.RCBadRequest, "The request cannot be admitted as it is.")
	case tx.holds.has(c.Request), tx.ended.has(c.Request):
		return nil, horde.Refuse(horde.RCBadRequest, "The request is admitted already.")
	}
	if err := tx.checkAdmittedKey(c); err != nil {
		return nil, err
	}
	switch {
	case c.Upfront > 0 && payer.available() < c.Upfront:
		return nil, horde.Refuse(horde.RCKudosUpfront, "This request needs %v kudos up front; %v are available.", c.Upfront, max(0, payer.available()))
	}
	h := hold{
		Payer: c.Payer, Home: c.Request.Home(), Kind: c.Kind, Slots: c.Slots,
		Left: max(0, c.Upfront-c.Tax), Deadline: min(c.Deadline, tx.now+longestHold), SharedKey: c.SharedKey,
	}
	if h.Deadline <= tx.now {
		h.Deadline = tx.now + lateGrace
	}
	tx.holds.put(c.Request, h)
	tx.holdEnds.push(h.Deadline, c.Request)
	tx.hold(c.Payer, h.Left)

	u := tx.users.edit(c.Payer)
	u.LastActive = tx.now
	if c.Tax > 0 {
		u.Requests[c.Kind]++
	}
	tx.because(ReasonTax)
	tx.why.request = c.Request
	if err := tx.post(spendable(c.Payer, actionAccumulated, -c.Tax), system(AccountTax, c.Tax)); err != nil {
		return nil, err
	}
	tx.useUp(c.SharedKey, c.Tax)
	if c.Style.IsZero() && c.Collection.IsZero() {
		return nil, nil
	}
	return nil, tx.useStyle(c.Style, c.Collection, c.Payer)
}

// checkAdmittedKey refuses a shared key that is not the payer's and, if the admission is
// waited for, one that cannot pay for it.
func (tx *tx) checkAdmittedKey(c *admission) error {
	if c.SharedKey.IsZero() {
		return nil
	}
	k := tx.sharedKeys.get(c.SharedKey)
	switch {
	case k == nil && c.Upfront > 0:
		return sharedKeyNotFound()
	case k == nil:
		return nil
	case k.Owner != c.Payer:
		return horde.Refuse(horde.RCBadRequest, "The shared key is not the payer's.")
	case c.Upfront <= 0:
		return nil
	}
	if err := k.valid(tx.now); err != nil {
		return err
	}
	if k.Kudos != horde.Unlimited && k.Kudos < c.Upfront {
		return horde.Refuse(horde.RCSharedKeyInsufficientKudos, "This request needs %v kudos, and the shared key has %v left.", c.Upfront, k.Kudos)
	}
	return nil
}

// settlement is a horde.Settlement on its way.
type settlement horde.Settlement

// apply pays for one slot, once. A request whose record is gone (finished, expired) or a
// slot that is paid already is refused: there is nothing left to do about it.
func (c *settlement) apply(tx *tx) ([]byte, error) {
	h := tx.holds.get(c.Request)
	if h == nil {
		return nil, horde.Refuse(horde.RCRequestNotFound, "The request is not open any more.")
	}
	if err := tx.notHome(h.Home); err != nil {
		return nil, err
	}
	w := tx.workers.get(c.Worker) // one that was deleted meanwhile is still paid
	switch {
	case c.Slot < 0 || c.Slot >= h.Slots || !amountInRange(c.Debit) || !amountInRange(c.Credit) || c.Things < 0 || c.Things > maxThings:
		return nil, horde.Refuse(horde.RCBadRequest, "The job cannot be settled as it is.")
	case h.Settled.has(c.Slot):
		return nil, horde.Refuse(horde.RCDuplicateGen, "The job is settled already.")
	case w == nil:
		return nil, workerNotFound()
	}

	h = tx.holds.edit(c.Request)
	h.Settled.set(c.Slot)
	freed := min(h.Left, c.Debit)
	h.Left -= freed
	tx.hold(h.Payer, -freed)

	w = tx.workers.edit(c.Worker)
	w.Generated += c.Credit
	w.Fulfilled++
	w.Things += c.Things
	if t := tx.teams.edit(w.Team); t != nil && h.Kind == horde.KindImage {
		t.Kudos += c.Credit
		t.Fulfilled++
		t.Things += c.Things
	}
	tx.useUp(h.SharedKey, c.Debit)

	payer := tx.users.edit(h.Payer)
	payer.Requests[h.Kind]++
	payer.Usage[h.Kind] += counted(h.Kind, c.Things, payer.UsagePermille)
	owner := tx.users.edit(w.Owner)
	owner.Fulfillments[h.Kind]++
	owner.Contribution[h.Kind] += counted(h.Kind, c.Things, 1000)
	owner.LastActive = tx.now

	seen := tx.activity.edit(unit{})
	seen.Settled++
	seen.Moved += c.Debit

	var toEscrow horde.Kudos
	if w.Owner != horde.Anonymous && !owner.is(horde.RoleTrusted) {
		toEscrow = (c.Credit + 1) / 2 // half, ties away from zero
	}
	rest := c.Debit - c.Credit
	if w.Home == h.Home || w.Home == (horde.HomeTag{}) {
		tx.alone(max(c.Debit, c.Credit)) // nobody else knows of the job
	} else {
		tx.alone(-rest)
	}
	tx.because(ReasonJob)
	tx.why.request = c.Request
	account := AccountJobTax
	switch {
	case rest < 0 && c.Censored:
		account = AccountCensored
	case rest < 0:
		account = AccountSubsidy
	}
	if err := tx.post(
		spendable(h.Payer, actionAccumulated, -c.Debit),
		spendable(w.Owner, actionAccumulated, c.Credit-toEscrow),
		escrow(w.Owner, toEscrow),
		system(account, rest),
	); err != nil {
		return nil, err
	}
	if toEscrow > 0 {
		return nil, tx.considerTrust(w.Owner)
	}
	return nil, nil
}

// counted turns raw things into what the records count: hundredths of megapixelsteps for
// images, tokens for text, nothing for alchemy. The result is rounded, ties up.
func counted(k horde.Kind, things, permille int64) int64 {
	switch k {
	case horde.KindImage:
		const perUnit = 10_000 * 1000
		return (things*permille + perUnit/2) / perUnit
	case horde.KindText:
		return (things*permille + 500) / 1000
	}
	return 0
}

// finish is a horde.Finish on its way.
type finish horde.Finish

// apply closes the record; one that is closed already stays so.
func (c *finish) apply(tx *tx) ([]byte, error) {
	h := tx.holds.get(c.Request)
	if h == nil {
		return nil, nil
	}
	if err := tx.notHome(h.Home); err != nil {
		return nil, err
	}
	if h.Home != tx.from.Tag() {
		tx.bury(c.Request)
	}
	tx.release(c.Request, h)
	return nil, nil
}

// release closes a hold record and gives what is left of it back to its payer.
func (tx *tx) release(id horde.RequestID, h *hold) {
	tx.hold(h.Payer, -h.Left)
	tx.holds.remove(id)
}
