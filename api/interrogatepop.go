package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

// interrogatePopSchema is the body of POST /interrogate/pop.
func interrogatePopSchema() *schema {
	return object(
		must("name", text(0, maxAny)),
		may("priority_usernames", list(text(0, 255), 0, 1000)),
		may("forms", list(choice(pricing.Forms()...), 0, 1000)),
		may("amount", whole(math.MinInt32, math.MaxInt32)),
		may("bridge_agent", text(0, 1000)),
		may("threads", whole(1, 100)),
		may("max_tiles", whole(1, 256)),
	)
}

type interrogatePopRequest struct{ popRequest }

// defaultTiles is what an alchemist takes that does not say; the reference documents 16.
const defaultTiles = 80

func (q *interrogatePopRequest) read(a *args) {
	q.popRequest.read(a)
	c := &q.caps
	c.NSFW = false // alchemists do not say
	c.Models = a.strs("forms", 1000)
	c.MaxTiles = int(a.integer("max_tiles", defaultTiles))
}

// interrogatePopAnswer always has both members.
type interrogatePopAnswer struct {
	Forms   []poppedForm   `json:"forms"` // null if there are none
	Skipped map[string]int `json:"skipped"`
}

type poppedForm struct {
	ID      horde.JobID     `json:"id"`
	Form    string          `json:"form"`
	Source  string          `json:"source_image"`
	Upload  string          `json:"r2_upload,omitempty"` // of forms that make images
	Payload json.RawMessage `json:"payload,omitempty"`
}

// interrogatePop serves POST /api/v2/interrogate/pop. Names to prefer are checked and, as in
// the reference, nobody is preferred.
func (s *Server) interrogatePop(w http.ResponseWriter, r *http.Request) error {
	var q interrogatePopRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	for _, name := range q.priority {
		if _, ok := horde.ParseAlias(name); !ok || !strings.Contains(name, "#") {
			return horde.Refuse(horde.RCBadRequest, "priority_usernames must be given in full, with # and number.")
		}
	}
	if bodyOf(r).hasNUL() {
		return errNUL()
	}
	res, err := s.pop(r, horde.KindAlchemy, q.popRequest)
	if err != nil {
		return err
	}
	answer := interrogatePopAnswer{Skipped: map[string]int{}}
	if res.Grant == nil {
		answer.Skipped = textSkips(res.Skipped)
		return encode(w, http.StatusOK, answer)
	}
	for _, g := range append([]*horde.Grant{res.Grant}, res.More...) {
		if err := s.fillForms(r, &answer, g); err != nil {
			return err
		}
	}
	return encode(w, http.StatusOK, answer)
}

// fillForms renders the granted forms of one request for their worker.
func (s *Server) fillForms(r *http.Request, answer *interrogatePopAnswer, g *horde.Grant) error {
	body, err := decodeFormBody(g.Body)
	if err != nil {
		return err
	}
	if len(g.Jobs) == 0 || len(g.Slots) != len(g.Jobs) {
		return fmt.Errorf("grant of request %s has %d jobs and %d forms", g.Request, len(g.Jobs), len(g.Slots))
	}
	source := s.blobURL(r, http.MethodGet, body.Source)
	for i, job := range g.Jobs {
		slot := g.Slots[i]
		if slot < 0 || slot >= len(body.Forms) {
			return fmt.Errorf("request %s has no form %d", g.Request, slot)
		}
		f := poppedForm{ID: job, Form: body.Forms[slot].Name, Source: source, Payload: body.Forms[slot].Payload}
		if pricing.MakesImage(f.Form) {
			f.Upload = s.blobURL(r, http.MethodPut, resultName(job))
		}
		answer.Forms = append(answer.Forms, f)
	}
	return nil
}

// formSubmission is the arguments of a submit. There is no schema.
type formSubmission struct {
	id     string
	result json.RawMessage
	state  string
}

func (q *formSubmission) read(a *args) {
	a.apikey()
	q.id = a.need("id").str("id", maxAny)
	q.result = a.need("result").object("result")
	q.state = "ok"
	if st := a.str("state", 255); st != "" {
		q.state = st
	}
}

// object is an object in the body as it was sent, without what is white in it.
func (a *args) object(name string) json.RawMessage {
	if a.err != nil {
		return nil
	}
	if _, ok := a.body[name].(map[string]any); !ok {
		a.fail(name, "must be an object")
		return nil
	}
	var sent map[string]json.RawMessage
	var b bytes.Buffer
	err := json.Unmarshal(bodyOf(a.r).raw, &sent)
	if err == nil {
		err = json.Compact(&b, sent[name])
	}
	if err != nil {
		a.fail(name, "must be an object")
	}
	return b.Bytes()
}

// interrogateSubmit serves POST /api/v2/interrogate/submit.
func (s *Server) interrogateSubmit(w http.ResponseWriter, r *http.Request) error {
	var q formSubmission
	if err := decode(r, &q); err != nil {
		return err
	}
	if bodyOf(r).hasNUL() {
		return errNUL()
	}
	sub, err := s.submission(r, &submitRequest{id: q.id, state: q.state})
	if err != nil {
		return err
	}
	sub.Result = q.result
	return s.submit(w, r, sub)
}

// alchemists counts a user's alchemists, which accounts do not show as workers.
func (s *Server) alchemists(id horde.UserID) (n int) {
	for _, w := range s.deps.Registry.WorkersOf(id) {
		if w.Kind == horde.KindAlchemy {
			n++
		}
	}
	return n
}

// offeredForms is what an alchemist's details say; one that named none is taken for one that
// describes pictures.
func offeredForms(forms []string) []string {
	if len(forms) == 0 {
		return []string{"caption"}
	}
	return forms
}
