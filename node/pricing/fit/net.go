package main

import (
	"math"
	"math/rand/v2"

	"hordenode/node/pricing"
)

// A net is the network while it is being trained, in floats.
type net struct {
	layers []*dense
	acts   [][]float32 // acts[i] goes into layer i
	grads  [][]float32 // of acts
}

// dense is one layer and the state of Adam for it.
type dense struct {
	in, out int
	w, b    param
}

type param struct{ v, g, m, s []float32 } // value, gradient, its mean and mean square

func newParam(n int) param {
	mk := func() []float32 { return make([]float32, n) }
	return param{mk(), mk(), mk(), mk()}
}

// Settings of the training, found by trying on the held-out rows.
const (
	batch       = 16
	learning    = 2e-3
	decay       = 0.12 // of weights, per unit of learning rate
	initial     = 0.5  // scale of the initial weights: small ones generalise better here
	active      = 10.0 // inputs that are not zero, about
	softening   = 1.0  // seconds added to the denominator of the relative error
	steepest    = 0.5  // relative errors above count linearly
	warmup      = 500  // batches
	beta1       = 0.9
	beta2       = 0.999
	gain        = 30
	weightLimit = 32767.0 / pricing.One
	biasLimit   = 7.9
)

func newNet(rnd *rand.Rand, sizes ...int) *net {
	sizes = append(append([]int{pricing.Inputs}, sizes...), 1)
	n := &net{acts: [][]float32{nil}, grads: [][]float32{nil}}
	for i, in := range sizes[:len(sizes)-1] {
		out := sizes[i+1]
		l := &dense{in: in, out: out, w: newParam(in * out), b: newParam(out)}
		fanIn := float64(in)
		if i == 0 {
			fanIn = active
		}
		for k := range l.w.v {
			l.w.v[k] = float32(rnd.NormFloat64() * math.Sqrt(2/fanIn) * initial)
		}
		n.layers = append(n.layers, l)
		n.acts = append(n.acts, make([]float32, out))
		n.grads = append(n.grads, make([]float32, out))
	}
	n.layers[len(n.layers)-1].b.v[0] = 5
	return n
}

// train passes over the rows. The learning rate rises, then falls to zero along a cosine.
func (n *net) train(rnd *rand.Rand, rows []row, epochs int, report func(epoch int)) {
	order := rnd.Perm(len(rows))
	total, step := epochs*(len(rows)/batch), 0
	for epoch := 1; epoch <= epochs; epoch++ {
		rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for at := 0; at+batch <= len(order); at += batch {
			step++
			for _, k := range order[at : at+batch] {
				n.learn(rows[k])
			}
			rate := learning / 2 * (1 + math.Cos(math.Pi*float64(step)/float64(total)))
			n.update(rate*min(1, float64(step)/warmup), step)
		}
		report(epoch)
	}
}

// learn adds the gradient of one row's relative error.
func (n *net) learn(r row) {
	scale := r.seconds + softening
	e := (n.forward(r.in) - r.seconds) / scale
	n.backward(min(max(e, -steepest), steepest) / scale / batch * gain)
}

func (n *net) forward(in []float32) float32 {
	n.acts[0] = in
	for i, l := range n.layers {
		for o := range l.out {
			v := l.b.v[o] + dot(l.w.v[o*l.in:(o+1)*l.in], n.acts[i])
			if i < len(n.layers)-1 {
				v = max(v, 0)
			}
			n.acts[i+1][o] = v
		}
	}
	return n.acts[len(n.layers)][0]
}

func (n *net) backward(g float32) {
	n.grads[len(n.layers)][0] = g
	for i := len(n.layers) - 1; i >= 0; i-- {
		l := n.layers[i]
		clear(n.grads[i])
		for o := range l.out {
			d := n.grads[i+1][o]
			if d == 0 {
				continue
			}
			l.b.g[o] += d
			add(l.w.g[o*l.in:(o+1)*l.in], d, n.acts[i])
			if i > 0 {
				add(n.grads[i], d, l.w.v[o*l.in:(o+1)*l.in])
			}
		}
		for k := range n.grads[i] {
			if n.acts[i][k] <= 0 {
				n.grads[i][k] = 0
			}
		}
	}
}

// update makes one step of Adam with decoupled weight decay, within what the integers of
// the result can hold.
func (n *net) update(rate float64, step int) {
	c1, c2 := 1-math.Pow(beta1, float64(step)), 1-math.Pow(beta2, float64(step))
	for _, l := range n.layers {
		l.w.adam(rate, c1, c2, decay, weightLimit)
		l.b.adam(rate, c1, c2, 0, biasLimit)
	}
}

func (p param) adam(rate, c1, c2, decay, limit float64) {
	for i, g := range p.g {
		p.m[i] = beta1*p.m[i] + (1-beta1)*g
		p.s[i] = beta2*p.s[i] + (1-beta2)*g*g
		step := float64(p.m[i]) / c1 / (math.Sqrt(float64(p.s[i])/c2) + 1e-8)
		v := float64(p.v[i]) - rate*(step+decay*float64(p.v[i]))
		p.v[i] = float32(min(max(v, -limit), limit))
		p.g[i] = 0
	}
}

// quantise returns the network in the form that package pricing evaluates.
func (n *net) quantise() []byte {
	var blob []byte
	for _, l := range n.layers {
		weights, biases := make([]int16, len(l.w.v)), make([]int32, len(l.b.v))
		for i, v := range l.w.v {
			weights[i] = int16(math.Round(float64(v) * pricing.One))
		}
		for i, v := range l.b.v {
			biases[i] = int32(math.Round(float64(v) * pricing.One * pricing.One))
		}
		blob = pricing.AppendLayer(blob, weights, biases)
	}
	return blob
}

func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}

// add adds c times x to y.
func add(y []float32, c float32, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += c * x[i]
	}
}
