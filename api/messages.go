package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// messageRoutes are the endpoints of messages to workers (spec/accounts.md section 7.6).
func (s *Server) messageRoutes() []route {
	return []route{
		{method: "GET", path: "/api/v2/workers/messages", handle: s.listMessages},
		{method: "POST", path: "/api/v2/workers/messages", handle: s.postMessage, schema: messageSchema()},
		{method: "GET", path: "/api/v2/workers/messages/{message_id}", handle: s.showMessage},
		{method: "DELETE", path: "/api/v2/workers/messages/{message_id}", handle: s.deleteMessage},
	}
}

// shownMessage is a message as the API shows it, in the API's order. In the details of a
// worker it has no id.
type shownMessage struct {
	Worker  *horde.WorkerID  `json:"worker_id,omitempty"` // nil: to all
	User    string           `json:"user_id"`
	Created string           `json:"created"`
	ID      *horde.MessageID `json:"id,omitempty"`
	Message string           `json:"message"`
	Origin  string           `json:"origin,omitempty"`
	Expiry  string           `json:"expiry"`
}

func newShownMessage(m horde.WorkerMessage) shownMessage {
	shown := shownMessage{
		User:    strconv.FormatInt(int64(m.User), 10),
		Created: shortDate(m.Created),
		ID:      &m.ID,
		Message: m.Message,
		Origin:  m.Origin,
		Expiry:  shortDate(m.Expires),
	}
	if !m.Worker.IsZero() {
		shown.Worker = &m.Worker
	}
	return shown
}

// messagesOf are the messages to one worker, without those to all, for its details.
func (s *Server) messagesOf(id horde.WorkerID) []shownMessage {
	list := []shownMessage{}
	for _, m := range s.activeMessages(id) {
		if m.Worker == id {
			shown := newShownMessage(m)
			shown.ID = nil
			list = append(list, shown)
		}
	}
	return list
}

// activeMessages are the messages to a worker and to all that have not expired.
func (s *Server) activeMessages(id horde.WorkerID) []horde.WorkerMessage {
	var active []horde.WorkerMessage
	for _, m := range s.deps.Community.MessagesFor(id) {
		if s.now().Before(m.Expires) {
			active = append(active, m)
		}
	}
	return active
}

// popMessage is a message in the answer of a pop.
type popMessage struct {
	ID      horde.MessageID `json:"id"`
	Message string          `json:"message"`
	Origin  string          `json:"origin,omitempty"`
	Expiry  string          `json:"expiry"`
}

// popMessages are what a worker is told when it polls.
func (s *Server) popMessages(id horde.WorkerID) []popMessage {
	list := []popMessage{}
	for _, m := range s.activeMessages(id) {
		list = append(list, popMessage{ID: m.ID, Message: m.Message, Origin: m.Origin, Expiry: shortDate(m.Expires)})
	}
	return list
}

const (
	maxMessage      = 10240 // characters
	maxOrigin       = 255   // characters
	messagesPerPage = 50
)

// messageSchema is the body of POST /workers/messages.
func messageSchema() *schema {
	return object(
		may("worker_id", text(36, 36)),
		must("message", text(1, maxMessage)),
		may("origin", text(1, maxOrigin)),
		may("expiry", whole(1, 720)),
	)
}

// A messageQuery is the query string of GET /workers/messages.
type messageQuery struct {
	user     *horde.UserID // nil: any
	worker   *horde.WorkerID
	validity string
	page     int
}

func (q *messageQuery) read(a *args) {
	a.apikey()
	if v := a.query("user_id", ""); v != "" {
		id, ok := horde.ParseAlias(v)
		if !ok {
			id = nobody
		}
		q.user = &id
	}
	if v := a.query("worker_id", ""); v != "" {
		u, err := horde.ParseUUID(v)
		if err != nil {
			a.fail("worker_id", "must be the id of a worker")
		}
		q.worker = &horde.WorkerID{UUID: u}
	}
	q.validity = a.query("validity", "active")
	q.page = a.queryInt("page", 1)
}

// selects tells whether a message is asked for.
func (q *messageQuery) selects(m horde.WorkerMessage, now time.Time) bool {
	active := now.Before(m.Expires)
	switch {
	case q.user != nil && m.User != *q.user:
		return false
	case q.worker != nil && m.Worker != *q.worker:
		return false
	}
	return q.validity == "all" || active == (q.validity == "active")
}

