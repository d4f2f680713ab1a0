package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/emptyfile"
	"hordenode/internal/horde"
)

// Config is what a Store needs. Zero fields but Dir have defaults.
type Config struct {
	Dir      string
	Life     time.Duration // of an item; 24 h if 0
	MaxItems int           // 200,000 if 0
	MaxBytes int64         // of all items; 2 GiB if 0
	MaxFacts int           // 200,000 if 0
	Now      func() time.Time
	Log      *slog.Logger
}

const (
	defaultLife  = 24 * time.Hour
	defaultItems = 200_000
	defaultBytes = 2 << 30
	// strangers is the share of the limits, one in so many, that items may use which nobody
	// vouched for: who knows a home's tag can make up ids.
	strangers = 8
	pieceSize = 256 << 10 // what one record holds at most
)

// ErrFull is returned when the limits leave no room for an item.
var ErrFull = errors.New("relay: too much is kept already")

// ErrKept is returned for an item that is kept already.
var ErrKept = errors.New("relay: kept already")

var errClosed = errors.New("relay: closed")

// A Store is the durable part and its queues. Its methods may be called concurrently.
type Store struct {
	cfg Config
	now func() time.Time
	log *slog.Logger
	db  *badger.DB

	mu        sync.Mutex // guards the fields below
	closed    bool
	next      uint64 // number of the next item
	lines     map[horde.HomeTag]*line
	kept      map[name]struct{}
	groups    map[horde.UUID]int // items by group
	items     int
	bytes     int64
	strange   int   // items that nobody vouched for
	strangeSz int64 // their bytes
	facts     map[horde.UUID]fact
	dirty     map[horde.UUID]struct{} // facts that are not on disk
	kick      chan struct{}           // something is to be delivered
}

// A name tells items of a group apart.
type name struct {
	group horde.UUID
	what  string
}

// An item is what is in memory of one.
type item struct {
	n       uint64
	name    name
	size    int64
	pieces  int
	until   time.Time
	vouched bool
}

// A line is what waits for one home, in the order in which it came.
type line struct {
	items []*item
	busy  bool          // a round is under way
	pause time.Duration // between rounds that fail
	retry time.Time     // no round before
}

type fact struct {
	data  []byte
	until time.Time
}

// Keys: q be64(n) an item; p be64(n) be16(i) a piece of it; f uuid a fact.
const (
	keyItem  = 'q'
	keyPiece = 'p'
	keyFact  = 'f'
)

type itemRecord struct {
	Home    []byte `cbor:"1,keyasint"`
	Group   []byte `cbor:"2,keyasint"`
	What    string `cbor:"3,keyasint"`
	Until   int64  `cbor:"4,keyasint"` // Unix milliseconds
	Vouched bool   `cbor:"5,keyasint,omitempty"`
	Size    int64  `cbor:"6,keyasint"`
	Pieces  int    `cbor:"7,keyasint"`
}

type factRecord struct {
	Until int64  `cbor:"1,keyasint"` // Unix milliseconds
	Data  []byte `cbor:"2,keyasint"`
}

