package exchange

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"hordenode/internal/horde"
)

const (
	// repairDelay is how long a gap may close by itself before the home is asked; as much
	// again is added at random, so that not all nodes ask at once.
	repairDelay = 300 * time.Millisecond
	// repairEvery is how often the repairer looks when nobody wakes it.
	repairEvery = 100 * time.Millisecond
	repairers   = 4
	syncBudget  = 3 * time.Second // for one page
	maxPages    = 2000
	maxBackoff  = 5 * time.Second
)

// repairSoon asks for a sync with f's home after a delay, with jitter if it is not 0.
// index.mu is held.
func (e *Exchange) repairSoon(f *feed, now time.Time, delay time.Duration) {
	if !f.repairAt.IsZero() {
		return
	}
	f.repairAt = now.Add(delay)
	if delay > 0 {
		f.repairAt = f.repairAt.Add(e.jitter(delay))
		return
	}
	e.wakeRepair()
}

func (e *Exchange) wakeRepair() {
	select {
	case e.repairs <- struct{}{}:
	default:
	}
}

// runRepair forgets silent homes and syncs with those whose offers are incomplete, until
// ctx is done.
func (e *Exchange) runRepair(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(repairers)
	ticker := time.NewTicker(repairEvery)
	defer ticker.Stop()
	swept := e.now()
	for {
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-e.repairs:
		case <-ticker.C:
		}
		now := e.now()
		if now.Sub(swept) >= time.Second {
			swept = now
			if n := e.index.sweep(now, e.tag, e.member); n > 0 {
				e.log.InfoContext(ctx, "offers of silent homes dropped", "offers", n)
			}
			e.live.sweep(now)
			e.claims.sweep(now)
			e.leaveIdle(now)
		}
		for _, f := range e.dueRepairs(now) {
			if !g.TryGo(func() error { e.repair(ctx, f); return nil }) {
				e.index.mu.Lock()
				f.repairing, f.repairAt = false, now
				e.index.mu.Unlock()
			}
		}
	}
}

// dueRepairs returns the feeds to sync now and marks them as being repaired.
func (e *Exchange) dueRepairs(now time.Time) []*feed {
	e.index.mu.Lock()
	defer e.index.mu.Unlock()
	var due []*feed
	for _, f := range e.index.feeds {
		if f.tag == e.tag || f.repairing || f.repairAt.IsZero() || now.Before(f.repairAt) {
			continue
		}
		f.repairAt = time.Time{}
		if e.index.complete(f) && !e.index.missed(f) {
			continue // what was missing came after all
		}
		f.repairing = true
		due = append(due, f)
	}
	return due
}

// repair syncs what is missing of a feed.
func (e *Exchange) repair(ctx context.Context, f *feed) {
	err := e.syncAll(ctx, f)
	now := e.now()
	e.index.mu.Lock()
	defer e.index.mu.Unlock()
	f.repairing = false
	if err == nil && !e.index.complete(f) {
		err = errRestart
	}
	if err == nil {
		f.failures = 0
		f.heard = now
		return
	}
	f.failures++
	backoff := min(time.Duration(f.failures)*500*time.Millisecond, maxBackoff)
	f.repairAt = now.Add(backoff + e.jitter(backoff))
	if ctx.Err() == nil {
		e.log.WarnContext(ctx, "sync failed", "node", f.node, "failures", f.failures, "err", err)
	}
}

func (e *Exchange) syncAll(ctx context.Context, f *feed) error {
	shards := e.Shards()
	for st := range streamCount(shards) {
		e.index.mu.RLock()
		need := false
		if e.index.shards == shards && e.index.follows(st) {
			s, b := &f.streams[st], f.beacon.state(st, shards)
			need = !s.synced || !s.seen.whole() || s.seen.low < b.Seq || s.seen.low == b.Seq && s.digest != b.Digest
		}
		e.index.mu.RUnlock()
		if need {
			if err := e.syncOffers(ctx, f, st, shards); err != nil {
				return err
			}
		}
	}
	e.index.mu.RLock()
	need := !f.workers
	e.index.mu.RUnlock()
	if need {
		return e.syncWorkers(ctx, f)
	}
	return nil
}

var (
	errExpired  = errors.New("snapshot expired")
	errRestart  = errors.New("the home has restarted")
	errTooLong  = errors.New("too many pages")
	errNoUpdate = errors.New("a page without progress")
)

// syncOffers makes the feed's offers of a stream what the home has told, page by page. What
// gossip brings meanwhile is newer and stays.
func (e *Exchange) syncOffers(ctx context.Context, f *feed, stream, shards int) error {
	kind := horde.Kind(kindOf(stream, shards))
	e.index.mu.Lock()
	s := &f.streams[kind]
	s.fresh = make(map[horde.RequestID]struct{})
	boot := f.boot
	e.index.mu.Unlock()
	defer func() {
		e.index.mu.Lock()
		f.streams[kind].fresh = nil
		e.index.mu.Unlock()
	}()

	have := make(map[horde.RequestID]struct{})
	req := syncRequest{Subject: int(kind)}
	if stream >= kinds {
		req.Stream, req.Shards = stream, shards
	}
	for range maxPages {
		res, offers, err := e.syncPage(ctx, f, req, kind)
		if err != nil {
			return err
		}
		if boot == 0 {
			boot = res.Boot
		}
		if res.Boot != boot || !e.takePage(f, kind, res.Boot, offers, have) {
			return errRestart
		}
		if !res.More {
			e.finishSync(f, stream, shards, res, have)
			return nil
		}
		if res.Next <= req.Offset || len(offers) == 0 {
			return errNoUpdate
		}
		req.Snapshot, req.Offset = res.Snapshot, res.Next
	}
	return errTooLong
}

