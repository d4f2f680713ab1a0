package api

import (
	"math"

	"hordenode/internal/horde"
)

// kudosFloat shows a balance or sum as the API does, which keeps them in whole kudos: rounded,
// ties away from zero (spec/kudos.md section 1). The ledger itself keeps hundredths.
func kudosFloat(k horde.Kudos) float64 { return math.Round(k.Float()) }

// wholeKudos shows an amount rounded to whole kudos, ties to even, as the API does where it
// shows prices and consumed kudos.
func wholeKudos(k horde.Kudos) float64 { return math.RoundToEven(k.Float()) }
