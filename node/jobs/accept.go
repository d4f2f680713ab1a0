package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hordenode/internal/horde"
)

// maxSlots bounds params.n; the API refuses more than 20.
const maxSlots = 100

// slotsFit tells whether a request asks for something, and not for too much. An alchemy
// request may have no forms: there is nothing to admit then, and nothing to do.
func slotsFit(q *horde.Request) bool {
	if q.Kind == horde.KindAlchemy {
		return q.Slots == len(q.Forms) && q.Slots <= maxForms
	}
	return q.Slots >= 1 && q.Slots <= maxSlots
}

// Accept takes a request whose id has this home's tag, and offers it once it is durable. An id
// that is already here is answered as the first time.
//
// A request that needs kudos up front is admitted by the ledger first, whose refusal is passed
// on (RCKudosUpfront); for all others the admission waits in the outbox. It returns
// RCUnavailable if this node keeps too much already. Acceptance.Possible is left to exchange.
func (h *Home) Accept(ctx context.Context, q horde.Request) (horde.Acceptance, error) {
	if err := h.acceptable(&q); err != nil {
		return horde.Acceptance{}, err
	}
	if old, ok := h.request(q.ID); ok {
		return h.again(old)
	}
	if q.Created.IsZero() {
		q.Created = h.now()
	}
	var o op
	admission := admissionOf(&q)
	if q.Slots == 0 {
		// Nothing will be settled.
	} else if q.Quote.Upfront > 0 {
		if err := h.admit(ctx, admission); err != nil {
			return horde.Acceptance{}, err
		}
	} else {
		o.out = [][]byte{h.ledger.EncodeAdmission(admission)}
	}

	pieces, body := long(idKey(keyBody, q.ID.UUID), q.ID.UUID, bodyRecord{Body: q.Body, Search: q.Search})
	meta := q
	meta.Body, meta.Search = nil, ""
	o.pieces = pieces
	o.puts = []entry{encode(idKey(keyRequest, q.ID.UUID), meta), body}

	r := newRequest(&q)
	r.chunks = uint16(len(pieces))
	r.shape = h.shapes.take(&q.Shape)
	r.mu.Lock()
	if !h.add(r) {
		r.mu.Unlock()
		h.shapes.drop(r.shape)
		old, _ := h.request(q.ID)
		return h.again(old)
	}
	saved, offer := h.save(r, o, h.now())
	r.mu.Unlock()
	if err := saved.wait(); err != nil {
		return horde.Acceptance{}, fmt.Errorf("store request: %w", err)
	}
	h.count.accepted.Add(1)
	h.tell(offer)
	h.copyRequest(ctx, r, &q, saved)
	return horde.Acceptance{ID: q.ID}, nil
}

func admissionOf(q *horde.Request) horde.Admission {
	return horde.Admission{
		Request: q.ID, Kind: q.Kind, Payer: q.Payer, Slots: q.Slots,
		Tax: q.Quote.Tax, Upfront: q.Quote.Upfront, Deadline: deadline(q),
		SharedKey: q.SharedKey, Style: q.Style, Collection: q.Collection,
	}
}

// acceptable refuses what cannot be kept.
func (h *Home) acceptable(q *horde.Request) error {
	h.mu.RLock()
	n := len(h.requests)
	h.mu.RUnlock()
	switch {
	case q.ID.Home() != h.tag:
		return fmt.Errorf("request %s belongs to another home", q.ID)
	case !slotsFit(q):
		return horde.Refuse(horde.RCBadRequest, "A request asks for 1 to %d generations, or for up to %d forms.", maxSlots, maxForms)
	case len(q.Body) > maxBody:
		return horde.Refuse(horde.RCBadRequest, "The request is longer than %d bytes.", maxBody)
	case n >= h.limits.requests:
		return horde.Refuse(horde.RCUnavailable, "This node keeps as many requests as it can. Please try again later.")
	case h.store.out.count() >= h.limits.outbox:
		return horde.Refuse(horde.RCUnavailable, "Too much work waits for the ledger. Please try again later.")
	}
	return nil
}

// again answers for a request that is already here.
func (h *Home) again(r *request) (horde.Acceptance, error) {
	if r == nil { // gone in between: it was made long ago
		return horde.Acceptance{}, notFound()
	}
	r.mu.Lock()
	saved := r.last
	r.mu.Unlock()
	if err := saved.wait(); err != nil {
		return horde.Acceptance{}, fmt.Errorf("store request: %w", err)
	}
	return horde.Acceptance{ID: r.id}, nil
}

// admit has the ledger hold the kudos. When the outcome is unknown, a Finish follows through
// the outbox, so that nothing stays held for a request that was never taken.
func (h *Home) admit(ctx context.Context, a horde.Admission) error {
	err := h.ledger.Admit(ctx, a)
	if err == nil {
		return nil
	}
	var refusal *horde.Error
	if errors.As(err, &refusal) && refusal.RC != horde.RCUnavailable {
		return err
	}
	finish := op{out: [][]byte{h.ledger.EncodeFinish(horde.Finish{Request: a.Request})}}
	if werr := h.store.enqueue(finish).wait(); werr != nil {
		err = errors.Join(err, werr)
	}
	return fmt.Errorf("admit request: %w", err)
}

// deadline is when the ledger may release what a request holds although no Finish came: after
// the longest life that a request can have, and an hour for the outbox. Each pop and each
// settlement may prolong that life.
func deadline(q *horde.Request) time.Time {
	span, lease := expireAfter, seconds(q.TTL)
	if q.Shape.ExtraSlowOK {
		span, lease = expireAfterSlow, 3*lease
	}
	turns := q.Slots + maxFaults
	if q.Kind == horde.KindAlchemy {
		turns = q.Slots * maxFormFaults
	}
	return q.Created.Add(time.Duration(turns) * max(span, lease+leaseGrace)).Add(span + time.Hour)
}
