package jobs

import (
	"context"
	"fmt"
	"time"

	"hordenode/internal/horde"
)

// sweepChunk is how many requests one transaction of a sweep may touch.
const sweepChunk = 256

// Sweep ends the leases that are over, which reopens their slots and counts against their
// workers, and deletes the requests whose time is over. Run calls it; tests and simulations
// may, with any clock. It returns when all it did is durable.
func (h *Home) Sweep(ctx context.Context, now time.Time) error {
	for ctx.Err() == nil {
		due := h.timers.take(now, sweepChunk)
		if len(due) == 0 {
			return nil
		}
		var last *batch
		var gone []horde.UUID
		for _, r := range due {
			did := h.sweep(r, now)
			gone = append(gone, did.blobs...)
			if did.saved != nil {
				last = did.saved // batches are done in order
				h.tell(did.offer)
			}
		}
		if err := last.wait(); err != nil {
			return fmt.Errorf("store sweep: %w", err)
		}
		h.deleteBlobs(ctx, gone)
	}
	return ctx.Err()
}

// swept is what a sweep did to a request; saved is nil if nothing was due.
type swept struct {
	saved *batch
	offer horde.Offer
	blobs []horde.UUID // that can go
}

// sweep does what is due for r.
func (h *Home) sweep(r *request, now time.Time) (did swept) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted {
		return swept{}
	}
	var stale []*job
	for _, j := range r.jobs {
		switch {
		case j.state != jobRunning || !now.After(j.until):
		case j.fake:
			j.state = jobFaulted // nothing else comes of it
		default:
			j.excused = h.excused(j)
			stale = append(stale, j)
		}
	}
	if len(stale) > 0 {
		did.saved, did.offer = h.abort(r, stale, now)
	}
	if now.After(r.expiry) {
		return h.expire(r, now)
	}
	h.timers.set(r, r.next())
	return did
}

// expire deletes r and all that belongs to it. r.mu is held.
func (h *Home) expire(r *request, now time.Time) swept {
	o := op{dels: [][]byte{
		idKey(keyRequest, r.id.UUID), idKey(keyBody, r.id.UUID), idKey(keyState, r.id.UUID),
	}}
	o.delPieces(r.id.UUID, int(r.chunks))
	blobs := []horde.UUID{r.id.UUID}
	for _, j := range r.jobs {
		o.dels = append(o.dels, jobKey(r.id, j.id))
		blobs = append(blobs, j.id.UUID)
		if j.state == jobDone && !j.fake {
			o.dels = append(o.dels, idKey(keyResult, j.id.UUID))
			o.delPieces(j.id.UUID, int(j.chunks))
		}
	}
	if r.kind == horde.KindText {
		blobs = nil // texts have none
	}
	if !r.closed {
		r.closed = true
		o.out = [][]byte{h.ledger.EncodeFinish(horde.Finish{Request: r.id})}
		h.count.expired.Add(1)
	}
	if h.backup != nil {
		h.backup.Drop(r.id)
	}
	r.deleted = true
	r.open = 0
	r.rev++
	h.count.request(r)
	r.last = h.store.enqueue(o)
	h.timers.unset(r)
	h.drop(r)
	h.shapes.drop(r.shape)
	return swept{saved: r.last, offer: r.offer(now), blobs: blobs}
}

func (o *op) delPieces(id horde.UUID, n int) {
	for i := range n {
		o.dels = append(o.dels, pieceKey(id, i))
	}
}

// deleteBlobs deletes what it can; what is left is deleted for its age.
func (h *Home) deleteBlobs(ctx context.Context, ids []horde.UUID) {
	if h.blobs == nil {
		return
	}
	for _, id := range ids {
		if err := h.blobs.DeleteAll(ctx, id); err != nil {
			h.log.Warn("cannot delete blobs", "id", id, "err", err)
		}
	}
}
