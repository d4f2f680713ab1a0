package jobs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
	"unique"

	"github.com/fxamacker/cbor/v2"

	"hordenode/internal/horde"
)

// Keys, by their first byte. Ids are 16 raw bytes.
//
//	m name                one of a kind: format, boot, outbox
//	r request             what was asked for, but its body    written once
//	b request             its body                            written once, long ones in pieces
//	s request             what became of it                   written with every change
//	j request job         a job
//	g job                 its result                          long ones in pieces
//	n nonce               what a claim was answered           gone by itself
//	o be64(number)        an outbox item
//	p id be16(i)          piece i of a long body or result
//	t span start kind model   finished jobs: tally.go
const (
	keyMeta    = 'm'
	keyRequest = 'r'
	keyBody    = 'b'
	keyState   = 's'
	keyJob     = 'j'
	keyResult  = 'g'
	keyNonce   = 'n'
	keyOutbox  = 'o'
	keyPiece   = 'p'
	keyTally   = 't'
)

func metaKey(name string) []byte { return append([]byte{keyMeta}, name...) }

func idKey(prefix byte, id horde.UUID) []byte { return append([]byte{prefix}, id[:]...) }

func jobKey(r horde.RequestID, j horde.JobID) []byte {
	return append(idKey(keyJob, r.UUID), j.UUID[:]...)
}

func nonceKey(n [16]byte) []byte { return append([]byte{keyNonce}, n[:]...) }

func outboxKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{keyOutbox}, n) }

func pieceKey(id horde.UUID, i int) []byte {
	return binary.BigEndian.AppendUint16(idKey(keyPiece, id), uint16(i))
}

// A record on disk is: layout (1 byte), content, CRC-32C of key, layout and content (4 bytes,
// little endian). Badger has checksums of its own, but for a record that a bug or a bad disk
// put under another key they are right.
const (
	layoutPlain  = 1 // content is the value
	layoutPieces = 2 // content is how many pieces the value is in (uvarint)
)

// pieceSize is where a value is cut. All that is written in one transaction has to fit a
// memtable's share, and values stay below Badger's value threshold.
const pieceSize = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged is returned for a record that is not what was written.
var errDamaged = errors.New("damaged record")

func seal(key []byte, layout byte, content []byte) []byte {
	rec := make([]byte, 0, 1+len(content)+4)
	rec = append(rec, layout)
	rec = append(rec, content...)
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, rec)
	return binary.LittleEndian.AppendUint32(rec, sum)
}

func unseal(key, rec []byte) (layout byte, content []byte, err error) {
	if len(rec) < 5 {
		return 0, nil, errDamaged
	}
	body, tail := rec[:len(rec)-4], rec[len(rec)-4:]
	if crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body) != binary.LittleEndian.Uint32(tail) {
		return 0, nil, errDamaged
	}
	return body[0], body[1:], nil
}

// The CBOR of records: times to the nanosecond; text is taken as it is.
var encMode, decMode = func() (cbor.EncMode, cbor.DecMode) {
	enc, err := cbor.EncOptions{Time: cbor.TimeRFC3339Nano}.EncMode()
	if err != nil {
		panic(err) // the options are constant
	}
	dec, err := cbor.DecOptions{UTF8: cbor.UTF8DecodeInvalid}.DecMode()
	if err != nil {
		panic(err) // likewise
	}
	return enc, dec
}()

// marshal encodes one of our structs. They hold plain fields only, so that it cannot fail.
func marshal(v any) []byte {
	content, err := encMode.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("jobs: encode %T: %v", v, err))
	}
	return content
}

// encode makes the sealed record of v under key.
func encode(key []byte, v any) entry {
	return entry{key: key, value: seal(key, layoutPlain, marshal(v))}
}

// decode reads what encode made.
func decode(key, rec []byte, v any) error {
	layout, content, err := unseal(key, rec)
	if err == nil && layout != layoutPlain {
		err = fmt.Errorf("layout %d: %w", layout, errDamaged)
	}
	if err == nil {
		err = decMode.Unmarshal(content, v)
	}
	if err != nil {
		return fmt.Errorf("decode %c record: %w", key[0], err)
	}
	return nil
}

// bodyRecord is the long part of a request.
type bodyRecord struct {
	Body   []byte `cbor:"1,keyasint,omitempty"`
	Search string `cbor:"2,keyasint,omitempty"`
}

// stateRecord is what became of a request, but for what its jobs tell.
type stateRecord struct {
	Cancelled bool        `cbor:"1,keyasint,omitempty"`
	Faulted   bool        `cbor:"2,keyasint,omitempty"`
	Closed    bool        `cbor:"3,keyasint,omitempty"`
	Expiry    int64       `cbor:"4,keyasint"` // Unix nanoseconds
	Consumed  horde.Kudos `cbor:"5,keyasint,omitempty"`
	Rev       uint32      `cbor:"6,keyasint"`
	Boot      uint32      `cbor:"7,keyasint"` // in which Rev was given
	Withdrawn bool        `cbor:"8,keyasint,omitempty"`
}

// jobRecord is a job.
type jobRecord struct {
	ID     horde.JobID    `cbor:"1,keyasint"`
	Slot   uint16         `cbor:"2,keyasint,omitempty"`
	Gen    uint32         `cbor:"3,keyasint,omitempty"`
	Worker horde.WorkerID `cbor:"4,keyasint"`
	Owner  horde.UserID   `cbor:"5,keyasint,omitempty"`
	Name   string         `cbor:"6,keyasint,omitempty"`
	Model  string         `cbor:"7,keyasint,omitempty"`
	Bridge string         `cbor:"8,keyasint,omitempty"`
	Start  int64          `cbor:"9,keyasint"` // Unix nanoseconds
	TTL    int            `cbor:"10,keyasint"`
	State  jobState       `cbor:"11,keyasint,omitempty"`
	Fake   bool           `cbor:"12,keyasint,omitempty"`
	Rate   float32        `cbor:"16,keyasint,omitempty"`
	Excuse bool           `cbor:"17,keyasint,omitempty"` // its lease ended while members were cut off

	// of the submission that ended it, for a repeat of the same
	Nonce  horde.UUID `cbor:"13,keyasint,omitempty"`
	Reward float64    `cbor:"14,keyasint,omitempty"`
	Speed  float64    `cbor:"15,keyasint,omitempty"`
}

func (j *job) record() jobRecord {
	return jobRecord{
		ID: j.id, Slot: j.slot, Gen: j.gen, Worker: j.worker, Owner: j.owner,
		Name: j.name.Value(), Model: j.model.Value(), Bridge: j.bridge.Value(),
		Start: j.start.UnixNano(), TTL: j.ttl, State: j.state, Fake: j.fake, Rate: j.rate, Excuse: j.excused,
	}
}

func (rec jobRecord) job(r *request, now time.Time) *job {
	return &job{
		id: rec.ID, r: r, slot: rec.Slot, gen: rec.Gen, worker: rec.Worker, owner: rec.Owner,
		name: unique.Make(rec.Name), model: unique.Make(rec.Model), bridge: unique.Make(rec.Bridge),
		start: time.Unix(0, rec.Start), until: now.Add(seconds(rec.TTL)), ttl: rec.TTL, state: rec.State, fake: rec.Fake, rate: rec.Rate, excused: rec.Excuse,
	}
}

// nonceRecord is what a claim was answered.
type nonceRecord struct {
	Worker horde.WorkerID `cbor:"1,keyasint"`
	Grant  horde.Grant    `cbor:"2,keyasint"` // without Body
	Until  int64          `cbor:"3,keyasint"` // Unix nanoseconds
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
