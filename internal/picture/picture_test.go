package picture

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"runtime"
	"testing"
)

// dot is a lossy WebP of one pixel.
func dot(t testing.TB) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func drawn(t testing.TB, w, h int, alpha bool) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = 0xff
	}
	if alpha {
		img.Set(0, 0, color.NRGBA{})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func photo(t testing.TB, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, w, h)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// claim makes a PNG of any size that holds nothing, with the given chunks before its pixels.
func claim(w, h uint32, chunks ...string) []byte {
	b := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(name string, data []byte) {
		body := append([]byte(name), data...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		b = append(b, body...)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(body))
	}
	chunk("IHDR", append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h), 8, 6, 0, 0, 0))
	for _, c := range append(chunks, "IDAT", "IEND") {
		chunk(c, nil)
	}
	return b
}

func TestCheck(t *testing.T) {
	limits := Limits{Pixels: 100 * 100, Bytes: 1 << 20}
	square, clear, grey := drawn(t, 100, 100, false), drawn(t, 3, 2, true), photo(t, 16, 8)
	animated := append([]byte("RIFF\x1a\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00"), 63, 0, 0, 63, 0, 0, 'A', 'N', 'M', 'F', 0, 0, 0, 0)
	scan := bytes.Index(grey, []byte{0xff, 0xda})
	scan += 2 + int(binary.BigEndian.Uint16(grey[scan+2:]))
	for _, tt := range []struct {
		name string
		data []byte
		want Info
		err  error
	}{
		{"PNG as large as may be", square, Info{"png", 100, 100, false, false}, nil},
		{"PNG with alpha", clear, Info{"png", 3, 2, true, false}, nil},
		{"JPEG", grey, Info{"jpeg", 16, 8, false, false}, nil},
		{"JPEG without its end", grey[:len(grey)-2], Info{"jpeg", 16, 8, false, false}, nil},
		{"WebP", dot(t), Info{"webp", 1, 1, false, false}, nil},
		{"one row too many", drawn(t, 100, 101, false), Info{"png", 100, 101, false, false}, ErrPixels},
		{"bomb", claim(1<<20, 1<<20), Info{"png", 1 << 20, 1 << 20, true, false}, ErrPixels},
		{"animated PNG", claim(64, 64, "acTL"), Info{"png", 64, 64, true, true}, ErrFrames},
		{"animated WebP", animated, Info{"webp", 64, 64, false, true}, ErrFrames},
		{"PNG cut in its pixels", square[:len(square)-20], Info{"png", 100, 100, false, false}, ErrCut},
		{"PNG cut after its header", square[:33], Info{"png", 100, 100, false, false}, ErrCut},
		{"JPEG cut where its pixels begin", grey[:scan], Info{"jpeg", 16, 8, false, false}, ErrCut},
		{"JPEG cut before its pixels", grey[:scan-20], Info{}, ErrFormat},
		{"WebP cut", dot(t)[:36], Info{"webp", 1, 1, false, false}, ErrCut},
		{"no size", claim(0, 5), Info{}, ErrFormat},
		{"GIF", []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), Info{}, ErrFormat},
		{"page", []byte("<html><script>alert(1)</script>"), Info{}, ErrFormat},
		{"name of a PNG only", []byte("\x89PNG\r\n\x1a\n"), Info{}, ErrFormat},
		{"nothing", nil, Info{}, ErrFormat},
		{"long", make([]byte, 1<<20+1), Info{}, ErrTooLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Check(tt.data, limits)
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Errorf("Check = %v, want %v", err, tt.err)
			}
			if got != tt.want {
				t.Errorf("Check = %+v, want %+v", got, tt.want)
			}
		})
	}
	if _, err := Check(claim(64, 64, "acTL"), Limits{Animated: true}); err != nil {
		t.Errorf("an animation that may be: %v", err)
	}
}

// A file that claims a terapixel costs no more than its bytes to refuse.
func TestReliabilityRow8BombsCostNothing(t *testing.T) {
	bomb := claim(1<<20, 1<<20)
	const runs = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if _, err := Check(bomb, Limits{Pixels: 1 << 23}); !errors.Is(err, ErrPixels) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	allocated := (after.TotalAlloc - before.TotalAlloc) / runs
	if allocated > 64<<10 {
		t.Errorf("a bomb of %d bytes makes us allocate %d", len(bomb), allocated)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(claim(64, 64, "acTL"))
	f.Add(dot(f))
	f.Add(drawn(f, 2, 2, true))
	f.Add(photo(f, 1, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := Limits{Pixels: 3072 * 3072, Bytes: 1 << 16}
		i, err := Check(data, l)
		if err == nil && (i.Width < 1 || i.Height < 1 || int64(i.Width)*int64(i.Height) > l.Pixels || i.Animated || len(data) > l.Bytes) {
			t.Errorf("Check took %+v", i)
		}
	})
}
