// Package simworker is a worker without a graphics card: it pops jobs over HTTP like any
// other worker, waits about as long as a real one would, and delivers synthetic results.
//
//	pop ──► nothing: wait a little, longer each time ─┐
//	 ▲ └──► job: wait, make results, upload, submit   │
//	 └──────────────────────────────────────────────── ┘
//
// It has several addresses of a federation: the next one is tried when one fails, and each
// is left alone for as long as it asks to be.
package simworker

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hordenode/cmd/hordenode/internal/rest"
)

// What a simulated worker says that it is. Text workers say it in the name. Images are
// different: the API gives jobs with r2, karras and the like only to bridges it knows, so
// there the name and version are those of the bridge whose abilities we simulate, and the
// link part says who it really is.
const (
	TextAgent  = "hordenode simulated worker:1.0.0:https://hordenode.invalid/hordenode-simulated"
	ImageAgent = "AI Horde Worker reGen:13.0.0:https://hordenode.invalid/hordenode-simulated"
)

// What a simulated graphics card does in a second at speed 1. Both are below what makes
// the horde suspicious of a worker (150 tokens/s, 20 megapixelsteps/s).
const (
	tokensPerSecond     = 50
	pixelstepsPerSecond = 5e6
	formsPerSecond      = 0.5
)

const (
	// CallTimeout is what a call may take before it counts as failed.
	CallTimeout = time.Minute

	charsPerToken  = 4
	maxSideOffered = 3072 // of an image: the largest that can be asked for
	idleMin        = 500 * time.Millisecond
	idleMax        = 4 * time.Second
	errorMin       = time.Second
	errorMax       = 30 * time.Second
	maintenanceFor = 30 * time.Second // between two looks whether it is over
	longestRest    = 10 * time.Minute // most that a Retry-After is believed
	graceAtStop    = 8 * time.Second  // for delivering what is in hand
)

// A Config says what a worker is. URLs, Key, Kind, Name and Models are required.
type Config struct {
	URLs    []string
	Key     string
	Kind    rest.Kind
	Name    string   // unique in the federation, across kinds
	Agent   string   // bridge agent; empty: TextAgent or ImageAgent
	Models  []string // alchemy: forms
	Threads int      // jobs at once; 0 = 1
	Speed   float64  // 1 = a middling graphics card; 0 = no waiting at all
	IdleMax time.Duration
	Nearest bool // URLs are in the order of preference, as Nearest returns them

	HTTP *http.Client
	Log  *slog.Logger
	// Done is told of every delivered job; it must not block. May be nil.
	Done func(Delivery)

	Now   func() time.Time                                 // nil: time.Now
	Sleep func(ctx context.Context, d time.Duration) error // nil: a timer; returns ctx's error if cut short
}

// A Delivery is one job that was delivered and paid.
type Delivery struct {
	Kind   rest.Kind
	Job    string // its id; the first 12 hex digits are its home's tag
	URL    string // where it was popped
	Reward float64
}

// Stats counts what a worker did.
type Stats struct {
	Jobs  int     // delivered
	Lost  int     // popped, but could not be delivered
	Fails int     // pops that failed
	Kudos float64 // earned
}

// Add sums two workers' stats.
func (s Stats) Add(t Stats) Stats {
	return Stats{s.Jobs + t.Jobs, s.Lost + t.Lost, s.Fails + t.Fails, s.Kudos + t.Kudos}
}

// A Worker runs Threads loops of pop, work and submit.
type Worker struct {
	cfg Config
	pop rest.Pop

	mu    sync.Mutex // guards stats
	stats Stats
}

