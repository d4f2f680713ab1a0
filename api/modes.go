package api

import (
	"net/http"
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

// showModes serves GET /api/v2/status/modes. A key is for moderators only: without one,
// everybody may ask.
func (s *Server) showModes(w http.ResponseWriter, r *http.Request) error {
	u, known, err := s.optionalUser(r)
	if err != nil {
		return err
	}
	m := s.deps.Accounts.Modes()
	shown := modes{Maintenance: &m.Maintenance, InviteOnly: &m.InviteOnly}
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
	var changed modes
	if c.Maintenance != nil {
		changed.Maintenance = &now.Maintenance
	}
	if c.InviteOnly != nil {
		changed.InviteOnly = &now.InviteOnly
	}
	if c.Raid != nil {
		changed.Raid = &now.Raid
	}
	return encode(w, http.StatusOK, changed)
}
