package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"hordenode/internal/horde"
)

// A changer serves the PUT of a resource R: a list of settings says what the body may hold,
// where each goes in the change C that the ledger makes, and what the answer tells of it.
//
//	body ─► settings.take ─► C ─► judge ─► update ─► R ─► settings.told ─► answer
//
// All changes are made or none, unlike in the reference. Who may change what is the ledger's to
// judge; judge looks at texts only.
type changer[C, R any] struct {
	s        *Server
	settings []setting[C, R]

	find   func(*http.Request) (R, error)
	judge  func(actor horde.User, target R, c *C) error // also says in the change who changes what
	update func(context.Context, C) (R, error)
}

// A setting is a member of the body, and of the answer if it was in the body and not null.
type setting[C, R any] struct {
	name   string
	schema *schema
	take   func(a *args, name string, c *C)
	told   func(c C, now R) any // nil: never
	as     string               // its name in the answer; "": the same
	with   string               // another setting that it may change: told if it did
}

// schema is the body's.
func (x *changer[C, R]) schema() *schema {
	fields := make([]field, 0, len(x.settings))
	for _, f := range x.settings {
		fields = append(fields, may(f.name, f.schema))
	}
	return object(fields...)
}

// A changeRequest is the body.
type changeRequest[C, R any] struct {
	settings []setting[C, R]
	change   C
	given    map[string]bool
}

func (q *changeRequest[C, R]) read(a *args) {
	a.apikey()
	q.given = map[string]bool{}
	for _, f := range q.settings {
		if a.has(f.name) {
			q.given[f.name] = true
			f.take(a, f.name, &q.change)
		}
	}
}

// serve handles the PUT. What does not exist is told before who asks, as the reference does.
func (x *changer[C, R]) serve(w http.ResponseWriter, r *http.Request) error {
	target, err := x.find(r)
	if err != nil {
		return err
	}
	q := changeRequest[C, R]{settings: x.settings}
	if err := decode(r, &q); err != nil {
		return err
	}
	actor, err := x.s.user(r)
	if err != nil {
		return err
	}
	if err := x.judge(actor, target, &q.change); err != nil {
		return err
	}
	now, err := x.update(r.Context(), q.change)
	if err != nil {
		return err
	}
	answer, err := x.tell(q, target, now)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, answer)
}

// tell is the answer: what was in the body, as it is now, in the order of the settings.
func (x *changer[C, R]) tell(q changeRequest[C, R], before, now R) (json.RawMessage, error) {
	changed := map[string]bool{}
	for _, f := range x.settings {
		changed[f.with] = changed[f.with] || q.given[f.name]
	}
	var out bytes.Buffer
	out.WriteByte('{')
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, f := range x.settings {
		if f.told == nil || !q.given[f.name] && !(changed[f.name] && f.told(q.change, before) != f.told(q.change, now)) {
			continue
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, "%q:", f.answered())
		if err := enc.Encode(f.told(q.change, now)); err != nil {
			return nil, fmt.Errorf("encode %s: %w", f.name, err)
		}
		out.Truncate(out.Len() - 1) // the newline
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// answered is the setting's name in the answer.
func (f setting[C, R]) answered() string {
	if f.as != "" {
		return f.as
	}
	return f.name
}

// toggle is a setting that is true or false.
func toggle[C, R any](name string, at func(*C) **bool, now func(R) bool) setting[C, R] {
	return setting[C, R]{
		name: name, schema: flag(),
		take: func(a *args, name string, c *C) { *at(c) = a.optFlag(name) },
		told: func(_ C, r R) any { return now(r) },
	}
}

// wording is a setting of least to most characters.
func wording[C, R any](name string, least, most int, at func(*C) **string, now func(R) string) setting[C, R] {
	return setting[C, R]{
		name: name, schema: text(least, most),
		take: func(a *args, name string, c *C) { *at(c) = a.optStr(name, most) },
		told: func(_ C, r R) any { return now(r) },
	}
}

// count is a whole number.
func count[C, R any](name string, least, most int64, at func(*C) **int, now func(R) int) setting[C, R] {
	return setting[C, R]{
		name: name, schema: whole(least, most),
		take: func(a *args, name string, c *C) { *at(c) = a.optInt(name) },
		told: func(_ C, r R) any { return now(r) },
	}
}

// most is the largest amount, in kudos, that is passed on; the ledger refuses far less.
const most = 1 << 40

// wholeAmount is an amount of kudos; fractions are cut off.
func (a *args) wholeAmount(name string) *horde.Kudos {
	n := a.optInteger(name)
	if n == nil {
		return nil
	}
	return new(horde.Whole(min(max(*n, -most), most)))
}

// optInt is like optInteger but fits an int; the schema bounds it.
func (a *args) optInt(name string) *int {
	n := a.optInteger(name)
	if n == nil {
		return nil
	}
	return new(int(*n))
}
