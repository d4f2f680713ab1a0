package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"hordenode/internal/horde"
)

// A home with a million requests serves long before it has read them all:
//
//	Open ─► the requests that workers are busy with, and the first readAtOnce others
//	Run  ─► the rest, some hundred at a time; each is offered as it comes
//	a request that is asked for before its turn ─► is read at once
//
// All is read from one snapshot of the disk, so that what happens meanwhile, to requests that
// are in memory already, is not seen twice. A request is in memory whole or not at all.

const (
	// readAtOnce is how many requests Open reads before it returns.
	readAtOnce = 10_000
	// readBusy bounds the time that Open looks for jobs that run.
	readBusy = 500 * time.Millisecond
	// readStep is how many are read before others get their turn.
	readStep = 256
)

// loader reads the requests of the disk into memory, each once.
type loader struct {
	h    *Home
	now  time.Time
	done chan struct{} // closed when all have been read, or the home is closed

	mu     sync.Mutex          // taken before all other locks; guards what follows
	chunks map[horde.UUID]int  // pieces, by what they belong to
	early  map[horde.UUID]bool // requests that were read before their turn
	at     horde.UUID          // those before it have been read
	ended  bool
	jobs   bool // requests that have jobs may be among those not read yet

	txn                      *badger.Txn
	requests, states, leased *badger.Iterator

	repaired *batch // of the newest repair
}

func newLoader(h *Home) *loader {
	l := &loader{
		h: h, now: h.now(), done: make(chan struct{}), chunks: map[horde.UUID]int{}, early: map[horde.UUID]bool{},
		txn: h.store.db.NewTransaction(false),
	}
	l.requests, l.states, l.leased = l.iterator([]byte{keyRequest}), l.iterator([]byte{keyState}), l.iterator([]byte{keyJob})
	return l
}

// iterator runs over the records whose keys begin with a prefix; their values are beside
// their keys.
func (l *loader) iterator(prefix []byte) *badger.Iterator {
	opts := badger.DefaultIteratorOptions
	opts.Prefix, opts.PrefetchValues = prefix, false
	it := l.txn.NewIterator(opts)
	it.Rewind()
	return it
}

// begin reads what must not wait.
func (l *loader) begin(atOnce int) error {
	if err := l.readBusy(time.Now().Add(readBusy)); err != nil {
		l.close()
		return err
	}
	_, more, err := l.read(atOnce)
	if err != nil || !more {
		return errors.Join(err, l.end())
	}
	l.h.loading.Store(l)
	return nil
}

// readBusy reads the requests that have jobs: their workers will be back within seconds.
func (l *loader) readBusy(until time.Time) error {
	it := l.iterator([]byte{keyJob})
	defer it.Close()
	var last horde.UUID
	for ; it.Valid(); it.Next() {
		id := uuidAt(it.Item().Key(), 1)
		if id == last {
			continue
		}
		last = id
		if time.Now().After(until) {
			l.jobs = true
			return nil
		}
		if _, _, err := l.demand(horde.RequestID{UUID: id}); err != nil {
			return err
		}
	}
	return nil
}

