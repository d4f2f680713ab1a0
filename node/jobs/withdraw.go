package jobs

import (
	"context"
	"errors"
	"time"

	"hordenode/internal/horde"
)

// WithdrawUser hands out no more jobs of a user who was barred: of all open requests, or, if
// before is not zero, of those made before it. Jobs that run are finished and paid. It returns
// the requests that had open slots.
func (h *Home) WithdrawUser(ctx context.Context, user horde.UserID, before time.Time) ([]horde.RequestID, error) {
	if err := h.awaitRead(ctx); err != nil {
		return nil, err
	}
	h.mu.RLock()
	var ids []horde.RequestID
	for r := h.users[user]; r != nil; r = r.after {
		if before.IsZero() || r.created <= before.UnixMilli() {
			ids = append(ids, r.id)
		}
	}
	h.mu.RUnlock()
	var withdrawn []horde.RequestID
	for _, id := range ids {
		if ctx.Err() != nil {
			return withdrawn, ctx.Err()
		}
		st, err := h.cancel(id, true)
		switch {
		case errors.Is(err, horde.RCRequestNotFound): // expired meanwhile
		case err != nil:
			return withdrawn, err
		case st.Waiting > 0:
			withdrawn = append(withdrawn, id)
		}
	}
	return withdrawn, nil
}
