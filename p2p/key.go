package p2p

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/peer"

	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"

	"hordenode/internal/horde"
)

const (
	keyBlock   = "PRIVATE KEY" // PKCS #8, as openssl genpkey -algorithm ed25519 writes it
	maxKeyFile = 16 << 10
)

// LoadOrCreateKey reads the node's identity from a file, or makes one there if there is no
// file. The file is a PEM block of a PKCS #8 ed25519 key that only its owner may read.
//
// A file that is damaged or readable by others is an error and is left as it is: a node that
// loses its key loses its place in the federation, so the key is never replaced silently.
func LoadOrCreateKey(path string) (ed25519.PrivateKey, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createKey(path); err != nil {
		return nil, fmt.Errorf("create node key %s: %w", path, err)
	}
	return loadKey(path)
}

func loadKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read node key: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("node key %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("node key %s may be read or changed by other users (mode %04o): chmod 600 it, and replace it if others had access", path, info.Mode().Perm())
	case info.Size() > maxKeyFile:
		return nil, fmt.Errorf("node key %s is damaged: %d bytes is too long for a key", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read node key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return nil, fmt.Errorf("node key %s is damaged: it holds no PEM block %q; restore it from a backup", path, keyBlock)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("node key %s is damaged, restore it from a backup: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("node key %s is a %T, want an ed25519 key", path, parsed)
	}
	return key, nil
}

// createKey writes a new key so that path holds either nothing or a whole key, whatever
// happens; if another process was faster, its key stays.
func createKey(path string) (err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	if err := writeSynced(tmp, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func writeSynced(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// IDFromKey returns the id of the node that has this public key.
func IDFromKey(pub ed25519.PublicKey) (horde.NodeID, error) {
	key, err := libp2pcrypto.UnmarshalEd25519PublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("node id of a public key: %w", err)
	}
	id, err := peer.IDFromPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("node id of a public key: %w", err)
	}
	return nodeID(id), nil
}

// Sign signs msg for one purpose, named by domain (1 to 255 bytes): a signature made for one
// domain is worthless in every other. It is Ed25519ctx of RFC 8032.
func Sign(key ed25519.PrivateKey, domain string, msg []byte) ([]byte, error) {
	if domain == "" {
		return nil, errors.New("sign: no domain")
	}
	sig, err := key.Sign(nil, msg, &ed25519.Options{Context: domain, Hash: crypto.Hash(0)})
	if err != nil {
		return nil, fmt.Errorf("sign for %s: %w", domain, err)
	}
	return sig, nil
}

// Verify tells whether sig is what Sign makes of the same domain and msg with pub's key.
func Verify(pub ed25519.PublicKey, domain string, msg, sig []byte) bool {
	if domain == "" || len(pub) != ed25519.PublicKeySize {
		return false
	}
	return ed25519.VerifyWithOptions(pub, msg, sig, &ed25519.Options{Context: domain}) == nil
}

// nodeID is the name of a libp2p peer in our vocabulary.
func nodeID(p peer.ID) horde.NodeID { return horde.NodeID(p.String()) }

// peerID reads a node id; it fails if n is not one.
func peerID(n horde.NodeID) (peer.ID, error) {
	p, err := peer.Decode(string(n))
	if err != nil {
		return "", fmt.Errorf("node id %q: %w", string(n), err)
	}
	return p, nil
}
