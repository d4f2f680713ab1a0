package ledger

import (
	"context"
	"time"

	"hordenode/internal/horde"
)

// How many shared keys a user may have (spec/kudos.md section 10).
const (
	sharedKeysTrusted   = 10
	sharedKeysEducation = 1000
	sharedKeysPlain     = 3
)

// sharedKey lets others spend its owner's kudos. Its list of styles and the styles'
// SharedKey fields agree.
type sharedKey struct {
	Owner    horde.UserID    `cbor:"1,keyasint,omitempty"`
	Name     string          `cbor:"2,keyasint,omitempty"`
	Kudos    horde.Kudos     `cbor:"3,keyasint,omitempty"` // what may still be spent, or horde.Unlimited
	Utilized horde.Kudos     `cbor:"4,keyasint,omitempty"`
	Expires  int64           `cbor:"5,keyasint,omitempty"` // 0: never
	Created  int64           `cbor:"6,keyasint"`
	Pixels   int             `cbor:"7,keyasint"` // -1: no limit
	Steps    int             `cbor:"8,keyasint"` // likewise
	Tokens   int             `cbor:"9,keyasint"` // likewise
	Styles   []horde.StyleID `cbor:"10,keyasint,omitempty"`
	Sealed   []byte          `cbor:"11,keyasint,omitempty"` // its id, see seal.go; none: the id is the row's key
}

// view shows a key as it is in the row of ref; id is zero if it is not known.
func (k *sharedKey) view(id horde.SharedKeyID, ref horde.SharedKeyRef) horde.SharedKey {
	return horde.SharedKey{
		ID: id, Ref: ref, Owner: k.Owner, Name: k.Name, Kudos: k.Kudos, Utilized: k.Utilized, Expires: moment(k.Expires), Created: moment(k.Created),
		MaxImagePixels: k.Pixels, MaxImageSteps: k.Steps, MaxTextTokens: k.Tokens, Styles: len(k.Styles),
	}
}

func (k *sharedKey) expired(now int64) bool { return k.Expires != 0 && now > k.Expires }

// valid is horde.SharedKey.Valid at a ledger time.
func (k *sharedKey) valid(now int64) error {
	switch {
	case k.Kudos == 0:
		return horde.Refuse(horde.RCSharedKeyEmpty, "This shared key has no kudos left.")
	case k.expired(now):
		return horde.Refuse(horde.RCSharedKeyExpired, "This shared key has expired.")
	}
	return nil
}

// sharedKeyRow is what a command that answers with a shared key returns.
type sharedKeyRow struct {
	Ref horde.SharedKeyRef `cbor:"1,keyasint"`
	Key sharedKey          `cbor:"2,keyasint"`
}

// decodeSharedKey reads the row of the key that the caller knows to have the given id.
func decodeSharedKey(id horde.SharedKeyID, data []byte, err error) (horde.SharedKey, error) {
	r, err := decodeRow[sharedKeyRow](data, err)
	if err != nil {
		return horde.SharedKey{}, err
	}
	return r.Key.view(id, r.Ref), nil
}

// sharedKeyNotFound is the code of an unknown API key, which it is (spec/accounts.md
// section 6).
func sharedKeyNotFound() error {
	return horde.Refuse(horde.RCInvalidAPIKey, "There is no such shared key.")
}

// A NewSharedKey is a shared key that is to be made.
type NewSharedKey struct {
	Owner   horde.UserID
	Kudos   horde.Kudos // horde.Unlimited: no limit
	Expires time.Time   // zero: never
	Name    string

	MaxImagePixels, MaxImageSteps, MaxTextTokens int // -1: no limit
}

// createSharedKey is a NewSharedKey on its way. As a command of its own it is of version 1,
// and its Ref is the id; since version 2 it is a part of createSealedKey.
type createSharedKey struct {
	Ref     horde.SharedKeyRef `cbor:"1,keyasint"`
	Owner   horde.UserID       `cbor:"2,keyasint,omitempty"`
	Kudos   horde.Kudos        `cbor:"3,keyasint,omitempty"`
	Expires int64              `cbor:"4,keyasint,omitempty"`
	Name    string             `cbor:"5,keyasint,omitempty"`
	Pixels  int                `cbor:"6,keyasint"`
	Steps   int                `cbor:"7,keyasint"`
	Tokens  int                `cbor:"8,keyasint"`
}

