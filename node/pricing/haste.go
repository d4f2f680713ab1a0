package pricing

import (
	"strings"

	"hordenode/internal/horde"
)

// Speeds that no worker is believed to reach (spec/status.md section 7.2).
const (
	hastyPixelsteps = 20_000_000 // per second
	hastyTokens     = 150
)

// TooFast returns how many rules a delivered job breaks by its speed, in things per second:
// each is a suspicion against the worker. There is one for everything, and for texts of known
// models one more that knows how slow large models are (spec/text.md section 8.6).
func (l *List) TooFast(r *horde.Request, model string, speed float64) int {
	broken := 0
	switch r.Kind {
	case horde.KindImage:
		if speed > hastyPixelsteps {
			broken++
		}
	case horde.KindText:
		if speed > hastyTokens {
			broken++
		}
		if size, known := l.models.Parameters(model); known && speed > tokenLimit(size, model) {
			broken++
		}
	}
	return broken
}

// tokenLimit is the most tokens per second that a model of a size in billions is believed
// to make; mixtures of eight experts make three times as many.
func tokenLimit(size float64, model string) float64 {
	limit := 150.0
	switch {
	case size >= 70:
		limit = 30
	case size >= 14:
		limit = 100
	}
	if strings.Contains(model, "8x") {
		limit *= 3
	}
	return limit
}
