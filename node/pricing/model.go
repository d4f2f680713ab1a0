package pricing

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"hordenode/internal/horde"
	"hordenode/internal/npz"
)

// A Model prices images by a network of floats that the operator supplies: the reference
// server's own, for exact parity with it (spec/kudos.md section 12.2).
//
// The file has weights w0, w1, … and biases b0, b1, …: weights in rows of one output each,
// Inputs inputs in all, one output, ReLU between the layers. What the basis payload takes is
// the unit of time. Sums are of float64 in one order, without fused operations, and each
// layer's results are rounded to float32, so every machine finds the same price.
type Model struct {
	layers []floatLayer
	basis  float64 // seconds of the basis payload
	hash   [sha256.Size]byte
}

// floatLayer has len(biases) rows of in weights.
type floatLayer struct {
	in      int
	weights []float32
	biases  []float32
}

// MaxModelFile is the largest file of a model, in bytes. The reference's has 85,189.
const MaxModelFile = 4 << 20

// Limits of a model: layers, and numbers in all of them.
const (
	maxModelLayers  = 8
	maxModelNumbers = 1 << 20
)

// ErrModel is wrapped by the errors that the file of a model is to blame for.
var ErrModel = errors.New("not a model of image prices")

// basisPayload is what costs 11 kudos: ten, and one.
func basisPayload() Image {
	i := ImageDefaults()
	i.Steps, i.CFG, i.Sampler = 50, 7.5, "k_euler"
	return i
}

// NewModel reads the file of a model.
func NewModel(file []byte) (*Model, error) {
	if len(file) > MaxModelFile {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrModel, MaxModelFile)
	}
	arrays, err := npz.Read(file, npz.Limits{Members: 2 * maxModelLayers, Elements: maxModelNumbers})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModel, err)
	}
	m := &Model{hash: sha256.Sum256(file)}
	in := Inputs
	for n := 0; len(arrays) > 0; n++ {
		wName, bName := fmt.Sprintf("w%d", n), fmt.Sprintf("b%d", n)
		w, okW := arrays[wName]
		b, okB := arrays[bName]
		if !okW || !okB || len(b.Shape) != 1 || !slices.Equal(w.Shape, []int{len(b.Data), in}) || len(b.Data) == 0 {
			return nil, fmt.Errorf("%w: layer %d is missing or does not fit: weights %v, biases %v, %d inputs", ErrModel, n, w.Shape, b.Shape, in)
		}
		m.layers = append(m.layers, floatLayer{in, w.Data, b.Data})
		delete(arrays, wName)
		delete(arrays, bName)
		in = len(b.Data)
	}
	if in != 1 || len(m.layers) == 0 {
		return nil, fmt.Errorf("%w: %d outputs, want 1", ErrModel, in)
	}
	basis, _ := vector(basisPayload()) // it has nothing that is unknown
	if m.basis = m.seconds(basis); m.basis <= 0 {
		return nil, fmt.Errorf("%w: its basis payload takes %v s", ErrModel, m.basis)
	}
	return m, nil
}

// Hash is the SHA-256 of the model's file, in hex.
func (m *Model) Hash() string { return hex.EncodeToString(m.hash[:]) }

// Price returns the price of a payload without LoRAs and textual inversions. It returns false
// for a payload that the network cannot express.
func (m *Model) Price(i Image) (horde.Kudos, bool) {
	x, ok := vector(i)
	if !ok {
		return 0, false
	}
	price := round2(11 * m.seconds(x) / m.basis)
	return max(horde.RoundKudos(price), 0), true
}

// seconds is how long a job takes, to two decimals.
func (m *Model) seconds(x [Inputs]float64) float64 {
	in := make([]float32, Inputs, 128)
	for i, v := range x {
		in[i] = float32(v)
	}
	for depth, l := range m.layers {
		out := make([]float32, len(l.biases))
		for o := range out {
			sum := 0.0
			for i, w := range l.weights[o*l.in : (o+1)*l.in] {
				product := float64(w) * float64(in[i]) // exact: two float32
				sum += product
			}
			sum += float64(l.biases[o])
			if depth < len(m.layers)-1 {
				sum = max(sum, 0)
			}
			out[o] = float32(sum)
		}
		in = out
	}
	return round2(float64(in[0]))
}
