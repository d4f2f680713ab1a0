package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"hordenode/internal/horde"
)

// What anybody may check of the ledger, whatever node they ask:
//
//	GET /api/fed/v1/ledger/head      where the ledger stood at the last tick, signed (package node)
//	GET /api/fed/v1/proof/{user}     that an account is among those that the head stands for
//	GET /api/fed/v1/statement        every movement of the caller's own kudos
//	GET /api/fed/v1/moderation       what moderators did, and why
//
// Both lists are newest first and paged by number: next is the before of the page after, and
// stays true whatever is written meanwhile.

// A Book is the ledger as anybody may read it, and where moderators take back what is written
// there. What it returns is of this node's local state.
type Book interface {
	// Proof shows, as JSON, that a user's account is among those that GET /api/fed/v1/ledger/head
	// stands for, with the escrow and what is held if private; false if there was no tick since
	// the node started, or no such user then.
	Proof(user horde.UserID, private bool) (proof any, ok bool)
	// Statement returns up to limit of a user's movements, newest first: those numbered below
	// before, or the newest if it is 0.
	Statement(user horde.UserID, before uint64, limit int) []StatementLine
	// Moderation returns up to limit acts of moderation in the same way.
	Moderation(before uint64, limit int) []ModerationAct
	// Undo takes back an act that CanUndo, in the name of a moderator. A refusal is a *horde.Error.
	Undo(ctx context.Context, actor horde.UserID, number uint64) error
}

// A StatementLine is one change of a user's balance or escrow. Amounts and balances are exact.
type StatementLine struct {
	Number  uint64
	At      time.Time
	Amount  horde.Kudos
	Escrow  bool            // it changed the escrow, not the balance
	Reason  string          // such as "transfer"
	Kind    string          // bucket of kudos_details, such as "gifted"; "" for none
	With    string          // alias of who sent or received; "" for none
	Request horde.RequestID // zero for none
	Of      uint64          // of a reversal: the log entry that was reversed; 0 for none

	Balance       horde.Kudos // afterwards
	EscrowBalance horde.Kudos // afterwards
}

// A ModerationAct is what a moderator, admin or operator did, redacted.
type ModerationAct struct {
	Number                              uint64
	At                                  time.Time
	Actor, Node, Action, Target, Reason string
	Until                               time.Time // zero: it does not end by itself
	CanUndo                             bool      // by Undo; acts on users and modes are undone by doing the opposite
}

const (
	fedPage    = 50 // lines of a page, unless asked otherwise
	fedPageMax = 200
)

func (s *Server) fedLedgerRoutes() []route {
	return []route{
		{method: "GET", path: "/api/fed/v1/proof/{user}", handle: s.fedProof},
		{method: "GET", path: "/api/fed/v1/statement", handle: s.fedStatement},
		{method: "GET", path: "/api/fed/v1/moderation", handle: s.fedModeration},
	}
}

// book returns the ledger, or a refusal by a server without one.
func (s *Server) book() (Book, error) {
	if s.deps.Book == nil {
		return nil, plain(http.StatusNotFound, "This node does not show its ledger.")
	}
	return s.deps.Book, nil
}

func notYet() error {
	return horde.Refuse(horde.RCUnavailable, "This node has only just started: please ask again in some seconds.")
}

// fedProof serves GET /api/fed/v1/proof/{user}. Escrow and what is held are for the user and
// moderators; all others see a commitment to them.
func (s *Server) fedProof(w http.ResponseWriter, r *http.Request) error {
	b, err := s.book()
	if err != nil {
		return err
	}
	path := r.PathValue("user")
	if !isDigits(path) {
		return userNotFound(path)
	}
	asker, known, err := s.optionalUser(r)
	if err != nil {
		return err
	}
	u, err := s.userByID(r.Context(), path)
	if err != nil {
		return err
	}
	proof, ok := b.Proof(u.ID, known && (asker.Is(horde.RoleModerator) || asker.ID == u.ID && u.ID != horde.Anonymous))
	if !ok {
		return notYet()
	}
	return encode(w, http.StatusOK, proof)
}

type fedStatementAnswer struct {
	User    string         `json:"user"`
	Entries []fedStatement `json:"entries"`
	Next    *uint64        `json:"next"` // null: there is no further page
}