// CreateSharedKey makes a shared key. In a federation of version 2 it needs the federation's
// SealKey: horde.RCUnavailable while this node does not have it.
func (c *Client) CreateSharedKey(ctx context.Context, k NewSharedKey) (horde.SharedKey, error) {
	u, err := c.newID()
	if err != nil {
		return horde.SharedKey{}, err
	}
	id := horde.SharedKeyID{UUID: u}
	cmd := createSharedKey{
		Ref: horde.SharedKeyRef(id), Owner: k.Owner, Kudos: k.Kudos, Expires: millis(k.Expires), Name: k.Name,
		Pixels: k.MaxImagePixels, Steps: k.MaxImageSteps, Tokens: k.MaxTextTokens,
	}
	encoded := []byte(nil)
	if c.Version() < SealVersion {
		encoded = encodeCommand(kindCreateSharedKey, cmd)
	} else {
		cmd.Ref = c.refOf(id)
		sealed, err := c.seal(id, cmd.Ref)
		if err != nil {
			return horde.SharedKey{}, err
		}
		encoded = encodeCommand(kindCreateSealedKey, createSealedKey{Key: cmd, Sealed: sealed})
	}
	data, err := c.everywhere(ctx, encoded)
	return decodeSharedKey(id, data, err)
}

func (c *createSharedKey) apply(tx *tx) ([]byte, error) { return c.create(tx, nil) }

func (c *createSharedKey) create(tx *tx, sealed []byte) ([]byte, error) {
	owner := tx.user(c.Owner)
	switch {
	case owner == nil:
		return nil, actorGone()
	case c.Owner == horde.Anonymous:
		return nil, horde.Refuse(horde.RCAnonForbidden, "Anonymous cannot make shared keys.")
	case len(tx.sharedKeysOf(c.Owner)) >= owner.mostSharedKeys():
		return nil, horde.Refuse(horde.RCForbidden, "This account can have %d shared keys.", owner.mostSharedKeys())
	case c.Ref.IsZero() || tx.sharedKeys.has(c.Ref):
		return nil, horde.Refuse(horde.RCBadRequest, "Such a shared key cannot be made.")
	}
	if err := checkSharedKey(&c.Kudos, &c.Name, &c.Pixels, &c.Steps, &c.Tokens); err != nil {
		return nil, err
	}
	k := sharedKey{
		Owner: c.Owner, Name: c.Name, Kudos: c.Kudos, Expires: c.Expires, Created: tx.now,
		Pixels: c.Pixels, Steps: c.Steps, Tokens: c.Tokens, Sealed: sealed,
	}
	tx.sharedKeys.put(c.Ref, k)
	tx.keysOf.put(c.Owner, with(tx.sharedKeysOf(c.Owner), c.Ref))
	return encode(sharedKeyRow{c.Ref, k}), nil
}

func (u *user) mostSharedKeys() int {
	switch {
	case u.is(horde.RoleTrusted):
		return sharedKeysTrusted
	case u.is(horde.RoleEducation):
		return sharedKeysEducation
	}
	return sharedKeysPlain
}

// checkSharedKey refuses values, nil if not given, that a shared key cannot have.
func checkSharedKey(kudos *horde.Kudos, name *string, limits ...*int) error {
	if kudos != nil && *kudos != horde.Unlimited && !amountInRange(*kudos) {
		return horde.Refuse(horde.RCBadRequest, "A shared key has a limit of 0 or more kudos, or none.")
	}
	if name != nil && len(*name) > maxText {
		return horde.Refuse(horde.RCBadRequest, "The name is too long.")
	}
	for _, l := range limits {
		if l != nil && (*l < -1 || *l > 1<<31) {
			return horde.Refuse(horde.RCBadRequest, "A limit of a shared key is out of range.")
		}
	}
	return nil
}

// A SharedKeyChange is what PATCH /sharedkeys may change; nil fields stay as they are.
type SharedKeyChange struct {
	Actor   horde.UserID
	Key     horde.SharedKeyID
	Kudos   *horde.Kudos
	Expires *time.Time // zero time: never
	Name    *string

	MaxImagePixels, MaxImageSteps, MaxTextTokens *int
}

// updateSharedKey is a SharedKeyChange on its way.
type updateSharedKey struct {
	Actor   horde.UserID       `cbor:"1,keyasint,omitempty"`
	Key     horde.SharedKeyRef `cbor:"2,keyasint"`
	Kudos   *horde.Kudos       `cbor:"3,keyasint,omitempty"`
	Expires *int64             `cbor:"4,keyasint,omitempty"` // 0: never
	Name    *string            `cbor:"5,keyasint,omitempty"`
	Pixels  *int               `cbor:"6,keyasint,omitempty"`
	Steps   *int               `cbor:"7,keyasint,omitempty"`
	Tokens  *int               `cbor:"8,keyasint,omitempty"`
}

// UpdateSharedKey makes all changes or none and returns the key afterwards.
func (c *Client) UpdateSharedKey(ctx context.Context, k SharedKeyChange) (horde.SharedKey, error) {
	cmd := updateSharedKey{
		Actor: k.Actor, Key: c.find(k.Key), Kudos: k.Kudos, Name: k.Name, Pixels: k.MaxImagePixels, Steps: k.MaxImageSteps, Tokens: k.MaxTextTokens,
	}
	if k.Expires != nil {
		at := millis(*k.Expires)
		cmd.Expires = &at
	}
	data, err := c.everywhere(ctx, encodeCommand(kindUpdateSharedKey, cmd))
	return decodeSharedKey(k.Key, data, err)
}

