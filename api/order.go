package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

// An order is what requests for images and for text have in common, with the defaults that
// the reference applies (which are not always those it documents).
type order struct {
	agent     string // Client-Agent
	prompt    string
	nul       bool // a string somewhere holds a NUL character
	n         int
	models    []string
	workers   []string // ids as sent
	blacklist bool     // workers is a deny list

	trusted, validated, slow, extraSlow bool

	dryRun, downgrade, noBatch bool
	proxied                    string
	webhook                    string
	style                      string
	replace                    bool // replacement_filter; images only
	extras                     []source

	id horde.RequestID // from the Idempotency-Key; zero: any. See repeat.go

	// what follows is filled by admit
	applied    *pickedStyle     // nil: no style
	key        *horde.SharedKey // nil: the payer's own
	keyOf      keySource
	low        bool // the shared key cannot pay all: behind others
	payer      horde.User
	unsafe     bool             // an image that must not be ordered from where it was
	fromUnsafe bool             // an image that some workers do not make for where it was ordered from
	workerIDs  []horde.WorkerID // at most 5
}

// A source is an image that a client sent along.
type source struct {
	image    string
	strength float64
}

// read takes the common arguments. defaultModels stands in for absent models.
func (o *order) read(a *args, defaultModels []string) {
	a.apikey()
	o.agent = clientAgent(a.r)
	o.nul = bodyOf(a.r).hasNUL()
	o.prompt = a.need("prompt").str("prompt", maxPrompt)
	o.n = int(a.within("params").integer("n", 1))
	o.models = defaultModels
	if a.has("models") {
		o.models = a.strs("models", maxModels)
	}
	o.workers = a.strs("workers", maxWorkers)
	o.blacklist = a.flag("worker_blacklist", false)
	o.trusted = a.flag("trusted_workers", false)
	o.validated = a.flag("validated_backends", false)
	o.slow = a.flag("slow_workers", true)
	o.extraSlow = a.flag("extra_slow_workers", false)
	o.dryRun = a.flag("dry_run", false)
	o.downgrade = a.flag("allow_downgrade", false)
	o.noBatch = a.flag("disable_batching", false)
	o.proxied = a.str("proxied_account", 255)
	o.webhook = a.str("webhook", 1024)
	o.style = a.str("style", 1024)
	for _, e := range a.objects("extra_source_images") {
		o.extras = append(o.extras, source{e.str("image", maxImage), e.number("strength", 1)})
	}
}

// admit decides whether the order may be placed at all, in the reference's order
// (spec/image.md sections 3.3 and 3.4, spec/text.md section 3), and finds out who pays and
// which workers are meant. apply lays a style over it.
func (s *Server) admit(r *http.Request, kind horde.Kind, o *order, apply restyle) (err error) {
	if err := s.applyStyle(r.Context(), kind, o, apply); err != nil {
		return err
	}
	switch {
	case s.deps.Accounts.Modes().Maintenance:
		return horde.Refuse(horde.RCMaintenanceMode, "The horde is in maintenance mode and takes no requests. Please come back later.")
	case o.webhook != "" && !strings.HasPrefix(o.webhook, "https://"):
		return horde.Refuse(horde.RCBadRequest, "A webhook must be an https:// address.")
	}
	if err := s.findPayer(r, o); err != nil {
		return err
	}
	u := o.payer
	trusted := u.Is(horde.RoleTrusted)
	switch {
	case o.proxied != "" && !u.Is(horde.RoleService):
		return horde.Refuse(horde.RCOnlyServiceAccountProxy, "Only service accounts can name a proxied_account.")
	case u.Is(horde.RoleDeleted):
		return horde.Refuse(horde.RCDeletedUser, "This account is being deleted.")
	case len(o.extras) > 5:
		return horde.Refuse(horde.RCTooManyExtraSourceImages, "A request can have 5 extra source images at most.")
	case len(o.extras) > 1 && !trusted && !isPatron(u):
		return horde.Refuse(horde.RCMoreThanMinExtraSourceImage, "Only trusted users and patrons can send more than one extra source image.")
	}
	if trusted || u.Is(horde.RoleEducation) || u.Is(horde.RoleService) {
		if _, proxied := s.proxiedFor(r); !proxied {
			s.limiter.relax(s.clientIP(r))
		}
	}
	if kind == horde.KindImage {
		o.fromUnsafe = s.fromUnsafe(r)
		o.unsafe = o.fromUnsafe && !trusted && !isPatron(u)
	}
	if o.prompt == "" {
		return horde.Refuse(horde.RCMissingPrompt, "The prompt is empty.")
	}
	if o.workerIDs, err = s.knownWorkers(r.Context(), o.workers); err != nil {
		return err
	}
	switch {
	case o.n > 1 && o.noBatch && !trusted && !isPatron(u):
		return horde.Refuse(horde.RCRequiresTrust, "Only trusted users and patrons can disable batching of several results.")
	case s.tooMany(r, u.ID, kind, o.n, u.Concurrency, o.limitedModels()...):
		return horde.Refuse(horde.RCTooManyPrompts, "Too many jobs of yours are waiting: %d at once are allowed.", u.Concurrency)
	}
	return s.judgePrompt(r, kind, o)
}

