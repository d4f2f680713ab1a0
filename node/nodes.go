package node

import (
	"net/http"
	"time"

	"hordenode/api/web"
	"hordenode/internal/horde"
)

// A NodeInfo is a row of GET /api/fed/v1/nodes: what a client or worker needs to choose a
// node. Clients measure their own round trips; rtt_ms is this node's.
type NodeInfo struct {
	web.Node
	Policy *Policy `json:"policy"` // null if the node has not told it yet
}

// Nodes lists the active members as this node sees them.
func (n *Node) Nodes() []NodeInfo {
	var out []NodeInfo
	for _, x := range n.Overview().Nodes {
		out = append(out, NodeInfo{Node: x, Policy: n.reports.get(horde.NodeID(x.ID)).Policy})
	}
	return out
}

// A MemberInfo is a row of GET /api/fed/v1/members: all that ever joined.
type MemberInfo struct {
	MemberStatus
	Version string    `json:"version"` // what follows is empty or null for a member that does not answer
	Region  string    `json:"region"`
	Load    *float64  `json:"load"` // share of a core that it uses
	Policy  *Policy   `json:"policy"`
	Joined  time.Time `json:"joined"`
}

// Members lists all members, those that were removed included.
func (n *Node) Members() []MemberInfo {
	var out []MemberInfo
	for _, m := range n.MemberList() {
		r := n.reports.get(m.ID)
		x := MemberInfo{MemberStatus: m, Version: r.Version, Region: r.Region, Policy: r.Policy}
		if r.Version != "" {
			x.Load = &r.Load
		}
		if known, ok := n.ledger.Member(m.ID); ok {
			x.Joined = known.Joined
		}
		out = append(out, x)
	}
	return out
}

func (n *Node) serveNodes(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, n.Nodes())
}

func (n *Node) serveMembers(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, n.Members())
}
