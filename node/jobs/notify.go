package jobs

import "hordenode/internal/horde"

// notify shows a durable result to the listener. A body that cannot be read costs the
// message, not the result.
func (h *Home) notify(r *request, g horde.Generation) {
	var body bodyRecord
	if err := h.store.getLong(idKey(keyBody, r.id.UUID), r.id.UUID, &body); err != nil {
		h.log.Error("result not announced: its request has no readable body", "request", r.id, "err", err)
		return
	}
	q := r.view()
	q.Body, q.Notify = body.Body, true
	h.ear.Delivered(q, g)
}
