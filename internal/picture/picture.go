// Package picture says what the file of an image is, by its header and its structure. Pixels
// are never decoded: what a file claims is checked before anything of that size is allocated.
//
//	bytes ─► format, size, alpha (header) ─► whole? one frame? (structure) ─► Info, or why not
//
// Formats are PNG, JPEG and WebP, whatever a file's name or address calls it.
package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // the formats that are known
	_ "image/png"
	"iter"

	_ "golang.org/x/image/webp"
)

// Info is what a file says of itself.
type Info struct {
	Format        string // "png", "jpeg" or "webp"
	Width, Height int    // pixels
	Alpha         bool   // it has colour and alpha
	Animated      bool   // it has several frames
}

// The reasons why a file is not taken.
var (
	ErrFormat  = errors.New("neither PNG nor JPEG nor WebP")
	ErrCut     = errors.New("the file is cut off")
	ErrPixels  = errors.New("too many pixels")
	ErrFrames  = errors.New("several frames")
	ErrTooLong = errors.New("too many bytes")
)

// Limits are what a file may be. Zero Pixels or Bytes are no limit.
type Limits struct {
	Pixels   int64
	Bytes    int
	Animated bool // several frames will do
}

// Check reads data and returns an error that is one of the above if it is no image within
// the limits. What it says of the image is right even if the error is ErrPixels or ErrFrames.
func Check(data []byte, l Limits) (Info, error) {
	if l.Bytes > 0 && len(data) > l.Bytes {
		return Info{}, ErrTooLong
	}
	cfg, format, err := image.DecodeConfig(bytes.NewReader(data))
	switch {
	case err != nil:
		return Info{}, fmt.Errorf("%w: %w", ErrFormat, err)
	case cfg.Width <= 0 || cfg.Height <= 0:
		return Info{}, fmt.Errorf("%w: it has no size", ErrFormat)
	}
	i := Info{Format: format, Width: cfg.Width, Height: cfg.Height, Alpha: hasAlpha(format, data, cfg), Animated: isAnimated(format, data)}
	switch {
	case l.Pixels > 0 && int64(i.Width) > l.Pixels/int64(i.Height):
		return i, ErrPixels
	case i.Animated && !l.Animated:
		return i, ErrFrames
	case !isWhole(format, data):
		return i, ErrCut
	}
	return i, nil
}

// isWhole tells whether a file has its end, and pixels before it. Of a JPEG it is enough that
// the pixels begin: many lack the end, and are shown all the same.
func isWhole(format string, data []byte) bool {
	switch format {
	case "png":
		pixels := false
		for chunk := range pngChunks(data) {
			if chunk == "IEND" {
				return pixels
			}
			pixels = pixels || chunk == "IDAT"
		}
		return false
	case "webp":
		pixels := false
		for chunk := range webpChunks(data) {
			pixels = pixels || chunk == "VP8 " || chunk == "VP8L" || chunk == "ANMF"
		}
		return pixels && int64(binary.LittleEndian.Uint32(data[4:]))+8 <= int64(len(data))
	}
	return hasScan(data)
}

// isAnimated tells animated WebP and PNG files; JPEG has no such thing.
func isAnimated(format string, data []byte) bool {
	switch format {
	case "webp":
		flags, ok := webpFlags(data)
		return ok && flags&0x02 != 0
	case "png":
		for chunk := range pngChunks(data) {
			switch chunk {
			case "acTL":
				return true
			case "IDAT":
				return false
			}
		}
	}
	return false
}

// hasAlpha tells whether an image has four bands: colour and alpha.
func hasAlpha(format string, data []byte, cfg image.Config) bool {
	switch format {
	case "png":
		return cfg.ColorModel == color.NRGBAModel || cfg.ColorModel == color.NRGBA64Model
	case "webp":
		if flags, ok := webpFlags(data); ok {
			return flags&0x10 != 0
		}
		const alphaBit = 24 // VP8L: signature byte, then 14 bits width, 14 bits height, 1 bit alpha
		return len(data) > alphaBit && string(data[12:16]) == "VP8L" && data[alphaBit]&0x10 != 0
	}
	return false
}

// webpFlags returns the flags of an extended WebP file.
func webpFlags(data []byte) (flags byte, ok bool) {
	if len(data) < 21 || string(data[12:16]) != "VP8X" {
		return 0, false
	}
	return data[20], true
}

// pngChunks yields the types of the chunks that are there as a whole.
func pngChunks(data []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for at := 8; at+12 <= len(data); {
			size := int64(binary.BigEndian.Uint32(data[at:]))
			if size > int64(len(data)-at-12) || !yield(string(data[at+4:at+8])) {
				return
			}
			at += 12 + int(size)
		}
	}
}

// webpChunks yields the types of the chunks that are there as a whole; the last byte of
// padding is often missing.
func webpChunks(data []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for at := 12; at+8 <= len(data); {
			size := int64(binary.LittleEndian.Uint32(data[at+4:]))
			if size > int64(len(data)-at-8) || !yield(string(data[at:at+4])) {
				return
			}
			at += 8 + int(size+size&1)
		}
	}
}

// hasScan tells whether the pixels of a JPEG begin.
func hasScan(data []byte) bool {
	for at := 2; at+4 <= len(data) && data[at] == 0xff; {
		switch marker := data[at+1]; marker {
		case 0xff: // fill byte
			at++
			continue
		case 0xda:
			return at+2+int(binary.BigEndian.Uint16(data[at+2:])) < len(data)
		}
		at += 2 + int(binary.BigEndian.Uint16(data[at+2:]))
	}
	return false
}
