package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"hordenode/internal/horde"
)

func (s *Server) workerRoutes() []route {
	limits := []limit{{n: 30, per: time.Minute, by: byPath}}
	return []route{
		{method: "GET", path: "/api/v2/workers", handle: s.listWorkers},
		{method: "GET", path: "/api/v2/workers/name/{name}", handle: s.showWorkerByName},
		{method: "GET", path: "/api/v2/workers/{worker_id}", handle: s.showWorker, limits: limits},
		{method: "PUT", path: "/api/v2/workers/{worker_id}", handle: s.workerChanger().serve, limits: limits, schema: s.workerChanger().schema()},
		{method: "DELETE", path: "/api/v2/workers/{worker_id}", handle: s.deleteWorker, limits: limits},
	}
}

// isModerator tells whether the request's key is a moderator's. Keys that this node does not
// know are no error where only moderators gain anything.
func (s *Server) isModerator(r *http.Request) bool {
	key, _ := apikey(r)
	u, ok := s.deps.Accounts.UserByKey(key)
	return ok && u.Is(horde.RoleModerator)
}

// listWorkers serves GET /api/v2/workers: those that are online. A name counts more than a
// type.
func (s *Server) listWorkers(w http.ResponseWriter, r *http.Request) error {
	moderator := s.isModerator(r)
	a := &args{r: r}
	name, kind := a.query("name", ""), a.query("type", "")
	found := []horde.Worker{}
	for _, l := range s.deps.Live.LiveWorkers() {
		known, ok := s.deps.Accounts.Worker(l.ID)
		switch {
		case !ok || !l.Online(s.now()):
		case name != "" && !strings.EqualFold(name, known.Name):
		case name == "" && kind != "" && kind != known.Kind.String():
		default:
			found = append(found, known)
		}
	}
	slices.SortFunc(found, func(a, b horde.Worker) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	})
	list := make([]any, 0, len(found))
	for _, known := range found {
		d, err := sparse(s.workerDetails(known, moderator))
		if err != nil {
			return err
		}
		list = append(list, d)
	}
	return encode(w, http.StatusOK, list)
}

// showWorker serves GET /api/v2/workers/{worker_id}.
func (s *Server) showWorker(w http.ResponseWriter, r *http.Request) error {
	found, err := s.workerByID(r.Context(), r.PathValue("worker_id"))
	if err != nil {
		return err
	}
	return s.encodeWorker(w, r, found)
}

// showWorkerByName serves GET /api/v2/workers/name/{name}; upper and lower case differ.
func (s *Server) showWorkerByName(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	found, err := s.confirmed(r.Context(), func() (horde.Worker, bool) { return s.deps.Accounts.WorkerByName(name) })
	if err != nil {
		return err
	}
	return s.encodeWorker(w, r, found)
}

func (s *Server) encodeWorker(w http.ResponseWriter, r *http.Request, found horde.Worker) error {
	moderator := s.isModerator(r)
	details := s.workerDetails(found, moderator)
	if moderator && details.Address == nil && s.deps.AddressElsewhere != nil {
		details.Address = orNull(s.deps.AddressElsewhere(r.Context(), found.ID))
	}
	d, err := sparse(details)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, d)
}

// workerByID finds a worker by the id in a path.
func (s *Server) workerByID(ctx context.Context, path string) (horde.Worker, error) {
	u, err := horde.ParseUUID(path)
	if err != nil {
		return horde.Worker{}, workerNotFound()
	}
	id := horde.WorkerID{UUID: u}
	return s.confirmed(ctx, func() (horde.Worker, bool) { return s.deps.Accounts.Worker(id) })
}

// confirmed looks for a worker, and looks again when local state is as new as now.
func (s *Server) confirmed(ctx context.Context, look func() (horde.Worker, bool)) (horde.Worker, error) {
	if w, ok := look(); ok {
		return w, nil
	}
	if err := s.confirmMiss(ctx); err != nil {
		return horde.Worker{}, err
	}
	if w, ok := look(); ok {
		return w, nil
	}
	return horde.Worker{}, workerNotFound()
}

func workerNotFound() error {
	return horde.Refuse(horde.RCWorkerNotFound, "There is no such worker.")
}

// deleteWorker serves DELETE /api/v2/workers/{worker_id}.
func (s *Server) deleteWorker(w http.ResponseWriter, r *http.Request) error {
	target, err := s.workerByID(r.Context(), r.PathValue("worker_id"))
	if err != nil {
		return err
	}
	actor, err := s.user(r)
	if err != nil {
		return err
	}
	gone, err := s.deps.Registry.DeleteWorker(r.Context(), actor.ID, target.ID)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, struct {
		ID   horde.WorkerID `json:"deleted_id"`
		Name string         `json:"deleted_name"`
	}{gone.ID, gone.Name})
}
