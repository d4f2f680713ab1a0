package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"hordenode/internal/horde"
)

// Clients may wait for news instead of asking again and again:
//
//	GET  …/check/{id}?wait=30, …/status/{id}?wait=30     the usual answer, when it has changed
//	POST …/pop?wait=30                                   the usual answer, when a job fits
//	GET  /api/fed/v1/generate/{id}/events                position, processing, done as they come
//
// Nothing is polled for: the board wakes who waits, for requests of other homes too.

// Watch wakes who waits for a change of a request. *exchange.Exchange implements it.
type Watch interface {
	// Watch returns a channel that gets a value after each change of a request. every is how
	// often to look all the same; 0: no need. stop must be called once.
	Watch(id horde.RequestID) (changed <-chan struct{}, every time.Duration, stop func())
}

// maxWait is the longest wait.
const maxWait = 60 * time.Second

// wait is how long the client is willing to wait: 0 if it says nothing.
func wait(r *http.Request) (time.Duration, error) {
	v := r.URL.Query().Get("wait")
	if v == "" {
		return 0, nil
	}
	s, err := strconv.ParseFloat(v, 64)
	if err != nil || s < 0 || !(s <= maxWait.Seconds()) {
		return 0, invalid("wait", "must be a number of seconds, 0 to 60")
	}
	return time.Duration(s * float64(time.Second)), nil
}

// progress is what of a status makes a change: place and time in the queue change all the
// time.
type progress struct {
	finished, processing, restarted, waiting int
	done, faulted                            bool
}

func progressOf(st horde.Status) progress {
	return progress{st.Finished, st.Processing, st.Restarted, st.Waiting, st.Done, st.Faulted}
}

// ended tells whether nothing will change any more.
func (p progress) ended() bool {
	return p.done || p.faulted || p.waiting == 0 && p.processing == 0
}

// A patientLook is a client's wait for news of a request.
type patientLook struct {
	kind        horde.Kind
	generations bool
	answer      func(http.ResponseWriter, *http.Request, horde.Status) error // writes the usual answer
}

// statusLater answers with a status when it is not any more what it was when the client
// asked, or when the client's time is over. What has ended is told at once. A connection of
// HTTP/1 is parked meanwhile; others wait where they are.
func (s *Server) statusLater(w http.ResponseWriter, r *http.Request, l patientLook) error {
	d, err := wait(r)
	if err != nil {
		return err
	}
	if d == 0 || s.deps.Watch == nil {
		st, err := s.status(r, l.kind, l.generations)
		if err != nil {
			return err
		}
		return l.answer(w, r, st)
	}
	id, err := requestID(r)
	if err != nil {
		return err
	}
	changed, every, stop := s.deps.Watch.Watch(id) // before the first look
	st, err := s.status(r, l.kind, false)
	if err == nil && !progressOf(st).ended() {
		away, leave := s.waiters.enterWith(s.keyStillGood(r), s.clientKey(r))
		v := &vigil{
			s: s, look: l, first: progressOf(st), changed: changed, every: every, away: away,
			over: time.NewTimer(d), leave: func() { leave(); stop() },
		}
		if s.park(w, r, v) {
			return nil
		}
		st, err = v.wait(r, r.Context().Done())
	} else {
		stop()
	}
	if st, err = s.lastLook(r, l, st, err); err != nil {
		return err
	}
	return l.answer(w, r, st)
}

// A vigil is a wait that is under way.
type vigil struct {
	s       *Server
	look    patientLook
	first   progress
	changed <-chan struct{}
	every   time.Duration // how often to look all the same; 0: never
	away    <-chan struct{}
	over    *time.Timer
	leave   func()
}

// wait returns when the status is another than it was, or when there is no more waiting: with
// what was seen last, which is nothing but its kind if nobody looked.
func (v *vigil) wait(r *http.Request, gone <-chan struct{}) (horde.Status, error) {
	defer v.end()
	for {
		over := !v.sleep(gone)
		if st, err := v.check(r); over || err != nil || progressOf(st) != v.first {
			return st, err
		}
	}
}

// check looks at the request, without its generations.
func (v *vigil) check(r *http.Request) (horde.Status, error) {
	return v.s.status(r, v.look.kind, false)
}

// end gives the place among those who wait back.
func (v *vigil) end() {
	v.leave()
	v.over.Stop()
}

// sleep tells whether it is time to look and to go on waiting. It is small: many goroutines
// spend their time in it.
func (v *vigil) sleep(gone <-chan struct{}) bool {
	var look <-chan time.Time
	if v.every > 0 {
		look = time.After(v.every)
	}
	select {
	case <-v.changed:
		return true
	case <-look:
		return true
	case <-v.away:
	case <-v.over.C:
	case <-gone:
	}
	return false
}

