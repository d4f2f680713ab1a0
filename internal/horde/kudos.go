package horde

import (
	"fmt"
	"math"
)

// Kudos is an amount in hundredths of a kudo, so sums are exact. Only package api
// converts it to and from the decimals of the REST API.
type Kudos int64

// Whole returns n whole kudos.
func Whole(n int64) Kudos { return Kudos(n * 100) }

// RoundKudos rounds a price in kudos to hundredths, ties away from zero. It is used once,
// where a price is made; what follows is integer arithmetic.
func RoundKudos(f float64) Kudos { return Kudos(math.Round(f * 100)) }

// Float returns the amount in kudos, for display.
func (k Kudos) Float() float64 { return float64(k) / 100 }

// String shows the amount with two decimals.
func (k Kudos) String() string {
	sign, v := "", int64(k)
	if v < 0 {
		sign, v = "-", -v
	}
	return fmt.Sprintf("%s%d.%02d", sign, v/100, v%100)
}
