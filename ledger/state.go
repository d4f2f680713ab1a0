package ledger

import (
	"time"

	"hordenode/internal/horde"
)

// The rows below are what the tables hold and what is stored. Their cbor keys are never
// renumbered; a new field gets a new key and is left out when zero, so that old rows keep
// their encoding and their hash. Times are Unix milliseconds of ledger time, 0 = never.

// meta is what Genesis fixed, and the few things that are counted or configured.
type meta struct {
	Cluster  ClusterID    `cbor:"1,keyasint"`
	Epoch    uint64       `cbor:"2,keyasint"`
	Salt     []byte       `cbor:"3,keyasint"`
	NextUser horde.UserID `cbor:"4,keyasint"`
	Adopted  bool         `cbor:"5,keyasint,omitempty"` // a test user took over the founder's account
	Config   Config       `cbor:"6,keyasint"`

	LastFilter int64 `cbor:"7,keyasint,omitempty"` // id of the last filter made

	Version Version `cbor:"8,keyasint,omitempty"` // see version.go; 0 = 1

	SealPrint []byte `cbor:"9,keyasint,omitempty"` // of the key that shared keys' ids are sealed with, see seal.go
}

// activity counts what the ledger has seen since its genesis.
type activity struct {
	Settled int64       `cbor:"1,keyasint,omitempty"` // jobs paid
	Moved   horde.Kudos `cbor:"2,keyasint,omitempty"` // debits of settlements and transfers

	MonthlyRun int64 `cbor:"3,keyasint,omitempty"` // when monthly kudos were last looked at

	Moderations uint64 `cbor:"4,keyasint,omitempty"` // rows that the moderation log ever had
}

// head is where the machine is in the log. It is not part of the state hash.
type head struct {
	Index     uint64 `cbor:"1,keyasint"`
	Time      int64  `cbor:"2,keyasint"`
	Chain     digest `cbor:"3,keyasint"`
	TickIndex uint64 `cbor:"4,keyasint,omitempty"`
	TickHash  digest `cbor:"5,keyasint"`
}

type modes struct {
	Maintenance bool `cbor:"1,keyasint,omitempty"`
	InviteOnly  bool `cbor:"2,keyasint,omitempty"`
	Raid        bool `cbor:"3,keyasint,omitempty"`

	InviteKinds uint8 `cbor:"4,keyasint,omitempty"` // horde.Modes
}

// An action is the kudos_details bucket that a posting to a user counts in.
type action uint8

const (
	actionNone action = iota // escrow and floor postings count nowhere
	actionAccumulated
	actionGifted
	actionDonated
	actionAdmin
	actionReceived
	actionRecurring
	actionAwarded
	actionStyled

	actions = 12 // room in the rows; its size is part of their encoding
)

