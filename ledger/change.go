package ledger

import (
	"time"

	"hordenode/internal/horde"
)

// A UserChange is what PUT /users may change; nil and zero fields stay as they are.
type UserChange struct {
	Actor, Target horde.UserID

	Kudos         *horde.Kudos // added to the balance, may be negative
	MonthlyKudos  *horde.Kudos // added to the entitlement; what is positive is paid at once
	UsagePermille *int64       // 100 to 10000
	Moderator     *bool
	Concurrency   *int
	WorkerInvited *int

	Trusted, Flagged, Customizer, VPN, Service, Education, Special *bool

	ResetSuspicion bool
	AdminComment   *string
	PublicWorkers  *bool
	Name           *string
	Contact        *string
	Passkey        string // a new proxy passkey, see NewAPIKey; only its hash leaves the Client
	Undelete       bool

	Reason string // public, in the moderation log
}

// updateUser is a UserChange on its way. Its fields are in the order of the table in
// spec/accounts.md section 3.2, which is the order in which refusals are decided.
type updateUser struct {
	Actor          horde.UserID `cbor:"1,keyasint,omitempty"`
	Target         horde.UserID `cbor:"2,keyasint,omitempty"`
	Kudos          *horde.Kudos `cbor:"3,keyasint,omitempty"`
	Monthly        *horde.Kudos `cbor:"4,keyasint,omitempty"`
	UsagePermille  *int64       `cbor:"5,keyasint,omitempty"`
	Moderator      *bool        `cbor:"6,keyasint,omitempty"`
	Concurrency    *int         `cbor:"7,keyasint,omitempty"`
	WorkerInvited  *int         `cbor:"8,keyasint,omitempty"`
	Trusted        *bool        `cbor:"9,keyasint,omitempty"`
	Flagged        *bool        `cbor:"10,keyasint,omitempty"`
	Customizer     *bool        `cbor:"11,keyasint,omitempty"`
	VPN            *bool        `cbor:"12,keyasint,omitempty"`
	Service        *bool        `cbor:"13,keyasint,omitempty"`
	Education      *bool        `cbor:"14,keyasint,omitempty"`
	Special        *bool        `cbor:"15,keyasint,omitempty"`
	ResetSuspicion bool         `cbor:"16,keyasint,omitempty"`
	AdminComment   *string      `cbor:"17,keyasint,omitempty"`
	PublicWorkers  *bool        `cbor:"18,keyasint,omitempty"`
	Name           *string      `cbor:"19,keyasint,omitempty"`
	Contact        *string      `cbor:"20,keyasint,omitempty"`
	Passkey        digest       `cbor:"21,keyasint,omitzero"`
	Undelete       bool         `cbor:"22,keyasint,omitempty"`

	Reason string `cbor:"23,keyasint,omitempty"` // for the moderation log
}

const (
	maxConcurrency             = 500
	maxInvited                 = 1 << 31
	minUsage, maxUsage   int64 = 100, 10_000
	educationConcurrency       = 200
)

// A tier is who may change a field.
type tier uint8

const (
	byAdmin tier = iota
	byModerator
	byOwner // or a moderator
)

// apply changes all fields or, if one is refused, none.
func (c *updateUser) apply(tx *tx) ([]byte, error) {
	target, actor := tx.user(c.Target), tx.user(c.Actor)
	if target == nil {
		return nil, userNotFound(c.Target)
	}
	if actor == nil {
		return nil, horde.Refuse(horde.RCInvalidAPIKey, "The acting account is gone.")
	}
	service := actor.is(horde.RoleService)
	deleted := target.is(horde.RoleDeleted)
	changes := 0
	for _, f := range []struct {
		given bool
		who   tier
		check func() error // what else may be wrong with it; may be nil
	}{
		{c.Kudos != nil, byAdmin, func() error { return inRange("kudos", int64(*c.Kudos), int64(-maxAmount), int64(maxAmount)) }},
		{c.Monthly != nil, byAdmin, func() error { return inRange("monthly_kudos", int64(*c.Monthly), int64(-maxAmount), int64(maxAmount)) }},
		{c.UsagePermille != nil, byAdmin, func() error { return inRange("usage_multiplier", *c.UsagePermille, minUsage, maxUsage) }},
		{c.Moderator != nil, byAdmin, nil},
		{c.Concurrency != nil, byModerator, func() error { return inRange("concurrency", int64(*c.Concurrency), 0, maxConcurrency) }},
		{c.WorkerInvited != nil, byModerator, func() error { return inRange("worker_invited", int64(*c.WorkerInvited), -maxInvited, maxInvited) }},
		{c.Trusted != nil, byModerator, nil},
		{c.Flagged != nil, byModerator, nil},
		{c.Customizer != nil, byModerator, nil},
		{c.VPN != nil, byModerator, nil},
		{c.Service != nil, byModerator, nil},
		{c.Education != nil, byModerator, nil},
		{c.Special != nil, byModerator, nil},
		{c.ResetSuspicion, byModerator, nil},
		{c.AdminComment != nil, byModerator, func() error { return inRange("length of admin_comment", int64(len(*c.AdminComment)), 0, maxText) }},
		{c.PublicWorkers != nil, byOwner, nil},
		{c.Name != nil, byOwner, func() error { return checkName(*c.Name) }},
		{c.Contact != nil, byOwner, func() error { return inRange("length of contact", int64(len(*c.Contact)), 0, maxText) }},
		{c.Passkey != digest{}, byOwner, func() error {
			if !service {
				return horde.Refuse(horde.RCNonServiceForbidden, "Only a service account may have a proxy passkey.")
			}
			if tx.passkeys.has(c.Passkey) { // it would take the passkey away from its user
				return horde.Refuse(horde.RCBadRequest, "This passkey cannot be used.")
			}
			return nil
		}},
		{c.Undelete, byOwner, func() error {
			if !deleted {
				return horde.Refuse(horde.RCUserNotDeleted, "This account is not deleted.")
			}
			return nil
		}},
	} {
		if !f.given {
			continue
		}
		changes++
		if err := permit(f.who, c.Actor, c.Target, actor.Roles); err != nil {
			return nil, err
		}
		if f.check != nil {
			if err := f.check(); err != nil {
				return nil, err
			}
		}
	}
	if changes == 0 {
		return nil, horde.Refuse(horde.RCNoUserModSelected, "Nothing to change was given.")
	}
	if err := c.write(tx); err != nil {
		return nil, err
	}
	return tx.userData(c.Target), nil
}

