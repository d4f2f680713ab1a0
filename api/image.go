package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// imageRoutes are the endpoints of image generation (spec/image.md).
func (s *Server) imageRoutes() []route {
	perSecond := []limit{{n: 60, per: time.Second, by: byIP}}
	status := []limit{{n: 10, per: time.Minute, by: byPath}}
	return []route{
		{method: "POST", path: "/api/v2/generate/async", handle: s.imageAsync, limits: asyncLimits(), body: imageBodyMax, schema: imageRequestSchema()},
		{method: "GET", path: "/api/v2/generate/check/{id}", handle: s.imageCheck, patience: maxWait + patience, limits: []limit{{n: 10, per: time.Second, by: byPath}}},
		{method: "GET", path: "/api/v2/generate/status/{id}", handle: s.imageStatus, limits: status, patience: maxWait + patience},
		{method: "DELETE", path: "/api/v2/generate/status/{id}", handle: s.imageCancel, limits: status},
		{method: "POST", path: "/api/v2/generate/pop", handle: s.imagePop, limits: perSecond, patience: maxWait + patience, schema: imagePopSchema(), body: popBodyMax},
		{method: "POST", path: "/api/v2/generate/submit", handle: s.imageSubmit, limits: perSecond, schema: imageSubmitSchema(), body: imageBodyMax},
		{method: "POST", path: "/api/v2/generate/rate/{id}", handle: s.imageRate, limits: []limit{{n: 5, per: time.Minute, by: byPath}}, schema: imageRateSchema()},
	}
}

// popBodyMax is enough for the longest lists of models and words that count.
const popBodyMax = 1 << 20

// asyncLimits are the limits of the two async endpoints.
func asyncLimits() []limit {
	return []limit{
		{n: 90, per: time.Minute, by: byPath, relaxed: 300},
		{n: 2, per: time.Second, by: byPath, relaxed: 10},
		{n: 2, per: time.Second, by: byKey, relaxed: 60},
	}
}

// imageAsync serves POST /api/v2/generate/async.
func (s *Server) imageAsync(w http.ResponseWriter, r *http.Request) error {
	var o imageOrder
	if err := decode(r, &o); err != nil {
		return err
	}
	if again, err := s.repeated(r, &o.order); err != nil {
		return err
	} else if again {
		return encode(w, http.StatusAccepted, accepted{ID: o.id.String()})
	}
	if err := s.admit(r, horde.KindImage, &o.order, o.restyle); err != nil {
		return err
	}
	if o.payer.Is(horde.RoleEducation) {
		o.nsfw, o.censor, o.trusted = false, true, true
	}
	warnings := s.warnings(&o)
	for _, check := range imageChecks() {
		if err := check(s, &o); err != nil {
			return err
		}
	}
	if o.nul {
		return errNUL()
	}
	v := s.deps.Pricing.ImageUpfront(o.priced(false), o.pricedOrder(), s.load(horde.KindImage))
	shrink := func(side int) { o.shrink(s.deps.Pricing, side) }
	if err := o.affordable(horde.RoundKudos(s.deps.Pricing.ImageEstimate(o.priced(false), o.pricedOrder()))); err != nil {
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
		// As recorded of the reference (image-dry-run-a): a dry run prices the payload. What comes
		// on top for fast workers only and for a deny list of workers is not in it.
		order := o.pricedOrder()
		order.SlowOK, order.Blacklist = true, false
		return encode(w, http.StatusOK, priced{wholeFloat(s.deps.Pricing.ImageEstimate(o.priced(true), order))})
	}
	q, a, err := s.place(r.Context(), &o.order, v, hold, shrink, func(hold horde.Kudos) (horde.Request, error) {
		return s.imageRequest(r, &o, hold)
	})
	if err != nil {
		return err
	}
	answer := accepted{ID: a.ID.String(), Kudos: wholeKudos(q.Quote.Job), Warnings: warnings}
	if !a.Possible && !s.deps.Accounts.Modes().Raid {
		answer.Message = noWorkerText
		answer.Warnings = append(answer.Warnings, warning{"NoAvailableWorker", noWorkerText})
	}
	return encode(w, http.StatusAccepted, answer)
}

// shrink makes an order small enough to be served without kudos upfront.
func (o *imageOrder) shrink(p Pricing, side int) {
	small := p.DowngradeImage(o.priced(false), o.models, side)
	o.params.width, o.params.height = small.Width, small.Height
	steps := int64(small.Steps)
	o.params.steps = &steps
}

