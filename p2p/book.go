package p2p

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"hordenode/internal/horde"
)

// A Store keeps the addresses that members were reached at while the node is off.
type Store interface {
	// Load returns what Save was given last; nil if there is nothing yet.
	Load() ([]byte, error)
	// Save replaces what is kept.
	Save([]byte) error
}

const (
	maxAddrs      = 50   // per member and source
	maxRemembered = 4096 // members
)

// addrBook is every way to reach a member that we know, by who told us. Only this decides
// whom we may dial where:
//
//	listed  the member's entry in the ledger: it announced them itself
//	boot    the operator's bootstrap list: never forgotten
//	told    the member's signed record, brought by itself or by others
//	lan     heard in the local network, from that very address
//	good    dialled with success before: the last 50, kept on disk
type addrBook struct {
	ranges []netip.Prefix // that learned addresses may be in though they are not public

	mu    sync.RWMutex
	by    map[peer.ID]*whereTo
	dirty bool // good differs from what is on disk
}

type whereTo struct {
	listed, boot, told, lan []multiaddr.Multiaddr
	good                    []goodAddr // the latest first
}

type goodAddr struct {
	Addr string `json:"addr"`
	Seen int64  `json:"seen"` // Unix seconds of the last connection

	parsed multiaddr.Multiaddr
}

func newAddrBook(ranges []netip.Prefix) *addrBook {
	return &addrBook{ranges: ranges, by: map[peer.ID]*whereTo{}}
}

// entry returns what is known of p, made if there is nothing. b.mu is held.
func (b *addrBook) entry(p peer.ID) *whereTo {
	w := b.by[p]
	if w == nil {
		w = &whereTo{}
		b.by[p] = w
	}
	return w
}

// bootstrap notes the operator's list: multiaddrs that end in /p2p/<id>.
func (b *addrBook) bootstrap(texts []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range texts {
		info, err := peer.AddrInfoFromString(text)
		if err != nil {
			return fmt.Errorf("bootstrap address %q, want one that ends in /p2p/ID: %w", text, err)
		}
		if len(info.Addrs) == 0 {
			return fmt.Errorf("bootstrap address %q names no address", text)
		}
		w := b.entry(info.ID)
		w.boot = append(w.boot, info.Addrs...)
	}
	return nil
}

// list replaces what the ledger says of all members.
func (b *addrBook) list(listed map[peer.ID][]multiaddr.Multiaddr, may func(peer.ID) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p, w := range b.by {
		if _, ok := listed[p]; ok {
			continue
		}
		w.listed = nil
		if !may(p) {
			b.dirty = b.dirty || len(w.good) > 0
			w.told, w.lan, w.good = nil, nil, nil
			if len(w.boot) == 0 {
				delete(b.by, p)
			}
		}
	}
	for p, addrs := range listed {
		b.entry(p).listed = addrs[:min(len(addrs), maxAddrs)]
	}
}

// tell replaces what a member's signed record says; hear, what the local network did. They
// tell whether that was news.
func (b *addrBook) tell(p peer.ID, addrs []multiaddr.Multiaddr) bool {
	return b.set(p, addrs, func(w *whereTo) *[]multiaddr.Multiaddr { return &w.told })
}

func (b *addrBook) hear(p peer.ID, addrs []multiaddr.Multiaddr) bool {
	return b.set(p, addrs, func(w *whereTo) *[]multiaddr.Multiaddr { return &w.lan })
}

func (b *addrBook) set(p peer.ID, addrs []multiaddr.Multiaddr, field func(*whereTo) *[]multiaddr.Multiaddr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	have := field(b.entry(p))
	addrs = addrs[:min(len(addrs), maxAddrs)]
	if slices.EqualFunc(*have, addrs, multiaddr.Multiaddr.Equal) {
		return false
	}
	*have = addrs
	return true
}

// worked notes that a dial led to p.
func (b *addrBook) worked(p peer.ID, addr multiaddr.Multiaddr, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.entry(p)
	w.good = slices.DeleteFunc(w.good, func(g goodAddr) bool { return g.parsed.Equal(addr) })
	w.good = slices.Insert(w.good, 0, goodAddr{Addr: addr.String(), Seen: now.Unix(), parsed: addr})
	w.good = w.good[:min(len(w.good), maxAddrs)]
	b.dirty = true
}

// addrs returns where to dial p, what worked last first.
func (b *addrBook) addrs(p peer.ID) []multiaddr.Multiaddr {
	b.mu.RLock()
	defer b.mu.RUnlock()
	w := b.by[p]
	if w == nil {
		return nil
	}
	var out []multiaddr.Multiaddr
	for _, g := range w.good {
		out = append(out, g.parsed)
	}
	for _, more := range [][]multiaddr.Multiaddr{w.listed, w.told, w.boot, w.lan} {
		for _, a := range more {
			if !slices.ContainsFunc(out, a.Equal) {
				out = append(out, a)
			}
		}
	}
	return out
}

// wanted lists the members of the bootstrap list.
func (b *addrBook) wanted() (ids []peer.ID) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for p, w := range b.by {
		if len(w.boot) > 0 {
			ids = append(ids, p)
		}
	}
	return ids
}

// has tells whether somebody who may say so named an address of p, directly or by a name that
// the resolver turned into it.
func (b *addrBook) has(p peer.ID, addr multiaddr.Multiaddr) bool {
	for _, known := range b.addrs(p) {
		if addr.Equal(known) || resolvesTo(known, addr) {
			return true
		}
	}
	return false
}

// ranged tells whether the operator lets learned addresses be in addr's network.
func (b *addrBook) ranged(addr multiaddr.Multiaddr) bool {
	if len(b.ranges) == 0 {
		return false
	}
	ip, err := manet.ToIP(addr)
	if err != nil {
		return false
	}
	a, ok := netip.AddrFromSlice(ip)
	return ok && slices.ContainsFunc(b.ranges, func(r netip.Prefix) bool { return r.Contains(a.Unmap()) })
}

// load reads what was kept. What is damaged is left out: it costs a few failing dials.
func (b *addrBook) load(s Store) error {
	data, err := s.Load()
	if err != nil || len(data) == 0 {
		return err
	}
	var kept map[horde.NodeID][]goodAddr
	if err := json.Unmarshal(data, &kept); err != nil {
		return fmt.Errorf("remembered addresses are damaged: %w", err)
	}
	var errs []error
	b.mu.Lock()
	defer b.mu.Unlock()
	for node, list := range kept {
		p, err := peerID(node)
		if err != nil || len(b.by) >= maxRemembered {
			errs = append(errs, err)
			continue
		}
		for _, g := range list[:min(len(list), maxAddrs)] {
			if g.parsed, err = multiaddr.NewMultiaddr(g.Addr); err != nil {
				errs = append(errs, err)
				continue
			}
			w := b.entry(p)
			w.good = append(w.good, g)
		}
	}
	return errors.Join(errs...)
}

// save writes what has changed.
func (b *addrBook) save(s Store) error {
	b.mu.Lock()
	if !b.dirty {
		b.mu.Unlock()
		return nil
	}
	b.dirty = false
	kept := make(map[horde.NodeID][]goodAddr, len(b.by))
	for p, w := range b.by {
		if len(w.good) > 0 && len(kept) < maxRemembered {
			kept[nodeID(p)] = slices.Clone(w.good)
		}
	}
	b.mu.Unlock()
	data, err := json.MarshalIndent(kept, "", " ")
	if err == nil {
		err = s.Save(data)
	}
	if err != nil {
		b.mu.Lock()
		b.dirty = true
		b.mu.Unlock()
	}
	return err
}
