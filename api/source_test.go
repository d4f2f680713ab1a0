package api

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image/color"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

// header makes a PNG that claims a size, without pixels, and the given chunks after it.
func header(w, h uint32, chunks ...string) string {
	var b bytes.Buffer
	b.WriteString("\x89PNG\r\n\x1a\n")
	ihdr := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
	chunk := func(name string, data []byte) {
		b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(data))))
		body := append([]byte(name), data...)
		b.Write(body)
		b.Write(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body)))
	}
	chunk("IHDR", append(ihdr, 8, 6, 0, 0, 0))
	for _, c := range chunks {
		chunk(c, make([]byte, 8))
	}
	chunk("IDAT", nil)
	chunk("IEND", nil)
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// webp makes an extended WebP of the given flags that claims a size.
func webp(flags byte, w, h int) string {
	b := []byte("RIFF\x1e\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00")
	b = append(b, flags, 0, 0, 0, byte(w-1), byte((w-1)>>8), byte((w-1)>>16), byte(h-1), byte((h-1)>>8), byte((h-1)>>16))
	b = append(b, "VP8 \x00\x00\x00\x00"...)
	return base64.StdEncoding.EncodeToString(b)
}

// imageOf is an image as a file.
func imageOf(t *testing.T, sent string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(sent)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// cutOff takes n bytes off the end of an image.
func cutOff(t *testing.T, sent string, n int) string {
	t.Helper()
	data := imageOf(t, sent)
	return base64.StdEncoding.EncodeToString(data[:len(data)-n])
}

func TestDecodeSource(t *testing.T) {
	rgb, rgba := pngOf(t, 64, 32, false), pngOf(t, 64, 32, true)
	urlSafe := strings.NewReplacer("+", "-", "/", "_").Replace(rgb)
	noise := base64.StdEncoding.EncodeToString(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, maxSourceBytes)...))
	for _, tt := range []struct {
		name, sent string
		rc         horde.RC
		alpha      bool
	}{
		{"PNG", rgb, "", false},
		{"PNG with alpha", rgba, "", true},
		{"JPEG", jpegOf(t, 16, 16), "", false},
		{"WebP", tinyWebP, "", false},
		{"extended WebP with alpha", webp(0x10, 100, 100), "", true},
		{"data address", "data:image/png;base64," + rgb, "", false},
		{"URL alphabet", urlSafe, "", false},
		{"no padding", strings.TrimRight(rgba, "="), "", true},
		{"with line breaks", rgb[:40] + "\r\n" + rgb[40:] + "\n", "", false},
		{"largest", header(3072, 3072), "", true},
		{"flat", header(3072*3072, 1), "", true},
		{"too large", header(3073, 3072), horde.RCSourceImageResolutionExceeded, false},
		{"bomb", header(1<<20, 1<<20), horde.RCSourceImageResolutionExceeded, false},
		{"impossible size", header(1<<31-1, 1<<31-1), horde.RCImageValidationFailed, false},
		{"WebP too large", webp(0, 16384, 16384), horde.RCSourceImageResolutionExceeded, false},
		{"animated PNG", header(64, 64, "acTL"), horde.RCImageValidationFailed, false},
		{"animated WebP", webp(0x02, 64, 64), horde.RCImageValidationFailed, false},
		{"too many bytes", noise, horde.RCSourceImageSizeExceeded, false},
		{"GIF", base64.StdEncoding.EncodeToString([]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;")), horde.RCImageValidationFailed, false},
		{"no image", "AAAA", horde.RCImageValidationFailed, false},
		{"no base64", "!!", horde.RCImageValidationFailed, false},
		{"cut off in its pixels", cutOff(t, pngOf(t, 64, 32, false), 30), horde.RCImageValidationFailed, false},
		{"WebP cut off", cutOff(t, tinyWebP, 4), horde.RCImageValidationFailed, false},
		{"cut off", rgb[:20], horde.RCImageValidationFailed, false},
		{"address", "https://127.0.0.1/x.png", horde.RCImageValidationFailed, false},
		{"empty data address", "data:,", horde.RCImageValidationFailed, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, cfg, err := decodeSource(tt.sent)
			var refusal *horde.Error
			switch {
			case tt.rc == "" && err != nil:
				t.Fatal(err)
			case tt.rc != "" && (!errors.As(err, &refusal) || refusal.RC != tt.rc):
				t.Fatalf("error %v, want %s", err, tt.rc)
			case tt.rc != "":
				return
			}
			if alpha := cfg.ColorModel == color.NRGBAModel; alpha != tt.alpha || len(data) == 0 {
				t.Errorf("alpha %v, want %v; %d bytes", alpha, tt.alpha, len(data))
			}
		})
	}
}

func TestSourcesAreStoredBeforeTheRequest(t *testing.T) {
	h := newHarness(t)
	rgb := pngOf(t, 64, 64, false)
	h.do("POST", "/api/v2/generate/async", aliceKey, with(m{"source_image": rgb, "source_mask": tinyWebP, "source_processing": "inpainting"})).wants(202, "")
	id := h.board.last(t).ID.String()
	for name, want := range map[string]string{id + "_src": rgb, id + "_msk": tinyWebP} {
		if got := base64.StdEncoding.EncodeToString(h.board.blobs[name]); got != want {
			t.Errorf("%s holds %.20s, want %.20s", name, got, want)
		}
	}
	// A bad mask stores nothing, and neither does a disk that fails make a request.
	n := len(h.board.blobs)
	h.do("POST", "/api/v2/generate/async", aliceKey, with(m{"source_image": rgb, "source_mask": "AAAA"})).wants(400, horde.RCImageValidationFailed)
	h.board.fail(errors.New("disk full"))
	h.do("POST", "/api/v2/generate/async", aliceKey, with(m{"source_image": rgb})).wants(500, "")
	if len(h.board.blobs) != n || h.board.count() != 1 {
		t.Errorf("%d blobs, %d requests", len(h.board.blobs), h.board.count())
	}
}

func FuzzDecodeSource(f *testing.F) {
	f.Add(tinyWebP)
	f.Add(header(64, 64, "acTL"))
	f.Add(webp(0x12, 1, 1))
	f.Fuzz(func(t *testing.T, s string) {
		data, cfg, err := decodeSource(s)
		if err == nil && (len(data) > maxSourceBytes || cfg.Width*cfg.Height > maxSourcePixels || cfg.Width <= 0) {
			t.Errorf("accepted %d bytes of %d by %d", len(data), cfg.Width, cfg.Height)
		}
	})
}
