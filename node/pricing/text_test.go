package pricing

import (
	"math"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

const (
	validated   = "KoboldCppEmbedWorker:2:https://x"
	unvalidated = "mine:1:x"
)

// The cases are those of spec/kudos.md appendix A and spec/text.md section 8.5.
func TestTextSettlement(t *testing.T) {
	for _, tt := range []struct {
		name              string
		length, prompt    int
		generation        string
		model, agent      string
		trusted, censored bool
		reward            float64
		credit, debit     horde.Kudos
	}{
		{"20", 80, 400, strings.Repeat("x", 400), "13B", validated, true, false, 10.44, 1044, 1144},
		{"21", 512, 8000, strings.Repeat("x", 1000), "70B", validated, true, false, 324.37, 32437, 32537},
		{"22 unvalidated", 80, 400, strings.Repeat("x", 400), "13B", unvalidated, true, false, 3.13, 313, 413},
		{"23 unknown, untrusted", 80, 40, "hello", "?", validated, false, false, 1.2113684013193522, 121, 221},
		{"24 unknown, trusted", 80, 400, strings.Repeat("x", 400), "?", unvalidated, true, false, 80 * 1.2550230624 * 0.027, 271, 371},
		{"characters, not bytes", 80, 1000, strings.Repeat("é", 320), "70B", validated, false, false, 78.73, 7873, 7973},
		{"short texts count as 20 tokens", 80, 74, "hello", "13B", validated, false, false, 2.52, 252, 352},
		{"small max_length bounds them", 16, 74, "hello", "13B", validated, false, false, 2.01, 201, 301},
		{"censored", 80, 400, strings.Repeat("x", 400), "13B", validated, true, true, 10.44, 1044, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &horde.Request{Kind: horde.KindText, Things: int64(tt.length), Quote: TextQuote(tt.prompt, false)}
			got := NewList(ref).Price(r, tt.model, tt.agent, tt.trusted, []byte(tt.generation), tt.censored)
			if math.Abs(got.Reward-tt.reward) > 1e-7 {
				t.Errorf("reward = %v, want %v", got.Reward, tt.reward)
			}
			if got.Credit != tt.credit || got.Debit != tt.debit || got.Things != int64(tt.length) {
				t.Errorf("got %+v, want credit %v, debit %v", got, tt.credit, tt.debit)
			}
		})
	}
}

func TestTextEstimate(t *testing.T) {
	for _, tt := range []struct {
		name string
		text Text
		want float64
	}{
		{"25", Text{MaxLength: 80, MaxContext: 2048, N: 1}, 37.36},
		{"70B", Text{MaxLength: 80, MaxContext: 2048, N: 1, Models: []string{"70B"}}, 268.62},
		{"two of 8B", Text{MaxLength: 512, MaxContext: 8192, N: 2, Models: []string{"8B"}}, 973.58},
		{"first model counts", Text{MaxLength: 80, MaxContext: 2048, N: 1, Models: []string{"70B", "?"}}, 268.62},
		{"unknown", Text{MaxLength: 100, MaxContext: 2048, N: 1, Models: []string{"?"}}, 100*0.027*3.4 + 2},
		{"context beyond bounds", Text{MaxLength: 16, MaxContext: 1 << 20, N: 1}, 64.4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := NewList(ref).TextEstimate(tt.text); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("estimate = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestTextTax(t *testing.T) {
	if plain, styled := TextTax(false), TextTax(true); plain != 100 || styled != 300 {
		t.Errorf("tax = %v, styled %v, want 1.00, 3.00", plain, styled)
	}
}

func TestForms(t *testing.T) {
	for _, tt := range []struct {
		form          string
		width, height int
		slow          bool
		price, debit  horde.Kudos
	}{
		{"caption", 64, 64, true, 100, 300},
		{"interrogation", 64, 64, false, 300, 400},
		{"GFPGAN", 1000, 700, true, 1200, 1400},
		{"RealESRGAN_x4plus", 512, 512, false, 300, 400},
		{"strip_background", 513, 512, true, 600, 800},
		{"vectorize", 2048, 2048, true, 100, 300},
		{"describe", 2048, 2048, false, 100, 200},
	} {
		price := FormPrice(tt.form, tt.width, tt.height)
		if price != tt.price {
			t.Errorf("FormPrice(%s) = %v, want %v", tt.form, price, tt.price)
		}
		r := &horde.Request{Kind: horde.KindAlchemy, Shape: horde.Shape{SlowOK: tt.slow}, Forms: []horde.Form{
			{Name: "another", Price: 1}, {Name: tt.form, Price: price},
		}}
		if got := NewList(ref).Price(r, tt.form, "", false, nil, false); got.Debit != tt.debit || got.Credit != tt.price {
			t.Errorf("Price(%s) = %+v, want credit %v, debit %v", tt.form, got, tt.price, tt.debit)
		}
	}
}

func TestBridges(t *testing.T) {
	for _, tt := range []struct {
		agent     string
		ppm       int64
		validated bool
	}{
		{"AI Horde Worker reGen:13.0.0:x", million, false},
		{"AI Horde Worker reGen:13:https://x", million, false},
		{"AI Horde Worker reGen:13.0.0-beta:x", 900_000, false},
		{"AI Horde Worker reGen:13.1.0-beta:x", million, false},
		{"AI Horde Worker reGen:12.9.9:x", 900_000, false},
		{"AI Horde Worker:24:x", million, true},
		{"AI Horde Worker:2:x", 900_000, true},
		{"AI Horde Worker:x:x", 750_000, false},
		{"AI Horde Worker:24", 750_000, false},
		{"KoboldCppEmbedWorker:2:x", 750_000, true},
		{"TabbyAPI:1.2.3:x", 750_000, true},
		{"unknown:0:unknown", 750_000, false},
		{"", 750_000, false},
	} {
		if got := BridgePPM(tt.agent); got != tt.ppm {
			t.Errorf("BridgePPM(%q) = %d, want %d", tt.agent, got, tt.ppm)
		}
		if got := ValidatedBackend(tt.agent); got != tt.validated {
			t.Errorf("ValidatedBackend(%q) = %v, want %v", tt.agent, got, tt.validated)
		}
	}
}
