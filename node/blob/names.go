package blob

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"hordenode/internal/horde"
)

// Names returns the blobs that a request or job has.
func (d *Disk) Names(ctx context.Context, id horde.UUID) (names []string, err error) {
	err = d.inFolder(ctx, Name{ID: id}.shard(), func(at string, _ fs.FileInfo) error {
		if name := path.Base(at); strings.HasPrefix(name, id.String()) {
			if _, err := ParseName(name); err == nil { // what is being written has another kind of name
				names = append(names, name)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("names of blobs: %w", err)
	}
	return names, nil
}

// Names returns the blobs that a request or job has.
func (s *S3) Names(ctx context.Context, id horde.UUID) (names []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s3Time)
	defer cancel()
	err = s.each(ctx, id.String(), func(name string, _ entry) error {
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("names of blobs: %w", err)
	}
	return names, nil
}
