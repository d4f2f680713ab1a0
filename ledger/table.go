package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// A digest is a SHA-256 sum.
type digest [sha256.Size]byte

func (d *digest) xor(o digest) {
	for i := range d {
		d[i] ^= o[i]
	}
}

// leafHash is what one row adds to the state hash: SHA-256 of the key's length, the key
// and the value. buf is scratch space and is returned for the next use.
func leafHash(buf, key, value []byte) (digest, []byte) {
	buf = binary.BigEndian.AppendUint32(buf[:0], uint32(len(key)))
	buf = append(buf, key...)
	buf = append(buf, value...)
	return sha256.Sum256(buf), buf
}

// A journal remembers what the current command changed, so that a refusal can be undone.
type journal struct {
	seq     uint64   // of the current command
	touched []undoer // tables that it wrote to
}

// An undoer takes its part of a command back, or keeps it.
type undoer interface {
	rollback()
	commit()
}

func (j *journal) commit() {
	for _, t := range j.touched {
		t.commit()
	}
	j.next()
}

func (j *journal) rollback() {
	for _, t := range j.touched {
		t.rollback()
	}
	j.next()
}

func (j *journal) next() {
	clear(j.touched)
	j.touched = j.touched[:0]
	j.seq++
}

// A row is one key and its value. A row that was deleted stays, not live, until the
// deletion is in the state hash and in Changes.
type row[K comparable, V any] struct {
	k     K
	v     V
	leaf  digest // what the row adds to the state hash, as of the last time it was computed
	seq   uint64 // the command that last saved v in the journal
	live  bool
	dirty bool // in table.dirty: changed since the last Changes
	stale bool // in table.stale: changed since leaf was computed; implies dirty
}

type saved[K comparable, V any] struct {
	r    *row[K, V]
	v    V
	live bool
}

// A table is one kind of entity. Values are replaced, never shared: a slice in a V must be
// copied before it is changed, or a rollback would not bring it back.
//
// A table is not safe for concurrent use. During writes the Machine's lock is held; the
// methods named "flush…" change only what readers do not look at.
type table[K comparable, V any] struct {
	prefix    byte
	unhashed  bool // left out of the state hash
	appendKey func([]byte, K) []byte
	parseKey  func([]byte) (K, error)
	log       *journal
	hashed    func(K) // told of every row whose leaf was computed anew; nil: nobody is

	rows  map[K]*row[K, V]
	live  int
	dirty []*row[K, V]
	stale []*row[K, V]
	undo  []saved[K, V]
}

func newTable[K comparable, V any](prefix byte, log *journal, appendKey func([]byte, K) []byte, parseKey func([]byte) (K, error)) *table[K, V] {
	return &table[K, V]{prefix: prefix, log: log, appendKey: appendKey, parseKey: parseKey, rows: make(map[K]*row[K, V])}
}

// get returns the value of k for reading, or nil. It is valid until the next write.
func (t *table[K, V]) get(k K) *V {
	if r := t.rows[k]; r != nil && r.live {
		return &r.v
	}
	return nil
}

// has tells whether k is there.
func (t *table[K, V]) has(k K) bool { return t.get(k) != nil }

// edit returns the value of k for changing, or nil.
func (t *table[K, V]) edit(k K) *V {
	r := t.rows[k]
	if r == nil || !r.live {
		return nil
	}
	t.touch(r)
	return &r.v
}

// put sets the value of k and returns it for changing.
func (t *table[K, V]) put(k K, v V) *V {
	r := t.rows[k]
	if r == nil {
		r = &row[K, V]{k: k}
		t.rows[k] = r
	}
	t.touch(r)
	if !r.live {
		r.live = true
		t.live++
	}
	r.v = v
	return &r.v
}

// remove deletes k, if it is there.
func (t *table[K, V]) remove(k K) {
	r := t.rows[k]
	if r == nil || !r.live {
		return
	}
	t.touch(r)
	var zero V
	r.v, r.live = zero, false
	t.live--
}

