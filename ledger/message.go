package ledger

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"hordenode/internal/horde"
)

const (
	maxMessage   = 10_240 * 6 // bytes: 10,240 characters, after api's escaping
	maxMessages  = 200        // of one author, moderators aside
	keepMessage  = int64(7 * 24 * time.Hour / time.Millisecond)
	messageSpan  = int64(721 * time.Hour / time.Millisecond) // 720 h, and an hour for clocks
	maxShortText = 1024                                      // bytes of origins, names and the like
)

// message is shown to a worker, or to all, until it expires. It is kept for a week more, so
// that lists can show it.
type message struct {
	Worker  horde.WorkerID `cbor:"1,keyasint,omitzero"` // zero: to all
	User    horde.UserID   `cbor:"2,keyasint,omitempty"`
	Text    string         `cbor:"3,keyasint"`
	Origin  string         `cbor:"4,keyasint,omitempty"`
	Created int64          `cbor:"5,keyasint"`
	Expires int64          `cbor:"6,keyasint"`
}

func (m *message) view(id horde.MessageID) horde.WorkerMessage {
	return horde.WorkerMessage{
		ID: id, Worker: m.Worker, User: m.User, Message: m.Text, Origin: m.Origin, Created: moment(m.Created), Expires: moment(m.Expires),
	}
}

// messageRow is what a command that answers with a message returns.
type messageRow struct {
	ID      horde.MessageID `cbor:"1,keyasint"`
	Message message         `cbor:"2,keyasint"`
}

// A NewMessage is a message to a worker that is to be made.
type NewMessage struct {
	Actor   horde.UserID
	Worker  horde.WorkerID // zero: to all
	Message string
	Origin  string // who says it; counts only for moderators
	Expires time.Time
}

// postMessage is a NewMessage on its way.
type postMessage struct {
	ID      horde.MessageID `cbor:"1,keyasint"`
	Actor   horde.UserID    `cbor:"2,keyasint,omitempty"`
	Worker  horde.WorkerID  `cbor:"3,keyasint,omitzero"`
	Text    string          `cbor:"4,keyasint"`
	Origin  string          `cbor:"5,keyasint,omitempty"`
	Expires int64           `cbor:"6,keyasint"`
}

// PostMessage makes a message.
func (c *Client) PostMessage(ctx context.Context, n NewMessage) (horde.WorkerMessage, error) {
	id, err := c.newID()
	if err != nil {
		return horde.WorkerMessage{}, err
	}
	r, err := decodeRow[messageRow](c.everywhere(ctx, encodeCommand(kindPostMessage, postMessage{
		ID: horde.MessageID{UUID: id}, Actor: n.Actor, Worker: n.Worker, Text: n.Message, Origin: n.Origin, Expires: millis(n.Expires),
	})))
	return r.Message.view(r.ID), err
}

// apply decides in the order of spec/accounts.md section 7.6. Only moderators speak to all
// and choose an origin.
func (c *postMessage) apply(tx *tx) ([]byte, error) {
	actor, w := tx.user(c.Actor), tx.worker(c.Worker)
	switch {
	case actor == nil:
		return nil, actorGone()
	case c.Actor == horde.Anonymous:
		return nil, horde.Refuse(horde.RCAnonForbidden, "Anonymous cannot write messages.")
	case !c.Worker.IsZero() && w == nil:
		return nil, workerNotFound()
	}
	moderator := actor.is(horde.RoleModerator)
	switch {
	case !moderator && (w == nil || w.Owner != c.Actor):
		return nil, horde.Refuse(horde.RCMessagesOnlyOwnWorkers, "You can write messages to your own workers only.")
	case c.ID.IsZero() || tx.messages.has(c.ID) || c.Text == "" || len(c.Text) > maxMessage || len(c.Origin) > maxShortText:
		return nil, horde.Refuse(horde.RCBadRequest, "Such a message cannot be sent.")
	case c.Expires <= tx.now || c.Expires > tx.now+messageSpan:
		return nil, horde.Refuse(horde.RCBadRequest, "A message expires within 720 hours.")
	case !moderator && tx.messagesBy(c.Actor) >= maxMessages:
		return nil, horde.Refuse(horde.RCForbidden, "You have written many messages lately. Please delete some first.")
	}
	m := message{Worker: c.Worker, User: c.Actor, Text: c.Text, Origin: c.Origin, Created: tx.now, Expires: c.Expires}
	if !moderator {
		m.Origin = strconv.FormatInt(int64(c.Actor), 10)
	}
	tx.putMessage(c.ID, m)
	return encode(messageRow{c.ID, m}), nil
}