func (e *Exchange) syncPage(ctx context.Context, f *feed, req syncRequest, kind horde.Kind) (*syncResponse, []horde.Offer, error) {
	res, err := e.callSync(ctx, f, req)
	if err != nil {
		return nil, nil, err
	}
	if res.Snapshot == 0 {
		return nil, nil, errExpired
	}
	offers := make([]horde.Offer, len(res.Offers))
	for i, raw := range res.Offers {
		o, err := decode[horde.Offer](raw)
		if err != nil {
			return nil, nil, err
		}
		if err := checkOffer(o, kind, e.keeping(f.node)); err != nil {
			return nil, nil, err
		}
		offers[i] = *o
	}
	return res, offers, nil
}

func (e *Exchange) callSync(ctx context.Context, f *feed, req syncRequest) (*syncResponse, error) {
	data, err := encode(&req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, syncBudget)
	defer cancel()
	answer, err := e.network.Call(ctx, f.node, ProtoSync, data)
	if err != nil {
		return nil, fmt.Errorf("sync with %s: %w", f.node, err)
	}
	if len(answer) > MaxSyncPage {
		return nil, fmt.Errorf("%w: page of %d bytes", errInvalid, len(answer))
	}
	return decode[syncResponse](answer)
}

// takePage puts a page's offers in and adds their ids to have. It returns false if the feed
// is of another boot by now.
func (e *Exchange) takePage(f *feed, kind horde.Kind, boot uint64, offers []horde.Offer, have map[horde.RequestID]struct{}) bool {
	now := e.now()
	e.index.mu.Lock()
	defer e.index.mu.Unlock()
	if e.index.feeds[f.tag] != f {
		return false // silent for so long that it was dropped
	}
	if f.boot != 0 && f.boot != boot {
		if boot > f.boot {
			e.index.rebooted(f, boot)
		}
		return false
	}
	f.boot = boot
	s := &f.streams[kind]
	for i := range offers {
		o := &offers[i]
		have[o.ID] = struct{}{}
		if m, ok := s.hidden[o.ID]; ok { // told again: perhaps it is open after all
			f.streams[e.index.stream(kind, o.ID)].digest ^= m.hash(o.ID)
			delete(s.hidden, o.ID)
			delete(e.index.sharded, o.ID)
		}
		_, touched := s.fresh[o.ID]
		if _, err := e.index.put(f, o, now); err != nil {
			e.log.Warn("offer not indexed", "from", f.node, "err", err)
			break
		}
		if !touched {
			delete(s.fresh, o.ID)
		}
	}
	return true
}

// finishSync takes out what the home has not told, and counts its batches as seen.
func (e *Exchange) finishSync(f *feed, stream, shards int, res *syncResponse, have map[horde.RequestID]struct{}) {
	kind := horde.Kind(kindOf(stream, shards))
	now := e.now()
	e.index.mu.Lock()
	defer e.index.mu.Unlock()
	if e.index.shards != shards {
		return // divided anew meanwhile
	}
	s := &f.streams[kind]
	if e.index.feeds[f.tag] != f || f.boot != res.Boot || s.fresh == nil {
		return // forgotten meanwhile: repair sees that it is not complete
	}
	var gone []closed
	for id, rev := range e.index.queues[kind].Home(f.tag) {
		_, told := have[id]
		_, fresh := s.fresh[id]
		if !told && !fresh && e.index.stream(kind, id) == stream {
			gone = append(gone, closed{ID: id, Rev: rev})
		}
	}
	for id, m := range s.hidden {
		if _, told := have[id]; !told && e.index.stream(kind, id) == stream {
			gone = append(gone, closed{ID: id, Rev: m.rev})
		}
	}
	for _, c := range gone {
		e.index.shut(f, kind, c, now)
	}
	f.streams[stream].seen.reach(res.Seq)
	f.streams[stream].synced = true
}

// syncWorkers learns all workers of the feed's home.
func (e *Exchange) syncWorkers(ctx context.Context, f *feed) error {
	req := syncRequest{Subject: subjectWorkers}
	for range maxPages {
		res, err := e.callSync(ctx, f, req)
		if err != nil {
			return err
		}
		now := e.now()
		for _, raw := range res.Workers {
			r, err := decode[workerRecord](raw)
			if err != nil {
				return err
			}
			if err := checkRecord(r); err != nil {
				return err
			}
			e.live.learn(r, now)
			req.After = r.ID
		}
		if !res.More {
			e.index.mu.Lock()
			f.workers = true
			e.index.mu.Unlock()
			return nil
		}
		if len(res.Workers) == 0 {
			return errNoUpdate
		}
	}
	return errTooLong
}
