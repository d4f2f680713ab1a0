package jobs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"hordenode/internal/emptyfile"
	"hordenode/internal/horde"
)

// store is the local Badger with group commit: what callers enqueue while a transaction is
// being synced shares the next one. Operations reach the disk in the order in which they were
// enqueued, and each is in one transaction. After a failed write the store takes no more.
type store struct {
	db       *badger.DB
	maxBytes int64
	maxCount int64

	mu     sync.Mutex // guards the fields below
	next   *batch
	err    error
	closed bool

	kick    chan struct{} // something is in next, or closed
	stopped chan struct{} // the flusher returned
	broken  chan struct{} // closed when err is set by a failed write

	out    outboxState
	atOpen uint64 // the last number of the outbox when the store was opened
	tally  tally

	// Failures for tests; nil otherwise.
	beforeCommit, afterCommit func() error
}

// outboxState is what the store knows of the outbox without looking.
type outboxState struct {
	mu     sync.Mutex // guards the fields below
	first  uint64     // no item has a smaller number
	next   uint64     // number of the next item
	len    int
	notify chan struct{} // an item came
}

// An op is one atomic change.
type op struct {
	pieces []entry // parts of long values: on disk before the rest, harmless without it
	puts   []entry
	dels   [][]byte
	out    [][]byte // outbox items, numbered when they are written
	work   []work   // finished jobs, to count
}

type entry struct {
	key, value []byte
	ttl        time.Duration // 0 = for ever
}

