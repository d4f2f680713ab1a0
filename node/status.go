package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"hordenode/internal/horde"
	"hordenode/ledger"
)

// A Status is what `hordenode status` shows of one node.
type Status struct {
	Name          string       `json:"name"`
	ID            horde.NodeID `json:"id"`
	Version       string       `json:"version"`
	Federation    string       `json:"federation"`
	Role          string       `json:"role"` // leader, voter, learner
	Leader        string       `json:"leader,omitempty"`
	Term          uint64       `json:"term"`
	AppliedIndex  uint64       `json:"applied_index"`
	CommitIndex   uint64       `json:"commit_index"`
	LastLog       uint64       `json:"last_log"`
	ChainHead     string       `json:"chain_head"`
	StateHash     string       `json:"state_hash"`   // at the last tick
	StalenessMS   int64        `json:"staleness_ms"` // since the last applied tick
	URL           string       `json:"url"`
	P2P           []string     `json:"p2p"`
	Reach         ReachStatus  `json:"reach"`
	Peers         []PeerStatus `json:"peers"`
	Offers        int          `json:"offers"`
	Requests      int          `json:"requests"`
	Workers       int          `json:"workers"`
	Outbox        int          `json:"outbox"`
	Kept          int          `json:"kept"`         // results and the like for homes that cannot be reached
	ImagePrices   string       `json:"image_prices"` // "fitted", or the SHA-256 of the network that prices images
	UptimeSeconds int64        `json:"uptime_seconds"`

	LedgerVersion  ledger.Version `json:"ledger_version"`  // of the federation
	LedgerSupports ledger.Version `json:"ledger_supports"` // the newest that this node's program knows
}

// A PeerStatus is another member as this node sees it.
type PeerStatus struct {
	Name      string       `json:"name"`
	ID        horde.NodeID `json:"id"`
	Connected bool         `json:"connected"`
	RTTMillis float64      `json:"rtt_ms"`
	Relay     string       `json:"relay,omitempty"` // the member that the connection passes through; empty: it is direct
}

// A MemberStatus is a row of `hordenode members`.
type MemberStatus struct {
	ID        horde.NodeID `json:"id"`
	Name      string       `json:"name"`
	Role      string       `json:"role"`
	Voter     bool         `json:"voter"` // may vote
	Active    bool         `json:"active"`
	URL       string       `json:"url"`
	Addrs     []string     `json:"addrs"`
	RTTMillis float64      `json:"rtt_ms"`
	Connected bool         `json:"connected"`
	Relay     string       `json:"relay,omitempty"`     // the member that the connection passes through; empty: it is direct
	Dialable  string       `json:"dialable,omitempty"`  // what it says of itself: yes, no or unknown
	Suspended bool         `json:"suspended,omitempty"` // its commands wait until it is readmitted

	LedgerVersion ledger.Version `json:"ledger_version,omitempty"` // the newest that its program knows; 0: not known
}

// Status tells how this node is.
func (n *Node) Status() Status {
	st := n.group.Stats()
	head, stats, counters := n.ledger.Head(), n.exchange.Stats(), n.home.Counters()
	s := Status{
		Name: n.cfg.Name, ID: n.self, Version: n.cfg.Version, Federation: n.fed.Cluster,
		Role: n.role(), Leader: n.leaderName(), Term: st.Term,
		AppliedIndex: st.Applied, CommitIndex: st.Commit, LastLog: st.LastLog,
		ChainHead: hex.EncodeToString(head.Chain[:]), StateHash: hex.EncodeToString(head.TickHash[:]),
		StalenessMS: n.staleness().Milliseconds(),
		URL:         n.URL(), P2P: n.host.Addrs(), Reach: n.reachStatus(),
		Offers: sum(stats.Offers[:]), Requests: counters.Requests, Workers: stats.LiveWorkers,
		Outbox:        counters.Outbox,
		Kept:          n.relay.Len(),
		ImagePrices:   n.prices.ImageModel(),
		UptimeSeconds: int64(time.Since(n.started).Seconds()),
		LedgerVersion: n.ledger.Version(), LedgerSupports: n.cfg.supported(),
	}
	for _, m := range n.MemberList() {
		if m.ID != n.self && m.Active {
			s.Peers = append(s.Peers, PeerStatus{Name: m.Name, ID: m.ID, Connected: m.Connected, RTTMillis: m.RTTMillis, Relay: m.Relay})
		}
	}
	return s
}