// run reads the rest, until ctx is done.
func (l *loader) run(ctx context.Context) error {
	for {
		offers, more, err := l.read(readStep)
		if err != nil {
			return fmt.Errorf("read requests: %w", err)
		}
		for _, o := range offers {
			l.h.tell(o)
		}
		if !more {
			return l.end()
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// read reads the next n requests. It returns the offers of those that are new in memory.
func (l *loader) read(n int) (offers []horde.Offer, more bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil, false, nil
	}
	for range n {
		if !l.requests.Valid() {
			return offers, false, l.readOrphans(nil)
		}
		item := l.requests.Item()
		id := uuidAt(item.Key(), 1)
		if err := l.readOrphans(&id); err != nil {
			return offers, true, err
		}
		r, err := l.assemble(item, l.states, l.leased)
		if err != nil {
			return offers, true, err
		}
		if r != nil && !l.early[id] {
			if o, ok := l.h.admitRead(r); ok {
				offers = append(offers, o)
			}
		}
		delete(l.early, id)
		l.at = id
		l.requests.Next()
	}
	return offers, true, nil
}

// readOrphans passes the states and jobs that come before a request, or all that are left:
// there is no request for them.
func (l *loader) readOrphans(before *horde.UUID) error {
	for _, it := range []*badger.Iterator{l.states, l.leased} {
		for ; it.Valid(); it.Next() {
			key := it.Item().Key()
			if before != nil && bytes.Compare(key[1:17], before[:]) >= 0 {
				break
			}
			l.orphan(key)
		}
	}
	return nil
}

// assemble makes the request of a record, with the state and the jobs that the iterators are
// at; nil if the record is damaged, or if it is in memory and only the iterators shall pass.
func (l *loader) assemble(item *badger.Item, states, jobs *badger.Iterator) (*request, error) {
	id := uuidAt(item.Key(), 1)
	var r *request
	if !l.early[id] {
		if err := item.Value(func(rec []byte) error { r = l.request(item.Key(), rec); return nil }); err != nil {
			return nil, err
		}
	}
	for _, of := range []struct {
		it  *badger.Iterator
		add func(r *request, key, rec []byte)
	}{{states, l.state}, {jobs, l.job}} {
		for ; of.it.Valid() && uuidAt(of.it.Item().Key(), 1) == id; of.it.Next() {
			x := of.it.Item()
			switch {
			case r != nil:
				if err := x.Value(func(rec []byte) error { of.add(r, x.Key(), rec); return nil }); err != nil {
					return nil, err
				}
			case !l.early[id]:
				l.orphan(x.Key())
			}
		}
	}
	if r != nil {
		l.settle(r)
	}
	return r, nil
}

// demand reads a request before its turn. ok is false if there is none, or if it was read
// before.
func (l *loader) demand(id horde.RequestID) (offer horde.Offer, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.early[id.UUID] || bytes.Compare(id.UUID[:], l.at[:]) <= 0 {
		return offer, false, nil
	}
	item, err := l.txn.Get(idKey(keyRequest, id.UUID))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return offer, false, nil
	}
	if err != nil {
		return offer, false, fmt.Errorf("read request %s: %w", id, err)
	}
	states, jobs := l.iterator(idKey(keyState, id.UUID)), l.iterator(idKey(keyJob, id.UUID))
	defer states.Close()
	defer jobs.Close()
	r, err := l.assemble(item, states, jobs)
	l.early[id.UUID] = true
	if err != nil || r == nil {
		return offer, false, err
	}
	offer, ok = l.h.admitRead(r)
	return offer, ok, nil
}

// end is called when all have been read.
func (l *loader) end() error {
	l.mu.Lock()
	if !l.ended {
		l.orphanPieces()
	}
	repaired := l.repaired
	l.mu.Unlock()
	l.close()
	if err := repaired.wait(); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return nil
}

// close lets the snapshot go.
func (l *loader) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	for _, it := range []*badger.Iterator{l.requests, l.states, l.leased} {
		it.Close()
	}
	l.txn.Discard()
	l.h.loading.Store(nil)
	close(l.done)
}

// admitRead makes a request that was read findable, with its jobs. ok is false if it is there
// already.
func (h *Home) admitRead(r *request) (offer horde.Offer, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !h.add(r) {
		h.shapes.drop(r.shape)
		return offer, false
	}
	h.mu.Lock()
	for _, j := range r.jobs {
		h.jobs[j.id] = j
	}
	h.mu.Unlock()
	h.count.request(r)
	h.timers.set(r, r.next())
	return r.offer(h.now()), true
}

// awaitRead returns when all requests of the disk are in memory: what concerns all of them, or
// jobs that are not known yet, waits for that.
func (h *Home) awaitRead(ctx context.Context) error {
	l := h.loading.Load()
	if l == nil {
		return nil
	}
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return &horde.Error{RC: horde.RCUnavailable, Msg: "This node has just started and still reads what it keeps. Please try again.", Err: ctx.Err()}
	}
}

// readNow looks for a request that may not have been read yet.
func (h *Home) readNow(id horde.RequestID) {
	l := h.loading.Load()
	if l == nil {
		return
	}
	offer, ok, err := l.demand(id)
	if err != nil {
		h.log.Error("request not read", "request", id, "err", err)
	}
	if ok {
		h.tell(offer)
	}
}
