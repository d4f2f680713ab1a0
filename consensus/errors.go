package consensus

import (
	"errors"
	"fmt"
)

// ErrNotLeader says that this node does not lead the group: nothing happened. Leader is the
// node to ask instead, empty if none is known.
type ErrNotLeader struct{ Leader string }

func (e *ErrNotLeader) Error() string {
	if e.Leader == "" {
		return "consensus: not the leader, and no leader is known"
	}
	return "consensus: not the leader; " + e.Leader + " is"
}

// ErrAmnesia says that this node's log or state is not what it once was: a disk lost or
// damaged what had been written. The node may have voted and acknowledged entries that it no
// longer knows, so it must not take part as a voter with this data. The way back is to be
// demoted by the leader, to Wipe the directory and to join again as a learner.
type ErrAmnesia struct {
	Dir    string
	Have   uint64 // the last index that the log and the snapshots still hold
	Want   uint64 // the index that this node knew before, 0 if the damage is of another kind
	Reason string
	Err    error // the cause, if another error told
}

func (e *ErrAmnesia) Error() string {
	s := fmt.Sprintf("consensus: data in %s is damaged: %s (have index %d, knew %d)", e.Dir, e.Reason, e.Have, e.Want)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ErrAmnesia) Unwrap() error { return e.Err }

var (
	// ErrUnknown says that the outcome of a proposal is unknown: it may be in the log, or
	// come into it later. Propose the same bytes again.
	ErrUnknown = errors.New("consensus: outcome unknown")
	// ErrClosed says that the group is closed or has stopped: nothing happened.
	ErrClosed = errors.New("consensus: closed")
	// ErrTooLarge says that a proposal is larger than MaxProposal: nothing happened.
	ErrTooLarge = errors.New("consensus: proposal too large")
	// ErrInUse says that another process (or Group) has the directory open.
	ErrInUse = errors.New("consensus: directory is in use by another process")
	// ErrHasState says that a group cannot be founded here: there is state already.
	ErrHasState = errors.New("consensus: there is state already")
	// ErrNotMember says that a server is not in the group.
	ErrNotMember = errors.New("consensus: not a member of the group")
	// ErrDiskHangs says that a write to the log did not return.
	ErrDiskHangs = errors.New("consensus: the disk does not answer")
	// ErrSnapshotVersion says that a snapshot was written by a newer version of this program.
	ErrSnapshotVersion = errors.New("consensus: unknown snapshot format version")
	// ErrSnapshotCorrupt says that a snapshot is damaged or cut short.
	ErrSnapshotCorrupt = errors.New("consensus: snapshot is corrupt")
	// ErrStateVersion says that stored data was written by a newer version of this program.
	ErrStateVersion = errors.New("consensus: unknown version of stored data")
)

// errCorrupt marks a record that fails its checksum or is missing where it must not be.
var errCorrupt = errors.New("corrupt record")
