// Package exchange is the federation as one node sees it: the open offers and the live
// workers of all nodes, pops over all of them, and the way from an id to its home.
//
//	jobs.Home ──OfferChanged──► announcer ──"o/image",…────────► gossip ──► other nodes
//	   ▲                           │ "n": beacons (digest, seq), worker records
//	   │ claim, submit, …          ▼
//	Exchange ◄── gossip ──► feeds: a feed per home, repaired over /horde/sync/1
//	   │                      │
//	   │                      ▼
//	   │   pop ──────────► index: match.Queue per kind ── candidates ──► own home: Home.Claim
//	   │                                                                 other:    /horde/claim/1
//	   └─ status, cancel, submit, blob ── by the id's home tag ────────► /horde/job/1, /horde/blob/1
//
// Gossip is a hint: an offer lost is found by the digest of the next beacon, an offer that
// is stale is refused by its home when it is claimed. Nothing here is durable and nothing
// here decides about kudos: a node that forgets all of it learns it again within seconds.
//
// Left to others: requests and their jobs (package jobs), who may serve what (package
// match), accounts (ledger), carrying bytes (p2p).
//
// Locks, never held across calls to Home, Ledger writes or Network: index.mu (offers and
// feeds), live.mu (workers), announcer.mu (what was told). The order is announcer, index,
// live; Ledger reads are local and may happen under them.
package exchange
