package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"hordenode/internal/horde"
)

// Status tells how far a request is; with generations, also its results and its Body. It
// returns RCRequestNotFound for what is not here (any more). Nothing is told that is not
// durable.
//
// WaitTime is what the running jobs still need; the time in the queue, the place there and
// whether the request is possible are left to exchange.
func (h *Home) Status(_ context.Context, id horde.RequestID, generations bool) (horde.Status, error) {
	r, ok := h.request(id)
	if !ok {
		return horde.Status{}, notFound()
	}
	r.mu.Lock()
	if r.deleted {
		r.mu.Unlock()
		return horde.Status{}, notFound()
	}
	st, done, saved := r.status(h.now()), r.delivered(), r.last
	r.mu.Unlock()
	if err := saved.wait(); err != nil {
		return horde.Status{}, fmt.Errorf("store request: %w", err)
	}
	if !generations {
		return st, nil
	}
	return h.withResults(st, id, done)
}

// Cancel closes a request's open slots and returns its status, with results, from before.
// Running jobs go on and are paid, but running forms end and are paid; a repeat changes
// nothing. Errors as for Status.
func (h *Home) Cancel(_ context.Context, id horde.RequestID) (horde.Status, error) {
	return h.cancel(id, false)
}

// cancel is Cancel, by the client or, as withdrawn, by maintenance.
func (h *Home) cancel(id horde.RequestID, withdrawn bool) (horde.Status, error) {
	r, ok := h.request(id)
	if !ok {
		return horde.Status{}, notFound()
	}
	r.mu.Lock()
	if r.deleted {
		r.mu.Unlock()
		return horde.Status{}, notFound()
	}
	st, done, saved := r.status(h.now()), r.delivered(), r.last
	var offer *horde.Offer
	alchemy := r.kind == horde.KindAlchemy
	if !r.cancelled && (!r.ended() || alchemy && r.finished < r.slots) { // a faulted form is cancelled, too
		r.cancel()
		r.withdrawn = withdrawn
		h.copyEnd(r)
		var settled op
		if alchemy {
			settled = h.settleRunning(r)
		}
		var o horde.Offer
		saved, o = h.save(r, settled, h.now())
		offer = &o
	}
	r.mu.Unlock()
	if offer != nil {
		h.tell(*offer)
	}
	if err := saved.wait(); err != nil {
		return horde.Status{}, fmt.Errorf("store request: %w", err)
	}
	return h.withResults(st, id, done)
}

// delivered returns the jobs that have results, by slot. r.mu is held.
func (r *request) delivered() []horde.JobID {
	var done []*job
	for _, j := range r.jobs {
		if j.state == jobDone && !j.fake {
			done = append(done, j)
		}
	}
	slices.SortFunc(done, func(a, b *job) int { return int(a.slot) - int(b.slot) })
	ids := make([]horde.JobID, len(done))
	for i, j := range done {
		ids[i] = j.id
	}
	return ids
}

// withResults reads what is on disk.
func (h *Home) withResults(st horde.Status, id horde.RequestID, done []horde.JobID) (horde.Status, error) {
	var body bodyRecord
	if err := h.store.getLong(idKey(keyBody, id.UUID), id.UUID, &body); err != nil {
		return horde.Status{}, unreadable(err)
	}
	st.Body = body.Body
	for _, j := range done {
		var g horde.Generation
		if err := h.store.getLong(idKey(keyResult, j.UUID), j.UUID, &g); err != nil {
			return horde.Status{}, unreadable(err)
		}
		st.Generations = append(st.Generations, g)
	}
	return st, nil
}

// unreadable tells a request that expired in between from a disk that fails.
func unreadable(err error) error {
	if errors.Is(err, badger.ErrKeyNotFound) {
		return notFound()
	}
	return fmt.Errorf("read request: %w", err)
}

func notFound() error {
	return horde.Refuse(horde.RCRequestNotFound, "There is no request with this id. It may have expired.")
}

// Withdraw hands out no more jobs of any request of a kind: maintenance does that to images
// (spec/moderation.md section 6). Jobs that run are finished and paid. It returns how many
// requests had open slots.
func (h *Home) Withdraw(ctx context.Context, kind horde.Kind) (int, error) {
	if err := h.awaitRead(ctx); err != nil {
		return 0, err
	}
	h.mu.RLock()
	var ids []horde.RequestID
	for id, r := range h.requests {
		if r.kind == kind {
			ids = append(ids, id)
		}
	}
	h.mu.RUnlock()
	count := 0
	for _, id := range ids {
		if ctx.Err() != nil {
			return count, ctx.Err()
		}
		st, err := h.cancel(id, true)
		switch {
		case errors.Is(err, horde.RCRequestNotFound): // expired meanwhile
		case err != nil:
			return count, err
		case st.Waiting > 0:
			count++
		}
	}
	return count, nil
}
