package pricing

import (
	"math"
	"strconv"

	"hordenode/internal/horde"
)

// million is the denominator of factors in millionths (PPM).
const million = 1_000_000

// ppm returns a factor in millionths as a float.
func ppm(n int64) float64 { return float64(n) / million }

// orOne returns a factor in millionths, 1 if it was left out.
func orOne(n int64) int64 {
	if n == 0 {
		return million
	}
	return n
}

// divRound divides and rounds to nearest, ties away from zero. b is positive.
func divRound(a, b int64) int64 {
	if a < 0 {
		return -divRound(-a, b)
	}
	q, r := a/b, a%b
	if r >= b-r {
		q++
	}
	return q
}

// mulPPM multiplies an amount by a factor in millionths.
func mulPPM(k horde.Kudos, n int64) horde.Kudos { return horde.Kudos(divRound(int64(k)*n, million)) }

// round2 rounds the exact binary value to two decimals, an exact tie to even: the rounding
// that the published prices were made with.
func round2(f float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', 2, 64), 64)
	if err != nil { // an infinity or not a number
		return f
	}
	return r
}

// roundEven rounds to an integer, ties to even.
func roundEven(f float64) int { return int(math.RoundToEven(f)) }
