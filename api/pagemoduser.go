package api

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// modUsers is what the page to find users shows.
type modUsers struct {
	Find       string
	Lines      []modUserLine
	Page       int
	Prev, Next int
	Cut        bool // more were found than are shown
}

type modUserLine struct {
	ID         horde.UserID
	Alias      string
	Kudos      float64
	Workers    int
	Age        string
	Roles      []string
	Suspicious int
	Deleted    bool
}

const (
	mostSearched = 100_000 // accounts looked through for a name
	mostFound    = 100
)

func (s *Server) modUserLine(u horde.User) modUserLine {
	age := max(0, int64(s.now().Sub(u.Created).Seconds()))
	return modUserLine{u.ID, u.Alias(), kudosFloat(u.Kudos), u.Workers, roughly(age), rolesOf(u), u.Suspicion, u.Is(horde.RoleDeleted)}
}

func (s *Server) renderModUsers(w http.ResponseWriter, r *http.Request, _ horde.User, status int, p page) error {
	a := &args{r: r}
	d := modUsers{Find: truncate(strings.TrimSpace(r.URL.Query().Get("find")), 100), Page: min(max(a.queryInt("page", 1), 1), maxUserPage)}
	if d.Find == "" {
		from := (d.Page - 1) * usersPerPage
		users := s.deps.Registry.Users("kudos", from, usersPerPage+1)
		for _, u := range users[:min(len(users), usersPerPage)] {
			d.Lines = append(d.Lines, s.modUserLine(u))
		}
		d.Prev = d.Page - 1
		if len(users) > usersPerPage {
			d.Next = d.Page + 1
		}
	} else {
		d.Lines, d.Cut = s.findUsers(d.Find)
	}
	p.Title, p.Here, p.Body = "Users", "/moderation", d
	return s.render(w, status, "modusers", p)
}

// findUsers finds an account by its number or alias, else those that have a text in their
// name or contact.
func (s *Server) findUsers(text string) (lines []modUserLine, cut bool) {
	if id, ok := horde.ParseAlias(text); ok && (strings.Contains(text, "#") || isDigits(text)) {
		if u, ok := s.deps.Accounts.User(id); ok {
			return []modUserLine{s.modUserLine(u)}, false
		}
		return nil, false
	}
	text = strings.ToLower(sanitize(text))
	for _, u := range s.deps.Registry.Users("age", 0, mostSearched) {
		if !strings.Contains(strings.ToLower(u.Name), text) && !strings.Contains(strings.ToLower(u.Contact), text) {
			continue
		}
		if len(lines) == mostFound {
			return lines, true
		}
		lines = append(lines, s.modUserLine(u))
	}
	return lines, false
}

// modUser is what the page of one user shows.
type modUser struct {
	CSRF    string
	User    userDetails
	Name    string
	Contact string
	Comment string
	Usage   float64
	Age     string
	Active  string // when it was last active
	Roles   []roleBox
	Admin   bool // the visitor is
	Workers []modWorkerLine
	Moves   []statementLine
	Deleted bool
	CanWipe bool
	HasKey  bool
	NeedKey bool // the visitor logged in a while ago
}

// A roleBox is a role that may be given or taken.
type roleBox struct {
	Name, Title, Note string
	On                bool
	Admin             bool // only admins may
}

func roleBoxes(u horde.User) []roleBox {
	return []roleBox{
		{"moderator", "Moderator", "sees and does all that is on these pages", u.Is(horde.RoleModerator), true},
		{"trusted", "Trusted", "never suspicious, more workers, may make teams and styles", u.Is(horde.RoleTrusted), false},
		{"flagged", "Flagged", "workers get no jobs, kudos do not move", u.Is(horde.RoleFlagged), false},
		{"customizer", "Customizer", "workers may offer models that are in no reference", u.Is(horde.RoleCustomizer), false},
		{"vpn", "VPN", "workers may come from addresses of VPNs", u.Is(horde.RoleVPN), false},
		{"special", "Special", "special models and parameters", u.Is(horde.RoleSpecial), false},
		{"service", "Service", "asks for others, with a passkey", u.Is(horde.RoleService), false},
		{"education", "Education", "safe for classes, many shared keys", u.Is(horde.RoleEducation), false},
	}
}

func (s *Server) renderModUser(w http.ResponseWriter, r *http.Request, actor horde.User, status int, p page) error {
	u, err := s.userByID(r.Context(), r.PathValue("user_id"))
	if err != nil {
		return s.keptOut(w, err)
	}
	v := s.userDetails(r.Context(), u, moderatorView)
	d := modUser{
		User: v, Name: u.Name, Contact: u.Contact, Comment: u.AdminComment, Usage: float64(u.UsagePermille) / 1000, Age: roughly(v.AccountAge),
		Active: roughly(max(0, int64(s.now().Sub(u.LastActive).Seconds()))), Roles: roleBoxes(u), Admin: actor.Is(horde.RoleAdmin), Deleted: u.Is(horde.RoleDeleted),
		CanWipe: s.now().Sub(u.LastActive) >= wipeAfter,
	}
	for _, k := range s.deps.Registry.WorkersOf(u.ID) {
		if len(d.Workers) < maxShownWorkers {
			d.Workers = append(d.Workers, s.modWorkerLine(k))
		}
	}
	if s.deps.Book != nil {
		d.Moves, _ = s.statementLines(u.ID, 0, 20)
	}
	c, _ := s.session(r)
	d.HasKey, d.NeedKey = c.key != "", !s.isRecent(r)
	if d.CSRF, err = s.csrf(w, r); err != nil {
		return err
	}
	p.Title, p.Here, p.Body = unescape(u.Alias()), "/moderation", d
	return s.render(w, status, "moduser", p)
}

