package pricing

import (
	"testing"

	"hordenode/internal/horde"
)

// sizes are text models by name, in billions of parameters.
type sizes map[string]float64

func (s sizes) Parameters(m string) (float64, bool) { b, ok := s[m]; return max(b, 1), ok }
func (sizes) Baseline(string) string                { return "stable diffusion 1" }
func (sizes) MaxSteps(string) (int, bool)           { return 0, false }

func TestTooFast(t *testing.T) {
	l := NewList(sizes{"7B": 7, "14B": 14, "70B": 70, "8x70B": 70})
	for _, tt := range []struct {
		name  string
		kind  horde.Kind
		model string
		speed float64
		want  int
	}{
		{"an image at the limit", horde.KindImage, "m", 20_000_000, 0},
		{"an image above it", horde.KindImage, "m", 20_000_001, 1},
		{"text at the limit", horde.KindText, "7B", 150, 0},
		{"small model above it", horde.KindText, "7B", 151, 2},
		{"unknown model above it", horde.KindText, "who knows", 1000, 1},
		{"middling model", horde.KindText, "14B", 101, 1},
		{"large model", horde.KindText, "70B", 31, 1},
		{"large model, as fast as it may be", horde.KindText, "70B", 30, 0},
		{"eight experts", horde.KindText, "8x70B", 90, 0},
		{"eight experts, too fast", horde.KindText, "8x70B", 91, 1},
		{"alchemy has no rule", horde.KindAlchemy, "caption", 1e9, 0},
	} {
		if got := l.TooFast(&horde.Request{Kind: tt.kind}, tt.model, tt.speed); got != tt.want {
			t.Errorf("%s: TooFast = %d, want %d", tt.name, got, tt.want)
		}
	}
}
