package exchange

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/horde"
	"hordenode/node/jobs/match"
)

const (
	// debounce is how long after a check-in another one changes nothing that is stored.
	debounce = 30 * time.Second
	// rewardAfter is the uptime after which a worker is rewarded.
	rewardAfter = 600 * time.Second
	// maxSamples is how many jobs a worker's speed is the mean of.
	maxSamples = 20
	// idleFor is how long after a poll without work a worker counts as waiting for some.
	idleFor = 5 * time.Second
	// recordEvery and fullEvery are the least time between two records of a worker, and the
	// most between two with its capabilities.
	recordEvery = time.Second
	fullEvery   = 60 * time.Second
	// forgetAfter is how long a worker that is offline is kept in memory.
	forgetAfter = time.Hour
	maxWorkers  = 100_000
)

// live holds the workers of all nodes as they are now.
type live struct {
	self   horde.NodeID
	models Models

	mu      sync.RWMutex // guards all below
	workers map[horde.WorkerID]*worker
}

// worker is a live worker. What is stored of it changes with an effective check-in only.
type worker struct {
	id        horde.WorkerID
	kind      horde.Kind
	owner     horde.UserID
	caps      horde.Caps
	profile   *match.Profile // of caps
	checkedIn time.Time
	samples   samples
	rev       uint64
	node      horde.NodeID // that made rev: it tells the others

	unreported time.Duration // uptime not yet in the ledger
	clock      time.Duration // uptime since the last reward

	// of this node only
	popProfile *match.Profile // of what the last poll offered
	emptyAt    time.Time      // last poll here that found nothing; zero after a grant
	parked     int            // polls that wait here
	told       time.Time      // last record sent
	toldRev    uint64
	full       time.Time // last record sent with capabilities
	fullCaps   horde.Caps
}

// samples are the speeds of a worker's last jobs.
type samples struct {
	ring [maxSamples]float64
	n    int // in ring
	next int
}

func (s *samples) add(speed float64) {
	s.ring[s.next] = speed
	s.next = (s.next + 1) % maxSamples
	s.n = min(s.n+1, maxSamples)
}

// mean is 0 without samples.
func (s *samples) mean() float64 {
	if s.n == 0 {
		return 0
	}
	sum := 0.0
	for _, x := range s.ring[:s.n] {
		sum += x
	}
	return sum / float64(s.n)
}

// become makes the samples n times the given mean, as another node told them.
func (s *samples) become(mean float64, n int) {
	*s = samples{n: min(n, maxSamples)}
	for i := range s.n {
		s.ring[i] = mean
	}
	s.next = s.n % maxSamples
}

func newLive(self horde.NodeID, models Models) *live {
	return &live{self: self, models: models, workers: make(map[horde.WorkerID]*worker)}
}

// checkIn is what came of a check-in.
type checkIn struct {
	profile *match.Profile // to match with: what is stored, but the models of this call
	speed   float64
	report  *uptimeReport // uptime to tell the ledger of, nil if not yet
	fresh   bool          // the others do not know what the worker can do
}

// uptimeReport is uptime for the ledger.
type uptimeReport struct {
	seconds int64
	reward  bool       // a full interval
	caps    horde.Caps // that the reward is computed with: those before this check-in
}

// checkIn notes that a worker polled here. All that it said is stored, unless its last
// check-in was less than 30 s ago and it is older than that (spec/status.md section 5).
func (l *live) checkIn(w horde.Worker, caps horde.Caps, now time.Time) checkIn {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.workers[w.ID]
	if x == nil {
		if len(l.workers) >= maxWorkers {
			l.evict()
		}
		x = &worker{id: w.ID}
		l.workers[w.ID] = x
	}
	x.kind, x.owner = w.Kind, w.Owner
	var in checkIn
	since := now.Sub(x.checkedIn)
	if x.checkedIn.IsZero() || since >= debounce || now.Sub(w.Created) < debounce {
		in.report = x.accrue(w, since)
		in.fresh = x.checkedIn.IsZero() || since > horde.StaleAfter || !capsEqual(&x.caps, &caps)
		x.caps = caps
		x.profile = match.NewProfile(x.kind, caps, l.models)
		x.popProfile = x.profile
		x.checkedIn = now
		l.changed(x)
	} else if c := x.effective(caps); !sameCaps(x.popProfile, c) {
		x.popProfile = match.NewProfile(x.kind, *c, l.models)
	}
	in.profile, in.speed = x.popProfile, x.samples.mean()
	return in
}

