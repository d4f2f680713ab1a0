package webhook

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hordenode/internal/horde"
)

// A note is an empty file that says that a job's message is still to be sent. Its name holds
// the ids of request and job, its time when it was taken on. Notes are not synced: a power
// cut may lose the newest, a crash or restart of the node does not.
type note struct {
	request horde.RequestID
	job     horde.JobID
	at      time.Time
}

// notes keeps notes in a folder.
type notes struct{ dir string }

func openNotes(dir string) (*notes, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for notes: %w", err)
	}
	return &notes{dir}, nil
}

func (n *notes) path(r horde.RequestID, j horde.JobID) string {
	return filepath.Join(n.dir, r.String()+"."+j.String())
}

func (n *notes) add(r horde.RequestID, j horde.JobID) error {
	f, err := os.OpenFile(n.path(r, j), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (n *notes) remove(r horde.RequestID, j horde.JobID) error {
	if err := os.Remove(n.path(r, j)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// list returns the notes that are there, oldest first. What is no note is left alone.
func (n *notes) list() ([]note, error) {
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		return nil, err
	}
	var all []note
	for _, e := range entries {
		const id = 36
		name := e.Name()
		if len(name) != 2*id+1 {
			continue
		}
		r, err1 := horde.ParseUUID(name[:id])
		j, err2 := horde.ParseUUID(name[id+1:])
		info, err3 := e.Info()
		if err := errors.Join(err1, err2, err3); err != nil {
			continue
		}
		all = append(all, note{horde.RequestID{UUID: r}, horde.JobID{UUID: j}, info.ModTime()})
	}
	slices.SortFunc(all, func(a, b note) int { return a.at.Compare(b.at) })
	return all, nil
}
