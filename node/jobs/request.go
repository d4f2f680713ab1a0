package jobs

import (
	"math"
	"sync"
	"time"
	"unique"

	"hordenode/internal/horde"
)

// A request is the part of a request that is kept in memory: no prompt, no result. What
// stands before mu never changes.
type request struct {
	id       horde.RequestID
	payer    horde.UserID
	shape    *horde.Shape               // shared by all requests of the same shape
	quote    unique.Handle[horde.Quote] // likewise: few differ
	forms    []horde.Form               // by slot; alchemy only
	priority int64
	things   int64
	created  int64 // Unix milliseconds
	ttl      int32 // seconds
	slots    int16
	chunks   uint16 // of a body that is too long for one record
	kind     horde.Kind
	noBatch  bool
	notify   bool // the listener hears of results

	before, after *request // of the same payer; guarded by Home.mu

	mu        sync.Mutex // guards what follows
	leases    []lease    // by slot
	jobs      []*job     // all that there ever were
	expiry    time.Time
	consumed  horde.Kudos // tax included
	open      int16       // slots that nobody has; 0 once cancelled or faulted
	running   int16       // real jobs handed out and not ended
	finished  int16       // slots delivered
	faults    int16       // real jobs that were aborted or given up
	rev       uint32
	cancelled bool
	withdrawn bool // cancelled by maintenance, not by its client
	faulted   bool
	closed    bool   // its Finish is in the outbox
	deleted   bool   // no longer in Home's maps
	last      *batch // of the newest change; what it brought is visible once it is done

	countedOpen, countedRunning int16 // as they are in the counters

	pos int32         // place in the timers' heap, -1 = not in it; guarded by timers.mu
	due time.Duration // likewise; since timers.start
}

// A lease is what a slot remembers: how often it was handed out, and to which job it
// belongs. nil means open, or never to be handed out again.
type lease struct {
	gen uint32
	job *job
}

// A job is one slot handed to one worker. state and until are guarded by r.mu.
type job struct {
	id     horde.JobID
	r      *request
	worker horde.WorkerID
	owner  horde.UserID
	name   unique.Handle[string] // of the worker
	model  unique.Handle[string]
	bridge unique.Handle[string]
	start  time.Time
	until  time.Time // after it the job is stale; start plus ttl but after a restart of the node
	ttl    int       // seconds
	rate   float32   // things per second that the worker is known to make, or thought to
	gen    uint32
	slot   uint16
	chunks uint16 // of a result that is too long for one record
	state  jobState
	fake   bool // a decoy: holds no slot and moves nothing

	excused bool // its lease ended while members were cut off; guarded by r.mu
}

type jobState uint8

// The states of a job. The values are stored: never renumber.
const (
	jobRunning jobState = iota
	jobDone
	jobFaulted
	jobCancelled // a form: settled without a result
)

// newRequest returns q as it is when it is accepted. The caller sets shape.
func newRequest(q *horde.Request) *request {
	return &request{
		id: q.ID, payer: q.Payer, quote: unique.Make(q.Quote), priority: q.Priority, things: q.Things,
		created: q.Created.UnixMilli(), ttl: int32(q.TTL), slots: int16(q.Slots), kind: q.Kind, noBatch: q.NoBatch, notify: q.Notify,
		forms: q.Forms, closed: q.Slots == 0,
		leases: make([]lease, q.Slots), open: int16(q.Slots),
		expiry: q.Created.Add(expireAfter), consumed: q.Quote.Tax,
		pos: -1,
	}
}

// view returns what matchers and pricers see.
func (r *request) view() *horde.Request {
	return &horde.Request{
		ID: r.id, Kind: r.kind, Payer: r.payer, Slots: int(r.slots), Shape: *r.shape, Quote: r.quote.Value(),
		Priority: r.priority, Things: r.things, TTL: int(r.ttl), NoBatch: r.noBatch, Created: time.UnixMilli(r.created),
		Forms: r.forms,
	}
}

