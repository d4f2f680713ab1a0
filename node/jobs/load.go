package jobs

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"hordenode/internal/horde"
)

// format is the version of the keys and records; a store of another one is refused.
const format = 1

// revsPerBoot separates the offers of one run from those of the next: an offer may be told
// just before a crash keeps its revision from the disk.
const revsPerBoot = 1 << 12

// load begins to fill memory from the disk (lazy.go). Leases begin again at full length: it was
// not the workers' fault. Damaged records are reported and given up: a request without its
// record is finished, a job without its record never was.
func (h *Home) load(atOnce int) error {
	if err := h.loadMeta(); err != nil {
		return err
	}
	l := newLoader(h)
	for _, step := range []struct {
		prefix   byte
		keysOnly bool
		f        func(key, rec []byte) error
	}{
		{keyPiece, true, l.piece},
		{keyTally, false, l.row},
	} {
		if err := h.store.scan([]byte{step.prefix}, step.keysOnly, step.f); err != nil {
			l.close()
			return err
		}
	}
	return l.begin(atOnce)
}

// loadMeta checks the format and counts this boot.
func (h *Home) loadMeta() error {
	var f int
	switch err := h.store.get(metaKey("format"), &f); {
	case errors.Is(err, badger.ErrKeyNotFound):
	case err != nil:
		return err
	case f != format:
		return fmt.Errorf("job store has format %d, this program knows %d", f, format)
	}
	if err := h.store.get(metaKey("boot"), &h.boot); err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
		return err
	}
	h.boot++
	o := op{puts: []entry{encode(metaKey("format"), format), encode(metaKey("boot"), h.boot)}}
	return h.store.enqueue(o).wait()
}

// repair deletes what belongs to nothing.
func (l *loader) repair(o op) { l.repaired = l.h.store.enqueue(o) }

func (l *loader) piece(key, _ []byte) error {
	l.chunks[uuidAt(key, 1)]++
	return nil
}

// request makes a request of its record; nil if that is damaged.
func (l *loader) request(key, rec []byte) *request {
	var q horde.Request
	if err := decode(key, rec, &q); err != nil {
		l.damaged(key, err)
		id := horde.RequestID{UUID: uuidAt(key, 1)}
		l.repair(op{
			dels: [][]byte{idKey(keyBody, id.UUID), idKey(keyState, id.UUID)},
			out:  [][]byte{l.h.ledger.EncodeFinish(horde.Finish{Request: id})},
		})
		return nil
	}
	r := newRequest(&q)
	r.shape = l.h.shapes.take(&q.Shape)
	r.chunks = uint16(l.owned(r.id.UUID))
	return r
}

// state adds what became of r.
func (l *loader) state(r *request, key, rec []byte) {
	var s stateRecord
	if err := decode(key, rec, &s); err != nil {
		l.damaged(key, err)
		return
	}
	r.cancelled, r.withdrawn, r.faulted, r.closed = s.Cancelled, s.Withdrawn, s.Faulted, s.Closed
	r.expiry, r.consumed = time.Unix(0, s.Expiry), s.Consumed
	r.rev = s.Rev + (l.h.boot-s.Boot)*revsPerBoot
}

// orphan deletes the state or job of a request that is not there.
func (l *loader) orphan(key []byte) {
	o := op{dels: [][]byte{bytes.Clone(key)}}
	if key[0] == keyJob {
		o.dels = append(o.dels, idKey(keyResult, uuidAt(key, 17)))
	}
	l.repair(o)
}

// job adds a job of r.
func (l *loader) job(r *request, key, rec []byte) {
	var stored jobRecord
	if err := decode(key, rec, &stored); err != nil {
		l.damaged(key, err)
		return
	}
	if !stored.Fake && int(stored.Slot) >= len(r.leases) {
		l.damaged(key, fmt.Errorf("slot %d of %d: %w", stored.Slot, len(r.leases), errDamaged))
		return
	}
	j := stored.job(r, l.now)
	if j.state == jobDone {
		j.chunks = uint16(l.owned(j.id.UUID))
	}
	r.jobs = append(r.jobs, j)
	if j.fake {
		return
	}
	lease := &r.leases[j.slot]
	lease.gen = max(lease.gen, j.gen)
	switch j.state {
	case jobRunning:
		r.running++
	case jobDone:
		r.finished++
	case jobCancelled:
	case jobFaulted:
		if !stored.Excuse {
			r.faults++
		}
		return
	}
	lease.job = j
}

func (l *loader) row(key, rec []byte) error {
	if err := l.h.store.tally.load(key, rec); err != nil {
		l.h.count.damaged.Add(1)
		l.h.log.Error("damaged record", "kind", string(key[:1]), "err", err)
		l.repair(op{dels: [][]byte{bytes.Clone(key)}})
	}
	return nil
}

// owned takes note that the pieces of id have an owner, and returns how many there are.
func (l *loader) owned(id horde.UUID) int {
	n := l.chunks[id]
	delete(l.chunks, id)
	return n
}

// damaged reports a record and has it deleted.
func (l *loader) damaged(key []byte, err error) {
	l.h.count.damaged.Add(1)
	l.h.log.Error("damaged record", "kind", string(key[:1]), "id", uuidAt(key, 1), "err", err)
	l.repair(op{dels: [][]byte{bytes.Clone(key)}})
}

// settle puts together what came from several records.
func (l *loader) settle(r *request) {
	r.open = 0
	for i := range r.leases {
		if r.isOpen(i) {
			r.open++
		}
	}
	if r.running > 0 && !l.now.After(r.expiry) {
		r.extend(l.now.Add(expireAfter))
		for _, j := range r.jobs {
			if j.state == jobRunning {
				r.extend(j.until.Add(leaseGrace))
			}
		}
	}
}

// orphanPieces deletes the pieces that nobody owned.
func (l *loader) orphanPieces() {
	for id, n := range l.chunks {
		var o op
		o.delPieces(id, n)
		l.repair(o)
	}
}

func uuidAt(key []byte, i int) horde.UUID { return horde.UUID(key[i : i+16]) }
