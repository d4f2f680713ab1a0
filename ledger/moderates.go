package ledger

import (
	"fmt"
	"strings"

	"hordenode/internal/horde"
)

// What each command writes to the moderation log, in the order of the kinds. What users do to
// what is theirs is no moderation.

// changes collects what an act changed, as "trusted=true, kudos=+100.00".
type changes []string

func (l *changes) add(given bool, format string, args ...any) {
	if given {
		*l = append(*l, fmt.Sprintf(format, args...))
	}
}

func (l *changes) flag(name string, v *bool) {
	if v != nil {
		*l = append(*l, fmt.Sprintf("%s=%t", name, *v))
	}
}

func (l changes) String() string { return strings.Join(l, ", ") }

// signed shows kudos that are added or taken.
func signed(k horde.Kudos) string {
	if k < 0 {
		return k.String()
	}
	return "+" + k.String()
}

func (c *createUser) moderates(tx *tx) moderation {
	var l changes
	l.add(c.Roles.Has(horde.RoleAdmin), "admin")
	l.add(c.Roles.Has(horde.RoleModerator), "moderator")
	l.add(c.Roles.Has(horde.RoleTrusted), "trusted")
	l.add(c.Roles&^(horde.RoleAdmin|horde.RoleModerator|horde.RoleTrusted) != 0, "roles=%#x", uint64(c.Roles))
	l.add(c.Kudos != 0, "kudos=%s", signed(c.Kudos))
	if len(l) == 0 {
		return moderation{}
	}
	return moderation{Operator: true, Action: "create account: " + l.String(), Target: userTarget(tx.meta.get(unit{}).NextUser)}
}

func (c *updateUser) moderates(*tx) moderation {
	var l changes
	if c.Kudos != nil {
		l.add(true, "kudos=%s", signed(*c.Kudos))
	}
	if c.Monthly != nil {
		l.add(true, "monthly_kudos=%s", signed(*c.Monthly))
	}
	if c.UsagePermille != nil {
		l.add(true, "usage_multiplier=%d.%03d", *c.UsagePermille/1000, *c.UsagePermille%1000)
	}
	l.flag("moderator", c.Moderator)
	if c.Concurrency != nil {
		l.add(true, "concurrency=%d", *c.Concurrency)
	}
	if c.WorkerInvited != nil {
		l.add(true, "worker_invited=%d", *c.WorkerInvited)
	}
	l.flag("trusted", c.Trusted)
	l.flag("flagged", c.Flagged)
	l.flag("customizer", c.Customizer)
	l.flag("vpn", c.VPN)
	l.flag("service", c.Service)
	l.flag("education", c.Education)
	l.flag("special", c.Special)
	l.add(c.ResetSuspicion, "reset_suspicion")
	l.add(c.AdminComment != nil, "admin_comment")
	if c.Actor != c.Target { // else these are the user's own
		l.flag("public_workers", c.PublicWorkers)
		l.add(c.Name != nil, "name")
		l.add(c.Contact != nil, "contact")
		l.add(c.Passkey != digest{}, "proxy_passkey")
		l.add(c.Undelete, "undelete")
	}
	return moderation{Actor: c.Actor, Action: l.String(), Target: userTarget(c.Target), Reason: c.Reason}
}

func (c *deleteUser) moderates(tx *tx) moderation {
	u := tx.user(c.Target)
	if c.Actor == c.Target || u == nil {
		return moderation{}
	}
	m := moderation{Actor: c.Actor, Action: "delete account", Target: userTarget(c.Target), Reason: c.Reason}
	if u.is(horde.RoleDeleted) {
		m.Action = "wipe account"
	}
	return m
}

func (c *award) moderates(*tx) moderation {
	return moderation{Actor: c.Actor, Action: "award: kudos=" + signed(c.Amount), Target: userTarget(c.To)}
}

func (c *updateWorker) moderates(tx *tx) moderation {
	w := tx.worker(c.Worker)
	if w == nil || w.Owner == c.Actor && c.Paused == nil {
		return moderation{}
	}
	var l changes
	l.flag("maintenance", c.Maintenance)
	l.add(c.Info != nil, "info")
	l.flag("paused", c.Paused)
	l.add(c.Name != nil, "name")
	l.add(c.Team != nil, "team")
	was := tx.workerAsIs(workerBefore{ID: c.Worker, Name: c.Name, Info: c.Info, Paused: c.Paused, Maintenance: c.Maintenance, Team: c.Team})
	return moderation{Actor: c.Actor, Action: l.String(), Target: workerTarget(c.Worker), Reason: c.Reason, Before: was}
}

func (c *deleteWorker) moderates(tx *tx) moderation {
	if w := tx.worker(c.Worker); w == nil || w.Owner == c.Actor {
		return moderation{}
	}
	was := tx.workerAsIs(workerBefore{ID: c.Worker, Deleted: new(true), Team: new(horde.TeamID)})
	return moderation{Actor: c.Actor, Action: "delete worker", Target: workerTarget(c.Worker), Reason: c.Reason, Before: was}
}

