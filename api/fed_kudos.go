package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"hordenode/internal/horde"
)

// Kudos beyond the API of the AI Horde, for those who pay many people at once:
//
//	POST /api/fed/v1/kudos/transfers    up to 1000 transfers of the caller's kudos, each decided by itself
//	GET  /api/fed/v1/kudos/balance      what the caller has; ?fresh=true asks the federation first

const (
	maxTransfers     = 1000
	transfersBodyMax = 512 << 10 // what 1000 transfers with the longest names and keys may take
)

func (s *Server) fedKudosRoutes() []route {
	return []route{
		{method: "POST", path: "/api/fed/v1/kudos/transfers", handle: s.transferMany, body: transfersBodyMax, limits: []limit{
			{n: 1, per: time.Second, by: byKey},
			{n: 90, per: time.Hour, by: byKey, relaxed: 600},
		}},
		{method: "GET", path: "/api/fed/v1/kudos/balance", handle: s.balance},
	}
}

// manyTransfers is the body of POST /api/fed/v1/kudos/transfers.
type manyTransfers struct {
	transfers []Transfer
	sent      []float64 // amounts in kudos, as the answers repeat them
}

func (q *manyTransfers) read(a *args) {
	a.apikey()
	items, _ := a.need("transfers").value("transfers").([]any)
	objects := a.objects("transfers")
	switch {
	case len(items) == 0, len(objects) != len(items):
		a.fail("transfers", "must be a list of objects, and not an empty one")
	case len(items) > maxTransfers:
		a.fail("transfers", fmt.Sprintf("may have %d entries at most", maxTransfers))
	}
	if a.err != nil {
		return
	}
	for _, o := range objects {
		id, ok := horde.ParseAlias(o.need("username").str("username", 200))
		if !ok {
			id = nobody
		}
		n := min(max(o.need("amount").integer("amount", 0), -most), most)
		key := o.str("idempotency_key", maxIdempotencyKey)
		q.transfers = append(q.transfers, Transfer{To: id, Amount: horde.Whole(n), Key: key})
		q.sent = append(q.sent, float64(n))
	}
}

type manyTransferred struct {
	Transferred float64           `json:"transferred"` // of all that succeeded
	Results     []transferOutcome `json:"results"`     // in the order of the request
}

type transferOutcome struct {
	Transferred float64  `json:"transferred"` // 0 if it was refused
	RC          horde.RC `json:"rc,omitempty"`
	Message     string   `json:"message,omitempty"`
}

// transferMany serves POST /api/fed/v1/kudos/transfers: the transfers are applied in their
// order as one change of the ledger, and each is made or refused for itself.
func (s *Server) transferMany(w http.ResponseWriter, r *http.Request) error {
	var q manyTransfers
	if err := decode(r, &q); err != nil {
		return err
	}
	from, err := s.user(r)
	if err != nil {
		return err
	}
	for i := range q.transfers {
		q.transfers[i].From = from.ID
	}
	refused, err := s.deps.Registry.Transfers(r.Context(), q.transfers)
	if err != nil {
		return err
	}
	out := manyTransferred{Results: make([]transferOutcome, len(refused))}
	for i, err := range refused {
		var e *horde.Error
		switch {
		case err == nil:
			out.Results[i].Transferred = q.sent[i]
			out.Transferred += q.sent[i]
		case errors.As(err, &e):
			out.Results[i] = transferOutcome{RC: e.RC, Message: e.Msg}
		default:
			return err
		}
	}
	return encode(w, http.StatusOK, out)
}

// balance serves GET /api/fed/v1/kudos/balance. What this node has applied may be some
// milliseconds old; a fresh one is not older than the question.
func (s *Server) balance(w http.ResponseWriter, r *http.Request) error {
	fresh, ok := parseFlag(r.URL.Query().Get("fresh"))
	if !ok {
		return invalid("fresh", "must be true or false")
	}
	if fresh {
		if err := s.deps.Accounts.Sync(r.Context()); err != nil {
			return err
		}
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, struct {
		User      string  `json:"user"`
		Kudos     float64 `json:"kudos"`
		Available float64 `json:"available"` // less what open requests hold
	}{u.Alias(), u.Kudos.Float(), u.Available().Float()})
}
