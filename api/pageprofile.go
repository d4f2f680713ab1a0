package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// profile is what the account page shows: a form to log in, or an account.
type profile struct {
	CSRF   string
	User   *userDetails // nil: nobody is logged in
	Roles  []string
	Since  string // how long there has been the account
	Bank   []bankLine
	Work   []workLine
	Active int          // open requests
	Shown  []workerLine // the user's workers
	More   int          // workers that are not shown
	Key    string       // a new API key, shown this once

	Moderates bool
	HasKey    bool          // logged in by key, not by a login
	Logins    []loginButton // nobody is logged in: other ways to
	Next      string        // where to go after logging in

	Workers, Online int // all of them, and those among Shown that are online
}

// A bankLine is where kudos came from or went.
type bankLine struct {
	Name   string
	Amount float64
}

// A workLine is what was asked for and delivered of one kind.
type workLine struct {
	Name               string
	Asked, Delivered   int64
	AskedSum, GivenSum string
}

const maxShownWorkers = 100

// showProfile serves GET /profile.
func (s *Server) showProfile(w http.ResponseWriter, r *http.Request) error {
	u, ok, err := s.visitor(r)
	if err != nil {
		return err
	}
	if !ok {
		return s.renderProfile(w, r, http.StatusOK, page{}, profile{}, nil, s.cookie(r, sessionCookie))
	}
	return s.renderProfile(w, r, http.StatusOK, page{}, profile{}, &u, s.cookie(r, sessionCookie))
}

// logIn serves POST /profile.
func (s *Server) logIn(w http.ResponseWriter, r *http.Request) error {
	form, err := s.postedForm(r)
	key := horde.APIKey(strings.TrimSpace(form.Get("apikey")))
	if err == nil {
		_, err = s.ownAccount(r.Context(), key)
	}
	if status, text, rest := asRefusal(err); rest != nil {
		return rest
	} else if text != "" {
		return s.renderProfile(w, r, status, page{Failed: text}, profile{}, nil, s.cookie(r, sessionCookie))
	}
	if _, err := s.startSession(w, r, key); err != nil {
		return err
	}
	return seeOther(w, r, ownPath(form.Get("next")))
}

// ownAccount is the account of a key that belongs to one person.
func (s *Server) ownAccount(ctx context.Context, key horde.APIKey) (horde.User, error) {
	if key == "" {
		return horde.User{}, horde.Refuse(horde.RCInvalidAPIKey, "Please enter your API key.")
	}
	u, err := s.userByKey(ctx, key)
	if errors.Is(err, horde.RCInvalidAPIKey) {
		return u, horde.Refuse(horde.RCInvalidAPIKey, "No account has this API key. Please look whether it is complete.")
	}
	if err == nil && u.ID == horde.Anonymous {
		return u, horde.Refuse(horde.RCAnonForbidden, "The anonymous key is everybody's. Please register for one of your own.")
	}
	return u, err
}

