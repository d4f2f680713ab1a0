package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// checkTables looks at the end of each table that Badger is about to open. One that was cut
// short makes Badger panic in a goroutine of its own (badger/v4@v4.9.6 table/table.go,
// initIndex), where nobody can recover: the process would die at every start. Files that the
// manifest does not name are leftovers, and a missing one Badger reports itself.
func checkTables(opt badger.Options) error {
	f, err := os.Open(filepath.Join(opt.Dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, opt.ExternalMagicVersion, opt)
	if err != nil {
		return err
	}
	for id := range manifest.Tables {
		path := table.NewFilename(id, opt.Dir)
		switch err := checkTable(path); {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return fmt.Errorf("table %s: %w", path, err)
		}
	}
	return nil
}

// checkTable verifies a table's footer: index, indexLen(4), checksum, checksumLen(4). The
// checksum is the protobuf message {2: CRC32C of the index}.
func checkTable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	take := func(n int64) ([]byte, error) {
		if n < 0 || n > end {
			return nil, fmt.Errorf("%w: cut short", errCorrupt)
		}
		end -= n
		b := make([]byte, n)
		_, err := f.ReadAt(b, end)
		if errors.Is(err, io.EOF) {
			err = nil // ReadAt may say so when it has read up to the end
		}
		return b, err
	}
	field := func() ([]byte, error) {
		size, err := take(4)
		if err != nil {
			return nil, err
		}
		return take(int64(binary.BigEndian.Uint32(size)))
	}
	checksum, err := field()
	if err != nil {
		return err
	}
	index, err := field()
	if err != nil {
		return err
	}
	const sumField = 2 << 3 // field 2, and 0 in the low bits: a varint
	if len(checksum) < 2 || checksum[0] != sumField {
		return fmt.Errorf("%w: footer", errCorrupt)
	}
	if sum, n := binary.Uvarint(checksum[1:]); n <= 0 || sum != uint64(crc32.Checksum(index, crcTable)) {
		return fmt.Errorf("%w: footer", errCorrupt)
	}
	return nil
}
