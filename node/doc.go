// Package node is the only package that knows all parts: it opens them in order, gives each
// what it needs of the others, runs them and closes them in reverse.
//
//	api ── accounts ──► ledger.Client ── proposer ──► leader's log ──► ledger.Machine
//	 │                                      ▲
//	 └── board ──► exchange ──► jobs.Home ──┘ durable outbox
//	                   └──► p2p: offers, claims, results
//
// What a node does by itself is here too: it founds or joins a federation (found.go,
// join.go), keeps in touch with its members and decides who votes (members.go,
// autopilot.go), forwards proposals to the leader (proposer.go, sequencer.go) and answers
// its operator (control.go).
package node
