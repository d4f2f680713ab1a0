// Package jobs keeps the requests that clients sent to this node: the node is their home and
// the only one that hands their jobs out and has them paid.
//
//	Accept ─► request, open slots ─► Claim ─► job: one slot leased to one worker ─► Submit ─► result
//	             ▲                                │ lease ends, or the worker gives up        │
//	             └──── slot reopens, gen+1 ───────┘ (the third time the request is faulted)   │
//	outbox: Admission ……………………………… Abort …………………………………………… Settlement … Finish ◄─────────┘
//
// Every change is one transaction of the node's local Badger, synced before anybody hears of
// it: a result, the end of its job and the Settlement that pays for it can never part. What
// callers do at the same time shares a transaction (store.go). Small state lives in memory
// too; prompts and results are read from disk when they are needed.
//
// The slots of a request are alike, but for alchemy, where each is a form with a name, a price
// and an end of its own (form.go).
//
// A request ends in one of four ways: all slots delivered, faulted, cancelled, or expired 20
// minutes after the last that happened to it. Whichever it is, one Finish goes out, after all
// settlements, and then it takes no more results.
//
// Package match says which worker may serve which request, package exchange shows requests to
// other nodes and brings their claims here; package node sends what is in the Outbox.
package jobs
