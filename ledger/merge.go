package ledger

import (
	"context"

	"hordenode/internal/horde"
)

// mergeUsers makes one account of two: what From has goes to Into, and a tombstone stays, so
// that the number is never given again and old statements keep their sense.
//
//	From ── kudos above the floor, escrow, open requests, records ──► Into
//	     ── workers, shared keys, teams, styles, collections ───────►
//	     ── API key, logins ──► nobody's
type mergeUsers struct {
	Actor  horde.UserID `cbor:"1,keyasint,omitempty"`
	From   horde.UserID `cbor:"2,keyasint,omitempty"`
	Into   horde.UserID `cbor:"3,keyasint,omitempty"`
	Reason string       `cbor:"4,keyasint,omitempty"` // for the moderation log
}

// MergeUsers merges an account into another and returns that; actor is an admin.
func (c *Client) MergeUsers(ctx context.Context, actor, from, into horde.UserID, reason string) (horde.User, error) {
	data, err := c.everywhere(ctx, encodeCommand(kindMergeUsers, mergeUsers{Actor: actor, From: from, Into: into, Reason: reason}))
	if err != nil {
		return horde.User{}, err
	}
	return decodeUser(data)
}

func (c *mergeUsers) check(tx *tx) error {
	if err := tx.mayAdminister(c.Actor, c.Reason); err != nil {
		return err
	}
	from, into := tx.user(c.From), tx.user(c.Into)
	switch {
	case from == nil:
		return userNotFound(c.From)
	case into == nil:
		return userNotFound(c.Into)
	case c.From == horde.Anonymous || c.Into == horde.Anonymous:
		return horde.Refuse(horde.RCAnonForbiddenUserMod, "Anonymous cannot be merged.")
	case c.From == c.Into:
		return horde.Refuse(horde.RCBadRequest, "These are the same account.")
	case c.From == founderUser || from.is(horde.RoleAdmin):
		return horde.Refuse(horde.RCForbidden, "An admin's account cannot be merged into another.")
	case into.is(horde.RoleDeleted):
		return horde.Refuse(horde.RCDeletedUser, "The account to merge into is deleted.")
	}
	for _, id := range tx.ids(tx.stylesOf, c.From) {
		if _, taken := tx.styleNamed(&c.Into, tx.styles.get(id).Name, nil); taken != nil {
			return horde.Refuse(horde.RCBadRequest, "Both accounts have a style called %q: one of them needs another name.", taken.Name)
		}
	}
	for _, id := range tx.ids(tx.collectionsOf, c.From) {
		if _, taken := tx.collectionNamed(&c.Into, tx.collections.get(id).Name); taken != nil {
			return horde.Refuse(horde.RCBadRequest, "Both accounts have a collection called %q: one of them needs another name.", taken.Name)
		}
	}
	return nil
}

func (c *mergeUsers) apply(tx *tx) ([]byte, error) {
	if err := c.check(tx); err != nil {
		return nil, err
	}
	if err := c.moveKudos(tx); err != nil {
		return nil, err
	}
	c.moveThings(tx)
	from, into := tx.users.edit(c.From), tx.users.edit(c.Into)
	into.Monthly = min(into.Monthly+from.Monthly, maxAmount)
	into.WorkerInvited = max(into.WorkerInvited, from.WorkerInvited)
	into.LastActive = max(into.LastActive, from.LastActive)
	for i := range from.Details {
		into.Details[i] += from.Details[i]
	}
	for i := range from.Usage {
		into.Usage[i] += from.Usage[i]
		into.Contribution[i] += from.Contribution[i]
		into.Requests[i] += from.Requests[i]
		into.Fulfillments[i] += from.Fulfillments[i]
		into.Styles[i] += from.Styles[i]
	}
	for i := range from.Suspicions { // a merge is no way to be rid of them
		into.Suspicions[i] = max(into.Suspicions[i], from.Suspicions[i])
	}
	if from.Patron > 0 {
		into.Patron, into.PatronUntil = min(into.Patron+from.Patron, maxAmount), max(into.PatronUntil, from.PatronUntil)
	}
	from.Monthly, from.WorkerInvited, from.Patron, from.PatronUntil = 0, 0, 0, 0
	from.Details, from.Usage, from.Contribution = [actions]horde.Kudos{}, [3]int64{}, [3]int64{}
	from.Requests, from.Fulfillments, from.Styles = [3]int64{}, [3]int64{}, [3]int64{}
	tx.entomb(c.From, "<merged>")
	return tx.userData(c.Into), nil
}

