package api

import (
	"errors"
	"net/http"
	"time"

	"hordenode/internal/horde"
)

func (s *Server) kudosRoutes() []route {
	return []route{
		{method: "POST", path: "/api/v2/kudos/transfer", handle: s.transferKudos, limits: []limit{
			{n: 1, per: time.Second, by: byKey},
			{n: 90, per: time.Hour, by: byKey, relaxed: 600},
		}},
		{method: "POST", path: "/api/v2/kudos/award", handle: s.awardKudos},
	}
}

// kudosRequest is the body of transfers and awards.
type kudosRequest struct {
	to     horde.UserID
	toKey  horde.SharedKeyID // if the name is one; of transfers only
	amount horde.Kudos
	sent   float64 // amount in kudos, as the answer repeats it
}

// nobody is a user id that no user has: the ledger decides what a name that cannot be read
// leads to, in its order of refusals.
const nobody horde.UserID = -1

func (q *kudosRequest) read(a *args) {
	a.apikey()
	name := a.need("username").str("username", 200)
	n := min(max(a.integer("amount", 100), -most), most)
	q.amount, q.sent = horde.Whole(n), float64(n)
	id, ok := horde.ParseAlias(name)
	if !ok {
		id = nobody
	}
	q.to = id
	if u, err := horde.ParseUUID(name); err == nil {
		q.toKey = horde.SharedKeyID{UUID: u}
	}
}

// maxIdempotencyKey bounds the Idempotency-Key header, in bytes.
const maxIdempotencyKey = 255

// transferKudos serves POST /api/v2/kudos/transfer.
func (s *Server) transferKudos(w http.ResponseWriter, r *http.Request) error {
	var q kudosRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	from, err := s.user(r)
	if err != nil {
		return err
	}
	key := r.Header.Get("Idempotency-Key")
	if len(key) > maxIdempotencyKey {
		return invalid("Idempotency-Key", "is too long")
	}
	t := Transfer{From: from.ID, To: q.to, Amount: q.amount, Key: key}
	if q.toKey.IsZero() {
		err = s.deps.Registry.Transfer(r.Context(), t)
	} else {
		err = s.transferToKey(r.Context(), t, q.toKey)
	}
	switch {
	case errors.Is(err, horde.RCDeletedUser), errors.Is(err, horde.RCSharedKeyExpired):
		return withStatus(http.StatusBadRequest, err)
	case err != nil:
		return err
	}
	return encode(w, http.StatusOK, struct {
		Transferred float64 `json:"transferred"`
	}{q.sent})
}

type awarded struct {
	Awarded *float64 `json:"awarded"`
}

// awardKudos serves POST /api/v2/kudos/award. A flagged user gets nothing, and the answer is
// the reference's odd one.
func (s *Server) awardKudos(w http.ResponseWriter, r *http.Request) error {
	var q kudosRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	actor, err := s.user(r)
	if err != nil {
		return err
	}
	err = s.deps.Registry.Award(r.Context(), actor.ID, q.to, q.amount)
	switch {
	case errors.Is(err, horde.RCTargetAccountFlagged):
		return encode(w, http.StatusOK, []awarded{{}, {}})
	case err != nil:
		return err
	}
	return encode(w, http.StatusOK, awarded{&q.sent})
}
