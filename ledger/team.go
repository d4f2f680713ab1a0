package ledger

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"hordenode/internal/horde"
)

const (
	maxTeamName = 100 // characters
	maxTeams    = 50  // of one owner
)

// team is a group of workers. Its list of workers and the workers' Team fields agree.
type team struct {
	Name      string           `cbor:"1,keyasint"`
	Fold      string           `cbor:"2,keyasint"` // the name as it is compared
	Info      string           `cbor:"3,keyasint,omitempty"`
	Owner     horde.UserID     `cbor:"4,keyasint,omitempty"`
	Created   int64            `cbor:"5,keyasint"`
	Workers   []horde.WorkerID `cbor:"6,keyasint,omitempty"`
	Kudos     horde.Kudos      `cbor:"7,keyasint,omitempty"`
	Things    int64            `cbor:"8,keyasint,omitempty"`
	Fulfilled int64            `cbor:"9,keyasint,omitempty"`
	Uptime    int64            `cbor:"10,keyasint,omitempty"` // seconds
}

func (t *team) view(id horde.TeamID) horde.Team {
	return horde.Team{
		ID: id, Name: t.Name, Info: t.Info, Owner: t.Owner, Created: moment(t.Created), Workers: slices.Clone(t.Workers),
		Kudos: t.Kudos, Things: t.Things, Fulfilled: t.Fulfilled, Uptime: t.Uptime,
	}
}

// teamRow is what a command that answers with a team returns.
type teamRow struct {
	ID   horde.TeamID `cbor:"1,keyasint"`
	Team team         `cbor:"2,keyasint"`
}

func decodeTeam(data []byte, err error) (horde.Team, error) {
	r, err := decodeRow[teamRow](data, err)
	return r.Team.view(r.ID), err
}

// foldName is a name as it is compared with others: what it looks like. The command carries
// it, because that depends on the version of Unicode that a node was built with.
func foldName(name string) string { return skeleton(name) }

func teamNotFound() error { return horde.Refuse(horde.RCTeamNotFound, "There is no such team.") }

func actorGone() error { return horde.Refuse(horde.RCInvalidAPIKey, "The acting account is gone.") }

// A NewTeam is a team that is to be made.
type NewTeam struct {
	Actor horde.UserID `cbor:"1,keyasint,omitempty"`
	Name  string       `cbor:"2,keyasint"`
	Info  string       `cbor:"3,keyasint,omitempty"`
}

// createTeam is a NewTeam on its way.
type createTeam struct {
	ID   horde.TeamID `cbor:"1,keyasint"`
	Fold string       `cbor:"2,keyasint"`
	New  NewTeam      `cbor:"3,keyasint"`
}

// CreateTeam makes a team.
func (c *Client) CreateTeam(ctx context.Context, t NewTeam) (horde.Team, error) {
	id, err := c.newID()
	if err != nil {
		return horde.Team{}, err
	}
	return decodeTeam(c.everywhere(ctx, encodeCommand(kindCreateTeam, createTeam{horde.TeamID{UUID: id}, foldName(t.Name), t})))
}

// apply decides in the order of spec/accounts.md section 8.
func (c *createTeam) apply(tx *tx) ([]byte, error) {
	actor := tx.user(c.New.Actor)
	switch {
	case actor == nil:
		return nil, actorGone()
	case c.New.Actor == horde.Anonymous:
		return nil, horde.Refuse(horde.RCAnonForbidden, "Anonymous cannot make teams.")
	case !actor.is(horde.RoleTrusted):
		return nil, horde.Refuse(horde.RCUntrustedTeamCreation, "Only trusted users can make teams.")
	case c.ID.IsZero() || tx.teams.has(c.ID):
		return nil, horde.Refuse(horde.RCBadRequest, "Such a team cannot be made.")
	}
	if err := tx.checkTeam(&c.New.Name, c.Fold, &c.New.Info); err != nil {
		return nil, err
	}
	owned := 0
	tx.teams.all(func(_ horde.TeamID, t *team) bool {
		if t.Owner == c.New.Actor {
			owned++
		}
		return true
	})
	if owned >= maxTeams {
		return nil, horde.Refuse(horde.RCBadRequest, "An account can have %d teams.", maxTeams)
	}
	t := team{Name: c.New.Name, Fold: c.Fold, Info: c.New.Info, Owner: c.New.Actor, Created: tx.now}
	tx.teams.put(c.ID, t)
	tx.teamNames.put(c.Fold, c.ID)
	return encode(teamRow{c.ID, t}), nil
}

// checkTeam refuses a name or an info, nil if not given, that a team cannot have.
func (tx *tx) checkTeam(name *string, fold string, info *string) error {
	switch {
	case name != nil && (*name == "" || fold == "" || len(fold) > maxText || utf8.RuneCountInString(*name) > maxTeamName):
		return horde.Refuse(horde.RCBadRequest, "A team name has 1 to %d characters.", maxTeamName)
	case name != nil && tx.teamNames.has(fold):
		return horde.Refuse(horde.RCTeamNameAlreadyExists, "A team has this name already.")
	case info != nil && len(*info) > maxText:
		return horde.Refuse(horde.RCBadRequest, "The info is too long.")
	}
	return nil
}

// A TeamChange is what PATCH /teams may change; nil fields stay as they are.
type TeamChange struct {
	Actor horde.UserID `cbor:"1,keyasint,omitempty"`
	Team  horde.TeamID `cbor:"2,keyasint"`
	Name  *string      `cbor:"3,keyasint,omitempty"`
	Info  *string      `cbor:"4,keyasint,omitempty"`
}

