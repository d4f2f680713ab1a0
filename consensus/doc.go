// Package consensus is a replicated log of opaque proposals that drives a state machine:
// hashicorp/raft, its log in one Badger and the machine's stored state in another.
//
//	Propose ─► queue ─► entry {stamp, proposals} ─► raft ─► log (Badger, synced) on a quorum
//	                                                 │
//	        answers ◄── StateMachine.Apply ◄── fsm ◄─┘   in memory, nothing synced here
//	                            │ changed keys
//	                            ▼ write-behind, one atomic synced write that names its index
//	                    state-<gen>/ (Badger) ──► snapshot {header, records, SHA-256}
//
// An entry is durable in a quorum of logs before it is applied, so the stored state may lag:
// after a crash it is an exact prefix of the log, and raft replays the rest. Proposals that
// arrive while earlier entries are in flight share the next one; a lonely proposal never waits.
//
// The package knows neither the meaning of a proposal nor how bytes travel: the caller
// brings a StateMachine and Streams. It never guesses about damage: a log that is shorter
// than what this node once knew is ErrAmnesia, an entry that cannot be applied stops the
// group (Failed), and a disk that does not answer does so too. What to do then is the
// caller's decision.
//
// Files: group.go (open, close), start.go (checks and repair at open), propose.go (group
// commit), barrier.go (reads), member.go, recover.go (after a lost majority), fsm.go and
// state.go (apply, write-behind), snapshot.go (format), logstore.go and hwm.go (raft's log),
// disk.go and tables.go (Badger), archive.go (what the log forgets), offline.go (tools that read
// a stopped group), transport.go, raftlog.go (raft's own log lines).
package consensus
