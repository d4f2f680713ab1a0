package ledger

import (
	"context"
	"crypto/sha256"
	"slices"

	"hordenode/internal/horde"
)

// Logins let a person in by an account elsewhere, such as "g_1234" at Google. An account here
// has one or none:
//
//	pseudonymous --linkLogin--> registered, with the floor of a registered account
//	registered  --unlinkLogin-> pseudonymous again; the API key goes on
//
// Only the salted hash of the login is stored (secret.go).

// linkLogin gives a user a login.
type linkLogin struct {
	User  horde.UserID `cbor:"1,keyasint"`
	Login digest       `cbor:"2,keyasint"`
}

func (c *linkLogin) apply(tx *tx) ([]byte, error) {
	u := tx.user(c.User)
	switch {
	case u == nil:
		return nil, userNotFound(c.User)
	case c.User == horde.Anonymous:
		return nil, horde.Refuse(horde.RCAnonForbiddenUser, "Anonymous cannot have a login.")
	case c.Login == digest{}:
		return nil, horde.Refuse(horde.RCBadRequest, "This login cannot be used.")
	case u.Login == c.Login:
		return tx.userData(c.User), nil // a repeat
	case u.Login != digest{}:
		return nil, horde.Refuse(horde.RCForbidden, "This account has a login already. Please unlink that one first.")
	case tx.logins.has(c.Login):
		return nil, horde.Refuse(horde.RCForbidden, "This login belongs to another account.")
	}
	u = tx.users.edit(c.User)
	u.Login, u.Class = c.Login, horde.ClassRegistered
	tx.logins.put(c.Login, c.User)
	return tx.userData(c.User), tx.lift(c.User)
}

// lift posts what a user lacks to a floor that has risen. An account that nothing was posted
// to stays at 0.
func (tx *tx) lift(id horde.UserID) error {
	u := tx.users.get(id)
	short := u.Class.Floor() - u.Kudos
	if u.Kudos == 0 || short <= 0 {
		return nil
	}
	tx.because(ReasonForgiveness)
	return tx.post(spendable(id, actionNone, short), system(AccountForgiveness, -short))
}

// unlinkLogin takes a user's login away.
type unlinkLogin struct {
	User horde.UserID `cbor:"1,keyasint"`
}

func (c *unlinkLogin) apply(tx *tx) ([]byte, error) {
	u := tx.user(c.User)
	switch {
	case u == nil:
		return nil, userNotFound(c.User)
	case u.Login == digest{}:
		return nil, horde.Refuse(horde.RCForbidden, "This account has no login.")
	}
	u = tx.users.edit(c.User)
	tx.logins.remove(u.Login)
	u.Login, u.Class = digest{}, horde.ClassPseudonymous
	return tx.userData(c.User), nil
}

// LinkLogin gives a user a login, such as "g_1234", that no account has; the account counts
// as registered from then on.
func (c *Client) LinkLogin(ctx context.Context, id horde.UserID, login string) (horde.User, error) {
	data, err := c.everywhere(ctx, encodeCommand(kindLinkLogin, linkLogin{id, c.hash(login)}))
	if err != nil {
		return horde.User{}, err
	}
	return decodeUser(data)
}

// UnlinkLogin takes a user's login away; the account counts as pseudonymous from then on.
func (c *Client) UnlinkLogin(ctx context.Context, id horde.UserID) (horde.User, error) {
	data, err := c.everywhere(ctx, encodeCommand(kindUnlinkLogin, unlinkLogin{id}))
	if err != nil {
		return horde.User{}, err
	}
	return decodeUser(data)
}

// HasLogin tells whether a user has a login.
func (r Reader) HasLogin(id horde.UserID) bool {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	u := r.m.s.user(id)
	return u != nil && u.Login != digest{}
}

// KeyMark changes when a user's API key or login does, and tells nothing of either: what was
// opened under a mark ends when the key is replaced or the login unlinked. It is zero for users
// that are not there.
func (r Reader) KeyMark(id horde.UserID) [16]byte {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	u := r.m.s.user(id)
	if u == nil {
		return [16]byte{}
	}
	sum := sha256.Sum256(slices.Concat([]byte("key mark "), u.Key[:], u.Login[:]))
	return [16]byte(sum[:])
}
