package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"hordenode/internal/horde"
)

func (s *Server) userRoutes() []route {
	limits := []limit{{n: 60, per: time.Minute, by: byPath}}
	return []route{
		{method: "GET", path: "/api/v2/users", handle: s.listUsers},
		{method: "GET", path: "/api/v2/users/{user_id}", handle: s.showUser, limits: limits},
		{method: "PUT", path: "/api/v2/users/{user_id}", handle: s.userChanger().serve, limits: limits, schema: s.userChanger().schema()},
		{method: "DELETE", path: "/api/v2/users/{user_id}", handle: s.deleteUser, limits: limits},
		{method: "GET", path: "/api/v2/find_user", handle: s.findUser},
	}
}

const (
	usersPerPage = 25
	maxUserPage  = 10_000
)

// listUsers serves GET /api/v2/users. It shows nulls, unlike the others.
func (s *Server) listUsers(w http.ResponseWriter, r *http.Request) error {
	a := &args{r: r}
	page := a.queryInt("page", 1)
	order := a.query("sort", "kudos")
	if a.err != nil {
		return a.err
	}
	list := []userDetails{}
	if page <= maxUserPage {
		if order != "age" {
			order = "kudos"
		}
		for _, u := range s.deps.Registry.Users(order, (max(page, 1)-1)*usersPerPage, usersPerPage) {
			list = append(list, s.userDetails(r.Context(), u, publicView))
		}
	}
	return encode(w, http.StatusOK, list)
}

// showUser serves GET /api/v2/users/{user_id}.
func (s *Server) showUser(w http.ResponseWriter, r *http.Request) error {
	path := r.PathValue("user_id")
	if !isDigits(path) {
		return userNotFound(path)
	}
	asker, known, err := s.optionalUser(r)
	if err != nil {
		return err
	}
	u, err := s.userByID(r.Context(), path)
	if err != nil {
		return err
	}
	v := publicView
	switch {
	case known && asker.Is(horde.RoleModerator):
		v = moderatorView
	case known && strconv.FormatInt(int64(asker.ID), 10) == path:
		v = ownView
	}
	return s.encodeUser(w, r, u, v)
}

// findUser serves GET /api/v2/find_user: who has this key?
func (s *Server) findUser(w http.ResponseWriter, r *http.Request) error {
	key, _ := apikey(r)
	if key == "" {
		return horde.Refuse(horde.RCInvalidAPIKey, "The apikey header says whom to look for, and it is missing.")
	}
	switch k, err := s.sharedKeyByID(r.Context(), string(key)); {
	case err == nil:
		return s.encodeKeyOwner(w, r, k)
	case !errors.Is(err, horde.RCInvalidAPIKey):
		return err
	}
	u, err := s.userByKey(r.Context(), key)
	if errors.Is(err, horde.RCInvalidAPIKey) {
		return horde.Refuse(horde.RCUserNotFound, "No user has this API key.")
	}
	if err != nil {
		return err
	}
	return s.encodeUser(w, r, u, ownView)
}

func (s *Server) encodeUser(w http.ResponseWriter, r *http.Request, u horde.User, v view) error {
	details := s.userDetails(r.Context(), u, v)
	if v >= ownView && details.SharedKeyIDs == nil {
		_, err := s.sharedKeysOf(u.ID) // what is not known here must not look like none
		if err != nil {
			return err
		}
	}
	d, err := sparse(details)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, d)
}

// userByID finds a user by the id in a path. One that is not known here may have been made at
// another node a moment ago.
func (s *Server) userByID(ctx context.Context, path string) (horde.User, error) {
	id, ok := horde.ParseAlias(path)
	if !ok || !isDigits(path) {
		return horde.User{}, userNotFound(path)
	}
	if u, ok := s.deps.Accounts.User(id); ok {
		return u, nil
	}
	if err := s.confirmMiss(ctx); err != nil {
		return horde.User{}, err
	}
	if u, ok := s.deps.Accounts.User(id); ok {
		return u, nil
	}
	return horde.User{}, userNotFound(path)
}

func userNotFound(id string) error {
	return horde.Refuse(horde.RCUserNotFound, "There is no user with the id %s.", truncate(id, 20))
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// deleteUser serves DELETE /api/v2/users/{user_id}.
func (s *Server) deleteUser(w http.ResponseWriter, r *http.Request) error {
	path := r.PathValue("user_id")
	if !isDigits(path) {
		return userNotFound(path)
	}
	actor, err := s.user(r)
	if err != nil {
		return err
	}
	target, err := s.userByID(r.Context(), path)
	if err != nil {
		return err
	}
	if err := s.deps.Registry.DeleteUser(r.Context(), actor.ID, target.ID); err != nil {
		return err
	}
	return encode(w, http.StatusOK, json.RawMessage(`{"message":"OK"}`))
}
