package ledger

import (
	"context"
	"slices"

	"hordenode/internal/horde"
)

// moveWorker gives a worker to another account, with its name, counters and team. What it
// earned stays where it was paid.
type moveWorker struct {
	Actor  horde.UserID   `cbor:"1,keyasint,omitempty"`
	Worker horde.WorkerID `cbor:"2,keyasint"`
	To     horde.UserID   `cbor:"3,keyasint,omitempty"`
	Reason string         `cbor:"4,keyasint,omitempty"` // for the moderation log
}

// MoveWorker gives a worker to another account; actor is an admin.
func (c *Client) MoveWorker(ctx context.Context, actor horde.UserID, id horde.WorkerID, to horde.UserID, reason string) (horde.Worker, error) {
	data, err := c.everywhere(ctx, encodeCommand(kindMoveWorker, moveWorker{Actor: actor, Worker: id, To: to, Reason: reason}))
	if err != nil {
		return horde.Worker{}, err
	}
	return decodeWorker(data)
}

// mayAdminister refuses actors who are not admins, and reasons that are too long.
func (tx *tx) mayAdminister(id horde.UserID, reason string) error {
	switch actor := tx.user(id); {
	case actor == nil:
		return actorGone()
	case !actor.is(horde.RoleAdmin):
		return horde.Refuse(horde.RCNotAdmin, "Only an admin may do this.")
	}
	return checkReason(reason)
}

func (c *moveWorker) apply(tx *tx) ([]byte, error) {
	if err := tx.mayAdminister(c.Actor, c.Reason); err != nil {
		return nil, err
	}
	w, to := tx.worker(c.Worker), tx.user(c.To)
	switch {
	case w == nil:
		return nil, workerNotFound()
	case to == nil:
		return nil, userNotFound(c.To)
	case c.To == horde.Anonymous:
		return nil, horde.Refuse(horde.RCAnonForbiddenWorker, "Anonymous cannot run workers.")
	case to.is(horde.RoleDeleted):
		return nil, horde.Refuse(horde.RCDeletedUser, "The account is deleted.")
	case w.Owner == c.To:
		return nil, horde.Refuse(horde.RCBadRequest, "The worker is that account's already.")
	}
	tx.giveWorker(c.Worker, c.To)
	return tx.workerData(c.Worker), nil
}

// giveWorker changes the owner of a worker.
func (tx *tx) giveWorker(id horde.WorkerID, to horde.UserID) {
	w := tx.workers.edit(id)
	if left := without(tx.workersOf(w.Owner), id); len(left) > 0 {
		tx.owned.put(w.Owner, left)
	} else {
		tx.owned.remove(w.Owner)
	}
	w.Owner = to
	tx.owned.put(to, append(slices.Clone(tx.workersOf(to)), id))
}

func (c *moveWorker) moderates(*tx) moderation {
	return moderation{Actor: c.Actor, Action: "give worker to " + userTarget(c.To), Target: workerTarget(c.Worker), Reason: c.Reason}
}

// resetKey gives a user a new API key in an admin's name, for somebody who lost the old one.
type resetKey struct {
	Actor  horde.UserID `cbor:"1,keyasint,omitempty"`
	User   horde.UserID `cbor:"2,keyasint,omitempty"`
	Key    digest       `cbor:"3,keyasint"`
	Reason string       `cbor:"4,keyasint,omitempty"` // for the moderation log
}

// ResetKey is RotateKey by an admin, and stands in the moderation log.
func (c *Client) ResetKey(ctx context.Context, actor, user horde.UserID, reason string) (horde.APIKey, error) {
	key, hash, err := c.newKey()
	if err != nil {
		return "", err
	}
	_, err = c.everywhere(ctx, encodeCommand(kindResetKey, resetKey{Actor: actor, User: user, Key: hash, Reason: reason}))
	if err != nil {
		return "", err
	}
	return key, nil
}

func (c *resetKey) apply(tx *tx) ([]byte, error) {
	if err := tx.mayAdminister(c.Actor, c.Reason); err != nil {
		return nil, err
	}
	return (&rotateKey{User: c.User, Key: c.Key}).apply(tx)
}

func (c *resetKey) moderates(*tx) moderation {
	return moderation{Actor: c.Actor, Action: "reset API key", Target: userTarget(c.User), Reason: c.Reason}
}
