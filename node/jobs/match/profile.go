package match

import (
	"strings"

	"hordenode/internal/horde"
)

// Models is the little that matching asks of the model references.
type Models interface {
	// Image returns what the image reference says of a model; ok is false if it has no
	// record of it.
	Image(name string) (m ImageModel, ok bool)
	// Parameters returns the size of a text model in billions of parameters; known is false
	// if the text reference does not have it.
	Parameters(name string) (billions float64, known bool)
}

// An ImageModel is a record of the image model reference.
type ImageModel struct {
	Baseline   string // "stable_diffusion_xl", "stable_cascade", "flux_1", ...
	Inpainting bool
	MinSteps   int // requirements.min_steps, 0 if not given
	MaxSteps   int // requirements.max_steps, 0 if not given
}

// stepLimit is the most accurate steps that a step-limiting worker does with the model.
func (m ImageModel) stepLimit() int {
	lo, hi := m.MinSteps, m.MaxSteps
	if lo == 0 {
		lo = 20
	}
	if hi == 0 {
		hi = 40
	}
	return (lo + hi) / 2
}

// sdxlBeta is the one model that is only handed out when a request names it.
const sdxlBeta = "SDXL_beta::stability.ai#6901"

// A Profile is a worker's Caps, prepared so that a Check is a few comparisons. It does not
// change and may be shared. Models that the reference learns of later are not in it.
type Profile struct {
	caps   horde.Caps
	agent  Agent
	can    capabilities
	karras samplers
	plain  samplers
	models map[string]struct{}
	ref    Models

	reserved       bool // offers models that must be asked for by name
	inpainting     bool // hosts a model for inpainting
	onlyInpainting bool
	sdxl           bool // hosts a model of this baseline
	cascade        bool
	flux           bool
	stepLimit      int     // smallest of its models
	slowBelow      float64 // things per second under which it is slow
}

// NewProfile prepares caps, whose Models are the ones that this worker may serve now.
func NewProfile(kind horde.Kind, caps horde.Caps, ref Models) *Profile {
	p := &Profile{
		caps:   caps,
		agent:  ParseAgent(caps.BridgeAgent),
		models: make(map[string]struct{}, len(caps.Models)),
		ref:    ref,
	}
	for _, name := range caps.Models {
		p.models[name] = struct{}{}
	}
	switch kind {
	case horde.KindText:
		p.slowBelow = slowTextBelow(caps.Models, ref)
		return p
	case horde.KindAlchemy:
		return p // its models are forms
	}
	p.can = p.agent.capabilities()
	p.karras, p.plain = p.agent.samplers()
	p.slowBelow = slowImageBelow
	p.onlyInpainting = len(caps.Models) > 0
	for i, name := range caps.Models {
		if strings.Contains(name, "horde_special") || name == sdxlBeta {
			p.reserved = true
		}
		m, _ := ref.Image(name)
		p.inpainting = p.inpainting || m.Inpainting
		p.onlyInpainting = p.onlyInpainting && m.Inpainting
		switch m.Baseline {
		case "stable_diffusion_xl":
			p.sdxl = true
		case "stable_cascade":
			p.cascade = true
		case "flux_1":
			p.flux = true
		}
		if limit := m.stepLimit(); i == 0 || limit < p.stepLimit {
			p.stepLimit = limit
		}
	}
	return p
}

// Caps returns what the profile was made of. It must not be changed.
func (p *Profile) Caps() *horde.Caps { return &p.caps }

// slowImageBelow is the speed in pixelsteps per second under which an image worker is slow.
const slowImageBelow = 500_000

// slowForm is how many seconds for a form make an alchemist slow.
const slowForm = 10

// slowTextBelow is the speed in tokens per second under which a text worker is slow: less
// is asked of a large model. Only the first model counts.
func slowTextBelow(models []string, ref Models) float64 {
	if len(models) == 0 {
		return 3
	}
	switch size, _ := ref.Parameters(models[0]); {
	case size >= 20:
		return 3
	case size >= 13:
		return 4
	}
	return 5
}

// Speed returns the speed that a worker of the kind counts with: its own, or before its
// first job a new image worker is fast and a new text worker is slow.
func Speed(kind horde.Kind, speed float64) float64 {
	switch {
	case speed > 0:
		return speed
	case kind == horde.KindImage:
		return 1_000_000
	}
	return 1
}
