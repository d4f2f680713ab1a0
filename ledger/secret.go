package ledger

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"

	"hordenode/internal/horde"
)

// NewAPIKey makes a key: 16 random bytes as 22 characters of URL-safe base64.
func NewAPIKey(rnd io.Reader) (horde.APIKey, error) {
	var b [16]byte
	if _, err := io.ReadFull(rnd, b[:]); err != nil {
		return "", fmt.Errorf("make API key: %w", err)
	}
	return horde.APIKey(base64.RawURLEncoding.EncodeToString(b[:])), nil
}

// hashSecret is how keys, logins and passkeys are stored. Keys have 128 random bits, so a
// fast hash is enough, and it can be looked up.
func hashSecret(salt []byte, secret string) digest {
	b := make([]byte, 0, len(salt)+len(secret))
	b = append(b, salt...)
	b = append(b, secret...)
	return sha256.Sum256(b)
}
