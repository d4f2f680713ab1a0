// Package npz reads what numpy.savez writes, as far as networks need it: a zip file of arrays
// of little-endian float32 or float64 in C order.
//
//	zip ─► member NAME.npy ─► magic, version, header {descr, fortran_order, shape} ─► numbers
//
// Whoever made the file, it is read with limits: nothing is allocated before a header and the
// limits agree on how much.
package npz

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// An Array is one member. Data has the product of Shape elements, the last index running
// fastest.
type Array struct {
	Shape []int
	Data  []float32
}

// Limits bound what is read; all must be positive.
type Limits struct {
	Members  int // arrays
	Elements int // of all arrays together
}

// maxHeader is the longest header that is read, in bytes: those of real files have 118.
const maxHeader = 4 << 10

// ErrFormat is wrapped by every error that the file is to blame for.
var ErrFormat = errors.New("not an npz file that can be read")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// Read returns the arrays of a file by their names, without ".npy".
func Read(file []byte, l Limits) (map[string]Array, error) {
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if len(z.File) > l.Members {
		return nil, bad("it has %d members, at most %d are read", len(z.File), l.Members)
	}
	arrays, left := map[string]Array{}, l.Elements
	for _, f := range z.File {
		name, ok := strings.CutSuffix(f.Name, ".npy")
		if _, twice := arrays[name]; !ok || twice {
			return nil, bad("member %.40q", f.Name)
		}
		a, err := readMember(f, left)
		if err != nil {
			return nil, fmt.Errorf("array %.40s: %w", name, err)
		}
		left -= len(a.Data)
		arrays[name] = a
	}
	return arrays, nil
}

func readMember(f *zip.File, most int) (a Array, err error) {
	r, err := f.Open()
	if err != nil {
		return a, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	shape, width, err := readHeader(r)
	if err != nil {
		return a, err
	}
	n := 1
	for _, d := range shape {
		if d > 0 && n > most/d {
			return a, bad("its shape %v has more elements than may be read", shape)
		}
		n *= d
	}
	raw := make([]byte, n*width)
	if _, err := io.ReadFull(r, raw); err != nil {
		return a, fmt.Errorf("%w: its numbers: %w", ErrFormat, err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); !errors.Is(err, io.EOF) {
		return a, bad("more follows than its shape says") // or its checksum is wrong
	}
	a = Array{shape, make([]float32, n)}
	for i := range a.Data {
		v := 0.0
		if width == 4 {
			v = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		} else {
			v = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		if a.Data[i] = float32(v); math.IsNaN(v) || math.IsInf(float64(a.Data[i]), 0) {
			return Array{}, bad("element %d is no finite float32", i)
		}
	}
	return a, nil
}

// The three members of a header, whose order does not matter.
var (
	descrOf   = regexp.MustCompile(`'descr': *'(<f[48])'`)
	fortranOf = regexp.MustCompile(`'fortran_order': *False`)
	shapeOf   = regexp.MustCompile(`'shape': *\(((?:[0-9]{1,9}, *)*[0-9]{0,9})\)`)
)

// readHeader reads up to where the numbers begin. width is the size of one in bytes.
func readHeader(r io.Reader) (shape []int, width int, err error) {
	var start [10]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	size := int(binary.LittleEndian.Uint16(start[8:]))
	if string(start[:7]) != "\x93NUMPY\x01" || size > maxHeader { // versions 2 and 3 are for headers of 64 KiB and more
		return nil, 0, bad("its header")
	}
	header := make([]byte, size)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	descr, dims := descrOf.FindSubmatch(header), shapeOf.FindSubmatch(header)
	if descr == nil || dims == nil || !fortranOf.Match(header) {
		return nil, 0, bad("it is no array of floats in C order")
	}
	for d := range strings.SplitSeq(string(dims[1]), ",") {
		if d = strings.TrimSpace(d); d == "" {
			continue
		}
		n, err := strconv.Atoi(d)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		shape = append(shape, n)
	}
	return shape, int(descr[1][2] - '0'), nil
}
