package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// An entry of the log is: version(1) stamp(8, Unix milliseconds) count(varint)
// count × { length(varint) proposal }.
const entryVersion = 1

const (
	// MaxProposal is the size of the largest proposal.
	MaxProposal = 256 << 10

	maxEntryProposals = 512
	maxEntryBytes     = 64 << 10 // a larger proposal travels alone
)

func encodeEntry(stamp int64, proposals [][]byte) []byte {
	size := 1 + 8 + binary.MaxVarintLen64
	for _, p := range proposals {
		size += len(p) + binary.MaxVarintLen32
	}
	b := append(make([]byte, 0, size), entryVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(stamp))
	b = binary.AppendUvarint(b, uint64(len(proposals)))
	for _, p := range proposals {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

var errEntry = errors.New("malformed log entry")

// decodeEntry returns proposals that share b's memory. An entry of a newer version is an
// error: a node that skipped it would differ from the others.
func decodeEntry(b []byte) (stamp int64, proposals [][]byte, err error) {
	if len(b) < 9 {
		return 0, nil, errEntry
	}
	if b[0] != entryVersion {
		return 0, nil, fmt.Errorf("%w: version %d, this program knows %d", errEntry, b[0], entryVersion)
	}
	stamp, b = int64(binary.BigEndian.Uint64(b[1:])), b[9:]
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)) {
		return 0, nil, errEntry
	}
	b = b[n:]
	proposals = make([][]byte, 0, count)
	for range count {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return 0, nil, errEntry
		}
		end := n + int(size)
		proposals = append(proposals, b[n:end:end])
		b = b[end:]
	}
	if len(b) != 0 {
		return 0, nil, errEntry
	}
	return stamp, proposals, nil
}
