package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

func (s *Server) workerRoutes() []route {
	limits := []limit{{n: 30, per: time.Minute, by: byPath}}
	return []route{
		{method: "GET", path: "/api/v2/workers", handle: s.listWorkers},
		{method: "GET", path: "/api/v2/workers/name/{name}", handle: s.showWorkerByName},
		{method: "GET", path: "/api/v2/workers/{worker_id}", handle: s.showWorker, limits: limits},
		{method: "PUT", path: "/api/v2/workers/{worker_id}", handle: s.changeWorker, limits: limits, schema: workerSchema()},
		{method: "DELETE", path: "/api/v2/workers/{worker_id}", handle: s.deleteWorker, limits: limits},
	}
}

// workerDetails is a worker as the API shows it, in the API's order. Members that are nil
// are left out.
type workerDetails struct {
	Fulfilled    int64              `json:"requests_fulfilled"`
	Rewards      float64            `json:"kudos_rewards"`
	KudosDetails workerKudosDetails `json:"kudos_details"`
	Performance  string             `json:"performance"`
	Threads      int                `json:"threads"`
	Uptime       int64              `json:"uptime"` // seconds
	Maintenance  bool               `json:"maintenance_mode"`
	Paused       *bool              `json:"paused"`
	Info         *string            `json:"info"`
	NSFW         bool               `json:"nsfw"`
	Owner        *string            `json:"owner"`
	Address      *string            `json:"ipaddr"`
	Trusted      bool               `json:"trusted"` // its owner is
	Flagged      bool               `json:"flagged"` // its owner is
	Suspicious   *int               `json:"suspicious"`
	Uncompleted  int64              `json:"uncompleted_jobs"`
	Models       []string           `json:"models"`
	Forms        []string           `json:"forms"`
	Team         workerTeam         `json:"team"`
	Contact      *string            `json:"contact"`
	BridgeAgent  string             `json:"bridge_agent"`

	// image
	MaxPixels      *int64   `json:"max_pixels"`
	MegaPixelSteps *float64 `json:"megapixelsteps_generated"`
	Img2Img        *bool    `json:"img2img"`
	Painting       *bool    `json:"painting"`
	PostProcessing *bool    `json:"post-processing"`
	LoRA           *bool    `json:"lora"`
	ControlNet     *bool    `json:"controlnet"`
	SDXLControlNet *bool    `json:"sdxl_controlnet"`

	// text
	MaxLength        *int `json:"max_length"`
	MaxContextLength *int `json:"max_context_length"`

	Messages []shownMessage `json:"messages"` // nil: not shown
	Type     string         `json:"type"`
	Name     string         `json:"name"`
	ID       horde.WorkerID `json:"id"`
	Online   bool           `json:"online"`
}

type workerKudosDetails struct {
	Generated *float64 `json:"generated"`
	Uptime    *int64   `json:"uptime"`
}

// workerTeam is the team of a worker, if it is in one.
type workerTeam struct {
	Name *string       `json:"name"`
	ID   *horde.TeamID `json:"id"`
}

// workerDetails shows a worker. Its owner sees no more than everybody; a moderator sees all.
func (s *Server) workerDetails(w horde.Worker, moderator bool) workerDetails {
	live, _ := s.deps.Live.Live(w.ID)
	owner, _ := s.deps.Accounts.User(w.Owner)
	c := live.Caps
	d := workerDetails{
		Fulfilled:   w.Fulfilled,
		Rewards:     kudosFloat(w.KudosGenerated + w.KudosUptime),
		Performance: performance(w.Kind, live.Speed),
		Threads:     max(c.Threads, 1),
		Uptime:      w.Uptime,
		Maintenance: w.Maintenance,
		Info:        orNull(w.Info),
		NSFW:        c.NSFW,
		Trusted:     owner.Is(horde.RoleTrusted),
		Flagged:     owner.Is(horde.RoleFlagged),
		Uncompleted: w.Uncompleted,
		BridgeAgent: cmp.Or(c.BridgeAgent, "unknown:0:unknown"),
		Type:        w.Kind.String(),
		Name:        w.Name,
		ID:          w.ID,
		Online:      live.Online(s.now()),
	}
	if t, ok := s.teamOf(w); ok {
		d.Team = workerTeam{&t.Name, &t.ID}
	}
	if w.KudosGenerated != 0 && w.Kind != horde.KindAlchemy {
		d.KudosDetails.Generated = new(kudosFloat(w.KudosGenerated))
	}
	if w.KudosUptime != 0 {
		d.KudosDetails.Uptime = new(int64(math.RoundToEven(w.KudosUptime.Float())))
	}
	switch w.Kind {
	case horde.KindImage:
		img2img, painting := bridgePaints(c.BridgeAgent)
		d.Models = shown(c.Models)
		d.MaxPixels = &c.MaxPixels
		d.MegaPixelSteps = new(float64(w.Things/10_000) / 100)
		d.Img2Img = new(c.Img2Img && img2img)
		d.Painting = new(c.Painting && painting)
		d.PostProcessing, d.LoRA = &c.PostProcessing, &c.LoRA
		d.ControlNet, d.SDXLControlNet = &c.ControlNet, &c.SDXLControlNet
	case horde.KindText:
		d.Models = shown(c.Models)
		d.MaxLength, d.MaxContextLength = &c.MaxLength, &c.MaxContextLength
	case horde.KindAlchemy:
		d.Forms = offeredForms(c.Models)
	}
	if moderator || owner.PublicWorkers {
		d.Owner = new(owner.Alias())
		d.Messages = s.messagesOf(w.ID)
	}
	if moderator {
		d.Paused, d.Suspicious = &w.Paused, &w.Suspicion
		d.Address = orNull(s.deps.Addresses.Of(w.ID))
		d.Contact = orNull(owner.Contact)
	}
	return d
}

