package consensus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// An archive keeps what the log forgets: every entry that was applied, in segment files, so
// that the state can be derived again from the beginning.
//
//	entries-<first index>.log      magic(8) version(4), then for each entry
//	                               index(8) size(4) data crc(4)
//	checkpoint-<index>.snap        the state, where entries before it are not in the archive:
//	                               it was switched on late, or a snapshot replaced the state
//
// It is written and synced before the state that its entries lead to, so it is never behind
// the stored state; entries that it has already are passed over when the log is replayed.
// Segments that are complete are never touched again: the operator may move them away.
type archive struct {
	dir     string
	segment int64 // bytes after which a new segment begins

	mu      sync.Mutex // guards the fields below
	last    uint64     // index of the last entry written
	pending []Entry
	f       *os.File
	size    int64
}

const (
	archiveMagic   = "HRDARCH\n"
	archiveVersion = 1
	archiveSegment = 64 << 20
)

var errArchive = fmt.Errorf("%w: archive", errCorrupt)

// openArchive finds the end of the archive; an entry that a crash left half written is cut off.
func openArchive(dir string, log *slog.Logger) (*archive, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	a := &archive{dir: dir, segment: archiveSegment}
	r, err := OpenArchive(dir)
	if err != nil {
		return nil, err
	}
	a.last = r.checkpoint
	if len(r.segments) == 0 {
		return a, nil
	}
	path := r.segments[len(r.segments)-1]
	last, end, err := scanSegment(path, nil)
	if errors.Is(err, errArchive) {
		// Kept for whoever can mend it; a checkpoint begins what follows.
		log.Error("the archive is damaged: it goes on with a checkpoint", "error", err, "file", path+".damaged")
		a.last = 0
		return a, os.Rename(path, path+".damaged")
	}
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	a.last = max(a.last, last)
	if a.f, err = os.OpenFile(path, os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	a.size = end
	if end == 0 { // not even its head was written
		_, err = a.f.WriteAt(segmentHead(), 0)
		a.size = int64(len(segmentHead()))
	}
	return a, errors.Join(err, a.f.Truncate(a.size))
}

func segmentHead() []byte { return append([]byte(archiveMagic), 0, 0, 0, archiveVersion) }

// add takes an applied entry; it is on disk after the next flush.
func (a *archive) add(index uint64, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if index > a.last {
		a.pending = append(a.pending, Entry{index, data})
	}
}

// flush writes and syncs what was added.
func (a *archive) flush() error {
	a.mu.Lock()
	entries := a.pending
	a.pending = nil
	a.mu.Unlock()
	if len(entries) == 0 {
		return nil
	}
	if a.f == nil || a.size >= a.segment {
		if err := a.rotate(entries[0].Index); err != nil {
			return err
		}
	}
	var b []byte
	for _, e := range entries {
		from := len(b)
		b = binary.BigEndian.AppendUint64(b, e.Index)
		b = binary.BigEndian.AppendUint32(b, uint32(len(e.Data)))
		b = append(b, e.Data...)
		sum := seal(b[from:], nil)
		b = append(b, sum...)
	}
	if _, err := a.f.WriteAt(b, a.size); err != nil {
		return err
	}
	if err := a.f.Sync(); err != nil {
		return err
	}
	a.size += int64(len(b))
	a.mu.Lock()
	a.last = entries[len(entries)-1].Index
	a.mu.Unlock()
	return nil
}

// rotate begins a segment.
func (a *archive) rotate(first uint64) error {
	if a.f != nil {
		if err := a.f.Close(); err != nil {
			return err
		}
		a.f = nil
	}
	f, err := os.OpenFile(filepath.Join(a.dir, fmt.Sprintf("entries-%020d.log", first)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	a.f, a.size = f, int64(len(segmentHead()))
	if _, err := f.Write(segmentHead()); err != nil {
		return err
	}
	return syncDir(a.dir)
}

// begin writes a checkpoint, because entries before it are missing, and a new segment follows.
func (a *archive) begin(applied uint64, count uint64, records iter.Seq2[[]byte, []byte]) error {
	path := filepath.Join(a.dir, fmt.Sprintf("checkpoint-%020d.snap", applied))
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = writeSnapshot(f, applied, count, records)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	a.mu.Lock()
	a.last = applied
	a.mu.Unlock()
	if a.f != nil {
		err = a.f.Close()
		a.f = nil
	}
	return errors.Join(err, syncDir(a.dir))
}

func (a *archive) Close() error {
	if a.f == nil {
		return nil
	}
	return a.f.Close()
}

func (a *archive) end() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// startArchive opens the archive and has it begin where the state is.
func (g *Group) startArchive() error {
	if g.cfg.Archive == "" {
		return nil
	}
	a, err := openArchive(g.cfg.Archive, g.cfg.Log)
	if err != nil {
		return err
	}
	g.fsm.archive = a
	return g.fsm.archiveFrom(g.disk.cur, g.fsm.applied.Load())
}

// archiveFrom makes sure that the archive leads to the state in g, which is as of applied.
func (f *fsm) archiveFrom(g *generation, applied uint64) error {
	if f.archive == nil {
		return nil
	}
	if err := f.archive.flush(); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if f.archive.end() >= applied {
		return nil
	}
	txn := g.db.NewTransaction(false)
	defer txn.Discard()
	records, failed := g.records(txn)
	count := uint64(0)
	for range records {
		count++
	}
	if err := errors.Join(failed(), f.archive.begin(applied, count, records), failed()); err != nil {
		return fmt.Errorf("archive checkpoint: %w", err)
	}
	return nil
}

// An ArchiveReader reads an archive.
type ArchiveReader struct {
	dir        string
	segments   []string // in order
	checkpoint uint64   // index of the newest checkpoint, 0: the archive begins with the log
}

// OpenArchive finds the files of an archive.
func OpenArchive(dir string) (*ArchiveReader, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return &ArchiveReader{dir: dir}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	r := &ArchiveReader{dir: dir}
	for _, f := range files {
		var n uint64
		if _, err := fmt.Sscanf(f.Name(), "checkpoint-%d.snap", &n); err == nil && strings.HasSuffix(f.Name(), ".snap") {
			r.checkpoint = max(r.checkpoint, n)
		}
		if strings.HasPrefix(f.Name(), "entries-") && strings.HasSuffix(f.Name(), ".log") {
			r.segments = append(r.segments, filepath.Join(dir, f.Name()))
		}
	}
	slices.Sort(r.segments)
	return r, nil
}

// Empty tells whether there is nothing.
func (r *ArchiveReader) Empty() bool { return r.checkpoint == 0 && len(r.segments) == 0 }

// Checkpoint is the newest one: the entries after it follow without a gap. ok is false if
// the archive begins with the log's first entry.
func (r *ArchiveReader) Checkpoint() (s StoredSnapshot, ok bool) {
	name := fmt.Sprintf("checkpoint-%020d.snap", r.checkpoint)
	return StoredSnapshot{Name: name, Index: r.checkpoint, path: filepath.Join(r.dir, name)}, r.checkpoint > 0
}

// Entries yields the entries after index after. Damage anywhere but at the very end, where a
// crash may have cut an entry short, is an error and ends it.
func (r *ArchiveReader) Entries(after uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for i, path := range r.segments {
			stop := false
			_, end, err := scanSegment(path, func(e Entry) bool {
				stop = e.Index > after && !yield(e, nil)
				return !stop
			})
			if stop {
				return
			}
			if info, serr := os.Stat(path); err == nil && i < len(r.segments)-1 && (serr != nil || info.Size() != end) {
				err = errors.Join(fmt.Errorf("%w: %s is cut short", errArchive, filepath.Base(path)), serr)
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
		}
	}
}

// scanSegment reads a segment's entries up to its end or to one that is cut short, and
// returns the last index and where the good part ends. An entry that is there and wrong is
// damage.
func scanSegment(path string, each func(Entry) bool) (last uint64, end int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 256<<10)
	head := make([]byte, len(segmentHead()))
	if _, err := io.ReadFull(in, head); err != nil {
		return 0, 0, nil // cut short before anything was in it
	}
	if string(head) != string(segmentHead()) {
		return 0, 0, fmt.Errorf("%w: %s has another head or version", errArchive, filepath.Base(path))
	}
	end = int64(len(head))
	for {
		h := make([]byte, 12)
		if _, err := io.ReadFull(in, h); err != nil {
			return last, end, nil
		}
		index, size := binary.BigEndian.Uint64(h), binary.BigEndian.Uint32(h[8:])
		if size > maxSnapshotVal {
			return last, end, nil
		}
		rest := make([]byte, int(size)+4)
		if _, err := io.ReadFull(in, rest); err != nil {
			return last, end, nil
		}
		data := rest[:size:size]
		if _, err := unseal(append(h, data...), rest[size:]); err != nil {
			return last, end, fmt.Errorf("%w: %s has a damaged entry after %d", errArchive, filepath.Base(path), last)
		}
		if index <= last {
			return last, end, fmt.Errorf("%w: entry %d after %d", errArchive, index, last)
		}
		last = index
		end += int64(len(h)) + int64(len(rest))
		if each != nil && !each(Entry{index, data}) {
			return last, end, nil
		}
	}
}
