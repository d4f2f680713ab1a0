// Package match decides which worker may serve which request, and which of many requests
// comes first. It is pure: no clock, no network, no goroutines; callers lock.
//
//	horde.Caps ── NewProfile ──► Profile ─┐
//	ledger facts of the worker ───────────┴─► Worker ──┐
//	                                                   ├─► Check ──► Reason ("" = may serve)
//	horde.Shape + Payer ───────────────────────────────┘
//
//	                 ┌ shape A ┬ payer 1: heap of offers     Candidates: best first, over the
//	Queue (one kind) ┤         └ payer 2: heap of offers     heads of the shapes that match
//	                 └ shape B ─ payer 1: heap of offers     Standing: place in the whole order
//
// Offers of equal shape are served by the same workers, so a Queue tests each distinct
// shape once, whatever the number of offers behind it.
//
// Left to others: prompts and blacklists (the home sees them), prices (package pricing),
// clocks, locks and the network (package exchange).
package match
