package pricing

import (
	"math"

	"hordenode/internal/horde"
)

// An Upfront is the verdict whether a request is served only if its price is held first.
type Upfront struct {
	Needed bool
	Amount horde.Kudos // to hold; 0: nothing, although needed
	Limit  int         // what is served without: pixels of a square's side, or tokens
}

// ImageUpfront decides about an image request as of spec/image.md section 3.8. i is the
// payload as it is before its source image is attached.
func (l *List) ImageUpfront(i Image, o Order, load Load) Upfront {
	side := 1024 + 10*load.Threads - roundEven(0.9*float64(load.Queue))
	u := Upfront{Needed: true, Limit: side}
	if o.SlowOK {
		u.Limit = l.clampSide(side, o.Models)
		u.Needed = l.exceeds(i, o.Models, u.Limit)
	}
	if u.Needed {
		i.Source, i.Mask = false, false
		u.Amount = horde.RoundKudos(l.ImageEstimate(i, o))
	}
	return u
}

// clampSide keeps the side that is free of charge between 576 and 1024 pixels; the large
// families begin at 1024.
func (l *List) clampSide(side int, models []string) int {
	side = max(side, 576)
	for _, m := range models {
		switch l.models.Baseline(m) {
		case "stable_diffusion_xl", "stable_cascade", "flux_1":
			side = max(side, 1024)
		}
	}
	return min(side, 1024)
}

// exceeds tells whether a payload is more than what is served without kudos up front.
func (l *List) exceeds(i Image, models []string, side int) bool {
	steps := i.AccurateSteps()
	switch {
	case i.usesLCM() && steps > 10:
		return true
	case i.Pixels() > int64(side)*int64(side):
		return true
	case i.ControlType != "" && steps > 20:
		return true
	}
	for _, m := range models {
		if steps > l.maxSteps(m, 40) {
			return true
		}
	}
	return false
}

func (l *List) maxSteps(model string, fallback int) int {
	if n, ok := l.models.MaxSteps(model); ok {
		return n
	}
	return fallback
}

// DowngradeImage shrinks a payload to what is served without kudos up front: side is
// Upfront.Limit. The caller also allows slow workers (spec/image.md section 3.10).
func (l *List) DowngradeImage(i Image, models []string, side int) Image {
	i.Width, i.Height = shrink(i.Width, i.Height, side)
	limit := 30
	for n, m := range models {
		if s := l.maxSteps(m, 30); n == 0 || s < limit {
			limit = s
		}
	}
	if i.ControlType != "" {
		limit = min(limit, 20)
	}
	if i.usesLCM() {
		limit = min(limit, 10)
	}
	for i.Steps >= 5 && i.AccurateSteps() > limit {
		i.Steps--
	}
	return i
}

// shrink scales a size down to an area of side*side, in multiples of 64 and never below
// 512 by 512.
func shrink(width, height, side int) (int, int) {
	limit := max(side, 0) * max(side, 0)
	if width*height <= limit {
		return width, height
	}
	scale := math.Sqrt(float64(limit) / float64(width*height))
	w := int(float64(width)*scale) / 64 * 64
	h := int(float64(height)*scale) / 64 * 64
	for w*h > limit {
		if w > h {
			w -= 64
		} else {
			h -= 64
		}
	}
	if w*h < 512*512 {
		return 512, 512
	}
	return w, h
}

// TextUpfront decides about a text request as of spec/text.md section 4.
func (l *List) TextUpfront(t Text, load Load) Upfront {
	budget := 512 + 5*load.Threads - roundEven(0.9*float64(load.Queue))
	u := Upfront{Needed: true, Limit: budget}
	if t.SlowOK {
		u.Limit = min(max(budget, 256), 512)
		u.Needed = t.MaxLength > u.Limit
	}
	if u.Needed {
		u.Amount = horde.RoundKudos(l.textRequired(t))
	}
	return u
}

// textRequired returns what must be available: by the largest of the models, whatever the
// context.
func (l *List) textRequired(t Text) float64 {
	if len(t.Models) == 0 {
		return 20 * float64(t.N)
	}
	var largest float64
	for _, m := range t.Models {
		size, _ := l.models.Parameters(m)
		largest = max(largest, size)
	}
	return round2(float64(t.MaxLength)*largest/21) * float64(t.N)
}

// DowngradeText returns the max_length that is served without kudos up front; budget is
// Upfront.Limit. The caller also allows slow workers.
func DowngradeText(maxLength, budget int) int { return min(maxLength, max(budget, 1)) }
