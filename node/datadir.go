package node

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"hordenode/internal/horde"
)

// A dataDir is the node's directory:
//
//	node.key         identity, 0600
//	federation.json  which federation this is and who its members were when it was joined
//	boot             when the node was last started; numbers its sessions in the ledger
//	secret           signs upload and download addresses, 0600
//	sharedkeys.key   what the ids of shared keys in the ledger are sealed with, 0600
//	archive/         every entry of the log, if archived
//	ballast          room that is given up when the disk is full
//	heal, recover    what the next start has to do first, if anything
//	ledger/          raft log and ledger state: can be fetched again from the others
//	local/, blobs/   this node's requests, outbox and images: nowhere else
//	standby/         sealed copies of other homes' requests
//	models/          last good copies of the model references
//	control.sock     the operator's commands, while the node runs
type dataDir struct {
	path string
	lock *os.File
}

// A federation is what a node must know to find its peers before it has a ledger.
type federation struct {
	Cluster string         `json:"cluster"` // id: hash of the genesis
	Epoch   uint64         `json:"epoch"`
	Members []horde.Member `json:"members"`
}

// errInUse says that another process holds the directory.
var errInUse = errors.New("in use by another hordenode")

func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("data directory %s: %w", path, errInUse)
	}
	return &dataDir{path: path, lock: f}, nil
}

func (d *dataDir) Close() error { return d.lock.Close() }

func (d *dataDir) join(name string) string { return filepath.Join(d.path, name) }

// federation reads which federation the directory belongs to; nil if to none yet.
func (d *dataDir) federation() (*federation, error) {
	b, err := os.ReadFile(d.join("federation.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var f federation
	if err := json.Unmarshal(b, &f); err != nil || f.Cluster == "" {
		return nil, fmt.Errorf("%s is damaged: %w", d.join("federation.json"), errors.Join(err, errors.New("no federation in it")))
	}
	return &f, nil
}

func (d *dataDir) setFederation(f federation) error {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return d.write("federation.json", b)
}

// nextBoot numbers a start of the node, durably, before the number is used. It is the clock,
// or one more than the last start if the clock is behind that: so copies of a directory do not
// begin with the same number, and of two that run the later one wins.
func (d *dataDir) nextBoot() (uint64, error) {
	b, err := os.ReadFile(d.join("boot"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	var n uint64
	if len(b) == 8 {
		n = binary.BigEndian.Uint64(b)
	} else if len(b) != 0 {
		return 0, fmt.Errorf("%s is damaged", d.join("boot"))
	}
	n = max(n+1, uint64(max(0, time.Now().UnixMilli())))
	return n, d.write("boot", binary.BigEndian.AppendUint64(nil, n))
}

// secret returns 32 random bytes that stay the same for this directory.
func (d *dataDir) secret() ([]byte, error) {
	b, err := os.ReadFile(d.join("secret"))
	if err == nil && len(b) == 32 {
		return b, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	b = make([]byte, 32)
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		return nil, err
	}
	return b, d.write("secret", b)
}

// write replaces a file durably: after a crash it is the old one or the new one.
func (d *dataDir) write(name string, data []byte) error {
	tmp := d.join(name + ".tmp")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, d.join(name)); err != nil {
		return err
	}
	dir, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
