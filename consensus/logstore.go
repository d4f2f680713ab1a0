package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/raft"
)

const logMemtable = 8 << 20

// logStore is raft's log and stable store in one Badger whose commits are synced.
//
//	'l' be64(index)  term(8) type(1) appendedAt(8) extLen(4) ext data crc(4)
//	'm' 'r'          first(8) last(8) crc(4)   in the same transaction as the entries
//	's' key          value crc(4)              term and vote
//
// Only entries in [first, last] exist. So a truncation is one small write, whatever the
// crash after it leaves behind stays invisible, and a key that is missing inside the range
// is damage and not the end of the log.
type logStore struct {
	db     *badger.DB
	hwm    *highWater
	failed func(error) // told of every write that failed; must not block
	before func()      // called before each write; may be nil

	writes atomic.Uint64 // begun and ended writes: odd while one runs
	took   atomic.Int64  // nanoseconds that writes take, smoothed

	wmu sync.Mutex // one writer of the range at a time: raft appends and compacts in two goroutines

	mu          sync.RWMutex // guards the visible range
	first, last uint64       // 0, 0: empty
}

var (
	_ raft.LogStore          = (*logStore)(nil)
	_ raft.MonotonicLogStore = (*logStore)(nil)
	_ raft.StableStore       = (*logStore)(nil)
)

var rangeKey = []byte("mr")

// errNotFound is what raft expects of a stable store; it compares the text.
var errNotFound = errors.New("not found")

func logKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'l'}, index)
}

func stableKey(key []byte) []byte { return append([]byte{'s'}, key...) }

// openLogStore opens the log in dir and checks every entry of it. Damage is an error that
// wraps errCorrupt.
func openLogStore(dir string, now func() time.Time, log *slog.Logger, failed func(error)) (*logStore, error) {
	db, err := openBadger(filepath.Join(dir, "log"), logMemtable, log)
	if err != nil {
		return nil, err
	}
	s := &logStore{db: db, failed: failed}
	err = s.load()
	if err == nil {
		s.hwm, err = openHighWater(filepath.Join(dir, "hwm"), now)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// load reads the visible range, verifies it and removes what lies outside of it.
func (s *logStore) load() error {
	var stale [][]byte
	err := s.db.View(func(txn *badger.Txn) error {
		switch v, err := get(txn, rangeKey); {
		case errors.Is(err, badger.ErrKeyNotFound):
		case err != nil:
			return err
		case len(v) != 16:
			return fmt.Errorf("%w: range is %d bytes", errCorrupt, len(v))
		default:
			s.first, s.last = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])
		}
		opt := badger.DefaultIteratorOptions
		opt.PrefetchValues = false // values are inline
		opt.Prefix = []byte{'l'}
		it := txn.NewIterator(opt)
		defer it.Close()
		next := s.first
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			key := item.KeyCopy(nil)
			index := binary.BigEndian.Uint64(key[1:])
			if s.last == 0 || index < s.first || index > s.last {
				stale = append(stale, key)
				continue
			}
			if index != next {
				return fmt.Errorf("%w: entry %d is missing", errCorrupt, next)
			}
			next++
			if err := item.Value(func(v []byte) error { _, err := unseal(key, v); return err }); err != nil {
				return err
			}
		}
		if s.last != 0 && next != s.last+1 {
			return fmt.Errorf("%w: entry %d is missing", errCorrupt, next)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("check log: %w", err)
	}
	return s.deleteKeys(stale)
}

// get returns the checked value of a key, in memory of its own.
func get(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if err != nil {
		return nil, err
	}
	v, err := item.ValueCopy(nil)
	if err != nil {
		return nil, err
	}
	return unseal(key, v)
}

// IsMonotonic makes raft drop the whole log after it installed a snapshot: no gaps.
func (s *logStore) IsMonotonic() bool { return true }

// FirstIndex is the index of the first entry, 0 if there is none.
func (s *logStore) FirstIndex() (uint64, error) { first, _ := s.bounds(); return first, nil }

// LastIndex is the index of the last entry, 0 if there is none.
func (s *logStore) LastIndex() (uint64, error) { _, last := s.bounds(); return last, nil }

func (s *logStore) bounds() (first, last uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.first, s.last
}

func (s *logStore) setBounds(first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first, s.last = first, last
}

// GetLog reads an entry. Outside of the visible range it returns raft.ErrLogNotFound itself
// (raft compares with ==); an entry missing inside of it is damage, on which raft panics.
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	first, last := s.bounds()
	if last == 0 || index < first || index > last {
		return raft.ErrLogNotFound
	}
	key := logKey(index)
	return s.db.View(func(txn *badger.Txn) error {
		v, err := get(txn, key)
		switch {
		case errors.Is(err, badger.ErrKeyNotFound):
			if first, _ := s.bounds(); index < first { // compacted since we looked
				return raft.ErrLogNotFound
			}
			return fmt.Errorf("%w: entry %d is missing", errCorrupt, index)
		case err != nil:
			return fmt.Errorf("read entry %d: %w", index, err)
		}
		return decodeLog(index, v, l)
	})
}

