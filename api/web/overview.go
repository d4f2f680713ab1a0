package web

import "time"

// An Overview is what a visitor may know of a node and its federation: no prompt, key or
// address of anybody. Zero values mean none, or not known yet.
type Overview struct {
	Node       string    `json:"node"` // name of the node that tells this
	Version    string    `json:"version"`
	Federation string    `json:"federation"` // id that all its nodes share
	Started    time.Time `json:"started"`    // this node
	Leader     string    `json:"leader"`     // name; empty while there is none

	Nodes   []Node  `json:"nodes"` // all members, this one included
	Workers Workers `json:"workers"`
	Queue   Queue   `json:"queue"`
	Minute  Minute  `json:"past_minute"`
	Totals  Totals  `json:"totals"`
	Ledger  Ledger  `json:"ledger"`
}

// A Node is a member of the federation as this one sees it.
type Node struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	URL       string   `json:"url"`    // of its API; empty if it does not tell
	Region    string   `json:"region"` // as its operator names it; may be empty
	Role      string   `json:"role"`   // leader, voter, learner, joining
	Version   string   `json:"version"`
	Self      bool     `json:"self"`
	Connected bool     `json:"connected"`
	RTTMillis *float64 `json:"rtt_ms"`   // round trip from here; nil if not measured
	Load      *float64 `json:"load"`     // share of a core that it uses, 0 to number of cores; nil if not told
	Workers   int      `json:"workers"`  // that poll there
	Requests  int      `json:"requests"` // open ones whose home it is
}

// Workers counts the workers that are there now, across the federation.
type Workers struct {
	Image        int `json:"image"`
	Text         int `json:"text"`
	Alchemy      int `json:"alchemy"`
	ImageThreads int `json:"image_threads"`
	TextThreads  int `json:"text_threads"`
}

// A Queue is what waits, across the federation.
type Queue struct {
	ImageRequests  int     `json:"image_requests"`
	TextRequests   int     `json:"text_requests"`
	Megapixelsteps float64 `json:"megapixelsteps"`
	Tokens         float64 `json:"tokens"`
}

// A Minute is what was delivered in the last 60 s.
type Minute struct {
	Megapixelsteps float64 `json:"megapixelsteps"`
	Tokens         float64 `json:"tokens"`
}

// Totals are sums since the federation began.
type Totals struct {
	Users      int     `json:"users"`
	Jobs       int64   `json:"jobs"`        // finished and paid
	KudosMoved float64 `json:"kudos_moved"` // kudos
}

// A Ledger is where the replicated ledger of this node stands.
type Ledger struct {
	Index       uint64 `json:"index"`        // last applied entry
	Chain       string `json:"chain"`        // head of the hash chain, hex
	StaleMillis int64  `json:"staleness_ms"` // since the last applied tick
}

// A Source gives overviews. It is asked at most once a second, and not concurrently.
type Source interface {
	Overview() Overview
}