// offer returns what others are told. r.mu is held.
func (r *request) offer(now time.Time) horde.Offer {
	return horde.Offer{
		ID: r.id, Rev: r.rev, Open: int(r.open), Shape: r.offered(), Payer: r.payer, Priority: r.priority,
		AgeMS: max(0, now.UnixMilli()-r.created), Things: r.things, Job: r.quote.Value().Job, Running: int(r.running),
	}
}

// tricked tells whether the worker was given a decoy of r. r.mu is held.
func (r *request) tricked(w horde.WorkerID) bool {
	for _, j := range r.jobs {
		if j.fake && j.worker == w {
			return true
		}
	}
	return false
}

// take leases an open slot to j. r.mu is held.
func (r *request) take(j *job, slot int) {
	l := &r.leases[slot]
	l.gen++
	l.job = j
	j.slot, j.gen = uint16(slot), l.gen
	r.jobs = append(r.jobs, j)
	r.open--
	r.running++
}

// deliver ends j with a result. r.mu is held and j is running and real.
func (r *request) deliver(j *job) {
	j.state = jobDone
	r.running--
	r.finished++
}

// fault ends j without a result and opens its slot again, unless that was one fault too many
// (of the request; of the slot alone if it is a form) or the request was cancelled. r.mu is
// held and j is running and real.
func (r *request) fault(j *job) {
	j.state = jobFaulted
	r.running--
	r.faults++
	r.leases[j.slot].job = nil
	if r.kind != horde.KindAlchemy && r.faults >= maxFaults && !r.faulted {
		r.faulted = true
		r.open = 0
	}
	if r.isOpen(int(j.slot)) {
		r.open++
	}
}

// cancel closes the open slots. r.mu is held.
func (r *request) cancel() {
	r.cancelled = true
	r.open = 0
}

// ended tells whether nothing can be settled any more. r.mu is held.
func (r *request) ended() bool { return r.open == 0 && r.running == 0 }

// done is what clients wait for. A cancelled text never becomes done, nor does what
// maintenance withdrew, as in the reference;
// a job that is still running is never hidden by done, unlike there (spec/image.md section
// 4.4). r.mu is held.
func (r *request) done() bool {
	return r.ended() && (r.faulted || r.finished >= r.slots || r.cancelled && !r.withdrawn && r.kind != horde.KindText)
}

// status returns all but what needs a look at the disk or at other nodes. r.mu is held.
func (r *request) status(now time.Time) horde.Status {
	return horde.Status{
		Kind: r.kind, Finished: int(r.finished), Processing: int(r.running), Restarted: int(r.faults), Waiting: int(r.open),
		Done: r.done(), Faulted: r.faulted, Kudos: r.consumed, WaitTime: r.remaining(now),
		Forms: r.formStatus(),
	}
}

// remaining returns how many seconds the slowest running job should still need (spec/image.md
// section 6.3). r.mu is held.
func (r *request) remaining(now time.Time) int {
	most := 0.0
	for _, j := range r.jobs {
		if j.state == jobRunning && !j.fake {
			most = max(most, float64(r.things)/float64(j.rate)-now.Sub(j.start).Seconds())
		}
	}
	return int(math.Round(min(most, 1e6)))
}

// rateOf is the speed that a worker counts with: before its first job a new image worker is
// thought to be fast and a new text worker slow. Alchemists count seconds for a form.
func rateOf(kind horde.Kind, speed float64) float32 {
	switch {
	case kind == horde.KindAlchemy && speed > 0:
		return float32(1 / speed)
	case speed > 0:
		return float32(speed)
	case kind == horde.KindImage:
		return 1_000_000
	}
	return 1
}

// extend moves the expiry to at least t. r.mu is held.
func (r *request) extend(t time.Time) {
	if t.After(r.expiry) {
		r.expiry = t
	}
}

// next returns when something is due for r by itself. r.mu is held.
func (r *request) next() time.Time {
	t := r.expiry
	for _, j := range r.jobs {
		if j.state == jobRunning && j.until.Before(t) {
			t = j.until
		}
	}
	return t
}
