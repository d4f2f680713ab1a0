package api

import (
	"context"
	"net/http"

	"hordenode/internal/horde"
)

const maxMaintenanceMsg = 300 // characters

// workerChanger serves PUT /api/v2/workers/{worker_id} (spec/accounts.md 7.3).
func (s *Server) workerChanger() *changer[WorkerChange, horde.Worker] {
	type (
		worker = horde.Worker
		change = WorkerChange
	)
	message := wording[change, worker]("maintenance_msg", 0, maxMaintenanceMsg, func(c *change) **string { return &c.MaintenanceMsg }, nil)
	message.told = nil
	return &changer[change, worker]{
		s: s,
		settings: []setting[change, worker]{
			toggle("maintenance", func(c *change) **bool { return &c.Maintenance }, func(w worker) bool { return w.Maintenance }),
			message,
			toggle("paused", func(c *change) **bool { return &c.Paused }, func(w worker) bool { return w.Paused }),
			wording("info", 0, 1000, func(c *change) **string { return &c.Info }, func(w worker) string { return w.Info }),
			wording("name", 5, 100, func(c *change) **string { return &c.Name }, func(w worker) string { return w.Name }),
			{name: "team", schema: text(0, 36),
				take: func(a *args, name string, c *change) { c.Team = teamChoice(a.str(name, 36)) },
				told: func(_ change, w worker) any {
					if t, ok := s.teamOf(w); ok {
						return t.Name
					}
					return "None"
				}},
			reasonSetting[change, worker](func(c *change) *string { return &c.Reason }),
		},
		find: func(r *http.Request) (worker, error) { return s.workerByID(r.Context(), r.PathValue("worker_id")) },
		judge: func(actor horde.User, target worker, c *change) error {
			c.Actor, c.Worker = actor.ID, target.ID
			return s.checkWorkerTexts(actor, target, c)
		},
		update: func(ctx context.Context, c change) (worker, error) { return s.deps.Registry.UpdateWorker(ctx, c) },
	}
}

// mayEdit tells whether a user may change a worker's texts.
func mayEdit(actor horde.User, w horde.Worker) bool {
	return actor.ID != horde.Anonymous && (actor.Is(horde.RoleModerator) || actor.ID == w.Owner)
}

// checkWorkerTexts judges the texts that the actor may change, and makes them safe to show.
func (s *Server) checkWorkerTexts(actor horde.User, target horde.Worker, c *WorkerChange) error {
	may := mayEdit(actor, target)
	switch {
	case may && c.Info != nil && s.isProfane(*c.Info):
		return horde.Refuse(horde.RCProfaneWorkerInfo, "The info is profane.")
	case may && c.Name != nil && s.isProfane(*c.Name):
		return horde.Refuse(horde.RCProfaneWorkerName, "The worker name is profane.")
	}
	if c.MaintenanceMsg != nil {
		c.MaintenanceMsg = new(cleanText(*c.MaintenanceMsg))
	}
	if c.Info != nil {
		c.Info = new(cleanText(*c.Info))
	}
	if c.Name != nil {
		c.Name = new(sanitize(*c.Name))
	}
	return nil
}
