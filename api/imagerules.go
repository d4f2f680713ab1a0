package api

import (
	"math"
	"slices"
	"strings"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

// The two models that compare themselves or need an image by design.
const (
	betaModel  = "SDXL_beta::stability.ai#6901"
	pix2pix    = "pix2pix"
	depthModel = "Stable Diffusion 2 Depth"
)

// A check refuses an image order, or returns nil.
type check func(s *Server, o *imageOrder) error

// imageChecks are the rules of image parameters in the reference's order, rules V20 to V49
// of spec/image.md sections 3.5 and 3.6. The model rules among them look at every model that
// the client named.
func imageChecks() []check {
	return []check{
		checkHiresFix, checkLoRAs, checkTransparentModel, checkWorkflowModel, checkPromptSize,
		checkModelNames, checkUpscalers, checkCFG, checkSpecialModels,
		checkUnsafe, checkSpecialField, checkMask, checkControlModel, checkControl, checkTransparent,
		checkRemix, checkTexts, checkControlMap, checkSourceModels, checkBeta, checkAgent,
	}
}

// anyModel tells whether a model of the order is of one of the families.
func (s *Server) anyModel(o *imageOrder, prefixes ...string) bool {
	return slices.ContainsFunc(o.models, func(m string) bool {
		b := s.deps.Models.Baseline(m)
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(b, p) })
	})
}

// onlyLayered tells whether all models are of the families that can do transparency and QR
// codes.
func (s *Server) onlyLayered(o *imageOrder) bool {
	return !slices.ContainsFunc(o.models, func(m string) bool {
		b := s.deps.Models.Baseline(m)
		return b != "stable_diffusion_xl" && b != "stable diffusion 1"
	})
}

func checkHiresFix(s *Server, o *imageOrder) error {
	if o.params.hires && s.anyModel(o, "flux_1", "qwen_image", "z_image_turbo") {
		return horde.Refuse(horde.RCHiResMismatch, "hires_fix does not work with models of the Flux, Qwen and Z-Image families.")
	}
	return nil
}

func checkLoRAs(_ *Server, o *imageOrder) error {
	if len(o.params.loras) > 5 {
		return horde.Refuse(horde.RCTooManyLoras, "A request can have 5 LoRAs at most.")
	}
	for _, l := range o.params.loras {
		if l.Version && strings.Trim(l.Name, "0123456789") != "" {
			return horde.Refuse(horde.RCBadLoraVersion, "A LoRA version is named by its number.")
		}
	}
	if len(o.params.tis) > 20 {
		return horde.Refuse(horde.RCTooManyTIs, "A request can have 20 textual inversions at most.")
	}
	return nil
}

func checkTransparentModel(s *Server, o *imageOrder) error {
	if o.params.transparent && !s.onlyLayered(o) {
		return horde.Refuse(horde.RCInvalidTransparencyModel, "Only Stable Diffusion 1 and XL models can make transparent images.")
	}
	return nil
}

func checkWorkflowModel(s *Server, o *imageOrder) error {
	if o.params.workflow == "qr_code" && !s.onlyLayered(o) {
		return horde.Refuse(horde.RCControlNetMismatchQR, "Only Stable Diffusion 1 and XL models can do the qr_code workflow.")
	}
	return nil
}

func checkPromptSize(_ *Server, o *imageOrder) error {
	if countWords(o.prompt, 7501) > 7500 {
		return horde.Refuse(horde.RCInvalidPromptSize, "The prompt has more than 7500 words.")
	}
	return nil
}

// countWords counts the words of s up to most.
func countWords(s string, most int) int {
	n := 0
	for range strings.FieldsSeq(s) {
		if n++; n >= most {
			break
		}
	}
	return n
}

func checkModelNames(_ *Server, o *imageOrder) error {
	if slices.ContainsFunc(o.models, func(m string) bool { return slices.Contains(postProcessors(), m) }) {
		return horde.Refuse(horde.RCUnexpectedModelName, "Post-processors are named in post_processing, not in models.")
	}
	return nil
}

func checkUpscalers(_ *Server, o *imageOrder) error {
	n, upscalers := 0, pricing.Upscalers()
	for _, p := range o.params.post {
		if slices.Contains(upscalers, p) {
			n++
		}
	}
	if n > 1 {
		return horde.Refuse(horde.RCTooManyUpscalers, "An image can be upscaled once.")
	}
	return nil
}

