package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

// interrogateRoutes are the endpoints of alchemy (spec/alchemy.md). A request has one source
// image and several forms, which different workers may do; what async and status call id is
// the request's, what pop and submit call id is a form's.
func (s *Server) interrogateRoutes() []route {
	perSecond := []limit{{n: 60, per: time.Second, by: byIP}}
	status := []limit{{n: 10, per: time.Second, by: byPath}}
	return []route{
		{method: "POST", path: "/api/v2/interrogate/async", handle: s.interrogate, body: imageBodyMax, schema: interrogateSchema()},
		{method: "GET", path: "/api/v2/interrogate/status/{id}", handle: s.interrogateStatus, limits: status},
		{method: "DELETE", path: "/api/v2/interrogate/status/{id}", handle: s.interrogateCancel, limits: status},
		{method: "POST", path: "/api/v2/interrogate/pop", handle: s.interrogatePop, limits: perSecond, schema: interrogatePopSchema(), body: popBodyMax},
		{method: "POST", path: "/api/v2/interrogate/submit", handle: s.interrogateSubmit, limits: perSecond, body: imageBodyMax},
	}
}

const (
	// maxForms is how many forms a request can have: the ledger keeps as many slots.
	maxForms = 256
	// maxTiles is how large a source image can be.
	maxTiles = 255
	// formsPerJob is how many forms may wait where one job may.
	formsPerJob = 10
)

// interrogateSchema is the body of POST /interrogate/async. The source image is left to the
// arguments, which name it alone when it is missing.
func interrogateSchema() *schema {
	return object(
		may("forms", list(object(
			must("name", choice(pricing.Forms()...)),
			may("payload", object()),
		), 0, maxForms)),
		may("source_image", text(0, maxImage)),
		may("slow_workers", flag()),
		may("webhook", text(10, 1024)),
	)
}

// A formOrder is a request for forms as its client sent it.
type formOrder struct {
	agent   string
	nul     bool
	forms   []orderedForm
	image   string
	slow    bool
	trusted bool
	webhook string
	hook    *hook // nil: nobody is told

	payer horde.User
}

