package node

import (
	"errors"
	"os"
	"syscall"
)

// layBallast reserves room without writing it.
func layBallast(path string, size uint64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, int64(size)), f.Close())
}
