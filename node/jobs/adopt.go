package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// A home that takes over another's requests keeps them as its own, under their old ids: what
// is done stays done, what workers are at stays theirs, and the rest is offered again
// (docs/decisions/0022-takeover.md).

// adoptedRev is where the revisions of adopted requests begin, above all that their home told.
const adoptedRev = 1 << 28

// Adopted says what the ledger knows of a request that is to be adopted.
type Adopted struct {
	Held bool   // its hold is open
	Item uint64 // the last of its home's outbox that the ledger has
}

// ErrOver means that a request ended at its home before it could be adopted: nothing is left
// to do about it.
var ErrOver = errors.New("the request is over")

// ErrCopies means that what was given to Adopt are not copies of a request.
var ErrCopies = errors.New("damaged copies")

// Adopt takes over a request of another home from its copies; one that is here already gets
// what it lacks: results that came in at its home. Blobs are put where results are looked for.
// It returns ErrOver or ErrCopies where trying again is of no use.
func (h *Home) Adopt(ctx context.Context, id horde.RequestID, items map[string][]byte, know Adopted) error {
	a, err := readCopies(id, items)
	if err != nil {
		return fmt.Errorf("adopt %s: %w", id, err)
	}
	if err := h.adoptBlobs(ctx, a.blobs); err != nil {
		return fmt.Errorf("adopt %s: %w", id, err)
	}
	for {
		if r, ok := h.request(id); ok {
			return h.merge(r, a)
		}
		if taken, err := h.adoptNew(ctx, id, a, know); !taken {
			return err
		}
	}
}

// adoptNew makes a request that is not here of its copies. taken tells that another call was
// faster, and nothing was done.
func (h *Home) adoptNew(ctx context.Context, id horde.RequestID, a *copySet, know Adopted) (taken bool, err error) {
	if a.request == nil {
		return false, ErrOver // blobs or results of a request that was never copied, or is gone
	}
	q := &a.request.Request
	admitted := know.Item >= a.request.Item || q.Quote.Upfront > 0
	if !know.Held && admitted && a.end == nil && q.Slots > 0 {
		return false, ErrOver // it was finished, or its hold has expired
	}

	r := newRequest(q)
	r.rev = adoptedRev
	r.expiry = h.now().Add(expireAfter)
	var o op
	if !know.Held && !admitted && q.Slots > 0 {
		o.out = append(o.out, h.ledger.EncodeAdmission(admissionOf(q)))
	}
	pieces, body := long(idKey(keyBody, id.UUID), id.UUID, bodyRecord{Body: q.Body, Search: q.Search})
	meta := *q
	meta.Body, meta.Search = nil, ""
	r.chunks = uint16(len(pieces))
	o.pieces = pieces
	o.puts = []entry{encode(idKey(keyRequest, id.UUID), meta), body}
	r.shape = h.shapes.take(&q.Shape)

	r.mu.Lock()
	if !h.add(r) {
		r.mu.Unlock()
		h.shapes.drop(r.shape)
		return true, nil
	}
	if a.end != nil {
		r.cancelled, r.withdrawn, r.faulted = a.end.Cancelled, a.end.Withdrawn, a.end.Faulted
	}
	if !know.Held && admitted {
		r.closed = true // nothing is left to pay or to finish
	}
	h.fill(r, a, &o)
	if a.end != nil {
		h.copyEnd(r)
	}
	saved, offer := h.save(r, o, h.now())
	r.mu.Unlock()
	if err := saved.wait(); err != nil {
		return false, fmt.Errorf("adopt %s: %w", id, err)
	}
	h.tell(offer)
	h.copyRequest(ctx, r, q, saved) // to this home's own backup
	return false, nil
}

// copies of one request, read.
type copySet struct {
	request *copiedRequest
	end     *copiedEnd
	jobs    []jobRecord
	results []copiedResult
	blobs   map[string][]byte
}

func readCopies(id horde.RequestID, items map[string][]byte) (*copySet, error) {
	a := &copySet{blobs: map[string][]byte{}}
	for what, data := range items {
		var err error
		switch {
		case what == itemRequest:
			a.request = new(copiedRequest)
			err = decMode.Unmarshal(data, a.request)
		case what == itemEnd:
			a.end = new(copiedEnd)
			err = decMode.Unmarshal(data, a.end)
		case strings.HasPrefix(what, itemJob):
			var rec jobRecord
			err = decMode.Unmarshal(data, &rec)
			a.jobs = append(a.jobs, rec)
		case strings.HasPrefix(what, itemResult):
			var c copiedResult
			err = decMode.Unmarshal(data, &c)
			if s := c.Settlement; err == nil && (s.Request != id || s.Job != c.Job.ID || s.Slot != int(c.Job.Slot)) {
				err = errDamaged // of another request or job
			}
			a.results = append(a.results, c)
		case strings.HasPrefix(what, itemBlob):
			a.blobs[strings.TrimPrefix(what, itemBlob)] = data
		default:
			err = errDamaged
		}
		if err != nil {
			return nil, fmt.Errorf("%w: item %q: %w", ErrCopies, what, err)
		}
	}
	if q := a.request; q != nil && (q.Request.ID != id || !slotsFit(&q.Request)) {
		return nil, fmt.Errorf("%w: request: %w", ErrCopies, errDamaged)
	}
	return a, nil
}

// adoptBlobs stores images; results of the same jobs are shown only afterwards.
func (h *Home) adoptBlobs(ctx context.Context, blobs map[string][]byte) error {
	for name, data := range blobs {
		if h.blobs == nil {
			break
		}
		if err := h.blobs.Put(ctx, name, data); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
	}
	return nil
}

