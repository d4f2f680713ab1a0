package api

import (
	"strings"

	"hordenode/internal/horde"
)

// newWorkerAllowed applies the rules of names to a worker that polls for the first time
// (spec/moderation.md section 10, rows 9 and 10). How many workers one may have, and what
// models they may offer, is for the board to say. Row 14, too many of them at one address, can
// never be reached: the limits of rows 12 and 13 are no higher and come first.
func (s *Server) newWorkerAllowed(q *popRequest) error {
	if _, known := s.deps.Accounts.WorkerByName(q.name); known {
		return nil
	}
	name := strings.ToLower(q.name)
	switch {
	case q.name == "":
		return horde.Refuse(horde.RCBadRequest, "A worker needs a name.")
	case s.isProfane(q.name):
		return horde.Refuse(horde.RCProfaneWorkerName, "The name of the worker is profane.")
	case s.isProfane(q.caps.BridgeAgent):
		return horde.Refuse(horde.RCProfaneBridgeAgent, "The bridge_agent of the worker is profane.")
	case strings.Contains(name, "colab"), strings.Contains(name, "tpu"), strings.Contains(name, "google"):
		return horde.Refuse(horde.RCBadRequest, "To protect the free notebook services, a worker's name must not mention them.")
	}
	return nil
}
