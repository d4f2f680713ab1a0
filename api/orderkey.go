package api

import (
	"net/http"

	"hordenode/internal/horde"
)

// keySource says how an order came by its shared key.
type keySource uint8

const (
	keyOfClient keySource = iota // it was sent as the API key
	keyOfStyle                   // the style that was applied carries it: its size limits do not hold
)

// findPayer finds out who pays for an order: the owner of its style's shared key, of the
// shared key that was sent in place of an API key, or of the API key (spec/image.md section
// 3.4, V3 to V7). With allow_downgrade an empty shared key makes the order anonymous's.
func (s *Server) findPayer(r *http.Request, o *order) (err error) {
	if o.key != nil {
		return nil
	}
	credential, _ := apikey(r)
	if _, err := horde.ParseUUID(string(credential)); err != nil || s.deps.Community == nil {
		o.payer, err = s.user(r)
		return err
	}
	k, err := s.sharedKeyByID(r.Context(), string(credential))
	if err != nil {
		return err
	}
	owner := k.Owner
	switch rc := k.Valid(s.now()); {
	case rc == horde.RCSharedKeyEmpty && o.downgrade:
		owner, o.low = horde.Anonymous, true
	case rc == horde.RCSharedKeyEmpty:
		return horde.Refuse(rc, "This shared key has no kudos left.")
	case rc != "":
		return horde.Refuse(rc, "This shared key has expired.")
	case k.Styles > 0:
		return horde.Refuse(horde.RCSharedKeyAssignedStyles, "This shared key belongs to a style and works only with it.")
	default:
		o.key = &k
	}
	u, ok := s.deps.Accounts.User(owner)
	if !ok {
		return horde.Refuse(horde.RCInvalidAPIKey, "The owner of this shared key is gone.")
	}
	o.payer = u
	return nil
}

// affordable refuses an order that costs more than its shared key has left. With
// allow_downgrade it only goes to the end of the queue.
func (o *order) affordable(price horde.Kudos) error {
	switch {
	case o.key == nil || o.key.Kudos == horde.Unlimited || price <= o.key.Kudos:
		return nil
	case o.downgrade:
		o.low = true
		return nil
	}
	return horde.Refuse(horde.RCSharedKeyInsufficientKudos, "This request costs %s kudos, and the shared key has %s left.", price, o.key.Kudos)
}

// within refuses an image that is larger than the order's shared key allows.
func (o *imageOrder) within() error {
	k := o.key
	if k == nil || o.keyOf == keyOfStyle {
		return nil
	}
	switch {
	case k.MaxImagePixels > -1 && o.params.width*o.params.height > k.MaxImagePixels:
		return horde.Refuse(horde.RCBadRequest, "This shared key allows images of %d pixels at most.", k.MaxImagePixels)
	case k.MaxImageSteps > -1 && o.params.stepsToRun() > k.MaxImageSteps:
		return horde.Refuse(horde.RCBadRequest, "This shared key allows %d steps at most.", k.MaxImageSteps)
	}
	return nil
}

// within refuses a text that is longer than the order's shared key allows.
func (o *textOrder) within() error {
	if k := o.key; k != nil && o.keyOf != keyOfStyle && k.MaxTextTokens > -1 && o.maxLength > k.MaxTextTokens {
		return horde.Refuse(horde.RCBadRequest, "This shared key allows %d tokens at most.", k.MaxTextTokens)
	}
	return nil
}

// commission notes on a request what its order came by: the ledger books it with the
// admission.
func (o *order) commission(q *horde.Request) {
	if o.key != nil {
		q.SharedKey = o.key.Ref
	}
	if o.applied != nil {
		q.Style, q.Collection = o.applied.ID, o.applied.collection
	}
	q.Notify = o.webhook != ""
}
