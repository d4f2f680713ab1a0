package modelref

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// maxSize is the largest reference that is read, in bytes.
const maxSize = 32 << 20

// errTooLarge is returned for a reference above maxSize.
var errTooLarge = errors.New("reference is larger than 32 MB")

// load reads a source: a built-in one, a file, or over http.
func (s *Store) load(ctx context.Context, src string) ([]byte, error) {
	if data, ok := builtin(src); ok {
		return data, nil
	}
	if !strings.HasPrefix(src, "http://") && !strings.HasPrefix(src, "https://") {
		f, err := os.Open(src)
		if err != nil {
			return nil, fmt.Errorf("open reference: %w", err)
		}
		data, err := readAll(f)
		return data, errors.Join(err, f.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, src, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch reference: %w", err)
	}
	resp, err := s.cfg.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch reference: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read only: nothing can be lost
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch reference: status %d", resp.StatusCode)
	}
	return readAll(resp.Body)
}

// readAll reads up to maxSize bytes.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read reference: %w", err)
	case len(data) > maxSize:
		return nil, errTooLarge
	}
	return data, nil
}

// copyPath is where the last good copy of a source is kept: named by the SHA-256 of its
// address, so any address makes a file name.
func (s *Store) copyPath(src string) string {
	sum := sha256.Sum256([]byte(src))
	return filepath.Join(s.cfg.Dir, "modelref-"+hex.EncodeToString(sum[:])+".json")
}

// readCopy returns the last good copy of a source.
func (s *Store) readCopy(src string) ([]byte, error) {
	if s.cfg.Dir == "" {
		return nil, os.ErrNotExist
	}
	return os.ReadFile(s.copyPath(src))
}

// keepCopy keeps a good copy of a source that is not a local file. A failure is logged: the
// copy is a convenience.
func (s *Store) keepCopy(ctx context.Context, src string, data []byte) {
	if s.cfg.Dir == "" || !strings.HasPrefix(src, "http") {
		return
	}
	path := s.copyPath(src)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return
	}
	if err := writeFile(path, data); err != nil {
		s.cfg.Log.WarnContext(ctx, "model reference not kept", "source", src, "err", err)
	}
}

// writeFile replaces a file in one step, so a crash leaves the old or the new one.
func writeFile(path string, data []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".modelref-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
