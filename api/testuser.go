package api

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"unicode/utf8"

	"hordenode/internal/horde"
)

func (s *Server) testUserRoutes() []route {
	return []route{{method: "POST", path: "/api/v2/dev/test-user", handle: s.makeTestUser, limits: exempt(), unmasked: true}}
}

// makeTestUser serves POST /api/v2/dev/test-user: it hands out accounts with any balance and
// role, so it exists only where the operator switched it on, and only for programs on the
// same machine: a proxy on this machine that passes on somebody else's request is none.
func (s *Server) makeTestUser(w http.ResponseWriter, r *http.Request) error {
	if !s.cfg.TestAPIKeys {
		return plain(http.StatusNotFound, "There is nothing at this address.")
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() || !s.clientIP(r).IsLoopback() {
		return plain(http.StatusForbidden, "Test accounts are made for programs on this machine only.")
	}
	q, err := readTestUser(bodyOf(r).root)
	if err != nil {
		return err
	}
	u, key, created, err := s.deps.Registry.TestUser(r.Context(), q)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return encode(w, status, struct {
		Key       string  `json:"api_key"`
		ID        string  `json:"user_id"`
		Name      string  `json:"username"`
		Alias     string  `json:"alias"`
		Kudos     float64 `json:"kudos"`
		Trusted   bool    `json:"trusted"`
		Moderator bool    `json:"moderator"`
		Created   bool    `json:"created"`
	}{
		string(key), strconv.FormatInt(int64(u.ID), 10), u.Name, u.Alias(), kudosFloat(u.Kudos),
		u.Is(horde.RoleTrusted), u.Is(horde.RoleModerator), created,
	})
}

// readTestUser reads the body. Types are strict here: true is no number.
func readTestUser(body members) (TestUser, error) {
	q := TestUser{Name: "test_user", Login: "ci_test_user", Moderator: true, Trusted: true, Kudos: horde.Whole(10_000)}
	err := cmp.Or(
		testText(body, "username", maxUserName, &q.Name),
		testText(body, "oauth_id", 50, &q.Login),
		testFlag(body, "moderator", &q.Moderator),
		testFlag(body, "trusted", &q.Trusted),
		testAmount(body, "kudos", &q.Kudos),
	)
	q.Class = horde.ClassRegistered
	if _, notUUID := horde.ParseUUID(q.Login); notUUID == nil {
		q.Class = horde.ClassPseudonymous
	}
	return q, err
}

func testText(body members, name string, longest int, into *string) error {
	v, ok := body[name]
	if !ok {
		return nil
	}
	t, ok := v.(string)
	if !ok || t == "" || utf8.RuneCountInString(t) > longest {
		return plain(http.StatusBadRequest, name+" must be a string of 1 to "+strconv.Itoa(longest)+" characters.")
	}
	*into = t
	return nil
}

func testFlag(body members, name string, into *bool) error {
	v, ok := body[name]
	if !ok {
		return nil
	}
	if *into, ok = v.(bool); !ok {
		return plain(http.StatusBadRequest, name+" must be true or false.")
	}
	return nil
}

func testAmount(body members, name string, into *horde.Kudos) error {
	v, ok := body[name]
	if !ok {
		return nil
	}
	number, _ := v.(json.Number)
	n, err := number.Int64()
	if err != nil || n < 0 || n > most {
		return plain(http.StatusBadRequest, name+" must be a whole number that is not negative.")
	}
	*into = horde.Whole(n)
	return nil
}
