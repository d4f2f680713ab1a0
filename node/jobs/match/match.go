package match

import (
	"slices"

	"hordenode/internal/horde"
)

// A Reason says why a worker may not serve a request. The words are the API's keys of
// `skipped`, but for Maintenance, which is never shown. "" is no reason: it may.
type Reason string

// The reasons.
const (
	NotModels        Reason = "models"
	NotTargeted      Reason = "worker_id"
	TooLarge         Reason = "max_pixels"
	NoImg2Img        Reason = "img2img"
	NoPainting       Reason = "painting"
	NoUnsafeIP       Reason = "unsafe_ip"
	NoNSFW           Reason = "nsfw"
	NoLoRA           Reason = "lora"
	NoPostProcessing Reason = "post-processing"
	NoControlNet     Reason = "controlnet"
	TooSlow          Reason = "performance"
	Untrusted        Reason = "untrusted"
	BridgeVersion    Reason = "bridge_version"
	TooManySteps     Reason = "step_count"
	TooFewKudos      Reason = "kudos"
	MaxLength        Reason = "max_length"
	MaxContextLength Reason = "max_context_length"
	Blacklisted      Reason = "blacklist" // only the home can tell: it has the prompt
	InMaintenance    Reason = "maintenance"
)

// A Worker is a worker as matching sees it: what it said of itself, and what the ledger
// and its past jobs say of it.
type Worker struct {
	ID           horde.WorkerID
	Kind         horde.Kind
	Owner        horde.UserID
	OwnerTrusted bool
	Speed        float64 // things per second; 0 = no job yet
	Maintenance  bool
	Paused       bool
	Profile      *Profile
}

// A Payer is what matching needs to know of who pays for a request, and of its price,
// which is not in the Shape.
type Payer struct {
	ID        horde.UserID
	Trusted   bool
	Spendable horde.Kudos // what the payer can spend now
	Job       horde.Kudos // base price of one job
}

// Check tells whether w may serve a request of shape s by p, by the rules of
// spec/image.md 5.3.1 and 5.3.2, spec/text.md 7.3 and 7.4, or spec/alchemy.md 6.3 and 6.4, in
// their order. It does not
// ask whether w is online, and what only the home can see (blacklisted words, decoys
// handed out before) is left to the home. A paused worker passes: its home gives decoys.
func Check(w *Worker, s *horde.Shape, p Payer) Reason {
	r, _ := check(w, s, &p)
	return r
}

// check is Check. With p nil the payer's part is left out. late is true if the request
// passed the filters and failed one of the per-candidate tests.
func check(w *Worker, s *horde.Shape, p *Payer) (r Reason, late bool) {
	if w.Kind != s.Kind {
		return NotModels, false
	}
	switch s.Kind {
	case horde.KindText:
		if r := filterText(w, s, p); r != "" {
			return r, false
		}
		return testTrust(w, s), true
	case horde.KindAlchemy:
		if r := filterForms(w, s, p); r != "" {
			return r, false
		}
		return testTrust(w, s), true
	}
	if r := filterImage(w, s, p); r != "" {
		return r, false
	}
	return testImage(w, s, p), true
}

// dependsOnPayer tells whether two requests of shape s may differ for w by who pays, once
// w may serve the shape.
func dependsOnPayer(w *Worker, s *horde.Shape) bool {
	if w.Maintenance {
		return true
	}
	return s.Kind == horde.KindImage && (w.Profile.caps.RequireUpfront || s.UnsafeIP && !w.OwnerTrusted)
}

// filterText is the candidate query of spec/text.md 7.3.
func filterText(w *Worker, s *horde.Shape, p *Payer) Reason {
	caps := &w.Profile.caps
	switch {
	case s.MaxLength > caps.MaxLength:
		return MaxLength
	case s.MaxContextLength > caps.MaxContextLength:
		return MaxContextLength
	case s.UnsafeIP && !caps.UnsafeIP:
		return NoUnsafeIP
	case s.NSFW && !caps.NSFW:
		return NoNSFW
	case len(s.Models) > 0 && !w.Profile.servesAny(s.Models):
		return NotModels
	case !targeted(w, s):
		return NotTargeted
	case !s.SlowOK && Speed(w.Kind, w.Speed) < w.Profile.slowBelow:
		return TooSlow
	case p != nil && w.Maintenance && p.ID != w.Owner:
		return InMaintenance
	case s.ValidatedBackends && !w.Profile.agent.Validated():
		return BridgeVersion
	}
	return ""
}

// filterForms is the candidate query of spec/alchemy.md 6.3.
func filterForms(w *Worker, s *horde.Shape, p *Payer) Reason {
	caps := &w.Profile.caps
	switch {
	case !w.Profile.servesAny(s.Models):
		return NotModels
	case s.Tiles > caps.MaxTiles:
		return TooLarge
	case p != nil && w.Maintenance && p.ID != w.Owner:
		return InMaintenance
	case !s.SlowOK && w.Speed >= slowForm:
		return TooSlow
	}
	return ""
}

// testTrust is what remains of the tests of spec/text.md 7.4 and spec/alchemy.md 6.4 after the
// query.
func testTrust(w *Worker, s *horde.Shape) Reason {
	if s.TrustedOnly && !w.OwnerTrusted {
		return Untrusted
	}
	return ""
}

