package ledger

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"hordenode/internal/horde"
)

// The id of a shared key is a credential that the API shows to its owner, to moderators and,
// of a style's key, to everybody. So the ledger, which is exported and copied, has a hash of it
// to find the key by, and the id itself only sealed (docs/decisions/0012-shared-key-ids.md):
//
//	id ─► SHA-256(salt, id), 16 bytes ─► SharedKeyRef: the key's row, styles, holds, requests
//	id ─► AES-256-GCM(SealKey)        ─► sharedKey.Sealed
//
// Members hold the SealKey beside the ledger, which knows its print only: a node that does not
// have it yet finds keys by their id, and cannot list or make them.

// SealVersion is the version of the ledger that sealed ids came with.
const SealVersion Version = 2

// A SealKey opens the ids of a federation's shared keys. It is never logged, nor in the
// ledger or its exports.
type SealKey [32]byte

// sealPrintSize is how much of a key's print a sealed id begins with, so that an id whose key
// is lost is told from one whose key has not come yet.
const sealPrintSize = 8

// sealedSize is the length of a sealed id: the print, a nonce, the id, a tag.
const sealedSize = sealPrintSize + 12 + len(horde.UUID{}) + 16

const (
	domainSealKey = "hordenode/shared key ids/1\x00"
	domainKeyRef  = "shared key "
)

// NewSealKey makes the key of a federation.
func NewSealKey(rnd io.Reader) (SealKey, error) {
	var k SealKey
	if _, err := io.ReadFull(rnd, k[:]); err != nil {
		return SealKey{}, fmt.Errorf("make the key of shared keys' ids: %w", err)
	}
	return k, nil
}

// Print is what the ledger knows of the key. It does not tell the key.
func (k SealKey) Print() [32]byte {
	return sha256.Sum256(append([]byte(domainSealKey), k[:]...))
}

// String keeps the key out of logs.
func (SealKey) String() string { return "SealKey" }

func (k SealKey) gcm() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (k SealKey) seal(rnd io.Reader, id horde.SharedKeyID, ref horde.SharedKeyRef) ([]byte, error) {
	aead, err := k.gcm()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(rnd, nonce); err != nil {
		return nil, fmt.Errorf("seal a shared key's id: %w", err)
	}
	print := k.Print()
	out := append(make([]byte, 0, sealedSize), print[:sealPrintSize]...)
	return aead.Seal(append(out, nonce...), nonce, id.UUID[:], ref.UUID[:]), nil
}

// errSealed means that a sealed id cannot be opened with the key that it names.
var errSealed = errors.New("the sealed id of a shared key is damaged")

func (k SealKey) open(sealed []byte, ref horde.SharedKeyRef) (horde.SharedKeyID, error) {
	aead, err := k.gcm()
	if err != nil {
		return horde.SharedKeyID{}, err
	}
	if len(sealed) != sealedSize {
		return horde.SharedKeyID{}, errSealed
	}
	rest := sealed[sealPrintSize:]
	raw, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], ref.UUID[:])
	if err != nil || len(raw) != len(horde.UUID{}) {
		return horde.SharedKeyID{}, errSealed
	}
	return horde.SharedKeyID{UUID: horde.UUID(raw)}, nil
}

// sealedWith tells whether an id is sealed with the key of a print.
func sealedWith(sealed, print []byte) bool {
	return len(sealed) == sealedSize && len(print) >= sealPrintSize && bytes.Equal(sealed[:sealPrintSize], print[:sealPrintSize])
}

// UseSealKey gives m the key that this node has of its federation; one that is not the
// federation's is never used. It may be called at any time.
func (m *Machine) UseSealKey(k SealKey) { m.sealKey.Store(&k) }

// sealKeyOf returns the key whose print the ledger has, if this node has it.
func (m *Machine) sealKeyOf(print []byte) (SealKey, bool) {
	k := m.sealKey.Load()
	if k == nil || len(print) == 0 {
		return SealKey{}, false
	}
	if own := k.Print(); !bytes.Equal(own[:], print) {
		return SealKey{}, false
	}
	return *k, true
}

// SealPrint is the print of the federation's key; nil: it has none yet. has tells whether this
// node has the key.
func (r Reader) SealPrint() (print []byte, has bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	print = r.m.s.sealPrint()
	_, has = r.m.sealKeyOf(print)
	return bytes.Clone(print), has
}

func (s *state) sealPrint() []byte {
	if m := s.meta.get(unit{}); m != nil {
		return m.SealPrint
	}
	return nil
}

// errSealing refuses what a node cannot do while it lacks the key.
func errSealing() error {
	return horde.Refuse(horde.RCUnavailable, "This node does not have the key of the shared keys' ids yet. Please try again in a moment, or at another node.")
}

// refOf is the Ref that a key with this id has since version 2.
func (c *Client) refOf(id horde.SharedKeyID) horde.SharedKeyRef { return c.Reader.m.refOf(id) }

func (m *Machine) refOf(id horde.SharedKeyID) horde.SharedKeyRef {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.s.refOf(id)
}

func (s *state) refOf(id horde.SharedKeyID) horde.SharedKeyRef {
	m := s.meta.get(unit{})
	if m == nil || id.IsZero() {
		return horde.SharedKeyRef{}
	}
	sum := hashSecret(m.Salt, domainKeyRef+string(id.UUID[:]))
	return horde.SharedKeyRef{UUID: horde.UUID(sum[:len(horde.UUID{})])}
}

