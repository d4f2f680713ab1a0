package api

import (
	"cmp"
	"fmt"
	"math"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

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
		d.MegaPixelSteps = new(math.Round(float64(w.Things) / 1_000_000))
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
