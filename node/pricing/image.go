package pricing

import (
	"math"
	"slices"
	"strings"

	"hordenode/internal/horde"
)

// An Image is what the price of an image job depends on: the payload after defaults, with
// every field as the API has it.
type Image struct {
	Width, Height    int     // pixels
	Steps            int     // as asked for, not doubled for slow samplers; at most 40 with a control type
	CFG              float64 // cfg_scale
	Sampler          string  // sampler_name; one that the fit does not know counts as k_euler
	Karras           bool
	HiresFix         bool
	Source           bool    // a source image is attached
	Mask             bool    // a separate mask is attached
	Processing       string  // source_processing; read only with a source image
	Denoise          float64 // denoising_strength, 1 if not sent
	ControlType      string  // empty: none
	ReturnControlMap bool
	PostProcessing   []string
	LoRAs            []LoRA
	TIs              int
	Workflow         string
	Transparent      bool
}

// A LoRA is one entry of loras.
type LoRA struct {
	Name      string
	IsVersion bool
}

// An Order is the part of an image request that is not the payload of one job.
type Order struct {
	Models       []string // as named by the client
	N            int      // jobs
	SlowOK       bool     // slow_workers
	Blacklist    bool     // worker_blacklist, even with an empty list
	ExtraSources int      // extra source images
}

// ImageDefaults returns a payload with the defaults of the API: 512 by 512, 30 steps,
// cfg 5, k_euler_a, karras. (With a control type the default is 20 steps.)
func ImageDefaults() Image {
	return Image{Width: 512, Height: 512, Steps: 30, CFG: 5, Sampler: "k_euler_a", Karras: true, Denoise: 1}
}

// Pixels returns the area.
func (i Image) Pixels() int64 { return int64(i.Width) * int64(i.Height) }

// AccurateSteps returns the steps as work: see the function of that name.
func (i Image) AccurateSteps() int { return AccurateSteps(i.Sampler, i.Steps) }

// Things returns the work of one job in pixelsteps.
func (i Image) Things() int64 { return i.Pixels() * int64(i.AccurateSteps()) }

// Base returns N: the price of one job before model multiplier, tax and surcharges. A
// payload that the fit cannot express (a post-processor or control type that is newer than
// the published prices) costs what the legacy formula says (spec/kudos.md section 12.1).
func (i Image) Base() horde.Kudos {
	n, ok := fitted(i)
	if !ok {
		n = i.Legacy()
	}
	return n + i.extras()
}

// extras is what LoRAs and textual inversions cost.
func (i Image) extras() horde.Kudos {
	k := horde.Whole(3 * int64(len(i.LoRAs)))
	if i.TIs > 0 {
		k += horde.Whole(1)
	}
	return k
}

// Legacy returns the price by the closed formula of spec/kudos.md section 12.4, without
// LoRAs and textual inversions.
func (i Image) Legacy() horde.Kudos {
	const least, most = 64 * 64, 1024 * 1024
	area := max(float64(i.Pixels()), least)
	r := math.Pow(area-least, 1.75) / math.Pow(most-least, 1.75)
	perStep := 0.1232 * float64(i.Steps)
	price := round2(perStep + r*perStep*8.75)
	for range i.PostProcessing {
		price = round2(price * 1.2)
	}
	if i.ControlType != "" && !i.ReturnControlMap {
		price = round2(price * 3)
	}
	return horde.RoundKudos(price)
}

// ImageQuote returns what an image request costs, fixed when it is accepted.
func (l *List) ImageQuote(i Image, o Order) horde.Quote {
	pre, post := Surcharge(i, o)
	return horde.Quote{
		Job:     l.base(i),
		Tax:     ImageTax(o.ExtraSources),
		PrePPM:  pre,
		PostPPM: post,
	}
}

// ImageTax returns what accepting an image request costs: 3, and 5 per extra source image.
func ImageTax(extraSources int) horde.Kudos { return horde.Whole(3 + 5*int64(extraSources)) }

// ImageEstimate returns, in kudos and unrounded, the answer to a dry run, which is also what
// must be available when kudos are due up front. It knows the first model only, or SDXL if
// none is named, and of the multipliers the plain ones: a request may settle above it.
func (l *List) ImageEstimate(i Image, o Order) float64 {
	model := "SDXL 1.0"
	if len(o.Models) > 0 {
		model = o.Models[0]
	}
	m := ModelMultiplier(l.models.Baseline(model), "", false)
	pre, post := Surcharge(i, o)
	burnt := (l.base(i).Float()*ppm(pre) + 1) * ppm(post)
	return burnt*float64(o.N)*float64(m) + 1
}

// Surcharge returns the two factors of a debit in millionths: the payer pays
// (reward*pre + 1 kudo)*post. Before the flat kudo stand a source image (1.3) and upscalers
// (1.05 each), after it fast workers only (1.2) and a deny list of workers (1.1).
func Surcharge(i Image, o Order) (prePPM, postPPM int64) {
	prePPM, postPPM = million, million
	if i.Source {
		prePPM = prePPM * 13 / 10
	}
	for _, p := range i.PostProcessing {
		if slices.Contains(upscalers, p) {
			prePPM = prePPM * 105 / 100
		}
	}
	if !o.SlowOK {
		postPPM = postPPM * 12 / 10
	}
	if o.Blacklist {
		postPPM = postPPM * 11 / 10
	}
	return prePPM, postPPM
}

// Upscalers are the post-processors that make an image larger and cost its payer 1.05 times
// as much. A request may name one of them.
func Upscalers() []string { return slices.Clone(upscalers) }