// merge adds what a request that is here lacks.
func (h *Home) merge(r *request, a *copySet) error {
	var o op
	r.mu.Lock()
	if r.deleted {
		r.mu.Unlock()
		return ErrOver
	}
	cancel := a.end != nil && a.end.Cancelled && !r.cancelled && !r.ended()
	if cancel {
		r.cancel()
		r.withdrawn = a.end.Withdrawn
		h.copyEnd(r)
	}
	if !h.fill(r, a, &o) && !cancel {
		saved := r.last
		r.mu.Unlock()
		return saved.wait() // what is here already may have come by another call just now
	}
	r.extend(h.now().Add(expireAfter))
	saved, offer := h.save(r, o, h.now())
	r.mu.Unlock()
	h.tell(offer)
	if err := saved.wait(); err != nil {
		return fmt.Errorf("adopt results of %s: %w", r.id, err)
	}
	return nil
}

// fill gives the slots of r their results and running jobs, and tells whether it lacked any.
// Where r is closed already, nothing is paid and nobody begins or goes on. r.mu is held, and
// h.mu is not.
func (h *Home) fill(r *request, a *copySet, o *op) (grew bool) {
	now := h.now()
	for i := range a.results {
		c := &a.results[i]
		h.yieldSlot(r, c.Job, o)
		j, lease := h.takeSlot(r, c.Job, now)
		if j == nil {
			continue
		}
		lease.job = j
		rec := c.Job
		rec.State = jobDone
		j.state = jobDone
		r.finished++
		r.consumed += c.Settlement.Debit
		pieces, main := long(idKey(keyResult, j.id.UUID), j.id.UUID, c.Result)
		j.chunks = uint16(len(pieces))
		o.pieces = append(o.pieces, pieces...)
		o.puts = append(o.puts, main, encode(jobKey(r.id, j.id), rec))
		if !r.closed {
			o.out = append(o.out, h.ledger.EncodeSettlement(c.Settlement)) // refused if it is paid already
		}
		h.keepItem(r, itemResult+rec.ID.String(), *c)
		grew = true
	}
	for _, rec := range a.jobs {
		if rec.State != jobRunning || r.closed {
			continue
		}
		j, lease := h.takeSlot(r, rec, now)
		if j == nil {
			continue
		}
		lease.job = j
		r.running++
		o.puts = append(o.puts, encode(jobKey(r.id, j.id), j.record()))
		r.extend(j.until.Add(leaseGrace))
		h.copyJob(r, j)
		grew = true
	}
	if r.closed && r.running == 0 && r.finished < r.slots && !r.cancelled {
		r.faulted = true // results were lost, and what is done again would not be paid
	}
	r.open = 0
	for i := range r.leases {
		if r.isOpen(i) {
			r.open++
		}
	}
	return grew
}

// keepItem has the backup keep what this home adopted. r.mu is held.
func (h *Home) keepItem(r *request, what string, v any) {
	if h.backup != nil {
		h.backup.Keep(r.id, what, marshal(v), r.keepUntil())
	}
}

// yieldSlot takes a slot from the job that runs here if the other home has the result of another
// one: that is paid already, or will be first. Nobody is blamed. r.mu is held.
func (h *Home) yieldSlot(r *request, rec jobRecord, o *op) {
	if rec.Fake || int(rec.Slot) >= len(r.leases) {
		return
	}
	if old := r.leases[rec.Slot].job; old != nil && old.id != rec.ID && old.state == jobRunning {
		old.excused = true
		r.lapse(old)
		o.puts = append(o.puts, encode(jobKey(r.id, old.id), old.record()))
	}
}

// takeSlot makes a job of a record if its slot is free, or if a result comes for a job that
// runs here. r.mu is held.
func (h *Home) takeSlot(r *request, rec jobRecord, now time.Time) (*job, *lease) {
	if rec.Fake || int(rec.Slot) >= len(r.leases) {
		return nil, nil
	}
	lease := &r.leases[rec.Slot]
	if old := lease.job; old != nil {
		if old.id != rec.ID || old.state != jobRunning || rec.State == jobRunning {
			return nil, nil
		}
		r.running-- // it was delivered at its home
		return old, lease
	}
	j := rec.job(r, now)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs[j.id] != nil {
		return nil, nil // of another request: the copies are not what they should be
	}
	h.jobs[j.id] = j
	lease.gen = max(lease.gen, j.gen)
	r.jobs = append(r.jobs, j)
	return j, lease
}

// Surrender hands the requests that another home has taken over to it, one by one, and
// forgets them without a Finish. It stops at the first that give does not take.
func (h *Home) Surrender(ctx context.Context, give func(ctx context.Context, id horde.RequestID, items map[string][]byte) error) error {
	if err := h.awaitRead(ctx); err != nil {
		return fmt.Errorf("surrender: %w", err)
	}
	for _, r := range h.all() {
		list, err := h.copies(r)
		if err != nil {
			return fmt.Errorf("surrender %s: %w", r.id, err)
		}
		items := map[string][]byte{}
		for _, x := range list {
			items[x.what] = x.data
		}
		if len(items) > 0 {
			if err := give(ctx, r.id, items); err != nil {
				return fmt.Errorf("surrender %s: %w", r.id, err)
			}
		}
		if err := h.release(ctx, r); err != nil {
			return fmt.Errorf("surrender %s: %w", r.id, err)
		}
	}
	return nil
}

// release forgets a request that is another home's now.
func (h *Home) release(ctx context.Context, r *request) error {
	r.mu.Lock()
	if r.deleted {
		r.mu.Unlock()
		return nil
	}
	r.closed = true // no Finish: it goes on elsewhere
	gone := h.expire(r, h.now())
	r.mu.Unlock()
	h.tell(gone.offer)
	if err := gone.saved.wait(); err != nil {
		return err
	}
	h.deleteBlobs(ctx, gone.blobs)
	return nil
}
