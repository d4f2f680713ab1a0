package api

import "encoding/binary"

// withoutMetadata returns an image file without what it tells besides pixels: camera, place,
// time, comments, programs, prompts. Colour profiles stay. Files are not decoded, so nothing
// is lost and little is spent: JPEG segments (APP1, APP3 to APP13, APP15, COM), PNG chunks
// (texts, eXIf, tIME and private ones) and WebP chunks (EXIF, XMP, unknown ones) are left out,
// and so is what follows the image's end. A file whose structure is broken stays as it is:
// the worker will see.
func withoutMetadata(format string, data []byte) []byte {
	var clean []byte
	ok := false
	switch format {
	case "jpeg":
		clean, ok = cleanJPEG(data)
	case "png":
		clean, ok = cleanPNG(data)
	case "webp":
		clean, ok = cleanWebP(data)
	}
	if !ok {
		return data
	}
	return clean
}

// cleanJPEG keeps APP0 (JFIF), APP2 (profiles), APP14 (Adobe's colours) and all that is no APP.
func cleanJPEG(data []byte) ([]byte, bool) {
	if len(data) < 4 || data[0] != 0xff || data[1] != 0xd8 {
		return nil, false
	}
	out := append(make([]byte, 0, len(data)), data[:2]...)
	for at := 2; at+4 <= len(data); {
		if data[at] != 0xff {
			return nil, false
		}
		marker := data[at+1]
		if marker == 0xff { // fill byte
			at++
			continue
		}
		size := 2 + int(binary.BigEndian.Uint16(data[at+2:]))
		if size < 4 || at+size > len(data) {
			return nil, false
		}
		if marker == 0xd9 { // no pixels came
			return nil, false
		}
		app := marker >= 0xe0 && marker <= 0xef
		if keep := marker == 0xe0 || marker == 0xe2 || marker == 0xee; marker != 0xfe && (!app || keep) {
			out = append(out, data[at:at+size]...)
		}
		at += size
		if marker == 0xda { // pixels follow, up to the next marker; progressive files have several scans
			end := at + scanLength(data[at:])
			out = append(out, data[at:end]...)
			at = end
			if at+2 > len(data) || data[at+1] == 0xd9 {
				return append(out, data[at:min(at+2, len(data))]...), true
			}
		}
	}
	return nil, false
}

// scanLength is how many bytes stand before the next marker that ends a scan.
func scanLength(data []byte) int {
	for i := 0; i+1 < len(data); i++ {
		if next := data[i+1]; data[i] == 0xff && next != 0 && next != 0xff && (next < 0xd0 || next > 0xd7) {
			return i
		}
	}
	return len(data)
}

// cleanPNG keeps the critical chunks and those that colours depend on.
func cleanPNG(data []byte) ([]byte, bool) {
	const signature = 8
	if len(data) < signature {
		return nil, false
	}
	out := append(make([]byte, 0, len(data)), data[:signature]...)
	for at := signature; at+12 <= len(data); {
		size := int(binary.BigEndian.Uint32(data[at:]))
		if size < 0 || size > len(data)-at-12 {
			return nil, false
		}
		name := string(data[at+4 : at+8])
		switch name {
		case "IHDR", "PLTE", "IDAT", "IEND", "tRNS", "gAMA", "cHRM", "sRGB", "iCCP", "cICP", "sBIT", "bKGD", "pHYs":
			out = append(out, data[at:at+12+size]...)
		}
		at += 12 + size
		if name == "IEND" {
			return out, true
		}
	}
	return nil, false
}

// cleanWebP keeps the pixels, their alpha and the colour profile.
func cleanWebP(data []byte) ([]byte, bool) {
	const header = 12
	if len(data) < header || string(data[:4]) != "RIFF" || string(data[8:header]) != "WEBP" {
		return nil, false
	}
	out := append(make([]byte, 0, len(data)), data[:header]...)
	pixels := false
	for at := header; at+8 <= len(data); {
		size := int(binary.LittleEndian.Uint32(data[at+4:]))
		if size < 0 || size > len(data)-at-8 {
			return nil, false
		}
		end := min(at+8+size+size&1, len(data)) // the last byte of padding is often missing
		switch name := string(data[at : at+4]); name {
		case "VP8X", "ICCP", "ALPH", "VP8 ", "VP8L":
			start := len(out)
			out = append(out, data[at:end]...)
			if name == "VP8X" && size >= 1 {
				out[start+8] &^= 0x08 | 0x04 // flags of EXIF and XMP
			}
			pixels = pixels || name == "VP8 " || name == "VP8L"
		}
		at = end
	}
	if !pixels {
		return nil, false
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out, true
}
