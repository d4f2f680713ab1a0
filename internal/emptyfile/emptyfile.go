// Package emptyfile clears away what a crash can leave in a Badger directory and Badger cannot
// open: a log file that was created and not yet given its size.
//
//	create 000004.vlog   0 bytes      ◄── a crash here: the next Open fails with
//	truncate to 32 MB                     "Create a new file", and the one after it works
//
// (badger/v4@v4.9.6: logFile.open hands z.NewFile to callers that open existing files, and they
// take it for an error.) A file without a byte holds nothing, so it may go.
package emptyfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Remove removes empty value logs and write-ahead logs from dir; call it before badger.Open,
// while nothing has the database open. A directory that does not exist is clean.
func Remove(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for empty files: %w", err)
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".vlog" && ext != ".mem" {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // a process that has the database open removed it: Badger will refuse us
		}
		if err != nil {
			return fmt.Errorf("look for empty files: %w", err)
		}
		if !info.Mode().IsRegular() || info.Size() > 0 {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove empty file: %w", err)
		}
	}
	return nil
}