type user struct {
	Name          string               `cbor:"1,keyasint,omitempty"`
	Class         horde.Class          `cbor:"2,keyasint,omitempty"`
	Roles         horde.Roles          `cbor:"3,keyasint,omitempty"`
	Kudos         horde.Kudos          `cbor:"4,keyasint,omitempty"`
	Escrow        horde.Kudos          `cbor:"5,keyasint,omitempty"`
	Held          horde.Kudos          `cbor:"6,keyasint,omitempty"`
	Concurrency   int                  `cbor:"7,keyasint,omitempty"`
	WorkerInvited int                  `cbor:"8,keyasint,omitempty"`
	PublicWorkers bool                 `cbor:"9,keyasint,omitempty"`
	Contact       string               `cbor:"10,keyasint,omitempty"`
	AdminComment  string               `cbor:"11,keyasint,omitempty"`
	Monthly       horde.Kudos          `cbor:"12,keyasint,omitempty"`
	MonthlyLast   int64                `cbor:"13,keyasint,omitempty"`
	UsagePermille int64                `cbor:"14,keyasint,omitempty"`
	Created       int64                `cbor:"15,keyasint,omitempty"`
	LastActive    int64                `cbor:"16,keyasint,omitempty"`
	Key           digest               `cbor:"17,keyasint,omitzero"`
	Login         digest               `cbor:"18,keyasint,omitzero"`
	Passkey       digest               `cbor:"19,keyasint,omitzero"`
	Wiped         bool                 `cbor:"20,keyasint,omitempty"`
	Suspicions    [suspicions]uint32   `cbor:"21,keyasint,omitzero"`
	Details       [actions]horde.Kudos `cbor:"22,keyasint,omitzero"`
	Usage         [3]int64             `cbor:"23,keyasint,omitzero"` // by kind: hundredths of megapixelsteps, tokens, -
	Contribution  [3]int64             `cbor:"24,keyasint,omitzero"`
	Requests      [3]int64             `cbor:"25,keyasint,omitzero"`
	Fulfillments  [3]int64             `cbor:"26,keyasint,omitzero"`
	Styles        [3]int64             `cbor:"27,keyasint,omitzero"`
	Moves         uint64               `cbor:"28,keyasint,omitempty"` // movements there ever were

	Patron      horde.Kudos `cbor:"29,keyasint,omitempty"` // each month, besides Monthly
	PatronUntil int64       `cbor:"30,keyasint,omitempty"` // 0: without an end

	tail *row[pageKey, page] // where the last movement is, to save looking it up; nil: not known
}

func (u *user) is(r horde.Roles) bool { return u.Roles.Has(r) }

// available is what the user can spend: balance less floor less what is held.
func (u *user) available() horde.Kudos { return u.Kudos - u.Class.Floor() - u.Held }

// suspicious users take no part in transfers and are not promoted (spec/moderation.md 11).
func (u *user) suspicious() bool {
	return !u.is(horde.RoleTrusted) && total(u.Suspicions) >= suspiciousFrom
}

func (u *user) view(id horde.UserID, workers int) horde.User {
	return horde.User{
		ID: id, Name: u.Name, Class: u.Class, Roles: u.Roles,
		Kudos: u.Kudos, Escrow: u.Escrow, Held: u.Held,
		Concurrency: u.Concurrency, WorkerInvited: u.WorkerInvited, PublicWorkers: u.PublicWorkers,
		Contact: u.Contact, AdminComment: u.AdminComment,
		MonthlyKudos: u.Monthly, PatronKudos: u.Patron, PatronUntil: moment(u.PatronUntil), MonthlyLast: moment(u.MonthlyLast), UsagePermille: u.UsagePermille,
		HasPasskey: u.Passkey != digest{}, Suspicion: total(u.Suspicions),
		Created: moment(u.Created), LastActive: moment(u.LastActive), Workers: workers,
		Records: horde.Records{
			UsageImage: u.Usage[horde.KindImage], UsageText: u.Usage[horde.KindText],
			ContributionImage: u.Contribution[horde.KindImage], ContributionText: u.Contribution[horde.KindText],
			Requests: u.Requests, Fulfillments: u.Fulfillments, Styles: u.Styles,
		},
		Details: horde.KudosDetails{
			Accumulated: u.Details[actionAccumulated], Gifted: u.Details[actionGifted],
			Donated: u.Details[actionDonated], Admin: u.Details[actionAdmin],
			Received: u.Details[actionReceived], Recurring: u.Details[actionRecurring],
			Awarded: u.Details[actionAwarded], Styled: u.Details[actionStyled],
		},
	}
}

