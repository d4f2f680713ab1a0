package standby

import (
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/horde"
)

// beginning is for how long a home may copy here before it registers this node as its backup.
const beginning = 10 * time.Minute

// Sweep forgets the homes that this node is not the backup of any more, and what is past its
// time.
func (s *Store) Sweep(now time.Time, mine func(horde.HomeTag) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for home, h := range s.homes {
		if !mine(home) && now.Sub(h.heard) > beginning {
			if err := s.forget(home); err != nil {
				return err
			}
			delete(s.homes, home)
			continue
		}
		if err := s.expire(home, h, now); err != nil {
			return err
		}
	}
	return nil
}

// expire deletes a home's requests that are past their time. s.mu is held.
func (s *Store) expire(home horde.HomeTag, h *held, now time.Time) error {
	old := map[horde.UUID]bool{}
	err := s.db.View(func(txn *badger.Txn) error {
		for key := range s.under(append([]byte{keyItem}, home[:]...)) {
			x, err := txn.Get(key)
			if err != nil {
				return err
			}
			var rec itemRecord
			if err := x.Value(func(v []byte) error { return cbor.Unmarshal(v, &rec) }); err != nil || rec.Until < now.Unix() {
				old[horde.UUID(key[1+tagLen:itemPos])] = true
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("standby: sweep: %w", err)
	}
	w := s.db.NewWriteBatch()
	defer w.Cancel()
	for id := range old {
		size, err := s.drop(w, home, id)
		if err != nil {
			return err
		}
		s.book(h, -size)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("standby: sweep: %w", err)
	}
	return nil
}
