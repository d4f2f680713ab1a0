// Package horde is the vocabulary that all parts of hordenode share: ids, kudos, users,
// workers, requests, jobs, return codes. It imports the standard library only, decides
// nothing and does nothing; a struct here is what one part hands to another.
//
// Reading order: id.go, kudos.go, user.go, worker.go, request.go, command.go, error.go.
//
// Where a struct travels between nodes or is stored, its fields carry cbor integer keys:
// they are never renumbered, and a decoder ignores keys that it does not know, so nodes of
// different versions understand each other.
package horde
