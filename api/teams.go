package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// teamRoutes are the endpoints of teams (spec/accounts.md section 8).
func (s *Server) teamRoutes() []route {
	limits := []limit{{n: 30, per: time.Minute, by: byPath}}
	return []route{
		{method: "GET", path: "/api/v2/teams", handle: s.listTeams, limits: limits},
		{method: "POST", path: "/api/v2/teams", handle: s.createTeam, limits: limits, schema: teamSchema(true)},
		{method: "GET", path: "/api/v2/teams/{team_id}", handle: s.showTeam, limits: limits},
		{method: "PATCH", path: "/api/v2/teams/{team_id}", handle: s.changeTeam, limits: limits, schema: teamSchema(false)},
		{method: "DELETE", path: "/api/v2/teams/{team_id}", handle: s.deleteTeam, limits: limits},
	}
}

const (
	maxTeamName = 100  // characters
	maxTeamInfo = 1000 // characters
)

// teamSchema is the body of POST and PATCH /teams.
func teamSchema(named bool) *schema {
	return object(
		field{"name", named, text(3, maxTeamName)},
		may("info", text(3, maxTeamInfo)),
	)
}

// teamDetails is a team as the API shows it, in the API's order.
type teamDetails struct {
	Info        string       `json:"info"`
	Fulfilled   int64        `json:"requests_fulfilled"`
	Kudos       float64      `json:"kudos"`
	Uptime      int64        `json:"uptime"` // seconds
	Creator     string       `json:"creator"`
	WorkerCount int          `json:"worker_count"`
	Workers     []teamWorker `json:"workers"`
	Models      []teamModel  `json:"models"`
	Name        string       `json:"name"`
	ID          horde.TeamID `json:"id"`
}

type teamWorker struct {
	Type   string         `json:"type"`
	Name   string         `json:"name"`
	ID     horde.WorkerID `json:"id"`
	Online bool           `json:"online"`
}

// A teamModel is a model and how many workers of the team serve it.
type teamModel struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

func (s *Server) teamDetails(t horde.Team) teamDetails {
	creator, _ := s.deps.Accounts.User(t.Owner)
	d := teamDetails{
		Info:      t.Info,
		Fulfilled: t.Fulfilled,
		Kudos:     kudosFloat(t.Kudos),
		Uptime:    t.Uptime,
		Creator:   creator.Alias(),
		Workers:   []teamWorker{},
		Models:    []teamModel{},
		Name:      t.Name,
		ID:        t.ID,
	}
	served := map[string]int{}
	for _, id := range t.Workers {
		w, ok := s.deps.Accounts.Worker(id)
		if !ok {
			continue
		}
		live, _ := s.deps.Live.Live(id)
		d.Workers = append(d.Workers, teamWorker{Type: w.Kind.String(), Name: w.Name, ID: id, Online: live.Online(s.now())})
		if w.Kind == horde.KindAlchemy {
			continue // its caps name forms
		}
		for _, model := range live.Caps.Models {
			served[model]++
		}
	}
	d.WorkerCount = len(d.Workers)
	for model, n := range served {
		d.Models = append(d.Models, teamModel{model, n})
	}
	slices.SortFunc(d.Models, func(a, b teamModel) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name))
	})
	return d
}

// listTeams serves GET /api/v2/teams.
func (s *Server) listTeams(w http.ResponseWriter, _ *http.Request) error {
	list := []teamDetails{}
	for _, t := range s.deps.Community.Teams() {
		list = append(list, s.teamDetails(t))
	}
	return encode(w, http.StatusOK, list)
}

// teamByID finds a team by the id in a path.
func (s *Server) teamByID(ctx context.Context, path string) (horde.Team, error) {
	missing := horde.Refuse(horde.RCTeamNotFound, "There is no such team.")
	u, err := horde.ParseUUID(path)
	if err != nil {
		return horde.Team{}, missing
	}
	return seek(ctx, s, missing, func() (horde.Team, bool) { return s.deps.Community.Team(horde.TeamID{UUID: u}) })
}

// showTeam serves GET /api/v2/teams/{team_id}. A key is for moderators only, and gains them
// nothing.
func (s *Server) showTeam(w http.ResponseWriter, r *http.Request) error {
	t, err := s.teamByID(r.Context(), r.PathValue("team_id"))
	if err != nil {
		return err
	}
	u, known, err := s.optionalUser(r)
	switch {
	case err != nil:
		return err
	case known && !u.Is(horde.RoleModerator):
		return horde.Refuse(horde.RCNotModerator, "Only moderators may look at a team with their key. Leave it out to see the team.")
	}
	return encode(w, http.StatusOK, s.teamDetails(t))
}