// seeOther leads a browser from a form to a page.
func seeOther(w http.ResponseWriter, r *http.Request, to string) error {
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// logOut serves POST /profile/logout.
func (s *Server) logOut(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.postedForm(r); err != nil {
		return s.profileAgain(w, r, err)
	}
	s.setCookie(w, r, sessionCookie, "")
	return seeOther(w, r, "/profile")
}

// profileAgain shows the page with what went wrong.
func (s *Server) profileAgain(w http.ResponseWriter, r *http.Request, failed error) error {
	status, text, rest := asRefusal(failed)
	if rest != nil {
		return rest
	}
	u, ok, err := s.visitor(r)
	if err != nil {
		return err
	}
	shown := &u
	if !ok {
		shown = nil
	}
	return s.renderProfile(w, r, status, page{Failed: text}, profile{}, shown, s.cookie(r, sessionCookie))
}

// rotateKey serves POST /profile/key. Who only sat down at an open browser does not know the
// key, and cannot take the account away.
func (s *Server) rotateKey(w http.ResponseWriter, r *http.Request) error {
	form, err := s.postedForm(r)
	if err != nil {
		return s.profileAgain(w, r, err)
	}
	u, ok, err := s.visitor(r)
	if err != nil {
		return err
	}
	if !ok {
		return s.profileAgain(w, r, horde.Refuse(horde.RCInvalidAPIKey, "Please log in first."))
	}
	err = s.sure(r, form, u)
	var key horde.APIKey
	if err == nil {
		key, err = s.deps.Registry.RotateKey(r.Context(), u.ID)
	}
	if err != nil {
		return s.profileAgain(w, r, err)
	}
	session, err := s.startSession(w, r, key)
	if err != nil {
		return err
	}
	return s.renderProfile(w, r, http.StatusOK, page{Done: "Your API key was replaced. The old one is invalid from now on."}, profile{Key: string(key)}, &u, session)
}

// renderProfile fills in what is known of a user, who may be nil.
func (s *Server) renderProfile(w http.ResponseWriter, r *http.Request, status int, p page, d profile, u *horde.User, session string) error {
	var err error
	if d.CSRF, err = s.formToken(w, r, session); err != nil {
		return err
	}
	p.Title, p.Here, p.Script = "Your account", "/profile", true
	if u != nil {
		s.fillProfile(r.Context(), &d, *u)
		c, ok := readSession(s.unseal(sessionCookie, session))
		d.HasKey = !ok || c.key != ""
		d.Moderates = moderates(*u) == nil
	} else {
		d.Logins = s.loginButtons()
		d.Next = r.URL.Query().Get("next")
	}
	p.Body = d
	return s.render(w, status, "profile", p)
}

func (s *Server) fillProfile(ctx context.Context, d *profile, u horde.User) {
	v := s.userDetails(ctx, u, ownView)
	d.User, d.Roles, d.Since = &v, rolesOf(u), roughly(v.AccountAge)
	d.Active = len(v.Active.Image) + len(v.Active.Text)
	for _, l := range []bankLine{
		{"Requests and workers", v.KudosDetails.Accumulated}, {"Received from others", v.KudosDetails.Received},
		{"Sent to others", v.KudosDetails.Gifted}, {"Donated", v.KudosDetails.Donated}, {"Awarded", v.KudosDetails.Awarded},
		{"Every month", v.KudosDetails.Recurring}, {"For styles", v.KudosDetails.Styled}, {"By administrators", v.KudosDetails.Admin},
	} {
		if l.Amount != 0 {
			d.Bank = append(d.Bank, l)
		}
	}
	rec := v.Records
	d.Work = []workLine{
		{"Images", rec.Request.Image, rec.Fulfillment.Image, groupedFloat(rec.Usage.MegaPixelSteps) + " MPS", groupedFloat(rec.Contribution.MegaPixelSteps) + " MPS"},
		{"Texts", rec.Request.Text, rec.Fulfillment.Text, grouped(rec.Usage.Tokens) + " tokens", grouped(rec.Contribution.Tokens) + " tokens"},
		{"Alchemy", rec.Request.Interrogation, rec.Fulfillment.Interrogation, "", ""},
	}
	own := s.deps.Registry.WorkersOf(u.ID)
	d.Workers, d.More = len(own), max(0, len(own)-maxShownWorkers)
	for _, k := range own[:min(len(own), maxShownWorkers)] {
		line := s.workerLine(k)
		if line.Online {
			d.Online++
		}
		d.Shown = append(d.Shown, line)
	}
	slices.SortStableFunc(d.Shown, func(a, b workerLine) int {
		if a.Online != b.Online {
			if a.Online {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// A workerLine is a worker in a list for people.
type workerLine struct {
	Name, Kind, Owner, Speed string
	Models                   []string // a few of them
	More                     int      // others
	Threads                  int
	Jobs                     int64
	Kudos                    float64
	Uptime                   string
	Online, Maintenance      bool
}

const maxShownModels = 3

func (s *Server) workerLine(k horde.Worker) workerLine {
	v := s.workerDetails(k, false)
	line := workerLine{
		Name: v.Name, Kind: v.Type, Speed: shortSpeed(v.Performance), Threads: v.Threads, Jobs: v.Fulfilled, Kudos: v.Rewards,
		Uptime: roughly(v.Uptime), Online: v.Online, Maintenance: v.Maintenance || k.Paused,
	}
	if v.Owner != nil {
		line.Owner = *v.Owner
	}
	models := v.Models
	if v.Type == horde.KindAlchemy.String() {
		models = v.Forms
	}
	n := min(len(models), maxShownModels)
	line.Models, line.More = models[:n], len(models)-n
	return line
}

// shortSpeed is a worker's performance in the units of the page at "/".
func shortSpeed(performance string) string {
	return strings.NewReplacer("megapixelsteps per second", "MPS/s", "tokens per second", "tokens/s", "seconds per form", "s per form", "No forms were processed yet", "–").Replace(performance)
}

// onlineWorkers are the workers that checked in lately, oldest first within their kind.
func (s *Server) onlineWorkers() []horde.Worker {
	found := []horde.Worker{}
	for _, l := range s.deps.Live.LiveWorkers() {
		if known, ok := s.deps.Accounts.Worker(l.ID); ok && l.Online(s.now()) {
			found = append(found, known)
		}
	}
	slices.SortFunc(found, func(a, b horde.Worker) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return a.Created.Compare(b.Created)
	})
	return found
}

// workersPage is what the page of workers shows.
type workersPage struct {
	Kind  string
	Kinds []string
	Lines []workerLine
	More  int
	At    string
}

const maxWorkerLines = 500

// showWorkers serves GET /workers; its script asks again every few seconds.
func (s *Server) showWorkers(w http.ResponseWriter, r *http.Request) error {
	d := workersPage{Kinds: []string{horde.KindImage.String(), horde.KindText.String(), horde.KindAlchemy.String()}, At: s.now().UTC().Format(time.TimeOnly)}
	if k := r.URL.Query().Get("type"); slices.Contains(d.Kinds, k) {
		d.Kind = k
	}
	for _, k := range s.onlineWorkers() {
		switch {
		case d.Kind != "" && d.Kind != k.Kind.String():
		case len(d.Lines) == maxWorkerLines:
			d.More++
		default:
			d.Lines = append(d.Lines, s.workerLine(k))
		}
	}
	return s.render(w, http.StatusOK, "workers", page{Title: "Workers", Here: "/workers", Script: true, Body: d})
}

// leaders is a page of users in their order.
type leaders struct {
	Sort       string
	Page       int
	Lines      []leader
	Prev, Next int // 0: none
}

type leader struct {
	Place   int
	Alias   string
	Kudos   float64
	Workers int
	Age     string
	Roles   []string
}

// showLeaders serves GET /leaderboard.
func (s *Server) showLeaders(w http.ResponseWriter, r *http.Request) error {
	a := &args{r: r}
	d := leaders{Sort: a.query("sort", "kudos"), Page: min(max(a.queryInt("page", 1), 1), maxUserPage)}
	if a.err != nil {
		d.Page = 1
	}
	if d.Sort != "age" {
		d.Sort = "kudos"
	}
	from := (d.Page - 1) * usersPerPage
	users := s.deps.Registry.Users(d.Sort, from, usersPerPage+1)
	for i, u := range users[:min(len(users), usersPerPage)] {
		v := s.userDetails(r.Context(), u, publicView)
		d.Lines = append(d.Lines, leader{from + i + 1, v.Username, v.Kudos, v.WorkerCount, roughly(v.AccountAge), rolesOf(u)})
	}
	d.Prev = d.Page - 1
	if len(users) > usersPerPage {
		d.Next = d.Page + 1
	}
	return s.render(w, http.StatusOK, "leaderboard", page{Title: "Leaderboard", Here: "/leaderboard", Body: d})
}