type worker struct {
	Kind           horde.Kind         `cbor:"1,keyasint,omitempty"`
	Name           string             `cbor:"2,keyasint,omitempty"`
	Owner          horde.UserID       `cbor:"3,keyasint,omitempty"`
	Created        int64              `cbor:"4,keyasint,omitempty"`
	Info           string             `cbor:"5,keyasint,omitempty"`
	Maintenance    bool               `cbor:"6,keyasint,omitempty"`
	MaintenanceMsg string             `cbor:"7,keyasint,omitempty"` // empty: the default sentence
	Paused         bool               `cbor:"8,keyasint,omitempty"`
	Suspicions     [suspicions]uint32 `cbor:"9,keyasint,omitzero"`
	Generated      horde.Kudos        `cbor:"10,keyasint,omitempty"`
	UptimeKudos    horde.Kudos        `cbor:"11,keyasint,omitempty"`
	Fulfilled      int64              `cbor:"12,keyasint,omitempty"`
	Uncompleted    int64              `cbor:"13,keyasint,omitempty"`
	Things         int64              `cbor:"14,keyasint,omitempty"`
	Uptime         int64              `cbor:"15,keyasint,omitempty"` // seconds
	RewardedAt     int64              `cbor:"16,keyasint,omitempty"`
	AbortsSince    int64              `cbor:"17,keyasint,omitempty"`
	Aborts         int                `cbor:"18,keyasint,omitempty"`
	Deleted        int64              `cbor:"19,keyasint,omitempty"` // hidden since; kept a while to be paid for jobs under way
	Team           horde.TeamID       `cbor:"20,keyasint,omitzero"`
	Home           horde.HomeTag      `cbor:"21,keyasint,omitzero"` // of the member that registered it; zero: not known
}

func (w *worker) view(id horde.WorkerID) horde.Worker {
	msg := w.MaintenanceMsg
	if msg == "" {
		msg = defaultMaintenance
	}
	return horde.Worker{
		ID: id, Kind: w.Kind, Name: w.Name, Owner: w.Owner, Created: moment(w.Created), Info: w.Info,
		Maintenance: w.Maintenance, MaintenanceMsg: msg, Paused: w.Paused, Suspicion: total(w.Suspicions),
		KudosGenerated: w.Generated, KudosUptime: w.UptimeKudos, Fulfilled: w.Fulfilled,
		Uncompleted: w.Uncompleted, Things: w.Things, Uptime: w.Uptime, Team: w.Team,
	}
}

// A hold is an open request: who pays for it, what is set aside, which slots are paid.
type hold struct {
	Payer    horde.UserID  `cbor:"1,keyasint,omitempty"`
	Home     horde.HomeTag `cbor:"2,keyasint"`
	Kind     horde.Kind    `cbor:"3,keyasint,omitempty"`
	Slots    int           `cbor:"4,keyasint"`
	Left     horde.Kudos   `cbor:"5,keyasint,omitempty"` // of the amount set aside
	Settled  bitset        `cbor:"6,keyasint,omitzero"`
	Deadline int64         `cbor:"7,keyasint"`

	SharedKey horde.SharedKeyRef `cbor:"8,keyasint,omitzero"` // whose budget the debits use up; zero: none
}

// maxSlots bounds the jobs of one request.
const maxSlots = 256

// A bitset is a set of slots. It is a value, so a copy is independent.
type bitset [maxSlots / 64]uint64

func (b *bitset) has(i int) bool { return b[i/64]>>(i%64)&1 != 0 }
func (b *bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }

type member struct {
	Name      string       `cbor:"1,keyasint,omitempty"`
	PublicKey []byte       `cbor:"2,keyasint"`
	Addrs     []string     `cbor:"3,keyasint,omitempty"`
	URL       string       `cbor:"4,keyasint,omitempty"`
	Voter     bool         `cbor:"5,keyasint,omitempty"`
	Active    bool         `cbor:"6,keyasint,omitempty"`
	Joined    int64        `cbor:"7,keyasint,omitempty"`
	InvitedBy horde.NodeID `cbor:"8,keyasint,omitempty"`

	Version Version `cbor:"9,keyasint,omitempty"` // that it reported

	Suspended bool `cbor:"10,keyasint,omitempty"` // its batches are refused and it does not vote, until it is readmitted
}