// listMessages serves GET /api/v2/workers/messages: all for moderators, for others what they
// wrote and what is told to all. A page begins one message after the one before it.
func (s *Server) listMessages(w http.ResponseWriter, r *http.Request) error {
	var q messageQuery
	if err := decode(r, &q); err != nil {
		return err
	}
	u, err := s.user(r)
	moderator := u.Is(horde.RoleModerator)
	switch {
	case err != nil:
		return err
	case q.user != nil && !moderator && *q.user != u.ID:
		return horde.Refuse(horde.RCForbidden, "Only moderators may read the messages of others.")
	case q.validity != "active" && q.validity != "expired" && q.validity != "all":
		return horde.Refuse(horde.RCBadRequest, "validity is one of active, expired, all.")
	}
	list := []shownMessage{}
	skip := max(q.page, 1) - 1
	for _, m := range s.deps.Community.Messages() {
		switch {
		case !q.selects(m, s.now()):
		case !moderator && m.User != u.ID && !m.Worker.IsZero():
		case skip > 0:
			skip--
		case len(list) < messagesPerPage:
			list = append(list, newShownMessage(m))
		}
	}
	return encode(w, http.StatusOK, list)
}

type messageRequest struct {
	worker          *string
	message, origin string
	hours           int64
}

func (q *messageRequest) read(a *args) {
	a.apikey()
	q.worker = a.optStr("worker_id", 36)
	q.message = a.need("message").str("message", maxMessage)
	q.origin = a.str("origin", maxOrigin)
	q.hours = a.integer("expiry", 12)
}

// postMessage serves POST /api/v2/workers/messages. Whose worker one may write to is the
// ledger's to judge.
func (s *Server) postMessage(w http.ResponseWriter, r *http.Request) error {
	var q messageRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	u, err := s.user(r)
	switch {
	case err != nil:
		return err
	case u.ID == horde.Anonymous:
		return horde.Refuse(horde.RCAnonForbidden, "Anonymous cannot write to workers.")
	}
	n := NewMessage{
		Actor:   u.ID,
		Message: strings.ReplaceAll(q.message, "\x00", ""),
		Origin:  strings.ReplaceAll(q.origin, "\x00", ""),
		Expires: s.now().Add(time.Duration(q.hours) * time.Hour),
	}
	if n.Origin == "" {
		n.Origin = "AI Horde Moderators"
	}
	if !u.Is(horde.RoleModerator) {
		n.Origin = strconv.FormatInt(int64(u.ID), 10)
	}
	if q.worker != nil {
		target, err := s.workerByID(r.Context(), *q.worker)
		if err != nil {
			return err
		}
		n.Worker = target.ID
	}
	m, err := s.deps.Community.PostMessage(r.Context(), n)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, newShownMessage(m))
}

// messageByID finds a message by the id in a path.
func (s *Server) messageByID(ctx context.Context, path string) (horde.WorkerMessage, error) {
	missing := horde.Refuse(horde.RCWorkermessageNotFound, "There is no such message.")
	u, err := horde.ParseUUID(path)
	if err != nil {
		return horde.WorkerMessage{}, missing
	}
	return seek(ctx, s, missing, func() (horde.WorkerMessage, bool) {
		return s.deps.Community.Message(horde.MessageID{UUID: u})
	})
}

// showMessage serves GET /api/v2/workers/messages/{message_id}, to everybody.
func (s *Server) showMessage(w http.ResponseWriter, r *http.Request) error {
	m, err := s.messageByID(r.Context(), r.PathValue("message_id"))
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, newShownMessage(m))
}

// deleteMessage serves DELETE /api/v2/workers/messages/{message_id}. Its author and
// moderators may.
func (s *Server) deleteMessage(w http.ResponseWriter, r *http.Request) error {
	u, err := s.user(r)
	if err != nil {
		return err
	}
	m, err := s.messageByID(r.Context(), r.PathValue("message_id"))
	if err != nil {
		return err
	}
	if err := s.deps.Community.DeleteMessage(r.Context(), u.ID, m.ID); err != nil {
		return err
	}
	return encode(w, http.StatusOK, done())
}
