package api

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

// textRoutes are the endpoints of text generation (spec/text.md). There is no check: status
// is light enough.
func (s *Server) textRoutes() []route {
	perSecond := []limit{{n: 60, per: time.Second, by: byIP}}
	status := []limit{{n: 60, per: time.Minute, by: byPath}}
	return []route{
		{method: "POST", path: "/api/v2/generate/text/async", handle: s.textAsync, limits: asyncLimits(), body: textBodyMax, schema: textRequestSchema()},
		{method: "GET", path: "/api/v2/generate/text/status/{id}", handle: s.textStatus, limits: status, patience: maxWait + patience},
		{method: "DELETE", path: "/api/v2/generate/text/status/{id}", handle: s.textCancel, limits: status},
		{method: "POST", path: "/api/v2/generate/text/pop", handle: s.textPop, limits: perSecond, patience: maxWait + patience, schema: textPopSchema(), body: popBodyMax},
		{method: "POST", path: "/api/v2/generate/text/submit", handle: s.textSubmit, limits: perSecond, schema: textSubmitSchema(), body: textBodyMax},
	}
}

// textAsync serves POST /api/v2/generate/text/async.
func (s *Server) textAsync(w http.ResponseWriter, r *http.Request) error {
	var o textOrder
	if err := decode(r, &o); err != nil {
		return err
	}
	if again, err := s.repeated(r, &o.order); err != nil {
		return err
	} else if again {
		return encode(w, http.StatusAccepted, accepted{ID: o.id.String()})
	}
	if err := s.admit(r, horde.KindText, &o.order, o.restyle); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	v := s.deps.Pricing.TextUpfront(o.priced(), s.load(horde.KindText))
	shrink := func(budget int) { o.maxLength = pricing.DowngradeText(o.maxLength, budget) }
	if err := o.affordable(s.textPrice(o.priced())); err != nil {
		return err
	}
	hold, err := o.upfront(v, shrink)
	if err != nil {
		return err
	}
	if err := o.within(); err != nil {
		return err
	}
	if o.dryRun {
		return encode(w, http.StatusOK, priced{wholeFloat(s.deps.Pricing.TextEstimate(o.priced()))})
	}
	_, a, err := s.place(r.Context(), &o.order, v, hold, shrink, func(hold horde.Kudos) (horde.Request, error) {
		return s.textRequest(r, &o, hold)
	})
	if err != nil {
		return err
	}
	// What a text costs is known when it is delivered; the reference says 0 here as well.
	answer := accepted{ID: a.ID.String()}
	if !a.Possible && !s.deps.Accounts.Modes().Raid {
		answer.Message = noWorkerText
	}
	return encode(w, http.StatusAccepted, answer)
}

// textRequest makes the request that the board keeps.
func (s *Server) textRequest(r *http.Request, o *textOrder, hold horde.Kudos) (horde.Request, error) {
	id, err := s.requestID(&o.order)
	if err != nil {
		return horde.Request{}, fmt.Errorf("name a text request: %w", err)
	}
	raw, err := o.body(s.newHook(r, &o.order))
	if err != nil {
		return horde.Request{}, err
	}
	quote := pricing.TextQuote(utf8.RuneCountInString(o.prompt), o.applied != nil)
	quote.Upfront = hold
	q := horde.Request{
		ID:       id,
		Kind:     horde.KindText,
		Payer:    o.payer.ID,
		Slots:    o.n,
		Shape:    o.shape(),
		Quote:    quote,
		Priority: o.priority(),
		Things:   int64(o.maxLength),
		TTL:      pricing.TextTTL,
		Body:     raw,
		Client:   o.agent,
		Created:  s.now(),
	}
	o.commission(&q)
	return q, nil
}

// textPrice is what a text request may cost, as shared keys see it: the amount that a request
// for fast workers must have in advance (spec/kudos.md section 14.3).
func (s *Server) textPrice(t pricing.Text) horde.Kudos {
	t.SlowOK = false
	return s.deps.Pricing.TextUpfront(t, pricing.Load{}).Amount
}

type textStatusAnswer struct {
	checkAnswer
	Generations []textGeneration `json:"generations"`
}

type textGeneration struct {
	WorkerID   horde.WorkerID   `json:"worker_id"`
	WorkerName string           `json:"worker_name"`
	Model      string           `json:"model"`
	State      string           `json:"state"`
	Text       string           `json:"text"`
	Seed       int64            `json:"seed"`
	Metadata   []horde.Metadata `json:"gen_metadata"`
}

// textStatus serves GET /api/v2/generate/text/status/{id}.
func (s *Server) textStatus(w http.ResponseWriter, r *http.Request) error {
	return s.statusLater(w, r, patientLook{kind: horde.KindText, generations: true, answer: func(w http.ResponseWriter, _ *http.Request, st horde.Status) error {
		return encode(w, http.StatusOK, newTextStatusAnswer(st))
	}})
}

