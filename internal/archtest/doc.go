// Package archtest keeps the shape of the tree true. Its test reads the imports of every Go
// file of the module and checks that they point one way:
//
//	cmd ──► node ──► the parts ──► node/pricing, internal/... ──► std
//
// Parts (api, ledger, consensus, p2p, node/jobs, …) do not import each other: each declares
// the small interfaces it needs and node introduces them. A big library has one home: libp2p
// in p2p, raft in consensus, Badger in the three packages that keep state. internal/horde
// imports the standard library only. Every package has a package comment.
//
// The rules are tables in arch_test.go: a change of the architecture is a change there.
package archtest
