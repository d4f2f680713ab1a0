package api

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"hordenode/internal/horde"
)

// teamsPage is what the page of teams shows.
type teamsPage struct {
	CSRF  string
	Lines []teamLine
	More  int
	May   bool // make one
}

// A teamLine is a team in a list.
type teamLine struct {
	ID, Name, Creator string
	Workers           int
	Jobs              int64
	Kudos             float64
}

// teamPage is what the page of one team shows.
type teamPage struct {
	CSRF    string
	Team    teamDetails
	Info    string
	Uptime  string
	Workers []workerLine
	May     bool // change it
	Own     []ownWorker
}

// An ownWorker is a visitor's worker that may be in the team or not.
type ownWorker struct {
	ID, Name string
	In       bool
}

const maxTeamLines = 500

func (s *Server) teamPageRoutes(post func(string, func(http.ResponseWriter, *http.Request) error) route) []route {
	return []route{
		{method: "GET", path: "/teams", handle: s.showTeams, unmasked: true},
		post("/teams", s.done(nil, s.renderTeams, s.makeTeam)),
		{method: "GET", path: "/teams/{team_id}", handle: s.showTeamPage, unmasked: true},
		post("/teams/{team_id}", s.done(nil, s.renderTeam, s.saveTeam)),
		post("/teams/{team_id}/delete", s.done(nil, s.renderTeam, s.dropTeam)),
		post("/teams/{team_id}/worker", s.done(nil, s.renderTeam, s.moveWorker)),
	}
}

// showTeams serves GET /teams, which nobody needs to log in for.
func (s *Server) showTeams(w http.ResponseWriter, r *http.Request) error {
	u, _, err := s.visitor(r)
	if err != nil {
		return err
	}
	return s.renderTeams(w, r, u, http.StatusOK, page{Done: whatWasDone(r)})
}

func (s *Server) renderTeams(w http.ResponseWriter, r *http.Request, u horde.User, status int, p page) error {
	d := teamsPage{May: u.Is(horde.RoleTrusted)}
	teams := s.deps.Community.Teams()
	slices.SortStableFunc(teams, func(a, b horde.Team) int { return cmp.Compare(b.Kudos, a.Kudos) })
	for _, t := range teams {
		if len(d.Lines) == maxTeamLines {
			d.More = len(teams) - maxTeamLines
			break
		}
		creator, _ := s.deps.Accounts.User(t.Owner)
		d.Lines = append(d.Lines, teamLine{t.ID.String(), t.Name, creator.Alias(), len(t.Workers), t.Fulfilled, kudosFloat(t.Kudos)})
	}
	var err error
	if d.CSRF, err = s.csrf(w, r); err != nil {
		return err
	}
	p.Title, p.Here, p.Body = "Teams", "/teams", d
	return s.render(w, status, "teams", p)
}

func (s *Server) showTeamPage(w http.ResponseWriter, r *http.Request) error {
	u, _, err := s.visitor(r)
	if err != nil {
		return err
	}
	return s.renderTeam(w, r, u, http.StatusOK, page{Done: whatWasDone(r)})
}

func (s *Server) renderTeam(w http.ResponseWriter, r *http.Request, u horde.User, status int, p page) error {
	t, err := s.teamByID(r.Context(), r.PathValue("team_id"))
	if err != nil {
		return s.keptOut(w, err)
	}
	d := teamPage{Team: s.teamDetails(t), Info: t.Info, Uptime: roughly(t.Uptime), May: u.ID != horde.Anonymous && (u.ID == t.Owner || u.Is(horde.RoleModerator))}
	for _, id := range t.Workers {
		if k, ok := s.deps.Accounts.Worker(id); ok && len(d.Workers) < maxShownWorkers {
			d.Workers = append(d.Workers, s.workerLine(k))
		}
	}
	if u.ID != horde.Anonymous {
		for _, k := range s.deps.Registry.WorkersOf(u.ID) {
			d.Own = append(d.Own, ownWorker{k.ID.String(), k.Name, k.Team == t.ID})
		}
	}
	if d.CSRF, err = s.csrf(w, r); err != nil {
		return err
	}
	p.Title, p.Here, p.Body = plainText(t.Name), "/teams", d
	return s.render(w, status, "team", p)
}

// teamTexts reads and judges a team's name and info.
func (s *Server) teamTexts(form url.Values) (name, info string, err error) {
	f := &fields{form: form}
	name, info = f.text("name", "The name", maxTeamName), f.text("info", "The description", maxTeamInfo)
	if f.err != nil {
		return "", "", f.err
	}
	if len([]rune(name)) < 3 {
		return "", "", horde.Refuse(horde.RCBadRequest, "The name has 3 characters at least.")
	}
	return name, info, cmp.Or(s.checkTeamName(&name), s.checkTeamInfo(&info))
}

func (s *Server) makeTeam(r *http.Request, u horde.User, form url.Values) (string, error) {
	name, info, err := s.teamTexts(form)
	if err != nil {
		return "", err
	}
	t, err := s.deps.Community.CreateTeam(r.Context(), NewTeam{Actor: u.ID, Name: sanitize(name), Info: cleanText(info)})
	return "/teams/" + t.ID.String() + "?told=made", err
}

func (s *Server) saveTeam(r *http.Request, u horde.User, form url.Values) (string, error) {
	t, err := s.teamByID(r.Context(), r.PathValue("team_id"))
	if err != nil {
		return "", err
	}
	name, info, err := s.teamTexts(form)
	if err != nil {
		return "", err
	}
	c := TeamChange{Actor: u.ID, Team: t.ID}
	if name != plainText(t.Name) {
		c.Name = new(sanitize(name))
	}
	if info != plainText(t.Info) {
		c.Info = new(cleanText(info))
	}
	if c.Name != nil || c.Info != nil {
		_, err = s.deps.Community.UpdateTeam(r.Context(), c)
	}
	return "/teams/" + t.ID.String() + "?told=saved", err
}

func (s *Server) dropTeam(r *http.Request, u horde.User, form url.Values) (string, error) {
	t, err := s.teamByID(r.Context(), r.PathValue("team_id"))
	if err != nil {
		return "", err
	}
	f := &fields{form: form}
	f.want("really", "you want to delete the team.")
	if f.err != nil {
		return "", f.err
	}
	_, err = s.deps.Community.DeleteTeam(r.Context(), u.ID, t.ID)
	return "/teams?told=deleted", err
}

// moveWorker brings a worker into the team, or out of it.
func (s *Server) moveWorker(r *http.Request, u horde.User, form url.Values) (string, error) {
	t, err := s.teamByID(r.Context(), r.PathValue("team_id"))
	if err != nil {
		return "", err
	}
	k, err := s.workerByID(r.Context(), form.Get("worker"))
	if err != nil {
		return "", err
	}
	to := t.ID
	if k.Team == t.ID {
		to = horde.TeamID{}
	}
	_, err = s.deps.Registry.UpdateWorker(r.Context(), WorkerChange{Actor: u.ID, Worker: k.ID, Team: &to})
	return "/teams/" + t.ID.String() + "?told=saved", err
}

// plainText is a stored text as it was typed, but for markup that people may use: names and
// texts are stored with &, < and > escaped.
func plainText(s string) string { return strings.TrimSpace(unescape(s)) }
