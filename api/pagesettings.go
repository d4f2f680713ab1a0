package api

import (
	"net/http"
	"net/url"

	"hordenode/internal/horde"
)

// settings is what the page of an account's settings shows.
type settings struct {
	CSRF    string
	User    userDetails
	Name    string
	Contact string
	Public  bool // workers are shown with their owner
	Deleted bool
	HasKey  bool // the browser logged in by key: what cannot be undone asks for it
	Logins  []loginButton
	Linked  bool
	MaxName int
}

func (s *Server) settingsRoutes(post func(string, func(http.ResponseWriter, *http.Request) error) route) []route {
	return []route{
		{method: "GET", path: "/profile/settings", handle: s.shown(nil, s.renderSettings), unmasked: true},
		post("/profile/settings", s.done(nil, s.renderSettings, s.saveSettings)),
		post("/profile/unlink", s.done(nil, s.renderSettings, s.unlinkLogin)),
		post("/profile/delete", s.done(nil, s.renderSettings, s.deleteOwn)),
		post("/profile/undelete", s.done(nil, s.renderSettings, s.undeleteOwn)),
	}
}

func (s *Server) renderSettings(w http.ResponseWriter, r *http.Request, u horde.User, status int, p page) error {
	d := settings{
		User: s.userDetails(r.Context(), u, ownView), Name: u.Name, Contact: u.Contact, Public: u.PublicWorkers,
		Deleted: u.Is(horde.RoleDeleted), Logins: s.loginButtons(), MaxName: maxUserName,
	}
	if s.deps.Logins != nil {
		d.Linked = s.deps.Logins.HasLogin(u.ID)
	}
	c, _ := s.session(r)
	d.HasKey = c.key != ""
	var err error
	if d.CSRF, err = s.csrf(w, r); err != nil {
		return err
	}
	p.Title, p.Here, p.Body = "Settings", "/profile", d
	return s.render(w, status, "settings", p)
}

// settingsAgain shows the page with what went wrong.
func (s *Server) settingsAgain(w http.ResponseWriter, r *http.Request, failed error) error {
	status, text, rest := asRefusal(failed)
	if rest != nil {
		return rest
	}
	u, ok, err := s.visitor(r)
	if err != nil {
		return err
	}
	if !ok {
		return s.profileAgain(w, r, failed)
	}
	return s.renderSettings(w, r, u, status, page{Failed: text})
}

// saveSettings changes what a person may change of the own account.
func (s *Server) saveSettings(r *http.Request, u horde.User, form url.Values) (string, error) {
	f := &fields{form: form}
	name := f.text("username", "The name", maxUserName)
	contact := f.text("contact", "The contact", 500)
	public := f.on("public_workers")
	if f.err != nil {
		return "", f.err
	}
	c := UserChange{Actor: u.ID, Target: u.ID, PublicWorkers: &public}
	// What is shown is the stored form, which must not be escaped once more.
	if name != plainText(u.Name) {
		c.Name = &name
	}
	if contact != plainText(u.Contact) {
		c.Contact = &contact
	}
	if name == "" {
		return "", horde.Refuse(horde.RCBadRequest, "Please choose a user name.")
	}
	if err := s.checkUserTexts(u, &c); err != nil {
		return "", err
	}
	_, err := s.deps.Registry.UpdateUser(r.Context(), c)
	return "/profile/settings?told=saved", err
}

// unlinkLogin takes the login away. It asks for the API key in any case: it is what is left.
func (s *Server) unlinkLogin(r *http.Request, u horde.User, form url.Values) (string, error) {
	if s.deps.Logins == nil {
		return "", horde.Refuse(horde.RCForbidden, "There are no logins at this node.")
	}
	owner, err := s.ownAccount(r.Context(), horde.APIKey(form.Get("apikey")))
	if err == nil && owner.ID != u.ID {
		err = horde.Refuse(horde.RCWrongCredentials, "This is not the key of the account that is logged in.")
	}
	if err == nil {
		_, err = s.deps.Logins.UnlinkLogin(r.Context(), u.ID)
	}
	return "/profile/settings?told=unlinked", err
}

func (s *Server) deleteOwn(r *http.Request, u horde.User, form url.Values) (string, error) {
	f := &fields{form: form}
	f.want("really", "you want to delete the account.")
	if f.err != nil {
		return "", f.err
	}
	if err := s.sure(r, form, u); err != nil {
		return "", err
	}
	return "/profile/settings?told=gone", s.deps.Registry.DeleteUser(r.Context(), u.ID, u.ID)
}

func (s *Server) undeleteOwn(r *http.Request, u horde.User, _ url.Values) (string, error) {
	_, err := s.deps.Registry.UpdateUser(r.Context(), UserChange{Actor: u.ID, Target: u.ID, Undelete: true})
	return "/profile/settings?told=back", err
}
