package ledger

import "hordenode/internal/horde"

// A ModesChange is what PUT /status/modes may change; nil fields stay as they are.
type ModesChange struct {
	Actor       horde.UserID `cbor:"1,keyasint,omitempty"`
	Maintenance *bool        `cbor:"2,keyasint,omitempty"`
	InviteOnly  *bool        `cbor:"3,keyasint,omitempty"`
	Raid        *bool        `cbor:"4,keyasint,omitempty"`

	Reason string `cbor:"5,keyasint,omitempty"` // public, in the moderation log

	InviteKinds *uint8 `cbor:"6,keyasint,omitempty"` // what InviteOnly is about, a bit for each horde.Kind; 0: all
}

type setModes ModesChange

// inviteKindsVersion is the version of the ledger that InviteKinds came with.
const inviteKindsVersion Version = 2

// apply changes all or, if one is refused, none (spec/moderation.md section 6).
func (c *setModes) apply(tx *tx) ([]byte, error) {
	if tx.version() < inviteKindsVersion {
		c.InviteKinds = nil // unknown to programs of then, which must come to the same
	}
	actor := tx.user(c.Actor)
	switch {
	case actor == nil:
		return nil, horde.Refuse(horde.RCInvalidAPIKey, "The acting account is gone.")
	case c.Maintenance != nil && !actor.is(horde.RoleAdmin):
		return nil, horde.Refuse(horde.RCNotAdmin, "Only an admin may change the maintenance mode of the horde.")
	case (c.InviteOnly != nil || c.Raid != nil || c.InviteKinds != nil) && !actor.is(horde.RoleModerator):
		return nil, horde.Refuse(horde.RCNotModerator, "Only a moderator may change this mode of the horde.")
	case c.InviteKinds != nil && *c.InviteKinds > 7:
		return nil, horde.Refuse(horde.RCBadRequest, "There are no such kinds of workers.")
	case c.Maintenance == nil && c.InviteOnly == nil && c.Raid == nil && c.InviteKinds == nil:
		return nil, horde.Refuse(horde.RCNoHordeModSelected, "No mode to change was given.")
	}
	m := tx.modes.edit(unit{})
	set(&m.Maintenance, c.Maintenance)
	set(&m.InviteOnly, c.InviteOnly)
	set(&m.Raid, c.Raid)
	set(&m.InviteKinds, c.InviteKinds)
	return encode(m), nil
}