// effective is what a poll is matched with between check-ins: what is stored, but its own
// models and what it asks of payers.
func (x *worker) effective(caps horde.Caps) *horde.Caps {
	c := x.caps
	c.Models, c.RequireUpfront = caps.Models, caps.RequireUpfront
	return &c
}

// sameCaps tells whether p was made of c, which differs from what is stored at most in what
// effective changes.
func sameCaps(p *match.Profile, c *horde.Caps) bool {
	if p == nil {
		return false
	}
	old := p.Caps()
	return old.RequireUpfront == c.RequireUpfront && slices.Equal(old.Models, c.Models)
}

// accrue counts the time since the last check-in as uptime, unless the worker was away, in
// maintenance or paused: then the interval begins anew.
func (x *worker) accrue(w horde.Worker, since time.Duration) *uptimeReport {
	if x.checkedIn.IsZero() || since > horde.StaleAfter || w.Paused || w.Maintenance {
		x.clock = 0
		return nil
	}
	x.unreported += since
	x.clock += since
	if x.clock <= rewardAfter {
		return nil
	}
	r := &uptimeReport{seconds: int64(x.unreported / time.Second), reward: true, caps: x.caps}
	x.unreported -= time.Duration(r.seconds) * time.Second
	x.clock = 0
	return r
}

// changed gives a worker its next revision, made here.
func (l *live) changed(x *worker) {
	x.rev++
	x.node = l.self
}

// evict makes room by forgetting the worker that checked in longest ago. l.mu is held.
func (l *live) evict() {
	var oldest *worker
	for _, x := range l.workers {
		if oldest == nil || x.checkedIn.Before(oldest.checkedIn) {
			oldest = x
		}
	}
	if oldest != nil {
		delete(l.workers, oldest.id)
	}
}

// polled notes whether a poll here found work.
func (l *live) polled(id horde.WorkerID, empty bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.workers[id]; x != nil {
		x.emptyAt = time.Time{}
		if empty {
			x.emptyAt = now
		}
	}
}

// sample adds the speed of a delivered job.
func (l *live) sample(id horde.WorkerID, speed float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.workers[id]; x != nil && speed > 0 {
		x.samples.add(speed)
		l.changed(x)
	}
}

// idle counts the workers that wait for work at this node, by kind.
func (l *live) idle(now time.Time) (n [kinds]int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, x := range l.workers {
		if int(x.kind) < kinds && x.waits(now) {
			n[x.kind]++
		}
	}
	return n
}

func (x *worker) waits(now time.Time) bool {
	return x.parked > 0 || !x.emptyAt.IsZero() && now.Sub(x.emptyAt) <= idleFor
}

// learn takes in what another node tells of a worker, unless we know something newer.
func (l *live) learn(r *workerRecord, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.workers[r.ID]
	switch {
	case x == nil && (r.Light || len(l.workers) >= maxWorkers):
		return // its next full record will do
	case x == nil:
		x = &worker{id: r.ID}
		l.workers[r.ID] = x
	case r.Rev < x.rev || r.Rev == x.rev && r.By <= x.node:
		return
	}
	x.rev, x.node = r.Rev, r.By
	x.kind, x.owner = r.Kind, r.Owner
	if at := now.Add(-min(time.Duration(r.AgeMillis)*time.Millisecond, forgetAfter)); at.After(x.checkedIn) {
		x.checkedIn = at
	}
	x.unreported = time.Duration(r.Unreported) * time.Millisecond
	x.clock = time.Duration(r.Clock) * time.Millisecond
	if r.Samples != x.samples.n || r.Speed != x.samples.mean() {
		x.samples.become(r.Speed, r.Samples)
	}
	if !r.Light {
		x.caps = r.Caps
		x.profile = match.NewProfile(x.kind, x.caps, l.models)
		x.popProfile = x.profile
	}
}

// record is what to tell others of a worker.
func (x *worker) record(now time.Time, light bool) ([]byte, error) {
	r := workerRecord{
		LiveWorker: x.live(now),
		Rev:        x.rev,
		Samples:    x.samples.n,
		Unreported: x.unreported.Milliseconds(),
		Clock:      x.clock.Milliseconds(),
		Light:      light,
		By:         x.node,
	}
	if light {
		r.Caps = horde.Caps{}
	}
	return encode(&r)
}

