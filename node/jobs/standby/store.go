package standby

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/emptyfile"
	"hordenode/internal/horde"
)

// Config is what a Store needs. MaxBytes, Now and Log have defaults.
type Config struct {
	Dir      string
	Key      ed25519.PrivateKey // of the node
	MaxBytes int64              // of all homes together; 4 GiB if 0
	Now      func() time.Time
	Log      *slog.Logger
}

// A Store holds what other homes copied here. Its methods may be called concurrently.
type Store struct {
	key *ecdh.PrivateKey
	max int64
	now func() time.Time
	log *slog.Logger
	db  *badger.DB

	mu    sync.Mutex // guards what follows, and the order of writes
	homes map[horde.HomeTag]*held
	bytes int64
}

// held is what is in memory of one home's copies.
type held struct {
	session horde.UUID
	bytes   int64
	heard   time.Time
}

// Keys:
//
//	k home             sessionRecord
//	i home id what     itemRecord, with the first piece
//	p home id n what   piece n of a long item; written before its record
const (
	keySession = 'k'
	keyItem    = 'i'
	keyPiece   = 'p'

	tagLen  = 6
	idLen   = 16
	itemPos = 1 + tagLen + idLen // where what begins in an item's key

	pieceSize = 256 << 10
)

type sessionRecord struct {
	Session horde.UUID `cbor:"1,keyasint"`
	Key     []byte     `cbor:"2,keyasint"` // the content key, sealed for this node
}

type itemRecord struct {
	Until  int64  `cbor:"1,keyasint,omitempty"`
	Pieces int    `cbor:"2,keyasint,omitempty"` // beside Data
	Data   []byte `cbor:"3,keyasint,omitempty"`
}

// Open reads what was copied here before.
func Open(cfg Config) (*Store, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 4 << 30
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	key, err := derive(cfg.Key)
	if err != nil {
		return nil, err
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
		return nil, fmt.Errorf("open the standby store: %w", err)
	}
	s := &Store{key: key, max: cfg.MaxBytes, now: cfg.Now, log: cfg.Log, db: db, homes: map[horde.HomeTag]*held{}}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the standby store: %w", err), db.Close())
	}
	return s, nil
}

// Close closes the disk.
func (s *Store) Close() error { return s.db.Close() }

func (s *Store) load() error {
	return s.db.View(func(txn *badger.Txn) error {
		opts := badger.DefaultIteratorOptions
		opts.PrefetchValues = false
		it := txn.NewIterator(opts)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			h := s.home(homeAt(key))
			switch key[0] {
			case keySession:
				var rec sessionRecord
				if err := it.Item().Value(func(v []byte) error { return cbor.Unmarshal(v, &rec) }); err != nil {
					s.log.Error("damaged standby session", "err", err) // unknown: the home begins again
					continue
				}
				h.session = rec.Session
			default:
				s.book(h, int64(len(key))+it.Item().ValueSize())
			}
		}
		return nil
	})
}

func (s *Store) home(tag horde.HomeTag) *held {
	h := s.homes[tag]
	if h == nil {
		h = &held{}
		s.homes[tag] = h
	}
	return h
}

func (s *Store) book(h *held, bytes int64) {
	h.bytes += bytes
	s.bytes += bytes
}

// Handle serves Proto: a home copies something here. On return it is on disk.
func (s *Store) Handle(_ context.Context, from horde.NodeID, data []byte) ([]byte, error) {
	req, err := decode[request](data)
	if err == nil {
		err = req.check()
	}
	if err != nil {
		return nil, fmt.Errorf("copies of %s: %w", from, err)
	}
	res, err := s.take(from.Tag(), req)
	if err != nil {
		return nil, err
	}
	return encode(res)
}

func (s *Store) take(home horde.HomeTag, req *request) (*response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.home(home)
	h.heard = s.now()
	switch {
	case len(req.Begin) == 0 && len(req.Items) == 0:
		return &response{Public: s.key.PublicKey().Bytes()}, nil
	case len(req.Begin) > 0:
		if err := s.begin(home, req); err != nil {
			return nil, err
		}
	case h.session != req.Session:
		return &response{Unknown: true}, nil
	}
	w := s.db.NewWriteBatch()
	defer w.Cancel()
	var bytes int64
	for i := range req.Items {
		x := &req.Items[i]
		if x.Drop {
			size, err := s.drop(w, home, x.ID)
			if err != nil {
				return nil, err
			}
			bytes -= size
			continue
		}
		if s.bytes+bytes+int64(len(x.Data)) > s.max {
			return &response{Full: true}, nil
		}
		size, err := s.put(w, home, x)
		if err != nil {
			return nil, err
		}
		bytes += size
	}
	if err := w.Flush(); err != nil {
		return nil, fmt.Errorf("standby: write: %w", err)
	}
	s.book(h, bytes)
	return &response{}, nil
}