// Open reads what was kept when this node stopped.
func Open(cfg Config) (*Store, error) {
	if cfg.Life == 0 {
		cfg.Life = defaultLife
	}
	if cfg.MaxItems == 0 {
		cfg.MaxItems = defaultItems
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultBytes
	}
	if cfg.MaxFacts == 0 {
		cfg.MaxFacts = defaultItems
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := emptyfile.Remove(cfg.Dir); err != nil {
		return nil, err
	}
	db, err := badger.Open(badger.DefaultOptions(cfg.Dir).
		WithSyncWrites(true).WithDetectConflicts(false).WithNumVersionsToKeep(1).WithMetricsEnabled(false).
		WithMemTableSize(8 << 20).WithNumMemtables(2).
		WithValueThreshold(1 << 20).WithValueLogFileSize(16 << 20). // all values in the WAL
		WithBaseTableSize(4 << 20).WithBaseLevelSize(16 << 20).
		WithNumCompactors(2).WithNumLevelZeroTables(2).WithNumLevelZeroTablesStall(8).
		WithCompression(options.None).WithBlockCacheSize(0).WithIndexCacheSize(0).
		WithChecksumVerificationMode(options.OnTableRead).
		WithLogger(nil))
	if err != nil {
		return nil, fmt.Errorf("open the relay store: %w", err)
	}
	s := &Store{
		cfg: cfg, now: cfg.Now, log: cfg.Log, db: db, next: 1,
		lines: map[horde.HomeTag]*line{}, kept: map[name]struct{}{}, groups: map[horde.UUID]int{},
		facts: map[horde.UUID]fact{}, dirty: map[horde.UUID]struct{}{}, kick: make(chan struct{}, 1),
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the relay store: %w", err), db.Close())
	}
	return s, nil
}

// load fills memory from the disk. What cannot be read is reported and deleted.
func (s *Store) load() error {
	var stale [][]byte
	pieces := map[uint64]int{} // by item, as found
	err := s.db.View(func(txn *badger.Txn) error {
		opts := badger.DefaultIteratorOptions
		it := txn.NewIterator(opts)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			switch key[0] {
			case keyPiece: // before the items in the order of keys
				pieces[binary.BigEndian.Uint64(key[1:])]++
				continue
			case keyItem:
				var rec itemRecord
				n := binary.BigEndian.Uint64(key[1:])
				s.next = max(s.next, n+1)
				err := it.Item().Value(func(v []byte) error { return cbor.Unmarshal(v, &rec) })
				if err == nil && (len(rec.Home) != 6 || len(rec.Group) != 16 || pieces[n] != rec.Pieces) {
					err = errors.New("not what was written")
				}
				if err != nil {
					s.log.Error("damaged relay item dropped", "item", n, "err", err)
					stale = append(stale, key)
					continue
				}
				delete(pieces, n)
				s.add(horde.HomeTag(rec.Home), &item{
					n: n, name: name{horde.UUID(rec.Group), rec.What}, size: rec.Size, pieces: rec.Pieces,
					until: time.UnixMilli(rec.Until), vouched: rec.Vouched,
				})
			case keyFact:
				var rec factRecord
				err := it.Item().Value(func(v []byte) error { return cbor.Unmarshal(v, &rec) })
				if err != nil || len(key) != 17 || !s.now().Before(time.UnixMilli(rec.Until)) {
					stale = append(stale, key)
					continue
				}
				s.facts[horde.UUID(key[1:])] = fact{rec.Data, time.UnixMilli(rec.Until)}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for n, count := range pieces { // of an item that never became complete, or is damaged
		for i := range count {
			stale = append(stale, pieceKey(n, i))
		}
		s.next = max(s.next, n+1)
	}
	return s.erase(stale)
}

// add puts an item in line. s.mu is held, or nobody else knows s yet.
func (s *Store) add(home horde.HomeTag, x *item) {
	l := s.lines[home]
	if l == nil {
		l = &line{}
		s.lines[home] = l
	}
	l.items = append(l.items, x)
	s.book(x, 1)
}

// book counts an item in or out and takes or frees its name. s.mu is held.
func (s *Store) book(x *item, sign int) {
	if sign > 0 {
		s.kept[x.name] = struct{}{}
	} else {
		delete(s.kept, x.name)
	}
	if s.groups[x.name.group] += sign; s.groups[x.name.group] == 0 {
		delete(s.groups, x.name.group)
	}
	s.items += sign
	s.bytes += int64(sign) * x.size
	if !x.vouched {
		s.strange += sign
		s.strangeSz += int64(sign) * x.size
	}
}

// room tells whether the limits allow one more item. s.mu is held.
func (s *Store) room(size int64, vouched bool) bool {
	if s.items >= s.cfg.MaxItems || s.bytes+size > s.cfg.MaxBytes {
		return false
	}
	return vouched || s.strange < s.cfg.MaxItems/strangers && s.strangeSz+size <= s.cfg.MaxBytes/strangers
}

// Keep makes an item for a home durable: on return it is on disk and will be delivered,
// after those of its group that were kept before. what names it in its group. vouched tells
// that this node knows the group to exist; others share a small part of the room.
//
// It returns ErrKept if there is an item of that name, and ErrFull if there is no room.
func (s *Store) Keep(home horde.HomeTag, group horde.UUID, what string, data []byte, vouched bool) error {
	x := &item{
		name: name{group, what}, size: int64(len(data)), pieces: (len(data) + pieceSize - 1) / pieceSize,
		until: s.now().Add(s.cfg.Life), vouched: vouched,
	}
	s.mu.Lock()
	_, twice := s.kept[x.name]
	switch {
	case s.closed:
		s.mu.Unlock()
		return errClosed
	case twice:
		s.mu.Unlock()
		return ErrKept
	case !s.room(x.size, vouched):
		s.mu.Unlock()
		return ErrFull
	}
	x.n = s.next
	s.next++
	s.book(x, 1) // its name and room are taken from now on
	s.mu.Unlock()

	err := s.write(home, x, data)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.book(x, -1) // add counts it again
	if err != nil {
		return fmt.Errorf("relay: keep: %w", err)
	}
	s.add(home, x)
	s.wake()
	return nil
}

// write stores an item: its pieces first, so that the record tells that all are there.
func (s *Store) write(home horde.HomeTag, x *item, data []byte) error {
	rec, err := cbor.Marshal(itemRecord{
		Home: home[:], Group: x.name.group[:], What: x.name.what, Until: x.until.UnixMilli(),
		Vouched: x.vouched, Size: x.size, Pieces: x.pieces,
	})
	if err != nil {
		return err
	}
	w := s.db.NewWriteBatch()
	defer w.Cancel()
	for i := range x.pieces {
		piece := data[i*pieceSize : min(len(data), (i+1)*pieceSize)]
		if err := w.Set(pieceKey(x.n, i), piece); err != nil {
			return err
		}
	}
	if err := w.Set(itemKey(x.n), rec); err != nil {
		return err
	}
	return w.Flush()
}

// read returns what an item says.
func (s *Store) read(x *item) ([]byte, error) {
	data := make([]byte, 0, x.size)
	err := s.db.View(func(txn *badger.Txn) error {
		for i := range x.pieces {
			it, err := txn.Get(pieceKey(x.n, i))
			if err == nil {
				err = it.Value(func(v []byte) error { data = append(data, v...); return nil })
			}
			if err != nil {
				return fmt.Errorf("piece %d of item %d: %w", i, x.n, err)
			}
		}
		return nil
	})
	return data, err
}

// drop forgets an item that was delivered, or never will be.
func (s *Store) drop(home horde.HomeTag, x *item) error {
	keys := [][]byte{itemKey(x.n)}
	for i := range x.pieces {
		keys = append(keys, pieceKey(x.n, i))
	}
	if err := s.erase(keys); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[home]
	for i, y := range l.items {
		if y == x {
			l.items = append(l.items[:i], l.items[i+1:]...)
			break
		}
	}
	s.book(x, -1)
	if len(l.items) == 0 && !l.busy {
		delete(s.lines, home)
	}
	return nil
}

func (s *Store) erase(keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	w := s.db.NewWriteBatch()
	defer w.Cancel()
	for _, k := range keys {
		if err := w.Delete(k); err != nil {
			return err
		}
	}
	return w.Flush()
}

// Kept tells whether there is an item of that name.
func (s *Store) Kept(group horde.UUID, what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.kept[name{group, what}]
	return ok
}

// Waits tells whether any item of a group waits.
func (s *Store) Waits(group horde.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups[group] > 0
}

// Len returns how many items wait.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items
}

// Note remembers a fact for so long, in memory at once and on disk soon. When there are too
// many, it is forgotten.
func (s *Store) Note(id horde.UUID, data []byte, life time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.facts) >= s.cfg.MaxFacts {
		return
	}
	s.facts[id] = fact{data, s.now().Add(life)}
	s.dirty[id] = struct{}{}
}

// Fact returns what was noted. The caller must not change it.
func (s *Store) Fact(id horde.UUID) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.facts[id]
	return f.data, ok && s.now().Before(f.until)
}

// flush writes the facts that are not on disk yet.
func (s *Store) flush() error {
	s.mu.Lock()
	dirty := make(map[horde.UUID]fact, len(s.dirty))
	for id := range s.dirty {
		dirty[id] = s.facts[id]
	}
	clear(s.dirty)
	s.mu.Unlock()
	if len(dirty) == 0 {
		return nil
	}
	w := s.db.NewWriteBatch()
	defer w.Cancel()
	for id, f := range dirty {
		rec, err := cbor.Marshal(factRecord{Until: f.until.UnixMilli(), Data: f.data})
		if err != nil {
			return err
		}
		e := badger.NewEntry(factKey(id), rec)
		if left := f.until.Sub(s.now()); left > time.Second {
			e = e.WithTTL(left)
		}
		if err := w.SetEntry(e); err != nil {
			return err
		}
	}
	return w.Flush()
}

// forget drops facts whose time is over; on disk they go by themselves.
func (s *Store) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, f := range s.facts {
		if !now.Before(f.until) {
			delete(s.facts, id)
			delete(s.dirty, id)
		}
	}
}

// Close writes what is in memory only and closes the disk. Keep fails afterwards.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	return errors.Join(s.flush(), s.db.Close())
}

func itemKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{keyItem}, n) }

func pieceKey(n uint64, i int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64([]byte{keyPiece}, n), uint16(i))
}

func factKey(id horde.UUID) []byte { return append([]byte{keyFact}, id[:]...) }
