// Package nodetest runs whole nodes in one process for tests: the real REST API, Raft,
// Badger and libp2p on loopback, in t.TempDir. Nodes are started, stopped and started again
// by the test; CheckLedger is the one checker of the invariants of a ledger.
package nodetest