// imageRequest makes the request that the board keeps, its images stored before it.
func (s *Server) imageRequest(r *http.Request, o *imageOrder, hold horde.Kudos) (horde.Request, error) {
	id, err := s.requestID(&o.order)
	if err != nil {
		return horde.Request{}, fmt.Errorf("name an image request: %w", err)
	}
	body := o.body(s.cfg.Rand)
	body.Hook = s.newHook(r, &o.order)
	if err := s.attach(r.Context(), id, o, &body); err != nil {
		return horde.Request{}, err
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return horde.Request{}, fmt.Errorf("encode the body of an image request: %w", err)
	}
	i := o.priced(true)
	quote := s.deps.Pricing.ImageQuote(i, o.pricedOrder())
	quote.Upfront = hold
	q := horde.Request{
		ID:       id,
		Kind:     horde.KindImage,
		Payer:    o.payer.ID,
		Slots:    o.n,
		Shape:    o.shape(),
		Quote:    quote,
		Priority: o.priority(),
		Things:   i.Things(),
		TTL:      s.deps.Pricing.ImageTTL(i, o.models),
		NoBatch:  o.noBatch,
		Body:     raw,
		Search:   strings.ToLower(o.prompt),
		Client:   o.agent,
		Created:  s.now(),
	}
	o.commission(&q)
	return q, nil
}

// attach checks and stores the images of an order under the id of its request. All are
// checked before the first is stored.
func (s *Server) attach(ctx context.Context, id horde.RequestID, o *imageOrder, body *imageBody) error {
	type blob struct {
		name string
		data []byte
	}
	var blobs []blob
	add := func(suffix, sent string) (alpha bool, name string, err error) {
		data, cfg, err := s.readSource(ctx, sent)
		if err != nil {
			return false, "", err
		}
		name = id.String() + suffix
		blobs = append(blobs, blob{name, data})
		return cfg.ColorModel == color.NRGBAModel, name, nil
	}
	var err error
	if o.image != "" {
		var alpha bool
		if alpha, body.Source, err = add("_src", o.image); err != nil {
			return err
		}
		if o.processing == "inpainting" && o.mask == "" && !alpha {
			return horde.Refuse(horde.RCInpaintingMissingMask, "Inpainting needs a mask, or a source image with transparent parts.")
		}
	}
	if o.mask != "" {
		if _, body.Mask, err = add("_msk", o.mask); err != nil {
			return err
		}
	}
	for n, e := range o.extras {
		_, name, err := add("_ext"+strconv.Itoa(n), e.image)
		if err != nil {
			return err
		}
		body.Extras = append(body.Extras, extraSource{name, e.strength})
	}
	for _, b := range blobs {
		if err := s.deps.Board.PutBlob(ctx, b.name, b.data); err != nil {
			return fmt.Errorf("store a source image: %w", err)
		}
	}
	return nil
}

// requestID reads the id in the path. What is no UUID names no request.
func requestID(r *http.Request) (horde.RequestID, error) {
	u, err := horde.ParseUUID(r.PathValue("id"))
	if err != nil {
		return horde.RequestID{}, noSuchRequest()
	}
	return horde.RequestID{UUID: u}, nil
}

func noSuchRequest() error {
	return horde.Refuse(horde.RCRequestNotFound, "There is no request with this ID, or not any more.")
}

// status reads the state of a request of the given kind.
func (s *Server) status(r *http.Request, kind horde.Kind, generations bool) (horde.Status, error) {
	id, err := requestID(r)
	if err != nil {
		return horde.Status{}, err
	}
	st, err := s.deps.Board.Status(r.Context(), id, generations)
	if err == nil && st.Kind != kind {
		err = noSuchRequest()
	}
	if errors.Is(err, horde.RCRequestNotFound) {
		err = noSuchRequest()
	}
	return st, err
}

// cancel hands out no more jobs of a request and returns its state before.
func (s *Server) cancel(r *http.Request, kind horde.Kind) (horde.Status, error) {
	// A home that cannot be asked for the moment hears of it later.
	if _, err := s.status(r, kind, false); err != nil && !errors.Is(err, horde.RCUnavailable) {
		return horde.Status{}, err
	}
	id, err := requestID(r)
	if err != nil {
		return horde.Status{}, err
	}
	return s.deps.Board.Cancel(r.Context(), id)
}