// MemberList joins what the ledger, raft and the network know of the members.
func (n *Node) MemberList() []MemberStatus {
	voters := map[string]bool{}
	if servers, err := n.group.Servers(); err == nil {
		for _, s := range servers {
			voters[s.ID] = s.Voter
		}
	}
	leader, _ := n.group.Leader()
	var out []MemberStatus
	for _, m := range n.ledger.Members() {
		s := MemberStatus{ID: m.ID, Name: m.Name, Voter: m.Voter, Active: m.Active, Suspended: m.Suspended, URL: m.URL, Addrs: m.Addrs, Connected: m.ID == n.self, LedgerVersion: n.versionOf(m)}
		voting, known := voters[string(m.ID)]
		switch {
		case !m.Active:
			s.Role = "removed"
		case m.Suspended:
			s.Role = "suspended"
		case string(m.ID) == leader:
			s.Role = "leader"
		case voting:
			s.Role = "voter"
		case known:
			s.Role = "learner"
		default:
			s.Role = "joining"
		}
		for _, p := range n.host.Peers() {
			if p.ID == m.ID {
				s.Connected, s.RTTMillis = p.Connected, float64(p.RTT.Microseconds())/1000
				if p.Relayed {
					s.Relay = n.nameOf(p.Via)
				}
			}
		}
		s.Dialable = n.reports.get(m.ID).Dialable
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b MemberStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// voters is how many members vote.
func (n *Node) voters() int {
	servers, err := n.group.Servers()
	if err != nil {
		return 0
	}
	count := 0
	for _, s := range servers {
		if s.Voter {
			count++
		}
	}
	return count
}

func (n *Node) role() string {
	for _, m := range n.MemberList() {
		if m.ID == n.self {
			return m.Role
		}
	}
	return "joining"
}

func (n *Node) leaderName() string {
	id, ok := n.group.Leader()
	if !ok {
		return ""
	}
	if m, ok := n.ledger.Member(horde.NodeID(id)); ok {
		return m.Name
	}
	return id
}

func sum(counts []int) int {
	total := 0
	for _, c := range counts {
		total += c
	}
	return total
}

// A report is what nodes tell each other about themselves.
type report struct {
	Applied  uint64  `json:"applied"`
	Version  string  `json:"version"`
	Load     float64 `json:"load"`     // share of a core
	Requests int     `json:"requests"` // whose home it is
	Region   string  `json:"region,omitempty"`
	Prices   string  `json:"prices,omitempty"` // what prices images: see Status
	Policy   *Policy `json:"policy,omitempty"`
	Dialable string  `json:"dialable,omitempty"` // whether others can connect to it: yes, no or unknown
	Full     bool    `json:"full,omitempty"`     // its disk is almost full: it should not vote
}

func (n *Node) report() report {
	return report{
		Applied: n.group.Applied(), Version: n.cfg.Version, Load: n.load.get(),
		Requests: n.home.Counters().Requests,
		Region:   n.cfg.Region, Policy: &n.cfg.Policy,
		Prices: n.prices.ImageModel(),
		Full:   n.disk.isLow.Load(),

		Dialable: n.host.Reach().Dialable.String(),
	}
}

func (n *Node) handleStatus(context.Context, horde.NodeID, []byte) ([]byte, error) {
	return json.Marshal(n.report())
}

func (n *Node) askStatus(ctx context.Context, id horde.NodeID) (report, error) {
	b, err := n.host.Call(ctx, id, protoStatus, nil)
	if err != nil {
		return report{}, err
	}
	var r report
	return r, json.Unmarshal(b, &r)
}

// ticks knows when the leader's last tick was applied here: how old this node's state may
// be. It looks at the ledger, which has no clock, often enough.
type ticks struct {
	mu   sync.Mutex
	last uint64 // index of the tick
	at   time.Time
}

func (t *ticks) follow(l interface{ Head() ledger.Head }) func(context.Context) error {
	return func(ctx context.Context) error {
		every := time.NewTicker(100 * time.Millisecond)
		defer every.Stop()
		for {
			h := l.Head()
			t.mu.Lock()
			if h.TickIndex != t.last {
				t.last, t.at = h.TickIndex, time.Now()
			}
			t.mu.Unlock()
			select {
			case <-ctx.Done():
				return nil
			case <-every.C:
			}
		}
	}
}

// staleness is how long ago this node applied a tick of the leader.
func (n *Node) staleness() time.Duration {
	n.ticks.mu.Lock()
	defer n.ticks.mu.Unlock()
	if n.ticks.at.IsZero() {
		return time.Since(n.started)
	}
	return time.Since(n.ticks.at)
}

// User returns what this node knows of an account.
func (n *Node) User(id horde.UserID) (horde.User, bool) { return n.ledger.User(id) }

// StateHash returns the hash of this node's state and the index it is of.
func (n *Node) StateHash() (uint64, [32]byte) { return n.machine.StateHash() }

// CheckLedger checks the invariants of this node's state: postings sum to zero, holds are
// backed, no account is below its floor.
func (n *Node) CheckLedger() error { return n.machine.CheckInvariants() }
