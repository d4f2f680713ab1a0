package ledger

import (
	"context"
	"fmt"
	"slices"

	"hordenode/internal/horde"
)

// Acts of moderation on workers, teams, messages, filters and addresses can be taken back,
// because their rows in the log say how things were:
//
//	act ── moderates: row.Before = captured ──► log ── undoAct ──► restore, and a row with a Before of its own
//
// Before is never shown (the log is public and redacted) and goes when the account that it
// tells of is wiped. What is too large for the log cannot be taken back.
const maxBefore = 4096 // bytes

// before is how things were, one of its members.
type before struct {
	Owner   horde.UserID   `cbor:"1,keyasint,omitempty"` // who it tells of; 0: nobody
	Worker  *workerBefore  `cbor:"2,keyasint,omitempty"`
	Team    *teamBefore    `cbor:"3,keyasint,omitempty"`
	Message *messageBefore `cbor:"4,keyasint,omitempty"`
	Filter  *filterBefore  `cbor:"5,keyasint,omitempty"`
	Block   *blockBefore   `cbor:"6,keyasint,omitempty"`
}

// workerBefore has what was changed only, so that undoing leaves the rest alone.
type workerBefore struct {
	ID             horde.WorkerID `cbor:"1,keyasint"`
	Name           *string        `cbor:"2,keyasint,omitempty"`
	Info           *string        `cbor:"3,keyasint,omitempty"`
	Paused         *bool          `cbor:"4,keyasint,omitempty"`
	Maintenance    *bool          `cbor:"5,keyasint,omitempty"`
	MaintenanceMsg string         `cbor:"6,keyasint,omitempty"`
	Team           *horde.TeamID  `cbor:"7,keyasint,omitempty"`
	Deleted        *bool          `cbor:"8,keyasint,omitempty"`
}

// In those below a row is nil if there was none.
type (
	teamBefore struct {
		ID  horde.TeamID `cbor:"1,keyasint"`
		Row *team        `cbor:"2,keyasint,omitempty"`
	}
	messageBefore struct {
		ID  horde.MessageID `cbor:"1,keyasint"`
		Row *message        `cbor:"2,keyasint,omitempty"`
	}
	filterBefore struct {
		ID  int64   `cbor:"1,keyasint"`
		Row *filter `cbor:"2,keyasint,omitempty"`
	}
	blockBefore struct {
		Hash digest   `cbor:"1,keyasint"`
		Row  *ipBlock `cbor:"2,keyasint,omitempty"`
	}
)

// rowOf copies a row.
func rowOf[K comparable, V any](t *table[K, V], k K) *V {
	if v := t.get(k); v != nil {
		return new(*v)
	}
	return nil
}

func (tx *tx) teamAsIs(id horde.TeamID) *before {
	b := &before{Team: &teamBefore{id, rowOf(tx.teams, id)}}
	if b.Team.Row != nil {
		b.Owner = b.Team.Row.Owner
	}
	return b
}

func (tx *tx) messageAsIs(id horde.MessageID) *before {
	b := &before{Message: &messageBefore{id, rowOf(tx.messages, id)}}
	if b.Message.Row != nil {
		b.Owner = b.Message.Row.User
	}
	return b
}

func (tx *tx) filterAsIs(id int64) *before {
	return &before{Filter: &filterBefore{id, rowOf(tx.filters, id)}}
}

func (tx *tx) blockAsIs(hash digest) *before {
	return &before{Block: &blockBefore{hash, rowOf(tx.blocks, hash)}}
}

// workerAsIs captures those members that like has.
func (tx *tx) workerAsIs(like workerBefore) *before {
	w := tx.workers.get(like.ID)
	if w == nil {
		return nil
	}
	b := workerBefore{ID: like.ID}
	keep(&b.Name, like.Name, w.Name)
	keep(&b.Info, like.Info, w.Info)
	keep(&b.Paused, like.Paused, w.Paused)
	keep(&b.Team, like.Team, w.Team)
	keep(&b.Deleted, like.Deleted, w.Deleted != 0)
	if like.Maintenance != nil {
		b.Maintenance, b.MaintenanceMsg = new(w.Maintenance), w.MaintenanceMsg
	}
	return &before{Owner: w.Owner, Worker: &b}
}

func keep[T any](into **T, like *T, v T) {
	if like != nil {
		*into = new(v)
	}
}

// asIs captures what b tells of as it is now.
func (tx *tx) asIs(b *before) *before {
	switch {
	case b.Worker != nil:
		return tx.workerAsIs(*b.Worker)
	case b.Team != nil:
		return tx.teamAsIs(b.Team.ID)
	case b.Message != nil:
		return tx.messageAsIs(b.Message.ID)
	case b.Filter != nil:
		return tx.filterAsIs(b.Filter.ID)
	case b.Block != nil:
		return tx.blockAsIs(b.Block.Hash)
	}
	return nil
}

// small drops what is too large for the log.
func (b *before) small() *before {
	if b == nil || len(encode(b)) > maxBefore {
		return nil
	}
	return b
}

// undoAct takes back an act of the moderation log.
type undoAct struct {
	Actor  horde.UserID `cbor:"1,keyasint,omitempty"`
	Number uint64       `cbor:"2,keyasint"`
}

// UndoModeration takes back the act of a number, if its row says how things were
// (Moderation.CanUndo). Only moderators may.
func (c *Client) UndoModeration(ctx context.Context, actor horde.UserID, number uint64) error {
	_, err := c.everywhere(ctx, encodeCommand(kindUndoAct, undoAct{actor, number}))
	return err
}

