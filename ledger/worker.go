package ledger

import (
	"slices"
	"unicode/utf8"

	"hordenode/internal/horde"
)

const (
	defaultMaintenance = "This worker has been put in maintenance mode by its owner or a moderator."
	maxWorkerName      = 100 // characters
	untrustedWorkers   = 3   // more than so many refuse a further one (spec/status.md section 11)
	trustedWorkers     = 20
)

func workerNotFound() error {
	return horde.Refuse(horde.RCWorkerNotFound, "There is no such worker.")
}

// A NewWorker is a worker that shows up under a name.
type NewWorker struct {
	Owner horde.UserID
	Kind  horde.Kind
	Name  string // sanitised; unique over all kinds
}

// registerWorker finds or makes a worker.
type registerWorker struct {
	ID    horde.WorkerID `cbor:"1,keyasint"`
	Owner horde.UserID   `cbor:"2,keyasint,omitempty"`
	Kind  horde.Kind     `cbor:"3,keyasint,omitempty"`
	Name  string         `cbor:"4,keyasint"`
}

// apply answers with the worker of that name if it is the owner's and of that kind, else
// with a new one (spec/moderation.md section 10).
func (c *registerWorker) apply(tx *tx) ([]byte, error) {
	owner := tx.user(c.Owner)
	switch {
	case owner == nil:
		return nil, horde.Refuse(horde.RCInvalidAPIKey, "The owner's account is gone.")
	case owner.is(horde.RoleDeleted):
		return nil, horde.Refuse(horde.RCDeletedUser, "The owner's account is deleted.")
	case owner.is(horde.RoleFlagged):
		return nil, horde.Refuse(horde.RCWorkerFlaggedMaintenance, "The owner's account is flagged, so the worker is in maintenance mode.")
	case c.Owner == horde.Anonymous:
		return nil, horde.Refuse(horde.RCAnonForbiddenWorker, "Anonymous cannot run workers.")
	}
	if known := tx.names.get(c.Name); known != nil {
		w := tx.workers.get(*known)
		switch {
		case w.Kind != c.Kind:
			return nil, horde.Refuse(horde.RCPolymorphicNameConflict, "A worker of another kind has this name.")
		case w.Owner != c.Owner:
			return nil, horde.Refuse(horde.RCWrongCredentials, "A worker of another owner has this name.")
		}
		return tx.workerData(*known), nil
	}
	count := tx.countWorkers(c.Owner, c.Kind)
	switch {
	case c.Kind > horde.KindAlchemy || c.Name == "" || c.ID.IsZero() || tx.workers.has(c.ID):
		return nil, horde.Refuse(horde.RCBadRequest, "Such a worker cannot be made.")
	case utf8.RuneCountInString(c.Name) > maxWorkerName:
		return nil, tooLongWorkerName()
	case horde.Modes(*tx.modes.get(unit{})).NeedsInvite(c.Kind) && count >= owner.WorkerInvited:
		return nil, horde.Refuse(horde.RCWorkerInviteOnly, "New workers need an invitation at the moment, and this account has none left.")
	case !owner.is(horde.RoleTrusted) && count > untrustedWorkers:
		return nil, horde.Refuse(horde.RCTooManyWorkers, "An account that is not trusted yet can have %d workers.", untrustedWorkers+1)
	case count > trustedWorkers && count > owner.WorkerInvited:
		return nil, horde.Refuse(horde.RCTooManyWorkersTrusted, "This account has as many workers as it may have.")
	}
	tx.workers.put(c.ID, worker{Kind: c.Kind, Name: c.Name, Owner: c.Owner, Created: tx.now, Home: tx.from.Tag()})
	tx.names.put(c.Name, c.ID)
	tx.owned.put(c.Owner, append(slices.Clone(tx.workersOf(c.Owner)), c.ID))
	return tx.workerData(c.ID), nil
}

func tooLongWorkerName() error {
	return horde.Refuse(horde.RCTooLongWorkerName, "A worker name has at most %d characters.", maxWorkerName)
}

// countWorkers counts what the limits are about: generating workers together, alchemists
// apart, so that neither is without a bound.
func (tx *tx) countWorkers(id horde.UserID, kind horde.Kind) int {
	n := 0
	for _, w := range tx.workersOf(id) {
		if (tx.workers.get(w).Kind == horde.KindAlchemy) == (kind == horde.KindAlchemy) {
			n++
		}
	}
	return n
}

// A WorkerChange is what PUT /workers may change; nil fields stay as they are.
type WorkerChange struct {
	Actor          horde.UserID   `cbor:"1,keyasint,omitempty"`
	Worker         horde.WorkerID `cbor:"2,keyasint"`
	Maintenance    *bool          `cbor:"3,keyasint,omitempty"`
	MaintenanceMsg *string        `cbor:"4,keyasint,omitempty"` // counts only with Maintenance true
	Info           *string        `cbor:"5,keyasint,omitempty"`
	Paused         *bool          `cbor:"6,keyasint,omitempty"`
	Name           *string        `cbor:"7,keyasint,omitempty"`
	Team           *horde.TeamID  `cbor:"8,keyasint,omitempty"` // the zero id: leave the team

	Reason string `cbor:"9,keyasint,omitempty"` // public, in the moderation log
}

type updateWorker WorkerChange

