// Package outbound is the one way out: whatever a node calls because a client named it,
// images by address and webhooks, is called through a Client of this package.
//
//	URL ── CheckURL ──► DNS ──► Control: Check(address), port, own? ──► connect ──► answer, capped
//	         ▲                                                                        │
//	         └────────────────────── redirect, counted ◄────────────────────────────┘
//
// The decision falls after a name is resolved and right before its socket connects, so what
// the name resolved to a moment earlier, and how an address is spelled (decimal, octal,
// IPv4 within IPv6), makes no difference. Addresses never reach errors or logs from here.
package outbound
