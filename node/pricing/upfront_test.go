package pricing

import (
	"testing"

	"hordenode/internal/horde"
)

func TestImageUpfront(t *testing.T) {
	with := func(change func(*Image)) Image {
		i := plain()
		change(&i)
		return i
	}
	square := func(side int) Image { return with(func(i *Image) { i.Width, i.Height = side, side }) }
	slow := func(models ...string) Order { return Order{N: 1, SlowOK: true, Models: models} }
	busy := Load{Threads: 20, Queue: 300} // 954
	for _, tt := range []struct {
		name   string
		image  Image
		order  Order
		load   Load
		needed bool
		limit  int
	}{
		{"34 too large", square(1024), slow("sd"), busy, true, 954},
		{"34 SDXL begins at 1024", square(1024), slow("xl"), busy, false, 1024},
		{"any of the models may be large", square(1024), slow("sd", "cascade"), busy, false, 1024},
		{"Qwen has no such privilege", square(1024), slow("qwen"), busy, true, 954},
		{"34 never below 576", square(576), slow("sd"), Load{Threads: 10, Queue: 1000}, false, 576},
		{"34 above 576", square(640), slow("sd"), Load{Threads: 10, Queue: 1000}, true, 576},
		{"never above 1024", square(1088), slow("xl"), Load{Threads: 1000}, true, 1024},
		{"fast only", plain(), Order{N: 1, Models: []string{"sd"}}, Load{Threads: 10}, true, 1124},
		{"queue rounds to even", square(64), slow("sd"), Load{Queue: 5}, false, 1020}, // round(4.5) = 4
		{"LCM with many steps", with(func(i *Image) { i.Sampler, i.Steps = "lcm", 11 }), slow(), Load{}, true, 1024},
		{"LCM with few steps", with(func(i *Image) { i.Sampler, i.Steps = "lcm", 10 }), slow(), Load{}, false, 1024},
		{"LCM LoRA", with(func(i *Image) { i.LoRAs = []LoRA{{"195519", false}} }), slow(), Load{}, true, 1024},
		{"LCM LoRA version", with(func(i *Image) { i.LoRAs = []LoRA{{"246747", true}} }), slow(), Load{}, true, 1024},
		{"id of a LoRA given as version", with(func(i *Image) { i.LoRAs = []LoRA{{"195519", true}} }), slow(), Load{}, false, 1024},
		{"LoRA with a blank name", with(func(i *Image) { i.LoRAs = []LoRA{{"", true}} }), slow(), Load{}, false, 1024},
		{"steps above the usual 40", with(func(i *Image) { i.Steps = 41 }), slow("sd"), Load{}, true, 1024},
		{"40 steps", with(func(i *Image) { i.Steps = 40 }), slow("sd"), Load{}, false, 1024},
		{"doubled steps", with(func(i *Image) { i.Steps, i.Sampler = 21, "k_heun" }), slow("sd"), Load{}, true, 1024},
		{"model that wants few steps", with(func(i *Image) { i.Steps = 9 }), slow("fifty", "flux"), Load{}, true, 1024},
		{"model that takes many", with(func(i *Image) { i.Steps = 50 }), slow("fifty"), Load{}, false, 1024},
		{"no model, no step limit", with(func(i *Image) { i.Steps = 500 }), slow(), Load{}, false, 1024},
		{"control", with(func(i *Image) { i.Steps, i.ControlType = 21, "canny" }), slow(), Load{}, true, 1024},
		{"control, 20 steps", with(func(i *Image) { i.ControlType = "canny" }), slow(), Load{}, false, 1024},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := NewList(ref).ImageUpfront(tt.image, tt.order, tt.load)
			if got.Needed != tt.needed || got.Limit != tt.limit {
				t.Errorf("got needed %v limit %d, want %v %d", got.Needed, got.Limit, tt.needed, tt.limit)
			}
			if (got.Amount > 0) != tt.needed {
				t.Errorf("amount = %v although needed is %v", got.Amount, got.Needed)
			}
		})
	}
}

