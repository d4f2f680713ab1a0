package consensus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

const (
	stateMemtable = 16 << 20
	stateVersion  = 1
	currentFile   = "CURRENT"
	statePrefix   = "state-"
	journalFile   = "JOURNAL"
)

// Keys of the state database. Every value is sealed.
var (
	appliedKey = []byte("a") // index(8): the state is as of this entry
	versionKey = []byte("v") // format version(1)
	recordKey  = []byte("k") // prefix of the machine's keys
)

// stateDisk keeps the machine's state in Badger, always as of exactly one index.
//
//	CURRENT            the name of the directory that counts
//	state-<gen>/       Badger; a restored snapshot becomes the next generation
//	state-<gen>/JOURNAL  a write too large for one transaction, until it is done
//
// A write is one synced transaction. One that does not fit is first written to the journal
// and synced; a crash in the middle finds the journal and does it again.
type stateDisk struct {
	dir string
	log *slog.Logger

	mu  sync.Mutex // guards the fields below
	cur *generation
}

// A generation is one state directory. Snapshots hold it open while they stream.
type generation struct {
	n   uint64
	dir string
	db  *badger.DB

	// Guarded by stateDisk.mu.
	refs    int  // snapshots that read it
	retired bool // no longer current: the last reader closes and removes it
}

func stateDir(dir string, gen uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%06d", statePrefix, gen))
}

// openState opens the current generation and returns the index that it is as of. Damage
// wraps errCorrupt.
func openState(dir string, log *slog.Logger) (s *stateDisk, applied uint64, err error) {
	s = &stateDisk{dir: dir, log: log}
	gen, err := s.current()
	if err != nil {
		return nil, 0, err
	}
	if gen == 0 {
		if _, err := s.fresh(1); err != nil {
			return nil, 0, err
		}
		return s, 0, nil
	}
	g, err := openGeneration(dir, gen, log)
	if err != nil {
		return nil, 0, err
	}
	if applied, err = g.recover(); err != nil {
		return nil, 0, errors.Join(err, g.db.Close())
	}
	s.cur = g
	return s, applied, s.removeOthers(gen)
}

// resetState begins an empty generation in place of one that is damaged.
func resetState(dir string, log *slog.Logger) (*stateDisk, error) {
	s := &stateDisk{dir: dir, log: log}
	gen, err := s.newest()
	if err != nil {
		return nil, err
	}
	if _, err := s.fresh(gen + 1); err != nil {
		return nil, err
	}
	return s, nil
}

// fresh makes an empty generation the current one.
func (s *stateDisk) fresh(gen uint64) (*generation, error) {
	g, err := s.build(gen)
	if err != nil {
		return nil, err
	}
	if err := g.finish(0); err != nil {
		return nil, errors.Join(err, g.db.Close())
	}
	return g, s.switchTo(g)
}

// current reads CURRENT: 0 if there is none yet.
func (s *stateDisk) current() (uint64, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, currentFile))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	gen, ok := parseGeneration(strings.TrimSpace(string(b)))
	if !ok {
		return 0, fmt.Errorf("%w: %s names no state", errCorrupt, currentFile)
	}
	return gen, nil
}

func parseGeneration(name string) (gen uint64, ok bool) {
	if !strings.HasPrefix(name, statePrefix) {
		return 0, false
	}
	_, err := fmt.Sscanf(name[len(statePrefix):], "%d", &gen)
	return gen, err == nil && gen > 0
}

// newest is the highest generation that has a directory.
func (s *stateDisk) newest() (newest uint64, err error) {
	entries, err := os.ReadDir(s.dir)
	for _, e := range entries {
		if gen, ok := parseGeneration(e.Name()); ok {
			newest = max(newest, gen)
		}
	}
	return newest, err
}

