package api

import (
	"net/http"
	"slices"
	"time"

	"hordenode/internal/horde"
)

func (s *Server) modesRoutes() []route {
	limits := []limit{{n: 30, per: time.Minute, by: byIP}}
	return []route{
		{method: "GET", path: "/api/v2/status/modes", handle: s.showModes, limits: limits},
		{method: "PUT", path: "/api/v2/status/modes", handle: s.changeModes, limits: limits},
	}
}

// modes is what is shown or was changed of the modes.
type modes struct {
	Maintenance *bool `json:"maintenance_mode,omitempty"`
	InviteOnly  *bool `json:"invite_only_mode,omitempty"`
	Raid        *bool `json:"raid_mode,omitempty"` // for moderators
}

// modesOfKinds adds what is ours: for which kinds of workers invitations are needed, if it is
// not for all.
type modesOfKinds struct {
	modes
	InviteKinds []string `json:"invite_only_kinds,omitempty"`
}

// workerKinds are the names of kinds, in the order of horde.Kind.
func workerKinds() []horde.Kind {
	return []horde.Kind{horde.KindImage, horde.KindText, horde.KindAlchemy}
}

// kindNames are the kinds of a set, a bit for each.
func kindNames(set uint8) (names []string) {
	for _, k := range workerKinds() {
		if set>>k&1 != 0 {
			names = append(names, k.String())
		}
	}
	return names
}

// showModes serves GET /api/v2/status/modes. A key is for moderators only: without one,
// everybody may ask.
func (s *Server) showModes(w http.ResponseWriter, r *http.Request) error {
	u, known, err := s.optionalUser(r)
	if err != nil {
		return err
	}
	m := s.deps.Accounts.Modes()
	shown := modesOfKinds{modes{Maintenance: &m.Maintenance, InviteOnly: &m.InviteOnly}, kindNames(m.InviteKinds)}
	if known {
		if !u.Is(horde.RoleModerator) {
			return horde.Refuse(horde.RCNotModerator, "Only moderators may look at the modes with their key. Leave it out to see the public ones.")
		}
		shown.Raid = &m.Raid
	}
	return encode(w, http.StatusOK, shown)
}

type modesRequest struct{ change ModesChange }

func (q *modesRequest) read(a *args) {
	a.apikey()
	q.change.Maintenance = a.optFlag("maintenance_mode")
	q.change.InviteOnly = a.optFlag("invite_only_mode")
	q.change.Raid = a.optFlag("raid_mode")
	if v := a.optStr("reason", maxReason); v != nil {
		q.change.Reason = cleanText(*v)
	}
	if !a.has("invite_only_kinds") {
		return
	}
	var set uint8
	for _, name := range a.strs("invite_only_kinds", len(workerKinds())) {
		k := slices.IndexFunc(workerKinds(), func(k horde.Kind) bool { return k.String() == name })
		if k < 0 {
			a.fail("invite_only_kinds", "Kinds of workers are image, text and interrogation.")
			return
		}
		set |= 1 << workerKinds()[k]
	}
	q.change.InviteKinds = &set
}

// changeModes serves PUT /api/v2/status/modes.
func (s *Server) changeModes(w http.ResponseWriter, r *http.Request) error {
	var q modesRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	c := q.change
	c.Actor = u.ID
	now, err := s.deps.Registry.SetModes(r.Context(), c)
	if err != nil {
		return err
	}
	var changed modesOfKinds
	if c.Maintenance != nil {
		changed.Maintenance = &now.Maintenance
	}
	if c.InviteOnly != nil {
		changed.InviteOnly = &now.InviteOnly
	}
	if c.Raid != nil {
		changed.Raid = &now.Raid
	}
	if c.InviteKinds != nil {
		changed.InviteKinds = kindNames(now.InviteKinds)
	}
	return encode(w, http.StatusOK, changed)
}