func (m *member) view(id horde.NodeID) horde.Member {
	return horde.Member{
		ID: id, Name: m.Name, PublicKey: append([]byte(nil), m.PublicKey...), Addrs: append([]string(nil), m.Addrs...),
		URL: m.URL, Voter: m.Voter && !m.Suspended, Active: m.Active, Suspended: m.Suspended, Joined: moment(m.Joined), InvitedBy: m.InvitedBy,
		Ledger: uint16(m.Version),
	}
}

// An origin is how far a node's batches have come.
type origin struct {
	Boot   uint64 `cbor:"1,keyasint"`
	Seq    uint64 `cbor:"2,keyasint"`
	Item   uint64 `cbor:"3,keyasint,omitempty"` // of the last durable command; survives a boot
	Answer []byte `cbor:"4,keyasint,omitempty"` // to the last batch
}

// answered is a transfer that carried an Idempotency-Key.
type answered struct {
	Params  digest `cbor:"1,keyasint"`
	Expires int64  `cbor:"2,keyasint"`
}

// state is everything. Its tables are also listed in stores, for what concerns them all.
type state struct {
	log journal
	sum digest // XOR of all leaves that are up to date

	supports  Version // the newest that this program knows; see version.go
	forgetful bool    // see Forgetful

	watch func(tx *tx, command []byte, r Result) // told of every command run; nil but in a Replay

	booked *[]Booked // what the command under way books; nil but in a Replay

	proofs *accountTree // of the users, as of the last tick

	totals struct{ Spendable, Escrow, Held horde.Kudos } // over all users

	meta      *table[unit, meta]
	head      *table[unit, head]
	modes     *table[unit, modes]
	activity  *table[unit, activity]
	users     *table[horde.UserID, user]
	keys      *table[digest, horde.UserID]
	logins    *table[digest, horde.UserID]
	passkeys  *table[digest, horde.UserID]
	workers   *table[horde.WorkerID, worker]
	names     *table[string, horde.WorkerID]
	owned     *table[horde.UserID, []horde.WorkerID]
	holds     *table[horde.RequestID, hold]
	members   *table[horde.NodeID, member]
	tags      *table[horde.HomeTag, horde.NodeID]
	nonces    *table[Nonce, int64]
	origins   *table[horde.NodeID, origin]
	recent    *table[pair, int64]
	answers   *table[answerKey, answered]
	accounts  *table[Account, horde.Kudos]
	stores    []store
	holdEnds  expiry[horde.RequestID]
	nonceEnds expiry[Nonce]
	recents   expiry[pair]
	answerEnd expiry[answerKey]
	buried    expiry[horde.WorkerID] // deleted workers

	teams           *table[horde.TeamID, team]
	teamNames       *table[string, horde.TeamID]
	sharedKeys      *table[horde.SharedKeyRef, sharedKey]
	keysOf          *table[horde.UserID, []horde.SharedKeyRef]
	messages        *table[horde.MessageID, message]
	messagesTo      *table[horde.WorkerID, []horde.MessageID]
	filters         *table[int64, filter]
	styles          *table[horde.StyleID, style]
	styleNames      *table[string, []horde.StyleID]
	stylesOf        *table[horde.UserID, []horde.StyleID]
	collections     *table[horde.StyleID, collection]
	collectionNames *table[string, []horde.StyleID]
	collectionsOf   *table[horde.UserID, []horde.StyleID]
	pages           *table[pageKey, page]
	quotas          *table[horde.NodeID, quota]
	messageEnds     expiry[horde.MessageID]

	standins  *table[horde.NodeID, standin]
	ended     *table[horde.RequestID, int64]
	endedEnds expiry[horde.RequestID]

	moderations *table[uint64, moderation]
	reversed    *table[Place, reversal]

	blocks    *table[digest, ipBlock]
	blockEnds expiry[digest]
	lengths   lengths // of the networks in blocks

	bars      *table[horde.UserID, int64]
	authority uint64 // counts changes of keys, flags and deletions; not stored
}