// filterImage is the candidate query of spec/image.md 5.3.1.
func filterImage(w *Worker, s *horde.Shape, p *Payer) Reason {
	caps, can := &w.Profile.caps, w.Profile.can
	switch {
	case s.Pixels > caps.MaxPixels:
		return TooLarge
	case len(s.Models) > 0 && !w.Profile.servesAny(s.Models):
		return NotModels
	case len(s.Models) == 0 && w.Profile.reserved:
		return NotModels
	case s.Source && !caps.Img2Img:
		return NoImg2Img
	case paints(s) && !caps.Painting:
		return NoPainting
	case s.ExtraSources && !can.has(capExtraSourceImages):
		return BridgeVersion
	case s.UnsafeIP && !caps.UnsafeIP:
		return NoUnsafeIP
	case s.NSFW && !caps.NSFW:
		return NoNSFW
	case s.R2 && !can.has(capR2):
		return BridgeVersion
	case s.LoRAs && !caps.LoRA:
		return NoLoRA
	case s.LoRAs && !can.has(capLoRA):
		return BridgeVersion
	case s.TIs && !can.has(capTextualInversion):
		return BridgeVersion
	case s.ControlType != "" && !caps.ControlNet:
		return NoControlNet
	case s.ControlType != "" && !can.has(capControlNet):
		return BridgeVersion
	case !s.SlowOK && Speed(w.Kind, w.Speed) < w.Profile.slowBelow:
		return TooSlow
	case !s.ExtraSlowOK && caps.ExtraSlow:
		return TooSlow
	case s.Transparent && !can.has(capLayerDiffuse):
		return BridgeVersion
	case s.Transparent && !caps.SDXLControlNet:
		return NoControlNet
	case p != nil && w.Maintenance && p.ID != w.Owner:
		return InMaintenance
	case !targeted(w, s):
		return NotTargeted
	}
	return ""
}

// testImage is the tests of spec/image.md 5.3.2 that the query has not made already, in
// their order.
func testImage(w *Worker, s *horde.Shape, p *Payer) Reason {
	caps, can := &w.Profile.caps, w.Profile.can
	if s.TrustedOnly && !w.OwnerTrusted {
		return Untrusted
	}
	if s.Source && !can.has(capImg2Img) {
		return NoImg2Img
	}
	if paints(s) {
		if !can.has(capInpainting) {
			return NoPainting
		}
		if !w.Profile.inpainting {
			return NotModels
		}
	} else if w.Profile.onlyInpainting {
		return NotModels
	}
	if !w.Profile.samples(s) || !w.Profile.postProcesses(s) {
		return BridgeVersion
	}
	if s.Tiling && !can.has(capTiling) || s.ReturnControl && !can.has(capReturnControlMap) {
		return BridgeVersion
	}
	if s.ControlType != "" && s.ImageIsControl && !can.has(capImageIsControl) {
		return BridgeVersion
	}
	if s.Workflow == "qr_code" {
		if !can.has(capControlNet | capQRCode) {
			return BridgeVersion
		}
		if w.Profile.sdxl && !caps.SDXLControlNet {
			return NoControlNet
		}
	}
	if s.HiresFix && (!can.has(capHiresFix) || w.Profile.cascade && !can.has(capCascade2Pass)) {
		return BridgeVersion
	}
	if w.Profile.flux && !can.has(capFlux) {
		return BridgeVersion
	}
	if s.ClipSkip > 1 && !can.has(capClipSkip) || s.LoRAVersions && !can.has(capLoRAVersions) {
		return BridgeVersion
	}
	if caps.LimitMaxSteps && s.AccurateSteps > w.Profile.stepLimitFor(s) {
		return TooManySteps
	}
	if p != nil && s.UnsafeIP && !w.OwnerTrusted && !p.Trusted {
		return Untrusted
	}
	if len(s.PostProcessing) > 0 && !caps.PostProcessing {
		return NoPostProcessing
	}
	if p != nil && caps.RequireUpfront && !p.Trusted && p.Spendable < p.Job {
		return TooFewKudos
	}
	return ""
}

// paints tells whether the request's source image is painted over.
func paints(s *horde.Shape) bool {
	return s.Processing == "inpainting" || s.Processing == "outpainting"
}

// targeted tells whether the request's list of workers lets w in.
func targeted(w *Worker, s *horde.Shape) bool {
	return len(s.Workers) == 0 || slices.Contains(s.Workers, w.ID) != s.WorkersDeny
}

// Serves tells whether the worker offers the model.
func (p *Profile) Serves(model string) bool {
	_, ok := p.models[model]
	return ok
}

func (p *Profile) servesAny(models []string) bool { return slices.ContainsFunc(models, p.Serves) }

func (p *Profile) samples(s *horde.Shape) bool {
	if s.Sampler == "" {
		return true
	}
	set := p.plain
	if s.Karras {
		set = p.karras
	}
	return set&samplerNames[s.Sampler] != 0
}

func (p *Profile) postProcesses(s *horde.Shape) bool {
	if len(s.PostProcessing) == 0 {
		return true
	}
	if !p.can.has(capPostProcessing) {
		return false
	}
	for _, name := range s.PostProcessing {
		if c, ok := postProcessors[name]; !ok || !p.can.has(c) {
			return false
		}
	}
	return true
}

// stepLimitFor returns the most accurate steps that a step-limiting worker does: of the
// request's models if it names several, else of the worker's.
func (p *Profile) stepLimitFor(s *horde.Shape) int {
	if len(s.Models) < 2 {
		return p.stepLimit
	}
	least := 0
	for i, name := range s.Models {
		m, _ := p.ref.Image(name)
		if limit := m.stepLimit(); i == 0 || limit < least {
			least = limit
		}
	}
	return least
}