// lastLook is the status that is told in the end, with generations if they are wanted. It
// succeeds also when this node stops and wants its clients to go.
func (s *Server) lastLook(r *http.Request, l patientLook, st horde.Status, err error) (horde.Status, error) {
	stopped := r.Context().Err() != nil
	if err == nil && !l.generations || err != nil && !stopped {
		return st, err
	}
	if stopped {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Second)
		defer cancel()
		r = r.WithContext(ctx)
	}
	return s.status(r, l.kind, l.generations)
}

// clientKey is what the waiters of one client share.
func (s *Server) clientKey(r *http.Request) string { return "ip " + network(s.clientIP(r)) }

// popLater is a pop that may wait on this node for a job.
func (s *Server) popLater(r *http.Request, p horde.Pop) (horde.PopResult, error) {
	d, err := wait(r)
	if err != nil {
		return horde.PopResult{}, err
	}
	if d == 0 {
		return s.deps.Board.Pop(r.Context(), p)
	}
	good := s.keyStillGood(r)
	away, leave := s.waiters.enterWith(good, s.clientKey(r), fmt.Sprintf("user %d", p.User.ID))
	defer leave()
	p.Wait, p.Leave = d, away
	if good != nil && !good() {
		return horde.PopResult{}, s.revoked(r) // since the key was looked at
	}
	res, err := s.deps.Board.Pop(r.Context(), p)
	if err == nil && res.Grant == nil && good != nil && !good() {
		return horde.PopResult{}, s.revoked(r)
	}
	return res, err
}

// eventRoutes are the streams of events.
func (s *Server) eventRoutes() []route {
	return []route{{
		method: "GET", path: "/api/fed/v1/generate/{id}/events", handle: s.events,
		limits: []limit{{n: 10, per: time.Second, by: byPath}}, patience: maxStream, unmasked: true,
	}}
}

const (
	maxStream   = 2 * time.Hour    // of one stream of events
	lookAgain   = 5 * time.Second  // for another place in the queue
	keepAlive   = 15 * time.Second // between two signs of life
	writeWithin = 10 * time.Second // a client that does not read is left
)

// events serves GET /api/fed/v1/generate/{id}/events: a text/event-stream of what happens to
// a request of any kind. Each event holds the answer of check: "position" while it waits,
// "processing" while workers have jobs of it, and last "done".
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	id, err := requestID(r)
	if err != nil {
		return err
	}
	if s.deps.Watch == nil {
		return plain(http.StatusNotFound, "This node sends no events.")
	}
	changed, every, stop := s.deps.Watch.Watch(id) // before the first look
	defer stop()
	if every == 0 || every > lookAgain {
		every = lookAgain
	}
	st, err := s.deps.Board.Status(r.Context(), id, false)
	if errors.Is(err, horde.RCRequestNotFound) {
		err = noSuchRequest()
	}
	if err != nil {
		return err
	}
	away, leave := s.waiters.enterWith(s.keyStillGood(r), s.clientKey(r))
	defer leave()
	stream := newEventStream(w)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := stream.tell(st); err != nil || progressOf(st).ended() {
			return nil // a client that has gone is no failure
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-away:
			return nil
		case <-r.Context().Done():
			return nil
		}
		next, err := s.deps.Board.Status(r.Context(), id, false)
		switch {
		case err == nil:
			st = next
		case !isUnavailable(err): // gone
			return nil
		}
	}
}

// eventStream is a text/event-stream of the states of a request.
type eventStream struct {
	w    http.ResponseWriter
	c    *http.ResponseController
	said checkAnswer // the last event
	at   time.Time   // of it, or of the last sign of life; the zero time before the first
}

func newEventStream(w http.ResponseWriter) *eventStream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy should pass events on at once
	return &eventStream{w: w, c: http.NewResponseController(w)}
}

// tell sends an event if the state is another than the last one, or a sign of life if the
// last one was long ago.
func (e *eventStream) tell(st horde.Status) error {
	say, now := newCheckAnswer(st), time.Now()
	text := ": still here\n\n"
	switch {
	case e.at.IsZero() || say != e.said:
		data, err := json.Marshal(say)
		if err != nil {
			return err
		}
		text = "event: " + eventName(st) + "\ndata: " + string(data) + "\n\n"
	case now.Sub(e.at) < keepAlive:
		return nil
	}
	e.said, e.at = say, now
	if err := e.c.SetWriteDeadline(now.Add(writeWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := io.WriteString(e.w, text); err != nil {
		return err
	}
	return e.c.Flush()
}

func eventName(st horde.Status) string {
	switch {
	case progressOf(st).ended():
		return "done"
	case st.Processing > 0:
		return "processing"
	}
	return "position"
}
