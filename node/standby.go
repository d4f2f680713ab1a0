package node

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/blob"
	"hordenode/node/jobs"
	"hordenode/node/jobs/standby"
	"hordenode/p2p"
)

// openStandby opens what others copy here, and what copies this node's requests elsewhere.
func (n *Node) openStandby() (err error) {
	n.standby, err = standby.Open(standby.Config{Dir: n.dir.join("standby"), Key: n.key, Now: time.Now, Log: n.log.With("part", "standby")})
	if err != nil {
		return err
	}
	n.onClose(n.standby.Close)
	n.copier = standby.NewCopier(standby.CopierConfig{
		Tag:      n.self.Tag(),
		Call:     n.host.Call,
		Choose:   n.chooseBackup,
		Register: n.registerBackup,
		Rand:     n.rand,
		Log:      n.log.With("part", "standby"),
	})
	n.host.Handle(standby.Proto, p2p.Limits{Request: standby.MaxMessage}, n.standby.Handle)
	n.host.Handle(protoHandover, p2p.Limits{Request: p2p.MaxCall}, n.handleHandover)
	n.host.Handle(protoSilent, p2p.Limits{}, n.handleSilent)
	return nil
}

// runCopier keeps this node's requests copied, while they are its own.
func (n *Node) runCopier(ctx context.Context) error {
	return n.copier.Run(ctx, copiedHome{n.home, n.blobs}, func() bool { return n.ledger.Standin(n.self).Superseded })
}

// chooseBackup keeps the backup that there is while it is connected, and else takes the member
// that the hash of both says, voters first: so a federation's backups are spread evenly.
func (n *Node) chooseBackup(current horde.NodeID) (horde.NodeID, bool) {
	connected := map[horde.NodeID]bool{}
	for _, p := range n.host.Peers() {
		connected[p.ID] = p.Connected
	}
	var best horde.NodeID
	var most uint64
	var voter bool
	for _, m := range n.ledger.Members() {
		if !m.Active || m.ID == n.self || !connected[m.ID] || n.ledger.Standin(m.ID).Superseded {
			continue
		}
		if m.ID == current {
			return current, true
		}
		sum := sha256.Sum256([]byte("backup\x00" + string(n.self) + "\x00" + string(m.ID)))
		weight := binary.BigEndian.Uint64(sum[:])
		if best == "" || m.Voter && !voter || m.Voter == voter && weight > most {
			best, most, voter = m.ID, weight, m.Voter
		}
	}
	return best, best != ""
}

func (n *Node) registerBackup(ctx context.Context, to horde.NodeID) error {
	if n.ledger.Standin(n.self).Backup == to {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return n.ledger.SetBackup(ctx, to)
}

// A copiedHome is this node's requests with their images.
type copiedHome struct {
	*jobs.Home
	blobs blob.Store
}

// Copies calls keep with everything that a backup should have, images before the results that
// they are.
func (h copiedHome) Copies(ctx context.Context, keep func(id horde.RequestID, what string, data []byte, until time.Time) bool) error {
	return h.Home.Copies(ctx, func(id horde.RequestID, what string, data []byte, until time.Time) bool {
		owner, ok := jobs.BlobOwner(id, what)
		if !ok {
			return keep(id, what, data, until)
		}
		images, err := imagesOf(ctx, h.blobs, owner)
		if err != nil && ctx.Err() != nil {
			return false
		}
		for _, x := range images { // what cannot be read cannot be copied, but the rest can
			if !keep(id, jobs.BlobItem(x.name), x.data, until) {
				return false
			}
		}
		return keep(id, what, data, until)
	})
}

type image struct {
	name string
	data []byte
}

// imagesOf returns the images that could be read, and what is wrong with the others.
func imagesOf(ctx context.Context, blobs blob.Store, owner horde.UUID) (all []image, err error) {
	names, err := blobs.Names(ctx, owner)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		data, e := blobs.Get(ctx, name)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("image %s: %w", name, e))
			continue
		}
		all = append(all, image{name, data})
	}
	return all, err
}

// A copiedStore has the backup keep what is stored.
type copiedStore struct {
	blob.Store
	home     keeper
	straight bool // workers may put their results into the store without this node's seeing them
}

// lateHome is the node's home, which is opened after its stores.
type lateHome struct{ n *Node }

func (h lateHome) CopyBlob(id horde.UUID, name string, data []byte) {
	h.n.home.CopyBlob(id, name, data)
}

// A keeper has a blob copied. *jobs.Home is one.
type keeper interface {
	CopyBlob(id horde.UUID, name string, data []byte)
}

// Put stores a blob and has it copied.
func (s copiedStore) Put(ctx context.Context, name string, data []byte) error {
	if err := s.Store.Put(ctx, name, data); err != nil {
		return err
	}
	s.copy(name, data)
	return nil
}

// Has tells whether there is a blob of that name. It is asked before a result is taken, which is
// when what came past this node can be copied, before the result that it is.
func (s copiedStore) Has(ctx context.Context, name string) bool {
	if !s.Store.Has(ctx, name) {
		return false
	}
	if s.straight {
		if data, err := s.Get(ctx, name); err == nil { // if not: a copy less, not a result less
			s.copy(name, data)
		}
	}
	return true
}

func (s copiedStore) copy(name string, data []byte) {
	if n, err := blob.ParseName(name); err == nil {
		s.home.CopyBlob(n.ID, name, data)
	}
}
