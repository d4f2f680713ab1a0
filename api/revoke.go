package api

import (
	"net/http"

	"hordenode/internal/horde"
)

// Long polls outlive the look at their key. So each that came with one keeps a way to look
// again, and when keys, flags or deletions have changed, all are looked at:
//
//	ledger: key rotated, user flagged or deleted ──► node ──► EndRevoked ──► away ──► the usual answer, or 401, 403

// EndRevoked has those waits end whose API key is not good any more, and returns how many it
// were. It is for whoever sees that keys or roles changed.
func (s *Server) EndRevoked() int { return s.waiters.review() }

// Waiting is how many clients and workers wait here for news.
func (s *Server) Waiting() int { return s.waiters.len() }

// keyStillGood returns what tells whether a request's key belongs to the same user as now, who
// was not barred since; nil if the request came without a key.
func (s *Server) keyStillGood(r *http.Request) func() bool {
	key, ok := apikey(r)
	if !ok {
		return nil
	}
	const barred = horde.RoleDeleted | horde.RoleFlagged
	first, known := s.deps.Accounts.UserByKey(key)
	if !known {
		return nil // the key was not looked at, and is nobody's
	}
	return func() bool {
		u, ok := s.deps.Accounts.UserByKey(key)
		return ok && u.ID == first.ID && u.Roles&barred&^first.Roles == 0
	}
}

// revoked is why a worker whose key was good when it began to wait gets nothing now. Nobody
// has to be asked: what this node has forgotten it has forgotten with the others.
func (s *Server) revoked(r *http.Request) error {
	key, _ := apikey(r)
	u, known := s.deps.Accounts.UserByKey(key)
	if !known {
		return horde.Refuse(horde.RCInvalidAPIKey, "This API key was replaced while you waited.")
	}
	return s.barredWorker(u)
}

// barredWorker refuses the workers of accounts that must not have any.
func (s *Server) barredWorker(u horde.User) error {
	switch {
	case u.Is(horde.RoleDeleted):
		return horde.Refuse(horde.RCDeletedUser, "This account is being deleted.")
	case u.Is(horde.RoleFlagged):
		return horde.Refuse(horde.RCWorkerFlaggedMaintenance, "Your account is flagged: its workers are in maintenance mode. Please contact the moderators.")
	case u.ID == horde.Anonymous:
		return horde.Refuse(horde.RCAnonForbiddenWorker, "Workers need an account: Anonymous cannot have any.")
	}
	return nil
}
