package api

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"slices"
	"strings"
	"testing"
)

// segment makes a JPEG segment.
func segment(marker byte, data string) string {
	b := binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(data)+2))
	return string(b) + data
}

func chunkPNG(name, data string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(b, name+data...)
	return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(name+data))))
}

func chunkWebP(name, data string) string {
	b := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(data)))
	b = append(b, data...)
	if len(data)%2 == 1 {
		b = append(b, 0)
	}
	return string(b)
}

func riff(chunks string) string {
	return "RIFF" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(chunks)+4))) + "WEBP" + chunks
}

func TestWithoutMetadata(t *testing.T) {
	raw := func(sent string) string {
		b, err := base64.StdEncoding.DecodeString(sent)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	jpeg, png, tiny := raw(jpegOf(t, 16, 16)), raw(pngOf(t, 16, 16, true)), raw(tinyWebP)
	vp8 := tiny[12:]
	extended := "\x2c\x00\x00\x00" + strings.Repeat("\x3f\x00\x00", 2) // EXIF, XMP and profile flags
	bare := "\x20\x00\x00\x00" + strings.Repeat("\x3f\x00\x00", 2)
	const secret = "GPS 52.5 13.4 prompt"
	for _, tt := range []struct{ name, format, file, want string }{
		{"JPEG", "jpeg", jpeg[:2] + segment(0xe1, "Exif\x00\x00"+secret) + segment(0xfe, secret) + segment(0xed, secret) + jpeg[2:] + secret, jpeg},
		{"JPEG with a profile", "jpeg", jpeg[:2] + segment(0xe2, "ICC_PROFILE") + jpeg[2:], jpeg[:2] + segment(0xe2, "ICC_PROFILE") + jpeg[2:]},
		{"JPEG cut off", "jpeg", jpeg[:2] + segment(0xe1, secret) + jpeg[2:len(jpeg)-3], jpeg[:len(jpeg)-3]},
		{"PNG", "png", png[:33] + chunkPNG("tEXt", secret) + chunkPNG("eXIf", secret) + chunkPNG("prVt", secret) + png[33:] + secret, png},
		{"WebP", "webp", riff(chunkWebP("VP8X", extended) + chunkWebP("ICCP", "icc") + vp8 + chunkWebP("EXIF", secret) + chunkWebP("XMP ", secret)),
			riff(chunkWebP("VP8X", bare) + chunkWebP("ICCP", "icc") + vp8)},
		{"plain WebP", "webp", tiny, tiny},
		{"broken PNG", "png", png[:33] + "\xff\xff\xff\xfftEXt", png[:33] + "\xff\xff\xff\xfftEXt"},
		{"broken WebP", "webp", "RIFF\x00\x00\x00\x00WEBPVP8 \xff\xff\xff\x7f", "RIFF\x00\x00\x00\x00WEBPVP8 \xff\xff\xff\x7f"},
		{"empty", "jpeg", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := []byte(tt.file)
			got := withoutMetadata(tt.format, in)
			if string(got) != tt.want {
				t.Errorf("got %d bytes, want %d:\n%q\n%q", len(got), len(tt.want), got, tt.want)
			}
			if !slices.Equal(in, []byte(tt.file)) {
				t.Error("the file that was given has changed")
			}
			if bytes.Contains(got, []byte(secret)) {
				t.Error("the metadata is still there")
			}
		})
	}
}

func FuzzWithoutMetadata(f *testing.F) {
	for _, format := range []string{"jpeg", "png", "webp"} {
		f.Add(format, []byte("\xff\xd8\xff\xda\x00\x02\xff\xd9"))
	}
	f.Fuzz(func(t *testing.T, format string, data []byte) {
		got := withoutMetadata(format, data)
		if len(got) > len(data) {
			t.Errorf("%d bytes became %d", len(data), len(got))
		}
		before, f1, err1 := image.DecodeConfig(bytes.NewReader(data))
		after, f2, err2 := image.DecodeConfig(bytes.NewReader(got))
		if err1 == nil && f1 == format && (err2 != nil || f2 != f1 || before.Width != after.Width || before.Height != after.Height) {
			t.Errorf("%s %v became %s %v, %v", f1, before, f2, after, err2)
		}
	})
}