func (c *undoAct) moderates(tx *tx) moderation {
	act := tx.moderations.get(c.Number)
	if act == nil || act.Before == nil {
		return moderation{}
	}
	return moderation{
		Actor: c.Actor, Action: "undo: " + clip(act.Action, maxReason), Target: act.Target, Reason: fmt.Sprintf("Undoes number %d.", c.Number), Before: tx.asIs(act.Before),
	}
}

func (c *undoAct) apply(tx *tx) ([]byte, error) {
	actor, act := tx.user(c.Actor), tx.moderations.get(c.Number)
	switch {
	case actor == nil:
		return nil, actorGone()
	case !actor.is(horde.RoleModerator):
		return nil, horde.Refuse(horde.RCNotModerator, "Only a moderator may undo what moderators did.")
	case act == nil:
		return nil, horde.Refuse(horde.RCBadRequest, "This act is not in the log any more.")
	case act.Before == nil:
		return nil, horde.Refuse(horde.RCBadRequest, "This act cannot be undone from here.")
	}
	b := act.Before
	switch {
	case b.Worker != nil:
		return nil, tx.restoreWorker(b.Worker)
	case b.Team != nil:
		return nil, tx.restoreTeam(b.Team)
	case b.Message != nil:
		return nil, tx.restoreMessage(b.Message)
	case b.Filter != nil:
		tx.restoreFilter(b.Filter)
	case b.Block != nil:
		tx.restoreBlock(b.Block)
	}
	return nil, nil
}

func (tx *tx) restoreWorker(b *workerBefore) error {
	w := tx.workers.get(b.ID)
	if w == nil || w.Deleted != 0 && (b.Deleted == nil || tx.user(w.Owner) == nil) {
		return workerNotFound()
	}
	name := w.Name
	set(&name, b.Name)
	if at := tx.names.get(name); at != nil && *at != b.ID {
		return horde.Refuse(horde.RCWorkerNameAlreadyExists, "A worker has this name already.")
	}
	if b.Deleted != nil && *b.Deleted != (w.Deleted != 0) {
		if *b.Deleted {
			tx.buryWorker(b.ID)
			return nil
		}
		tx.workers.edit(b.ID).Deleted = 0
		tx.names.put(name, b.ID)
		tx.owned.put(w.Owner, with(tx.workersOf(w.Owner), b.ID))
	}
	w = tx.workers.edit(b.ID)
	if name != w.Name {
		tx.names.remove(w.Name)
		tx.names.put(name, b.ID)
		w.Name = name
	}
	set(&w.Info, b.Info)
	set(&w.Paused, b.Paused)
	if b.Maintenance != nil {
		w.Maintenance, w.MaintenanceMsg = *b.Maintenance, b.MaintenanceMsg
	}
	if b.Team != nil && (b.Team.IsZero() || tx.teams.has(*b.Team)) {
		tx.joinTeam(b.ID, *b.Team)
	}
	return nil
}

// restoreTeam gives a team its earlier name and info. One that is gone comes back, with
// those of its workers that have joined no other.
func (tx *tx) restoreTeam(b *teamBefore) error {
	t := tx.teams.get(b.ID)
	if b.Row == nil {
		if t != nil {
			tx.dropTeam(b.ID)
		}
		return nil
	}
	if at := tx.teamNames.get(b.Row.Fold); at != nil && *at != b.ID {
		return horde.Refuse(horde.RCTeamNameAlreadyExists, "A team has this name already.")
	}
	if t != nil {
		tx.teamNames.remove(t.Fold)
		t = tx.teams.edit(b.ID)
		t.Name, t.Fold, t.Info = b.Row.Name, b.Row.Fold, b.Row.Info
		tx.teamNames.put(t.Fold, b.ID)
		return nil
	}
	row := *b.Row
	row.Workers = nil
	tx.teams.put(b.ID, row)
	tx.teamNames.put(row.Fold, b.ID)
	for _, id := range b.Row.Workers {
		if w := tx.worker(id); w != nil && w.Team.IsZero() {
			tx.joinTeam(id, b.ID)
		}
	}
	return nil
}

func (tx *tx) restoreMessage(b *messageBefore) error {
	m := tx.messages.get(b.ID)
	switch {
	case m != nil && b.Row == nil:
		tx.dropMessage(b.ID, m.Worker)
	case m == nil && b.Row != nil:
		if b.Row.Expires <= tx.now {
			return horde.Refuse(horde.RCBadRequest, "The message would have ended by now.")
		}
		tx.putMessage(b.ID, *b.Row)
	}
	return nil
}

func (tx *tx) restoreFilter(b *filterBefore) {
	if b.Row == nil {
		tx.filters.remove(b.ID)
		return
	}
	tx.filters.put(b.ID, *b.Row)
}

// restoreBlock forgets what was reported of an address since, as lifting a block does.
func (tx *tx) restoreBlock(b *blockBefore) {
	if b.Row == nil || b.Row.goes() <= tx.now {
		tx.blocks.remove(b.Hash)
		return
	}
	tx.writeBlock(*b.Row)
}

func (s *state) owns(user horde.UserID, id horde.WorkerID) bool {
	w := s.workers.get(id)
	return w != nil && w.Owner == user
}

// forgetBefore drops what the log knows of an account and its workers.
func (tx *tx) forgetBefore(of horde.UserID) {
	var rows []uint64
	tx.moderations.all(func(n uint64, m *moderation) bool {
		if b := m.Before; b != nil && (b.Owner == of || b.Worker != nil && tx.owns(of, b.Worker.ID)) { // it may have been given away
			rows = append(rows, n)
		}
		return true
	})
	slices.Sort(rows)
	for _, n := range rows {
		tx.moderations.edit(n).Before = nil
	}
}
