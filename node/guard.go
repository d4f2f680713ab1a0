package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"hordenode/consensus"
)

// A diskGuard watches the space left for the data directory. The database dies hard on a full
// disk, so the node goes first, in two steps:
//
//	free │ plenty │ ── low ──│ no new requests, no leadership, no promotion
//	     │        │ critical │ a clean stop, with a message
//
// A ballast file takes room while all is well. A node that finds the disk full when it starts
// removes it, and so has the room to start, and its operator the time to make more.
type diskGuard struct {
	dir           string
	low, critical uint64 // bytes free
	ballast       uint64 // size of the file; 0: none
	space         func(dir string) (free, total uint64, err error)
	log           *slog.Logger

	isLow atomic.Bool
	slow  slowness // of guardDisk alone
}

const (
	ballastFile = "ballast"
	ballastSize = 256 << 20
	ballastFrom = 10 << 30 // smaller file systems have no ballast
	diskEvery   = 5 * time.Second
)

// ErrDiskFull says that the node stopped, or did not start, because its disk is full.
var ErrDiskFull = errors.New("the disk of the data directory is full")

// watermarks are 5 % and a quarter of it, within what the database needs and what is worth
// keeping free.
func watermarks(total uint64) (low, critical uint64) {
	low = min(max(total/20, 128<<20), 1<<30)
	return low, low / 4
}

func newDiskGuard(dir string, cfg Config, log *slog.Logger) (*diskGuard, error) {
	g := &diskGuard{dir: dir, space: space, log: log}
	_, total, err := g.space(dir)
	if err != nil {
		return nil, err
	}
	g.low, g.critical = watermarks(total)
	switch {
	case cfg.Ballast > 0:
		g.ballast = uint64(cfg.Ballast)
	case cfg.Ballast < 0 && total >= ballastFrom:
		g.ballast = ballastSize
	}
	return g, nil
}

// space is what an ordinary user can still write in dir's file system, and its size.
func space(dir string) (free, total uint64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}

// admit refuses to start on a full disk, after giving up the ballast; on a roomy one it lays
// the ballast down.
func (g *diskGuard) admit() error {
	free, _, err := g.space(g.dir)
	if err != nil {
		return err
	}
	path := filepath.Join(g.dir, ballastFile)
	if free < g.critical {
		switch err := os.Remove(path); {
		case err == nil:
			g.log.Warn("the disk is full: the ballast file was removed so that the node can start; make room, and it comes back", "file", path)
			if free, _, err = g.space(g.dir); err != nil {
				return err
			}
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
	}
	if free < g.critical {
		return g.full(free)
	}
	if _, err := os.Stat(path); g.ballast > 0 && errors.Is(err, os.ErrNotExist) && free > g.low+g.ballast {
		if err := layBallast(path, g.ballast); err != nil {
			g.log.Warn("no ballast file", "err", errors.Join(err, ignoreMissing(os.Remove(path))))
		}
	}
	return nil
}

func (g *diskGuard) full(free uint64) error {
	return fmt.Errorf("%w: %d MiB are free in %s and %d MiB are the least; make room and start the node again", ErrDiskFull, free>>20, g.dir, g.critical>>20)
}

// check looks once; an error means that the node must stop.
func (g *diskGuard) check() error {
	free, _, err := g.space(g.dir)
	if err != nil {
		return err
	}
	if free < g.critical {
		return g.full(free)
	}
	// It counts as roomy again a little above the mark, so that it does not flutter.
	switch low := g.isLow.Load(); {
	case !low && free < g.low:
		g.isLow.Store(true)
		g.log.Error("the disk is almost full: no new requests are accepted and leadership is handed over", "free_mib", free>>20, "want_mib", g.low>>20, "stops_at_mib", g.critical>>20)
	case low && free > g.low+g.low/8:
		g.isLow.Store(false)
		g.log.Info("there is room on the disk again", "free_mib", free>>20)
	}
	return nil
}

// guardDisk runs the guard until ctx is done, or the disk is full.
func (n *Node) guardDisk(ctx context.Context) error {
	t := time.NewTicker(diskEvery)
	defer t.Stop()
	for {
		if err := n.disk.check(); err != nil {
			return err
		}
		if n.disk.isLow.Load() && n.group.IsLeader() && n.voters() > 1 {
			if err := n.group.TransferLeadership(); err != nil {
				n.log.WarnContext(ctx, "leadership was not handed over", "err", err)
			}
		}
		if n.group.IsLeader() && n.voters() > 1 && n.disk.slow.seen(n.group.Stats().LogWrite) {
			n.log.WarnContext(ctx, "the disk is slow: leadership is handed over", "write", n.group.Stats().LogWrite)
			if err := n.group.TransferLeadership(); err != nil {
				n.log.WarnContext(ctx, "leadership was not handed over", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// refusesWork answers a new request with 503 while the disk is almost full.
func (n *Node) refusesWork(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/async") || !n.disk.isLow.Load() {
		return false
	}
	w.Header().Set("Retry-After", "60")
	writeError(w, http.StatusServiceUnavailable, "This node has no room for new requests. Please use another one.")
	return true
}

// dieSlowly ends the process a moment after its disk hung: what waits for that disk would
// keep it from stopping in order.
func (n *Node) dieSlowly(err error) {
	if errors.Is(err, consensus.ErrDiskHangs) && n.cfg.Exit != nil {
		n.log.Error("the disk does not answer: this process ends in 5 seconds whatever it waits for", "err", err)
		time.AfterFunc(5*time.Second, func() { n.cfg.Exit(1) })
	}
}
