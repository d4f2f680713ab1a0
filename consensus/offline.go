package consensus

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/raft"
)

// An Entry is one command of the log as it stands there; see DecodeEntry.
type Entry struct {
	Index uint64
	Data  []byte
}

// DecodeEntry reads an entry: the leader's clock when it packed it, Unix milliseconds, and
// its proposals, which share data's memory.
func DecodeEntry(data []byte) (stamp int64, proposals [][]byte, err error) { return decodeEntry(data) }

// A StoredSnapshot is a checkpoint of the state: a file that ReadSnapshot of its Offline reads.
type StoredSnapshot struct {
	Name  string
	Index uint64 // of the last entry in it, raft's own included
	path  string
}

// Offline is what a stopped group left behind, for tools that read it. It works on a copy,
// so nothing is repaired or lost by looking.
type Offline struct {
	copied  string
	log     *logStore
	snaps   *raft.FileSnapshotStore
	disk    *stateDisk
	applied uint64
	archive *ArchiveReader
	txn     *badger.Txn
}

// OpenOffline reads the group in dir and, if archive is not empty, the archive there. scratch
// is where the copy is made; on the same file system snapshots take no room. ErrInUse says that the
// group runs; *ErrAmnesia and damage come back as they would at a start.
func OpenOffline(dir, archive, scratch string) (_ *Offline, err error) {
	if err := checkUnlocked(filepath.Join(dir, "raft", "log")); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, currentFile)); err != nil {
		return nil, fmt.Errorf("there is no ledger in %s: %w", dir, err)
	}
	o := &Offline{}
	if o.copied, err = os.MkdirTemp(scratch, "offline-"); err != nil {
		return nil, fmt.Errorf("copy the ledger: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.Close())
		}
	}()
	if err := shareTree(dir, o.copied); err != nil {
		return nil, fmt.Errorf("copy the ledger: %w", err)
	}
	quiet := slog.New(slog.DiscardHandler)
	raftDir := filepath.Join(o.copied, "raft")
	if o.log, err = openLogStore(raftDir, time.Now, quiet, func(error) {}); err != nil {
		return nil, damage(err, dir, "the log cannot be read")
	}
	if o.snaps, err = raft.NewFileSnapshotStoreWithLogger(raftDir, 2, newRaftLog(quiet)); err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	if o.disk, o.applied, err = openState(o.copied, quiet); err != nil {
		return nil, damage(fmt.Errorf("open state: %w", err), dir, "the stored state cannot be read")
	}
	o.txn = o.disk.cur.db.NewTransaction(false)
	if archive != "" {
		if o.archive, err = OpenArchive(archive); err != nil {
			return nil, err
		}
	}
	newest := uint64(0)
	for _, s := range o.Snapshots() {
		newest = max(newest, s.Index)
	}
	_, last := o.log.bounds()
	if have := max(last, newest); have < o.log.hwm.last || have < o.applied {
		return nil, &ErrAmnesia{Dir: dir, Have: have, Want: max(o.log.hwm.last, o.applied), Reason: "the log was longer"}
	}
	return o, nil
}

// Close removes the copy.
func (o *Offline) Close() (err error) {
	if o.txn != nil {
		o.txn.Discard()
	}
	if o.disk != nil {
		err = errors.Join(err, o.disk.Close())
	}
	if o.log != nil {
		err = errors.Join(err, o.log.Close())
	}
	return errors.Join(err, os.RemoveAll(o.copied))
}

// Bounds are the first and last index in the log, 0 and 0 if it is empty. Entries after
// Applied may not be committed: only a leader knows.
func (o *Offline) Bounds() (first, last uint64) { return o.log.bounds() }

// Applied is the index that the stored state is as of.
func (o *Offline) Applied() uint64 { return o.applied }

// Archive is what was archived, nil if nothing was.
func (o *Offline) Archive() *ArchiveReader { return o.archive }

// State yields the stored state; after the iteration err tells whether it was whole.
func (o *Offline) State() (records iter.Seq2[[]byte, []byte], err func() error) {
	return o.disk.cur.records(o.txn)
}

