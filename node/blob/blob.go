// Package blob keeps what is too big for a record: images. Every blob belongs to a request or
// a job, is written once and forgotten after two hours.
//
//	<job>            what a worker made
//	<request>_src    source image      <request>_msk   its mask
//
//	Put ─► size, quota ─► tmp/… written, synced ─► renamed to <shard>/<name>, folder synced
//	Sweep deletes by age, package jobs deletes by id when a request ends.
//
// A Disk keeps them in a folder, an S3 in a bucket of any server that speaks that protocol; an
// S3 also gives presigned addresses, by which workers and clients go past the node.
//
// Package blobtest is the suite that every Store passes. Who may read or write a blob, and at
// which node it is, is decided elsewhere.
package blob

import (
	"context"
	"time"

	"hordenode/internal/horde"
)

// A Store keeps blobs by name. Its methods may be called concurrently. Refusals are
// *horde.Error: RCBadRequest for a bad name or too large a blob, RCUnavailable when there is
// no room.
type Store interface {
	// Put stores data under name, whole or not at all, and durably; an older blob of that name
	// is replaced.
	Put(ctx context.Context, name string, data []byte) error
	// Get returns a blob. If there is none, the error is RCRequestNotFound and fs.ErrNotExist.
	Get(ctx context.Context, name string) ([]byte, error)
	// Names returns the names of the blobs that a request or job has.
	Names(ctx context.Context, id horde.UUID) ([]string, error)
	// Has tells whether there is a blob of that name.
	Has(ctx context.Context, name string) bool
	// Delete deletes a blob. That there is none is no error.
	Delete(ctx context.Context, name string) error
	// DeleteAll deletes all blobs of a request or job.
	DeleteAll(ctx context.Context, id horde.UUID) error
	// Sweep deletes the blobs that are too old at now.
	Sweep(ctx context.Context, now time.Time) error
	// Usage returns how many bytes all blobs have.
	Usage() int64
}

// maxSuffix is the most characters of a name after the id.
const maxSuffix = 24

// A Name is a blob's name: the id it belongs to and what it is of it.
type Name struct {
	ID     horde.UUID
	Suffix string // empty, or _ and letters, digits and _
}

// ParseName reads a name: a UUID, with or without dashes, and a suffix of an underscore and
// lower-case letters, digits and underscores, if any.
func ParseName(s string) (Name, error) {
	bad := horde.Refuse(horde.RCBadRequest, "This is not the name of a blob.")
	id, suffix := s, ""
	for i, c := range []byte(s) {
		if c == '_' {
			id, suffix = s[:i], s[i:]
			break
		}
	}
	if len(suffix) == 1 || len(suffix) > maxSuffix {
		return Name{}, bad
	}
	for _, c := range []byte(suffix) {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return Name{}, bad
		}
	}
	u, err := horde.ParseUUID(id)
	if err != nil {
		return Name{}, bad
	}
	return Name{ID: u, Suffix: suffix}, nil
}

// String returns the name as it is on disk.
func (n Name) String() string { return n.ID.String() + n.Suffix }

// shard is the folder that a name is in. The first half of ids is the same at a whole node,
// so the last byte is taken; all names of an id are in one shard.
func (n Name) shard() string {
	s := n.ID.String()
	return s[len(s)-2:]
}