// maxTargets is how many of the named workers count.
const maxTargets = 5

// knownWorkers reads the ids of workers; each must be an image or text worker. One that this
// node does not know may be new at another, so a miss is confirmed once.
func (s *Server) knownWorkers(ctx context.Context, names []string) ([]horde.WorkerID, error) {
	var ids []horde.WorkerID
	confirmed := false
	for _, name := range names {
		missing := horde.Refuse(horde.RCWorkerNotFound, "Worker with ID %s does not exist.", truncate(name, 40))
		u, err := horde.ParseUUID(name)
		if err != nil {
			return nil, missing
		}
		id := horde.WorkerID{UUID: u}
		w, ok := s.deps.Accounts.Worker(id)
		if !ok && !confirmed {
			if err := s.confirmMiss(ctx); err != nil {
				return nil, err
			}
			confirmed = true
			w, ok = s.deps.Accounts.Worker(id)
		}
		if !ok || w.Kind == horde.KindAlchemy {
			return nil, missing
		}
		ids = append(ids, id)
	}
	return ids[:min(len(ids), maxTargets)], nil
}

// upfront refuses an order whose price must be available and is not, or has it shrunk if
// the client allows that. It returns what is to be held. The ledger checks again when the
// request is accepted; this check makes dry runs and refusals cheap.
func (o *order) upfront(v pricing.Upfront, shrink func(limit int)) (hold horde.Kudos, err error) {
	switch {
	case !v.Needed || v.Amount == 0:
		return 0, nil
	case o.payer.Available() >= v.Amount:
		return v.Amount, nil
	case o.downgrade:
		o.slow = true
		shrink(v.Limit)
		return 0, nil
	}
	return 0, horde.Refuse(horde.RCKudosUpfront, "This request needs %s kudos in advance, and you can spend %s. Please make it smaller or allow slow workers.",
		v.Amount, max(o.payer.Available(), 0))
}

// place has the board accept what request makes of the order. If the kudos that the order
// seemed to have were spent in between, it is shrunk and placed again, where the client
// allows that.
func (s *Server) place(ctx context.Context, o *order, v pricing.Upfront, hold horde.Kudos, shrink func(limit int), request func(hold horde.Kudos) (horde.Request, error)) (horde.Request, horde.Acceptance, error) {
	for {
		q, err := request(hold)
		if err != nil {
			return q, horde.Acceptance{}, err
		}
		a, err := s.deps.Board.Accept(ctx, q)
		if hold == 0 || !o.downgrade || !errors.Is(err, horde.RCKudosUpfront) {
			return q, a, err
		}
		hold, o.slow = 0, true
		shrink(v.Limit)
	}
}

// priority is where a new request starts in the queue: the payer's balance in whole kudos,
// behind others for flagged accounts and shared keys that cannot pay (spec/kudos.md section
// 14.7).
func (o *order) priority() int64 {
	whole := int64(wholeKudos(o.payer.Kudos))
	switch {
	case o.payer.Is(horde.RoleFlagged) && whole > 10:
		return whole / 1000
	case o.payer.Is(horde.RoleFlagged):
		return -100
	case o.low:
		return -50
	}
	return whole
}

// load is how busy the workers of a kind are.
func (s *Server) load(kind horde.Kind) pricing.Load {
	p := s.deps.Board.Performance()
	if kind == horde.KindText {
		return pricing.Load{Threads: p.TextThreads, Queue: p.QueuedTextRequests}
	}
	return pricing.Load{Threads: p.Threads, Queue: p.QueuedRequests}
}

// errNUL refuses texts that databases and C programs would cut.
func errNUL() error {
	return horde.Refuse(horde.RCNulByteInPayload, "The request holds a NUL character.")
}

// A warning is told with an accepted request.
type warning struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// accepted answers a request that was accepted.
type accepted struct {
	ID       string    `json:"id"`
	Kudos    float64   `json:"kudos"`
	Message  string    `json:"message,omitempty"`
	Warnings []warning `json:"warnings,omitempty"`
}

// priced answers a dry run.
type priced struct {
	Kudos float64 `json:"kudos"`
}

const noWorkerText = "No worker that is online now can serve this request. It waits for one, and expires after 20 minutes."

// tooMany tells whether n more jobs would be more than a user may have waiting. Near the
// limit the homes are asked: neither a refusal nor the job that goes beyond it shall rest on
// what has not been heard yet.
func (s *Server) tooMany(r *http.Request, user horde.UserID, kind horde.Kind, n, most int, models ...string) bool {
	near := most - max(most/4, nearLimit)
	return s.deps.Board.Waiting(user, kind, models...)+n > near && s.deps.Board.ConfirmWaiting(r.Context(), user, kind, models...)+n > most
}

// limitedModels are the models that the limit of an order's payer is counted for; none: what
// the payer has waiting is counted whatever it names. All who are anonymous share one account,
// so theirs is a limit for each model (spec/image.md section 3.4.1).
func (o *order) limitedModels() []string {
	if o.payer.ID == horde.Anonymous {
		return o.models
	}
	return nil
}

// nearLimit is how many jobs below a limit are near it, at least.
const nearLimit = 4