// begin forgets what there is of a home and notes the new session. s.mu is held.
func (s *Store) begin(home horde.HomeTag, req *request) error {
	if _, err := openKey(s.key, home, req.Session, req.Begin); err != nil {
		return fmt.Errorf("standby: the session's key was not sealed for this node: %w", err)
	}
	if err := s.forget(home); err != nil {
		return err
	}
	rec, err := encode(sessionRecord{Session: req.Session, Key: req.Begin})
	if err != nil {
		return err
	}
	w := s.db.NewWriteBatch()
	defer w.Cancel()
	if err := w.Set(sessionKey(home), rec); err != nil {
		return fmt.Errorf("standby: write session: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("standby: write session: %w", err)
	}
	s.home(home).session = req.Session
	return nil
}

// put stores an item, in place of one of the same name if there is one, and returns how many
// bytes more there are.
func (s *Store) put(w *badger.WriteBatch, home horde.HomeTag, x *item) (grown int64, err error) {
	set := func(key, value []byte) error {
		grown += int64(len(key)+len(value)) - s.sizeOf(key)
		if err := w.Set(key, value); err != nil {
			return fmt.Errorf("standby: write: %w", err)
		}
		return nil
	}
	rec := itemRecord{Until: x.Until, Data: x.Data[:min(len(x.Data), pieceSize)]}
	for rest := x.Data[len(rec.Data):]; len(rest) > 0; rec.Pieces++ {
		n := min(len(rest), pieceSize)
		if err := set(pieceKey(home, x.ID, rec.Pieces, x.What), rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	value, err := encode(rec)
	if err != nil {
		return 0, err
	}
	return grown, set(itemKey(home, x.ID, x.What), value)
}

// sizeOf is how many bytes are stored under a key; 0 if there are none.
func (s *Store) sizeOf(key []byte) (size int64) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	if x, err := txn.Get(key); err == nil {
		size = int64(len(key)) + x.ValueSize()
	}
	return size
}

// drop deletes what there is of a request, and tells how much that was.
func (s *Store) drop(w *badger.WriteBatch, home horde.HomeTag, id horde.UUID) (size int64, err error) {
	for _, prefix := range [][]byte{itemKey(home, id, ""), append(append([]byte{keyPiece}, home[:]...), id[:]...)} {
		for key, bytes := range s.under(prefix) {
			if err := w.Delete(key); err != nil {
				return 0, fmt.Errorf("standby: delete: %w", err)
			}
			size += bytes
		}
	}
	return size, nil
}

// forget deletes what there is of a home. s.mu is held.
func (s *Store) forget(home horde.HomeTag) error {
	h := s.home(home)
	w := s.db.NewWriteBatch()
	defer w.Cancel()
	for _, kind := range []byte{keySession, keyItem, keyPiece} {
		for key := range s.under(append([]byte{kind}, home[:]...)) {
			if err := w.Delete(key); err != nil {
				return fmt.Errorf("standby: forget: %w", err)
			}
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("standby: forget: %w", err)
	}
	s.book(h, -h.bytes)
	*h = held{heard: h.heard}
	return nil
}

// under yields the keys with a prefix and the sizes of their values.
func (s *Store) under(prefix []byte) iter.Seq2[[]byte, int64] {
	return func(yield func([]byte, int64) bool) {
		txn := s.db.NewTransaction(false)
		defer txn.Discard()
		opts := badger.DefaultIteratorOptions
		opts.Prefix, opts.PrefetchValues = prefix, false
		it := txn.NewIterator(opts)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if key := it.Item().KeyCopy(nil); !yield(key, int64(len(key))+it.Item().ValueSize()) {
				return
			}
		}
	}
}

// A Copy is what is known of one request, by what it is called.
type Copy struct {
	ID    horde.RequestID
	Items map[string][]byte
}

// Has tells whether there is something of a home.
func (s *Store) Has(home horde.HomeTag) bool {
	for range s.under(append([]byte{keyItem}, home[:]...)) {
		return true
	}
	return false
}

// Bytes is how much is held, of all homes.
func (s *Store) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Copies calls f with each request of a home that is not past its time, until f fails. What
// cannot be read, nor ever will be, is reported, and deleted if it is all of a request: Has
// would otherwise tell of it for ever.
func (s *Store) Copies(home horde.HomeTag, f func(Copy) error) error {
	b, session, err := s.box(home)
	if err != nil {
		return err
	}
	var ids []horde.UUID
	for key := range s.under(append([]byte{keyItem}, home[:]...)) {
		if id := horde.UUID(key[1+tagLen : itemPos]); len(ids) == 0 || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		c, err := s.read(b, home, id)
		if err != nil {
			return err
		}
		if len(c.Items) == 0 {
			if err := s.dropOf(session, c.ID, home); err != nil {
				return err
			}
			continue
		}
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}

// box opens the content key of a home's session; nil if there is none.
func (s *Store) box(home horde.HomeTag) (b *box, session horde.UUID, err error) {
	var rec sessionRecord
	err = s.db.View(func(txn *badger.Txn) error {
		x, err := txn.Get(sessionKey(home))
		if err != nil {
			return err
		}
		return x.Value(func(v []byte) error { return cbor.Unmarshal(v, &rec) })
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, session, nil
	}
	if err != nil {
		return nil, session, fmt.Errorf("standby: read session: %w", err)
	}
	content, err := openKey(s.key, home, rec.Session, rec.Key)
	if err != nil {
		return nil, session, fmt.Errorf("standby: open session: %w", err)
	}
	b, err = newBox(home, content)
	return b, rec.Session, err
}

// dropOf is Drop if the home's session is still the given one: what a later one brought is not
// to go.
func (s *Store) dropOf(session horde.UUID, id horde.RequestID, home horde.HomeTag) error {
	s.mu.Lock()
	same := s.home(home).session == session
	s.mu.Unlock()
	if !same {
		return nil
	}
	return s.Drop(id, home)
}

func (s *Store) read(b *box, home horde.HomeTag, id horde.UUID) (Copy, error) {
	c := Copy{ID: horde.RequestID{UUID: id}, Items: map[string][]byte{}}
	err := s.db.View(func(txn *badger.Txn) error {
		for _, key := range slices.Collect(keysOf(s.under(itemKey(home, id, "")))) {
			what := string(key[itemPos:])
			sealed, until, err := whole(txn, key, home, id, what)
			if err == nil && b != nil && (until == 0 || s.now().Unix() <= until) {
				c.Items[what], err = b.open(id, what, sealed)
			}
			if err != nil {
				s.log.Error("copy not readable", "request", id, "what", what, "err", err)
				delete(c.Items, what)
			}
		}
		return nil
	})
	return c, err
}

func keysOf(all iter.Seq2[[]byte, int64]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for k := range all {
			if !yield(k) {
				return
			}
		}
	}
}

// whole puts an item together from its pieces.
func whole(txn *badger.Txn, key []byte, home horde.HomeTag, id horde.UUID, what string) (sealed []byte, until int64, err error) {
	x, err := txn.Get(key)
	if err != nil {
		return nil, 0, err
	}
	var rec itemRecord
	if err := x.Value(func(v []byte) error { return cbor.Unmarshal(bytes.Clone(v), &rec) }); err != nil {
		return nil, 0, err
	}
	sealed = rec.Data
	for i := range rec.Pieces {
		x, err := txn.Get(pieceKey(home, id, i, what))
		if err != nil {
			return nil, 0, err
		}
		if err := x.Value(func(v []byte) error { sealed = append(sealed, v...); return nil }); err != nil {
			return nil, 0, err
		}
	}
	return sealed, rec.Until, nil
}

// Drop deletes what there is of one request: it was adopted.
func (s *Store) Drop(id horde.RequestID, home horde.HomeTag) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.db.NewWriteBatch()
	defer w.Cancel()
	size, err := s.drop(w, home, id.UUID)
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("standby: delete: %w", err)
	}
	s.book(s.home(home), -size)
	return nil
}

func homeAt(key []byte) horde.HomeTag { return horde.HomeTag(key[1 : 1+tagLen]) }

func sessionKey(home horde.HomeTag) []byte { return append([]byte{keySession}, home[:]...) }

func itemKey(home horde.HomeTag, id horde.UUID, what string) []byte {
	return append(append(append([]byte{keyItem}, home[:]...), id[:]...), what...)
}

func pieceKey(home horde.HomeTag, id horde.UUID, n int, what string) []byte {
	key := append(append([]byte{keyPiece}, home[:]...), id[:]...)
	return append(binary.BigEndian.AppendUint16(key, uint16(n)), what...)
}