func permit(who tier, actor, target horde.UserID, roles horde.Roles) error {
	moderator := roles.Has(horde.RoleModerator)
	switch {
	case who == byAdmin && !roles.Has(horde.RoleAdmin):
		return horde.Refuse(horde.RCNotAdmin, "Only an admin may change this.")
	case who == byModerator && !moderator:
		return horde.Refuse(horde.RCNotModerator, "Only a moderator may change this.")
	case who == byOwner && !moderator && actor != target:
		return horde.Refuse(horde.RCNotModerator, "Only the user or a moderator may change this.")
	case who == byOwner && actor == horde.Anonymous:
		return horde.Refuse(horde.RCAnonForbiddenUserMod, "Anonymous cannot change accounts.")
	}
	return nil
}

func inRange(what string, v, least, most int64) error {
	if v < least || v > most {
		return horde.Refuse(horde.RCBadRequest, "The value of %s is out of range: %d to %d.", what, least, most)
	}
	return nil
}

// write makes the changes, which are permitted.
func (c *updateUser) write(tx *tx) error {
	id := c.Target
	u := tx.users.edit(id)
	if c.Kudos != nil {
		tx.alone(*c.Kudos)
		tx.because(ReasonAdmin)
		if err := tx.post(spendable(id, actionAdmin, *c.Kudos), system(AccountAdmin, -*c.Kudos)); err != nil {
			return err
		}
	}
	if c.Monthly != nil {
		u.Monthly = min(max(0, u.Monthly+*c.Monthly), maxAmount)
		if u.MonthlyLast == 0 {
			u.MonthlyLast = tx.now
		}
		paid := max(0, *c.Monthly)
		tx.alone(paid)
		tx.because(ReasonMonthly)
		if err := tx.post(spendable(id, actionRecurring, paid), system(AccountRecurring, -paid)); err != nil {
			return err
		}
	}
	set(&u.UsagePermille, c.UsagePermille)
	set(&u.Concurrency, c.Concurrency)
	set(&u.WorkerInvited, c.WorkerInvited)
	if id != horde.Anonymous { // which can have no role
		if err := c.writeRoles(tx, u); err != nil {
			return err
		}
	}
	if c.ResetSuspicion {
		u.Suspicions = [suspicions]uint32{}
		for _, w := range tx.workersOf(id) {
			tx.workers.edit(w).Suspicions = [suspicions]uint32{}
		}
	}
	set(&u.AdminComment, c.AdminComment)
	set(&u.PublicWorkers, c.PublicWorkers)
	set(&u.Name, c.Name)
	set(&u.Contact, c.Contact)
	if c.Passkey != (digest{}) {
		tx.passkeys.remove(u.Passkey)
		u.Passkey = c.Passkey
		tx.passkeys.put(c.Passkey, id)
	}
	if c.Undelete {
		u.Roles &^= horde.RoleDeleted
		tx.unbar(id)
	}
	return nil
}

func (c *updateUser) writeRoles(tx *tx, u *user) error {
	for _, r := range []struct {
		role horde.Roles
		on   *bool
	}{
		{horde.RoleModerator, c.Moderator}, {horde.RoleTrusted, c.Trusted}, {horde.RoleFlagged, c.Flagged},
		{horde.RoleCustomizer, c.Customizer}, {horde.RoleVPN, c.VPN}, {horde.RoleService, c.Service},
		{horde.RoleEducation, c.Education}, {horde.RoleSpecial, c.Special},
	} {
		if r.on == nil {
			continue
		}
		u.Roles = u.Roles.With(r.role, *r.on)
		switch {
		case r.role == horde.RoleFlagged && *r.on:
			tx.bar(c.Target)
		case r.role == horde.RoleFlagged:
			tx.unbar(c.Target)
		}
		if *r.on && (r.role == horde.RoleModerator || r.role == horde.RoleTrusted) {
			if err := tx.trust(c.Target); err != nil {
				return err
			}
		}
	}
	if c.Education != nil && c.Concurrency == nil {
		switch {
		case *c.Education && u.Concurrency < educationConcurrency:
			u.Concurrency = educationConcurrency
		case !*c.Education && u.Concurrency == educationConcurrency:
			u.Concurrency = defaultConcurrency
		}
	}
	return nil
}

func set[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

// cooldowns and lifetimes, in milliseconds of ledger time
const (
	reverseCooldown   = int64(60 * time.Second / time.Millisecond)
	keepAnswer        = int64(24 * time.Hour / time.Millisecond)
	keepDeletedWorker = int64(24 * time.Hour / time.Millisecond)
)
