package node

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"hordenode/internal/horde"
	"hordenode/p2p"
)

// Reachability is what a node does to be reached and to reach others, beside dialling the
// addresses in the ledger; see p2p.Reach. The zero value does nothing of it.
type Reachability struct {
	Bootstrap  []string       // multiaddrs ending in /p2p/ID of members to stay connected to
	DialRanges []netip.Prefix // networks that learned addresses may be in although they are not public
	PortMap    bool           // ask the router to forward our ports
	Relay      bool           // relay for members that cannot be dialled, and be relayed if this node cannot
	LAN        bool           // find members in the local network
}

// p2pReach is p2p's part of the configuration. A node that listens on loopback alone has
// nothing to do with routers and local networks.
func (n *Node) p2pReach() p2p.Reach {
	c := n.cfg.Reach
	outside := slices.ContainsFunc(n.cfg.P2P, func(a string) bool {
		return !strings.HasPrefix(a, "/ip4/127.") && !strings.HasPrefix(a, "/ip6/::1/")
	})
	return p2p.Reach{
		Bootstrap: c.Bootstrap, DialRanges: c.DialRanges, Store: peerFile{n.dir},
		PortMap: c.PortMap && outside, Relay: c.Relay, LAN: c.LAN && outside,
	}
}

// peersFile holds the addresses that members were reached at.
const peersFile = "peers.json"

type peerFile struct{ dir *dataDir }

func (f peerFile) Load() ([]byte, error) {
	b, err := os.ReadFile(f.dir.join(peersFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (f peerFile) Save(b []byte) error { return f.dir.write(peersFile, b) }

// A ReachStatus is how a node is reached.
type ReachStatus struct {
	Dialable string   `json:"dialable"`         // yes, no or unknown: whether others can connect to it
	Relaying bool     `json:"relaying"`         // it relays for members that cannot be dialled
	Relays   []string `json:"relays,omitempty"` // members through which it is reached, being not dialable
}

func (n *Node) reachStatus() ReachStatus {
	r := n.host.Reach()
	s := ReachStatus{Dialable: r.Dialable.String(), Relaying: r.Relaying}
	for _, id := range r.Relays {
		s.Relays = append(s.Relays, n.nameOf(id))
	}
	return s
}

// nameOf is a member's name, or its id if it has none.
func (n *Node) nameOf(id horde.NodeID) string {
	if m, ok := n.ledger.Member(id); ok {
		return m.Name
	}
	return string(id)
}