// refFor finds the row of the key with an id. A row whose id is sealed is found by the hash
// alone: its Ref, which anybody may know who has the ledger, is not good for it.
func (s *state) refFor(id horde.SharedKeyID) (horde.SharedKeyRef, *sharedKey) {
	ref := s.refOf(id)
	if k := s.sharedKeys.get(ref); k != nil && k.Sealed != nil {
		return ref, k
	}
	old := horde.SharedKeyRef(id)
	if k := s.sharedKeys.get(old); k != nil && k.Sealed == nil {
		return old, k
	}
	return ref, nil
}

// find returns the Ref of the key with an id; if there is none here, that which a new one has.
func (c *Client) find(id horde.SharedKeyID) horde.SharedKeyRef {
	m := c.Reader.m
	m.mu.RLock()
	defer m.mu.RUnlock()
	ref, _ := m.s.refFor(id)
	return ref
}

// seal seals the id of a new key.
func (c *Client) seal(id horde.SharedKeyID, ref horde.SharedKeyRef) ([]byte, error) {
	m := c.Reader.m
	m.mu.RLock()
	key, ok := m.sealKeyOf(m.s.sealPrint())
	m.mu.RUnlock()
	if !ok {
		return nil, errSealing()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return key.seal(c.rnd, id, ref)
}

// idOf returns the id of a key; zero if it is sealed with a key that is lost. The error is a
// refusal with RCUnavailable if this node does not have the key yet.
func (m *Machine) idOf(ref horde.SharedKeyRef, k *sharedKey) (horde.SharedKeyID, error) {
	if k.Sealed == nil {
		return horde.SharedKeyID(ref), nil
	}
	print := m.s.sealPrint()
	if !sealedWith(k.Sealed, print) {
		return horde.SharedKeyID{}, nil
	}
	key, ok := m.sealKeyOf(print)
	if !ok {
		return horde.SharedKeyID{}, errSealing()
	}
	id, err := key.open(k.Sealed, ref)
	if err != nil {
		return horde.SharedKeyID{}, fmt.Errorf("shared key of user %d: %w", k.Owner, err)
	}
	return id, nil
}

// SharedKey finds a shared key by its id.
func (r Reader) SharedKey(id horde.SharedKeyID) (horde.SharedKey, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if ref, k := r.m.s.refFor(id); k != nil {
		return k.view(id, ref), true
	}
	return horde.SharedKey{}, false
}

// SharedKeyAt finds a shared key by what the ledger calls it. Its ID is zero if this node
// cannot open it.
func (r Reader) SharedKeyAt(ref horde.SharedKeyRef) (horde.SharedKey, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	k := r.m.s.sharedKeys.get(ref)
	if k == nil {
		return horde.SharedKey{}, false
	}
	id, err := r.m.idOf(ref, k)
	if err != nil {
		id = horde.SharedKeyID{} // not known here, as the comment says
	}
	return k.view(id, ref), true
}

// SharedKeysOf returns the ids of a user's shared keys, oldest first, without those whose
// SealKey is lost. The error is a refusal with RCUnavailable if this node does not have the key.
func (r Reader) SharedKeysOf(user horde.UserID) ([]horde.SharedKeyID, error) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	var ids []horde.SharedKeyID
	for _, ref := range r.m.s.sharedKeysOf(user) {
		id, err := r.m.idOf(ref, r.m.s.sharedKeys.get(ref))
		if err != nil {
			return nil, err
		}
		if !id.IsZero() {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// setSealKey notes the print of the key that ids are sealed with from now on.
type setSealKey struct {
	Print    []byte `cbor:"1,keyasint"`
	Replaces []byte `cbor:"2,keyasint,omitempty"` // the print so far: of two that set one at the same time the first wins
}

// EncodeSetSealKey makes the command that notes the print of a federation's SealKey. replaces is
// the print so far; nil: none.
func EncodeSetSealKey(print [32]byte, replaces []byte) []byte {
	return encodeCommand(kindSetSealKey, setSealKey{Print: print[:], Replaces: replaces})
}

func (c *setSealKey) apply(tx *tx) ([]byte, error) {
	switch m := tx.members.get(tx.from); {
	case m == nil || !m.Active || !m.Voter:
		return nil, forbidden("Only a node that may vote sets the key of shared keys' ids.")
	case len(c.Print) != sha256.Size:
		return nil, horde.Refuse(horde.RCBadRequest, "That is not the print of a key.")
	case !bytes.Equal(c.Replaces, tx.sealPrint()):
		return nil, forbidden("The federation has another key of shared keys' ids.")
	}
	tx.meta.edit(unit{}).SealPrint = c.Print
	return nil, nil
}

// createSealedKey makes a shared key whose id is not in the ledger.
type createSealedKey struct {
	Key    createSharedKey `cbor:"1,keyasint"`
	Sealed []byte          `cbor:"2,keyasint"`
}

func (c *createSealedKey) apply(tx *tx) ([]byte, error) {
	if !sealedWith(c.Sealed, tx.sealPrint()) {
		return nil, errSealing()
	}
	return c.Key.create(tx, c.Sealed)
}
