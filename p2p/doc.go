// Package p2p is how nodes meet and talk. It carries bytes and decides nothing: who may
// connect and who may speak which protocol is asked of a Gate, what a message means is the
// business of those who handle it.
//
//	            ┌────────────────────────── Host ───────────────────────────┐
//	SetPeers ──►│ keepers   one per member: dial, ping, dial again for ever │──► OnConnect
//	Call ──────►│ rpc       one stream per call, 32 at a time per peer      │──► Handle
//	Join ──────►│ gossip    one pubsub; validate, then forward and deliver  │──► deliver
//	Streams ───►│ streams   net.Conn both ways, for consensus               │──► Accept
//	            ├───────────────────────────────────────────────────────────┤
//	            │ gater (Gate) · resource limits · TLS or Noise · TCP, QUIC │
//	            └───────────────────────────────────────────────────────────┘
//
// Membership is closed and known from elsewhere (the ledger), so there is no DHT: SetPeers says
// whom to stay connected to and where they are. How members that moved, or that nobody can dial,
// are reached nevertheless is in reach.go (docs/decisions/0023-reachability.md).
//
// Gossip carries hints and may lose them; whatever needs an answer is a Call. The bytes of
// the call protocol are in wire.go. Only this package imports libp2p.
//
// Reading order: host.go, gate.go, link.go, call.go, handle.go, gossip.go, stream.go; then book.go,
// reach.go, where.go, dialback.go, relayed.go, lan.go; flood.go keeps out those who misbehave.
package p2p