// Entries yields the commands of the log from index from to its end. An error ends it.
func (o *Offline) Entries(from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		first, last := o.log.bounds()
		for i := max(from, first); i <= last && last > 0; i++ {
			var l raft.Log
			if err := o.log.GetLog(i, &l); err != nil {
				yield(Entry{}, err)
				return
			}
			if l.Type == raft.LogCommand && !yield(Entry{Index: i, Data: l.Data}, nil) {
				return
			}
		}
	}
}

// Snapshots lists the checkpoints, the oldest first.
func (o *Offline) Snapshots() []StoredSnapshot {
	metas, err := o.snaps.List()
	if err != nil {
		return nil // a directory that cannot be listed holds none; the log's bounds tell on it
	}
	var out []StoredSnapshot
	for _, m := range metas {
		out = append(out, StoredSnapshot{Name: m.ID, Index: m.Index, path: filepath.Join(o.copied, "raft", "snapshots", m.ID, "state.bin")})
	}
	slices.SortFunc(out, func(a, b StoredSnapshot) int { return int(a.Index) - int(b.Index) })
	return out
}

// Read hands over each record of the snapshot, in memory of its own, and returns the index
// of the last command in it. Only without an error was the snapshot whole.
func (s StoredSnapshot) Read(each func(key, value []byte) error) (applied uint64, err error) {
	f, err := os.Open(s.path)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrSnapshotCorrupt, err)
	}
	defer f.Close()
	return readSnapshot(f, each)
}

// shareTree copies a group's files: snapshots, which are never changed, as hard links where the
// file system can. Tables are not changed either, but Badger empties a table's file before it
// removes it, and a copy that is opened may be compacted: a link would lose the original.
func shareTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case !d.Type().IsRegular() || d.Name() == "LOCK":
			return nil
		case strings.Contains(rel, "snapshots"+string(filepath.Separator)):
			if os.Link(path, target) == nil {
				return nil
			}
		}
		return copyFile(path, target)
	})
}

// copyFile copies a file, leaving its holes out: Badger makes its logs larger than they are.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	var zero [64 << 10]byte
	buf := make([]byte, len(zero))
	var size int64
	for {
		n, err := io.ReadFull(in, buf)
		if n > 0 && string(buf[:n]) != string(zero[:n]) {
			if _, werr := out.WriteAt(buf[:n], size); werr != nil {
				return werr
			}
		}
		size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return out.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
}

// Install makes dir the directory of a group of self alone whose state is as of applied: what
// a restored backup begins with. The directory must not hold a group.
func Install(dir, self string, applied uint64, records iter.Seq2[[]byte, []byte]) error {
	raftDir := filepath.Join(dir, "raft")
	if err := os.MkdirAll(raftDir, 0o700); err != nil {
		return fmt.Errorf("install state: %w", err)
	}
	quiet := slog.New(slog.DiscardHandler)
	log, err := openLogStore(raftDir, time.Now, quiet, func(error) {})
	if err != nil {
		return fmt.Errorf("install state: %w", err)
	}
	_, last := log.bounds()
	if last > 0 || applied == 0 {
		return errors.Join(ErrHasState, log.Close())
	}
	err = log.SetUint64([]byte(keyCurrentTerm), 1)
	if err := errors.Join(err, log.Close()); err != nil {
		return fmt.Errorf("install state: %w", err)
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(raftDir, 2, newRaftLog(quiet))
	if err != nil {
		return fmt.Errorf("install state: %w", err)
	}
	g := &Group{cfg: Config{Self: self}}
	_, trans := raft.NewInmemTransport(raft.ServerAddress(self)) // only names the server
	sink, err := snaps.Create(raft.SnapshotVersionMax, applied, 1, g.alone(), applied, trans)
	if err != nil {
		return fmt.Errorf("install state: %w", err)
	}
	count := uint64(0)
	for range records {
		count++
	}
	err = writeSnapshot(sink, applied, count, records)
	if err != nil {
		return fmt.Errorf("install state: %w", errors.Join(err, sink.Cancel()))
	}
	return sink.Close()
}
