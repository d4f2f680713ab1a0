package pricing

import (
	"encoding/csv"
	"math"
	"os"
	"strconv"
	"testing"

	"hordenode/internal/horde"
)

// reference is a model reference made of two maps.
type reference struct {
	baselines map[string]string
	maxSteps  map[string]int
	sizes     map[string]float64
}

func (r reference) Baseline(m string) string {
	if b, ok := r.baselines[m]; ok {
		return b
	}
	return "stable diffusion 1"
}

func (r reference) MaxSteps(m string) (int, bool) {
	n, ok := r.maxSteps[m]
	return n, ok
}

func (r reference) Parameters(m string) (float64, bool) {
	if b, ok := r.sizes[m]; ok {
		return b, true
	}
	return 1, false
}

var ref = reference{
	baselines: map[string]string{
		"xl": "stable_diffusion_xl", "SDXL 1.0": "stable_diffusion_xl", "cascade": "stable_cascade",
		"flux": "flux_1", "qwen": "qwen_image", "z": "z_image_turbo",
	},
	maxSteps: map[string]int{"xl": 40, "flux": 8, "fifty": 50},
	sizes:    map[string]float64{"1.1B": 1.1, "7B": 7, "8B": 8, "13B": 13, "70B": 70},
}

// table reads a CSV file of testdata as one map per line.
func table(t *testing.T, name string) []map[string]string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, rec := range records[1:] {
		m := map[string]string{}
		for i, c := range rec {
			m[records[0][i]] = c
		}
		out = append(out, m)
	}
	return out
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Every published text price is met: settlements to the last bit, dry runs to the hundredth.
func TestPublishedTextPrices(t *testing.T) {
	rows := table(t, "text_prices.csv")
	for n, r := range rows {
		line := n + 2
		sizes := reference{sizes: map[string]float64{}}
		if r["params_B"] != "" {
			sizes.sizes[r["model"]] = number(t, r["params_B"])
		}
		length := int(number(t, r["max_length"]))
		want := number(t, r["kudos"])
		if r["kind"] == "dry_run" {
			q := Text{MaxLength: length, MaxContext: int(number(t, r["max_context_length"])), N: 1}
			if r["model"] != "" {
				q.Models = []string{r["model"]}
			}
			if got := NewList(sizes).textDryRun(q); math.Abs(got-want) > 1e-9 {
				t.Errorf("line %d: dry run = %v, want %v", line, got, want)
			}
			continue
		}
		s := Settlement{
			MaxLength:       length,
			PromptChars:     int(number(t, r["prompt_chars"])),
			GenerationChars: int(number(t, r["generation_chars"])),
			OwnerTrusted:    r["owner_trusted"] == "true",
			Validated:       r["validated_agent"] == "true",
		}
		s.Size, s.Known = sizes.Parameters(r["model"])
		if got := s.Reward(); math.Abs(got-want) > 1e-9 {
			t.Errorf("line %d: reward = %v, want %v", line, got, want)
		}
	}
	if len(rows) != 3847 {
		t.Errorf("%d rows, want 3847", len(rows))
	}
}

// Every published uptime reward is met.
func TestPublishedUptimeRewards(t *testing.T) {
	rows := table(t, "uptime_rewards.csv")
	for n, r := range rows {
		sizes := reference{sizes: map[string]float64{}}
		if r["params_B"] != "" {
			sizes.sizes[r["models"]] = number(t, r["params_B"])
		}
		c := horde.Caps{Models: make([]string, int(number(t, r["model_count"]))), LoRA: r["allow_lora"] == "true"}
		kind := horde.KindImage
		if r["worker"] == "text" {
			kind = horde.KindText
			c.Models = []string{r["models"]}
			c.MaxContextLength = int(number(t, r["max_context_length"]))
			if r["validated_agent"] == "true" {
				c.BridgeAgent = "AI Horde Worker:1:x"
			}
		}
		if got, want := NewList(sizes).Uptime(kind, c), horde.RoundKudos(number(t, r["kudos"])); got != want {
			t.Errorf("line %d: uptime reward = %v, want %v", n+2, got, want)
		}
	}
	if len(rows) != 258 {
		t.Errorf("%d rows, want 258", len(rows))
	}
	if got := NewList(reference{}).Uptime(horde.KindAlchemy, horde.Caps{}); got != horde.Whole(40) {
		t.Errorf("alchemist = %v, want 40.00", got)
	}
}

// published reads the published image prices.
func published(t *testing.T, name string) []Published {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	rows, err := ReadPublished(f)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// The published image prices are met exactly where the formula is known, and closely where
// it was learned. What the fit says of rows that it never saw is in fit/README.md.
func TestPublishedImagePrices(t *testing.T) {
	rows := published(t, "image_prices.csv")
	var sum, worst float64
	learned, exact := 0, 0
	for n, r := range rows {
		line := n + 2
		if r.Things != r.Image.Things() {
			t.Errorf("line %d: things = %d, want %d", line, r.Image.Things(), r.Things)
		}
		// The debit is checked with the published price, so that errors of the fit stay out.
		pre, post := Surcharge(r.Image, Order{SlowOK: true})
		if got := (r.Kudos.Float()*ppm(pre) + 1) * ppm(post); math.Abs(got-r.Debit) > 0.0101 {
			t.Errorf("line %d: debit = %v, want %v", line, got, r.Debit)
		}
		got := r.Image.Base()
		if _, ok := Features(r.Image); !ok {
			if got != r.Kudos {
				t.Errorf("line %d: legacy price = %v, want %v", line, got, r.Kudos)
			}
			continue
		}
		learned++
		if got == r.Kudos {
			exact++
		}
		e := math.Abs(float64(got-r.Kudos)) / float64(r.Kudos)
		sum, worst = sum+e, max(worst, e)
	}
	t.Logf("%d learned rows: %d exact, mean error %.2f %%, worst %.2f %%", learned, exact, 100*sum/float64(learned), 100*worst)
	if mean := sum / float64(learned); mean > 0.01 {
		t.Errorf("mean error = %.4f, want 0.01 at most", mean)
	}
	if worst > 0.15 {
		t.Errorf("worst error = %.4f, want 0.15 at most", worst)
	}
	if len(rows) != 5600 {
		t.Errorf("%d rows, want 5600", len(rows))
	}
}

// Prices seen in recorded calls are met exactly.
func TestRecordedImagePrices(t *testing.T) {
	for n, r := range published(t, "recorded_prices.csv") {
		if got := r.Image.Base(); got != r.Kudos {
			t.Errorf("line %d: %+v costs %v, want %v", n+2, r.Image, got, r.Kudos)
		}
	}
}

// A price must not depend on what the network does far outside of what it learned.
func TestImagePriceStaysInBounds(t *testing.T) {
	for _, i := range []Image{
		{},
		{Width: -5, Height: -5, Steps: -5, CFG: -100},
		{Width: 1 << 30, Height: 1 << 30, Steps: 1 << 30, CFG: 1e300, Denoise: 1e300, Source: true},
		{Width: 512, Height: 512, Steps: 30, CFG: math.NaN(), Denoise: math.Inf(-1), Source: true, Sampler: "x"},
		{Width: 3072, Height: 3072, Steps: 500, CFG: 100, Sampler: "k_dpmpp_sde", HiresFix: true},
	} {
		if got := i.Base(); got < horde.Whole(2) || got > horde.Whole(1_000_000) {
			t.Errorf("%+v costs %v", i, got)
		}
	}
}
