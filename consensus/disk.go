package consensus

import (
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"hordenode/internal/emptyfile"
)

// badgerOptions are the small-node settings of engineering.md 2.1. Every commit is synced.
// Values stay in the LSM tree, whose write-ahead log reports a failed sync; tables are
// verified when they are opened, which of Badger's modes is the one that fails cleanly.
func badgerOptions(dir string, memtable int64, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithSyncWrites(true).WithDetectConflicts(false).WithNumVersionsToKeep(1).WithMetricsEnabled(false).
		WithMemTableSize(memtable).WithNumMemtables(2).
		WithValueThreshold(1 << 20).WithValueLogFileSize(16 << 20).
		WithBaseTableSize(2 << 20).WithBaseLevelSize(8 << 20).
		WithNumCompactors(2).WithNumLevelZeroTables(2).WithNumLevelZeroTablesStall(8).
		WithCompression(options.None).WithBlockCacheSize(0).WithIndexCacheSize(0).
		WithChecksumVerificationMode(options.OnTableRead).
		WithLogger(badgerLog{log})
}

// openBadger opens a database. ErrInUse says that another process has it.
func openBadger(dir string, memtable int64, log *slog.Logger) (db *badger.DB, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	defer func() { // Badger panics on some damaged files
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("open %s: %w: %v", dir, errCorrupt, p)
		}
	}()
	if err := emptyfile.Remove(dir); err != nil {
		return nil, err
	}
	opt := badgerOptions(dir, memtable, log)
	if err := checkTables(opt); err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	db, err = badger.Open(opt)
	switch {
	case err == nil:
		return db, nil
	case strings.Contains(err.Error(), "Another process is using this Badger database"):
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	default:
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
}

// Every record we store ends with a CRC32C of its key and value: Badger's own checks do not
// see all damage, and a wrong value must never be taken for a right one.

// crcTable is immutable.
var crcTable = crc32.MakeTable(crc32.Castagnoli)

// seal appends the checksum to a value.
func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, crcTable), crcTable, value)
	return append(value, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
}

// unseal checks and removes what seal appended. The result shares v's memory.
func unseal(key, v []byte) ([]byte, error) {
	if len(v) < 4 {
		return nil, fmt.Errorf("%w: %x is %d bytes", errCorrupt, key, len(v))
	}
	value, tail := v[:len(v)-4], v[len(v)-4:]
	sum := crc32.Update(crc32.Checksum(key, crcTable), crcTable, value)
	if sum != uint32(tail[0])<<24|uint32(tail[1])<<16|uint32(tail[2])<<8|uint32(tail[3]) {
		return nil, fmt.Errorf("%w: checksum of %x", errCorrupt, key)
	}
	return value, nil
}

// writeFileAtomically replaces a file so that after a crash there is the old or the new one.
func writeFileAtomically(path string, data []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
