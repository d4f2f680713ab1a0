package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"hordenode/api/login"
	"hordenode/internal/horde"
)

// Logging in by an account elsewhere (package login):
//
//	POST /login/{provider}           begins: the attempt goes into a sealed cookie, the browser to the provider
//	GET  /login/{provider}/callback  ends: a known person is logged in, a new one chooses a name
//	GET, POST /register/login        the name of a new account with a login
//
// The form tells what it is for: nothing to log in, "link" to give the account that is logged
// in a login, "again" to show that it is still the person.

// Logins is what logging in asks of the ledger. *ledger.Client implements it but for
// CreateLogin, which node adds. A refusal is a *horde.Error.
type Logins interface {
	// UserByLogin finds the account of a login in local state.
	UserByLogin(login string) (horde.User, bool)
	// HasLogin tells whether an account has a login.
	HasLogin(horde.UserID) bool
	// KeyMark changes when an account's API key or login does.
	KeyMark(horde.UserID) [16]byte
	// CreateLogin makes an account with a login that no account has.
	CreateLogin(ctx context.Context, name, login string) (horde.User, horde.APIKey, error)
	// LinkLogin gives an account a login.
	LinkLogin(ctx context.Context, id horde.UserID, login string) (horde.User, error)
	// UnlinkLogin takes an account's login away.
	UnlinkLogin(ctx context.Context, id horde.UserID) (horde.User, error)
}

const (
	attemptCookie  = "hordenode_login"    // what is remembered while the browser is at a provider
	newcomerCookie = "hordenode_newcomer" // who the provider says it is, while a name is chosen
	attemptTime    = 10 * time.Minute
)

func (s *Server) loginRoutes() []route {
	limits := []limit{{n: 20, per: time.Minute, by: byPath}}
	return []route{
		{method: "POST", path: "/login/{provider}", handle: s.beginLogin, unmasked: true, raw: true, body: 4096, limits: limits},
		{method: "GET", path: "/login/{provider}/callback", handle: s.finishLogin, unmasked: true, limits: limits},
		{method: "GET", path: "/register/login", handle: s.showNewcomer, unmasked: true},
		{method: "POST", path: "/register/login", handle: s.registerNewcomer, unmasked: true, raw: true, body: 4096, limits: limits},
	}
}

// What a login is for.
const (
	toLogIn = ""
	toLink  = "link"
	toAgain = "again"
)

// An attempt is what the cookie holds while a browser is at a provider.
type attempt struct {
	login.Attempt
	Do   string       `json:"do,omitempty"`
	User horde.UserID `json:"user,omitempty"` // who asked, to link or again
	Next string       `json:"next,omitempty"`
	Ends int64        `json:"ends"` // Unix seconds
}

// A newcomer is what the cookie holds while a name is chosen.
type newcomer struct {
	login.Identity
	Ends int64 `json:"ends"`
}

// A loginButton is a provider on a page.
type loginButton struct{ Name, Title string }

func (s *Server) loginButtons() []loginButton {
	var list []loginButton
	for _, p := range s.deps.Providers {
		list = append(list, loginButton{p.Name(), p.Title()})
	}
	return list
}

func (s *Server) provider(name string) (*login.Provider, error) {
	i := slices.IndexFunc(s.deps.Providers, func(p *login.Provider) bool { return p.Name() == name })
	if i < 0 {
		return nil, plain(http.StatusNotFound, "There is nothing at this address.")
	}
	return s.deps.Providers[i], nil
}

// going is what the page shows that leads to a provider.
type going struct{ Title, Address string }

// beginLogin serves POST /login/{provider}. The browser is led on by a page: a redirect would
// be part of sending the form, which our policy lets go to this node only.
func (s *Server) beginLogin(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(r.PathValue("provider"))
	if err != nil {
		return err
	}
	form, err := s.postedForm(r)
	if err != nil {
		return s.profileAgain(w, r, err)
	}
	u, ok, err := s.visitor(r)
	if err != nil {
		return err
	}
	a := attempt{Do: form.Get("do"), Next: ownPath(form.Get("next")), Ends: s.now().Add(attemptTime).Unix()}
	switch {
	case a.Do == toLogIn:
	case a.Do != toLink && a.Do != toAgain:
		return s.profileAgain(w, r, staleForm())
	case !ok:
		return s.profileAgain(w, r, logInFirst())
	case a.Do == toLink:
		if err := s.sure(r, form, u); err != nil { // whoever links a login can come back
			return s.settingsAgain(w, r, err)
		}
		a.User = u.ID
	default:
		a.User = u.ID
	}
	address, begun, err := p.Begin(r.Context(), a.Do == toAgain)
	if err != nil {
		return s.loginFailed(w, r, p, err)
	}
	a.Attempt = begun
	if err := s.setSealed(w, r, attemptCookie, a); err != nil {
		return err
	}
	w.Header().Set("Refresh", "0; url="+address)
	return s.render(w, http.StatusOK, "going", page{Title: "Log in with " + p.Title(), Body: going{p.Title(), address}})
}

