package horde

import (
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// A UserID numbers a user across the federation: the 7 of "db0#7". 0 is Anonymous.
type UserID int64

// Anonymous owns the requests sent with AnonymousKey.
const Anonymous UserID = 0

// AnonymousKey is the API key that everybody may use.
const AnonymousKey APIKey = "0000000000"

// An APIKey is a user's secret. A log shows a placeholder in its place.
type APIKey string

// LogValue keeps keys out of logs.
func (APIKey) LogValue() slog.Value { return slog.StringValue("(api key)") }

// Class tells how an account came to be; it decides the account's floor.
type Class uint8

// The account classes (spec/kudos.md section 2).
const (
	ClassAnonymous    Class = iota // the one anonymous account
	ClassPseudonymous              // registered without a login
	ClassRegistered                // registered with a login
)

// Floor is the part of a balance that cannot be spent; a posting that leaves the balance
// below it lifts it to the floor.
func (c Class) Floor() Kudos {
	switch c {
	case ClassAnonymous:
		return Whole(-50)
	case ClassPseudonymous:
		return Whole(14)
	}
	return Whole(25)
}

// Roles is a set of roles.
type Roles uint16

// The roles (spec/accounts.md section 1.4). The values are stored: never renumber.
const (
	RoleModerator Roles = 1 << iota
	RoleTrusted
	RoleFlagged
	RoleCustomizer
	RoleVPN
	RoleSpecial
	RoleService
	RoleEducation
	RoleDeleted
	RoleAdmin
)

// Has tells whether all roles of q are in r.
func (r Roles) Has(q Roles) bool { return r&q == q }

// With returns r with q added or taken away.
func (r Roles) With(q Roles, on bool) Roles {
	if on {
		return r | q
	}
	return r &^ q
}

// A User is what is known of an account. It is a copy: changing it changes nothing.
type User struct {
	ID     UserID
	Name   string // without the number
	Class  Class
	Roles  Roles
	Kudos  Kudos // spendable balance, held amounts included
	Escrow Kudos // earned but not yet trusted ("evaluating kudos")
	Held   Kudos // set aside by open requests

	Concurrency   int // most unclaimed jobs of one kind
	WorkerInvited int // workers allowed in invite-only mode
	PublicWorkers bool
	Contact       string
	AdminComment  string
	MonthlyKudos  Kudos
	PatronKudos   Kudos     // each month besides, for supporting the federation
	PatronUntil   time.Time // zero: without an end
	MonthlyLast   time.Time // zero: never paid
	UsagePermille int64     // usage multiplier, thousandths
	HasPasskey    bool
	Suspicion     int // number of recorded suspicions
	Created       time.Time
	LastActive    time.Time
	Workers       int // workers owned

	Records Records
	Details KudosDetails
}

// Alias returns the name that is unique: "db0#7".
func (u User) Alias() string { return u.Name + "#" + strconv.FormatInt(int64(u.ID), 10) }

// Is tells whether the user has all of the given roles.
func (u User) Is(r Roles) bool { return u.Roles.Has(r) }

// Available is what the user can spend now: balance less floor less what is held.
func (u User) Available() Kudos { return u.Kudos - u.Class.Floor() - u.Held }

// ParseAlias returns the user id in an alias or bare id: only what follows the last "#"
// counts (spec/accounts.md section 1.1).
func ParseAlias(s string) (UserID, bool) {
	if i := strings.LastIndexByte(s, '#'); i >= 0 {
		s = s[i+1:]
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0, false
	}
	return UserID(n), true
}

// Records counts what a user asked for and did. Things are raw: pixelsteps or tokens.
type Records struct {
	UsageImage, UsageText               int64    // hundredths of megapixelsteps; tokens
	ContributionImage, ContributionText int64    // hundredths of megapixelsteps; tokens
	Requests, Fulfillments, Styles      [3]int64 // by Kind
}

// KudosDetails adds up a user's postings by action.
type KudosDetails struct {
	Accumulated, Gifted, Donated, Admin, Received, Recurring, Awarded, Styled Kudos
}

// Modes are the federation-wide modes (spec/moderation.md section 6).
type Modes struct {
	Maintenance, InviteOnly, Raid bool

	InviteKinds uint8 // the kinds that InviteOnly is about, a bit for each; 0: all
}

// NeedsInvite tells whether a new worker of a kind needs an invitation.
func (m Modes) NeedsInvite(k Kind) bool {
	return m.InviteOnly && (m.InviteKinds == 0 || m.InviteKinds>>k&1 != 0)
}
