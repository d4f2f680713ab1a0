package main

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

func rowsOf(t *testing.T) (learned, held []row) {
	t.Helper()
	rows, err := readAll("../testdata/image_prices.csv", "../testdata/recorded_prices.csv")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.heldOut() {
			held = append(held, r)
		} else {
			learned = append(learned, r)
		}
	}
	return learned, held
}

// The network that is shipped is as good as README.md says, on rows that it never saw and
// without the table of common prices.
func TestShippedNetwork(t *testing.T) {
	blob, err := os.ReadFile("../image.weights")
	if err != nil {
		t.Fatal(err)
	}
	n, err := pricing.NewNetwork(blob)
	if err != nil {
		t.Fatal(err)
	}
	_, held := rowsOf(t)
	got := measure(func(r row) horde.Kudos { return pricing.KudosOf(n.Centiseconds(r.features)) }, held)
	t.Logf("%d rows held out: %v", got.rows, got)
	if got.mean > 0.02 || got.worst > 0.14 {
		t.Errorf("mean %.4f, worst %.4f, want 0.02 and 0.14 at most", got.mean, got.worst)
	}
}

func TestHeldOut(t *testing.T) {
	learned, held := rowsOf(t)
	share := float64(len(held)) / float64(len(held)+len(learned))
	if share < 0.08 || share > 0.12 {
		t.Errorf("%.3f of the rows are held out, want a tenth", share)
	}
	seen := map[[pricing.Inputs]int32]bool{}
	for _, r := range learned {
		seen[r.features] = true
	}
	for _, r := range held {
		if seen[r.features] {
			t.Fatalf("%+v is learned and held out", r.price.Image)
		}
	}
}

// A network learns a simple price, and rounding its weights changes little.
func TestTrain(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var rows []row
	for range 1000 {
		r := row{in: make([]float32, pricing.Inputs)}
		for _, i := range []int{0, 1, 2} {
			steps := rnd.IntN(pricing.One)
			r.features[i], r.in[i] = int32(steps), float32(steps)/pricing.One
		}
		r.seconds = 2 + 3*r.in[0] + max(0, 4*r.in[2]-1)
		r.price.Kudos = pricing.KudosOf(int64(math.Round(float64(r.seconds) * 100)))
		rows = append(rows, r)
	}
	n := newNet(rnd, 16, 8)
	n.train(rnd, rows, 100, func(int) {})
	if got := measure(n.price, rows); got.mean > 0.02 {
		t.Errorf("mean error %.4f after training, want 0.02 at most", got.mean)
	}
	rounded, err := pricing.NewNetwork(n.quantise())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		exact, got := float64(n.forward(r.in)), float64(rounded.Centiseconds(r.features))/100
		if math.Abs(got-exact) > 0.03 {
			t.Fatalf("rounded network says %v, want %v", got, exact)
		}
	}
}
