package api

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
)

// secrets is where secrets come from.
func (s *Server) secrets() io.Reader {
	if s.deps.Secrets != nil {
		return s.deps.Secrets
	}
	return rand.Reader
}

// newSecret returns 22 characters that nobody can guess, as API keys have them.
func newSecret(rnd io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(rnd, b[:]); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}