// apply decides in the order of spec/accounts.md section 6; moderators are not exempt.
func (c *updateSharedKey) apply(tx *tx) ([]byte, error) {
	if err := tx.ownsSharedKey(c.Actor, c.Key); err != nil {
		return nil, err
	}
	if c.Kudos == nil && c.Expires == nil && c.Name == nil && c.Pixels == nil && c.Steps == nil && c.Tokens == nil {
		return nil, horde.Refuse(horde.RCNoSharedKeyModSelected, "Nothing to change was given.")
	}
	if err := checkSharedKey(c.Kudos, c.Name, c.Pixels, c.Steps, c.Tokens); err != nil {
		return nil, err
	}
	k := tx.sharedKeys.edit(c.Key)
	set(&k.Kudos, c.Kudos)
	set(&k.Expires, c.Expires)
	set(&k.Name, c.Name)
	set(&k.Pixels, c.Pixels)
	set(&k.Steps, c.Steps)
	set(&k.Tokens, c.Tokens)
	return encode(sharedKeyRow{c.Key, *k}), nil
}

func (tx *tx) ownsSharedKey(actor horde.UserID, id horde.SharedKeyRef) error {
	k := tx.sharedKeys.get(id)
	switch {
	case k == nil:
		return sharedKeyNotFound()
	case tx.user(actor) == nil:
		return actorGone()
	case k.Owner != actor:
		return horde.Refuse(horde.RCForbidden, "Only the owner of a shared key may change it.")
	}
	return nil
}

// deleteSharedKey removes a shared key.
type deleteSharedKey struct {
	Actor horde.UserID       `cbor:"1,keyasint,omitempty"`
	Key   horde.SharedKeyRef `cbor:"2,keyasint"`
}

// DeleteSharedKey removes a shared key. Styles that had it have none then.
func (c *Client) DeleteSharedKey(ctx context.Context, actor horde.UserID, id horde.SharedKeyID) error {
	_, err := c.everywhere(ctx, encodeCommand(kindDeleteSharedKey, deleteSharedKey{actor, c.find(id)}))
	return err
}

func (c *deleteSharedKey) apply(tx *tx) ([]byte, error) {
	if err := tx.ownsSharedKey(c.Actor, c.Key); err != nil {
		return nil, err
	}
	tx.dropSharedKey(c.Key)
	return nil, nil
}

func (tx *tx) dropSharedKey(id horde.SharedKeyRef) {
	k := tx.sharedKeys.get(id)
	for _, s := range k.Styles {
		tx.styles.edit(s).SharedKey = horde.SharedKeyRef{}
	}
	if left := without(tx.sharedKeysOf(k.Owner), id); len(left) > 0 {
		tx.keysOf.put(k.Owner, left)
	} else {
		tx.keysOf.remove(k.Owner)
	}
	tx.sharedKeys.remove(id)
}

// useUp takes a debit of the owner out of a key's budget: a limited one ends at 0, and all
// of the debit counts as utilized. One that is gone or empty stays as it is (spec/kudos.md
// section 10).
func (tx *tx) useUp(id horde.SharedKeyRef, debit horde.Kudos) {
	if id.IsZero() || debit == 0 {
		return
	}
	k := tx.sharedKeys.get(id)
	if k == nil || k.Kudos == 0 {
		return
	}
	k = tx.sharedKeys.edit(id)
	k.Utilized = min(k.Utilized+debit, maxBalance)
	if k.Kudos != horde.Unlimited {
		k.Kudos = max(0, k.Kudos-debit)
	}
}

// A KeyTransfer moves kudos to the owner of a shared key, whose limit they raise.
type KeyTransfer struct {
	From   horde.UserID
	To     horde.SharedKeyID
	Amount horde.Kudos
	Key    string // Idempotency-Key; may be empty
}

// TransferToKey moves kudos to the owner of a shared key and, if the key has a limit,
// raises it by as much. Repeats are answered as those of Transfer.
func (c *Client) TransferToKey(ctx context.Context, t KeyTransfer) error {
	cmd := newTransfer(Transfer{From: t.From, Amount: t.Amount, Key: t.Key})
	cmd.SharedKey = c.find(t.To)
	_, err := c.do(ctx, encodeCommand(kindTransfer, cmd))
	return err
}

// sharedKeysOf returns a user's shared keys, oldest first. Do not change them.
func (s *state) sharedKeysOf(id horde.UserID) []horde.SharedKeyRef {
	if refs := s.keysOf.get(id); refs != nil {
		return *refs
	}
	return nil
}