// updateTeam is a TeamChange on its way.
type updateTeam struct {
	Fold   string     `cbor:"1,keyasint,omitempty"`
	Change TeamChange `cbor:"2,keyasint"`
}

// UpdateTeam makes all changes or none and returns the team afterwards.
func (c *Client) UpdateTeam(ctx context.Context, t TeamChange) (horde.Team, error) {
	cmd := updateTeam{Change: t}
	if t.Name != nil {
		cmd.Fold = foldName(*t.Name)
	}
	return decodeTeam(c.everywhere(ctx, encodeCommand(kindUpdateTeam, cmd)))
}

func (c *updateTeam) apply(tx *tx) ([]byte, error) {
	ch := &c.Change
	t, actor := tx.teams.get(ch.Team), tx.user(ch.Actor)
	if t == nil {
		return nil, teamNotFound()
	}
	if actor == nil {
		return nil, actorGone()
	}
	mayEdit := ch.Actor == t.Owner || actor.is(horde.RoleModerator)
	switch {
	case ch.Info != nil && !mayEdit:
		return nil, horde.Refuse(horde.RCNotOwner, "Only the owner of a team or a moderator may change its info.")
	case ch.Name != nil && !mayEdit:
		return nil, horde.Refuse(horde.RCNotModerator, "Only the owner of a team or a moderator may rename it.")
	case ch.Name == nil && ch.Info == nil:
		return nil, horde.Refuse(horde.RCNoTeamModSelected, "Nothing to change was given.")
	}
	t = tx.teams.edit(ch.Team)
	if ch.Name != nil {
		tx.teamNames.remove(t.Fold) // it may keep its name, or change its case
	}
	if err := tx.checkTeam(ch.Name, c.Fold, ch.Info); err != nil {
		return nil, err
	}
	if ch.Name != nil {
		t.Name, t.Fold = *ch.Name, c.Fold
		tx.teamNames.put(c.Fold, ch.Team)
	}
	set(&t.Info, ch.Info)
	return encode(teamRow{ch.Team, *t}), nil
}

// deleteTeam removes a team.
type deleteTeam struct {
	Actor horde.UserID `cbor:"1,keyasint,omitempty"`
	Team  horde.TeamID `cbor:"2,keyasint"`
}

// DeleteTeam removes a team and returns it as it was; its workers are in none afterwards.
func (c *Client) DeleteTeam(ctx context.Context, actor horde.UserID, id horde.TeamID) (horde.Team, error) {
	return decodeTeam(c.everywhere(ctx, encodeCommand(kindDeleteTeam, deleteTeam{actor, id})))
}

func (c *deleteTeam) apply(tx *tx) ([]byte, error) {
	t, actor := tx.teams.get(c.Team), tx.user(c.Actor)
	switch {
	case t == nil:
		return nil, teamNotFound()
	case actor == nil:
		return nil, actorGone()
	case c.Actor != t.Owner && !actor.is(horde.RoleModerator):
		return nil, horde.Refuse(horde.RCNotModerator, "Only the owner of a team or a moderator may delete it.")
	}
	data := encode(teamRow{c.Team, *t})
	tx.dropTeam(c.Team)
	return data, nil
}

func (tx *tx) dropTeam(id horde.TeamID) {
	t := tx.teams.get(id)
	for _, w := range t.Workers {
		tx.workers.edit(w).Team = horde.TeamID{}
	}
	tx.teamNames.remove(t.Fold)
	tx.teams.remove(id)
}

// joinTeam moves a worker to a team, out of the one that it was in; the zero id is none.
func (tx *tx) joinTeam(id horde.WorkerID, to horde.TeamID) {
	w := tx.workers.edit(id)
	if w.Team == to {
		return
	}
	if old := tx.teams.edit(w.Team); old != nil {
		old.Workers = without(old.Workers, id)
	}
	w.Team = to
	if joined := tx.teams.edit(to); joined != nil {
		joined.Workers = with(joined.Workers, id)
	}
}

// with and without return a changed copy of a list that a row holds.
func with[T any](list []T, v T) []T { return append(slices.Clip(slices.Clone(list)), v) }

func without[T comparable](list []T, v T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(o T) bool { return o == v })
}

// Teams returns all teams, oldest first.
func (r Reader) Teams() []horde.Team {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	list := make([]horde.Team, 0, r.m.s.teams.live)
	r.m.s.teams.all(func(id horde.TeamID, t *team) bool {
		list = append(list, t.view(id))
		return true
	})
	slices.SortFunc(list, func(a, b horde.Team) int {
		return cmp.Or(a.Created.Compare(b.Created), compareUUID(a.ID.UUID, b.ID.UUID))
	})
	return list
}

// Team finds a team.
func (r Reader) Team(id horde.TeamID) (horde.Team, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if t := r.m.s.teams.get(id); t != nil {
		return t.view(id), true
	}
	return horde.Team{}, false
}

// TeamByName finds a team by its name in upper or lower case.
func (r Reader) TeamByName(name string) (horde.Team, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	id := r.m.s.teamNames.get(foldName(name))
	if id == nil { // teams of before there were skeletons
		id = r.m.s.teamNames.get(strings.ToLower(name))
	}
	if id != nil {
		return r.m.s.teams.get(*id).view(*id), true
	}
	return horde.Team{}, false
}