func checkCFG(_ *Server, o *imageOrder) error {
	if c := o.params.cfg; c != nil && math.Abs(*c-math.Round(*c*100)/100) > 1e-9 {
		return horde.Refuse(horde.RCBadCFGDecimals, "cfg_scale can have two decimals at most.")
	}
	return nil
}

func checkSpecialModels(_ *Server, o *imageOrder) error {
	for _, m := range o.models {
		if !strings.Contains(m, "horde_special") {
			continue
		}
		_, alias, named := strings.Cut(m, "::")
		switch {
		case !o.payer.Is(horde.RoleSpecial):
			return horde.Refuse(horde.RCForbidden, "Only special users can use special models.")
		case !named:
			return horde.Refuse(horde.RCSpecialMissingUsername, "A special model is named together with its user.")
		case alias != o.payer.Alias():
			return horde.Refuse(horde.RCForbidden, "This special model belongs to another user.")
		case o.params.special == nil:
			return horde.Refuse(horde.RCSpecialMissingPayload, "A special model needs the special parameter.")
		}
	}
	return nil
}

// checkUnsafe is about raid mode.
func checkUnsafe(_ *Server, o *imageOrder) error {
	if o.unsafe {
		return untrustedUnsafeIP()
	}
	return nil
}

func checkSpecialField(_ *Server, o *imageOrder) error {
	if o.params.special != nil && !o.payer.Is(horde.RoleSpecial) {
		return horde.Refuse(horde.RCBadRequest, "Only special users can send the special parameter.")
	}
	return nil
}

func checkMask(_ *Server, o *imageOrder) error {
	if o.mask != "" && o.image == "" {
		return horde.Refuse(horde.RCSourceMaskUnnecessary, "A mask needs a source image.")
	}
	return nil
}

func checkControlModel(s *Server, o *imageOrder) error {
	switch c := o.params.control; {
	case c == "":
	case (c == "normal" || c == "hough") && s.anyModel(o, "stable diffusion 2"):
		return horde.Refuse(horde.RCControlNetUnsupported, "This control_type does not work with Stable Diffusion 2 models.")
	case slices.Contains(o.models, pix2pix):
		return horde.Refuse(horde.RCControlNetUnsupported, "control_type does not work with pix2pix.")
	}
	return nil
}

func checkControl(s *Server, o *imageOrder) error {
	switch {
	case o.params.control == "":
	case o.image == "":
		return horde.Refuse(horde.RCControlNetSourceMissing, "control_type needs a source image.")
	case o.processing == "inpainting":
		return horde.Refuse(horde.RCControlNetInpaintingMismatch, "control_type does not work with inpainting.")
	case s.anyModel(o, "stable_diffusion_xl", "stable_cascade", "flux_1", "qwen_image", "z_image_turbo"):
		return horde.Refuse(horde.RCControlNetMismatch, "control_type does not work with models of this family.")
	}
	return nil
}

func checkTransparent(_ *Server, o *imageOrder) error {
	switch {
	case !o.params.transparent:
	case len(o.extras) > 0:
		return horde.Refuse(horde.RCInvalidTransparencyImg2Img, "Transparent images cannot have extra source images.")
	case o.params.control != "":
		return horde.Refuse(horde.RCInvalidTransparencyCN, "Transparent images cannot have a control_type.")
	}
	return nil
}

func checkRemix(s *Server, o *imageOrder) error {
	if o.processing == "remix" {
		for _, m := range o.models {
			if !strings.HasPrefix(s.deps.Models.Baseline(m), "stable_cascade") {
				return horde.Refuse(horde.RCInvalidRemix, "Only Stable Cascade models can remix.")
			}
		}
	}
	if len(o.extras) > 0 && o.processing != "remix" {
		return horde.Refuse(horde.RCInvalidExtraSourceImages, "Only remix takes extra source images.")
	}
	return nil
}

