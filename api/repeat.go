package api

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"

	"hordenode/internal/horde"
)

// A client whose answer was lost asks again. With an Idempotency-Key of its own, it is told the
// request that it has already made at this node, for as long as that is kept:
//
//	API key, Idempotency-Key ──(secret of this node)──► request id ──► kept here, or by the successor?
//	                                                                   yes: its id   no: accepted under it
//
// Nothing is stored for that: the id of the request is the memory, so it survives restarts and
// takeovers with it. The key of everybody, the anonymous one, would give one client another's
// request, and is no base for it.

// repeated tells whether an order was accepted before, and notes the id that it has, or is to get.
func (s *Server) repeated(r *http.Request, o *order) (bool, error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" || o.dryRun {
		return false, nil
	}
	if len(key) > maxIdempotencyKey {
		return false, invalid("Idempotency-Key", "is too long")
	}
	client, ok := apikey(r)
	if !ok {
		return false, nil
	}
	if u, ok := s.deps.Accounts.UserByKey(client); ok && u.ID == horde.Anonymous {
		return false, nil
	}
	fresh, err := s.deps.Board.NewRequestID()
	if err != nil {
		return false, fmt.Errorf("name a request: %w", err)
	}
	call := fmt.Sprintf("hordenode request\n%s\n%d %s\n%s", r.URL.Path, len(client), string(client), key)
	bits, err := hkdf.Key(sha256.New, s.cfg.BlobSecret, nil, call, sha256.Size)
	if err != nil {
		return false, fmt.Errorf("name a request: %w", err)
	}
	if o.id, err = horde.NewRequestID(fresh.Home(), bytes.NewReader(bits)); err != nil {
		return false, fmt.Errorf("name a request: %w", err)
	}
	_, err = s.deps.Board.Status(r.Context(), o.id, false)
	if errors.Is(err, horde.RCRequestNotFound) {
		return false, nil
	}
	return err == nil, err
}

// requestID is the id that an order gets.
func (s *Server) requestID(o *order) (horde.RequestID, error) {
	if !o.id.IsZero() {
		return o.id, nil
	}
	return s.deps.Board.NewRequestID()
}