var upscalers = []string{
	"RealESRGAN_x4plus", "RealESRGAN_x2plus", "RealESRGAN_x4plus_anime_6B", "NMKD_Siax", "4x_AnimeSharp",
	"4xNomos8kSC", "4xLSDIRplus", "4xNomosWebPhoto_RealPLKSR", "4xNomos2_realplksr_dysample",
	"4xNomos2_hq_dat2", "2xModernSpanimationV1",
}

// ModelMultiplier returns M: how many times the base price a job of this model family
// costs (spec/kudos.md section 12.3).
func ModelMultiplier(baseline, workflow string, hiresFix bool) int64 {
	switch baseline {
	case "stable_diffusion_xl":
		if workflow == "qr_code" {
			return 4
		}
		return 2
	case "stable_cascade":
		if hiresFix {
			return 7
		}
		return 4
	case "flux_1", "z_image_turbo":
		return 8
	case "qwen_image":
		return 12
	}
	return 1
}

// priceImage prices one delivered image.
func (l *List) priceImage(r *horde.Request, model, bridgeAgent string, censored bool) horde.Price {
	m := ModelMultiplier(l.models.Baseline(model), r.Shape.Workflow, r.Shape.HiresFix)
	gross := r.Quote.Job * horde.Kudos(m)
	return horde.Price{
		Reward: gross.Float(),
		Credit: mulPPM(gross, BridgePPM(bridgeAgent)),
		Debit:  Debit(gross, r.Quote, censored),
		Things: r.Things,
	}
}

// Debit returns what the payer pays for one job of the given reward; 0 stands for the
// reward if the result was censored.
func Debit(reward horde.Kudos, q horde.Quote, censored bool) horde.Kudos {
	if censored {
		reward = 0
	}
	pre, post := orOne(q.PrePPM), orOne(q.PostPPM)
	// Both products in one go, so that it is rounded once: hundredths times 10^12 stay
	// below 2^63 up to 92,233 kudos; above, round in between.
	inner := int64(reward)*pre + 100*million
	if inner < math.MaxInt64/post {
		return horde.Kudos(divRound(inner*post, million*million))
	}
	return mulPPM(horde.Kudos(divRound(inner, million)), post)
}

// JobTTL returns the seconds that an image job may take, before the factor 3 for extra slow
// workers. heavy: a model that the request names is of the Flux, Qwen or Z-Image family.
func JobTTL(i Image, heavy bool) int {
	ttl := 30 + 2*float64(i.AccurateSteps())*float64(i.Pixels())/(512*512)
	if i.ControlType != "" {
		ttl *= 2
	}
	if heavy {
		ttl *= 3
	}
	return max(int(ttl), 150)
}

// TextTTL is the seconds that a text job may take.
const TextTTL = 150

// Heavy tells whether a model of this family is given three times the time.
func Heavy(baseline string) bool {
	return baseline == "flux_1" || baseline == "qwen_image" || baseline == "z_image_turbo"
}

// ImageTTL is JobTTL for a request that names the given models.
func (l *List) ImageTTL(i Image, models []string) int {
	return JobTTL(i, slices.ContainsFunc(models, func(m string) bool { return Heavy(l.models.Baseline(m)) }))
}

// AccurateSteps returns steps as work: doubled for samplers that take two passes, 40 for
// the adaptive one.
func AccurateSteps(sampler string, steps int) int {
	switch sampler {
	case "k_dpm_adaptive":
		return 40
	case "k_heun", "k_dpm_2", "k_dpm_2_a", "k_dpmpp_2s_a", "k_dpmpp_sde":
		return steps * 2
	}
	return steps
}

// SafeBatch returns how many images of a payload a worker takes at once: at least 1, at
// most amount (spec/image.md section 5.4).
func SafeBatch(i Image, maxPixels int64, amount int) int {
	cost := float64(i.Pixels()) * (1 + 0.4*float64(len(i.PostProcessing)))
	if i.Transparent || slices.ContainsFunc(i.PostProcessing, heavyProcessor) {
		cost *= 1.8
	}
	if cost <= 0 {
		return 1
	}
	safe := math.RoundToEven(float64(maxPixels) / 3.5 * float64(amount) / cost)
	return int(max(1, min(safe, float64(amount))))
}

// heavyProcessor tells whether a post-processor needs so much memory that a worker should
// take fewer images at once.
func heavyProcessor(name string) bool {
	switch name {
	case "RealESRGAN_x4plus", "RealESRGAN_x4plus_anime_6B", "NMKD_Siax", "4x_AnimeSharp", "CodeFormers",
		"4xNomos8kSC", "4xLSDIRplus", "4xNomos2_hq_dat2", "RestoreFormer":
		return true
	}
	return false
}

// usesLCM tells whether the payload runs with few steps by design: the lcm sampler or one
// of the known LoRAs (spec/image.md section 3.8 rule 3).
func (i Image) usesLCM() bool {
	return i.Sampler == "lcm" || slices.ContainsFunc(i.LoRAs, func(a LoRA) bool {
		if a.IsVersion {
			return strings.Contains(lcmVersions, " "+a.Name+" ")
		}
		return strings.Contains(lcmModels, " "+a.Name+" ")
	})
}

// Ids of LCM LoRAs on the public model site, each between blanks.
const (
	lcmVersions = " 246747 247778 268475 243643 225222 219782 363353 "
	lcmModels   = " 195519 216190 324115 "
)
