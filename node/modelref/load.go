package modelref

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// MaxSize is the largest reference that is read, in bytes.
const MaxSize = 32 << 20

// maxModels is how many models a reference may have.
const maxModels = 100_000

// errTooLarge is returned for a reference above maxSize.
var errTooLarge = errors.New("reference is larger than 32 MB")

// errHash is returned for a source that is not what its #sha256= says.
var errHash = errors.New("reference has another hash")

// load reads a source and checks its hash, if it names one.
func (s *Store) load(ctx context.Context, src string) ([]byte, error) {
	src, hash, pinned := strings.Cut(src, "#sha256=")
	data, err := s.read(ctx, src)
	if err != nil || !pinned {
		return data, err
	}
	if sum := sha256.Sum256(data); !strings.EqualFold(hash, hex.EncodeToString(sum[:])) {
		return nil, errHash
	}
	return data, nil
}

// read reads a built-in source, a file, or an address.
func (s *Store) read(ctx context.Context, src string) ([]byte, error) {
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
	if s.cfg.Fetch == nil {
		return nil, errors.New("fetch reference: this node calls no addresses")
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	data, err := s.cfg.Fetch.Get(ctx, src, MaxSize)
	if err != nil {
		return nil, fmt.Errorf("fetch reference: %w", err)
	}
	return data, nil
}

// readAll reads up to MaxSize bytes.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read reference: %w", err)
	case len(data) > MaxSize:
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

// shown is a source as logs have it: an address without its user and query, which may hold
// secrets.
func shown(src string) string {
	if u, err := url.Parse(src); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host + u.Path
	}
	return src
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
		s.cfg.Log.WarnContext(ctx, "model reference not kept", "source", shown(src), "err", err)
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
