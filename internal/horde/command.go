package horde

import "time"

// The facts below are made by the job plane and become ledger commands. Whatever Apply
// needs travels in them; amounts are final.

// An Admission opens a request's hold record and posts its tax.
type Admission struct {
	Request  RequestID `cbor:"1,keyasint"`
	Kind     Kind      `cbor:"2,keyasint,omitempty"`
	Payer    UserID    `cbor:"3,keyasint,omitempty"`
	Slots    int       `cbor:"4,keyasint"`
	Tax      Kudos     `cbor:"5,keyasint,omitempty"`
	Upfront  Kudos     `cbor:"6,keyasint,omitempty"` // refused with KudosUpfront unless available
	Deadline time.Time `cbor:"7,keyasint"`           // after it the ledger releases what is left

	SharedKey  SharedKeyRef `cbor:"8,keyasint,omitzero"`  // of the payer, which its debits use up; zero: none
	Style      StyleID      `cbor:"9,keyasint,omitzero"`  // that was applied; zero: none
	Collection StyleID      `cbor:"10,keyasint,omitzero"` // that Style was picked from; zero: none
}

// A Settlement pays for one delivered slot. Settling a slot again pays nothing.
type Settlement struct {
	Request  RequestID `cbor:"1,keyasint"`
	Slot     int       `cbor:"2,keyasint"`
	Job      JobID     `cbor:"3,keyasint"`
	Worker   WorkerID  `cbor:"4,keyasint"`
	Debit    Kudos     `cbor:"5,keyasint,omitempty"` // from the payer
	Credit   Kudos     `cbor:"6,keyasint,omitempty"` // to the worker's owner, half to escrow if untrusted
	Things   int64     `cbor:"7,keyasint,omitempty"` // contribution: requested things of one job, raw
	Censored bool      `cbor:"8,keyasint,omitempty"` // credit beyond debit is minted for this reason
}

// A Finish closes a request's hold record and releases what is left of its hold.
type Finish struct {
	Request RequestID `cbor:"1,keyasint"`
}

// An Abort counts a job that a worker took and did not deliver; too many put the worker
// in maintenance (spec/status.md section 7.1).
type Abort struct {
	Request RequestID `cbor:"1,keyasint"`
	Job     JobID     `cbor:"2,keyasint"`
	Worker  WorkerID  `cbor:"3,keyasint"`
}

// An Uptime rewards a worker for a further 600 s of being there.
type Uptime struct {
	Worker  WorkerID `cbor:"1,keyasint"`
	Seconds int64    `cbor:"2,keyasint"`           // uptime since the last report
	Reward  Kudos    `cbor:"3,keyasint,omitempty"` // 0: only the seconds count
}

// A Member is a node of the federation as the ledger has it.
type Member struct {
	ID        NodeID
	Name      string
	PublicKey []byte   // ed25519, 32 bytes: signs the node's batches
	Addrs     []string // libp2p multiaddrs without /p2p
	URL       string   // of its API
	Voter     bool     // may be promoted to a raft voter
	Active    bool     // false: removed; its commands have no effect
	Suspended bool     // its commands are refused until it is readmitted, and it does not vote
	Joined    time.Time
	InvitedBy NodeID
	// Ledger is the newest version of the ledger's commands that its program knows; 0: it has
	// not said.
	Ledger uint16
}

// A Standin tells who keeps copies of a member's requests and who took them over
// (docs/decisions/0022-takeover.md). Zero fields: nobody did.
type Standin struct {
	Backup     NodeID   // the member copies its requests to it
	Successor  NodeID   // took over the requests that the member had
	Superseded bool     // the member has not resumed since
	Earlier    []NodeID // took over before Successor did, and keep what they took over
	Taken      time.Time
}
