package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"hordenode/internal/horde"
)

// Backup keeps copies of requests at another member. *standby.Copier implements it.
type Backup interface {
	// Keep copies an item about a request; what names it. The channel is closed once it is
	// there, or should not be waited for any longer. Keep must not block.
	Keep(id horde.RequestID, what string, data []byte, until time.Time) <-chan struct{}
	// Drop tells that nothing of the request is needed any more. It must not block.
	Drop(id horde.RequestID)
}

// What copies are called. A job's id follows itemJob and itemResult, a blob's name itemBlob.
const (
	itemRequest = "r"
	itemEnd     = "s"
	itemJob     = "j"
	itemResult  = "g"
	itemBlob    = "b"
)

// copiedRequest is all of a request that never changes.
type copiedRequest struct {
	Request horde.Request `cbor:"1,keyasint"`
	// Item is a number of this home's outbox that is not below that of the request's
	// Admission: once the ledger has come so far, the request was admitted. Nor is it above
	// what was told right after the request's newest change, or a request that the ledger has
	// closed would seem not to be admitted yet, and be paid twice.
	Item uint64 `cbor:"2,keyasint,omitempty"`
}

// copiedEnd is why nothing more of a request is handed out; all false: it is done.
type copiedEnd struct {
	Cancelled bool `cbor:"1,keyasint,omitempty"`
	Withdrawn bool `cbor:"2,keyasint,omitempty"`
	Faulted   bool `cbor:"3,keyasint,omitempty"`
}

// copiedResult is a job that was delivered.
type copiedResult struct {
	Job        jobRecord        `cbor:"1,keyasint"`
	Result     horde.Generation `cbor:"2,keyasint"`
	Settlement horde.Settlement `cbor:"3,keyasint"`
}

// copyLife is how long a copy is kept at most: the ledger has released the request's hold.
const copyLife = 48 * time.Hour

// keepUntil is when a copy may go in any case: the ledger has released the request's hold.
func (r *request) keepUntil() time.Time { return time.UnixMilli(r.created).Add(copyLife) }

// copyRequest has the backup keep a request that is durable here with saved, and waits for it.
func (h *Home) copyRequest(ctx context.Context, r *request, q *horde.Request, saved *batch) {
	if h.backup == nil {
		return
	}
	data := marshal(copiedRequest{Request: *q, Item: h.store.itemAt(saved)})
	wait(ctx, h.backup.Keep(r.id, itemRequest, data, r.keepUntil()))
}

// copyResult does the same for a result.
func (h *Home) copyResult(r *request, rec jobRecord, g horde.Generation, s horde.Settlement) {
	if h.backup == nil {
		return
	}
	data := marshal(copiedResult{Job: rec, Result: g, Settlement: s})
	wait(context.Background(), h.backup.Keep(r.id, itemResult+rec.ID.String(), data, r.keepUntil()))
}

// copyJob tells the backup of a job that was handed out, or has ended without a result. r.mu
// is held.
func (h *Home) copyJob(r *request, j *job) {
	if h.backup != nil && !j.fake {
		h.backup.Keep(r.id, itemJob+j.id.String(), marshal(j.record()), r.keepUntil())
	}
}

// copyEnd tells the backup that nothing more of a request is handed out. r.mu is held.
func (h *Home) copyEnd(r *request) {
	if h.backup != nil {
		h.backup.Keep(r.id, itemEnd, marshal(copiedEnd{Cancelled: r.cancelled, Withdrawn: r.withdrawn, Faulted: r.faulted}), r.keepUntil())
	}
}

// CopyBlob has the backup keep a blob of a request or of one of its jobs.
func (h *Home) CopyBlob(id horde.UUID, name string, data []byte) {
	if h.backup == nil {
		return
	}
	of := horde.RequestID{UUID: id}
	if j, ok := h.job(horde.JobID{UUID: id}); ok {
		of = j.r.id
	}
	h.backup.Keep(of, itemBlob+name, data, h.now().Add(copyLife))
}

func wait(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Copies calls keep with all that a backup should have of this home's requests but their
// blobs, until keep returns false.
func (h *Home) Copies(ctx context.Context, keep func(id horde.RequestID, what string, data []byte, until time.Time) bool) error {
	if err := h.awaitRead(ctx); err != nil {
		return fmt.Errorf("copy requests: %w", err)
	}
	for _, r := range h.all() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		items, err := h.copies(r)
		if err != nil {
			return fmt.Errorf("copy request %s: %w", r.id, err)
		}
		for _, x := range items {
			if !keep(r.id, x.what, x.data, r.keepUntil()) {
				return nil
			}
		}
	}
	return nil
}