// An orderedForm is one form as the home keeps it. The payload goes to the worker as it is.
type orderedForm struct {
	Name    string          `json:"name"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

func (o *formOrder) read(a *args) {
	a.apikey()
	o.agent = clientAgent(a.r)
	o.nul = bodyOf(a.r).hasNUL()
	o.image = a.need("source_image").str("source_image", maxImage)
	o.slow = a.flag("slow_workers", true)
	o.trusted = a.flag("trusted_workers", false)
	o.webhook = a.str("webhook", 1024)
	for _, f := range a.objects("forms") {
		form := orderedForm{Name: f.str("name", 100)}
		if p, ok := f.value("payload").(map[string]any); ok && len(p) > 0 {
			raw, err := json.Marshal(p)
			if err != nil {
				f.fail("payload", "cannot be kept")
			}
			form.Payload = raw
		}
		o.forms = append(o.forms, form)
	}
}

// formBody is what the home of an alchemy request keeps for its workers.
type formBody struct {
	Source string        `json:"source"` // name of the blob
	Forms  []orderedForm `json:"forms"`  // by slot
	Hook   *hook         `json:"hook,omitempty"`
}

func decodeFormBody(raw []byte) (formBody, error) {
	var b formBody
	if err := json.Unmarshal(raw, &b); err != nil {
		return b, fmt.Errorf("decode the body of an alchemy request: %w", err)
	}
	return b, nil
}

// interrogate serves POST /api/v2/interrogate/async.
func (s *Server) interrogate(w http.ResponseWriter, r *http.Request) error {
	var o formOrder
	if err := decode(r, &o); err != nil {
		return err
	}
	if err := s.admitForms(r, &o); err != nil {
		return err
	}
	if o.webhook != "" {
		o.hook = &hook{URL: o.webhook, Base: s.baseURL(r), User: o.payer.ID}
	}
	q, err := s.formRequest(r.Context(), &o)
	if err != nil {
		return err
	}
	a, err := s.deps.Board.Accept(r.Context(), q)
	if err != nil {
		return err
	}
	return encode(w, http.StatusAccepted, struct {
		ID horde.RequestID `json:"id"`
	}{a.ID})
}

// admitForms decides whether the order may be placed, in the order of spec/alchemy.md section
// 3.2. Less is asked than of generations: nothing of the account but its number of forms.
func (s *Server) admitForms(r *http.Request, o *formOrder) (err error) {
	switch {
	case s.deps.Accounts.Modes().Maintenance:
		return horde.Refuse(horde.RCMaintenanceMode, "The horde is in maintenance mode and takes no requests. Please come back later.")
	case o.webhook != "" && !strings.HasPrefix(o.webhook, "https://"):
		return horde.Refuse(horde.RCBadRequest, "A webhook must be an https:// address.")
	}
	if o.payer, err = s.user(r); err != nil {
		return err
	}
	most := o.payer.Concurrency * formsPerJob
	switch {
	case s.tooMany(r, o.payer.ID, horde.KindAlchemy, len(o.forms), most):
		return horde.Refuse(horde.RCTooManyPrompts, "Too many forms of yours are waiting: %d at once are allowed.", most)
	case o.nul:
		return errNUL()
	}
	if s.unsafeOrder(r, o.payer) {
		return untrustedUnsafeIP()
	}
	return nil
}

// formRequest makes the request that the board keeps, its source image stored before it.
func (s *Server) formRequest(ctx context.Context, o *formOrder) (horde.Request, error) {
	none := horde.Request{}
	data, img, err := s.readSource(ctx, o.image)
	if err != nil {
		return none, err
	}
	tiles := pricing.Tiles(img.Width, img.Height)
	if tiles > maxTiles {
		return none, horde.Refuse(horde.RCSourceImageResolutionExceeded, "A source image can have %d tiles of 512 by 512 pixels at most.", maxTiles)
	}
	id, err := s.deps.Board.NewRequestID()
	if err != nil {
		return none, fmt.Errorf("name an alchemy request: %w", err)
	}
	body := formBody{Source: id.String() + "_src", Forms: o.forms, Hook: o.hook}
	if err := s.deps.Board.PutBlob(ctx, body.Source, data); err != nil {
		return none, fmt.Errorf("store a source image: %w", err)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return none, fmt.Errorf("encode the body of an alchemy request: %w", err)
	}
	q := horde.Request{
		ID:       id,
		Kind:     horde.KindAlchemy,
		Payer:    o.payer.ID,
		Slots:    len(o.forms),
		Shape:    horde.Shape{Kind: horde.KindAlchemy, TrustedOnly: o.trusted, SlowOK: o.slow, Tiles: tiles},
		Priority: int64(math.RoundToEven(o.payer.Kudos.Float())),
		Things:   1,
		TTL:      pricing.FormTTL,
		Body:     raw,
		Client:   o.agent,
		Created:  s.now(),
		Notify:   o.webhook != "",
	}
	for _, f := range o.forms {
		q.Forms = append(q.Forms, horde.Form{Name: f.Name, Price: pricing.FormPrice(f.Name, img.Width, img.Height)})
		q.Shape.Models = append(q.Shape.Models, f.Name)
	}
	slices.Sort(q.Shape.Models)
	q.Shape.Models = slices.Compact(q.Shape.Models)
	return q, nil
}

// formsAnswer is the state of an alchemy request.
type formsAnswer struct {
	State string       `json:"state"`
	Forms []formAnswer `json:"forms"`
}

// formAnswer is the state of one form. Clients break on a result that is null or empty
// (spec/clients.md row 7), so it is left out.
type formAnswer struct {
	Form   string          `json:"form"`
	State  horde.FormState `json:"state"`
	Result json.RawMessage `json:"result,omitempty"`
}

// interrogateStatus serves GET /api/v2/interrogate/status/{id}.
func (s *Server) interrogateStatus(w http.ResponseWriter, r *http.Request) error {
	st, err := s.status(r, horde.KindAlchemy, true)
	if err != nil {
		return err
	}
	answer, err := s.newFormsAnswer(r, st)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, answer)
}

// interrogateCancel serves DELETE /api/v2/interrogate/status/{id}. Unlike the other kinds it
// shows the state afterwards.
func (s *Server) interrogateCancel(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.cancel(r, horde.KindAlchemy); err != nil {
		return err
	}
	return s.interrogateStatus(w, r)
}

func (s *Server) newFormsAnswer(r *http.Request, st horde.Status) (formsAnswer, error) {
	results := map[horde.JobID][]byte{}
	for _, g := range st.Generations {
		results[g.ID] = g.Result
	}
	answer := formsAnswer{State: overall(st.Forms), Forms: []formAnswer{}}
	for _, f := range st.Forms {
		shown := formAnswer{Form: f.Name, State: f.State}
		if raw, ok := results[f.Job]; ok {
			address := func() string { return s.blobURL(r, http.MethodGet, resultName(f.Job)) }
			result, err := shownResult(raw, address)
			if err != nil {
				return answer, fmt.Errorf("result of form %s: %w", f.Job, err)
			}
			shown.Result = result
		}
		answer.Forms = append(answer.Forms, shown)
	}
	return answer, nil
}

// overall is the state of a request with such forms: the first that holds (spec/alchemy.md
// section 4.2). A request without forms is faulted, one that was cancelled reads partial.
func overall(forms []horde.FormStatus) string {
	count := map[horde.FormState]int{}
	for _, f := range forms {
		count[f.State]++
	}
	switch {
	case count[horde.FormFaulted] == len(forms):
		return "faulted"
	case count[horde.FormDone] == len(forms):
		return "done"
	case count[horde.FormProcessing] > 0:
		return "processing"
	case count[horde.FormWaiting] > 0:
		return "waiting"
	}
	return "partial"
}

// shownResult is a result as its client sees it: as its worker sent it, but each member that
// says that an image was uploaded gives the image's address. An empty result is nil.
func shownResult(raw []byte, address func() string) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil { // the opening brace
		return nil, err
	}
	out := []byte{'{'}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var member json.RawMessage
		if err := dec.Decode(&member); err != nil {
			return nil, err
		}
		if string(member) == `"`+storedResult+`"` {
			if member, err = plainJSON(address()); err != nil {
				return nil, err
			}
		}
		key, err := plainJSON(name)
		if err != nil {
			return nil, err
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), member...)
	}
	if len(out) == 1 {
		return nil, nil
	}
	return append(out, '}'), nil
}

// plainJSON is JSON with "&" as it is, as in all answers.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
