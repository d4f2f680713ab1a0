package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
)

// highWater remembers outside of Badger how far the log and the votes once were. Badger
// shortens a damaged write-ahead log without an error; a voter that forgot entries it
// acknowledged, or a vote it gave, can break the group's promises.
//
// The file holds last(8) term(8) voteTerm(8) crc(4). It is written after the database and,
// but for a truncation, not synced: it may lag behind the truth and never runs ahead of it.
type highWater struct {
	f   *os.File
	now func() time.Time

	// What is in the file. Guarded by logStore.wmu.
	last, term, voteTerm uint64
	at                   time.Time
}

// The keys under which raft stores its term and vote (raft@v1.8.0/raft.go).
const (
	keyCurrentTerm  = "CurrentTerm"
	keyLastVoteTerm = "LastVoteTerm"
)

const (
	hwmSize         = 28
	hwmEveryEntries = 256
	hwmEvery        = time.Second
)

// openHighWater reads the file. A file that is cut short or fails its checksum says nothing:
// it is not synced, so a power loss may leave it so.
func openHighWater(path string, now func() time.Time) (*highWater, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open high-water mark: %w", err)
	}
	h := &highWater{f: f, now: now}
	b := make([]byte, hwmSize)
	if n, err := f.ReadAt(b, 0); n == hwmSize && err == nil {
		if v, err := unseal([]byte("hwm"), b); err == nil {
			h.last, h.term, h.voteTerm = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), binary.BigEndian.Uint64(v[16:])
		}
	}
	return h, nil
}

func (h *highWater) write() error {
	b := make([]byte, 0, hwmSize)
	for _, n := range []uint64{h.last, h.term, h.voteTerm} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	if _, err := h.f.WriteAt(seal([]byte("hwm"), b), 0); err != nil {
		return fmt.Errorf("write high-water mark: %w", err)
	}
	h.at = h.now()
	return nil
}

// appended notes that the log reaches last, now and then.
func (h *highWater) appended(last uint64) error {
	if last < h.last+hwmEveryEntries && h.now().Sub(h.at) < hwmEvery {
		return nil
	}
	h.last = last
	return h.write()
}

// truncating notes, durably, that the log is about to end at last.
func (h *highWater) truncating(last uint64) error {
	if h.last <= last {
		return nil
	}
	h.last = last
	if err := h.write(); err != nil {
		return err
	}
	return h.f.Sync()
}

// stable notes a new term or vote.
func (h *highWater) stable(key string, value []byte) error {
	if len(value) != 8 {
		return nil
	}
	switch n := binary.BigEndian.Uint64(value); key {
	case keyCurrentTerm:
		h.term = n
	case keyLastVoteTerm:
		h.voteTerm = n
	default:
		return nil
	}
	return h.write()
}

func (h *highWater) close(last uint64) error {
	h.last = last
	return errors.Join(h.write(), h.f.Close())
}
