package standby

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"hordenode/internal/horde"
)

const (
	lookEvery = 500 * time.Millisecond // at which backup there should be
	callFor   = 5 * time.Second
	// patience is how long a caller of Keep is kept waiting for the backup.
	patience = 250 * time.Millisecond
	// firstPause to mostPause lie between tries of a batch that was not taken.
	firstPause = 50 * time.Millisecond
	mostPause  = time.Second

	batchItems = 512
	batchBytes = 1 << 20 // a single larger item goes alone
	maxQueued  = 64 << 20
	maxOne     = MaxMessage - 64<<10 // bytes of one item
)

// A Home tells what there is to copy. *jobs.Home implements it.
type Home interface {
	// Copies calls keep with everything that the backup should have, until keep returns false.
	// It calls keep for a request only while no Drop of it can have been sent.
	Copies(ctx context.Context, keep func(id horde.RequestID, what string, data []byte, until time.Time) bool) error
}

// CopierConfig is what a Copier needs.
type CopierConfig struct {
	Tag  horde.HomeTag
	Call func(ctx context.Context, to horde.NodeID, proto string, req []byte) ([]byte, error)
	// Choose returns which member should be the backup now, given which one is ("" for none).
	Choose func(current horde.NodeID) (horde.NodeID, bool)
	// Register tells the ledger of a backup that has everything.
	Register func(ctx context.Context, to horde.NodeID) error
	Rand     io.Reader
	Log      *slog.Logger
}

// A Copier keeps a backup up to date with what its home has. Its methods may be called
// concurrently, and before Run.
type Copier struct {
	cfg  CopierConfig
	kick chan struct{} // capacity 1: something is in line

	closed chan struct{} // what is not waited for

	unprotected atomic.Int64 // items that were not copied when their caller was answered

	mu      sync.Mutex
	open    bool      // what comes now is to be copied
	lagging bool      // the last try failed: nobody waits for this one
	line    []*parcel // not sent yet
	queued  int       // bytes in line
	next    *ticket   // of those in line that came last
	broken  error     // why this session cannot go on; nil: it can
}

// A parcel is an item in line.
type parcel struct {
	item
	plain []byte
	size  int
	t     *ticket
}

// A ticket is what callers wait for together.
type ticket struct {
	once sync.Once
	done chan struct{}
	left int // items in line; guarded by Copier.mu
	late atomic.Bool
}

func (t *ticket) close() { t.once.Do(func() { close(t.done) }) }

// NewCopier makes a Copier that has no backup yet.
func NewCopier(cfg CopierConfig) *Copier {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Copier{cfg: cfg, kick: make(chan struct{}, 1), closed: make(chan struct{})}
	close(c.closed)
	return c
}

// Keep copies an item of a request. The channel is closed when the backup has it, or when it
// should not be waited for any longer: there is no backup, or it does not answer in time.
func (c *Copier) Keep(id horde.RequestID, what string, data []byte, until time.Time) <-chan struct{} {
	if len(data) > maxOne {
		c.unprotected.Add(1)
		return c.closed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.open:
		c.unprotected.Add(1)
		return c.closed // a session that begins later brings it
	case c.queued+len(data) > maxQueued:
		c.stop(errFull)
		c.unprotected.Add(1)
		return c.closed
	}
	t := c.put(&parcel{item: item{ID: id.UUID, What: what, Until: until.Unix()}, plain: data, size: len(data) + 64})
	if c.lagging {
		c.unprotected.Add(1)
		return c.closed
	}
	return t.done
}

// Drop tells that nothing of a request is needed any more.
func (c *Copier) Drop(id horde.RequestID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open {
		c.put(&parcel{item: item{ID: id.UUID, Drop: true}, size: 64})
	}
}

// Unprotected counts the items that no backup had when they were acknowledged.
func (c *Copier) Unprotected() int64 { return c.unprotected.Load() }

// put adds to the line. c.mu is held.
func (c *Copier) put(x *parcel) *ticket {
	if c.next == nil {
		t := &ticket{done: make(chan struct{})}
		c.next = t
		time.AfterFunc(patience, func() { t.late.Store(true); t.close() })
	}
	x.t = c.next
	x.t.left++
	c.line = append(c.line, x)
	c.queued += x.size
	select {
	case c.kick <- struct{}{}:
	default:
	}
	return x.t
}

// stop ends the session: what is in line is given up, and who waits goes on. c.mu is held.
func (c *Copier) stop(why error) {
	if !c.open {
		return
	}
	c.open, c.broken = false, why
	for _, x := range c.line {
		x.t.close()
	}
	c.line, c.queued, c.next = nil, 0, nil
}

var (
	errFull    = errors.New("too much waits for the backup")
	errUnknown = errors.New("the backup does not know the session")
	errNoRoom  = errors.New("the backup has no room")
	errChanged = errors.New("the backup was replaced")
)

// Run keeps the backup until ctx is done; then it returns nil. While paused returns true there
// is none: what this home has is another's.
func (c *Copier) Run(ctx context.Context, home Home, paused func() bool) error {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	var current horde.NodeID
	var pause time.Duration
	for {
		to, ok := c.cfg.Choose(current)
		if ok && !paused() {
			current = to
			err := c.session(ctx, to, home, paused)
			if ctx.Err() != nil {
				return nil
			}
			c.cfg.Log.InfoContext(ctx, "no backup for the moment", "was", to, "err", err)
			pause = min(max(2*pause, time.Second), 10*time.Second)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		for wait := pause; wait > 0; wait -= lookEvery { // a backup that fails is not asked all the time
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
			}
		}
		pause = 0
	}
}

