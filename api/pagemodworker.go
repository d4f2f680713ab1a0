package api

import (
	"net/http"
	"net/url"
	"strings"

	"hordenode/internal/horde"
)

// modWorkers is what the page to find workers shows.
type modWorkers struct {
	Find  string
	Lines []modWorkerLine
	More  int
}

// A modWorkerLine is a worker in a list for moderators.
type modWorkerLine struct {
	ID         string
	Name, Kind string
	Owner      string
	OwnerID    horde.UserID
	Online     bool
	Paused     bool
	Stopped    bool // maintenance
	Suspicious int
	Jobs       int64
	Dropped    int64
}

func (s *Server) modWorkerLine(k horde.Worker) modWorkerLine {
	live, _ := s.deps.Live.Live(k.ID)
	owner, _ := s.deps.Accounts.User(k.Owner)
	return modWorkerLine{
		k.ID.String(), k.Name, k.Kind.String(), owner.Alias(), k.Owner, live.Online(s.now()), k.Paused, k.Maintenance, k.Suspicion, k.Fulfilled, k.Uncompleted,
	}
}

func (s *Server) renderModWorkers(w http.ResponseWriter, r *http.Request, _ horde.User, status int, p page) error {
	d := modWorkers{Find: truncate(strings.TrimSpace(r.URL.Query().Get("find")), 200)}
	found := s.findWorkers(d.Find)
	for _, k := range found[:min(len(found), maxWorkerLines)] {
		d.Lines = append(d.Lines, s.modWorkerLine(k))
	}
	d.More = len(found) - len(d.Lines)
	p.Title, p.Here, p.Body = "Workers", "/moderation/workers", d
	return s.render(w, status, "modworkers", p)
}

// findWorkers finds the worker of an id or exact name, those of an owner, or else those that
// are online and have a text in their name; with no text all that are online.
func (s *Server) findWorkers(text string) []horde.Worker {
	if id, err := horde.ParseUUID(text); err == nil {
		if k, ok := s.deps.Accounts.Worker(horde.WorkerID{UUID: id}); ok {
			return []horde.Worker{k}
		}
		return nil
	}
	if k, ok := s.deps.Accounts.WorkerByName(sanitize(text)); ok && text != "" {
		return []horde.Worker{k}
	}
	if id, ok := horde.ParseAlias(text); ok && strings.Contains(text, "#") {
		return s.deps.Registry.WorkersOf(id)
	}
	var list []horde.Worker
	for _, k := range s.onlineWorkers() {
		if text == "" || strings.Contains(strings.ToLower(k.Name), strings.ToLower(sanitize(text))) {
			list = append(list, k)
		}
	}
	return list
}

// modWorker is what the page of one worker shows.
type modWorker struct {
	CSRF    string
	Line    modWorkerLine
	Worker  workerDetails
	Name    string
	Info    string
	Message string // of maintenance
	Address string
	Blocks  bool // addresses can be blocked
	HasKey  bool
	Uptime  string
}

func (s *Server) renderModWorker(w http.ResponseWriter, r *http.Request, _ horde.User, status int, p page) error {
	k, err := s.workerByID(r.Context(), r.PathValue("worker_id"))
	if err != nil {
		return s.keptOut(w, err)
	}
	v := s.workerDetails(k, true)
	d := modWorker{Line: s.modWorkerLine(k), Worker: v, Name: k.Name, Info: k.Info, Uptime: roughly(v.Uptime), Blocks: s.deps.Blocks != nil}
	if k.Maintenance {
		d.Message = k.MaintenanceMsg
	}
	if v.Address != nil {
		d.Address = *v.Address
	} else if s.deps.AddressElsewhere != nil {
		d.Address = s.deps.AddressElsewhere(r.Context(), k.ID)
	}
	c, _ := s.session(r)
	d.HasKey = c.key != ""
	if d.CSRF, err = s.csrf(w, r); err != nil {
		return err
	}
	p.Title, p.Here, p.Body = plainText(k.Name), "/moderation/workers", d
	return s.render(w, status, "modworker", p)
}

func (s *Server) modChangeWorker(r *http.Request, actor horde.User, form url.Values) (string, error) {
	k, err := s.workerByID(r.Context(), r.PathValue("worker_id"))
	if err != nil {
		return "", err
	}
	f := &fields{form: form}
	c := WorkerChange{Actor: actor.ID, Worker: k.ID, Reason: publicReason(f)}
	changed := false
	if on := f.on("paused"); on != k.Paused {
		c.Paused, changed = &on, true
	}
	message := f.text("maintenance_msg", "The message", maxMaintenanceMsg)
	if on := f.on("maintenance"); on != k.Maintenance || on && message != "" && message != plainText(k.MaintenanceMsg) {
		c.Maintenance, changed = &on, true
		if on && message != "" {
			c.MaintenanceMsg = &message
		}
	}
	if name := f.text("name", "The name", maxWorkerName); form.Has("name") && name != plainText(k.Name) {
		c.Name, changed = &name, true
	}
	if info := f.text("info", "The description", 1000); form.Has("info") && info != plainText(k.Info) {
		c.Info, changed = &info, true
	}
	switch {
	case f.err != nil:
		return "", f.err
	case !changed:
		return "/moderation/workers/" + k.ID.String(), nil
	}
	if err := s.checkWorkerTexts(actor, k, &c); err != nil {
		return "", err
	}
	_, err = s.deps.Registry.UpdateWorker(r.Context(), c)
	return "/moderation/workers/" + k.ID.String() + "?told=saved", err
}

func (s *Server) modDeleteWorker(r *http.Request, actor horde.User, form url.Values) (string, error) {
	k, err := s.workerByID(r.Context(), r.PathValue("worker_id"))
	if err != nil {
		return "", err
	}
	f := &fields{form: form}
	f.want("really", "you want to delete the worker.")
	if f.err != nil {
		return "", f.err
	}
	if err := s.sure(r, form, actor); err != nil {
		return "", err
	}
	_, err = s.deps.Registry.DeleteWorker(r.Context(), actor.ID, k.ID)
	return "/moderation/workers?told=deleted", err
}
