package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"hordenode/internal/horde"
)

// Config is what a Disk needs. Zero limits have defaults.
type Config struct {
	Dir     string
	MaxBlob int64         // bytes of one blob; 16 MiB
	Quota   int64         // bytes of all blobs; 10 GiB
	KeepFor time.Duration // since Put; 120 min

	Now func() time.Time // time.Now
}

// What a store takes on if it is not told otherwise.
const (
	defaultMaxBlob = 16 << 20
	defaultQuota   = 10 << 30
	defaultKeepFor = 120 * time.Minute
)

// tmp is the folder of what is being written.
const tmp = "tmp"

// A Disk is a Store in a folder of its own. All access goes through an os.Root, so that no
// name can lead out of it.
type Disk struct {
	root *os.Root
	cfg  Config

	mu   sync.Mutex // guards used, and keeps a file's change and its accounting together
	used int64      // bytes, with what is being written
}

var _ Store = (*Disk)(nil)

// Open opens a Disk, and makes its folder if need be. What was being written when the node
// stopped is deleted.
func Open(cfg Config) (*Disk, error) {
	if cfg.MaxBlob == 0 {
		cfg.MaxBlob = defaultMaxBlob
	}
	if cfg.Quota == 0 {
		cfg.Quota = defaultQuota
	}
	if cfg.KeepFor == 0 {
		cfg.KeepFor = defaultKeepFor
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make blob folder: %w", err)
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open blob folder: %w", err)
	}
	d := &Disk{root: root, cfg: cfg}
	if err := d.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("open blob folder: %w", err), root.Close())
	}
	return d, nil
}

// start makes the folders, so that no later write has to, and adds up what is there.
func (d *Disk) start() error {
	if err := d.root.RemoveAll(tmp); err != nil {
		return err
	}
	if err := d.root.MkdirAll(tmp, 0o700); err != nil {
		return err
	}
	for i := range 256 {
		if err := d.root.MkdirAll(fmt.Sprintf("%02x", i), 0o700); err != nil {
			return err
		}
	}
	if err := d.syncFolder("."); err != nil {
		return err
	}
	return d.each(context.Background(), func(_ string, info fs.FileInfo) error {
		d.used += info.Size()
		return nil
	})
}

// Close closes the folder.
func (d *Disk) Close() error { return d.root.Close() }

// Put implements Store.
func (d *Disk) Put(ctx context.Context, name string, data []byte) error {
	n, err := ParseName(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	size := int64(len(data))
	if size > d.cfg.MaxBlob {
		return horde.Refuse(horde.RCBadRequest, "A blob has at most %d bytes.", d.cfg.MaxBlob)
	}
	if err := d.reserve(size); err != nil {
		return err
	}
	if err := d.put(n, data); err != nil {
		return fmt.Errorf("store blob: %w", err)
	}
	return nil
}

// put writes what there is room reserved for, or gives the room back.
func (d *Disk) put(n Name, data []byte) error {
	file := path.Join(tmp, rand.Text())
	if err := d.write(file, data); err != nil {
		d.release(int64(len(data)))
		return errors.Join(err, ignoreMissing(d.root.Remove(file)))
	}
	at := path.Join(n.shard(), n.String())
	d.mu.Lock()
	old := d.sizeOf(at)
	err := d.root.Rename(file, at)
	if err == nil {
		d.used -= old
	}
	d.mu.Unlock()
	if err != nil {
		d.release(int64(len(data)))
		return errors.Join(err, ignoreMissing(d.root.Remove(file)))
	}
	return d.syncFolder(n.shard())
}

// write makes a file with data, synced and dated now.
func (d *Disk) write(file string, data []byte) error {
	f, err := d.root.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return err
	}
	now := d.cfg.Now()
	return d.root.Chtimes(file, now, now)
}

// Get implements Store.
func (d *Disk) Get(ctx context.Context, name string) ([]byte, error) {
	n, err := ParseName(name)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.root.Open(path.Join(n.shard(), n.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &horde.Error{RC: horde.RCRequestNotFound, Msg: "There is no such image. It may have expired.", Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, fmt.Errorf("read blob: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, d.cfg.MaxBlob+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read blob: %w", err)
	}
	return data, nil
}

// Has implements Store.
func (d *Disk) Has(_ context.Context, name string) bool {
	n, err := ParseName(name)
	if err != nil {
		return false
	}
	_, err = d.root.Stat(path.Join(n.shard(), n.String()))
	return err == nil
}

// Delete implements Store.
func (d *Disk) Delete(ctx context.Context, name string) error {
	n, err := ParseName(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.remove(path.Join(n.shard(), n.String())); err != nil {
		return fmt.Errorf("delete blob: %w", err)
	}
	return nil
}

// DeleteAll implements Store.
func (d *Disk) DeleteAll(ctx context.Context, id horde.UUID) error {
	shard := Name{ID: id}.shard()
	var errs error
	err := d.inFolder(ctx, shard, func(at string, _ fs.FileInfo) error {
		if strings.HasPrefix(path.Base(at), id.String()) {
			errs = errors.Join(errs, d.remove(at))
		}
		return nil
	})
	if err = errors.Join(err, errs); err != nil {
		return fmt.Errorf("delete blobs: %w", err)
	}
	return nil
}

// Sweep implements Store.
func (d *Disk) Sweep(ctx context.Context, now time.Time) error {
	err := d.each(ctx, func(at string, info fs.FileInfo) error {
		if now.Sub(info.ModTime()) <= d.cfg.KeepFor {
			return nil
		}
		return d.remove(at)
	})
	if err != nil {
		return fmt.Errorf("sweep blobs: %w", err)
	}
	return nil
}

// Usage implements Store.
func (d *Disk) Usage() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// reserve takes room for n bytes before they are written.
func (d *Disk) reserve(n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.used+n > d.cfg.Quota {
		return horde.Refuse(horde.RCUnavailable, "This node has no room for more images. Please try again later.")
	}
	d.used += n
	return nil
}

func (d *Disk) release(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used -= n
}

// remove deletes a file, if it is there, and gives its room back.
func (d *Disk) remove(at string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := d.sizeOf(at)
	if err := d.root.Remove(at); err != nil {
		return ignoreMissing(err)
	}
	d.used -= size
	return nil
}

// sizeOf returns the size of a file, 0 if there is none. mu is held.
func (d *Disk) sizeOf(at string) int64 {
	info, err := d.root.Stat(at)
	if err != nil {
		return 0
	}
	return info.Size()
}

// each calls f for every blob.
func (d *Disk) each(ctx context.Context, f func(at string, info fs.FileInfo) error) error {
	for i := range 256 {
		if err := d.inFolder(ctx, fmt.Sprintf("%02x", i), f); err != nil {
			return err
		}
	}
	return nil
}

// inFolder calls f for every blob of a folder; what vanishes meanwhile is left out.
func (d *Disk) inFolder(ctx context.Context, folder string, f func(at string, info fs.FileInfo) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, err := d.root.Open(folder)
	if err != nil {
		return err
	}
	infos, err := dir.Readdir(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, info := range infos {
		if err := f(path.Join(folder, info.Name()), info); err != nil {
			return err
		}
	}
	return nil
}

// syncFolder makes a folder's entries durable.
func (d *Disk) syncFolder(folder string) error {
	dir, err := d.root.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
