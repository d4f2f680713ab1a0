package api

import (
	"net/netip"
	"sync"

	"hordenode/internal/horde"
)

// Addresses remembers from where workers poll this node, for its moderators' eyes. They are
// never stored or sent to other nodes. A nil *Addresses knows none.
type Addresses struct {
	mu   sync.Mutex // guards seen
	seen map[horde.WorkerID]netip.Addr
}

// maxAddresses bounds the memory that they take.
const maxAddresses = 1 << 14

// NewAddresses returns an empty memory.
func NewAddresses() *Addresses { return &Addresses{seen: map[horde.WorkerID]netip.Addr{}} }

// Saw notes that a worker polled.
func (a *Addresses) Saw(id horde.WorkerID, ip netip.Addr) {
	if a == nil || !ip.IsValid() || id.IsZero() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) >= maxAddresses {
		clear(a.seen)
	}
	a.seen[id] = ip
}

// Of returns the address that a worker polled from last, "" if it did so elsewhere.
func (a *Addresses) Of(id horde.WorkerID) string {
	if ip, ok := a.at(id); ok {
		return ip.String()
	}
	return ""
}

func (a *Addresses) at(id horde.WorkerID) (netip.Addr, bool) {
	if a == nil {
		return netip.Addr{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	ip, ok := a.seen[id]
	return ip, ok
}
