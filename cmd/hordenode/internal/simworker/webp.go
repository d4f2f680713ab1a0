package simworker

import (
	"encoding/binary"
	"hash/fnv"
)

// maxSide is the largest side a WebP can have.
const maxSide = 1 << 14

// webp draws a lossless WebP of the given size: a mirrored pattern of eight by eight cells
// in two shades, both chosen by seed, so results can be told apart at a glance.
//
// The stream is the simplest that the VP8L format allows. Red, blue and alpha have one
// value each and cost no bits; green has two and costs one bit a pixel; the subtract-green
// transform spreads its lightness over the other two.
func webp(width, height int, seed string) []byte {
	width, height = min(max(width, 1), maxSide), min(max(height, 1), maxSide)
	h := fnv.New64a()
	h.Write([]byte(seed)) // a hash never fails to write
	look := h.Sum64()

	dark := uint32(30 + look>>32%50)
	light := dark + 90 + uint32(look>>40%60)
	red, blue := uint32(look>>48)%70, uint32(look>>56)%70 // added to green

	var b bitWriter
	b.put(0x2f, 8) // signature
	b.put(uint32(width-1), 14)
	b.put(uint32(height-1), 14)
	b.put(0, 1) // alpha is not used
	b.put(0, 3) // version

	b.put(1, 1) // a transform follows:
	b.put(2, 2) // subtract green
	b.put(0, 1) // no more transforms
	b.put(0, 1) // no colour cache
	b.put(0, 1) // one set of prefix codes for the whole image

	b.put(0b111, 3) // green: a simple code of two 8 bit symbols, the smaller first
	b.put(dark, 8)
	b.put(light, 8)
	for _, only := range []uint32{red, blue, 255, 0} { // red, blue, alpha, distance
		b.put(0b101, 3) // a simple code of one 8 bit symbol
		b.put(only, 8)
	}
	for y := range height {
		for x := range width {
			col, row := x*8/width, y*8/height
			col = min(col, 7-col)
			b.put(uint32(look>>(row*4+col))&1, 1)
		}
	}
	return container(b.bytes())
}

// container wraps a VP8L stream in the RIFF container of a WebP file.
func container(stream []byte) []byte {
	n := len(stream)
	pad := n & 1
	out := make([]byte, 0, 20+n+pad)
	out = append(out, "RIFF"...)
	out = binary.LittleEndian.AppendUint32(out, uint32(12+n+pad))
	out = append(out, "WEBPVP8L"...)
	out = binary.LittleEndian.AppendUint32(out, uint32(n))
	out = append(out, stream...)
	return append(out, make([]byte, pad)...)
}

// A bitWriter packs values least significant bit first.
type bitWriter struct {
	out  []byte
	acc  uint64
	have int
}

func (b *bitWriter) put(v uint32, bits int) {
	b.acc |= uint64(v) << b.have
	for b.have += bits; b.have >= 8; b.have -= 8 {
		b.out = append(b.out, byte(b.acc))
		b.acc >>= 8
	}
}

func (b *bitWriter) bytes() []byte {
	if b.have > 0 {
		b.out = append(b.out, byte(b.acc))
		b.acc, b.have = 0, 0
	}
	return b.out
}