// checkAnswer is the state of a request without its results.
type checkAnswer struct {
	Finished      int     `json:"finished"`
	Processing    int     `json:"processing"`
	Restarted     int     `json:"restarted"`
	Waiting       int     `json:"waiting"`
	Done          bool    `json:"done"`
	Faulted       bool    `json:"faulted"`
	WaitTime      int     `json:"wait_time"`
	QueuePosition int     `json:"queue_position"`
	Kudos         float64 `json:"kudos"`
	IsPossible    bool    `json:"is_possible"`
}

func newCheckAnswer(st horde.Status) checkAnswer {
	return checkAnswer{
		Finished:      st.Finished,
		Processing:    st.Processing,
		Restarted:     st.Restarted,
		Waiting:       st.Waiting,
		Done:          st.Done,
		Faulted:       st.Faulted,
		WaitTime:      st.WaitTime,
		QueuePosition: st.QueuePosition,
		Kudos:         wholeKudos(st.Kudos),
		IsPossible:    st.IsPossible,
	}
}

type imageStatusAnswer struct {
	checkAnswer
	Generations []imageGeneration `json:"generations"`
	Shared      bool              `json:"shared"`
}

type imageGeneration struct {
	WorkerID   horde.WorkerID   `json:"worker_id"`
	WorkerName string           `json:"worker_name"`
	Model      string           `json:"model"`
	State      string           `json:"state"`
	Img        string           `json:"img"`
	Seed       string           `json:"seed"`
	ID         horde.JobID      `json:"id"`
	Censored   bool             `json:"censored"`
	Metadata   []horde.Metadata `json:"gen_metadata"`
}

// imageCheck serves GET /api/v2/generate/check/{id}.
func (s *Server) imageCheck(w http.ResponseWriter, r *http.Request) error {
	if _, out := s.timedOut(s.effectiveIP(r)); out && clientAgent(r) == unknownAgent {
		return horde.Refuse(horde.RCForbidden, "Your address is timed out. Please name your program in the Client-Agent header.")
	}
	return s.statusLater(w, r, patientLook{kind: horde.KindImage, answer: func(w http.ResponseWriter, _ *http.Request, st horde.Status) error {
		return encode(w, http.StatusOK, newCheckAnswer(st))
	}})
}

// imageStatus serves GET /api/v2/generate/status/{id}.
func (s *Server) imageStatus(w http.ResponseWriter, r *http.Request) error {
	return s.statusLater(w, r, patientLook{kind: horde.KindImage, generations: true, answer: s.encodeImageStatus})
}

// imageCancel serves DELETE /api/v2/generate/status/{id}. Like the others it needs no key:
// who knows the id may cancel.
func (s *Server) imageCancel(w http.ResponseWriter, r *http.Request) error {
	st, err := s.cancel(r, horde.KindImage)
	if err != nil {
		return err
	}
	return s.encodeImageStatus(w, r, st)
}

func (s *Server) encodeImageStatus(w http.ResponseWriter, r *http.Request, st horde.Status) error {
	answer := imageStatusAnswer{checkAnswer: newCheckAnswer(st), Generations: []imageGeneration{}}
	var body imageBody
	if len(st.Generations) > 0 {
		var err error
		if body, err = decodeImageBody(st.Body); err != nil {
			return err
		}
	}
	for _, g := range st.Generations {
		img, err := s.renderImage(r.Context(), s.baseURL(r), g, body.R2)
		if err != nil {
			return err
		}
		answer.Generations = append(answer.Generations, imageGeneration{
			WorkerID:   g.Worker,
			WorkerName: g.WorkerName,
			Model:      g.Model,
			State:      "ok", // always: censoring is told by censored and gen_metadata
			Img:        img,
			Seed:       strconv.FormatInt(g.Seed, 10),
			ID:         g.ID,
			Censored:   g.Censored,
			Metadata:   nonNil(g.Metadata),
		})
	}
	return encode(w, http.StatusOK, answer)
}

// A result that says R2 was uploaded to the job's address; one that says R2/x came with the
// submit and is kept under the job's id and x (see submittedImage).
const storedResult = "R2"

func resultBlob(g horde.Generation) (name string, ok bool) {
	kind, suffix, inline := strings.Cut(string(g.Result), "/")
	switch {
	case kind != storedResult:
		return "", false
	case inline:
		return inlineName(g.ID, suffix), true
	}
	return resultName(g.ID), true
}

func inlineName(job horde.JobID, suffix string) string { return job.String() + "_" + suffix }

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// wholeFloat rounds a price as the reference does, ties to even.
func wholeFloat(f float64) float64 { return wholeKudos(horde.RoundKudos(f)) }