// apply changes all fields or, if one is refused, none. Refusals are in the order of
// spec/accounts.md section 7.3.
func (c *updateWorker) apply(tx *tx) ([]byte, error) {
	w, actor := tx.worker(c.Worker), tx.user(c.Actor)
	if w == nil {
		return nil, workerNotFound()
	}
	if actor == nil {
		return nil, horde.Refuse(horde.RCInvalidAPIKey, "The acting account is gone.")
	}
	moderator := actor.is(horde.RoleModerator)
	mayEdit := moderator || c.Actor == w.Owner
	anonymous := c.Actor == horde.Anonymous
	forbidden := horde.Refuse(horde.RCAnonForbiddenWorker, "Anonymous cannot change workers.")
	switch {
	case c.Maintenance != nil && !mayEdit:
		return nil, horde.Refuse(horde.RCNotOwner, "Only the owner or a moderator may set maintenance mode.")
	case c.Maintenance != nil && c.MaintenanceMsg != nil && len(*c.MaintenanceMsg) > maxText:
		return nil, horde.Refuse(horde.RCBadRequest, "The maintenance message is too long.")
	case c.Info != nil && !mayEdit:
		return nil, horde.Refuse(horde.RCNotOwner, "Only the owner or a moderator may change the info.")
	case c.Info != nil && anonymous:
		return nil, forbidden
	case c.Info != nil && len(*c.Info) > maxText:
		return nil, horde.Refuse(horde.RCTooLongWorkerName, "The info is too long.")
	case c.Paused != nil && !moderator:
		return nil, horde.Refuse(horde.RCNotModerator, "Only a moderator may pause a worker.")
	case c.Name != nil && !mayEdit:
		return nil, horde.Refuse(horde.RCNotModerator, "Only the owner or a moderator may rename a worker.")
	case c.Name != nil && anonymous:
		return nil, forbidden
	case c.Name != nil && *c.Name == "":
		return nil, horde.Refuse(horde.RCBadRequest, "A worker needs a name.")
	case c.Name != nil && utf8.RuneCountInString(*c.Name) > maxWorkerName:
		return nil, tooLongWorkerName()
	case c.Name != nil && *c.Name != w.Name && tx.names.has(*c.Name):
		return nil, horde.Refuse(horde.RCWorkerNameAlreadyExists, "A worker has this name already.")
	case c.Team != nil && !mayEdit:
		return nil, horde.Refuse(horde.RCNotModerator, "Only the owner or a moderator may choose a worker's team.")
	case c.Team != nil && anonymous:
		return nil, forbidden
	case c.Team != nil && !c.Team.IsZero() && !tx.teams.has(*c.Team):
		return nil, teamNotFound()
	case c.Maintenance == nil && c.Info == nil && c.Paused == nil && c.Name == nil && c.Team == nil:
		return nil, horde.Refuse(horde.RCNoWorkerModSelected, "Nothing to change was given.")
	}
	w = tx.workers.edit(c.Worker)
	if c.Maintenance != nil {
		w.Maintenance, w.MaintenanceMsg = *c.Maintenance, ""
		if *c.Maintenance {
			set(&w.MaintenanceMsg, c.MaintenanceMsg)
		}
	}
	set(&w.Info, c.Info)
	set(&w.Paused, c.Paused)
	if c.Name != nil && *c.Name != w.Name {
		tx.names.remove(w.Name)
		tx.names.put(*c.Name, c.Worker)
		w.Name = *c.Name
	}
	if c.Team != nil {
		tx.joinTeam(c.Worker, *c.Team)
	}
	return tx.workerData(c.Worker), nil
}

// deleteWorker removes a worker.
type deleteWorker struct {
	Actor  horde.UserID   `cbor:"1,keyasint,omitempty"`
	Worker horde.WorkerID `cbor:"2,keyasint"`
	Reason string         `cbor:"3,keyasint,omitempty"` // for the moderation log
}

func (c *deleteWorker) apply(tx *tx) ([]byte, error) {
	w, actor := tx.worker(c.Worker), tx.user(c.Actor)
	switch {
	case w == nil:
		return nil, workerNotFound()
	case actor == nil:
		return nil, horde.Refuse(horde.RCInvalidAPIKey, "The acting account is gone.")
	case !actor.is(horde.RoleModerator) && c.Actor != w.Owner:
		return nil, horde.Refuse(horde.RCNotModerator, "Only the owner or a moderator may delete a worker.")
	case c.Actor == horde.Anonymous:
		return nil, horde.Refuse(horde.RCAnonForbiddenWorker, "Anonymous cannot delete workers.")
	}
	data := tx.workerData(c.Worker)
	tx.buryWorker(c.Worker)
	return data, nil
}

// buryWorker hides a worker and frees its name. Its row stays for a day, so that jobs it
// delivered before are paid.
func (tx *tx) buryWorker(id horde.WorkerID) {
	w := tx.workers.edit(id)
	tx.joinTeam(id, horde.TeamID{})
	tx.names.remove(w.Name)
	left := slices.DeleteFunc(slices.Clone(tx.workersOf(w.Owner)), func(o horde.WorkerID) bool { return o == id })
	if len(left) > 0 {
		tx.owned.put(w.Owner, left)
	} else {
		tx.owned.remove(w.Owner)
	}
	w.Deleted = max(tx.now, 1)
	tx.buried.push(w.Deleted+keepDeletedWorker, id)
}
