package api

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"hordenode/internal/horde"
)

// sharedKeyRoutes are the endpoints of shared keys (spec/accounts.md section 6). What is
// missing is told as an unknown key, with 401.
func (s *Server) sharedKeyRoutes() []route {
	return []route{
		{method: "PUT", path: "/api/v2/sharedkeys", handle: s.createSharedKey, limits: []limit{{n: 5, per: time.Minute, by: byPath}}},
		{method: "GET", path: "/api/v2/sharedkeys/{sharedkey_id}", handle: s.showSharedKey},
		{method: "PATCH", path: "/api/v2/sharedkeys/{sharedkey_id}", handle: s.changeSharedKey},
		{method: "DELETE", path: "/api/v2/sharedkeys/{sharedkey_id}", handle: s.deleteSharedKey},
	}
}

// sharedKeyDetails is a shared key as the API shows it, in the API's order.
type sharedKeyDetails struct {
	ID             horde.SharedKeyID `json:"id"`
	Username       string            `json:"username"` // its owner's
	Name           string            `json:"name,omitempty"`
	Kudos          int64             `json:"kudos"` // -1: no limit
	Expiry         string            `json:"expiry,omitempty"`
	Utilized       int64             `json:"utilized"`
	MaxImagePixels int               `json:"max_image_pixels"`
	MaxImageSteps  int               `json:"max_image_steps"`
	MaxTextTokens  int               `json:"max_text_tokens"`
}

func (s *Server) sharedKeyDetails(k horde.SharedKey) sharedKeyDetails {
	owner, _ := s.deps.Accounts.User(k.Owner)
	d := sharedKeyDetails{
		ID:             k.ID,
		Username:       owner.Alias(),
		Name:           k.Name,
		Kudos:          int64(math.Round(k.Kudos.Float())),
		Utilized:       int64(math.Round(k.Utilized.Float())),
		MaxImagePixels: k.MaxImagePixels,
		MaxImageSteps:  k.MaxImageSteps,
		MaxTextTokens:  k.MaxTextTokens,
	}
	if !k.Expires.IsZero() {
		d.Expiry = shortDate(k.Expires)
	}
	return d
}

// sharedKeyByID finds a shared key by its id.
func (s *Server) sharedKeyByID(ctx context.Context, id string) (horde.SharedKey, error) {
	missing := horde.Refuse(horde.RCInvalidAPIKey, "There is no such shared key.")
	u, err := horde.ParseUUID(id)
	if err != nil {
		return horde.SharedKey{}, missing
	}
	return seek(ctx, s, missing, func() (horde.SharedKey, bool) {
		return s.deps.Community.SharedKey(horde.SharedKeyID{UUID: u})
	})
}

// showSharedKey serves GET /api/v2/sharedkeys/{sharedkey_id}.
func (s *Server) showSharedKey(w http.ResponseWriter, r *http.Request) error {
	k, err := s.sharedKeyByID(r.Context(), r.PathValue("sharedkey_id"))
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, s.sharedKeyDetails(k))
}

// sharedKeyRequest is the body of PUT and PATCH /sharedkeys; nil fields were not sent.
type sharedKeyRequest struct {
	kudos                 *horde.Kudos
	days                  *int64 // until it expires; -1: never
	name                  *string
	pixels, steps, tokens *int
}

func (q *sharedKeyRequest) read(a *args) {
	a.apikey()
	if n := a.optInteger("kudos"); n != nil {
		if *n < -1 {
			a.fail("kudos", "must be -1, for no limit, or more")
		}
		q.kudos = new(horde.Whole(min(*n, most)))
	}
	q.days = a.optInteger("expiry")
	q.name = a.optStr("name", 255)
	q.pixels = a.cap("max_image_pixels")
	q.steps = a.cap("max_image_steps")
	q.tokens = a.cap("max_text_tokens")
}

// cap is a largest amount; -1 is none.
func (a *args) cap(name string) *int {
	n := a.optInteger(name)
	if n == nil {
		return nil
	}
	return new(int(min(max(*n, -1), math.MaxInt32)))
}

// maxDays bounds how long a shared key lives, so that its end can be written as a date.
const maxDays = 100 * 365

