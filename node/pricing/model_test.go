package pricing

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"hordenode/internal/horde"
)

func modelFile(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/model.npz")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The network has layers of 8, 6, 5 and 1 with random numbers; numpy made it, and found the
// prices in float32 by the rules of spec/kudos.md section 12.2.
func TestModelAgreesWithNumpy(t *testing.T) {
	m, err := NewModel(modelFile(t))
	if err != nil {
		t.Fatal(err)
	}
	payload := func(change func(*Image)) Image {
		i := ImageDefaults()
		change(&i)
		return i
	}
	for _, tt := range []struct {
		name  string
		image Image
		want  string
	}{
		{"defaults", ImageDefaults(), "16.16"},
		{"basis", basisPayload(), "11.00"},
		{"large", payload(func(i *Image) { i.Width, i.Height = 1024, 1024 }), "19.32"},
		{"control type with a source", payload(func(i *Image) {
			i.Width, i.Steps, i.CFG, i.ControlType, i.Denoise, i.Sampler = 768, 30, 8.5, "canny", .42, "k_dpmpp_2m"
			i.Source, i.Processing = true, "img2img"
		}), "35.19"},
		{"post-processing", payload(func(i *Image) {
			i.Steps, i.PostProcessing, i.Sampler = 35, []string{"GFPGAN", "RealESRGAN_x4plus"}, "uni_pc"
		}), "5.01"},
		{"inpainting", payload(func(i *Image) {
			i.Source, i.Mask, i.Processing, i.Denoise, i.Karras, i.HiresFix = true, true, "inpainting", .5, false, true
		}), "22.98"},
		{"extreme", payload(func(i *Image) { i.Width, i.Height, i.Steps, i.CFG, i.Sampler = 3072, 64, 500, 1.25, "k_dpm_adaptive" }), "39.78"},
	} {
		if got, ok := m.Price(tt.image); !ok || got.String() != tt.want {
			t.Errorf("%s: %v, %v, want %s", tt.name, got, ok, tt.want)
		}
	}
	if want := "31cecd2d5726d2428651d75a5ba6f6bc811a01892c13ce2bbf7bbd9fe7ff0974"; m.Hash() != want {
		t.Errorf("Hash = %s, want %s", m.Hash(), want)
	}
}

// Quote, dry run and settlement charge what the model says; what was quoted before stays.
func TestListUsesTheModel(t *testing.T) {
	m, err := NewModel(modelFile(t))
	if err != nil {
		t.Fatal(err)
	}
	l, order := NewList(sizes{}), Order{N: 1, SlowOK: true, Models: []string{"sd"}}
	before := l.ImageQuote(ImageDefaults(), order)
	if got := l.ImageModel(); got != "fitted" {
		t.Errorf("ImageModel = %s, want fitted", got)
	}
	l.Use(m)
	if got := l.ImageModel(); got != m.Hash() {
		t.Errorf("ImageModel = %s, want the hash", got)
	}
	q := l.ImageQuote(ImageDefaults(), order)
	if q.Job.String() != "16.16" {
		t.Errorf("quote = %v, want 16.16", q.Job)
	}
	if got := l.ImageEstimate(ImageDefaults(), order); got < 18.1599 || got > 18.1601 {
		t.Errorf("dry run = %v, want 16.16 + 1 + 1", got)
	}
	settle := func(q horde.Quote) horde.Price {
		return l.Price(&horde.Request{Kind: horde.KindImage, Quote: q}, "sd", "AI Horde Worker reGen:13:x", true, nil, false)
	}
	if got := settle(q); got.Credit.String() != "16.16" || got.Debit.String() != "17.16" {
		t.Errorf("settled: %v and %v, want 16.16 and 17.16", got.Credit, got.Debit)
	}
	if got := settle(before); got.Credit != before.Job {
		t.Errorf("quoted before, settled at %v, want %v", got.Credit, before.Job)
	}
	extra := ImageDefaults()
	extra.LoRAs, extra.TIs = make([]LoRA, 2), 1
	if got := l.ImageQuote(extra, order).Job.String(); got != "23.16" {
		t.Errorf("with LoRAs = %s, want 23.16", got)
	}
	newer := ImageDefaults()
	newer.PostProcessing = []string{"4xNomos8kSC"}
	if got := l.ImageQuote(newer, order).Job; got != newer.Legacy() {
		t.Errorf("newer post-processor = %v, want the legacy price %v", got, newer.Legacy())
	}
	l.Use(nil)
	if got := l.ImageQuote(ImageDefaults(), order); got != before {
		t.Errorf("without the model = %+v, want %+v", got, before)
	}
}

// repack changes the members of an npz file; one that becomes nil is left out.
func repack(t *testing.T, file []byte, change func(name string, data []byte) (string, []byte)) []byte {
	t.Helper()
	in, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	out := zip.NewWriter(&b)
	for _, f := range in.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name, data := change(f.Name, data)
		if data == nil {
			continue
		}
		w, err := out.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNewModelRefuses(t *testing.T) {
	file := modelFile(t)
	without := func(member string) []byte {
		return repack(t, file, func(name string, data []byte) (string, []byte) {
			if name == member {
				return name, nil
			}
			return name, data
		})
	}
	for name, data := range map[string][]byte{
		"empty":           nil,
		"no npz":          []byte("weights"),
		"too long":        make([]byte, MaxModelFile+1),
		"no first layer":  without("w0.npy"),
		"no biases":       without("b2.npy"),
		"a layer missing": without("w3.npy"),
		"swapped layers": repack(t, file, func(name string, data []byte) (string, []byte) {
			if other, ok := map[string]string{"w1.npy": "w2.npy", "w2.npy": "w1.npy"}[name]; ok {
				return other, data
			}
			return name, data
		}),
		"basis takes no time": repack(t, file, func(name string, data []byte) (string, []byte) {
			if name == "b3.npy" {
				copy(data[len(data)-4:], "\x00\x00\x7a\xc4") // -1000
			}
			return name, data
		}),
	} {
		if _, err := NewModel(data); !errors.Is(err, ErrModel) {
			t.Errorf("%s: %v, want ErrModel", name, err)
		}
	}
}