// removeOthers removes what an interrupted or finished restore left behind.
func (s *stateDisk) removeOthers(keep uint64) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if gen, ok := parseGeneration(e.Name()); ok && gen != keep {
			if err := os.RemoveAll(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// build opens an empty database that is not current yet.
func (s *stateDisk) build(gen uint64) (*generation, error) {
	if err := os.RemoveAll(stateDir(s.dir, gen)); err != nil {
		return nil, err
	}
	return openGeneration(s.dir, gen, s.log)
}

// switchTo makes a finished generation the current one; the one before is closed and removed
// when no snapshot reads it any more.
func (s *stateDisk) switchTo(g *generation) error {
	if err := syncDir(s.dir); err != nil {
		return err
	}
	name := filepath.Base(g.dir) + "\n"
	if err := writeFileAtomically(filepath.Join(s.dir, currentFile), []byte(name)); err != nil {
		return err
	}
	s.mu.Lock()
	old := s.cur
	s.cur = g
	s.mu.Unlock()
	if old == nil {
		return s.removeOthers(g.n)
	}
	s.mu.Lock()
	old.retired = true
	idle := old.refs == 0
	s.mu.Unlock()
	if !idle {
		return nil
	}
	return old.remove()
}

// hold returns the current generation and keeps it open until release.
func (s *stateDisk) hold() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cur.refs++
	return s.cur
}

// release gives back what hold returned.
func (s *stateDisk) release(g *generation) error {
	s.mu.Lock()
	g.refs--
	last := g.retired && g.refs == 0
	s.mu.Unlock()
	if !last {
		return nil
	}
	return g.remove()
}

// remove closes a generation that nobody reads and removes its directory.
func (g *generation) remove() error {
	if err := g.db.Close(); err != nil {
		return err
	}
	return os.RemoveAll(g.dir)
}

// Close closes the current generation. No snapshot may be streaming.
func (s *stateDisk) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur.db.Close()
}

func openGeneration(dir string, gen uint64, log *slog.Logger) (*generation, error) {
	d := stateDir(dir, gen)
	db, err := openBadger(d, stateMemtable, log)
	if err != nil {
		return nil, err
	}
	return &generation{n: gen, dir: d, db: db}, nil
}

// recover finishes an interrupted write and returns the index that the state is as of.
func (g *generation) recover() (applied uint64, err error) {
	err = g.db.View(func(txn *badger.Txn) error {
		v, err := get(txn, versionKey)
		if err != nil {
			return fmt.Errorf("%w: state version: %w", errCorrupt, err)
		}
		if len(v) != 1 || v[0] != stateVersion {
			return fmt.Errorf("%w: %v, this program knows %d", ErrStateVersion, v, stateVersion)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if err := g.redo(); err != nil {
		return 0, err
	}
	return g.applied()
}

func (g *generation) applied() (index uint64, err error) {
	err = g.db.View(func(txn *badger.Txn) error {
		v, err := get(txn, appliedKey)
		if err != nil {
			return fmt.Errorf("%w: applied index: %w", errCorrupt, err)
		}
		if len(v) != 8 {
			return fmt.Errorf("%w: applied index is %d bytes", errCorrupt, len(v))
		}
		index = binary.BigEndian.Uint64(v)
		return nil
	})
	return index, err
}

// finish declares a built state complete as of index.
func (g *generation) finish(index uint64) error {
	err := g.db.Update(func(txn *badger.Txn) error {
		if err := txn.Set(versionKey, seal(versionKey, []byte{stateVersion})); err != nil {
			return err
		}
		return setApplied(txn, index)
	})
	if err != nil {
		return err
	}
	return syncDir(g.dir)
}

func setApplied(txn *badger.Txn, index uint64) error {
	return txn.Set(appliedKey, seal(appliedKey, binary.BigEndian.AppendUint64(nil, index)))
}

func setRecord(txn *badger.Txn, key string, value []byte) error {
	k := make([]byte, 0, len(recordKey)+len(key))
	k = append(append(k, recordKey...), key...)
	if value == nil {
		return txn.Delete(k)
	}
	v := make([]byte, 0, len(value)+4)
	return txn.Set(k, seal(k, append(v, value...)))
}

// maxDirty is how many changed keys may wait for the next write: half of what a transaction
// takes.
func (s *stateDisk) maxDirty() int { return int(s.cur.db.MaxBatchCount() / 2) }

// store brings the state to index, atomically and durably.
func (s *stateDisk) store(writes map[string][]byte, index uint64) error {
	s.mu.Lock()
	g := s.cur
	s.mu.Unlock()
	size := int64(0)
	for k, v := range writes {
		size += int64(len(k)+len(v)) + 24
	}
	if int64(len(writes)) < g.db.MaxBatchCount()*3/4 && size < g.db.MaxBatchSize()*3/4 {
		return g.db.Update(func(txn *badger.Txn) error {
			for k, v := range writes {
				if err := setRecord(txn, k, v); err != nil {
					return err
				}
			}
			return setApplied(txn, index)
		})
	}
	if err := writeFileAtomically(filepath.Join(g.dir, journalFile), encodeJournal(writes, index)); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return g.redo()
}

// The journal: count(4), then for each write keyLen(4) key valueLen+1(4) value (0: deleted),
// then index(8) crc(4).
func encodeJournal(writes map[string][]byte, index uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(writes)))
	for k, v := range writes {
		b = binary.BigEndian.AppendUint32(b, uint32(len(k)))
		b = append(b, k...)
		if v == nil {
			b = binary.BigEndian.AppendUint32(b, 0)
			continue
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(v))+1)
		b = append(b, v...)
	}
	return seal(nil, binary.BigEndian.AppendUint64(b, index))
}

