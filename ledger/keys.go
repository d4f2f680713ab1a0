package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"hordenode/internal/horde"
)

// The first byte of every stored key names its table. Never reuse one.
const (
	prefixMeta     = 'A' // -> meta
	prefixHead     = 'B' // -> head
	prefixModes    = 'C' // -> modes
	prefixUser     = 'D' // user id, 8 bytes big endian -> user
	prefixKey      = 'E' // hash of an API key -> user id
	prefixLogin    = 'F' // hash of an OAuth id -> user id
	prefixPasskey  = 'G' // hash of a proxy passkey -> user id
	prefixWorker   = 'H' // worker id -> worker
	prefixName     = 'I' // worker name -> worker id
	prefixOwned    = 'J' // user id -> worker ids, oldest first
	prefixHold     = 'K' // request id -> hold
	prefixMember   = 'L' // node id -> member
	prefixTag      = 'M' // home tag -> node id
	prefixNonce    = 'N' // invite nonce -> when the invite expires
	prefixOrigin   = 'O' // node id -> origin
	prefixRecent   = 'P' // from, to -> when kudos were last sent
	prefixAnswered = 'Q' // user id, hash of Idempotency-Key -> answered
	prefixAccount  = 'R' // system account, 1 byte -> its balance
	prefixActivity = 'S' // -> activity

	prefixTeam           = 'T' // team id -> team
	prefixTeamName       = 'U' // team name, folded -> team id
	prefixSharedKey      = 'V' // horde.SharedKeyRef -> sharedKey
	prefixSharedKeysOf   = 'W' // user id -> horde.SharedKeyRefs, oldest first
	prefixMessage        = 'X' // message id -> message
	prefixMessagesTo     = 'Y' // worker id, zero for all -> message ids, oldest first
	prefixFilter         = 'Z' // filter id, 8 bytes big endian -> filter
	prefixStyle          = 'a' // style id -> style
	prefixStyleName      = 'b' // style name -> style ids, oldest first
	prefixStylesOf       = 'c' // user id -> style ids, oldest first
	prefixCollection     = 'd' // collection id -> collection
	prefixCollectionName = 'e' // collection name -> collection ids, oldest first
	prefixCollectionsOf  = 'f' // user id -> collection ids, oldest first
	prefixPage           = 'g' // user id, place in the ring, 1 byte -> page
	prefixQuota          = 'h' // node id -> quota
	prefixModeration     = 'm' // number, 8 bytes big endian -> moderation
	prefixReversed       = 'n' // index, batch and place of a command, 8, 2 and 2 bytes big endian -> reversal
	prefixBlock          = 'x' // keyed hash of a network -> ipBlock
	prefixBar            = 'y' // user id -> when the user was barred
	prefixStandin        = 'q' // node id -> standin
	prefixEnded          = 'r' // request id -> when it may be forgotten that a successor finished it
)

var errKey = errors.New("malformed key")

// unit is the key of a table with one row.
type unit struct{}

func appendUnit(b []byte, _ unit) []byte { return b }

func parseUnit(b []byte) (unit, error) {
	if len(b) != 0 {
		return unit{}, errKey
	}
	return unit{}, nil
}

func appendUser(b []byte, id horde.UserID) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(id))
}

func parseUser(b []byte) (horde.UserID, error) {
	if len(b) != 8 {
		return 0, errKey
	}
	return horde.UserID(binary.BigEndian.Uint64(b)), nil
}

func appendDigest(b []byte, d digest) []byte { return append(b, d[:]...) }

func parseDigest(b []byte) (digest, error) {
	if len(b) != len(digest{}) {
		return digest{}, errKey
	}
	return digest(b), nil
}

func appendWorker(b []byte, id horde.WorkerID) []byte { return append(b, id.UUID[:]...) }

func parseWorker(b []byte) (horde.WorkerID, error) {
	if len(b) != len(horde.UUID{}) {
		return horde.WorkerID{}, errKey
	}
	return horde.WorkerID{UUID: horde.UUID(b)}, nil
}

func appendRequest(b []byte, id horde.RequestID) []byte { return append(b, id.UUID[:]...) }

func parseRequest(b []byte) (horde.RequestID, error) {
	if len(b) != len(horde.UUID{}) {
		return horde.RequestID{}, errKey
	}
	return horde.RequestID{UUID: horde.UUID(b)}, nil
}

func appendText[S ~string](b []byte, s S) []byte { return append(b, s...) }

func parseText[S ~string](b []byte) (S, error) { return S(b), nil }

func appendTag(b []byte, t horde.HomeTag) []byte { return append(b, t[:]...) }

func parseTag(b []byte) (horde.HomeTag, error) {
	if len(b) != len(horde.HomeTag{}) {
		return horde.HomeTag{}, errKey
	}
	return horde.HomeTag(b), nil
}

func appendNonce(b []byte, n Nonce) []byte { return append(b, n[:]...) }

func parseNonce(b []byte) (Nonce, error) {
	if len(b) != len(Nonce{}) {
		return Nonce{}, errKey
	}
	return Nonce(b), nil
}

// A pair is who sent kudos to whom.
type pair struct{ from, to horde.UserID }

func appendPair(b []byte, p pair) []byte { return appendUser(appendUser(b, p.from), p.to) }

func parsePair(b []byte) (pair, error) {
	if len(b) != 16 {
		return pair{}, errKey
	}
	from, _ := parseUser(b[:8]) // cannot fail: 8 bytes
	to, _ := parseUser(b[8:])
	return pair{from, to}, nil
}

// An answerKey is a user's Idempotency-Key, hashed.
type answerKey struct {
	user horde.UserID
	key  digest
}

func appendAnswerKey(b []byte, k answerKey) []byte {
	return appendDigest(appendUser(b, k.user), k.key)
}

func parseAnswerKey(b []byte) (answerKey, error) {
	if len(b) != 8+len(digest{}) {
		return answerKey{}, errKey
	}
	user, _ := parseUser(b[:8]) // cannot fail: 8 bytes
	return answerKey{user, digest(b[8:])}, nil
}

func appendAccount(b []byte, a Account) []byte { return append(b, byte(a)) }

func parseAccount(b []byte) (Account, error) {
	if len(b) != 1 {
		return 0, errKey
	}
	return Account(b[0]), nil
}

// appendID and parseID are for all that is named by a UUID.
func appendID[I ~struct{ horde.UUID }](b []byte, id I) []byte {
	u := struct{ horde.UUID }(id).UUID
	return append(b, u[:]...)
}

func parseID[I ~struct{ horde.UUID }](b []byte) (I, error) {
	if len(b) != len(horde.UUID{}) {
		return I{}, errKey
	}
	return I(struct{ horde.UUID }{horde.UUID(b)}), nil
}

// compareUUID orders by bytes.
func compareUUID(a, b horde.UUID) int { return bytes.Compare(a[:], b[:]) }

func appendNumber(b []byte, n int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }

func parseNumber(b []byte) (int64, error) {
	if len(b) != 8 {
		return 0, errKey
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

func appendCount(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

func parseCount(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, errKey
	}
	return binary.BigEndian.Uint64(b), nil
}

func appendPage(b []byte, k pageKey) []byte { return append(appendUser(b, k.user), k.slot) }

func parsePage(b []byte) (pageKey, error) {
	if len(b) != 9 {
		return pageKey{}, errKey
	}
	user, _ := parseUser(b[:8]) // cannot fail: 8 bytes
	return pageKey{user, b[8]}, nil
}

// keyError says which stored key could not be read.
func keyError(key []byte, err error) error { return fmt.Errorf("stored key %x: %w", key, err) }
