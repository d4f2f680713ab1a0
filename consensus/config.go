package consensus

import (
	"errors"
	"iter"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// StateMachine is what the log drives. Apply, Dirty, Changes and Load are never called
// concurrently.
type StateMachine interface {
	// Apply applies the proposals of one log entry in order and returns an answer for each.
	// stamp is the leader's clock when it packed the entry, Unix milliseconds; entry is the
	// SHA-256 of the entry as it stands in the log. The proposals belong to the machine
	// until Apply returns and must not be changed. An error (or a panic) means that this node
	// cannot go on: the group stops applying, nothing of this entry is stored.
	Apply(index uint64, stamp int64, entry [32]byte, proposals [][]byte) (answers [][]byte, err error)
	// Dirty is how many keys Changes would return.
	Dirty() int
	// Changes returns what was written since the last call (nil value: deleted) and the index
	// that these writes bring the stored state to. The caller owns the map.
	Changes() (writes map[string][]byte, index uint64)
	// Load replaces the whole state, also what Changes had yet to return, by the stored one,
	// which is as of index. The slices that state yields may be kept.
	Load(index uint64, state iter.Seq2[[]byte, []byte]) error
}

// Streams carries bytes between the members of a group; a peer is named by its node id.
// Package p2p's stream layer is one. The group closes it.
type Streams interface {
	net.Listener
	Dial(peer string, timeout time.Duration) (net.Conn, error)
}

// A Profile is a set of timeouts for the distance between voters.
type Profile int

const (
	// LAN suits voters in one region.
	LAN Profile = iota
	// WAN suits voters up to 150 ms apart.
	WAN
)

// Config says where a group lives and how it reaches the others.
type Config struct {
	Dir       string           // holds raft/ (log, snapshots), state-<gen>/ and CURRENT
	Self      string           // node id = raft server id = raft address
	Streams   Streams          // closed by Close
	Profile   Profile          // timeouts
	ClosePeer func(id string)  // closes a dead connection after missed heartbeats; may be nil
	Now       func() time.Time // the clock that stamps entries; nil: time.Now
	Log       *slog.Logger     // nil: slog.DiscardHandler

	// Archive is a directory that gets every applied entry, so that the state can be derived
	// again after the log has been shortened; empty: no archive. See archive.go.
	Archive string
	// SnapshotAfter and Trailing are how many entries come before the next snapshot and how
	// many are kept before it. 0: as measured. For tests that need them small.
	SnapshotAfter, Trailing uint64
	// BeforeWrite is called before each write to the log: tests make disks slow with it. nil: nothing.
	BeforeWrite func()
}

// tuning holds what tests need smaller than a node does.
type tuning struct {
	heartbeat, lease, commit time.Duration // raft's timeouts
	rpcTimeout               time.Duration // of one raft RPC
	snapshotEvery            time.Duration // how often raft looks whether a snapshot is due
	snapshotAfter            uint64        // entries since the last snapshot
	trailing                 uint64        // entries kept before a snapshot, for slow followers
	flushDelay               time.Duration // write-behind collects at most this long
	maxDirty                 int           // changed keys that may wait; 0: half of what one Badger txn takes
	storeHang                time.Duration // a log write that takes longer means a dead disk
	shutdownWait             time.Duration // how long Close waits for raft
}

func (p Profile) tuning() tuning {
	t := tuning{
		heartbeat: 500 * time.Millisecond, lease: 300 * time.Millisecond, commit: 20 * time.Millisecond,
		rpcTimeout:    3 * time.Second, // never tied to the heartbeat: it also bounds a snapshot's transfer
		snapshotEvery: time.Minute, snapshotAfter: 50_000, trailing: 20_000,
		flushDelay: 200 * time.Millisecond, storeHang: 10 * time.Second, shutdownWait: 10 * time.Second,
	}
	if p == WAN {
		t.heartbeat, t.lease, t.commit = 1500*time.Millisecond, 750*time.Millisecond, 250*time.Millisecond
		t.rpcTimeout = 6 * time.Second
	}
	return t
}

// tuning is the profile's, but for what the caller chose.
func (c Config) tuning() tuning {
	t := c.Profile.tuning()
	if c.SnapshotAfter > 0 {
		t.snapshotAfter, t.snapshotEvery = c.SnapshotAfter, 500*time.Millisecond
	}
	if c.Trailing > 0 {
		t.trailing = c.Trailing
	}
	return t
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" || c.Self == "" {
		return c, errors.New("consensus: Dir and Self are required")
	}
	if c.Profile != LAN && c.Profile != WAN {
		return c, errors.New("consensus: unknown profile")
	}
	if c.ClosePeer == nil {
		c.ClosePeer = func(string) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// raftConfig is the table of engineering.md 2.4. RestoreCommittedLogs stays off: it blocks
// for ever when more than 8,192 committed entries follow the snapshot, and our state is
// durable anyway. ShutdownOnRemove is off because raft, when it stops itself, forgets the
// futures that wait in its queue, and their callers would wait for ever; a server outside
// the configuration stands in no election either way.
// NoSnapshotRestoreOnStart is on because start.go has restored what had to be restored.
func (t tuning) raftConfig(self string, log *slog.Logger) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(self)
	rc.HeartbeatTimeout, rc.ElectionTimeout = t.heartbeat, t.heartbeat
	rc.LeaderLeaseTimeout, rc.CommitTimeout = t.lease, t.commit
	rc.MaxAppendEntries = 256
	rc.BatchApplyCh = true
	rc.SnapshotInterval, rc.SnapshotThreshold, rc.TrailingLogs = t.snapshotEvery, t.snapshotAfter, t.trailing
	rc.ShutdownOnRemove = false
	rc.NoLegacyTelemetry = true
	rc.NoSnapshotRestoreOnStart = true
	rc.Logger = newRaftLog(log)
	return rc
}
