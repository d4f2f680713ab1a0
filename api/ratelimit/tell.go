package ratelimit

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A row is what a node tells of a key: how many hits it had in its present window.
type row struct {
	key    uint64
	opened uint32 // names the window: a later one has another
	per    uint32 // how long it lasts, in milliseconds
	hits   uint32
}

const (
	rowSize = 20
	format  = 1    // first byte of a message
	maxRows = 1000 // of a message
	maxHits = 1 << 20

	// pause is the shortest time between two messages; rowRate bounds what a node tells.
	pause   = 25 * time.Millisecond
	rowRate = 10_000 // rows a second

	maxForeign = maxWindows / 2 // windows that others open do not push ours out
	maxPer     = time.Hour      // the longest window
	sweepEvery = time.Second    // while there are too many windows
)

var errMalformed = errors.New("malformed rate limit message")

// Run gives publish what others should hear, until ctx is done. A message that is lost does
// little harm: the next hit tells it again.
func (c *Counter) Run(ctx context.Context, publish func(context.Context, []byte)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
		for {
			data, rows := c.Due()
			if rows == 0 {
				break
			}
			publish(ctx, data)
			t := time.NewTimer(max(pause, time.Duration(rows)*time.Second/rowRate))
			select {
			case <-ctx.Done():
				t.Stop()
				return nil
			case <-t.C:
			}
		}
	}
}

// Due returns a message with what others should hear, and with how many keys; 0: nothing.
func (c *Counter) Due() (data []byte, rows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(c.due), maxRows)
	if n == 0 {
		return nil, 0
	}
	data = append(make([]byte, 0, 1+n*rowSize), format)
	now := c.now()
	for _, key := range c.due[:n] {
		w := c.windows[key]
		if w == nil {
			continue
		}
		w.isDue = false
		if !now.Before(w.ends) && w.own == w.told {
			continue
		}
		w.told = w.own
		w.allot(w.limit)
		data = binary.BigEndian.AppendUint64(data, key)
		data = binary.BigEndian.AppendUint32(data, uint32(w.opened.UnixMilli()))
		data = binary.BigEndian.AppendUint32(data, uint32(w.per.Milliseconds()))
		data = binary.BigEndian.AppendUint32(data, uint32(min(w.own, maxHits)))
	}
	if c.due = c.due[n:]; len(c.due) == 0 {
		c.due = nil
	}
	return data, n
}

// Check tells whether a message may be passed on and heard.
func Check(data []byte) error {
	switch {
	case len(data) == 0 || data[0] != format:
		return fmt.Errorf("%w: unknown format", errMalformed)
	case (len(data)-1)%rowSize != 0 || len(data) > 1+maxRows*rowSize:
		return fmt.Errorf("%w: %d bytes", errMalformed, len(data))
	}
	return nil
}

// Hear counts what another node tells. Malformed messages change nothing.
func (c *Counter) Hear(from string, data []byte) error {
	if err := Check(data); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for b := data[1:]; len(b) > 0; b = b[rowSize:] {
		c.hear(now, from, row{
			key: binary.BigEndian.Uint64(b), opened: binary.BigEndian.Uint32(b[8:]),
			per: binary.BigEndian.Uint32(b[12:]), hits: min(binary.BigEndian.Uint32(b[16:]), maxHits),
		})
	}
	return nil
}

// hasRoom tells whether a window that others opened may be remembered. The lock is held.
func (c *Counter) hasRoom(now time.Time) bool {
	if len(c.windows) >= maxForeign && now.Sub(c.swept) >= sweepEvery {
		c.sweep(now)
	}
	return len(c.windows) < maxForeign
}

// hear counts one row. The lock is held.
func (c *Counter) hear(now time.Time, from string, r row) {
	w := c.windows[r.key]
	switch {
	case w == nil:
		per := time.Duration(r.per) * time.Millisecond
		if per <= 0 || per > maxPer || !c.hasRoom(now) {
			return
		}
		w = open(now, per)
		c.windows[r.key] = w
	case !now.Before(w.ends):
		w.next(now, cmp.Or(w.limit, maxHits))
	}
	i := 0
	for i < len(w.others) && w.others[i].node != from {
		i++
	}
	if i == len(w.others) {
		if i == maxSenders {
			return
		}
		w.others = append(w.others, sender{node: from, opened: r.opened})
	}
	o := &w.others[i]
	if o.opened != r.opened {
		o.opened, o.heard = r.opened, 0
	}
	if more := int(r.hits) - o.heard; more > 0 {
		o.heard += more
		o.hits += more
		if w.limit > 0 {
			o.hits = min(o.hits, w.limit) // no node lets more through
		}
	}
	if w.limit > 0 {
		w.allot(w.limit)
	}
}