// textCancel serves DELETE /api/v2/generate/text/status/{id}.
func (s *Server) textCancel(w http.ResponseWriter, r *http.Request) error {
	st, err := s.cancel(r, horde.KindText)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, newTextStatusAnswer(st))
}

func newTextStatusAnswer(st horde.Status) textStatusAnswer {
	answer := textStatusAnswer{checkAnswer: newCheckAnswer(st), Generations: []textGeneration{}}
	for _, g := range st.Generations {
		answer.Generations = append(answer.Generations, textGeneration{
			WorkerID:   g.Worker,
			WorkerName: g.WorkerName,
			Model:      g.Model,
			State:      textState(g),
			Text:       string(g.Result),
			Seed:       g.Seed,
			Metadata:   nonNil(g.Metadata),
		})
	}
	return answer
}

// textState is the state of a text as clients see it.
func textState(g horde.Generation) string {
	switch {
	case g.Censored && g.State == "csam":
		return "csam"
	case g.Censored:
		return "censored"
	}
	return "ok"
}

// textPopSchema is the body of POST /generate/text/pop.
func textPopSchema() *schema {
	return object(
		must("name", text(0, maxAny)),
		may("priority_usernames", list(text(0, 255), 0, 1000)),
		may("nsfw", flag()),
		may("models", list(text(3, 255), 0, 10_000)),
		may("bridge_agent", text(0, 1000)),
		may("threads", whole(1, 50)),
		may("require_upfront_kudos", flag()),
		may("amount", whole(1, 20)),
		may("extra_slow_worker", flag()),
		may("max_length", whole(math.MinInt32, math.MaxInt32)),
		may("max_context_length", whole(math.MinInt32, math.MaxInt32)),
		may("softprompts", list(text(0, 1024), 0, 1000)),
	)
}

type textPopRequest struct{ popRequest }

func (q *textPopRequest) read(a *args) {
	q.popRequest.read(a)
	c := &q.caps
	c.MaxLength = int(a.integer("max_length", 512))
	c.MaxContextLength = int(a.integer("max_context_length", 2048))
	c.SoftPrompts = a.strs("softprompts", 1000)
	c.UnsafeIP = true // no text request cares
}

// textPopAnswer always has all its members; those without value are null.
type textPopAnswer struct {
	Payload    textPayload    `json:"payload"`
	ID         *horde.JobID   `json:"id"`
	IDs        []horde.JobID  `json:"ids"`
	Skipped    map[string]int `json:"skipped"`
	Softprompt *string        `json:"softprompt"`
	Model      *string        `json:"model"`
	TTL        *int           `json:"ttl"`
	Extras     []struct{}     `json:"extra_source_images"` // always null
	Messages   []popMessage   `json:"messages"`
}

// textPop serves POST /api/v2/generate/text/pop.
func (s *Server) textPop(w http.ResponseWriter, r *http.Request) error {
	var q textPopRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	res, err := s.pop(r, horde.KindText, q.popRequest)
	if err != nil {
		return err
	}
	answer := textPopAnswer{Payload: emptyTextPayload(), IDs: []horde.JobID{}, Skipped: map[string]int{}, Messages: s.popMessages(res.Worker.ID)}
	switch g := res.Grant; {
	case g == nil:
		answer.Skipped = textSkips(res.Skipped)
	case len(g.Jobs) == 0:
		return fmt.Errorf("grant of request %s has no jobs", g.Request)
	default:
		body, err := decodeTextBody(g.Body)
		if err != nil {
			return err
		}
		answer.Payload = body.Payload
		answer.ID, answer.IDs = &g.Jobs[0], g.Jobs
		answer.Model, answer.TTL = &g.Model, &g.TTL
	}
	return encode(w, http.StatusOK, answer)
}

// textSubmitSchema is the body of POST /generate/text/submit. The seed is left to the
// arguments: it may be missing, null or a string.
func textSubmitSchema() *schema {
	return object(
		must("id", text(0, maxAny)),
		may("generation", text(0, maxPrompt)),
		may("state", choice("ok", "censored", "faulted", "csam")),
		may("gen_metadata", list(object(
			must("type", choice("censorship")),
			must("value", choice("csam")),
			may("ref", text(0, 255)),
		), 0, 1000)),
	)
}

// textSubmit serves POST /api/v2/generate/text/submit.
func (s *Server) textSubmit(w http.ResponseWriter, r *http.Request) error {
	var q submitRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	sub, err := s.submission(r, &q)
	if err != nil {
		return err
	}
	if !q.failed(horde.KindText) {
		sub.Result = []byte(strings.ReplaceAll(q.generation, "\x00", "\uFFFD"))
	}
	return s.submit(w, r, sub)
}