// A batch is the operations that callers wait for together.
type batch struct {
	ops  []op
	done chan struct{} // closed when all are on disk, or err is set
	err  error
	item uint64 // the last number of the outbox that was given out by then
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// errClosed is returned once the store is closed.
var errClosed = errors.New("job store is closed")

func openStore(dir string, log *slog.Logger) (*store, error) {
	const memTable = 16 << 20
	if err := emptyfile.Remove(dir); err != nil {
		return nil, err
	}
	db, err := badger.Open(badger.DefaultOptions(dir).
		WithSyncWrites(true).WithDetectConflicts(false).WithNumVersionsToKeep(1).WithMetricsEnabled(false).
		WithMemTableSize(memTable).WithNumMemtables(2).
		WithValueThreshold(1 << 20).WithValueLogFileSize(16 << 20). // all values in the WAL, whose sync error is returned
		WithBaseTableSize(4 << 20).WithBaseLevelSize(16 << 20).
		WithNumCompactors(2).WithNumLevelZeroTables(2).WithNumLevelZeroTablesStall(8).
		WithCompression(options.None).WithBlockCacheSize(0).WithIndexCacheSize(0).
		WithChecksumVerificationMode(options.OnTableRead).
		WithLogger(badgerLog{log}))
	if err != nil {
		return nil, err
	}
	s := &store{
		db:       db,
		maxBytes: db.MaxBatchSize() * 3 / 4,
		maxCount: db.MaxBatchCount() * 3 / 4,
		next:     newBatch(),
		kick:     make(chan struct{}, 1),
		stopped:  make(chan struct{}),
		broken:   make(chan struct{}),
		out:      outboxState{notify: make(chan struct{}, 1)},
		tally:    newTally(),
	}
	if err := s.loadOutbox(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.atOpen = s.out.last()
	go s.flush()
	return s, nil
}

// enqueue puts o in line. The batch it returns is done when o is on disk.
func (s *store) enqueue(o op) *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.err
	if s.closed && err == nil {
		err = errClosed
	}
	if err != nil {
		b := &batch{done: make(chan struct{}), err: err}
		close(b.done)
		return b
	}
	b := s.next
	b.ops = append(b.ops, o)
	select {
	case s.kick <- struct{}{}:
	default:
	}
	return b
}

// wait waits until b is on disk; nil stands for what always was.
func (b *batch) wait() error {
	if b == nil {
		return nil
	}
	<-b.done
	return b.err
}

// itemAt is a number of the outbox that is not below those of what b, which is done, and all
// before it brought; nil stands for what is older than this run.
func (s *store) itemAt(b *batch) uint64 {
	if b == nil {
		return s.atOpen
	}
	return b.item
}

// flush is the one goroutine that writes.
func (s *store) flush() {
	defer close(s.stopped)
	for range s.kick {
		s.mu.Lock()
		b, closed := s.next, s.closed
		s.next = newBatch()
		s.mu.Unlock()
		if len(b.ops) > 0 {
			b.err = s.write(b.ops)
			b.item = s.out.last()
			b.ops = nil // callers may keep b
			if b.err != nil {
				s.fail(b.err)
			}
		}
		close(b.done)
		if closed || b.err != nil {
			return
		}
	}
}

// fail makes the store refuse everything from now on, also what is in line.
func (s *store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.next.err = err
	close(s.next.done)
	close(s.broken)
}

func (s *store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// write commits ops in as few transactions as they fit in.
func (s *store) write(ops []op) error {
	if s.beforeCommit != nil {
		if err := s.beforeCommit(); err != nil {
			return err
		}
	}
	w := writer{s: s, txn: s.db.NewTransaction(true)}
	defer func() { w.txn.Discard() }()
	items := 0
	var done []work
	for i := range ops {
		o := &ops[i]
		for _, p := range o.pieces {
			if err := w.room(1, int64(len(p.key)+len(p.value))); err != nil {
				return err
			}
			if err := w.put(p); err != nil {
				return err
			}
		}
		if err := w.room(o.cost()); err != nil {
			return err
		}
		for _, e := range o.puts {
			if err := w.put(e); err != nil {
				return err
			}
		}
		for _, k := range o.dels {
			if err := w.txn.Delete(k); err != nil {
				return fmt.Errorf("delete %c record: %w", k[0], err)
			}
		}
		for _, data := range o.out {
			key := outboxKey(s.out.number())
			if err := w.put(entry{key: key, value: seal(key, layoutPlain, data)}); err != nil {
				return err
			}
			items++
		}
		done = append(done, o.work...)
	}
	for _, e := range s.tally.add(done) {
		if err := w.room(1, int64(len(e.key)+len(e.value))); err != nil {
			return err
		}
		if err := w.put(e); err != nil {
			return err
		}
	}
	if err := w.commit(); err != nil {
		return err
	}
	if s.afterCommit != nil {
		if err := s.afterCommit(); err != nil {
			return err
		}
	}
	if items > 0 {
		s.out.added(items)
	}
	return nil
}

func (o *op) cost() (count, bytes int64) {
	for _, e := range o.puts {
		bytes += int64(len(e.key) + len(e.value))
	}
	for _, k := range o.dels {
		bytes += int64(len(k))
	}
	for _, d := range o.out {
		bytes += int64(len(d)) + 16
	}
	return int64(len(o.puts) + len(o.dels) + len(o.out)), bytes
}

// writer fills transactions.
type writer struct {
	s            *store
	txn          *badger.Txn
	count, bytes int64
}

// room begins another transaction if the present one cannot take so much more.
func (w *writer) room(count, bytes int64) error {
	const overhead = 64 // of an entry in the memtable, roughly
	bytes += count * overhead
	if w.count > 0 && (w.count+count > w.s.maxCount || w.bytes+bytes > w.s.maxBytes) {
		if err := w.commit(); err != nil {
			return err
		}
		w.txn = w.s.db.NewTransaction(true)
		w.count, w.bytes = 0, 0
	}
	w.count += count
	w.bytes += bytes
	return nil
}

func (w *writer) put(e entry) error {
	be := badger.NewEntry(e.key, e.value)
	if e.ttl > 0 {
		be = be.WithTTL(e.ttl)
	}
	if err := w.txn.SetEntry(be); err != nil {
		return fmt.Errorf("put %c record: %w", e.key[0], err)
	}
	return nil
}

func (w *writer) commit() error {
	if err := w.txn.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// close writes what is in line and closes the disk. A second call does nothing.
func (s *store) close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.stopped
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default:
	}
	<-s.stopped
	return s.db.Close()
}

// get reads the record under key into v; badger.ErrKeyNotFound if there is none.
func (s *store) get(key []byte, v any) error {
	return s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return fmt.Errorf("get %c record: %w", key[0], err)
		}
		return item.Value(func(rec []byte) error { return decode(key, rec, v) })
	})
}

