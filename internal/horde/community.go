package horde

import (
	"net/netip"
	"time"
)

// What communities make and moderate together. All of it is in the ledger; a struct here
// is a copy for reading. Ids are random (version 4) and made before a command is proposed.

type (
	// A TeamID names a team.
	TeamID struct{ UUID }
	// A SharedKeyID names a shared key; it is the credential too, so it is kept out of the
	// ledger, of requests and of what nodes send each other: see SharedKeyRef.
	SharedKeyID struct{ UUID }
	// A SharedKeyRef is how the ledger names a shared key: a salted hash of its id, and of keys
	// from before version 2 of the ledger the id itself. It is no credential.
	SharedKeyRef struct{ UUID }
	// A StyleID names a style or a collection.
	StyleID struct{ UUID }
	// A MessageID names a message to workers.
	MessageID struct{ UUID }
)

// A Team is a group of workers (spec/accounts.md section 8).
type Team struct {
	ID      TeamID
	Name    string
	Info    string
	Owner   UserID
	Created time.Time
	Workers []WorkerID

	Kudos     Kudos // of image jobs done by its workers while they were in it
	Things    int64 // raw
	Fulfilled int64
	Uptime    int64 // seconds
}

// A SharedKey lets others spend its owner's kudos up to a limit (spec/accounts.md section 6).
type SharedKey struct {
	ID       SharedKeyID // zero: not known at this node (decision 0012)
	Ref      SharedKeyRef
	Owner    UserID
	Name     string
	Kudos    Kudos     // what may still be spent; Unlimited = no limit
	Utilized Kudos     // what was spent
	Expires  time.Time // zero: never
	Created  time.Time

	MaxImagePixels, MaxImageSteps, MaxTextTokens int // -1 = no limit
	Styles                                       int // styles that it is attached to; such a key works only through them
}

// Unlimited is the budget of a shared key without one.
const Unlimited Kudos = -100

// Valid tells whether the key can be used now: RCSharedKeyEmpty, RCSharedKeyExpired, or "".
func (k SharedKey) Valid(now time.Time) RC {
	switch {
	case k.Kudos == 0:
		return RCSharedKeyEmpty
	case !k.Expires.IsZero() && now.After(k.Expires):
		return RCSharedKeyExpired
	}
	return ""
}

// A Style is a stored prompt and parameters that requests can name (spec/accounts.md
// section 9). Params is JSON in the API's own shape; only package api reads it.
type Style struct {
	ID        StyleID
	Kind      Kind // KindImage or KindText
	Name      string
	Owner     UserID
	Info      string
	Prompt    string
	Params    []byte
	Models    []string
	Tags      []string
	Public    bool
	NSFW      bool
	SharedKey SharedKeyRef // zero: none
	UseCount  int64
	Created   time.Time
	Examples  []StyleExample
}

// A StyleExample is a picture of what an image style does.
type StyleExample struct {
	ID      StyleID `cbor:"1,keyasint"`
	URL     string  `cbor:"2,keyasint"`
	Primary bool    `cbor:"3,keyasint,omitempty"`
}

// A Collection names several styles of one kind (spec/accounts.md section 10).
type Collection struct {
	ID       StyleID
	Kind     Kind
	Name     string
	Owner    UserID
	Info     string
	Public   bool
	Styles   []StyleID
	UseCount int64
	Created  time.Time
}

// A Filter is an expression that prompts are checked with (spec/moderation.md section 7).
type Filter struct {
	ID          int64
	Regex       string
	Type        int // 10..29
	Description string
	Replacement string
	Editor      UserID
}

// An IPBlock keeps a network out until it ends (spec/moderation.md section 9). The ledger
// knows an address only as its keyed hash: what is listed are networks, and an address is
// seen only by who names it.
type IPBlock struct {
	Network netip.Prefix // see BlockedNetwork; of one bit length 32 or 64: a single address
	Until   time.Time
	Left    time.Duration // until then, by ledger time
	By      UserID        // the moderator; 0: reports of corrupt prompts did it
	Reason  string        // empty: none was given
	Worker  WorkerID      // whose address it was; zero: nobody's in particular
	Reports int           // corrupt prompts from it, lately
}

// BlockedNetwork is the canonical form of a network to be blocked: IPv4 as such even if it was
// written as IPv6, and no longer than /64 in IPv6, where a client may use any
// address of its /64. The zero Prefix means that p is none.
func BlockedNetwork(p netip.Prefix) netip.Prefix {
	if !p.IsValid() {
		return netip.Prefix{}
	}
	a, bits := p.Addr(), p.Bits()
	if a.Is4In6() && bits >= 96 {
		a, bits = a.Unmap(), bits-96
	}
	if a.Is6() {
		bits = min(bits, 64)
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// WidestBlock is how many leading bits a network must fix at least to be blocked: a slip must
// not keep everybody out. six: of an IPv6 network.
func WidestBlock(six bool) int {
	if six {
		return 16
	}
	return 8
}

// A WorkerMessage is shown to a worker, or to all, when it polls (spec/accounts.md section 7.6).
type WorkerMessage struct {
	ID      MessageID
	Worker  WorkerID // zero: to all workers
	User    UserID   // who wrote it
	Message string
	Origin  string
	Created time.Time
	Expires time.Time
}
