package match

import (
	"maps"
	"testing"

	"hordenode/internal/horde"
)

// reference is a model reference for tests.
type reference struct{}

func (reference) Image(name string) (ImageModel, bool) {
	m, ok := map[string]ImageModel{
		"sd":      {Baseline: "stable diffusion 1"},
		"inpaint": {Baseline: "stable diffusion 1", Inpainting: true},
		"xl":      {Baseline: "stable_diffusion_xl"},
		"cascade": {Baseline: "stable_cascade"},
		"flux":    {Baseline: "flux_1"},
		"turbo":   {Baseline: "stable diffusion 1", MinSteps: 4, MaxSteps: 12},
	}[name]
	return m, ok
}

func (reference) Parameters(name string) (float64, bool) {
	n, ok := map[string]float64{"7b": 7, "13b": 13, "20b": 20}[name]
	if !ok {
		return 1, false
	}
	return n, true
}

var (
	wid   = horde.WorkerID{UUID: horde.UUID{1}}
	other = horde.WorkerID{UUID: horde.UUID{2}}
)

const (
	regen = "AI Horde Worker reGen:13:x"
	owner = horde.UserID(7)
	alice = horde.UserID(8)
)

func imageCaps() horde.Caps {
	return horde.Caps{
		BridgeAgent: regen, Models: []string{"sd"}, NSFW: true, Threads: 1, MaxPixels: 512 * 512,
		Img2Img: true, Painting: true, UnsafeIP: true, PostProcessing: true, ControlNet: true,
		SDXLControlNet: true, LoRA: true,
	}
}