// all calls f for every row, in no particular order: no decision may depend on it.
func (t *table[K, V]) all(f func(k K, v *V) bool) {
	for k, r := range t.rows {
		if r.live && !f(k, &r.v) {
			return
		}
	}
}

func (t *table[K, V]) touch(r *row[K, V]) {
	if r.seq != t.log.seq {
		r.seq = t.log.seq
		if len(t.undo) == 0 {
			t.log.touched = append(t.log.touched, t)
		}
		t.undo = append(t.undo, saved[K, V]{r, r.v, r.live})
	}
	if !r.dirty {
		r.dirty = true
		t.dirty = append(t.dirty, r)
	}
	if !r.stale && !t.unhashed {
		r.stale = true
		t.stale = append(t.stale, r)
	}
}

func (t *table[K, V]) commit() {
	clear(t.undo)
	t.undo = t.undo[:0]
}

func (t *table[K, V]) rollback() {
	for _, s := range t.undo {
		switch {
		case s.r.live && !s.live:
			t.live--
		case !s.r.live && s.live:
			t.live++
		}
		s.r.v, s.r.live = s.v, s.live
	}
	t.commit()
}

// A store is a table of whatever kind, for what concerns all tables alike.
type store interface {
	tag() byte
	pending() int
	rehash(sum *digest)
	flush(writes map[string][]byte, sum *digest)
	flushed()
	load(key, value []byte, sum *digest) error
}

func (t *table[K, V]) tag() byte { return t.prefix }

// pending is the number of rows that flush would write.
func (t *table[K, V]) pending() int { return len(t.dirty) }

func (t *table[K, V]) key(buf []byte, k K) []byte {
	return t.appendKey(append(buf, t.prefix), k)
}

// rehash brings sum, the XOR of all leaves, up to date.
func (t *table[K, V]) rehash(sum *digest) {
	var key, buf []byte
	for _, r := range t.stale {
		if !r.stale {
			continue // flush was here
		}
		var value []byte
		key = t.key(key[:0], r.k)
		if r.live {
			value = encode(&r.v)
		}
		buf = t.leaf(r, key, value, sum, buf)
	}
	clear(t.stale)
	t.stale = t.stale[:0]
}

func (t *table[K, V]) leaf(r *row[K, V], key, value []byte, sum *digest, buf []byte) []byte {
	sum.xor(r.leaf)
	r.leaf = digest{}
	if r.live {
		r.leaf, buf = leafHash(buf, key, value)
	}
	sum.xor(r.leaf)
	r.stale = false
	if t.hashed != nil {
		t.hashed(r.k)
	}
	return buf
}

// flush adds the rows changed since the last flush to writes (nil: deleted) and rehashes
// those that are stale, since they are encoded anyway. Readers may be reading.
func (t *table[K, V]) flush(writes map[string][]byte, sum *digest) {
	var key, buf []byte
	for _, r := range t.dirty {
		var value []byte
		key = t.key(key[:0], r.k)
		if r.live {
			value = encode(&r.v)
		}
		if r.stale {
			buf = t.leaf(r, key, value, sum, buf)
		}
		writes[string(key)] = value
	}
}

// flushed ends what flush began, while nobody reads: nothing is dirty or stale any more.
func (t *table[K, V]) flushed() {
	for _, r := range t.dirty {
		r.dirty = false
		if !r.live {
			delete(t.rows, r.k)
		}
	}
	clear(t.dirty)
	clear(t.stale)
	t.dirty, t.stale = t.dirty[:0], t.stale[:0]
}

// load adds one stored row. Its leaf is the hash of the bytes as stored.
func (t *table[K, V]) load(key, value []byte, sum *digest) error {
	k, err := t.parseKey(key[1:])
	if err != nil {
		return keyError(key, err)
	}
	r := &row[K, V]{k: k, live: true}
	if err := decode(value, &r.v); err != nil {
		return fmt.Errorf("stored value of %x: %w", key, err)
	}
	if !t.unhashed {
		r.leaf, _ = leafHash(nil, key, value)
		sum.xor(r.leaf)
	}
	t.rows[k] = r
	t.live++
	return nil
}
