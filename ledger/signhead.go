package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hordenode/internal/horde"
)

const (
	domainHead  = "hordenode/head/1\x00"
	proofFormat = "hordenode/proof/1"
	maxPath     = 64
)

// ErrProof says that a proof proves nothing.
var ErrProof = errors.New("the proof does not hold")

// Hex is bytes that JSON shows in hexadecimal.
type Hex []byte

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(b []byte) error {
	out, err := hex.DecodeString(string(b))
	*h = out
	return err
}

// A SignedHead is a Checkpoint as a member vouches for it, in JSON:
//
//	{"federation":"9c…","epoch":1,"index":812,"time":"2026-11-20T12:00:00Z","chain":"…","state_hash":"…",
//	 "accounts":41,"accounts_root":"…","node":"12D3…","public_key":"…","signature":"…"}
//
// The signature is ed25519 over the domain and the fields before node, numbers as 8 bytes big
// endian (time in Unix milliseconds). Two heads of one federation, epoch and index that differ
// are the proof that a member lies.
type SignedHead struct {
	Federation Hex          `json:"federation"`
	Epoch      uint64       `json:"epoch"`
	Index      uint64       `json:"index"`
	Time       time.Time    `json:"time"`
	Chain      Hex          `json:"chain"`
	StateHash  Hex          `json:"state_hash"`
	Accounts   uint64       `json:"accounts"`
	Root       Hex          `json:"accounts_root"`
	Node       horde.NodeID `json:"node"`
	PublicKey  Hex          `json:"public_key"`
	Signature  Hex          `json:"signature"`
}

// SignHead lets a member vouch for a checkpoint. sign returns the ed25519 signature by the
// member's key.
func SignHead(c Checkpoint, member horde.NodeID, public ed25519.PublicKey, sign func([]byte) []byte) SignedHead {
	h := SignedHead{
		Federation: c.Cluster[:], Epoch: c.Epoch, Index: c.Index, Time: c.Time, Chain: c.Chain[:], StateHash: c.State[:],
		Accounts: c.Accounts, Root: c.Root[:], Node: member, PublicKey: Hex(public),
	}
	h.Signature = sign(h.signed())
	return h
}

func (h *SignedHead) signed() []byte {
	b := append([]byte(domainHead), h.Federation...)
	for _, n := range []uint64{h.Epoch, h.Index, uint64(h.Time.UnixMilli())} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(append(b, h.Chain...), h.StateHash...)
	b = binary.BigEndian.AppendUint64(b, h.Accounts)
	return append(b, h.Root...)
}

// Verify checks the signature by the key that the head names. Whether that key is a member's
// is for the reader to know: GET /api/fed/v1/members of a node that the reader trusts says it.
func (h *SignedHead) Verify() error {
	for _, d := range []Hex{h.Federation, h.Chain, h.StateHash, h.Root} {
		if len(d) != len(digest{}) {
			return fmt.Errorf("%w: a hash of the head has %d bytes", ErrProof, len(d))
		}
	}
	if len(h.PublicKey) != ed25519.PublicKeySize || !ed25519.Verify(ed25519.PublicKey(h.PublicKey), h.signed(), h.Signature) {
		return fmt.Errorf("%w: the signature of the head is not right", ErrProof)
	}
	return nil
}

// A Proof shows one account as of a signed head, for a file that anybody can check without a
// network (VerifyProof). Kudos are in hundredths. Private is there for the user and moderators.
type Proof struct {
	Format     string        `json:"format"` // "hordenode/proof/1"
	Head       SignedHead    `json:"head"`
	User       horde.UserID  `json:"user"` // its place in the tree
	Kudos      int64         `json:"kudos_hundredths"`
	Commitment Hex           `json:"commitment"` // SHA-256(blind ‖ escrow ‖ held)
	Private    *PrivateProof `json:"private,omitempty"`
	Path       []Hex         `json:"path"` // from the leaf up
}

// A PrivateProof opens the commitment.
type PrivateProof struct {
	Escrow int64 `json:"escrow_hundredths"`
	Held   int64 `json:"held_hundredths"`
	Blind  Hex   `json:"blind"` // 16 bytes
}

// NewProof is the account's proof under a signed head of the same checkpoint.
func NewProof(p AccountProof, h SignedHead, private bool) Proof {
	c := commitment(p.Blind, p.Escrow, p.Held)
	out := Proof{Format: proofFormat, Head: h, User: p.User, Kudos: int64(p.Kudos), Commitment: c[:], Path: make([]Hex, 0, len(p.Path))}
	for _, d := range p.Path {
		out.Path = append(out.Path, d[:])
	}
	if private {
		out.Private = &PrivateProof{Escrow: int64(p.Escrow), Held: int64(p.Held), Blind: p.Blind[:]}
	}
	return out
}

// VerifyProof reads a proof and checks all that can be checked of it offline.
func VerifyProof(data []byte) (Proof, error) {
	var p Proof
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return p, p.verify()
}

func (p *Proof) verify() error {
	switch {
	case p.Format != proofFormat:
		return fmt.Errorf("%w: it is of format %q, this program knows %q", ErrProof, p.Format, proofFormat)
	case len(p.Path) > maxPath || len(p.Commitment) != len(digest{}):
		return fmt.Errorf("%w: it is malformed", ErrProof)
	case p.User < 0 || uint64(p.User) >= p.Head.Accounts || p.Head.Accounts > 1<<48:
		return fmt.Errorf("%w: user %d is not among the %d accounts of the head", ErrProof, p.User, p.Head.Accounts)
	}
	if err := p.Head.Verify(); err != nil {
		return err
	}
	path := make([]digest, len(p.Path))
	for i, d := range p.Path {
		if len(d) != len(digest{}) {
			return fmt.Errorf("%w: step %d of the path has %d bytes", ErrProof, i+1, len(d))
		}
		path[i] = digest(d)
	}
	leaf := accountDigest(p.User, horde.Kudos(p.Kudos), digest(p.Commitment))
	root, ok := climb(leaf, int(p.User), int(p.Head.Accounts), path)
	if !ok || !bytes.Equal(root[:], p.Head.Root) {
		return fmt.Errorf("%w: the account is not in the tree of the head", ErrProof)
	}
	if v := p.Private; v != nil {
		if len(v.Blind) != 16 {
			return fmt.Errorf("%w: what opens the commitment is malformed", ErrProof)
		}
		if c := commitment([16]byte(v.Blind), horde.Kudos(v.Escrow), horde.Kudos(v.Held)); !bytes.Equal(c[:], p.Commitment) {
			return fmt.Errorf("%w: escrow and held are not what the account commits to", ErrProof)
		}
	}
	return nil
}