// setSealed leaves a short-lived cookie that only this node can read.
func (s *Server) setSealed(w http.ResponseWriter, r *http.Request, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	value, err := s.seal(name, b)
	if err != nil {
		return err
	}
	s.setCookie(w, r, name, value)
	return nil
}

// takeSealed reads such a cookie, and removes it: it serves once.
func (s *Server) takeSealed(w http.ResponseWriter, r *http.Request, name string, into any) bool {
	s.setCookie(w, r, name, "")
	open := s.unseal(name, s.cookie(r, name))
	return open != nil && json.Unmarshal(open, into) == nil
}

func unfinished() error {
	return horde.Refuse(horde.RCForbidden, "This login was not begun here, is too old, or was used already. Please try again.")
}

// finishLogin serves GET /login/{provider}/callback.
func (s *Server) finishLogin(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(r.PathValue("provider"))
	if err != nil {
		return err
	}
	var a attempt
	if !s.takeSealed(w, r, attemptCookie, &a) || s.now().Unix() >= a.Ends || !s.pages.used.once(a.State, s.now()) {
		return s.loginFailed(w, r, p, unfinished())
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return s.loginFailed(w, r, p, unfinished())
	}
	id, err := p.Finish(r.Context(), a.Attempt, query)
	if err != nil {
		return s.loginFailed(w, r, p, err)
	}
	if a.Do == toLink {
		return s.linkLogin(w, r, a, id)
	}
	u, err := s.userByLogin(r.Context(), id.Login)
	switch {
	case errors.Is(err, horde.RCUserNotFound) && a.Do == toLogIn:
		if err := s.setSealed(w, r, newcomerCookie, newcomer{login.Identity{Login: id.Login, Name: truncate(id.Name, 4*maxUserName)}, s.now().Add(attemptTime).Unix()}); err != nil {
			return err
		}
		return seeOther(w, r, "/register/login")
	case err == nil && a.Do == toAgain && u.ID != a.User, errors.Is(err, horde.RCUserNotFound):
		return s.loginFailed(w, r, p, horde.Refuse(horde.RCWrongCredentials, "This login is not that of the account that is logged in."))
	case err != nil:
		return err
	}
	if _, err := s.startLoginSession(w, r, u.ID); err != nil {
		return err
	}
	return seeOther(w, r, a.Next)
}

func (s *Server) linkLogin(w http.ResponseWriter, r *http.Request, a attempt, id login.Identity) error {
	u, ok, err := s.visitor(r)
	switch {
	case err != nil:
		return err
	case !ok || u.ID != a.User:
		return s.profileAgain(w, r, unfinished())
	}
	if _, err := s.deps.Logins.LinkLogin(r.Context(), u.ID, id.Login); err != nil {
		return s.settingsAgain(w, r, err)
	}
	return seeOther(w, r, "/profile/settings?told=linked")
}

// userByLogin finds the account of a login. One that is not known here may have been made at
// another node a moment ago.
func (s *Server) userByLogin(ctx context.Context, login string) (horde.User, error) {
	return seek(ctx, s, horde.Refuse(horde.RCUserNotFound, "No account has this login."), func() (horde.User, bool) { return s.deps.Logins.UserByLogin(login) })
}

// loginFailed shows the account page with why a login did not work. What providers say of it
// is for the log.
func (s *Server) loginFailed(w http.ResponseWriter, r *http.Request, p *login.Provider, err error) error {
	var refusal *horde.Error
	if errors.As(err, &refusal) {
		return s.profileAgain(w, r, err)
	}
	s.log.InfoContext(r.Context(), "login failed", "provider", p.Name(), "err", err)
	switch {
	case errors.Is(err, login.ErrRefused):
		err = horde.Refuse(horde.RCForbidden, "%s did not let you in.", p.Title())
	case errors.Is(err, login.ErrForged):
		err = unfinished()
	default:
		err = horde.Refuse(horde.RCUnavailable, "%s could not be asked. Please try again later.", p.Title())
	}
	return s.profileAgain(w, r, err)
}

// ownPath keeps a path of this node's pages, and makes anything else the account page: nobody
// is led away from here.
func ownPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || strings.ContainsAny(next, "\\\r\n\t") || !isClean(u.EscapedPath()) {
		return "/profile"
	}
	for _, p := range []string{"/profile", "/transfer", "/teams", "/moderation"} {
		if u.Path == p || strings.HasPrefix(u.Path, p+"/") {
			return next
		}
	}
	return "/profile"
}

// used remembers which attempts were used, as long as they could be again.
type used struct {
	mu   sync.Mutex // guards the fields below
	ends map[[32]byte]time.Time
}

const maxUsed = 10_000 // attempts remembered: a flood of more is turned away

// once tells whether an attempt was not used before, and remembers it.
func (u *used) once(state string, now time.Time) bool {
	k := sha256.Sum256([]byte(state))
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ends == nil {
		u.ends = map[[32]byte]time.Time{}
	}
	if len(u.ends) >= maxUsed {
		for k, t := range u.ends {
			if !now.Before(t) {
				delete(u.ends, k)
			}
		}
	}
	if _, was := u.ends[k]; was || len(u.ends) >= maxUsed {
		return false
	}
	u.ends[k] = now.Add(attemptTime)
	return true
}
