package simworker

import (
	"time"

	"hordenode/cmd/hordenode/internal/rest"
)

// A route is one thread's way into the federation: the nodes it may use, the one in use,
// and which of them want to be left alone until when. It is not safe for concurrent use.
type route struct {
	stops   []stop
	at      int
	nearest bool // stops are in the order of preference
}

type stop struct {
	client rest.Client
	until  time.Time // not to be asked before
	fails  int       // in a row
}

// newRoute starts threads at different nodes, or all at the nearest.
func newRoute(cfg Config, thread int) *route {
	r := &route{at: thread % len(cfg.URLs), nearest: cfg.Nearest}
	if r.nearest {
		r.at = 0
	}
	for _, url := range cfg.URLs {
		r.stops = append(r.stops, stop{client: rest.Client{Base: url, Key: cfg.Key, HTTP: cfg.HTTP}})
	}
	return r
}

// here is the node to ask now.
func (r *route) here() *stop { return &r.stops[r.at] }

// worked notes that the node in use answered.
func (r *route) worked() { r.here().fails, r.here().until = 0, time.Time{} }

// failed notes that the node in use did not answer well and goes on to the one that may be
// asked first. asked is how long the node wants to be left alone; 0 if it did not say.
func (r *route) failed(now time.Time, asked time.Duration) {
	s := r.here()
	pause := errorMax
	if s.fails < 5 {
		pause = min(errorMin<<s.fails, errorMax)
	}
	s.fails++
	s.until = now.Add(max(pause, min(asked, longestRest)))
	from := r.at
	for i := range r.stops { // beginning with the next, so that all get their turn
		next := (from + 1 + i) % len(r.stops)
		if r.stops[next].until.Before(r.here().until) {
			r.at = next
		}
	}
}

// prefer goes back to the nearest node that may be asked, if the order of nodes is one of
// preference.
func (r *route) prefer(now time.Time) {
	if !r.nearest {
		return
	}
	for i := range r.at {
		if !now.Before(r.stops[i].until) {
			r.at = i
			return
		}
	}
}

// rest is how long to wait before the node in use may be asked.
func (r *route) rest(now time.Time) time.Duration { return max(r.here().until.Sub(now), 0) }