// shown is a list that is [] when it is empty.
func shown(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// performance tells a worker's speed; one that has delivered nothing counts as average.
func performance(kind horde.Kind, speed float64) string {
	if kind == horde.KindAlchemy {
		if speed <= 0 {
			return "No forms were processed yet"
		}
		return fmt.Sprintf("%.1f seconds per form", speed)
	}
	unit := "tokens per second"
	if kind == horde.KindImage {
		unit, speed = "megapixelsteps per second", speed/1e6
	}
	if speed <= 0 {
		speed = 1
	}
	return fmt.Sprintf("%.1f %s", speed, unit)
}

// bridgePaints tells what image-to-image work a worker's software can do
// (spec/status.md section 8).
func bridgePaints(agent string) (img2img, painting bool) {
	switch name, version := pricing.ParseAgent(agent); name {
	case "AI Horde Worker reGen":
		return version >= 1, version >= 1
	case "AI Horde Worker":
		return version >= 3, version >= 4
	case "SD-WebUI Stable Horde Worker Bridge":
		return false, version >= 1
	case "HordeAutoWebBridge":
		return version >= 1, false
	}
	return false, false
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

// workerSchema is the body of PUT /workers.
func workerSchema() *schema {
	return object(
		may("maintenance", flag()),
		may("maintenance_msg", text(0, maxMaintenanceMsg)),
		may("paused", flag()),
		may("info", text(0, 1000)),
		may("name", text(5, 100)),
		may("team", text(0, 36)),
	)
}

const maxMaintenanceMsg = 300 // characters

type workerChangeRequest struct {
	change WorkerChange
	team   *string
}

func (q *workerChangeRequest) read(a *args) {
	a.apikey()
	q.change.Maintenance = a.optFlag("maintenance")
	q.change.MaintenanceMsg = a.optStr("maintenance_msg", maxMaintenanceMsg)
	q.change.Info = a.optStr("info", 1000)
	q.change.Paused = a.optFlag("paused")
	q.change.Name = a.optStr("name", 100)
	q.team = a.optStr("team", 36)
}

// workerChanges is the answer of PUT /workers: what was changed, as it is now.
type workerChanges struct {
	Maintenance *bool   `json:"maintenance,omitempty"`
	Paused      *bool   `json:"paused,omitempty"`
	Info        *string `json:"info,omitempty"`
	Name        *string `json:"name,omitempty"`
	Team        *string `json:"team,omitempty"`
}

// changeWorker serves PUT /api/v2/workers/{worker_id}. Who may change what is the ledger's to
// judge; only texts are judged here.
func (s *Server) changeWorker(w http.ResponseWriter, r *http.Request) error {
	target, err := s.workerByID(r.Context(), r.PathValue("worker_id"))
	if err != nil {
		return err
	}
	var q workerChangeRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	actor, err := s.user(r)
	if err != nil {
		return err
	}
	c := q.change
	c.Actor, c.Worker = actor.ID, target.ID
	if err := s.checkWorkerTexts(actor, target, &c); err != nil {
		return err
	}
	if q.team != nil {
		c.Team = teamChoice(*q.team)
	}
	now, err := s.deps.Registry.UpdateWorker(r.Context(), c)
	if err != nil {
		return err
	}
	var out workerChanges
	if c.Team != nil {
		out.Team = new("None")
		if t, ok := s.teamOf(now); ok {
			out.Team = &t.Name
		}
	}
	if c.Maintenance != nil {
		out.Maintenance = &now.Maintenance
	}
	if c.Paused != nil {
		out.Paused = &now.Paused
	}
	if c.Info != nil {
		out.Info = &now.Info
	}
	if c.Name != nil {
		out.Name = &now.Name
	}
	return encode(w, http.StatusOK, out)
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
