package api

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"hordenode/internal/horde"
)

func (s *Server) registerRoutes() []route {
	return []route{
		{method: "GET", path: "/register", handle: s.showRegister, unmasked: true},
		{method: "POST", path: "/register", handle: s.register, unmasked: true, raw: true, body: 4096,
			limits: []limit{{n: 10, per: time.Minute, by: byIP}}},
		{method: "GET", path: "/.well-known/serviceinfo", handle: s.serviceInfo, unmasked: true},
	}
}

// registration is what the page shows.
type registration struct {
	CSRF    string
	Action  string // where the form goes; "": /register
	Logins  []loginButton
	MaxName int
	Name    string // what was typed
	Alias   string // of the new account
	Key     string // of the new account; shown this once
}

// showRegister serves GET /register: a form.
func (s *Server) showRegister(w http.ResponseWriter, r *http.Request) error {
	return s.renderRegister(w, r, http.StatusOK, page{}, registration{})
}

func (s *Server) renderRegister(w http.ResponseWriter, r *http.Request, status int, p page, d registration) error {
	var err error
	if d.CSRF, err = s.formToken(w, r, s.cookie(r, sessionCookie)); err != nil {
		return err
	}
	d.MaxName = maxUserName
	if d.Action == "" {
		d.Action, d.Logins = "/register", s.loginButtons()
	}
	p.Title, p.Here, p.Script, p.Body = "Join the horde", "/register", true, d
	return s.render(w, status, "register", p)
}

// register serves POST /register: it makes a pseudonymous account and shows its key, once.
// Scripts that accept JSON get {"api_key","alias"}; they send the name as a form or as JSON,
// without a token: there is nothing in a cookie that they would use.
func (s *Server) register(w http.ResponseWriter, r *http.Request) error {
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		return s.registerScript(w, r)
	}
	form, err := s.postedForm(r)
	var u horde.User
	var key horde.APIKey
	if err == nil {
		u, key, err = s.newPseudonym(r, form.Get("username"))
	}
	status, text, rest := asRefusal(err)
	switch {
	case rest != nil:
		return rest
	case text != "":
		return s.renderRegister(w, r, status, page{Failed: text}, registration{Name: truncate(form.Get("username"), 2*maxUserName)})
	}
	return s.renderRegister(w, r, http.StatusOK, page{}, registration{Alias: u.Alias(), Key: string(key)})
}

func (s *Server) registerScript(w http.ResponseWriter, r *http.Request) error {
	name, err := registerName(r)
	if err != nil {
		return err
	}
	u, key, err := s.newPseudonym(r, name)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return encode(w, http.StatusOK, struct {
		Key   string `json:"api_key"`
		Alias string `json:"alias"`
	}{string(key), u.Alias()})
}

// newPseudonym makes an account for whoever asks, but in raid mode.
func (s *Server) newPseudonym(r *http.Request, name string) (horde.User, horde.APIKey, error) {
	return s.newAccount(r, name, "")
}

// Of one address, or one /64, so many accounts are made in an hour, at all nodes together.
const accountsPerHour = 20

// mayRegister refuses addresses that are kept out, or from which many accounts were made.
func (s *Server) mayRegister(ip netip.Addr) error {
	if until, out := s.timedOut(ip); out {
		return timeoutIP(until.Sub(s.now()))
	}
	if s.cfg.NoRateLimits {
		return nil
	}
	if left, reset := s.limiter.counter.Hit("accounts "+network(ip), accountsPerHour, time.Hour); left < 0 {
		return withStatus(http.StatusTooManyRequests, horde.Refuse(horde.RCForbidden,
			"Many accounts were made from your address. Please try again in %d minutes.", int(reset.Sub(s.now()).Minutes())+1))
	}
	return nil
}

// newAccount makes an account, with a login or without.
func (s *Server) newAccount(r *http.Request, name, login string) (horde.User, horde.APIKey, error) {
	none := horde.User{}
	name = sanitize(name)
	switch {
	case s.deps.Accounts.Modes().Raid:
		return none, "", horde.Refuse(horde.RCForbidden, "New accounts cannot be made at the moment. Please try again later.")
	case name == "":
		return none, "", horde.Refuse(horde.RCBadRequest, "Please choose a user name.")
	case s.isProfane(name):
		return none, "", horde.Refuse(horde.RCProfaneUserName, "The user name is profane. Please choose another one.")
	case utf8.RuneCountInString(name) > maxUserName:
		return none, "", tooLongUserName()
	}
	if err := s.mayRegister(s.clientIP(r)); err != nil {
		return none, "", err
	}
	if login != "" {
		return s.deps.Logins.CreateLogin(r.Context(), name, login)
	}
	return s.deps.Registry.CreateUser(r.Context(), NewUser{Name: name, Class: horde.ClassPseudonymous})
}

// registerName reads the name from a form or from JSON.
func registerName(r *http.Request) (string, error) {
	if !isJSON(r) {
		form, err := readForm(r)
		return form.Get("username"), err
	}
	raw, err := io.ReadAll(r.Body)
	var q struct{ Username string }
	if err == nil && utf8.Valid(raw) {
		err = json.Unmarshal(raw, &q)
	}
	if err != nil || !utf8.Valid(raw) {
		return "", horde.Refuse(horde.RCBadRequest, "The form could not be read.")
	}
	return q.Username, nil
}

// serviceInfo serves GET /.well-known/serviceinfo.
func (s *Server) serviceInfo(w http.ResponseWriter, r *http.Request) error {
	base := s.baseURL(r)
	type api struct {
		BaseURL       string `json:"base_url"`
		Documentation string `json:"documentation"`
		Name          string `json:"name"`
		RelURL        string `json:"rel_url"`
		Version       string `json:"version"`
	}
	type software struct {
		Homepage   string `json:"homepage"`
		Logo       string `json:"logo"`
		Name       string `json:"name"`
		Repository string `json:"repository"`
		Version    string `json:"version"`
	}
	return encode(w, http.StatusOK, struct {
		API      map[string]api `json:"api"`
		Software software       `json:"software"`
		Version  string         `json:"version"`
	}{
		API:      map[string]api{"aihorde": {BaseURL: base, Documentation: base + "/api/swagger.json", Name: "AI Horde API", RelURL: "/api/v2", Version: "2.5"}},
		Software: software{Homepage: base + "/", Name: "hordenode", Version: s.cfg.Version},
		Version:  "0.2",
	})
}