// checkTexts also turns off batching for QR codes.
func checkTexts(_ *Server, o *imageOrder) error {
	p := &o.params
	if p.workflow != "qr_code" {
		if len(p.texts) > 0 {
			return horde.Refuse(horde.RCInvalidExtraTexts, "Only the qr_code workflow takes extra texts.")
		}
		return nil
	}
	o.noBatch = true
	if !slices.ContainsFunc(p.texts, func(t extraText) bool { return t.Reference == "qr_code" }) {
		return horde.Refuse(horde.RCMissingExtraTexts, "The qr_code workflow needs an extra text that refers to qr_code.")
	}
	return nil
}

func checkControlMap(_ *Server, o *imageOrder) error {
	if o.params.initAsImage && o.params.returnControl {
		return horde.Refuse(horde.RCControlNetInvalidPayload, "init_as_image and return_control_map exclude each other.")
	}
	return nil
}

func checkSourceModels(s *Server, o *imageOrder) error {
	if o.image != "" {
		return nil
	}
	for _, m := range o.models {
		if m == depthModel || m == pix2pix {
			return horde.Refuse(horde.RCSourceImageRequiredForModel, "This model needs a source image.")
		}
	}
	for _, m := range o.models {
		if s.deps.Models.Type(m) == "controlnet" {
			return horde.Refuse(horde.RCUnexpectedModelName, "ControlNet models are chosen by control_type.")
		}
	}
	return nil
}

// checkBeta also fixes what the comparing model wants.
func checkBeta(_ *Server, o *imageOrder) error {
	if !slices.Contains(o.models, betaModel) {
		return nil
	}
	switch {
	case o.payer.ID == horde.Anonymous:
		return horde.Refuse(horde.RCBetaAnonForbidden, "Anonymous users cannot use this model.")
	case o.n == 1:
		return horde.Refuse(horde.RCBetaComparisonFault, "This model makes images in pairs: n must be 2.")
	}
	o.models = []string{betaModel}
	o.n = 2
	return nil
}

func checkAgent(_ *Server, o *imageOrder) error {
	if o.agent == "My-Project:v0.0.1:My-Contact" {
		return horde.Refuse(horde.RCBannedClientAgent, "Please put the name of your own program into the Client-Agent header.")
	}
	return nil
}

// warnings tells where the parameters are not what a model was made for. They are compared
// with the documented defaults, not with those that run.
func (s *Server) warnings(o *imageOrder) []warning {
	if s.deps.Requirements == nil {
		return nil
	}
	p := &o.params
	clip, steps, cfg := 1.0, 30.0, 7.5
	if p.clipSkip != nil {
		clip = float64(*p.clipSkip)
	}
	if p.steps != nil {
		steps = float64(*p.steps)
	}
	if p.cfg != nil {
		cfg = *p.cfg
	}
	scheduler := "simple"
	if p.karras {
		scheduler = "karras"
	}
	var out []warning
	warn := func(on bool, code, text string) {
		if on && !slices.ContainsFunc(out, func(w warning) bool { return w.Code == code }) {
			out = append(out, warning{code, text})
		}
	}
	for _, m := range o.models {
		q := s.deps.Requirements(m)
		is := func(bound *float64, bad func(float64) bool) bool { return bound != nil && bad(*bound) }
		warn(is(q.ClipSkip, func(b float64) bool { return b != clip }), "ClipSkipMismatch", "A model was made for another clip_skip.")
		warn(is(q.MinSteps, func(b float64) bool { return b > steps }), "StepsTooFew", "A model needs more steps.")
		warn(is(q.MaxSteps, func(b float64) bool { return b < steps }), "StepsTooMany", "A model needs fewer steps.")
		warn(is(q.CFG, func(b float64) bool { return b != cfg }), "CfgScaleMismatch", "A model was made for another cfg_scale.")
		warn(is(q.MinCFG, func(b float64) bool { return b > cfg }), "CfgScaleTooSmall", "A model needs a larger cfg_scale.")
		warn(is(q.MaxCFG, func(b float64) bool { return b < cfg }), "CfgScaleTooLarge", "A model needs a smaller cfg_scale.")
		warn(len(q.Samplers) > 0 && !slices.Contains(q.Samplers, p.sampler), "SamplerMismatch", "A model was made for other samplers.")
		warn(len(q.Schedulers) > 0 && !slices.Contains(q.Schedulers, scheduler), "SchedulerMismatch", "A model was made for another scheduler.")
	}
	return out
}
