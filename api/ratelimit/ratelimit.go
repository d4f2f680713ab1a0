// Package ratelimit counts requests in fixed windows, over all nodes of a federation.
//
//	request ──► Hit ──► window{own + others + debt < limit} ──► answered, or 429
//	                        │ own            ▲ others
//	                    Due ▼                │ Hear
//	                    rows of 20 bytes: keyed hash, window, hits ──► gossip, a few times a second
//
// A window opens with its first hit, wherever in the federation that is, and each node closes
// its own. Nobody is asked before a request is answered, so several nodes may together let a
// few too many through before they have heard of each other; what was too much is a debt that
// the next windows of the key pay. A key that was overrun is crowded: until its load is over a
// node takes only its share of what is left before it hears of the others again. A client that
// keeps to its limit notices none of this.
//
// Names never leave the node: what is told is a hash under a key that only members have.
// Everything here may be lost at any time; then a few requests too many are answered.
package ratelimit

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	maxWindows = 1 << 17 // keys remembered
	maxSenders = 16      // nodes remembered by key: more cannot use one key at the same time
	maxDebt    = 4       // windows that a key may have to pay, at most
	tellShare  = 16      // what is told is at most this part of a limit too late
)

// A Counter counts by key. Its methods may be called by several goroutines.
type Counter struct {
	now  func() time.Time
	hash func(name string) uint64
	wake chan struct{} // there is something that others should hear soon; capacity 1

	mu      sync.Mutex // guards the fields below
	windows map[uint64]*window
	due     []uint64  // keys to tell, each once
	swept   time.Time // when windows that had ended were last looked for
}

// A window is what is known of a key's present window.
type window struct {
	opened time.Time
	per    time.Duration
	ends   time.Time
	limit  int // of the last hit; 0: only others were hit
	own    int // hits here
	told   int // of those, what others know
	isDue  bool
	debt   int // hits beyond the limit in the windows before
	crowd  int // nodes that overran the limit together; 0: they did not
	share  int // what own may reach before others are heard; counts in a crowd
	others []sender
}

// A sender is another node that was hit with the key.
type sender struct {
	node   string
	opened uint32 // its window
	heard  int    // its hits in that window
	hits   int    // of those, the ones in our window
}

// New returns a counter that knows of no hits. hash makes keys of names: all nodes must agree
// on it, and only they should be able to compute it.
func New(now func() time.Time, hash func(name string) uint64) *Counter {
	return &Counter{now: now, hash: hash, wake: make(chan struct{}, 1), windows: map[uint64]*window{}}
}

// Hit counts one request of a key that may have n per window. left is how many more may
// follow, -1 if this one is one too many and was not counted; reset is when there is room again.
func (c *Counter) Hit(name string, n int, per time.Duration) (left int, reset time.Time) {
	key := c.hash(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	w := c.windows[key]
	switch {
	case w == nil:
		c.makeRoom(now)
		w = open(now, per)
		c.windows[key] = w
	case !now.Before(w.ends):
		w.next(now, n)
	}
	if w.limit == 0 {
		w.trust(now, n, per)
	}
	w.limit = n
	switch over := w.total() - n; {
	case over >= 0:
		return -1, w.ends.Add(time.Duration(over/n) * per)
	case w.crowd > 1 && w.own >= w.share:
		c.tell(key, w)
		return -1, w.ends
	}
	w.own++
	if w.own-w.told > n/tellShare {
		c.tell(key, w)
	}
	return n - w.total(), w.ends
}

// open begins a window that owes nothing.
func open(now time.Time, per time.Duration) *window {
	return &window{opened: now, per: per, ends: now.Add(per)}
}

// trust makes of a window that others alone were hit in one of a limit that is known now: none
// of them lets more through, and it lasts no longer than this node's would.
func (w *window) trust(now time.Time, n int, per time.Duration) {
	w.per = per
	if ends := now.Add(per); w.ends.After(ends) {
		w.ends = ends
	}
	for i := range w.others {
		w.others[i].hits = min(w.others[i].hits, n)
	}
}

// next begins the window after one that has ended, and charges it with what was too much.
func (w *window) next(now time.Time, n int) {
	total, nodes := w.total(), w.nodes()
	idle := int(min(now.Sub(w.ends)/w.per, maxDebt)) // windows that nobody opened
	debt := min(max(0, total-n-idle*n), maxDebt*n)
	crowd := 0
	switch {
	case idle > 0:
	case total > n && nodes > 1:
		crowd = nodes
	case total >= n:
		crowd = w.crowd
	}
	others := w.others[:0]
	for _, o := range w.others {
		if o.hits > 0 || crowd > 0 {
			o.hits = 0
			others = append(others, o)
		}
	}
	*w = window{opened: now, per: w.per, ends: now.Add(w.per), limit: n, isDue: w.isDue, debt: debt, crowd: crowd, others: others}
	w.allot(n)
}

// total is what counts against the limit.
func (w *window) total() int {
	t := w.own + w.debt
	for _, o := range w.others {
		t += o.hits
	}
	return t
}

// nodes is how many nodes were hit in the window.
func (w *window) nodes() int {
	n := 0
	if w.own > 0 {
		n++
	}
	for _, o := range w.others {
		if o.hits > 0 {
			n++
		}
	}
	return n
}

// allot gives this node its share of what is left.
func (w *window) allot(n int) {
	if w.crowd > 1 {
		w.share = w.own + (max(0, n-w.total())+w.crowd-1)/w.crowd
	}
}

// tell makes a key due. The lock is held.
func (c *Counter) tell(key uint64, w *window) {
	if !w.isDue {
		w.isDue = true
		c.due = append(c.due, key)
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// makeRoom forgets windows that have ended; if there are still too many, those with the
// fewest hits, and of equal ones any. The lock is held.
func (c *Counter) makeRoom(now time.Time) {
	if len(c.windows) < maxWindows {
		return
	}
	c.sweep(now)
	hits := make([]int, 0, len(c.windows))
	for _, w := range c.windows {
		hits = append(hits, w.total())
	}
	if len(hits) < maxWindows*3/4 {
		return
	}
	slices.SortFunc(hits, cmp.Compare)
	least := hits[len(hits)/4]
	for k, w := range c.windows {
		if len(c.windows) <= maxWindows*3/4 {
			return
		}
		if w.total() <= least {
			delete(c.windows, k)
		}
	}
}

// sweep forgets windows that have ended. The lock is held.
func (c *Counter) sweep(now time.Time) {
	c.swept = now
	for k, w := range c.windows {
		if !now.Before(w.ends) {
			delete(c.windows, k)
		}
	}
}

// Len is how many keys are remembered.
func (c *Counter) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.windows)
}
