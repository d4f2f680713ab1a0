package ledger

import (
	"fmt"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// The moderation log: what moderators, admins and operators did to others, as a row of the
// ledger each, for anybody to read. It is redacted where it is written: users and workers are
// named by number, addresses and the text of messages and filters not at all.
//
//	command ── moderates(tx) ──► act (before it is applied: the target may be gone after)
//	        ── apply ──────────► refused: no row · else row {number, time, actor, action, target, reason, until}
//
// The last keepModeration rows stay; an export has them all, since it has the commands.
const (
	keepModeration = 1000
	maxReason      = 500 // bytes of a public reason
	modVersion     = Version(2)
)

// moderation is a row of the log.
type moderation struct {
	At     int64        `cbor:"1,keyasint"`
	Actor  horde.UserID `cbor:"2,keyasint,omitempty"`
	Node   horde.NodeID `cbor:"3,keyasint,omitempty"` // the member that it came from
	Action string       `cbor:"4,keyasint"`
	Target string       `cbor:"5,keyasint,omitempty"`
	Reason string       `cbor:"6,keyasint,omitempty"`
	Until  int64        `cbor:"7,keyasint,omitempty"` // 0: does not end by itself

	Operator bool    `cbor:"8,keyasint,omitempty"` // the operator of Node did it, not Actor
	Before   *before `cbor:"9,keyasint,omitempty"` // how things were, to undo it (undo.go); nil: it cannot be
}

// A moderator is a command that is, at least sometimes, an act of moderation. moderates is
// asked before it is applied; a zero Action means that it is none this time. What it returns
// must follow from the state and the command alone.
type moderator interface{ moderates(tx *tx) moderation }

// act asks a command for its row. Before version 2 there was no log, and nodes that do not know
// it must come to the same state.
func (tx *tx) act(c command) moderation {
	m, ok := c.(moderator)
	if !ok || tx.version() < modVersion {
		return moderation{}
	}
	return m.moderates(tx)
}

// record writes a row and lets the oldest go.
func (tx *tx) record(m moderation) {
	if m.Action == "" {
		return
	}
	a := tx.activity.edit(unit{})
	a.Moderations++
	m.At, m.Node = tx.now, tx.from
	m.Reason, m.Before = clip(m.Reason, maxReason), m.Before.small()
	tx.moderations.put(a.Moderations, m)
	if a.Moderations > keepModeration {
		tx.moderations.remove(a.Moderations - keepModeration)
	}
}

// clip cuts a text at a whole character.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// checkReason refuses a reason that is too long to be public.
func checkReason(s string) error {
	if len(s) > maxReason {
		return horde.Refuse(horde.RCBadRequest, "A reason has at most %d bytes.", maxReason)
	}
	return nil
}

func userTarget(id horde.UserID) string { return fmt.Sprintf("user #%d", id) }

func workerTarget(id horde.WorkerID) string { return "worker " + id.String()[:8] }

// A Moderation is an act of moderation, redacted.
type Moderation struct {
	Number uint64 // 1, 2, 3, ... over the life of the federation
	At     time.Time
	Actor  string // alias of the user, or "operator"
	Node   string // name of the member that it came from
	Action string // such as "trusted=true" or "pause"
	Target string // such as "user #7"; "" for the federation
	Reason string
	Until  time.Time // zero: it does not end by itself

	CanUndo bool // by Client.UndoModeration
}

// Moderations returns up to limit of the last acts of moderation, newest first: those with
// numbers below before, or the newest if before is 0.
func (r Reader) Moderations(before uint64, limit int) []Moderation {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	s := r.m.s
	a := s.activity.get(unit{})
	if a == nil {
		return nil
	}
	n := a.Moderations
	if before != 0 {
		n = min(n, before-1)
	}
	var list []Moderation
	for ; n > 0 && len(list) < limit; n-- {
		m := s.moderations.get(n)
		if m == nil {
			break
		}
		list = append(list, Moderation{
			Number: n, At: moment(m.At), Actor: s.actorName(m), Node: s.memberName(m.Node), Action: m.Action, Target: m.Target,
			Reason: m.Reason, Until: moment(m.Until), CanUndo: m.Before != nil,
		})
	}
	return list
}

func (s *state) actorName(m *moderation) string {
	if m.Operator {
		return "operator"
	}
	return s.alias(m.Actor)
}

func (s *state) memberName(id horde.NodeID) string {
	if m := s.members.get(id); m != nil && m.Name != "" {
		return m.Name
	}
	return string(id)
}

// alias is a user's public name, also of one that was wiped.
func (s *state) alias(id horde.UserID) string {
	if u := s.users.get(id); u != nil {
		return horde.User{ID: id, Name: u.Name}.Alias()
	}
	return fmt.Sprintf("#%d", id)
}

// checkModeration tells what is wrong with the log.
func (s *state) checkModeration(wrong func(format string, args ...any)) {
	var last uint64
	if a := s.activity.get(unit{}); a != nil {
		last = a.Moderations
	}
	if got, want := s.moderations.live, int(min(last, keepModeration)); got != want {
		wrong("the moderation log has %d rows, want %d", got, want)
	}
	s.moderations.all(func(n uint64, _ *moderation) bool {
		if n == 0 || n > last || last-n >= keepModeration {
			wrong("the moderation log has a row %d, the last is %d", n, last)
		}
		return true
	})
}