// New checks cfg and returns a worker that does not run yet.
func New(cfg Config) (*Worker, error) {
	switch {
	case cfg.Kind != rest.Text && cfg.Kind != rest.Image && cfg.Kind != rest.Alchemy:
		return nil, fmt.Errorf("cannot simulate %q: want text, image or alchemy", cfg.Kind)
	case len(cfg.URLs) == 0:
		return nil, errors.New("no URL to work for")
	case cfg.Key == "":
		return nil, errors.New("no API key")
	case cfg.Name == "" || len(cfg.Models) == 0:
		return nil, errors.New("a worker needs a name and a model")
	}
	cfg.Threads = max(cfg.Threads, 1)
	if cfg.IdleMax == 0 {
		cfg.IdleMax = idleMax
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Sleep == nil {
		cfg.Sleep = Sleep
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Agent == "" {
		cfg.Agent = TextAgent
		if cfg.Kind == rest.Image {
			cfg.Agent = ImageAgent
		}
	}
	w := &Worker{cfg: cfg, pop: rest.Pop{
		Name: cfg.Name, Models: cfg.Models, BridgeAgent: cfg.Agent, Threads: cfg.Threads, Amount: 1, NSFW: true,
	}}
	switch cfg.Kind {
	case rest.Text:
		w.pop.MaxLength, w.pop.MaxContextLength = 1024, 16384
	case rest.Image:
		w.pop.MaxPixels = maxSideOffered * maxSideOffered
		w.pop.LoRA, w.pop.ControlNet, w.pop.SDXLControlNet = true, true, true // what bridges must ask for
	case rest.Alchemy:
		w.pop.Models, w.pop.Forms, w.pop.MaxTiles = nil, cfg.Models, maxTiles
	}
	return w, nil
}

// Run works until ctx is done, then delivers what is in hand and returns nil. It returns
// an error when the horde refuses the worker for good: a wrong key, a name that is taken.
func (w *Worker) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i := range w.cfg.Threads {
		g.Go(func() error { return w.loop(ctx, i) })
	}
	return g.Wait()
}

// Stats tells what the worker has done so far.
func (w *Worker) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

func (w *Worker) count(s Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats = w.stats.Add(s)
}

func (w *Worker) loop(ctx context.Context, thread int) error {
	to := newRoute(w.cfg, thread)
	idle := idleMin
	for ctx.Err() == nil {
		to.prefer(w.cfg.Now())
		if w.cfg.Sleep(ctx, to.rest(w.cfg.Now())) != nil {
			break
		}
		job, err := to.here().client.Pop(ctx, w.cfg.Kind, w.pop)
		switch {
		case ctx.Err() != nil:
		case rest.HasRC(err, "WorkerMaintenance"):
			to.failed(w.cfg.Now(), maintenanceFor)
		case refusedForGood(err):
			return fmt.Errorf("worker %q was refused at %s: %w", w.cfg.Name, to.here().client.Base, err)
		case err != nil:
			w.count(Stats{Fails: 1})
			w.cfg.Log.WarnContext(ctx, "pop failed", "worker", w.cfg.Name, "url", to.here().client.Base, "err", err)
			to.failed(w.cfg.Now(), retryAfter(err))
		case len(job.All()) == 0:
			to.worked()
			// Jitter keeps many workers from asking in step.
			if w.cfg.Sleep(ctx, idle/2+rand.N(idle)) == nil {
				idle = min(idle*3/2, w.cfg.IdleMax)
			}
		default:
			to.worked()
			idle = idleMin
			w.serve(ctx, to, job)
		}
	}
	return nil
}

// serve makes and delivers the results of a job. A stop cuts the waiting short, not the
// delivery: a job that was taken is a promise.
func (w *Worker) serve(ctx context.Context, to *route, job rest.Job) {
	from := to.here().client.Base
	start := w.cfg.Now()
	_ = w.cfg.Sleep(ctx, w.effort(job)) // cut short at a stop: deliver at once
	deliver, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.budget(ctx, job))
	defer cancel()
	for i, id := range job.All() {
		reward, err := w.deliver(deliver, to, job, i)
		if err != nil {
			w.count(Stats{Lost: 1})
			w.cfg.Log.WarnContext(ctx, "job lost", "worker", w.cfg.Name, "job", id, "err", err)
			continue
		}
		w.count(Stats{Jobs: 1, Kudos: reward})
		w.cfg.Log.DebugContext(ctx, "job done", "worker", w.cfg.Name, "job", id, "kind", w.cfg.Kind,
			"model", job.Model, "kudos", reward, "took", w.cfg.Now().Sub(start))
		if w.cfg.Done != nil {
			w.cfg.Done(Delivery{Kind: w.cfg.Kind, Job: id, URL: from, Reward: reward})
		}
	}
}