// StoreLog appends one entry.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries and returns when they are on disk. They continue the log: raft
// has truncated it first if it had to. More than one transaction takes are stored as
// ascending transactions, so a crash in between leaves a prefix.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	return s.write(func() error {
		first, last := s.bounds()
		want := last + 1
		if last == 0 {
			want = logs[0].Index
		}
		for _, l := range logs {
			if l.Index != want {
				return fmt.Errorf("refuse entry %d after %d", l.Index, want-1)
			}
			want++
		}
		maxSize, maxCount := s.db.MaxBatchSize()*3/4, int(s.db.MaxBatchCount()*3/4)
		for len(logs) > 0 {
			n, size := 0, int64(0)
			for n < len(logs) && n < maxCount {
				size += int64(len(logs[n].Data)+len(logs[n].Extensions)) + 64
				if n > 0 && size > maxSize {
					break
				}
				n++
			}
			if first == 0 {
				first = logs[0].Index
			}
			last = logs[n-1].Index
			if err := s.append(logs[:n], first, last); err != nil {
				return err
			}
			logs = logs[n:]
		}
		return s.hwm.appended(last)
	})
}

// append stores entries and the visible range with them.
func (s *logStore) append(logs []*raft.Log, first, last uint64) error {
	err := s.db.Update(func(txn *badger.Txn) error {
		for _, l := range logs {
			key := logKey(l.Index)
			if err := txn.Set(key, seal(key, encodeLog(l))); err != nil {
				return err
			}
		}
		return setRange(txn, first, last)
	})
	if err != nil {
		return fmt.Errorf("store entries up to %d: %w", last, err)
	}
	s.setBounds(first, last)
	return nil
}

func setRange(txn *badger.Txn, first, last uint64) error {
	v := binary.BigEndian.AppendUint64(nil, first)
	return txn.Set(rangeKey, seal(rangeKey, binary.BigEndian.AppendUint64(v, last)))
}

// DeleteRange removes a prefix, a suffix or all of the log. Moving the visible range is one
// synced write, and that is the truncation; the keys go afterwards, and a crash in between
// leaves only what nobody sees.
func (s *logStore) DeleteRange(from, to uint64) error {
	return s.write(func() error {
		first, last := s.bounds()
		if last == 0 || to < first || from > last {
			return nil
		}
		newFirst, newLast := first, last
		switch {
		case from <= first && to >= last:
			newFirst, newLast = 0, 0
		case from <= first:
			newFirst = to + 1
		case to >= last:
			newLast = from - 1
		default:
			return fmt.Errorf("refuse to delete %d to %d out of the middle of %d to %d", from, to, first, last)
		}
		if newLast != last {
			if err := s.hwm.truncating(newLast); err != nil {
				return err
			}
		}
		err := s.db.Update(func(txn *badger.Txn) error { return setRange(txn, newFirst, newLast) })
		if err != nil {
			return fmt.Errorf("truncate log to %d..%d: %w", newFirst, newLast, err)
		}
		s.setBounds(newFirst, newLast)

		wb := s.db.NewWriteBatch()
		defer wb.Cancel()
		for i := max(from, first); i <= min(to, last); i++ {
			if err := wb.Delete(logKey(i)); err != nil {
				return err
			}
		}
		return wb.Flush()
	})
}

