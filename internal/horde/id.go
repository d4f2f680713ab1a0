package horde

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
)

// A NodeID names a node: the string form of its libp2p peer id.
type NodeID string

// A HomeTag is the first 6 bytes of SHA-256 of a node's NodeID (its string form). Every
// request and job id begins with the tag of its home, so any node can route any id
// without a lookup. Tags are unique in a federation: admission refuses a collision.
type HomeTag [6]byte

// Tag returns the node's home tag.
func (n NodeID) Tag() HomeTag {
	sum := sha256.Sum256([]byte(n))
	return HomeTag(sum[:6])
}

// A UUID is 16 bytes, shown in the usual 8-4-4-4-12 form.
type UUID [16]byte

// ErrNotUUID is returned for a string that is not a UUID.
var ErrNotUUID = errors.New("not a UUID")

// ParseUUID reads a UUID with or without dashes, in either case.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) == 36 {
		if s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
			return UUID{}, ErrNotUUID
		}
		s = strings.ReplaceAll(s, "-", "")
	}
	if len(s) != 32 {
		return UUID{}, ErrNotUUID
	}
	if _, err := hex.Decode(u[:], []byte(s)); err != nil {
		return UUID{}, ErrNotUUID
	}
	return u, nil
}

// String returns the dashed lower-case form.
func (u UUID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], u[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], u[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], u[8:10])
	b[23] = '-'
	hex.Encode(b[24:], u[10:])
	return string(b[:])
}

// IsZero tells whether u is the zero UUID, which names nothing.
func (u UUID) IsZero() bool { return u == UUID{} }

// Home returns the tag that a request or job id begins with.
func (u UUID) Home() HomeTag { return HomeTag(u[:6]) }

// MarshalText makes a UUID a JSON string.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (u *UUID) UnmarshalText(b []byte) error {
	v, err := ParseUUID(string(b))
	if err == nil {
		*u = v
	}
	return err
}

// MarshalBinary makes a UUID 16 raw bytes in CBOR.
func (u UUID) MarshalBinary() ([]byte, error) { return u[:], nil }

// UnmarshalBinary reads what MarshalBinary wrote.
func (u *UUID) UnmarshalBinary(b []byte) error {
	if len(b) != len(u) {
		return ErrNotUUID
	}
	copy(u[:], b)
	return nil
}

type (
	// A RequestID names a request; its home is in it.
	RequestID struct{ UUID }
	// A JobID names one job of a request; its home is in it.
	JobID struct{ UUID }
	// A WorkerID names a worker across the federation.
	WorkerID struct{ UUID }
)

// NewRequestID makes an id for a request of the given home. rnd is crypto/rand.Reader, or
// a seeded source in tests.
func NewRequestID(home HomeTag, rnd io.Reader) (RequestID, error) {
	u, err := newHomed(home, rnd)
	return RequestID{u}, err
}

// NewJobID makes an id for a job of the given home.
func NewJobID(home HomeTag, rnd io.Reader) (JobID, error) {
	u, err := newHomed(home, rnd)
	return JobID{u}, err
}

// NewWorkerID makes a random (version 4) worker id.
func NewWorkerID(rnd io.Reader) (WorkerID, error) {
	var u UUID
	_, err := io.ReadFull(rnd, u[:])
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return WorkerID{u}, err
}

// newHomed makes a version 8 UUID: 48 bits of home tag, the rest random but for the
// version and variant bits (RFC 9562 section 5.8).
func newHomed(home HomeTag, rnd io.Reader) (UUID, error) {
	var u UUID
	_, err := io.ReadFull(rnd, u[6:])
	copy(u[:6], home[:])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u, err
}