// The price to hold leaves the source image out.
func TestImageUpfrontAmount(t *testing.T) {
	i := plain()
	i.Source, i.Processing, i.Denoise = true, "img2img", 0.5
	got := NewList(ref).ImageUpfront(i, Order{N: 2, Models: []string{"sd"}}, Load{}).Amount
	if want := horde.RoundKudos((6.22+1)*1.2*2 + 1); got != want {
		t.Errorf("amount = %v, want %v", got, want)
	}
}

func TestDowngradeImage(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		image                Image
		models               []string
		side                 int
		width, height, steps int
	}{
		{"34 square", Image{Width: 1024, Height: 1024, Steps: 30}, []string{"sd"}, 954, 896, 896, 30},
		{"small enough", Image{Width: 512, Height: 768, Steps: 30}, nil, 954, 512, 768, 30},
		{"keeps its proportions", Image{Width: 2048, Height: 1024, Steps: 30}, nil, 1024, 1408, 704, 30},
		{"not below 512 by 512", Image{Width: 3072, Height: 64, Steps: 30}, nil, 400, 512, 512, 30},
		{"steps", Image{Width: 512, Height: 512, Steps: 100}, nil, 1024, 512, 512, 30},
		{"steps of the strictest model", Image{Width: 512, Height: 512, Steps: 100}, []string{"xl", "flux"}, 1024, 512, 512, 8},
		{"steps of one patient model", Image{Width: 512, Height: 512, Steps: 100}, []string{"fifty"}, 1024, 512, 512, 50},
		{"control", Image{Width: 512, Height: 512, Steps: 40, ControlType: "hed"}, nil, 1024, 512, 512, 20},
		{"LCM", Image{Width: 512, Height: 512, Steps: 40, Sampler: "lcm"}, nil, 1024, 512, 512, 10},
		{"doubled steps", Image{Width: 512, Height: 512, Steps: 40, Sampler: "k_heun"}, nil, 1024, 512, 512, 15},
		{"adaptive", Image{Width: 512, Height: 512, Steps: 40, Sampler: "k_dpm_adaptive"}, nil, 1024, 512, 512, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := NewList(ref).DowngradeImage(tt.image, tt.models, tt.side)
			if got.Width != tt.width || got.Height != tt.height || got.Steps != tt.steps {
				t.Errorf("got %dx%d, %d steps, want %dx%d, %d", got.Width, got.Height, got.Steps, tt.width, tt.height, tt.steps)
			}
		})
	}
}

func TestTextUpfront(t *testing.T) {
	for _, tt := range []struct {
		name   string
		text   Text
		load   Load
		needed bool
		limit  int
		amount horde.Kudos
	}{
		{"fast only", Text{MaxLength: 80, N: 1}, Load{Threads: 100}, true, 1012, 2000},
		{"35 clamped up", Text{MaxLength: 300, SlowOK: true, N: 1}, Load{Queue: 300}, true, 256, 2000},
		{"35 in between", Text{MaxLength: 267, SlowOK: true, N: 1}, Load{Threads: 5, Queue: 300}, false, 267, 0},
		{"clamped down", Text{MaxLength: 513, SlowOK: true, N: 1}, Load{Threads: 100}, true, 512, 2000},
		{"26 by size", Text{MaxLength: 600, Models: []string{"7B", "13B"}, N: 2, SlowOK: true}, Load{}, true, 512, 74286},
		{"unknown model", Text{MaxLength: 600, Models: []string{"?"}, N: 1, SlowOK: true}, Load{}, true, 512, 2857},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := NewList(ref).TextUpfront(tt.text, tt.load)
			if want := (Upfront{tt.needed, tt.amount, tt.limit}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	if got := DowngradeText(600, 267); got != 267 {
		t.Errorf("DowngradeText = %d, want 267", got)
	}
	if got := DowngradeText(80, 267); got != 80 {
		t.Errorf("DowngradeText = %d, want 80", got)
	}
}