func newState() *state {
	s := &state{proofs: newAccountTree(), log: journal{seq: 1}, supports: NewestVersion}
	s.meta = newTable[unit, meta](prefixMeta, &s.log, appendUnit, parseUnit)
	s.head = newTable[unit, head](prefixHead, &s.log, appendUnit, parseUnit)
	s.modes = newTable[unit, modes](prefixModes, &s.log, appendUnit, parseUnit)
	s.activity = newTable[unit, activity](prefixActivity, &s.log, appendUnit, parseUnit)
	s.users = newTable[horde.UserID, user](prefixUser, &s.log, appendUser, parseUser)
	s.users.hashed = s.proofs.touch
	s.keys = newTable[digest, horde.UserID](prefixKey, &s.log, appendDigest, parseDigest)
	s.logins = newTable[digest, horde.UserID](prefixLogin, &s.log, appendDigest, parseDigest)
	s.passkeys = newTable[digest, horde.UserID](prefixPasskey, &s.log, appendDigest, parseDigest)
	s.workers = newTable[horde.WorkerID, worker](prefixWorker, &s.log, appendWorker, parseWorker)
	s.names = newTable[string, horde.WorkerID](prefixName, &s.log, appendText[string], parseText[string])
	s.owned = newTable[horde.UserID, []horde.WorkerID](prefixOwned, &s.log, appendUser, parseUser)
	s.holds = newTable[horde.RequestID, hold](prefixHold, &s.log, appendRequest, parseRequest)
	s.members = newTable[horde.NodeID, member](prefixMember, &s.log, appendText[horde.NodeID], parseText[horde.NodeID])
	s.tags = newTable[horde.HomeTag, horde.NodeID](prefixTag, &s.log, appendTag, parseTag)
	s.nonces = newTable[Nonce, int64](prefixNonce, &s.log, appendNonce, parseNonce)
	s.origins = newTable[horde.NodeID, origin](prefixOrigin, &s.log, appendText[horde.NodeID], parseText[horde.NodeID])
	s.recent = newTable[pair, int64](prefixRecent, &s.log, appendPair, parsePair)
	s.answers = newTable[answerKey, answered](prefixAnswered, &s.log, appendAnswerKey, parseAnswerKey)
	s.accounts = newTable[Account, horde.Kudos](prefixAccount, &s.log, appendAccount, parseAccount)
	s.teams = newTable[horde.TeamID, team](prefixTeam, &s.log, appendID[horde.TeamID], parseID[horde.TeamID])
	s.teamNames = newTable[string, horde.TeamID](prefixTeamName, &s.log, appendText[string], parseText[string])
	s.sharedKeys = newTable[horde.SharedKeyRef, sharedKey](prefixSharedKey, &s.log, appendID[horde.SharedKeyRef], parseID[horde.SharedKeyRef])
	s.keysOf = newTable[horde.UserID, []horde.SharedKeyRef](prefixSharedKeysOf, &s.log, appendUser, parseUser)
	s.messages = newTable[horde.MessageID, message](prefixMessage, &s.log, appendID[horde.MessageID], parseID[horde.MessageID])
	s.messagesTo = newTable[horde.WorkerID, []horde.MessageID](prefixMessagesTo, &s.log, appendWorker, parseWorker)
	s.filters = newTable[int64, filter](prefixFilter, &s.log, appendNumber, parseNumber)
	s.styles = newTable[horde.StyleID, style](prefixStyle, &s.log, appendID[horde.StyleID], parseID[horde.StyleID])
	s.styleNames = newTable[string, []horde.StyleID](prefixStyleName, &s.log, appendText[string], parseText[string])
	s.stylesOf = newTable[horde.UserID, []horde.StyleID](prefixStylesOf, &s.log, appendUser, parseUser)
	s.collections = newTable[horde.StyleID, collection](prefixCollection, &s.log, appendID[horde.StyleID], parseID[horde.StyleID])
	s.collectionNames = newTable[string, []horde.StyleID](prefixCollectionName, &s.log, appendText[string], parseText[string])
	s.collectionsOf = newTable[horde.UserID, []horde.StyleID](prefixCollectionsOf, &s.log, appendUser, parseUser)
	s.pages = newTable[pageKey, page](prefixPage, &s.log, appendPage, parsePage)
	s.quotas = newTable[horde.NodeID, quota](prefixQuota, &s.log, appendText[horde.NodeID], parseText[horde.NodeID])
	s.blocks = newTable[digest, ipBlock](prefixBlock, &s.log, appendDigest, parseDigest)
	s.standins = newTable[horde.NodeID, standin](prefixStandin, &s.log, appendText[horde.NodeID], parseText[horde.NodeID])
	s.ended = newTable[horde.RequestID, int64](prefixEnded, &s.log, appendRequest, parseRequest)
	s.moderations = newTable[uint64, moderation](prefixModeration, &s.log, appendCount, parseCount)
	s.reversed = newTable[Place, reversal](prefixReversed, &s.log, appendPlace, parsePlace)
	s.head.unhashed = true
	s.stores = []store{
		s.meta, s.head, s.modes, s.activity, s.users, s.keys, s.logins, s.passkeys, s.workers, s.names, s.owned,
		s.holds, s.members, s.tags, s.nonces, s.origins, s.recent, s.answers, s.accounts,
		s.teams, s.teamNames, s.sharedKeys, s.keysOf, s.messages, s.messagesTo, s.filters, s.styles, s.styleNames, s.stylesOf,
		s.collections, s.collectionNames, s.collectionsOf, s.pages, s.quotas,
	}
	s.stores = append(s.stores, s.moderations, s.reversed)
	s.bars = newTable[horde.UserID, int64](prefixBar, &s.log, appendUser, parseUser)
	s.stores = append(s.stores, s.bars, s.blocks, s.standins, s.ended)
	return s
}