// session copies to one backup until it fails or another is chosen.
func (c *Copier) session(ctx context.Context, to horde.NodeID, home Home, paused func() bool) error {
	s, err := c.begin(ctx, to)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.open, c.lagging, c.broken = true, false, nil
	c.mu.Unlock()
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() {
		if err := c.everything(ctx, to, home); err != nil && ctx.Err() == nil {
			c.fail(err)
		}
	})
	work.Go(func() {
		t := time.NewTicker(lookEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if now, ok := c.cfg.Choose(to); !ok || now != to || paused() {
				c.fail(errChanged)
				return
			}
		}
	})
	err = c.send(ctx, s)
	c.fail(err)
	return err
}

func (c *Copier) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop(err)
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// A session is a content key that one backup knows.
type session struct {
	to  horde.NodeID
	id  horde.UUID
	box *box
}

// begin has the backup forget what it has of this home and agree on a key.
func (c *Copier) begin(ctx context.Context, to horde.NodeID) (*session, error) {
	res, err := c.call(ctx, to, &request{})
	if err != nil {
		return nil, err
	}
	id, content, err := newSession(c.cfg.Rand)
	if err != nil {
		return nil, err
	}
	sealed, err := sealKey(res.Public, c.cfg.Tag, id, content)
	if err != nil {
		return nil, err
	}
	b, err := newBox(c.cfg.Tag, content)
	if err != nil {
		return nil, err
	}
	if _, err := c.call(ctx, to, &request{Session: id, Begin: sealed}); err != nil {
		return nil, err
	}
	return &session{to: to, id: id, box: b}, nil
}

// everything copies what the home has, and then registers the backup.
func (c *Copier) everything(ctx context.Context, to horde.NodeID, home Home) error {
	began := time.Now()
	items := 0
	var last <-chan struct{}
	err := home.Copies(ctx, func(id horde.RequestID, what string, data []byte, until time.Time) bool {
		for ctx.Err() == nil {
			c.mu.Lock()
			if !c.open {
				c.mu.Unlock()
				return false
			}
			if c.queued < batchBytes { // leave room for what comes in meanwhile
				last = c.put(&parcel{item: item{ID: id.UUID, What: what, Until: until.Unix()}, plain: data, size: len(data) + 64}).done
				items++
				c.mu.Unlock()
				return true
			}
			wait := c.line[0].t.done
			c.mu.Unlock()
			select {
			case <-wait:
			case <-ctx.Done():
			}
			select { // a ticket that is late is closed before its items have gone
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		return false
	})
	if err != nil || ctx.Err() != nil {
		return err
	}
	if err := c.drain(ctx, last); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := c.cfg.Register(ctx, to); err == nil {
			c.cfg.Log.InfoContext(ctx, "requests are copied", "backup", to, "items", items, "after", time.Since(began).Round(time.Millisecond))
			return nil
		}
		select { // no quorum for the moment
		case <-time.After(lookEvery):
		case <-ctx.Done():
		}
	}
	return nil
}

// drain waits until what was in line has gone.
func (c *Copier) drain(ctx context.Context, last <-chan struct{}) error {
	for last != nil && ctx.Err() == nil {
		c.mu.Lock()
		empty, open := len(c.line) == 0, c.open
		c.mu.Unlock()
		if !open {
			return errChanged
		}
		if empty {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

// send empties the line, batch by batch, in order. It returns why it stopped.
func (c *Copier) send(ctx context.Context, s *session) error {
	var pause time.Duration
	for {
		batch, err := c.batch()
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-c.kick:
				continue
			}
		}
		switch err := c.deliver(ctx, s, batch); {
		case err == nil:
			c.sent(batch)
			pause = 0
			continue
		case errors.Is(err, errUnknown), errors.Is(err, errNoRoom), ctx.Err() != nil:
			return err
		default:
			c.cfg.Log.DebugContext(ctx, "copy not taken, trying again", "backup", s.to, "err", err)
		}
		c.mu.Lock()
		c.lagging = true
		c.mu.Unlock()
		pause = min(max(2*pause, firstPause), mostPause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// batch returns what is sent next; it stays in line until it is taken.
func (c *Copier) batch() ([]*parcel, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return nil, c.broken
	}
	size, n := 0, 0
	for n < len(c.line) && n < batchItems && (n == 0 || size+c.line[n].size <= batchBytes) {
		size += c.line[n].size
		n++
	}
	c.next = nil // who comes now waits for the next one
	return c.line[:n:n], nil
}

// sent takes a batch out of the line.
func (c *Copier) sent(batch []*parcel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lagging = false
	if !c.open {
		return
	}
	for _, x := range batch {
		c.queued -= x.size
		if x.t.left--; x.t.left == 0 {
			x.t.close()
		}
		if x.t.late.Load() {
			c.unprotected.Add(1)
		}
	}
	c.line = c.line[len(batch):]
	if len(c.line) == 0 {
		c.line = nil
	}
}

func (c *Copier) deliver(ctx context.Context, s *session, batch []*parcel) error {
	req := &request{Session: s.id, Items: make([]item, len(batch))}
	for i, x := range batch {
		req.Items[i] = x.item
		if !x.Drop {
			req.Items[i].Data = s.box.seal(x.ID, x.What, x.plain)
		}
	}
	res, err := c.call(ctx, s.to, req)
	switch {
	case err != nil:
		return err
	case res.Unknown:
		return errUnknown
	case res.Full:
		return errNoRoom
	}
	return nil
}

func (c *Copier) call(ctx context.Context, to horde.NodeID, req *request) (*response, error) {
	data, err := encode(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callFor)
	defer cancel()
	answer, err := c.cfg.Call(ctx, to, Proto, data)
	if err != nil {
		return nil, fmt.Errorf("copy to %s: %w", to, err)
	}
	return decode[response](answer)
}