type fedStatement struct {
	Number        uint64    `json:"number"`
	At            time.Time `json:"at"`
	Amount        float64   `json:"amount"`
	Escrow        bool      `json:"escrow"`
	Reason        string    `json:"reason"`
	Kind          string    `json:"kind,omitempty"`
	With          string    `json:"with,omitempty"`
	Request       string    `json:"request,omitempty"`
	Of            uint64    `json:"reverses,omitempty"`
	Balance       float64   `json:"balance_after"`
	EscrowBalance float64   `json:"escrow_after"`
}

// fedStatement serves GET /api/fed/v1/statement.
func (s *Server) fedStatement(w http.ResponseWriter, r *http.Request) error {
	b, err := s.book()
	if err != nil {
		return err
	}
	before, limit, err := pageOf(r)
	if err != nil {
		return err
	}
	u, err := s.user(r)
	switch {
	case err != nil:
		return err
	case u.ID == horde.Anonymous:
		return horde.Refuse(horde.RCAnonForbidden, "Anonymous is everybody and has no statement.")
	}
	lines := b.Statement(u.ID, before, limit)
	out := fedStatementAnswer{User: u.Alias(), Entries: make([]fedStatement, 0, len(lines))}
	for _, l := range lines {
		e := fedStatement{
			Number: l.Number, At: l.At, Amount: l.Amount.Float(), Escrow: l.Escrow, Reason: l.Reason, Kind: l.Kind, With: l.With, Of: l.Of,
			Balance: l.Balance.Float(), EscrowBalance: l.EscrowBalance.Float(),
		}
		if !l.Request.IsZero() {
			e.Request = l.Request.String()
		}
		out.Entries = append(out.Entries, e)
	}
	if n := len(lines); n == limit {
		out.Next = nextPage(lines[n-1].Number)
	}
	return encode(w, http.StatusOK, out)
}

type fedModerationAnswer struct {
	Acts []fedModeration `json:"acts"`
	Next *uint64         `json:"next"` // null: there is no further page
}

type fedModeration struct {
	Number uint64     `json:"number"`
	At     time.Time  `json:"at"`
	Actor  string     `json:"actor"`
	Node   string     `json:"node"`
	Action string     `json:"action"`
	Target string     `json:"target"`
	Reason string     `json:"reason"`
	Until  *time.Time `json:"until"`
}

// fedModeration serves GET /api/fed/v1/moderation.
func (s *Server) fedModeration(w http.ResponseWriter, r *http.Request) error {
	b, err := s.book()
	if err != nil {
		return err
	}
	before, limit, err := pageOf(r)
	if err != nil {
		return err
	}
	acts := b.Moderation(before, limit)
	out := fedModerationAnswer{Acts: make([]fedModeration, 0, len(acts))}
	for _, m := range acts {
		x := fedModeration{Number: m.Number, At: m.At, Actor: m.Actor, Node: m.Node, Action: m.Action, Target: m.Target, Reason: m.Reason}
		if !m.Until.IsZero() {
			x.Until = &m.Until
		}
		out.Acts = append(out.Acts, x)
	}
	if n := len(acts); n == limit {
		out.Next = nextPage(acts[n-1].Number)
	}
	return encode(w, http.StatusOK, out)
}

// nextPage is the cursor after a full page that ends with number; there is nothing below 1.
func nextPage(number uint64) *uint64 {
	if number <= 1 {
		return nil
	}
	return &number
}

// pageOf reads ?before and ?limit.
func pageOf(r *http.Request) (before uint64, limit int, err error) {
	q := r.URL.Query()
	if v := q.Get("before"); v != "" {
		if before, err = strconv.ParseUint(v, 10, 63); err != nil {
			return 0, 0, invalid("before", "It is a number that an answer named.")
		}
	}
	limit = fedPage
	if v := q.Get("limit"); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > fedPageMax {
			return 0, 0, invalid("limit", "It is a number from 1 to "+strconv.Itoa(fedPageMax)+".")
		}
	}
	return before, limit, nil
}

// maxReason is the length of a public reason, in characters.
const maxReason = 250

// reasonSetting is the setting "reason" of a PUT: why a moderator does this, for the moderation
// log. It is not told in the answer, and alone changes nothing.
func reasonSetting[C, R any](at func(*C) *string) setting[C, R] {
	return setting[C, R]{name: "reason", schema: text(0, maxReason), take: func(a *args, name string, c *C) {
		if v := a.optStr(name, maxReason); v != nil {
			*at(c) = cleanText(*v)
		}
	}}
}