// hash returns the state hash: the XOR over all rows of the hash of key and value.
func (s *state) hash() digest {
	for _, t := range s.stores {
		t.rehash(&s.sum)
	}
	return s.sum
}

// remind rebuilds the expiries from the rows.
func (s *state) remind() {
	s.holds.all(func(id horde.RequestID, h *hold) bool { s.holdEnds.push(h.Deadline, id); return true })
	s.nonces.all(func(n Nonce, at *int64) bool { s.nonceEnds.push(*at, n); return true })
	s.recent.all(func(p pair, at *int64) bool { s.recents.push(*at+reverseCooldown, p); return true })
	s.answers.all(func(k answerKey, a *answered) bool { s.answerEnd.push(a.Expires, k); return true })
	s.blocks.all(func(h digest, b *ipBlock) bool {
		s.blockEnds.push(b.goes(), h)
		s.lengths.add(b.Net)
		return true
	})
	s.ended.all(func(id horde.RequestID, until *int64) bool { s.endedEnds.push(*until, id); return true })
	s.messages.all(func(id horde.MessageID, m *message) bool { s.messageEnds.push(m.Expires+keepMessage, id); return true })
	s.workers.all(func(id horde.WorkerID, w *worker) bool {
		if w.Deleted != 0 {
			s.buried.push(w.Deleted+keepDeletedWorker, id)
		}
		return true
	})
}

func (s *state) founded() bool { return s.meta.has(unit{}) }

// user returns a user for reading, or nil if there is none or it was wiped.
func (s *state) user(id horde.UserID) *user {
	if u := s.users.get(id); u != nil && !u.Wiped {
		return u
	}
	return nil
}

// worker returns a worker for reading, or nil if there is none or it was deleted.
func (s *state) worker(id horde.WorkerID) *worker {
	if w := s.workers.get(id); w != nil && w.Deleted == 0 {
		return w
	}
	return nil
}

// workersOf returns the ids of a user's workers, oldest first. Do not change them.
func (s *state) workersOf(id horde.UserID) []horde.WorkerID {
	if ids := s.owned.get(id); ids != nil {
		return *ids
	}
	return nil
}

// moment turns a stored time into a time.Time; 0 is the zero time.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// millis is the inverse of moment.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