// budget is how long a delivery may be tried: the job's life, or little once we stop.
func (w *Worker) budget(ctx context.Context, job rest.Job) time.Duration {
	ttl := time.Duration(job.TTL * float64(time.Second))
	if ttl <= 0 {
		ttl = 150 * time.Second
	}
	if ctx.Err() != nil {
		return min(ttl, graceAtStop)
	}
	return ttl
}

// deliver submits the i-th result of job, at another node if need be.
func (w *Worker) deliver(ctx context.Context, to *route, job rest.Job, i int) (float64, error) {
	id := job.All()[i]
	s := rest.Submission{ID: id, State: "ok", Seed: int64(i) + 1}
	var err error
	if w.cfg.Kind == rest.Alchemy {
		s.Result, err = w.form(ctx, to, job.Forms[i])
	} else {
		s.Generation, err = w.result(ctx, to, job, i)
	}
	if err != nil {
		return 0, err
	}
	for {
		if err := w.cfg.Sleep(ctx, to.rest(w.cfg.Now())); err != nil {
			return 0, err
		}
		reward, err := to.here().client.Submit(ctx, w.cfg.Kind, s)
		var e *rest.Error
		switch {
		case err == nil:
			to.worked()
			return reward, nil
		case ctx.Err() != nil || errors.As(err, &e) && !e.Temporary():
			return 0, err
		}
		to.failed(w.cfg.Now(), retryAfter(err))
	}
}

// result is what a submission of the i-th id says: the text, or the image, or that the
// image was uploaded.
func (w *Worker) result(ctx context.Context, to *route, job rest.Job, i int) (string, error) {
	id := job.All()[i]
	if w.cfg.Kind == rest.Text {
		return text(int(job.Payload.MaxLength)*charsPerToken, id), nil
	}
	img := webp(job.Payload.Width, job.Payload.Height, id)
	url := job.UploadURL(i)
	if url == "" {
		return base64.StdEncoding.EncodeToString(img), nil
	}
	return uploaded, w.upload(ctx, to, url, img)
}

// uploaded is the result of a job whose image went where the pop said.
const uploaded = "R2"

func (w *Worker) upload(ctx context.Context, to *route, url string, img []byte) (err error) {
	for try := range 3 {
		if err = w.cfg.Sleep(ctx, time.Duration(try)*time.Second); err != nil {
			return err
		}
		if err = to.here().client.Upload(ctx, url, img); err == nil {
			return nil
		}
	}
	return fmt.Errorf("upload image: %w", err)
}

// effort is how long the job takes a real worker.
func (w *Worker) effort(job rest.Job) time.Duration {
	if w.cfg.Speed <= 0 {
		return 0
	}
	p := job.Payload
	seconds := p.MaxLength / tokensPerSecond
	switch w.cfg.Kind {
	case rest.Alchemy:
		seconds = 1 / formsPerSecond
	case rest.Image:
		seconds = float64(p.Width) * float64(p.Height) * float64(p.Steps) / pixelstepsPerSecond
	}
	d := time.Duration(seconds / w.cfg.Speed * float64(time.Second) * float64(len(job.All())))
	if ttl := time.Duration(job.TTL * float64(time.Second)); ttl > 0 {
		d = min(d, ttl/2) // slower than allowed is of no use to anybody
	}
	return d
}

// refusedForGood tells whether asking again cannot help.
func refusedForGood(err error) bool {
	var e *rest.Error
	return errors.As(err, &e) && !e.Temporary() && e.Status >= 400
}

func retryAfter(err error) time.Duration {
	var e *rest.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// Sleep waits for d or until ctx is done; then it returns ctx's error.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
