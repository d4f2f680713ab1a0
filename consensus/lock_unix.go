//go:build unix

package consensus

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// checkUnlocked returns ErrInUse if a database is open in dir. Badger locks the directory.
func checkUnlocked(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	return errors.Join(err, d.Close())
}