type copied struct {
	what string
	data []byte
}

// copies reads what is to be copied of one request; nothing if it has gone meanwhile. What is
// damaged on disk cannot be copied and is left out.
func (h *Home) copies(r *request) ([]copied, error) {
	r.mu.Lock()
	if r.deleted {
		r.mu.Unlock()
		return nil, nil
	}
	saved := r.last
	end := copiedEnd{Cancelled: r.cancelled, Withdrawn: r.withdrawn, Faulted: r.faulted}
	over := r.closed || r.cancelled || r.faulted
	var running, done []*job
	for _, j := range r.jobs {
		switch {
		case j.fake:
		case j.state == jobRunning:
			running = append(running, j)
		case j.state == jobDone:
			done = append(done, j)
		}
	}
	items := make([]copied, 0, 2+len(running)+len(done))
	for _, j := range running {
		items = append(items, copied{itemJob + j.id.String(), marshal(j.record())})
	}
	r.mu.Unlock()
	if err := saved.wait(); err != nil {
		return nil, err
	}
	q, err := h.readRequest(r.id)
	if err != nil {
		return nil, ignoreDamage(err)
	}
	items = append(items, copied{itemRequest, marshal(copiedRequest{Request: q, Item: h.store.itemAt(saved)})})
	if over {
		items = append(items, copied{itemEnd, marshal(end)})
	}
	for _, j := range done {
		c, err := h.readResult(r, j)
		if ignoreDamage(err) != nil {
			return nil, err
		}
		if err == nil {
			items = append(items, copied{itemResult + j.id.String(), marshal(c)})
		}
	}
	return items, nil
}

// readRequest reads a request as it was accepted.
func (h *Home) readRequest(id horde.RequestID) (q horde.Request, err error) {
	if err := h.store.get(idKey(keyRequest, id.UUID), &q); err != nil {
		return q, err
	}
	var body bodyRecord
	if err := h.store.getLong(idKey(keyBody, id.UUID), id.UUID, &body); err != nil {
		return q, err
	}
	q.Body, q.Search = body.Body, body.Search
	return q, nil
}

// readResult reads a result, with the settlement that it was paid by.
func (h *Home) readResult(r *request, j *job) (c copiedResult, err error) {
	if err := h.store.get(jobKey(r.id, j.id), &c.Job); err != nil {
		return c, err
	}
	if err := h.store.getLong(idKey(keyResult, j.id.UUID), j.id.UUID, &c.Result); err != nil {
		return c, err
	}
	owner, _ := h.ledger.User(j.owner)
	price := h.pricer.Price(r.view(), j.model.Value(), j.bridge.Value(), owner.Is(horde.RoleTrusted), c.Result.Result, c.Result.Censored)
	c.Settlement = horde.Settlement{
		Request: r.id, Slot: int(j.slot), Job: j.id, Worker: j.worker,
		Debit: price.Debit, Credit: price.Credit, Things: r.things, Censored: c.Result.Censored,
	}
	return c, nil
}

func ignoreDamage(err error) error {
	if errors.Is(err, badger.ErrKeyNotFound) || errors.Is(err, errDamaged) {
		return nil
	}
	return err
}

// HandoverRank orders items for those who get them in several messages: blobs, then what makes
// the request, then results, which may come later.
func HandoverRank(what string) int {
	switch {
	case strings.HasPrefix(what, itemBlob):
		return 0
	case strings.HasPrefix(what, itemResult):
		return 2
	}
	return 1
}

// BlobItem is what the copy of a blob is called.
func BlobItem(name string) string { return itemBlob + name }

// BlobOwner tells whose blobs belong to an item: the request's own, or a delivered job's.
func BlobOwner(id horde.RequestID, what string) (horde.UUID, bool) {
	switch {
	case what == itemRequest:
		return id.UUID, true
	case strings.HasPrefix(what, itemResult):
		owner, err := horde.ParseUUID(strings.TrimPrefix(what, itemResult))
		return owner, err == nil
	}
	return horde.UUID{}, false
}
