package api

import (
	"encoding/json"
	"net/http"

	"hordenode/internal/horde"
)

// newcomer is who a provider let in that has no account yet.
func (s *Server) newcomer(r *http.Request) (newcomer, bool) {
	var n newcomer
	open := s.unseal(newcomerCookie, s.cookie(r, newcomerCookie))
	ok := open != nil && json.Unmarshal(open, &n) == nil && s.now().Unix() < n.Ends && n.Login != ""
	return n, ok
}

// showNewcomer serves GET /register/login: a form for the name.
func (s *Server) showNewcomer(w http.ResponseWriter, r *http.Request) error {
	n, ok := s.newcomer(r)
	if !ok {
		return s.profileAgain(w, r, unfinished())
	}
	return s.renderRegister(w, r, http.StatusOK, page{}, registration{Action: "/register/login", Name: suggestedName(n.Name)})
}

// suggestedName makes a name that can be had of what a provider calls somebody.
func suggestedName(name string) string {
	name = tidyName(name)
	if r := []rune(name); len(r) > maxUserName {
		name = string(r[:maxUserName])
	}
	return name
}

// registerNewcomer serves POST /register/login.
func (s *Server) registerNewcomer(w http.ResponseWriter, r *http.Request) error {
	form, err := s.postedForm(r)
	n, ok := s.newcomer(r)
	if err == nil && !ok {
		return s.profileAgain(w, r, unfinished())
	}
	var u horde.User
	var key horde.APIKey
	if err == nil {
		u, key, err = s.newAccount(r, form.Get("username"), n.Login)
	}
	status, text, rest := asRefusal(err)
	switch {
	case rest != nil:
		return rest
	case text != "":
		return s.renderRegister(w, r, status, page{Failed: text}, registration{Action: "/register/login", Name: truncate(form.Get("username"), 2*maxUserName)})
	}
	s.setCookie(w, r, newcomerCookie, "")
	if _, err := s.startLoginSession(w, r, u.ID); err != nil {
		return err
	}
	return s.renderRegister(w, r, http.StatusOK, page{}, registration{Alias: u.Alias(), Key: string(key)})
}