func (s *logStore) deleteKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	wb := s.db.NewWriteBatch()
	defer wb.Cancel()
	for _, k := range keys {
		if err := wb.Delete(k); err != nil {
			return err
		}
	}
	return wb.Flush()
}

// write runs one change of the log under the watchdog. A change that fails is never retried
// here: after a failed sync nobody knows what is on the disk, so the group stops.
func (s *logStore) write(f func() error) error {
	if s.before != nil {
		s.before()
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.writes.Add(1)
	defer s.writes.Add(1)
	began := time.Now() // how fast the disk is, whatever clock the group has
	err := f()
	took := s.took.Load()
	s.took.Store(took + (int64(time.Since(began))-took)/8)
	if err != nil {
		s.failed(err)
	}
	return err
}

// writeTime is how long writes take.
func (s *logStore) writeTime() time.Duration { return time.Duration(s.took.Load()) }

// writing tells whether a write is running, and which.
func (s *logStore) writing() (running bool, n uint64) {
	n = s.writes.Load()
	return n%2 == 1, n
}

// Set stores a value of raft's: its term or its vote.
func (s *logStore) Set(key, value []byte) error {
	return s.write(func() error {
		k := stableKey(key)
		v := seal(k, append([]byte(nil), value...))
		if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(k, v) }); err != nil {
			return fmt.Errorf("store %s: %w", key, err)
		}
		return s.hwm.stable(string(key), value)
	})
}

// Get reads what Set stored, or returns an error with the text "not found".
func (s *logStore) Get(key []byte) (value []byte, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		value, err = get(txn, stableKey(key))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return errNotFound
		}
		return err
	})
	return value, err
}

// SetUint64 stores a number.
func (s *logStore) SetUint64(key []byte, n uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, n))
}

// GetUint64 reads what SetUint64 stored.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: %s is %d bytes", errCorrupt, key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// number is GetUint64 with 0 for a value that is not there.
func (s *logStore) number(key string) (uint64, error) {
	n, err := s.GetUint64([]byte(key))
	if errors.Is(err, errNotFound) {
		return 0, nil
	}
	return n, err
}

// Close records the log's end and closes the database.
func (s *logStore) Close() error {
	_, last := s.bounds()
	return errors.Join(s.hwm.close(last), s.db.Close())
}

func encodeLog(l *raft.Log) []byte {
	b := make([]byte, 0, 8+1+8+4+len(l.Extensions)+len(l.Data)+4)
	b = binary.BigEndian.AppendUint64(b, l.Term)
	b = append(b, byte(l.Type))
	var at int64
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.Extensions)))
	b = append(b, l.Extensions...)
	return append(b, l.Data...)
}

func decodeLog(index uint64, b []byte, l *raft.Log) error {
	const head = 8 + 1 + 8 + 4
	if len(b) < head {
		return fmt.Errorf("%w: entry %d is %d bytes", errCorrupt, index, len(b))
	}
	ext := uint64(binary.BigEndian.Uint32(b[17:]))
	if ext > math.MaxInt32 || head+int(ext) > len(b) {
		return fmt.Errorf("%w: extensions of entry %d", errCorrupt, index)
	}
	*l = raft.Log{
		Index: index,
		Term:  binary.BigEndian.Uint64(b),
		Type:  raft.LogType(b[8]),
		Data:  b[head+int(ext):],
	}
	if ext > 0 {
		l.Extensions = b[head : head+int(ext)]
	}
	if at := int64(binary.BigEndian.Uint64(b[9:])); at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	return nil
}
