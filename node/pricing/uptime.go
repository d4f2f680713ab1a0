package pricing

import (
	"math"

	"hordenode/internal/horde"
)

// UptimeStep is how many seconds of being there earn one reward.
const UptimeStep = 600

// Uptime returns what UptimeStep seconds of being there earn a worker with the given
// capabilities (spec/kudos.md section 6). An image worker is paid for variety, a text
// worker for the context and size of the first model it offers.
func (l *List) Uptime(kind horde.Kind, c horde.Caps) horde.Kudos {
	switch kind {
	case horde.KindImage:
		reward := horde.Whole(50 + 2*int64(len(c.Models)))
		if c.LoRA {
			reward += horde.Whole(30)
		}
		return reward
	case horde.KindText:
		return l.uptimeText(c)
	}
	return horde.Whole(40)
}

func (l *List) uptimeText(c horde.Caps) horde.Kudos {
	base := 25 + 15*float64(min(c.MaxContextLength, 262144))/1024
	var size float64
	known := false
	if len(c.Models) > 0 {
		size, known = l.models.Parameters(c.Models[0])
	}
	if !known {
		return horde.RoundKudos(base * 0.5)
	}
	if !ValidatedBackend(c.BridgeAgent) {
		base *= 0.3
	}
	return horde.RoundKudos(round2(base * math.Max(size/7, 0.25)))
}