func TestCheckImage(t *testing.T) {
	type (
		W = Worker
		C = horde.Caps
		S = horde.Shape
		P = Payer
	)
	for _, tt := range []struct {
		name string
		w    func(*W)
		c    func(*C)
		s    func(*S)
		p    func(*P)
		want Reason
	}{
		{name: "plain"},
		{name: "other kind", w: func(w *W) { w.Kind = horde.KindText }, want: NotModels},
		// 5.3.1
		{name: "exactly as large", s: func(s *S) { s.Pixels = 512 * 512 }},
		{name: "too large", s: func(s *S) { s.Pixels = 512*512 + 1 }, want: TooLarge},
		{name: "one of its models", s: func(s *S) { s.Models = []string{"xl", "sd"} }},
		{name: "none of its models", s: func(s *S) { s.Models = []string{"xl"} }, want: NotModels},
		{name: "any model", s: func(s *S) { s.Models = nil }},
		{name: "any model, special worker", c: func(c *C) { c.Models = []string{"horde_special_x::a#1"} }, s: func(s *S) { s.Models = nil }, want: NotModels},
		{name: "special model named", c: func(c *C) { c.Models = []string{"horde_special_x::a#1"} }, s: func(s *S) { s.Models = []string{"horde_special_x::a#1"} }},
		{name: "any model, beta worker", c: func(c *C) { c.Models = []string{"sd", sdxlBeta} }, s: func(s *S) { s.Models = nil }, want: NotModels},
		{name: "source", s: func(s *S) { s.Source = true }},
		{name: "source not allowed", c: func(c *C) { c.Img2Img = false }, s: func(s *S) { s.Source = true }, want: NoImg2Img},
		{name: "painting not allowed", c: func(c *C) { c.Painting = false }, s: func(s *S) { s.Processing = "outpainting" }, want: NoPainting},
		{name: "remix is no painting", c: func(c *C) { c.Painting = false }, s: func(s *S) { s.Processing = "remix" }},
		{name: "extra sources", s: func(s *S) { s.ExtraSources = true }},
		{name: "extra sources, old bridge", c: func(c *C) { c.BridgeAgent = "AI Horde Worker reGen:4:x" }, s: func(s *S) { s.ExtraSources = true }, want: BridgeVersion},
		{name: "unsafe ip", s: func(s *S) { s.UnsafeIP = true }},
		{name: "unsafe ip not allowed", c: func(c *C) { c.UnsafeIP = false }, s: func(s *S) { s.UnsafeIP = true }, want: NoUnsafeIP},
		{name: "nsfw", s: func(s *S) { s.NSFW = true }},
		{name: "nsfw not allowed", c: func(c *C) { c.NSFW = false }, s: func(s *S) { s.NSFW = true }, want: NoNSFW},
		{name: "r2", s: func(s *S) { s.R2 = true }},
		{name: "r2, unknown bridge", c: func(c *C) { c.BridgeAgent = "mine:1:x" }, s: func(s *S) { s.R2 = true }, want: BridgeVersion},
		{name: "base64, unknown bridge", c: func(c *C) { c.BridgeAgent = "mine:1:x" }},
		{name: "lora not allowed", c: func(c *C) { c.LoRA = false }, s: func(s *S) { s.LoRAs = true }, want: NoLoRA},
		{name: "lora, old bridge", c: func(c *C) { c.BridgeAgent = "AI Horde Worker:21:x" }, s: func(s *S) { s.LoRAs = true }, want: BridgeVersion},
		{name: "ti, old bridge", c: func(c *C) { c.BridgeAgent = "AI Horde Worker:23:x" }, s: func(s *S) { s.TIs = true }, want: BridgeVersion},
		{name: "control not allowed", c: func(c *C) { c.ControlNet = false }, s: func(s *S) { s.ControlType = "canny" }, want: NoControlNet},
		{name: "control, old bridge", c: func(c *C) { c.BridgeAgent = "AI Horde Worker:14:x" }, s: func(s *S) { s.ControlType = "canny" }, want: BridgeVersion},
		{name: "new worker is fast", w: func(w *W) { w.Speed = 0 }, s: func(s *S) { s.SlowOK = false }},
		{name: "exactly fast", w: func(w *W) { w.Speed = 500_000 }, s: func(s *S) { s.SlowOK = false }},
		{name: "slow", w: func(w *W) { w.Speed = 499_999 }, s: func(s *S) { s.SlowOK = false }, want: TooSlow},
		{name: "slow allowed", w: func(w *W) { w.Speed = 1 }},
		{name: "extra slow", c: func(c *C) { c.ExtraSlow = true }, want: TooSlow},
		{name: "extra slow allowed", c: func(c *C) { c.ExtraSlow = true }, s: func(s *S) { s.ExtraSlowOK = true }},
		{name: "transparent", s: func(s *S) { s.Transparent = true }},
		{name: "transparent, old bridge", c: func(c *C) { c.BridgeAgent = "AI Horde Worker reGen:7:x" }, s: func(s *S) { s.Transparent = true }, want: BridgeVersion},
		{name: "transparent, no sdxl controlnet", c: func(c *C) { c.SDXLControlNet = false }, s: func(s *S) { s.Transparent = true }, want: NoControlNet},
		{name: "maintenance", w: func(w *W) { w.Maintenance = true }, want: InMaintenance},
		{name: "maintenance, own request", w: func(w *W) { w.Maintenance = true }, p: func(p *P) { p.ID = owner }},
		{name: "paused gets decoys", w: func(w *W) { w.Paused = true }},
		{name: "on the list", s: func(s *S) { s.Workers = []horde.WorkerID{other, wid} }},
		{name: "not on the list", s: func(s *S) { s.Workers = []horde.WorkerID{other} }, want: NotTargeted},
		{name: "denied", s: func(s *S) { s.Workers, s.WorkersDeny = []horde.WorkerID{other, wid}, true }, want: NotTargeted},
		{name: "not denied", s: func(s *S) { s.Workers, s.WorkersDeny = []horde.WorkerID{other}, true }},
		{name: "empty deny list", s: func(s *S) { s.WorkersDeny = true }},
		// 5.3.2
		{name: "4 trusted only", s: func(s *S) { s.TrustedOnly = true }, want: Untrusted},
		{name: "4 trusted", w: func(w *W) { w.OwnerTrusted = true }, s: func(s *S) { s.TrustedOnly = true }},
		{name: "8 source, bridge cannot", c: func(c *C) { c.BridgeAgent = "mine:1:x" }, s: func(s *S) { s.Source = true }, want: NoImg2Img},
		{name: "9 painting, bridge cannot", c: func(c *C) { c.BridgeAgent = "HordeAutoWebBridge:2:x"; c.Models = []string{"inpaint"} }, s: func(s *S) { s.Models = nil; s.Processing = "inpainting" }, want: NoPainting},
		{name: "9 painting, no model for it", s: func(s *S) { s.Processing = "inpainting" }, want: NotModels},
		{name: "9 painting", c: func(c *C) { c.Models = []string{"sd", "inpaint"} }, s: func(s *S) { s.Processing = "inpainting" }},
		{name: "10 only inpainting models", c: func(c *C) { c.Models = []string{"inpaint"} }, s: func(s *S) { s.Models = nil }, want: NotModels},
		{name: "11 sampler", s: func(s *S) { s.Sampler = "lcm" }},
		{name: "11 sampler not with karras", c: func(c *C) { c.BridgeAgent = "AI Horde Worker:24:x" }, s: func(s *S) { s.Sampler, s.Karras = "DDIM", true }, want: BridgeVersion},
		{name: "11 sampler without karras", c: func(c *C) { c.BridgeAgent = "AI Horde Worker:24:x" }, s: func(s *S) { s.Sampler = "DDIM" }},
		{name: "11 sampler unknown", s: func(s *S) { s.Sampler = "mine" }, want: BridgeVersion},
		{name: "12 post-processor", s: func(s *S) { s.PostProcessing = []string{"GFPGAN", "RestoreFormer"} }},
		{name: "12 post-processor of a later bridge", c: func(c *C) { c.BridgeAgent = "AI Horde Worker reGen:12:x" }, s: func(s *S) { s.PostProcessing = []string{"GFPGAN", "RestoreFormer"} }, want: BridgeVersion},
		{name: "12 post-processing, bridge cannot", c: func(c *C) { c.BridgeAgent = "SD-WebUI Stable Horde Worker Bridge:4:x" }, s: func(s *S) { s.PostProcessing = []string{"CodeFormers"} }, want: BridgeVersion},
		{name: "14 tiling", c: func(c *C) { c.BridgeAgent = "AI Horde Worker:24:x" }, s: func(s *S) { s.Tiling = true }, want: BridgeVersion},
		{name: "14 control map", c: func(c *C) { c.BridgeAgent = "AI Horde Worker:17:x" }, s: func(s *S) { s.ReturnControl = true }, want: BridgeVersion},
		{name: "15 image is control", c: func(c *C) { c.BridgeAgent = "AI Horde Worker:22:x" }, s: func(s *S) { s.ControlType, s.ImageIsControl = "canny", true }, want: BridgeVersion},
		{name: "16 qr code, old bridge", c: func(c *C) { c.BridgeAgent = "AI Horde Worker reGen:6:x" }, s: func(s *S) { s.Workflow = "qr_code" }, want: BridgeVersion},
		{name: "16 qr code, sdxl without controlnet", c: func(c *C) { c.Models = []string{"sd", "xl"}; c.SDXLControlNet = false }, s: func(s *S) { s.Workflow = "qr_code" }, want: NoControlNet},
		{name: "16 qr code", s: func(s *S) { s.Workflow = "qr_code" }},
		{name: "17 hires fix, old bridge", c: func(c *C) { c.BridgeAgent = "AI Horde Worker:12:x" }, s: func(s *S) { s.HiresFix = true }, want: BridgeVersion},
		{name: "17 hires fix with cascade, old bridge", c: func(c *C) { c.BridgeAgent = "AI Horde Worker reGen:5:x"; c.Models = []string{"sd", "cascade"} }, s: func(s *S) { s.HiresFix = true }, want: BridgeVersion},
		{name: "17 hires fix with cascade", c: func(c *C) { c.Models = []string{"sd", "cascade"} }, s: func(s *S) { s.HiresFix = true }},
		{name: "18 flux hosted, old bridge", c: func(c *C) { c.BridgeAgent = "AI Horde Worker reGen:8:x"; c.Models = []string{"sd", "flux"} }, want: BridgeVersion},
		{name: "18 flux hosted", c: func(c *C) { c.Models = []string{"sd", "flux"} }},
		{name: "19 clip skip", c: func(c *C) { c.BridgeAgent = "AI Horde Worker:12:x" }, s: func(s *S) { s.ClipSkip = 2 }, want: BridgeVersion},
		{name: "19 clip skip 1", c: func(c *C) { c.BridgeAgent = "AI Horde Worker:12:x" }, s: func(s *S) { s.ClipSkip = 1 }},
		{name: "20 lora versions", c: func(c *C) { c.BridgeAgent = "AI Horde Worker reGen:2:x" }, s: func(s *S) { s.LoRAs, s.LoRAVersions = true, true }, want: BridgeVersion},
		{name: "22 steps at the limit", c: func(c *C) { c.LimitMaxSteps = true }, s: func(s *S) { s.AccurateSteps = 30 }},
		{name: "22 steps", c: func(c *C) { c.LimitMaxSteps = true }, s: func(s *S) { s.AccurateSteps = 31 }, want: TooManySteps},
		{name: "22 steps of the worker's models", c: func(c *C) { c.LimitMaxSteps = true; c.Models = []string{"sd", "turbo"} }, s: func(s *S) { s.AccurateSteps = 9 }, want: TooManySteps},
		{name: "22 steps of the request's models", c: func(c *C) { c.LimitMaxSteps = true; c.Models = []string{"sd", "turbo"} }, s: func(s *S) { s.Models = []string{"sd", "xl"}; s.AccurateSteps = 9 }},
		{name: "22 steps not limited", s: func(s *S) { s.AccurateSteps = 500 }},
		{name: "23 unsafe payer", s: func(s *S) { s.UnsafeIP = true }, p: func(p *P) { p.Trusted = false }, want: Untrusted},
		{name: "23 unsafe payer, trusted owner", w: func(w *W) { w.OwnerTrusted = true }, s: func(s *S) { s.UnsafeIP = true }, p: func(p *P) { p.Trusted = false }},
		{name: "24 post-processing not allowed", c: func(c *C) { c.PostProcessing = false }, s: func(s *S) { s.PostProcessing = []string{"GFPGAN"} }, want: NoPostProcessing},
		{name: "25 upfront, poor", c: func(c *C) { c.RequireUpfront = true }, p: func(p *P) { p.Trusted, p.Spendable, p.Job = false, 99, 100 }, want: TooFewKudos},
		{name: "25 upfront, just enough", c: func(c *C) { c.RequireUpfront = true }, p: func(p *P) { p.Trusted, p.Spendable, p.Job = false, 100, 100 }},
		{name: "25 upfront, trusted", c: func(c *C) { c.RequireUpfront = true }, p: func(p *P) { p.Job = 100 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			caps := imageCaps()
			w := Worker{ID: wid, Kind: horde.KindImage, Owner: owner, Speed: 1e6}
			s := horde.Shape{Kind: horde.KindImage, Models: []string{"sd"}, SlowOK: true, Pixels: 64 * 64, AccurateSteps: 10, Sampler: "k_euler"}
			p := Payer{ID: alice, Trusted: true}
			if tt.c != nil {
				tt.c(&caps)
			}
			w.Profile = NewProfile(w.Kind, caps, reference{})
			if tt.w != nil {
				tt.w(&w)
			}
			if tt.s != nil {
				tt.s(&s)
			}
			if tt.p != nil {
				tt.p(&p)
			}
			if got := Check(&w, &s, p); got != tt.want {
				t.Errorf("Check = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCheckText(t *testing.T) {
	type (
		W = Worker
		C = horde.Caps
		S = horde.Shape
	)
	for _, tt := range []struct {
		name  string
		w     func(*W)
		c     func(*C)
		s     func(*S)
		payer horde.UserID
		want  Reason
	}{
		{name: "plain"},
		{name: "exactly as long", s: func(s *S) { s.MaxLength, s.MaxContextLength = 512, 2048 }},
		{name: "too long", s: func(s *S) { s.MaxLength = 513 }, want: MaxLength},
		{name: "context too long", s: func(s *S) { s.MaxContextLength = 2049 }, want: MaxContextLength},
		{name: "other model", s: func(s *S) { s.Models = []string{"7B"} }, want: NotModels},
		{name: "any model, special worker", c: func(c *C) { c.Models = []string{"horde_special::a#1"} }, s: func(s *S) { s.Models = nil }},
		{name: "not on the list", s: func(s *S) { s.Workers = []horde.WorkerID{other} }, want: NotTargeted},
		{name: "new worker is slow", w: func(w *W) { w.Speed = 0 }, s: func(s *S) { s.SlowOK = false }, want: TooSlow},
		{name: "new worker, slow allowed", w: func(w *W) { w.Speed = 0 }},
		{name: "7b at 5", w: func(w *W) { w.Speed = 5 }, s: func(s *S) { s.SlowOK = false }},
		{name: "7b below 5", w: func(w *W) { w.Speed = 4.9 }, s: func(s *S) { s.SlowOK = false }, want: TooSlow},
		{name: "13b at 4", w: func(w *W) { w.Speed = 4 }, c: func(c *C) { c.Models = []string{"13b", "7b"} }, s: func(s *S) { s.SlowOK = false }},
		{name: "20b at 3", w: func(w *W) { w.Speed = 3 }, c: func(c *C) { c.Models = []string{"20b", "7b"} }, s: func(s *S) { s.SlowOK = false }},
		{name: "20b second does not count", w: func(w *W) { w.Speed = 3 }, c: func(c *C) { c.Models = []string{"7b", "20b"} }, s: func(s *S) { s.SlowOK = false }, want: TooSlow},
		{name: "maintenance", w: func(w *W) { w.Maintenance = true }, want: InMaintenance},
		{name: "maintenance, own request", w: func(w *W) { w.Maintenance = true }, payer: owner},
		{name: "validated", s: func(s *S) { s.ValidatedBackends = true }},
		{name: "not validated", c: func(c *C) { c.BridgeAgent = "mine:1:x" }, s: func(s *S) { s.ValidatedBackends = true }, want: BridgeVersion},
		{name: "trusted only", s: func(s *S) { s.TrustedOnly = true }, want: Untrusted},
		{name: "trusted", w: func(w *W) { w.OwnerTrusted = true }, s: func(s *S) { s.TrustedOnly = true }},
		{name: "upfront does not matter", c: func(c *C) { c.RequireUpfront = true }},
		{name: "extra slow does not matter", c: func(c *C) { c.ExtraSlow = true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			caps := horde.Caps{BridgeAgent: "TabbyAPI:1:x", Models: []string{"7b"}, MaxLength: 512, MaxContextLength: 2048}
			w := Worker{ID: wid, Kind: horde.KindText, Owner: owner, Speed: 10}
			s := horde.Shape{Kind: horde.KindText, SlowOK: true, MaxLength: 80, MaxContextLength: 1024}
			if tt.c != nil {
				tt.c(&caps)
			}
			s.Models = caps.Models[:1]
			w.Profile = NewProfile(w.Kind, caps, reference{})
			if tt.w != nil {
				tt.w(&w)
			}
			if tt.s != nil {
				tt.s(&s)
			}
			payer := Payer{ID: alice, Job: 100}
			if tt.payer != 0 {
				payer.ID = tt.payer
			}
			if got := Check(&w, &s, payer); got != tt.want {
				t.Errorf("Check = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSkippedImage(t *testing.T) {
	for _, tt := range []struct {
		name  string
		caps  func(*horde.Caps)
		shape func(*horde.Shape)
		want  map[string]int // beside the zeros
	}{
		{name: "served", want: map[string]int{}},
		{name: "one of two models missing", shape: func(s *horde.Shape) { s.Models = []string{"sd", "xl"} }, want: map[string]int{"models": 1}},
		{name: "two models missing count once", shape: func(s *horde.Shape) { s.Models = []string{"cascade", "xl"} }, want: map[string]int{"models": 1}},
		{name: "exactly as large counts nowhere", shape: func(s *horde.Shape) { s.Pixels = 512 * 512 }, want: map[string]int{}},
		{name: "too large", shape: func(s *horde.Shape) { s.Pixels = 1 << 20 }, want: map[string]int{"max_pixels": 1}},
		{name: "several keys", caps: func(c *horde.Caps) { c.NSFW, c.LoRA = false, false }, shape: func(s *horde.Shape) { s.NSFW, s.LoRAs = true, true }, want: map[string]int{"nsfw": 1, "lora": 1}},
		{name: "bridge once for two causes", caps: func(c *horde.Caps) { c.BridgeAgent = "mine:1:x" }, shape: func(s *horde.Shape) { s.TIs, s.HiresFix = true, true }, want: map[string]int{"bridge_version": 1}},
		{name: "source by bridge", caps: func(c *horde.Caps) { c.BridgeAgent = "mine:1:x" }, shape: func(s *horde.Shape) { s.Source = true }, want: map[string]int{"bridge_version": 1}},
		{name: "source by choice", caps: func(c *horde.Caps) { c.Img2Img = false }, shape: func(s *horde.Shape) { s.Source = true }, want: map[string]int{"img2img": 1}},
		{name: "steps", caps: func(c *horde.Caps) { c.LimitMaxSteps = true }, shape: func(s *horde.Shape) { s.AccurateSteps = 99 }, want: map[string]int{"step_count": 1}},
		{name: "post-processing stays 0", caps: func(c *horde.Caps) { c.PostProcessing = false }, shape: func(s *horde.Shape) { s.PostProcessing = []string{"GFPGAN"} }, want: map[string]int{}},
		{name: "kudos", caps: func(c *horde.Caps) { c.RequireUpfront = true }, want: map[string]int{"kudos": 1}},
		{name: "kudos of what it could serve only", caps: func(c *horde.Caps) { c.RequireUpfront, c.NSFW = true, false }, shape: func(s *horde.Shape) { s.NSFW = true }, want: map[string]int{"nsfw": 1}},
		{name: "trusted only", shape: func(s *horde.Shape) { s.TrustedOnly = true }, want: map[string]int{"untrusted": 1}},
		{name: "extra slow", caps: func(c *horde.Caps) { c.ExtraSlow = true }, want: map[string]int{"performance": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			caps := imageCaps()
			s := horde.Shape{Kind: horde.KindImage, Models: []string{"sd"}, SlowOK: true, Pixels: 64 * 64, AccurateSteps: 10, Sampler: "k_euler"}
			if tt.caps != nil {
				tt.caps(&caps)
			}
			if tt.shape != nil {
				tt.shape(&s)
			}
			w := &Worker{ID: wid, Kind: horde.KindImage, Owner: owner, Speed: 1e6, Profile: NewProfile(horde.KindImage, caps, reference{})}
			q := NewQueue(horde.KindImage, 1)
			put(t, q, horde.Offer{ID: rid(1), Rev: 1, Open: 3, Shape: s, Payer: alice, Job: 100})
			got := q.Skipped(w, func(id horde.UserID) Payer { return Payer{ID: id} }).Map()
			want := map[string]int{}
			for _, r := range skipKeys[:fixedKeys] {
				want[string(r)] = 0
			}
			maps.Copy(want, tt.want)
			if !maps.Equal(got, want) {
				t.Errorf("Skipped = %v, want %v", got, want)
			}
		})
	}
}

func TestSkippedText(t *testing.T) {
	caps := horde.Caps{BridgeAgent: "mine:1:x", Models: []string{"7b"}, MaxLength: 100, MaxContextLength: 2048}
	w := &Worker{ID: wid, Kind: horde.KindText, Owner: owner, Speed: 10, Profile: NewProfile(horde.KindText, caps, reference{})}
	q := NewQueue(horde.KindText, 1)
	base := horde.Shape{Kind: horde.KindText, SlowOK: true, MaxLength: 80}
	for i, change := range []func(*horde.Shape){
		func(s *horde.Shape) { s.TrustedOnly = true },
		func(s *horde.Shape) { s.TrustedOnly = true },
		func(s *horde.Shape) { s.TrustedOnly, s.MaxLength = true, 101 }, // never walked
		func(s *horde.Shape) { s.MaxLength = 101 },
		func(s *horde.Shape) { s.ValidatedBackends = true },
		func(s *horde.Shape) { s.Models = []string{"13b"} },
	} {
		s := base
		change(&s)
		put(t, q, horde.Offer{ID: rid(i), Rev: 1, Open: 1, Shape: s, Payer: alice})
	}
	payers := func(id horde.UserID) Payer { return Payer{ID: id} }
	if got, want := q.Skipped(w, payers).Map(), map[string]int{"untrusted": 2}; !maps.Equal(got, want) {
		t.Errorf("Skipped = %v, want %v", got, want)
	}
	w.Maintenance = true
	if got := q.Skipped(w, payers).Map(); len(got) != 0 {
		t.Errorf("in maintenance Skipped = %v, want none", got)
	}
}

func TestCheckForms(t *testing.T) {
	type (
		W = Worker
		C = horde.Caps
		S = horde.Shape
	)
	for _, tt := range []struct {
		name   string
		change func(*W, *C, *S)
		want   Reason
	}{
		{"fits", func(*W, *C, *S) {}, ""},
		{"one of the forms is enough", func(_ *W, _ *C, s *S) { s.Models = []string{"palette", "caption"} }, ""},
		{"does another form", func(_ *W, c *C, _ *S) { c.Models = []string{"nsfw"} }, NotModels},
		{"does none", func(_ *W, c *C, _ *S) { c.Models = nil }, NotModels},
		{"no form is left", func(_ *W, _ *C, s *S) { s.Models = nil }, NotModels},
		{"a tile too many", func(_ *W, c *C, _ *S) { c.MaxTiles = 3 }, TooLarge},
		{"slow", func(w *W, _ *C, _ *S) { w.Speed = 10 }, TooSlow},
		{"just fast enough", func(w *W, _ *C, _ *S) { w.Speed = 9.999 }, ""},
		{"slow, which is allowed", func(w *W, _ *C, s *S) { w.Speed, s.SlowOK = 60, true }, ""},
		{"trusted only", func(w *W, _ *C, s *S) { s.TrustedOnly, w.OwnerTrusted = true, false }, Untrusted},
		{"in maintenance", func(w *W, _ *C, _ *S) { w.Maintenance = true }, InMaintenance},
		{"paused", func(w *W, _ *C, _ *S) { w.Paused = true }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := W{ID: wid, Kind: horde.KindAlchemy, Owner: owner, OwnerTrusted: true}
			c := C{Models: []string{"caption"}, MaxTiles: 4}
			s := S{Kind: horde.KindAlchemy, Models: []string{"caption"}, Tiles: 4}
			tt.change(&w, &c, &s)
			w.Profile = NewProfile(horde.KindAlchemy, c, reference{})
			if got := Check(&w, &s, Payer{ID: alice}); got != tt.want {
				t.Errorf("Check = %q, want %q", got, tt.want)
			}
		})
	}
}
