package standby

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"fmt"
	"io"

	"hordenode/internal/horde"
)

// purpose separates these keys from others that are derived of the node key.
const purpose = "hordenode standby 1"

// derive makes a node's HPKE key from its node key.
func derive(key ed25519.PrivateKey) (*ecdh.PrivateKey, error) {
	raw, err := hkdf.Key(sha256.New, key.Seed(), nil, purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("standby: derive key: %w", err)
	}
	k, err := ecdh.X25519().NewPrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("standby: derive key: %w", err)
	}
	return k, nil
}

// sealKey seals a content key of a home's session for the backup with the given public key.
func sealKey(public []byte, home horde.HomeTag, session horde.UUID, content []byte) ([]byte, error) {
	pub, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("standby: the backup's key: %w", err)
	}
	to, err := hpke.NewDHKEMPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("standby: the backup's key: %w", err)
	}
	return hpke.Seal(to, hpke.HKDFSHA256(), hpke.AES256GCM(), about(home, session), content)
}

func openKey(key *ecdh.PrivateKey, home horde.HomeTag, session horde.UUID, sealed []byte) ([]byte, error) {
	k, err := hpke.NewDHKEMPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("standby: own key: %w", err)
	}
	return hpke.Open(k, hpke.HKDFSHA256(), hpke.AES256GCM(), about(home, session), sealed)
}

func about(home horde.HomeTag, session horde.UUID) []byte {
	return append(append([]byte(purpose), home[:]...), session[:]...)
}

// A box seals the items of a session.
type box struct {
	home horde.HomeTag
	aead cipher.AEAD
}

func newBox(home horde.HomeTag, content []byte) (*box, error) {
	block, err := aes.NewCipher(content)
	if err != nil {
		return nil, fmt.Errorf("standby: content key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("standby: content key: %w", err)
	}
	return &box{home, aead}, nil
}

func (b *box) seal(id horde.UUID, what string, data []byte) []byte {
	return b.aead.Seal(nil, nil, data, b.name(id, what))
}

func (b *box) open(id horde.UUID, what string, sealed []byte) ([]byte, error) {
	data, err := b.aead.Open(nil, nil, sealed, b.name(id, what))
	if err != nil {
		return nil, fmt.Errorf("standby: %s of %s: %w", what, id, err)
	}
	return data, nil
}

// name is authenticated with an item: it cannot be passed off as another.
func (b *box) name(id horde.UUID, what string) []byte {
	return append(append(append([]byte(nil), b.home[:]...), id[:]...), what...)
}

// newSession makes a session's id and content key.
func newSession(random io.Reader) (id horde.UUID, content []byte, err error) {
	content = make([]byte, 32)
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return id, nil, fmt.Errorf("standby: new session: %w", err)
	}
	if _, err := io.ReadFull(random, content); err != nil {
		return id, nil, fmt.Errorf("standby: new session: %w", err)
	}
	return id, content, nil
}
