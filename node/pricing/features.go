package pricing

import (
	"math"
	"slices"
)

// Inputs is how many numbers describe an image payload to the network.
const Inputs = 47

// One is 1.0 in the fixed-point numbers of the network: 14 fractional bits.
const One = 1 << 14

// The categories that the published prices tell apart, in the order of the inputs.
var (
	samplers = []string{"ddim", "k_dpm_2", "k_dpm_2_a", "k_dpm_adaptive", "k_dpm_fast", "k_dpmpp_2m", "k_dpmpp_2s_a",
		"k_dpmpp_sde", "k_euler", "k_euler_a", "k_heun", "k_lms", "plms", "uni_pc", "uni_pc_bh2"}
	controls    = []string{"", "canny", "depth", "fakescribbles", "hed", "hough", "normal", "openpose", "scribble", "seg"}
	processings = []string{"img2img", "inpainting", "outpainting", "txt2img"}
	processors  = []string{"4x_AnimeSharp", "CodeFormers", "GFPGAN", "NMKD_Siax", "RealESRGAN_x2plus", "RealESRGAN_x4plus",
		"RealESRGAN_x4plus_anime_6B", "strip_background"}
)

// Where each group of inputs begins.
const (
	atSampler    = 10
	atControl    = 25
	atProcessing = 35
	atProcessor  = 39
)

// Features is vector in units of 1/One.
func Features(i Image) (x [Inputs]int32, ok bool) {
	v, ok := vector(i)
	for n, f := range v {
		x[n] = fixed(f)
	}
	return x, ok
}

// vector returns a network's view of a payload (spec/kudos.md section 12.2). It returns false
// for a payload with a control type or post-processor that the published prices do not know.
func vector(i Image) (x [Inputs]float64, ok bool) {
	x[0] = float64(i.Height) / 1024
	x[1] = float64(i.Width) / 1024
	x[2] = float64(i.Steps) / 100
	x[3] = i.CFG / 30
	x[4], x[5] = 1, 1 // how much is redrawn; the same, with a control type
	if i.Source && i.ControlType == "" {
		x[4] = i.Denoise
	}
	if i.Source && i.ControlType != "" {
		x[5] = i.Denoise
	}
	for n, b := range []bool{i.Karras, i.HiresFix, i.Source, i.Mask} {
		if b {
			x[6+n] = 1
		}
	}
	sampler := slices.Index(samplers, i.Sampler)
	if sampler < 0 {
		sampler = slices.Index(samplers, "k_euler")
	}
	x[atSampler+sampler] = 1
	control := slices.Index(controls, i.ControlType)
	if control < 0 {
		return x, false
	}
	x[atControl+control] = 1
	x[atProcessing+slices.Index(processings, i.processing())] = 1
	for _, p := range i.PostProcessing {
		n := slices.Index(processors, p)
		if n < 0 {
			return x, false
		}
		x[atProcessor+n]++
	}
	return x, true
}

// processing is source_processing as far as the price is concerned: remix counts as
// img2img, and without a source image there is none.
func (i Image) processing() string {
	switch {
	case !i.Source:
		return "txt2img"
	case i.Processing == "inpainting" || i.Processing == "outpainting":
		return i.Processing
	}
	return "img2img"
}

// fixed converts to fixed point. Inputs are bounded, so that no sum overflows, whatever a
// caller lets through.
func fixed(f float64) int32 {
	if math.IsNaN(f) {
		return 0
	}
	return int32(math.Round(min(max(f, -64), 64) * One))
}