// long makes the entries of a value that may be too long for one record, but not longer than
// 16 GiB; id names its pieces.
func long(key []byte, id horde.UUID, v any) (pieces []entry, main entry) {
	content := marshal(v)
	if len(content) <= pieceSize {
		return nil, entry{key: key, value: seal(key, layoutPlain, content)}
	}
	for len(content) > 0 {
		n := min(len(content), pieceSize)
		k := pieceKey(id, len(pieces))
		pieces = append(pieces, entry{key: k, value: seal(k, layoutPlain, content[:n])})
		content = content[n:]
	}
	return pieces, entry{key: key, value: seal(key, layoutPieces, binary.AppendUvarint(nil, uint64(len(pieces))))}
}

// getLong reads what long made.
func (s *store) getLong(key []byte, id horde.UUID, v any) error {
	return s.db.View(func(txn *badger.Txn) error {
		content, layout, err := read(txn, key)
		if err != nil {
			return err
		}
		if layout == layoutPieces {
			n, k := binary.Uvarint(content)
			if k <= 0 || n > math.MaxUint16 {
				return fmt.Errorf("%c record: %w", key[0], errDamaged)
			}
			content = nil
			for i := range int(n) {
				piece, _, err := read(txn, pieceKey(id, i))
				if err != nil {
					return fmt.Errorf("piece %d of %c record: %w", i, key[0], err)
				}
				content = append(content, piece...)
			}
		}
		if err := decMode.Unmarshal(content, v); err != nil {
			return fmt.Errorf("decode %c record: %w", key[0], err)
		}
		return nil
	})
}

// read returns a copy of a record's content.
func read(txn *badger.Txn, key []byte) (content []byte, layout byte, err error) {
	item, err := txn.Get(key)
	if err != nil {
		return nil, 0, fmt.Errorf("get %c record: %w", key[0], err)
	}
	rec, err := item.ValueCopy(nil)
	if err == nil {
		layout, content, err = unseal(key, rec)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read %c record: %w", key[0], err)
	}
	return content, layout, nil
}

// scan calls f for every record whose key begins with the first byte of from and is not
// smaller, in order of the keys. key and rec are only valid during the call. With keysOnly rec
// is nil.
func (s *store) scan(from []byte, keysOnly bool, f func(key, rec []byte) error) error {
	return s.db.View(func(txn *badger.Txn) error {
		opts := badger.DefaultIteratorOptions
		opts.Prefix = from[:1]
		opts.PrefetchValues = false // all values are beside their keys
		it := txn.NewIterator(opts)
		defer it.Close()
		for it.Seek(from); it.Valid(); it.Next() {
			item := it.Item()
			if keysOnly {
				if err := f(item.Key(), nil); err != nil {
					return err
				}
				continue
			}
			if err := item.Value(func(rec []byte) error { return f(item.Key(), rec) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// badgerLog hands Badger's warnings to slog and drops its chatter.
type badgerLog struct{ log *slog.Logger }

func (b badgerLog) Errorf(f string, args ...any) {
	b.log.Error("badger", "text", fmt.Sprintf(f, args...))
}

func (b badgerLog) Warningf(f string, args ...any) {
	b.log.Warn("badger", "text", fmt.Sprintf(f, args...))
}
func (badgerLog) Infof(string, ...any)  {}
func (badgerLog) Debugf(string, ...any) {}