// moveKudos moves what is above the floor, which cannot be moved, and the escrow; and makes
// Into the payer of the open requests.
func (c *mergeUsers) moveKudos(tx *tx) error {
	from, into := tx.users.get(c.From), tx.users.get(c.Into)
	amount, e := max(0, from.Kudos-from.Class.Floor()), from.Escrow
	tx.why = cause{reason: ReasonMerge, from: c.From, to: c.Into}
	if err := tx.post(spendable(c.From, actionNone, -amount), spendable(c.Into, actionNone, amount)); err != nil {
		return err
	}
	goes := escrow(c.Into, e)
	if into.is(horde.RoleTrusted) {
		goes = spendable(c.Into, actionNone, e)
	}
	if err := tx.post(escrow(c.From, -e), goes); err != nil {
		return err
	}
	var open []horde.RequestID
	tx.holds.all(func(id horde.RequestID, h *hold) bool {
		if h.Payer == c.From {
			open = append(open, id)
		}
		return true
	})
	for _, id := range open { // each touches its own row and the same sums: the order does not matter
		h := tx.holds.edit(id)
		h.Payer = c.Into
		tx.hold(c.From, -h.Left)
		tx.hold(c.Into, h.Left)
	}
	return nil
}

func (c *mergeUsers) moveThings(tx *tx) {
	for _, w := range append([]horde.WorkerID(nil), tx.workersOf(c.From)...) {
		tx.giveWorker(w, c.Into)
	}
	for _, k := range append([]horde.SharedKeyRef(nil), tx.sharedKeysOf(c.From)...) {
		tx.sharedKeys.edit(k).Owner = c.Into
		tx.keysOf.put(c.Into, with(tx.sharedKeysOf(c.Into), k))
	}
	tx.keysOf.remove(c.From)
	for _, s := range append([]horde.StyleID(nil), tx.ids(tx.stylesOf, c.From)...) {
		tx.styles.edit(s).Owner = c.Into
		list(tx.stylesOf, c.Into, s)
	}
	tx.stylesOf.remove(c.From)
	for _, s := range append([]horde.StyleID(nil), tx.ids(tx.collectionsOf, c.From)...) {
		tx.collections.edit(s).Owner = c.Into
		list(tx.collectionsOf, c.Into, s)
	}
	tx.collectionsOf.remove(c.From)
	var teams []horde.TeamID
	tx.teams.all(func(id horde.TeamID, t *team) bool {
		if t.Owner == c.From {
			teams = append(teams, id)
		}
		return true
	})
	for _, id := range teams {
		tx.teams.edit(id).Owner = c.Into
	}
}

// entomb takes from an account all by which somebody could use it, and its texts.
func (tx *tx) entomb(id horde.UserID, name string) {
	w := tx.users.edit(id)
	tx.keys.remove(w.Key)
	tx.logins.remove(w.Login)
	tx.passkeys.remove(w.Passkey)
	w.Name, w.Contact, w.AdminComment = name, "", ""
	w.Key, w.Login, w.Passkey, w.Wiped = digest{}, digest{}, digest{}, true
	w.Roles |= horde.RoleDeleted
	tx.forgetBefore(id)
	tx.bar(id)
}

func (c *mergeUsers) moderates(*tx) moderation {
	return moderation{Actor: c.Actor, Action: "merge account into " + userTarget(c.Into), Target: userTarget(c.From), Reason: c.Reason}
}
