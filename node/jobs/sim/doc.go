// Package sim runs the job plane of a whole federation in one process and in simulated time
// (testing/synctest): it is tests only.
//
//	clients ── Accept, Status, Cancel ─┐                      ┌─ Pop, Submit ── workers
//	                                   ▼                      ▼
//	node: jobs.Home · exchange.Exchange · relay.Store · standby.Copier and Store, all as they are
//	   │ gossip, calls                                │ durable commands
//	   ▼                                              ▼
//	network: delays, loses, repeats, reorders,     book: a log in memory that needs a majority of
//	replays, cuts, by seed                         the voters, and a ledger.Machine per node
//
// The nemesis crashes and restarts nodes, cuts them off for so long that others take their
// requests over, lets them return, and adds nodes. In calm moments every open request must be
// poppable everywhere within 17 s. In the end every accepted request has ended, no slot was settled
// twice, the kudos sum to zero, all ledgers are equal, nothing waits any more and no honest worker
// was blamed.
//
// The seed decides schedule, traffic and the network's whims; the order in which the runtime
// lets goroutines run it does not, so a seed that failed fails again most of the time. Consensus
// has a simulation of its own, in package node.
package sim
