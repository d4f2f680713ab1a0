package node

import (
	"context"
	"fmt"
	"time"

	"hordenode/api"
	"hordenode/node/blob"
)

// openBlobs opens the store of images: a bucket if the configuration names one, else a folder.
func (n *Node) openBlobs() error {
	if n.cfg.S3 == nil {
		disk, err := blob.Open(blob.Config{Dir: n.dir.join("blobs")})
		if err != nil {
			return err
		}
		n.blobs = disk
		n.onClose(disk.Close)
		return nil
	}
	cfg := *n.cfg.S3
	cfg.Prefix += string(n.self) + "/" // nodes may share a bucket
	ctx, cancel := context.WithTimeout(context.Background(), s3Patience)
	defer cancel()
	store, err := blob.OpenS3(ctx, cfg)
	if err != nil {
		return fmt.Errorf("store of images: %w", err)
	}
	n.blobs = store
	return nil
}

// s3Patience bounds the list of what a bucket holds, when a node starts.
const s3Patience = time.Minute

// presign gives out addresses of the store itself for blobs of this node's own requests. All
// others travel through the node that hands their address out.
func (n *Node) presign() api.Presign {
	store, ok := n.blobs.(*blob.S3)
	if !ok {
		return nil
	}
	return func(method, name string, lifetime time.Duration) (string, bool) {
		b, err := blob.ParseName(name)
		if err != nil || b.ID.Home() != n.self.Tag() {
			return "", false
		}
		return store.Presign(method, name, lifetime)
	}
}

// S3Config and S3Secret are package blob's, for the command line.
type (
	S3Config = blob.S3Config
	S3Secret = blob.SecretKey
)

// ReadS3Keys reads a file of keys: see blob.ReadKeys.
func ReadS3Keys(path string) (blob.Keys, error) { return blob.ReadKeys(path) }
