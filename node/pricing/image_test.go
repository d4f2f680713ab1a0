package pricing

import (
	"math"
	"testing"

	"hordenode/internal/horde"
)

const regen = "AI Horde Worker reGen:13.0.0:x"

// plain is a payload that costs 6.22.
func plain() Image {
	i := ImageDefaults()
	i.Steps, i.CFG, i.Sampler = 20, 7.5, "k_euler"
	return i
}

// The cases are those of spec/kudos.md appendix A.
func TestImageSettlement(t *testing.T) {
	kudos := func(f float64) horde.Kudos { return horde.RoundKudos(f) }
	for _, tt := range []struct {
		name          string
		job           float64
		image         Image
		order         Order
		model, agent  string
		censored      bool
		reward        float64
		credit, debit horde.Kudos
	}{
		{"1 plain", 10, Image{}, Order{SlowOK: true}, "sd", regen, false, 10, kudos(10), kudos(11)},
		{"3 fast only", 10, Image{}, Order{}, "sd", regen, false, 10, kudos(10), kudos(13.20)},
		{"4 fast, deny list", 10, Image{}, Order{Blacklist: true}, "sd", regen, false, 10, kudos(10), kudos(14.52)},
		{"5 img2img", 10, Image{Source: true}, Order{SlowOK: true}, "sd", regen, false, 10, kudos(10), kudos(14)},
		{"6 all of it", 10, Image{Source: true, PostProcessing: []string{"RealESRGAN_x4plus"}}, Order{Blacklist: true}, "sd", regen, false, 10, kudos(10), kudos(19.34)},
		{"face fixer is free", 10, Image{PostProcessing: []string{"GFPGAN"}}, Order{SlowOK: true}, "sd", regen, false, 10, kudos(10), kudos(11)},
		{"7 SDXL", 12, Image{}, Order{SlowOK: true}, "xl", regen, false, 24, kudos(24), kudos(25)},
		{"8 SDXL QR code", 12, Image{Workflow: "qr_code"}, Order{SlowOK: true}, "xl", regen, false, 48, kudos(48), kudos(49)},
		{"9 Cascade, hires fix", 5, Image{HiresFix: true}, Order{SlowOK: true}, "cascade", regen, false, 35, kudos(35), kudos(36)},
		{"Cascade", 5, Image{}, Order{SlowOK: true}, "cascade", regen, false, 20, kudos(20), kudos(21)},
		{"10 Flux", 20, Image{}, Order{SlowOK: true}, "flux", regen, false, 160, kudos(160), kudos(161)},
		{"Z-Image", 20, Image{}, Order{SlowOK: true}, "z", regen, false, 160, kudos(160), kudos(161)},
		{"11 Qwen", 20, Image{}, Order{SlowOK: true}, "qwen", regen, false, 240, kudos(240), kudos(241)},
		{"13 censored", 10, Image{}, Order{Blacklist: true}, "sd", regen, true, 10, kudos(10), kudos(1.32)},
		{"14 older reGen", 10, Image{}, Order{SlowOK: true}, "sd", "AI Horde Worker reGen:12:x", false, 10, kudos(9), kudos(11)},
		{"14 other bridge", 10, Image{}, Order{SlowOK: true}, "sd", "mine:99:x", false, 10, kudos(7.5), kudos(11)},
		{"19 dearer than its reward", 7.80, Image{PostProcessing: []string{"4xNomos8kSC"}}, Order{SlowOK: true}, "sd", regen, false, 7.80, kudos(7.80), kudos(9.19)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := NewList(ref)
			r := &horde.Request{Kind: horde.KindImage, Things: 77}
			r.Shape.HiresFix, r.Shape.Workflow = tt.image.HiresFix, tt.image.Workflow
			r.Quote.Job = kudos(tt.job)
			r.Quote.PrePPM, r.Quote.PostPPM = Surcharge(tt.image, tt.order)
			got := l.Price(r, tt.model, tt.agent, true, nil, tt.censored)
			want := horde.Price{Reward: tt.reward, Credit: tt.credit, Debit: tt.debit, Things: 77}
			if got != want {
				t.Errorf("Price = %+v, want %+v", got, want)
			}
		})
	}
}

