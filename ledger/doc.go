// Package ledger is what all nodes of a federation agree on: accounts, kudos, workers,
// modes and members. It is a deterministic state machine and a typed client for it.
//
//	api, jobs, exchange                         every node, in log order
//	      |                                              |
//	      v                                              v
//	   Client --commands--> Log (made by node)        Machine.Apply
//	      |                  packs and signs a Batch     |  verify the signature, answer repeats,
//	      |                  and gets it committed       |  run each command in a tx
//	      '------------- reads (RLock) ----------------> state: tables of rows
//	                                                     |
//	                     Changes / Load: key -> CBOR <---'
//
// The pieces, from the bottom up:
//
//   - table.go: rows by key, with an undo journal (a refused command leaves no trace), the
//     set of rows changed since the last flush, and the running hash over all rows.
//   - state.go: the rows; keys.go: every stored key, built and parsed; expiry.go: which rows
//     end when; codec.go: the encoding; invariant.go: what must always hold.
//   - posting.go: kudos move only in sets of postings that sum to zero over users and named
//     system accounts; what lifts a balance to its floor is a posting too.
//   - genesis.go, account.go, change.go, transfer.go, hold.go, worker.go, duty.go, member.go,
//     mode.go, tick.go: the commands, a family per file. Each apply sees only its command
//     and its tx, so every node decides alike.
//   - team.go, sharedkey.go, message.go, filter.go, style.go, example.go, collection.go: what
//     communities make, each with its rows, commands, writes and reads; community_check.go:
//     what must hold of them.
//   - monthly.go: grants that ticks make; limit.go: what one member may do in a second and
//     in a day; statement.go: the last movements of each user.
//   - batch.go, command.go, machine.go: signed batches of commands, applied exactly once.
//   - merkle.go, proof.go, signhead.go: what anyone can prove of the accounts; moderation.go,
//     moderates.go: the log of what moderators did; reverse.go, doing.go: taking back what a
//     member did; merge.go, moveworker.go, discipline.go: the admin's and operator's tools.
//   - invite.go: how a node becomes a member; founding.go: how a federation begins.
//   - query.go, client.go: reads and writes for the other parts of a node.
//
// Time is ledger time: the largest leader stamp seen so far, in Unix milliseconds. There is
// no clock, no network, no float, no goroutine and no dependence on map order in Apply.
//
// A command that is refused is answered with a return code and changes nothing; one that
// nobody could read is refused too. Any other failure (a kind or version that this node does
// not know, divergence) is an error from Apply, and the node must stop: it never skips what
// others may have applied (docs/decisions/0008-poison.md).
//
// Secrets do not enter: API keys, logins and passkeys are stored and sent as salted
// SHA-256 hashes only. Ids of shared keys are here in the clear: the API shows them.
package ledger
