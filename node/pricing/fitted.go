package pricing

import (
	"bytes"
	_ "embed"
	"sync"

	"hordenode/internal/horde"
)

// The fit program makes this file from the published prices.
//
//go:embed image.weights
var weights []byte

// network is the fitted network. The blob is part of the program: that it parses is a
// matter of tests.
var network = sync.OnceValue(func() *Network {
	n, err := NewNetwork(weights)
	if err != nil {
		panic(err)
	}
	return n
})

// Published prices of common payloads, which are charged as they are.
//
//go:embed anchors.csv
var anchorTable []byte

var anchors = sync.OnceValue(func() map[[Inputs]int32]horde.Kudos {
	rows, err := ReadPublished(bytes.NewReader(anchorTable))
	if err != nil {
		panic(err)
	}
	m := make(map[[Inputs]int32]horde.Kudos, len(rows))
	for _, p := range rows {
		if x, ok := Features(p.Image); ok {
			m[x] = p.Plain()
		}
	}
	return m
})

// fitted returns the price of a payload, without LoRAs and textual inversions, as the
// published prices suggest: what they say of a common payload, and for the others what was
// learned from them. It returns false for payloads that cannot be expressed.
func fitted(i Image) (horde.Kudos, bool) {
	x, ok := Features(i)
	if !ok {
		return 0, false
	}
	if k, ok := anchors()[x]; ok {
		return k, true
	}
	return KudosOf(network().Centiseconds(x)), true
}

// KudosOf returns the price of a job that takes so many hundredths of a second: a job of
// 6.45 s costs 11 kudos.
func KudosOf(centiseconds int64) horde.Kudos {
	return horde.Kudos(divRound(1100*centiseconds, 645))
}