// expires is when a key that is given so many days ends; what is in the past has ended.
func expires(now time.Time, days int64) time.Time {
	return now.Add(time.Duration(min(max(days, -maxDays), maxDays)) * 24 * time.Hour)
}

// createSharedKey serves PUT /api/v2/sharedkeys.
func (s *Server) createSharedKey(w http.ResponseWriter, r *http.Request) error {
	var q sharedKeyRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	u, err := s.user(r)
	switch {
	case err != nil:
		return err
	case bodyOf(r).hasNUL():
		return errNUL()
	}
	or := func(n *int) int {
		if n == nil {
			return -1
		}
		return *n
	}
	n := NewSharedKey{
		Owner:          u.ID,
		Kudos:          horde.Whole(5000),
		MaxImagePixels: or(q.pixels),
		MaxImageSteps:  or(q.steps),
		MaxTextTokens:  or(q.tokens),
	}
	if q.kudos != nil {
		n.Kudos = *q.kudos
	}
	if q.name != nil {
		n.Name = *q.name
	}
	if q.days != nil && *q.days != -1 && *q.days != 0 {
		n.Expires = expires(s.now(), *q.days)
	}
	k, err := s.deps.Community.CreateSharedKey(r.Context(), n)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, s.sharedKeyDetails(k))
}

// changeSharedKey serves PATCH /api/v2/sharedkeys/{sharedkey_id}. Only the owner may, which
// the ledger judges.
func (s *Server) changeSharedKey(w http.ResponseWriter, r *http.Request) error {
	var q sharedKeyRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	k, err := s.sharedKeyByID(r.Context(), r.PathValue("sharedkey_id"))
	if err != nil {
		return err
	}
	u, err := s.user(r)
	switch {
	case err != nil:
		return err
	case bodyOf(r).hasNUL():
		return errNUL()
	}
	c := SharedKeyChange{
		Actor:          u.ID,
		Key:            k.ID,
		Kudos:          q.kudos,
		Name:           q.name,
		MaxImagePixels: q.pixels,
		MaxImageSteps:  q.steps,
		MaxTextTokens:  q.tokens,
	}
	switch {
	case q.days == nil:
	case *q.days == -1:
		c.Expires = new(time.Time)
	default:
		c.Expires = new(expires(s.now(), *q.days))
	}
	now, err := s.deps.Community.UpdateSharedKey(r.Context(), c)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, s.sharedKeyDetails(now))
}

// deleteSharedKey serves DELETE /api/v2/sharedkeys/{sharedkey_id}.
func (s *Server) deleteSharedKey(w http.ResponseWriter, r *http.Request) error {
	if _, ok := apikey(r); !ok {
		return invalid("apikey", missingHeader("apikey"))
	}
	k, err := s.sharedKeyByID(r.Context(), r.PathValue("sharedkey_id"))
	if err != nil {
		return err
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	if err := s.deps.Community.DeleteSharedKey(r.Context(), u.ID, k.ID); err != nil {
		return err
	}
	return encode(w, http.StatusOK, done())
}

// done answers what succeeded and has nothing to tell.
func done() json.RawMessage { return json.RawMessage(`{"message":"OK"}`) }

// sharedKeysOf are the ids of a user's shared keys.
func (s *Server) sharedKeysOf(id horde.UserID) ([]horde.SharedKeyID, error) {
	ids, err := s.deps.Community.SharedKeysOf(id)
	return append([]horde.SharedKeyID{}, ids...), err
}

// encodeKeyOwner tells who owns a shared key, as everybody sees them.
func (s *Server) encodeKeyOwner(w http.ResponseWriter, r *http.Request, k horde.SharedKey) error {
	owner, ok := s.deps.Accounts.User(k.Owner)
	if !ok {
		return userNotFound(strconv.FormatInt(int64(k.Owner), 10))
	}
	d := s.userDetails(r.Context(), owner, publicView)
	d.Username += " (Shared Key)"
	if k.Name != "" {
		d.Username = owner.Alias() + " (Shared Key: " + k.Name + ")"
	}
	shown, err := sparse(d)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, shown)
}

// transferToKey moves kudos to a shared key.
func (s *Server) transferToKey(ctx context.Context, t Transfer, to horde.SharedKeyID) error {
	return s.deps.Community.TransferToKey(ctx, KeyTransfer{From: t.From, To: to, Amount: t.Amount, Key: t.Key})
}
