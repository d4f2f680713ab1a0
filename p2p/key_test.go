package p2p

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyIsMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.key")
	first, err := LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Equal(again) {
		t.Error("the second load returned another key")
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode = %04o, want 0600", got)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Errorf("directory holds %v, want the key only", files)
	}
}

func TestBadKeyFilesAreRefusedAndLeft(t *testing.T) {
	good, err := x509.MarshalPKCS8PrivateKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	block := func(der []byte) string { return string(pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})) }
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       string // in the error
	}{
		{"empty", "", 0o600, "damaged"},
		{"cut short", block(good)[:40], 0o600, "damaged"},
		{"a bit of the key missing", block(good[:len(good)-1]), 0o600, "damaged"},
		{"not PEM", "hello", 0o600, "damaged"},
		{"huge", strings.Repeat("x", maxKeyFile+1), 0o600, "damaged"},
		{"another kind of key", block(ec), 0o600, "want an ed25519 key"},
		{"readable by the group", block(good), 0o640, "chmod 600"},
		{"readable by all", block(good), 0o644, "chmod 600"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "node.key")
			if err := os.WriteFile(path, []byte(tt.text), tt.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil { // umask
				t.Fatal(err)
			}
			key, err := LoadOrCreateKey(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("LoadOrCreateKey = %v, %v; want an error that names %s and says %q", key != nil, err, path, tt.want)
			}
			left, err := os.ReadFile(path)
			if err != nil || string(left) != tt.text {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestKeyInMissingDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "node.key")
	if _, err := LoadOrCreateKey(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("LoadOrCreateKey = %v, want an error that names %s", err, path)
	}
}

func TestIDFromKeyIsTheHostsID(t *testing.T) {
	cfg := testConfig(t)
	n := start(t, cfg)
	id, err := IDFromKey(cfg.Key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	if n.ID() != id || !n.PublicKey().Equal(cfg.Key.Public()) {
		t.Errorf("ID = %s, want %s", n.ID(), id)
	}
	if _, err := IDFromKey(ed25519.PublicKey("short")); err == nil {
		t.Error("IDFromKey took a key of 5 bytes")
	}
}

func TestSignaturesAreOfOneDomain(t *testing.T) {
	key := newKey(t)
	pub := key.Public().(ed25519.PublicKey)
	msg := []byte("batch 7")
	sig, err := Sign(key, "horde/batch", msg)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		pub    ed25519.PublicKey
		domain string
		msg    []byte
		want   bool
	}{
		{"as signed", pub, "horde/batch", msg, true},
		{"other domain", pub, "horde/invite", msg, false},
		{"no domain", pub, "", msg, false},
		{"other message", pub, "horde/batch", []byte("batch 8"), false},
		{"other key", newKey(t).Public().(ed25519.PublicKey), "horde/batch", msg, false},
		{"no key", nil, "horde/batch", msg, false},
	} {
		if got := Verify(tt.pub, tt.domain, tt.msg, sig); got != tt.want {
			t.Errorf("%s: Verify = %v, want %v", tt.name, got, tt.want)
		}
	}
	if ed25519.Verify(pub, msg, sig) {
		t.Error("a domain's signature verifies without the domain")
	}
	if _, err := Sign(key, "", msg); err == nil {
		t.Error("Sign without a domain succeeded")
	}
}