type teamRequest struct{ name, info *string }

func (q *teamRequest) read(a *args) {
	a.apikey()
	q.name = a.optStr("name", maxTeamName)
	q.info = a.optStr("info", maxTeamInfo)
}

// clean makes the texts safe to show.
func (q *teamRequest) clean() {
	if q.name != nil {
		q.name = new(sanitize(*q.name))
	}
	if q.info != nil {
		q.info = new(cleanText(*q.info))
	}
}

func (s *Server) checkTeamName(name *string) error {
	if name != nil && s.isProfane(*name) {
		return horde.Refuse(horde.RCProfaneTeamName, "The team name is profane.")
	}
	return nil
}

func (s *Server) checkTeamInfo(info *string) error {
	if info != nil && s.isProfane(*info) {
		return horde.Refuse(horde.RCProfaneTeamInfo, "The info is profane.")
	}
	return nil
}

// teamChanges is the answer of POST and PATCH /teams: what was given, as it is now.
type teamChanges struct {
	ID   *horde.TeamID `json:"id,omitempty"`
	Name *string       `json:"name,omitempty"`
	Info *string       `json:"info,omitempty"`
}

func (q *teamRequest) changes(now horde.Team) teamChanges {
	var out teamChanges
	if q.name != nil {
		out.Name = &now.Name
	}
	if q.info != nil {
		out.Info = &now.Info
	}
	return out
}

// createTeam serves POST /api/v2/teams. Who may and whether the name is free is the ledger's
// to judge; as that comes before profanity, texts are judged where it would agree.
func (s *Server) createTeam(w http.ResponseWriter, r *http.Request) error {
	var q teamRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	q.clean()
	if _, taken := s.deps.Community.TeamByName(*q.name); u.Is(horde.RoleTrusted) && !taken {
		if err := cmp.Or(s.checkTeamName(q.name), s.checkTeamInfo(q.info)); err != nil {
			return err
		}
	}
	n := NewTeam{Actor: u.ID, Name: *q.name}
	if q.info != nil {
		n.Info = *q.info
	}
	t, err := s.deps.Community.CreateTeam(r.Context(), n)
	if err != nil {
		return err
	}
	out := q.changes(t)
	out.ID = &t.ID
	return encode(w, http.StatusOK, out)
}

// changeTeam serves PATCH /api/v2/teams/{team_id}.
func (s *Server) changeTeam(w http.ResponseWriter, r *http.Request) error {
	t, err := s.teamByID(r.Context(), r.PathValue("team_id"))
	if err != nil {
		return err
	}
	var q teamRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	if u.Is(horde.RoleModerator) || u.ID == t.Owner {
		if err := cmp.Or(s.checkTeamInfo(q.info), s.checkTeamName(q.name)); err != nil {
			return err
		}
	}
	q.clean()
	now, err := s.deps.Community.UpdateTeam(r.Context(), TeamChange{Actor: u.ID, Team: t.ID, Name: q.name, Info: q.info})
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, q.changes(now))
}

// deleteTeam serves DELETE /api/v2/teams/{team_id}.
func (s *Server) deleteTeam(w http.ResponseWriter, r *http.Request) error {
	t, err := s.teamByID(r.Context(), r.PathValue("team_id"))
	if err != nil {
		return err
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	gone, err := s.deps.Community.DeleteTeam(r.Context(), u.ID, t.ID)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, struct {
		ID   horde.TeamID `json:"deleted_id"`
		Name string       `json:"deleted_name"`
	}{gone.ID, gone.Name})
}

// teamOf finds the team of a worker.
func (s *Server) teamOf(w horde.Worker) (horde.Team, bool) {
	if w.Team.IsZero() {
		return horde.Team{}, false
	}
	return s.deps.Community.Team(w.Team)
}

// noTeam is an id that no team has: the ledger decides what a name that is no id leads to, in
// its order of refusals.
func noTeam() horde.TeamID { return horde.TeamID{UUID: horde.UUID{0xff}} }

// teamChoice reads the team that a worker is to join; "" leaves the team it is in.
func teamChoice(sent string) *horde.TeamID {
	u, err := horde.ParseUUID(sent)
	switch {
	case sent == "":
		return new(horde.TeamID)
	case err != nil:
		return new(noTeam())
	}
	return &horde.TeamID{UUID: u}
}