func (x *worker) live(now time.Time) horde.LiveWorker {
	return horde.LiveWorker{
		ID: x.id, Kind: x.kind, Owner: x.owner, Caps: x.caps, Speed: x.samples.mean(),
		CheckedIn: x.checkedIn, AgeMillis: max(now.Sub(x.checkedIn).Milliseconds(), 0),
	}
}

func (x *worker) online(now time.Time) bool { return now.Sub(x.checkedIn) <= horde.StaleAfter }

// due returns the records to publish now: of the workers that this node changed, at most
// one a second each, with all their capabilities if those changed or it is time.
func (l *live) due(now time.Time) ([]cbor.RawMessage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []cbor.RawMessage
	for _, x := range l.workers {
		if x.node != l.self || !x.online(now) || now.Sub(x.told) < recordEvery {
			continue
		}
		light := now.Sub(x.full) < fullEvery && capsEqual(&x.fullCaps, &x.caps)
		if light && x.toldRev == x.rev {
			continue
		}
		raw, err := x.record(now, light)
		if err != nil {
			return nil, err
		}
		x.told, x.toldRev = now, x.rev
		if !light {
			x.full, x.fullCaps = now, x.caps
		}
		if len(raw) <= maxBatchBytes {
			due = append(due, raw)
		}
	}
	return due, nil
}

func capsEqual(a, b *horde.Caps) bool {
	return a.BridgeAgent == b.BridgeAgent && slices.Equal(a.Models, b.Models) && a.NSFW == b.NSFW &&
		a.Threads == b.Threads && slices.Equal(a.Blacklist, b.Blacklist) && a.MaxPixels == b.MaxPixels &&
		a.Img2Img == b.Img2Img && a.Painting == b.Painting && a.UnsafeIP == b.UnsafeIP &&
		a.PostProcessing == b.PostProcessing && a.ControlNet == b.ControlNet &&
		a.SDXLControlNet == b.SDXLControlNet && a.LoRA == b.LoRA && a.LimitMaxSteps == b.LimitMaxSteps &&
		a.ExtraSlow == b.ExtraSlow && a.RequireUpfront == b.RequireUpfront && a.MaxLength == b.MaxLength &&
		a.MaxContextLength == b.MaxContextLength && slices.Equal(a.SoftPrompts, b.SoftPrompts) && a.MaxTiles == b.MaxTiles
}

// page returns the full records of the online workers of all nodes after the given id, in
// the order of ids, and whether there are more. So a node that restarts learns again what
// it knew of its own workers.
func (l *live) page(after horde.WorkerID, now time.Time) (page []cbor.RawMessage, more bool, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var online []*worker
	for _, x := range l.workers {
		if x.online(now) && bytes.Compare(x.id.UUID[:], after.UUID[:]) > 0 {
			online = append(online, x)
		}
	}
	slices.SortFunc(online, func(a, b *worker) int { return bytes.Compare(a.id.UUID[:], b.id.UUID[:]) })
	size := 0
	for _, x := range online {
		raw, err := x.record(now, false)
		if err != nil {
			return nil, false, err
		}
		if size += len(raw); len(page) > 0 && (size > MaxSyncPage-4<<10 || len(page) >= maxPage) {
			return page, true, nil
		}
		page = append(page, raw)
	}
	return page, false, nil
}

// sweep forgets workers that have been away for long.
func (l *live) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, x := range l.workers {
		if now.Sub(x.checkedIn) > forgetAfter {
			delete(l.workers, id)
		}
	}
}

// get returns a worker.
func (l *live) get(id horde.WorkerID, now time.Time) (horde.LiveWorker, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	x := l.workers[id]
	if x == nil {
		return horde.LiveWorker{}, false
	}
	return x.live(now), true
}

// all returns all workers that are known, those that are offline included.
func (l *live) all(now time.Time) []horde.LiveWorker {
	l.mu.RLock()
	defer l.mu.RUnlock()
	all := make([]horde.LiveWorker, 0, len(l.workers))
	for _, x := range l.workers {
		all = append(all, x.live(now))
	}
	return all
}

// each calls f for every worker of a kind that is online until f returns false. f must not
// change the worker nor call l.
func (l *live) each(kind horde.Kind, now time.Time, f func(x *worker) bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, x := range l.workers {
		if x.kind == kind && x.online(now) && !f(x) {
			return
		}
	}
}