func (s *state) messagesBy(author horde.UserID) int {
	n := 0
	s.messages.all(func(_ horde.MessageID, m *message) bool {
		if m.User == author {
			n++
		}
		return true
	})
	return n
}

// addressed returns the ids of the messages to a worker, oldest first; the zero id stands
// for those to all. Do not change them.
func (s *state) addressed(w horde.WorkerID) []horde.MessageID {
	if ids := s.messagesTo.get(w); ids != nil {
		return *ids
	}
	return nil
}

// deleteMessage removes a message.
type deleteMessage struct {
	Actor   horde.UserID    `cbor:"1,keyasint,omitempty"`
	Message horde.MessageID `cbor:"2,keyasint"`
}

// DeleteMessage removes a message.
func (c *Client) DeleteMessage(ctx context.Context, actor horde.UserID, id horde.MessageID) error {
	_, err := c.everywhere(ctx, encodeCommand(kindDeleteMessage, deleteMessage{actor, id}))
	return err
}

func (c *deleteMessage) apply(tx *tx) ([]byte, error) {
	actor, m := tx.user(c.Actor), tx.messages.get(c.Message)
	switch {
	case actor == nil:
		return nil, actorGone()
	case m == nil:
		return nil, horde.Refuse(horde.RCWorkermessageNotFound, "There is no such message.")
	case c.Actor == horde.Anonymous || c.Actor != m.User && !actor.is(horde.RoleModerator):
		return nil, horde.Refuse(horde.RCForbidden, "Only its author or a moderator may delete a message.")
	}
	tx.dropMessage(c.Message, m.Worker)
	return nil, nil
}

func (tx *tx) putMessage(id horde.MessageID, m message) {
	tx.messages.put(id, m)
	tx.messagesTo.put(m.Worker, with(tx.addressed(m.Worker), id))
	tx.messageEnds.push(m.Expires+keepMessage, id)
}

func (tx *tx) dropMessage(id horde.MessageID, to horde.WorkerID) {
	if left := without(tx.addressed(to), id); len(left) > 0 {
		tx.messagesTo.put(to, left)
	} else {
		tx.messagesTo.remove(to)
	}
	tx.messages.remove(id)
}

// Messages returns all messages that are kept, expired ones included, oldest first.
func (r Reader) Messages() []horde.WorkerMessage {
	r.m.mu.RLock()
	list := make([]horde.WorkerMessage, 0, r.m.s.messages.live)
	r.m.s.messages.all(func(id horde.MessageID, m *message) bool {
		list = append(list, m.view(id))
		return true
	})
	r.m.mu.RUnlock()
	slices.SortFunc(list, func(a, b horde.WorkerMessage) int {
		return cmp.Or(a.Created.Compare(b.Created), compareUUID(a.ID.UUID, b.ID.UUID))
	})
	return list
}

// MessagesFor returns the messages to a worker and to all, expired ones that are still kept
// included: the worker's first, each oldest first.
func (r Reader) MessagesFor(id horde.WorkerID) []horde.WorkerMessage {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	var list []horde.WorkerMessage
	for _, to := range []horde.WorkerID{id, {}} {
		for _, m := range r.m.s.addressed(to) {
			list = append(list, r.m.s.messages.get(m).view(m))
		}
		if id.IsZero() {
			break
		}
	}
	return list
}

// Message finds a message.
func (r Reader) Message(id horde.MessageID) (horde.WorkerMessage, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if m := r.m.s.messages.get(id); m != nil {
		return m.view(id), true
	}
	return horde.WorkerMessage{}, false
}