// wipeAfter is how long an account must have been idle before it can be wiped.
const wipeAfter = 30 * 24 * time.Hour

// modChangeUser sends on what differs from how the account is, so that the ledger asks for no
// more authority than the change needs.
func (s *Server) modChangeUser(r *http.Request, actor horde.User, form url.Values) (string, error) {
	u, err := s.userByID(r.Context(), r.PathValue("user_id"))
	if err != nil {
		return "", err
	}
	f := &fields{form: form}
	c := UserChange{Actor: actor.ID, Target: u.ID, Reason: publicReason(f)}
	changed := false
	for _, x := range []struct {
		name string
		role horde.Roles
		into **bool
	}{
		{"moderator", horde.RoleModerator, &c.Moderator}, {"trusted", horde.RoleTrusted, &c.Trusted}, {"flagged", horde.RoleFlagged, &c.Flagged},
		{"customizer", horde.RoleCustomizer, &c.Customizer}, {"vpn", horde.RoleVPN, &c.VPN}, {"special", horde.RoleSpecial, &c.Special},
		{"service", horde.RoleService, &c.Service}, {"education", horde.RoleEducation, &c.Education},
	} {
		// A box that the page did not have (has_...) is left alone.
		if on := f.on(x.name); f.on("has_"+x.name) && on != u.Is(x.role) {
			*x.into, changed = &on, true
		}
	}
	numberInto := func(name, title string, was, least, most int64, set func(int64)) {
		if n := f.number(name, title, was, least, most); n != was {
			set(n)
			changed = true
		}
	}
	numberInto("concurrency", "Concurrency", int64(u.Concurrency), 0, 500, func(n int64) { c.Concurrency = new(int(n)) })
	numberInto("worker_invited", "Invited workers", int64(u.WorkerInvited), 0, 1000, func(n int64) { c.WorkerInvited = new(int(n)) })
	numberInto("kudos", "Kudos", 0, -most, most, func(n int64) { c.Kudos = new(horde.Whole(n)) })
	numberInto("monthly_kudos", "Monthly kudos", 0, -most, most, func(n int64) { c.MonthlyKudos = new(horde.Whole(n)) })
	textInto := func(name, title, was string, most int, into **string) {
		if v := f.text(name, title, most); form.Has(name) && v != plainText(was) {
			*into, changed = &v, true
		}
	}
	textInto("username", "The name", u.Name, maxUserName, &c.Name)
	textInto("contact", "The contact", u.Contact, 500, &c.Contact)
	textInto("admin_comment", "The comment", u.AdminComment, 500, &c.AdminComment)
	if f.on("reset_suspicion") {
		c.ResetSuspicion, changed = true, true
	}
	switch {
	case f.err != nil:
		return "", f.err
	case !changed:
		return userPath(u), nil
	case c.Moderator != nil || c.Kudos != nil || c.MonthlyKudos != nil: // what an open browser must not do
		if err := s.sure(r, form, actor); err != nil {
			return "", err
		}
	case c.Flagged != nil:
		if err := s.recent(r, form, actor); err != nil {
			return "", err
		}
	}
	if err := s.checkUserTexts(actor, &c); err != nil {
		return "", err
	}
	_, err = s.deps.Registry.UpdateUser(r.Context(), c)
	return userPath(u) + "?told=saved", err
}

func userPath(u horde.User) string {
	return "/moderation/users/" + strings.TrimPrefix(u.Alias(), u.Name+"#")
}

func (s *Server) modDeleteUser(r *http.Request, actor horde.User, form url.Values) (string, error) {
	u, err := s.userByID(r.Context(), r.PathValue("user_id"))
	if err != nil {
		return "", err
	}
	f := &fields{form: form}
	f.want("really", "you want to delete the account.")
	if f.err != nil {
		return "", f.err
	}
	if err := s.sure(r, form, actor); err != nil {
		return "", err
	}
	to := userPath(u) + "?told=deleted"
	if u.Is(horde.RoleDeleted) { // a wiped account cannot be looked at
		to = "/moderation?told=deleted"
	}
	return to, s.deps.Registry.DeleteUser(r.Context(), actor.ID, u.ID)
}

func (s *Server) modUndeleteUser(r *http.Request, actor horde.User, _ url.Values) (string, error) {
	u, err := s.userByID(r.Context(), r.PathValue("user_id"))
	if err != nil {
		return "", err
	}
	_, err = s.deps.Registry.UpdateUser(r.Context(), UserChange{Actor: actor.ID, Target: u.ID, Undelete: true})
	return userPath(u) + "?told=saved", err
}
