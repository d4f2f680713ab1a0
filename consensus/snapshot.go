package consensus

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/raft"
)

// A snapshot is the whole state as of one entry, big endian:
//
//	magic(8) version(4) applied(8) count(8)
//	count × { keyLen(4) valueLen(4) key value }   in the order of the keys
//	SHA-256 of all before it (32)
//
// The version changes when an older program could not read it any more; it then says so
// with ErrSnapshotVersion and keeps its state.
const (
	snapshotMagic   = "HRDSNAP\n"
	snapshotVersion = 1
	maxSnapshotKey  = 1 << 16
	maxSnapshotVal  = 1 << 26
)

// fsmSnapshot streams a generation as it was when Snapshot was called.
type fsmSnapshot struct {
	disk *stateDisk
	gen  *generation
	txn  *badger.Txn
	done func(error) // told if the generation could not be released
}

var _ raft.FSMSnapshot = (*fsmSnapshot)(nil)

// Persist writes the snapshot. It runs beside Apply.
func (s *fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.write(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release lets the generation go.
func (s *fsmSnapshot) Release() {
	if s.txn == nil {
		return
	}
	s.txn.Discard()
	s.txn = nil
	s.done(s.disk.release(s.gen))
}

func (s *fsmSnapshot) write(w io.Writer) error {
	v, err := get(s.txn, appliedKey)
	if err != nil {
		return fmt.Errorf("applied index: %w", err)
	}
	records, failed := s.gen.records(s.txn)
	err = writeSnapshot(w, binary.BigEndian.Uint64(v), s.count(), records)
	return errors.Join(failed(), err)
}

// writeSnapshot writes the format. A caller whose records end early looks at its own error.
func writeSnapshot(w io.Writer, applied, count uint64, records iter.Seq2[[]byte, []byte]) error {
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	head := append([]byte(snapshotMagic), 0, 0, 0, snapshotVersion)
	head = binary.BigEndian.AppendUint64(head, applied)
	if _, err := out.Write(binary.BigEndian.AppendUint64(head, count)); err != nil {
		return err
	}
	for k, v := range records {
		b := binary.BigEndian.AppendUint32(make([]byte, 0, 8), uint32(len(k)))
		if _, err := out.Write(binary.BigEndian.AppendUint32(b, uint32(len(v)))); err != nil {
			return err
		}
		if _, err := out.Write(k); err != nil {
			return err
		}
		if _, err := out.Write(v); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// count is how many records the snapshot holds.
func (s *fsmSnapshot) count() (n uint64) {
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues = false
	opt.Prefix = recordKey
	it := s.txn.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		n++
	}
	return n
}

// readSnapshot reads a snapshot and hands over each record, in memory of its own. Only when it
// returns without an error was the snapshot whole.
func readSnapshot(r io.Reader, each func(key, value []byte) error) (applied uint64, err error) {
	in := &summedReader{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	head := make([]byte, len(snapshotMagic)+4+8+8)
	if err := in.read(head); err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(head, []byte(snapshotMagic)) {
		return 0, fmt.Errorf("%w: it does not begin like one", ErrSnapshotCorrupt)
	}
	head = head[len(snapshotMagic):]
	if v := binary.BigEndian.Uint32(head); v != snapshotVersion {
		return 0, fmt.Errorf("%w: %d, this program knows %d", ErrSnapshotVersion, v, snapshotVersion)
	}
	applied = binary.BigEndian.Uint64(head[4:])
	var sizes [8]byte
	for range binary.BigEndian.Uint64(head[12:]) {
		if err := in.read(sizes[:]); err != nil {
			return 0, err
		}
		k, v := binary.BigEndian.Uint32(sizes[:]), binary.BigEndian.Uint32(sizes[4:])
		if k > maxSnapshotKey || v > maxSnapshotVal {
			return 0, fmt.Errorf("%w: record of %d and %d bytes", ErrSnapshotCorrupt, k, v)
		}
		kv := make([]byte, k+v)
		if err := in.read(kv); err != nil {
			return 0, err
		}
		if err := each(kv[:k:k], kv[k:]); err != nil {
			return 0, err
		}
	}
	want := in.sum.Sum(nil)
	got := make([]byte, len(want))
	if err := in.read(got); err != nil {
		return 0, err
	}
	if !bytes.Equal(got, want) {
		return 0, fmt.Errorf("%w: checksum", ErrSnapshotCorrupt)
	}
	if _, err := in.r.ReadByte(); err != io.EOF {
		return 0, fmt.Errorf("%w: it goes on after its end", ErrSnapshotCorrupt)
	}
	return applied, nil
}

type summedReader struct {
	r   *bufio.Reader
	sum hash.Hash
}

func (s *summedReader) read(p []byte) error {
	if _, err := io.ReadFull(s.r, p); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: cut short", ErrSnapshotCorrupt)
		}
		return err
	}
	s.sum.Write(p)
	return nil
}

// restore builds the next generation from a snapshot and makes it the current one. An error
// with a nil generation has changed nothing; with a generation, the switch itself failed.
func (s *stateDisk) restore(r io.Reader) (g *generation, applied uint64, err error) {
	newest, err := s.newest()
	if err != nil {
		return nil, 0, err
	}
	g, err = s.build(newest + 1)
	if err != nil {
		return nil, 0, err
	}
	wb := g.db.NewWriteBatch()
	wb.SetMaxPendingTxns(2)
	applied, err = readSnapshot(r, func(key, value []byte) error {
		k := append(bytes.Clone(recordKey), key...)
		return wb.Set(k, seal(k, value))
	})
	if err == nil {
		err = wb.Flush()
	} else {
		wb.Cancel()
	}
	if err == nil {
		err = g.finish(applied)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("restore snapshot: %w", errors.Join(err, g.remove()))
	}
	return g, applied, s.switchTo(g)
}