func (c *setModes) moderates(*tx) moderation {
	var l changes
	l.flag("maintenance", c.Maintenance)
	l.flag("invite_only", c.InviteOnly)
	l.flag("raid", c.Raid)
	return moderation{Actor: c.Actor, Action: "modes: " + l.String(), Reason: c.Reason}
}

func (c *updateTeam) moderates(tx *tx) moderation {
	ch := &c.Change
	if t := tx.teams.get(ch.Team); t == nil || t.Owner == ch.Actor {
		return moderation{}
	}
	var l changes
	l.add(ch.Name != nil, "name")
	l.add(ch.Info != nil, "info")
	return moderation{Actor: ch.Actor, Action: l.String(), Target: "team " + ch.Team.String()[:8], Before: tx.teamAsIs(ch.Team)}
}

func (c *deleteTeam) moderates(tx *tx) moderation {
	if t := tx.teams.get(c.Team); t == nil || t.Owner == c.Actor {
		return moderation{}
	}
	return moderation{Actor: c.Actor, Action: "delete team", Target: "team " + c.Team.String()[:8], Before: tx.teamAsIs(c.Team)}
}

func (c *postMessage) moderates(tx *tx) moderation {
	m := moderation{Actor: c.Actor, Action: "message", Target: "all workers", Until: c.Expires, Before: tx.messageAsIs(c.ID)}
	if !c.Worker.IsZero() {
		if w := tx.worker(c.Worker); w == nil || w.Owner == c.Actor {
			return moderation{}
		}
		m.Target = workerTarget(c.Worker)
	}
	return m
}

func (c *deleteMessage) moderates(tx *tx) moderation {
	m := tx.messages.get(c.Message)
	if m == nil || m.User == c.Actor {
		return moderation{}
	}
	return moderation{Actor: c.Actor, Action: "delete message", Target: userTarget(m.User), Before: tx.messageAsIs(c.Message)}
}

func (c *putFilter) moderates(tx *tx) moderation {
	m := moderation{Actor: c.Actor, Action: fmt.Sprintf("add filter of type %d", c.Type)}
	if tx.likeFilter(c.Regex, c.Type) == 0 { // else that one is the answer
		m.Before = tx.filterAsIs(tx.meta.get(unit{}).LastFilter + 1)
	}
	return m
}

func (c *updateFilter) moderates(tx *tx) moderation {
	return moderation{Actor: c.Actor, Action: "change filter", Target: fmt.Sprintf("filter %d", c.Filter), Before: tx.filterAsIs(c.Filter)}
}

func (c *deleteFilter) moderates(tx *tx) moderation {
	return moderation{Actor: c.Actor, Action: "delete filter", Target: fmt.Sprintf("filter %d", c.Filter), Before: tx.filterAsIs(c.Filter)}
}

func (c *deleteStyle) moderates(tx *tx) moderation {
	if s := tx.styles.get(c.Style); s == nil || s.Owner == c.Actor {
		return moderation{}
	}
	return moderation{Actor: c.Actor, Action: "delete style", Target: "style " + c.Style.String()[:8]}
}

func (c *deleteCollection) moderates(tx *tx) moderation {
	if s := tx.collections.get(c.Collection); s == nil || s.Owner == c.Actor {
		return moderation{}
	}
	return moderation{Actor: c.Actor, Action: "delete collection", Target: "collection " + c.Collection.String()[:8]}
}

func (c *updateMember) moderates(tx *tx) moderation {
	if c.Voter == nil {
		return moderation{}
	}
	return moderation{Operator: true, Action: fmt.Sprintf("voter=%t", *c.Voter), Target: tx.memberTarget(c.ID)}
}

func (c *removeMember) moderates(tx *tx) moderation {
	if c.ID == tx.from {
		return moderation{}
	}
	return moderation{Operator: true, Action: "remove member", Target: tx.memberTarget(c.ID)}
}

func (c *configure) moderates(*tx) moderation {
	return moderation{Actor: c.Actor, Action: "change configuration"}
}

func (tx *tx) memberTarget(id horde.NodeID) string { return "member " + tx.memberName(id) }

func (c *blockIP) moderates(tx *tx) moderation {
	m := moderation{Actor: c.Actor, Action: "block address", Target: "an address", Reason: c.Reason, Until: tx.now + c.For, Before: tx.blockAsIs(c.Net.Hash)}
	if !c.Worker.IsZero() {
		m.Target = "address of " + workerTarget(c.Worker)
	}
	return m
}

func (c *unblockIP) moderates(tx *tx) moderation {
	m := moderation{Actor: c.Actor, Action: "unblock address", Target: "an address"}
	if c.Worker.IsZero() {
		m.Before = tx.blockAsIs(c.Hash)
	} else { // there may be several
		m.Target = "address of " + workerTarget(c.Worker)
	}
	return m
}