func TestImageBase(t *testing.T) {
	with := func(change func(*Image)) Image {
		i := plain()
		change(&i)
		return i
	}
	for _, tt := range []struct {
		name  string
		image Image
		want  horde.Kudos
	}{
		{"common", plain(), 622},
		{"sampler nobody knows", with(func(i *Image) { i.Sampler = "dpmsolver" }), 622},
		{"textual inversions", with(func(i *Image) { i.TIs = 4 }), 722},
		{"LoRAs", with(func(i *Image) { i.LoRAs = make([]LoRA, 3) }), 1522},
		{"a source makes no difference but by the fit", with(func(i *Image) { i.Processing = "inpainting" }), 622},
		{"19 unknown post-processor: legacy", Image{Width: 512, Height: 512, Steps: 30, PostProcessing: []string{"4xNomos8kSC"}}, 780},
		{"18 legacy, two post-processors", Image{Width: 512, Height: 512, Steps: 50, PostProcessing: []string{"RestoreFormer", "GFPGAN"}}, 1560},
		{"18 legacy, unknown control type", Image{Width: 512, Height: 512, Steps: 50, ControlType: "mlsd"}, 3249},
		{"legacy, control map only", Image{Width: 512, Height: 512, Steps: 50, ControlType: "mlsd", ReturnControlMap: true}, 1083},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.image.Base(); got != tt.want {
				t.Errorf("Base = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLegacy(t *testing.T) {
	for _, tt := range []struct {
		width, height, steps int
		want                 horde.Kudos
	}{{512, 512, 50, 1083}, {1024, 1024, 30, 3604}, {64, 64, 30, 370}, {0, 0, 30, 370}} {
		if got := (Image{Width: tt.width, Height: tt.height, Steps: tt.steps}).Legacy(); got != tt.want {
			t.Errorf("%dx%d, %d steps = %v, want %v", tt.width, tt.height, tt.steps, got, tt.want)
		}
	}
}

// The figures are answers to dry runs; those of the learned price may be off by their share
// of the learning error.
func TestImageEstimate(t *testing.T) {
	l := NewList(ref)
	with := func(change func(*Image)) Image {
		i := plain()
		change(&i)
		return i
	}
	slow := Order{N: 1, SlowOK: true, Models: []string{"sd"}}
	for _, tt := range []struct {
		name  string
		image Image
		order Order
		want  float64
	}{
		{"plain", plain(), slow, 8},
		{"four", plain(), Order{N: 4, SlowOK: true, Models: []string{"sd"}}, 30},
		{"1024", with(func(i *Image) { i.Width, i.Height = 1024, 1024 }), slow, 17},
		{"SDXL", plain(), Order{N: 1, SlowOK: true, Models: []string{"xl", "flux"}}, 15},
		{"no model counts as SDXL", plain(), Order{N: 1, SlowOK: true}, 15},
		{"Flux", with(func(i *Image) { i.Steps = 4 }), Order{N: 1, SlowOK: true, Models: []string{"flux"}}, 46},
		{"heun", with(func(i *Image) { i.Sampler, i.Steps = "k_heun", 50 }), slow, 21},
		{"upscaler", with(func(i *Image) { i.PostProcessing = []string{"RealESRGAN_x4plus"} }), slow, 11},
		{"img2img", with(func(i *Image) { i.Source, i.Processing, i.Denoise = true, "img2img", 0.5 }), slow, 9},
		{"LoRAs and a TI", with(func(i *Image) { i.LoRAs, i.TIs = make([]LoRA, 2), 1 }), slow, 15},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := math.RoundToEven(l.ImageEstimate(tt.image, tt.order)); got != tt.want {
				t.Errorf("estimate = %v, want %v", got, tt.want)
			}
		})
	}
	if got := l.ImageEstimate(plain(), Order{N: 1}); math.Abs(got-(7.22*1.2*2+1)) > 1e-9 {
		t.Errorf("fast only = %v, want %v", got, 7.22*1.2*2+1)
	}
}

func TestDebitOfHugeRewards(t *testing.T) {
	q := horde.Quote{PrePPM: 1_365_000, PostPPM: 1_320_000}
	for _, reward := range []horde.Kudos{0, 1, 622, horde.Whole(50_000), horde.Whole(1_000_000), horde.Whole(10_000_000)} {
		got, want := Debit(reward, q, false), math.Round((float64(reward)*1.365+100)*1.32)
		if math.Abs(float64(got)-want) > 1 {
			t.Errorf("Debit(%v) = %v, want %v", reward, got, horde.Kudos(want))
		}
	}
}

func TestSteps(t *testing.T) {
	for _, tt := range []struct {
		sampler string
		want    int
	}{{"k_euler", 30}, {"k_heun", 60}, {"k_dpm_2", 60}, {"k_dpm_2_a", 60}, {"k_dpmpp_2s_a", 60}, {"k_dpmpp_sde", 60}, {"k_dpm_adaptive", 40}, {"", 30}} {
		if got := AccurateSteps(tt.sampler, 30); got != tt.want {
			t.Errorf("AccurateSteps(%q, 30) = %d, want %d", tt.sampler, got, tt.want)
		}
	}
}

func TestImageTTL(t *testing.T) {
	l := NewList(ref)
	for _, tt := range []struct {
		name   string
		image  Image
		models []string
		want   int
	}{
		{"at least 150", plain(), nil, 150},
		{"100 steps", Image{Width: 512, Height: 512, Steps: 100}, nil, 230},
		{"doubled sampler", Image{Width: 512, Height: 512, Steps: 100, Sampler: "k_heun"}, nil, 430},
		{"control", Image{Width: 512, Height: 512, Steps: 100, ControlType: "canny"}, nil, 460},
		{"one heavy model", Image{Width: 512, Height: 512, Steps: 100}, []string{"sd", "qwen"}, 690},
		{"heavy but short", Image{Width: 512, Height: 512, Steps: 4}, []string{"flux"}, 150},
		{"SDXL is not heavy", Image{Width: 512, Height: 512, Steps: 100}, []string{"xl"}, 230},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := l.ImageTTL(tt.image, tt.models); got != tt.want {
				t.Errorf("TTL = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestSafeBatch(t *testing.T) {
	for _, tt := range []struct {
		name      string
		image     Image
		maxPixels int64
		amount    int
		want      int
	}{
		{"room for all", Image{Width: 512, Height: 512}, 4 << 20, 4, 4},
		{"a quarter of the room", Image{Width: 1024, Height: 1024}, 1 << 20, 7, 2},
		{"never none", Image{Width: 3072, Height: 3072}, 1 << 18, 5, 1},
		{"ties to even", Image{Width: 1024, Height: 1024}, 7 << 19, 5, 5},
		{"post-processor", Image{Width: 512, Height: 512, PostProcessing: []string{"GFPGAN"}}, 1 << 20, 5, 4},
		{"heavy post-processor", Image{Width: 512, Height: 512, PostProcessing: []string{"CodeFormers"}}, 1 << 20, 5, 2},
		{"transparent", Image{Width: 512, Height: 512, Transparent: true}, 1 << 20, 5, 3},
		{"no size", Image{}, 1 << 20, 5, 1},
		{"nothing asked", Image{Width: 512, Height: 512}, 1 << 20, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := SafeBatch(tt.image, tt.maxPixels, tt.amount); got != tt.want {
				t.Errorf("SafeBatch = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestImageTax(t *testing.T) {
	for _, tt := range []struct {
		extra int
		want  horde.Kudos
	}{{0, 300}, {3, 1800}} {
		if got := ImageTax(tt.extra); got != tt.want {
			t.Errorf("ImageTax(%d) = %v, want %v", tt.extra, got, tt.want)
		}
	}
	q := NewList(ref).ImageQuote(plain(), Order{SlowOK: true, N: 3})
	if want := (horde.Quote{Job: 622, Tax: 300, PrePPM: million, PostPPM: million}); q != want {
		t.Errorf("ImageQuote = %+v, want %+v", q, want)
	}
}
