package consensus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/hashicorp/raft"
)

// start compares log, snapshots and stored state, which is as of applied, and gives the
// machine its state. Raft is then told to believe us and not to restore anything itself: it
// would fall back to an older snapshot without asking whether the log reaches that far.
//
//	log        ......[first ........ last]
//	snapshot   ==============|
//	state      =================|             ahead of the snapshot: load it, replay the rest
//	state      ========|                      behind it: restore the snapshot, replay the rest
//	state      ================================|   ahead of both: amnesia
//
// A snapshot may be newer than the log and the state: raft files a snapshot that the leader
// sent before it asks the machine to take it, and a crash may come between the two.
func (g *Group) start(applied uint64) error {
	for {
		snap, err := g.newestSnapshot()
		if err != nil {
			return err
		}
		if err := g.check(applied, snap.Index); err != nil {
			return err
		}
		if applied >= snap.Index {
			err := g.fsm.load(g.disk.cur, applied)
			if err == nil || !isDamage(err) && !isUnreadable(err) || applied == 0 {
				return err
			}
			g.cfg.Log.Error("stored state is damaged, rebuilding it from snapshot and log", "error", err)
			if err := g.resetState(); err != nil {
				return err
			}
			applied = 0
			continue
		}
		err = g.restore(snap)
		if err == nil {
			return nil
		}
		if !isDamage(err) {
			return err
		}
		// An older one and the log may do; check decides.
		g.cfg.Log.Error("snapshot is damaged, removing it", "snapshot", snap.ID, "error", err)
		if err := os.RemoveAll(filepath.Join(g.cfg.Dir, "raft", "snapshots", snap.ID)); err != nil {
			return fmt.Errorf("remove snapshot: %w", err)
		}
	}
}

// newestSnapshot returns the newest snapshot, or one of index 0.
func (g *Group) newestSnapshot() (*raft.SnapshotMeta, error) {
	snaps, err := g.snaps.List()
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	if len(snaps) == 0 {
		return &raft.SnapshotMeta{}, nil
	}
	return snaps[0], nil
}

// check finds out whether this node still knows what it once knew: the log and the snapshot
// must reach as far as the state, the high-water mark and each other.
func (g *Group) check(applied, snapshot uint64) error {
	first, last := g.log.bounds()
	if last > 0 && last < snapshot { // all of it is in the snapshot
		if err := g.log.DeleteRange(first, last); err != nil {
			return err
		}
		first, last = 0, 0
	}
	amnesia := func(want uint64, reason string) error {
		return &ErrAmnesia{Dir: g.cfg.Dir, Have: max(last, snapshot), Want: want, Reason: reason}
	}
	switch have, h := max(last, snapshot), g.log.hwm; {
	case applied > have:
		return amnesia(applied, "the state is ahead of the log")
	case h.last > have:
		return amnesia(h.last, "the log was longer")
	case last > snapshot && first > snapshot+1:
		return amnesia(first-1, "entries between snapshot and log are missing")
	}
	for _, v := range []struct {
		key  string
		knew uint64
	}{{keyCurrentTerm, g.log.hwm.term}, {keyLastVoteTerm, g.log.hwm.voteTerm}} {
		n, err := g.log.number(v.key)
		if err != nil {
			return damage(fmt.Errorf("read %s: %w", v.key, err), g.cfg.Dir, "a vote cannot be read")
		}
		if n < v.knew {
			return amnesia(0, v.key+" went back")
		}
	}
	return nil
}

func (g *Group) restore(snap *raft.SnapshotMeta) error {
	_, r, err := g.snaps.Open(snap.ID)
	if err != nil {
		return fmt.Errorf("open snapshot: %w: %w", ErrSnapshotCorrupt, err)
	}
	err = g.fsm.Restore(r)
	return errors.Join(err, r.Close())
}

func (g *Group) resetState() error {
	if err := g.disk.Close(); err != nil {
		return fmt.Errorf("close state: %w", err)
	}
	disk, err := resetState(g.cfg.Dir, g.cfg.Log)
	if err != nil {
		return fmt.Errorf("reset state: %w", err)
	}
	g.disk, g.fsm.disk = disk, disk
	return nil
}

// isDamage tells damaged data from a disk that cannot be read now, is full or is closed to
// us. Badger has no types for what it finds at opening, only texts (badger/v4@v4.9.6).
func isDamage(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, errCorrupt) || errors.Is(err, ErrSnapshotCorrupt) {
		return true
	}
	return slices.ContainsFunc([]string{
		"checksum", "file does not exist for table", "bad magic", "MANIFEST invalid", "Manifest file might be corrupted", "Unable to find log file",
	}, func(text string) bool { return strings.Contains(err.Error(), text) })
}

// isUnreadable tells a file that the disk cannot read from all else. The stored state can be
// derived from the rest, into new files; a log cannot, and is left for its operator to judge.
func isUnreadable(err error) bool { return errors.Is(err, syscall.EIO) }

// damage makes an error an ErrAmnesia if it tells of damage.
func damage(err error, dir, reason string) error {
	if !isDamage(err) {
		return err
	}
	return &ErrAmnesia{Dir: dir, Reason: reason, Err: err}
}

// Wipe removes all that a group keeps in dir, so that the node can join as a new learner. It
// returns ErrInUse while a group is open there.
func Wipe(dir string) error {
	if err := checkUnlocked(filepath.Join(dir, "raft", "log")); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	// CURRENT first: without it no state counts, and the log goes last, so that a crash in
	// between leaves less and never a state that looks whole.
	names := []string{currentFile}
	for _, e := range entries {
		if _, ok := parseGeneration(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	for _, name := range append(names, "raft") {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
	}
	return syncDir(dir)
}