var errJournal = fmt.Errorf("%w: journal", errCorrupt)

func decodeJournal(b []byte, each func(key string, value []byte) error) (index uint64, err error) {
	if b, err = unseal(nil, b); err != nil {
		return 0, err
	}
	number := func() uint32 {
		if len(b) < 4 {
			err = errJournal
			return 0
		}
		n := binary.BigEndian.Uint32(b)
		b = b[4:]
		return n
	}
	take := func(n uint32) []byte {
		if uint64(n) > uint64(len(b)) {
			err = errJournal
			return nil
		}
		v := b[:n:n]
		b = b[n:]
		return v
	}
	for range number() {
		key := string(take(number()))
		var value []byte
		if n := number(); n > 0 {
			value = take(n - 1)
		}
		if err != nil {
			return 0, err
		}
		if err := each(key, value); err != nil {
			return 0, err
		}
	}
	if err == nil && len(b) != 8 {
		err = errJournal
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b), nil
}

// redo does what the journal says, if there is one, and removes it.
func (g *generation) redo() error {
	path := filepath.Join(g.dir, journalFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	wb := g.db.NewWriteBatch()
	defer wb.Cancel()
	index, err := decodeJournal(b, func(key string, value []byte) error {
		k := append(bytes.Clone(recordKey), key...)
		if value == nil {
			return wb.Delete(k)
		}
		return wb.Set(k, seal(k, bytes.Clone(value)))
	})
	if err != nil {
		return err
	}
	if err := wb.Flush(); err != nil {
		return err
	}
	if err := g.db.Update(func(txn *badger.Txn) error { return setApplied(txn, index) }); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(g.dir)
}

// records yields the machine's keys and values, in order, in memory of their own. After the
// iteration err tells whether it was complete.
func (g *generation) records(txn *badger.Txn) (seq iter.Seq2[[]byte, []byte], err func() error) {
	var failed error
	seq = func(yield func(k, v []byte) bool) {
		failed = nil
		opt := badger.DefaultIteratorOptions
		opt.PrefetchValues = false // values are inline
		opt.Prefix = recordKey
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			key := item.KeyCopy(nil)
			value, err := item.ValueCopy(nil)
			if err == nil {
				value, err = unseal(key, value)
			}
			if err != nil {
				failed = fmt.Errorf("read state: %w", err)
				return
			}
			if !yield(key[len(recordKey):], value) {
				return
			}
		}
	}
	return seq, func() error { return failed }
}

// load hands the stored state to a machine.
func (g *generation) load(sm StateMachine, index uint64) error {
	txn := g.db.NewTransaction(false)
	defer txn.Discard()
	seq, failed := g.records(txn)
	err := sm.Load(index, seq)
	return errors.Join(failed(), err)
}
