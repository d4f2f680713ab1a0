package ledger

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"

	"hordenode/internal/horde"
)

// A ClusterID names a federation: the hash of its Genesis command. It is in everything
// that is signed, so nothing signed for one federation counts in another.
type ClusterID [32]byte

// String returns the id in hexadecimal.
func (c ClusterID) String() string { return hex.EncodeToString(c[:]) }

// A Batch is the commands that a node proposes as one, signed by it.
type Batch struct {
	Cluster  ClusterID // zero in the batch that founds the federation; not sent, but signed
	Origin   horde.NodeID
	Boot     uint64 // grows with every start of the origin
	Seq      uint64 // 1, 2, 3, ... within a boot
	Commands []Command
	Sig      []byte // ed25519, by the origin's key
}

// A Command is an encoded command and its number in the origin's durable outbox: larger
// than that of every durable command before it, 0 if it is interactive.
type Command struct {
	_    struct{} `cbor:",toarray"`
	Item uint64
	Data []byte
}

// maxCommands bounds a batch.
const maxCommands = 4096

// signedBatch is what the signature covers, with the domain and the cluster before it.
type signedBatch struct {
	_        struct{} `cbor:",toarray"`
	Origin   horde.NodeID
	Boot     uint64
	Seq      uint64
	Commands []Command
}

// What a signature is for, so that one made for one purpose proves nothing in another.
const (
	domainBatch   = "hordenode/batch/1\x00"
	domainInvite  = "hordenode/invite/1\x00"
	domainJoin    = "hordenode/join/1\x00"
	domainAnswer  = "hordenode/join-answer/1\x00"
	domainCluster = "hordenode/cluster/1\x00"
)

// sealed is a signed body. The signature covers the bytes as they are, so there is no
// second encoding that it could be true of.
type sealed struct {
	_    struct{} `cbor:",toarray"`
	Body []byte
	Sig  []byte
}

func signedBytes(domain string, cluster ClusterID, body []byte) []byte {
	b := make([]byte, 0, len(domain)+len(cluster)+len(body))
	b = append(b, domain...)
	b = append(b, cluster[:]...)
	return append(b, body...)
}

func seal(domain string, cluster ClusterID, body []byte, sign func([]byte) []byte) ([]byte, error) {
	sig := sign(signedBytes(domain, cluster, body))
	if len(sig) != ed25519.SignatureSize {
		return nil, fmt.Errorf("signature has %d bytes, want %d", len(sig), ed25519.SignatureSize)
	}
	return encode(sealed{Body: body, Sig: sig}), nil
}

func (s *sealed) signedBy(key ed25519.PublicKey, domain string, cluster ClusterID) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, signedBytes(domain, cluster, s.Body), s.Sig)
}

// EncodeBatch signs and encodes b; b.Sig is not looked at. sign returns the ed25519
// signature by the origin's key.
func EncodeBatch(b Batch, sign func([]byte) []byte) ([]byte, error) {
	if len(b.Commands) == 0 || len(b.Commands) > maxCommands {
		return nil, fmt.Errorf("a batch has 1 to %d commands, not %d", maxCommands, len(b.Commands))
	}
	body := encode(signedBatch{Origin: b.Origin, Boot: b.Boot, Seq: b.Seq, Commands: b.Commands})
	proposal, err := seal(domainBatch, b.Cluster, body, sign)
	if err != nil {
		return nil, fmt.Errorf("sign batch: %w", err)
	}
	return proposal, nil
}

// DecodeBatch reads a proposal without checking its signature, for tools that show or
// verify a log. Cluster is left zero: it is not in the proposal.
func DecodeBatch(proposal []byte) (Batch, error) {
	_, b, err := openBatch(proposal)
	return b, err
}

func openBatch(proposal []byte) (sealed, Batch, error) {
	var s sealed
	if err := decode(proposal, &s); err != nil {
		return sealed{}, Batch{}, fmt.Errorf("decode batch: %w", err)
	}
	var b signedBatch
	if err := decode(s.Body, &b); err != nil {
		return sealed{}, Batch{}, fmt.Errorf("decode batch: %w", err)
	}
	if len(b.Commands) == 0 || len(b.Commands) > maxCommands {
		return sealed{}, Batch{}, fmt.Errorf("decode batch: %d commands", len(b.Commands))
	}
	return s, Batch{Origin: b.Origin, Boot: b.Boot, Seq: b.Seq, Commands: b.Commands, Sig: s.Sig}, nil
}

// A Result is what became of one command.
type Result struct {
	RC   horde.RC `cbor:"1,keyasint,omitempty"` // empty: applied, or a durable command seen before
	Msg  string   `cbor:"2,keyasint,omitempty"`
	Data []byte   `cbor:"3,keyasint,omitempty"` // depends on the command

	// Again: the durable command was not looked at, and its item does not count as done.
	// Neither were those after it in the batch.
	Again bool `cbor:"4,keyasint,omitempty"`
}

// Err returns the refusal as a *horde.Error, or nil.
func (r Result) Err() error {
	if r.RC == "" {
		return nil
	}
	return &horde.Error{RC: r.RC, Msg: r.Msg}
}

// Why a whole batch was refused: none of its commands had an effect.
var (
	ErrMalformed   = errors.New("not a batch")
	ErrNotFounded  = errors.New("the federation is not founded yet")
	ErrNotMember   = errors.New("the origin is not an active member")
	ErrBadSig      = errors.New("the signature is not the origin's for this federation")
	ErrFenced      = errors.New("the origin has started again since: a lower boot number is fenced")
	ErrOutOfOrder  = errors.New("the sequence number is not the next one")
	ErrSuspended   = errors.New("the origin is suspended: the batch may be sent again when it is readmitted")
	errUnknownCode = errors.New("unknown refusal of a batch: a newer version?")
)

// The codes by which an answer says so. Never renumber.
const (
	codeOK uint8 = iota
	codeMalformed
	codeNotFounded
	codeNotMember
	codeBadSig
	codeFenced
	codeOutOfOrder
	codeSuspended
)

type answer struct {
	Code    uint8    `cbor:"1,keyasint,omitempty"`
	Results []Result `cbor:"2,keyasint,omitempty"`
}

func refuseBatch(code uint8) []byte { return encode(answer{Code: code}) }

// DecodeResults reads the answer to a batch: a result for each command, or one of the
// errors above if the batch was refused as a whole.
func DecodeResults(b []byte) ([]Result, error) {
	var a answer
	if err := decode(b, &a); err != nil {
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	var err error
	switch a.Code {
	case codeOK:
		return a.Results, nil
	case codeMalformed:
		err = ErrMalformed
	case codeNotFounded:
		err = ErrNotFounded
	case codeNotMember:
		err = ErrNotMember
	case codeBadSig:
		err = ErrBadSig
	case codeFenced:
		err = ErrFenced
	case codeOutOfOrder:
		err = ErrOutOfOrder
	case codeSuspended:
		err = ErrSuspended
	default:
		err = errUnknownCode
	}
	return nil, fmt.Errorf("batch refused: %w", err)
}
