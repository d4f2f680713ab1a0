package pricing

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A Network is a fitted function from Features to the seconds that a job takes on a
// reference machine: the mean of several networks that were trained alike from different
// beginnings, each of fully connected layers, ReLU between them, 16-bit weights. It is
// evaluated in integers, so every node finds the same price on every machine.
type Network struct {
	nets [][]layer
}

// A layer has out rows of in weights. Weights count in units of 1/One, biases in units of
// 1/One².
type layer struct {
	in, out int
	weights []int16
	biases  []int32
}

// NewNetwork returns the network of a blob that AppendLayer made. Each of its networks has
// Inputs inputs and ends with its first layer of one output.
func NewNetwork(blob []byte) (*Network, error) {
	n := &Network{}
	var layers []layer
	in := Inputs
	for len(blob) > 0 {
		l, rest, err := readLayer(blob)
		if err != nil {
			return nil, err
		}
		if l.in != in {
			return nil, fmt.Errorf("price network: layer %d has %d inputs, want %d", len(layers), l.in, in)
		}
		layers, blob, in = append(layers, l), rest, l.out
		if l.out == 1 {
			n.nets, layers, in = append(n.nets, layers), nil, Inputs
		}
	}
	if len(layers) > 0 || len(n.nets) == 0 {
		return nil, fmt.Errorf("price network: %d outputs, want 1", in)
	}
	return n, nil
}

// AppendLayer appends a layer to a blob: inputs and outputs (uint16), then the weights row
// by row (int16), then the biases (int32), all little-endian. biases has one entry per
// output; weights has as many rows.
func AppendLayer(blob []byte, weights []int16, biases []int32) []byte {
	blob = binary.LittleEndian.AppendUint16(blob, uint16(len(weights)/len(biases)))
	blob = binary.LittleEndian.AppendUint16(blob, uint16(len(biases)))
	for _, w := range weights {
		blob = binary.LittleEndian.AppendUint16(blob, uint16(w))
	}
	for _, b := range biases {
		blob = binary.LittleEndian.AppendUint32(blob, uint32(b))
	}
	return blob
}

var errShort = errors.New("price network: blob is cut off")

func readLayer(blob []byte) (l layer, rest []byte, err error) {
	if len(blob) < 4 {
		return layer{}, nil, errShort
	}
	l.in, l.out = int(binary.LittleEndian.Uint16(blob)), int(binary.LittleEndian.Uint16(blob[2:]))
	blob = blob[4:]
	if len(blob) < l.in*l.out*2+l.out*4 {
		return layer{}, nil, errShort
	}
	l.weights, l.biases = make([]int16, l.in*l.out), make([]int32, l.out)
	for i := range l.weights {
		l.weights[i] = int16(binary.LittleEndian.Uint16(blob[2*i:]))
	}
	blob = blob[2*len(l.weights):]
	for i := range l.biases {
		l.biases[i] = int32(binary.LittleEndian.Uint32(blob[4*i:]))
	}
	return l, blob[4*l.out:], nil
}

// least is the shortest time the published prices imply, about, in hundredths of a second.
const least = 140

// Centiseconds returns the time of a job in hundredths of a second.
func (n *Network) Centiseconds(x [Inputs]int32) int64 {
	sum := int64(0)
	for _, layers := range n.nets {
		sum += run(layers, x)
	}
	return max(divRound(divRound(sum*100, int64(len(n.nets))), One*One), least)
}

// run evaluates one network, in units of 1/One².
func run(layers []layer, x [Inputs]int32) int64 {
	in := make([]int64, Inputs, 256)
	for i, v := range x {
		in[i] = int64(v)
	}
	out := make([]int64, 0, 256)
	for depth, l := range layers {
		out = out[:0]
		for o := range l.out {
			sum := int64(l.biases[o])
			for i, w := range l.weights[o*l.in : (o+1)*l.in] {
				sum += int64(w) * in[i]
			}
			if depth < len(layers)-1 {
				sum = max(sum, 0) / One
			}
			out = append(out, sum)
		}
		in, out = out, in
	}
	return in[0]
}
