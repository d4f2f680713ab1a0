package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hordenode/internal/horde"
	"hordenode/internal/outbound"
)

const (
	queueSize = 256
	senders   = 16
	attempts  = 3
	patience  = 3 * time.Second        // of one attempt: set as the client's Timeout
	pause     = 250 * time.Millisecond // before the second attempt; doubled before the third
	replyMost = 64 << 10               // bytes of an answer that are read
	keepFor   = 20 * time.Minute
)

// Timeout is what one attempt may take: for the outbound client.
const Timeout = patience

// Poster sends a message. *outbound.Client implements it.
type Poster interface {
	Post(ctx context.Context, address string, header http.Header, body []byte, most int64) error
}

// A Message is what is sent.
type Message struct {
	Address string       // empty: there is nobody to tell
	Account horde.UserID // whose secret signs it: the payer
	Body    []byte
}

// Render makes the message of a result out of the request's Kind and Body.
type Render func(ctx context.Context, r *horde.Request, g horde.Generation) (Message, error)

// Results finds a result again after a restart. *exchange.Exchange implements it.
type Results interface {
	Status(ctx context.Context, id horde.RequestID, generations bool) (horde.Status, error)
}

// Config is what a Sender is made of. All fields are required but Log.
type Config struct {
	Dir    string // for notes
	Secret []byte // of the node; see Secret
	Post   Poster
	Now    func() time.Time
	Log    *slog.Logger
}

// A Sender delivers messages. It implements jobs.Listener.
type Sender struct {
	secret  []byte
	post    Poster
	now     func() time.Time
	log     *slog.Logger
	queue   chan delivery
	breaker *breaker
	notes   *notes
	count   struct{ queued, delivered, failed, dropped atomic.Int64 }
}

// A delivery is a result that somebody is to be told of.
type delivery struct {
	request *horde.Request
	result  horde.Generation
}

// Open returns a sender; nothing is sent before Run.
func Open(cfg Config) (*Sender, error) {
	if cfg.Post == nil || cfg.Now == nil || len(cfg.Secret) == 0 {
		return nil, errors.New("webhook: Post, Now and Secret are needed")
	}
	n, err := openNotes(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Sender{
		secret: cfg.Secret, post: cfg.Post, now: cfg.Now, log: cfg.Log,
		queue: make(chan delivery, queueSize), breaker: &breaker{hosts: map[string]*health{}}, notes: n,
	}, nil
}

// Delivered takes on a result. It does not wait: if 256 are waiting already, it is dropped.
func (s *Sender) Delivered(r *horde.Request, g horde.Generation) {
	if err := s.notes.add(r.ID, g.ID); err != nil {
		s.log.Warn("webhook not noted: a restart would forget it", "request", r.ID, "err", err)
	}
	select {
	case s.queue <- delivery{r, g}:
		s.count.queued.Add(1)
	default:
		s.count.dropped.Add(1)
		s.log.Warn("webhook dropped: too many are waiting", "request", r.ID, "job", g.ID)
		s.forget(delivery{r, g})
	}
}

// Stats counts messages since the start.
type Stats struct{ Queued, Delivered, Failed, Dropped, Waiting int64 }

// Stats returns the counts.
func (s *Sender) Stats() Stats {
	return Stats{
		Queued: s.count.queued.Load(), Delivered: s.count.delivered.Load(), Failed: s.count.failed.Load(),
		Dropped: s.count.dropped.Load(), Waiting: int64(len(s.queue)),
	}
}

// Run sends, what an earlier run left first, until ctx is done; then it returns nil and what
// is not sent is left to the next run.
func (s *Sender) Run(ctx context.Context, render Render, results Results) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.resume(ctx, results) })
	for range senders {
		g.Go(func() error {
			for {
				select {
				case m := <-s.queue:
					s.send(ctx, m, render)
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	return g.Wait()
}

// resume puts what notes tell of back into the queue. The notes that were there when it
// began may be of messages that have been sent since: they are told twice at worst.
func (s *Sender) resume(ctx context.Context, results Results) error {
	left, err := s.notes.list()
	if err != nil {
		return fmt.Errorf("read the notes: %w", err)
	}
	for _, n := range left {
		m, ok := s.recall(ctx, n, results)
		if !ok {
			continue
		}
		select {
		case s.queue <- m:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// recall finds what a note is about.
func (s *Sender) recall(ctx context.Context, n note, results Results) (delivery, bool) {
	m := delivery{&horde.Request{ID: n.request}, horde.Generation{ID: n.job}}
	if s.now().Sub(n.at) > keepFor {
		s.forget(m)
		return m, false
	}
	st, err := results.Status(ctx, n.request, true)
	if err != nil {
		if errors.Is(err, horde.RCRequestNotFound) {
			s.forget(m)
		} else {
			s.log.WarnContext(ctx, "webhook not resumed", "request", n.request, "err", err)
		}
		return m, false
	}
	for _, g := range st.Generations {
		if g.ID == n.job {
			return delivery{&horde.Request{ID: n.request, Kind: st.Kind, Body: st.Body}, g}, true
		}
	}
	s.forget(m)
	return m, false
}

// send makes up to three attempts. An address that must not be called is given up at once,
// and so is a host that is left alone for now.
func (s *Sender) send(ctx context.Context, m delivery, render Render) {
	out, err := render(ctx, m.request, m.result)
	u, bad := url.Parse(out.Address)
	switch {
	case err != nil:
		s.fail(ctx, m, fmt.Errorf("render: %w", err))
		return
	case out.Address == "" || bad != nil:
		s.forget(m)
		return
	}
	secret := Secret(s.secret, out.Account)
	wait := pause
	for n := 1; ; n++ {
		if !s.breaker.allow(u.Host, s.now()) {
			err = errors.Join(errTripped, err)
			break
		}
		err = s.post.Post(ctx, out.Address, signed(secret, s.now(), out.Body), out.Body, replyMost)
		s.breaker.done(u.Host, err == nil || ctx.Err() != nil, s.now())
		if err == nil || n == attempts || errors.Is(err, outbound.ErrForbidden) || !sleep(ctx, wait+jitter(m.result.ID)) {
			break
		}
		wait *= 2
	}
	switch {
	case err == nil:
		s.count.delivered.Add(1)
		s.forget(m)
	case ctx.Err() == nil: // else the note is for the next run
		s.fail(ctx, m, err)
	}
}

// jitter keeps messages of one batch apart: up to half a pause, by the job's random id.
func jitter(id horde.JobID) time.Duration {
	return pause / 2 * time.Duration(id.UUID[15]) / 255
}

var errTripped = errors.New("its host has not answered lately")

// sleep tells whether it was not interrupted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Sender) fail(ctx context.Context, m delivery, err error) {
	s.count.failed.Add(1)
	s.log.InfoContext(ctx, "webhook given up", "request", m.request.ID, "job", m.result.ID, "err", err)
	s.forget(m)
}

func (s *Sender) forget(m delivery) {
	if err := s.notes.remove(m.request.ID, m.result.ID); err != nil {
		s.log.Warn("webhook note not removed", "request", m.request.ID, "err", err)
	}
}
