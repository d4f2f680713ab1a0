// Package model checks the protocol by which jobs are handed out and paid, not its code: every
// state that two homes, two workers, the ledger and a network which loses, delays and repeats
// can get into is visited (engineering.md section 3.6 and appendix C).
//
//	client ─accept─► home 0 ─grant─► worker 0, 1 ─submit─► home ─settle─► ledger: none → held → settled
//	                  │  ▲ crash, restart, lease expiry                                      └→ released
//	                  └──┴─ takeover, at any time ─► home 1: from a fresh copy or an old one
//
// A message that was sent once may arrive at any later time, any number of times, or never.
//
// What must hold: a slot is paid for once at most, kudos are neither made nor lost, a home
// takes one result for a slot, an accepted request is never unknown to all, and from every
// state an end can be reached. Each rule of the protocol is there for one of these: without
// the rule, the search finds what breaks. The package is tests only.
package model
