package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	_ "image/jpeg" // formats that sources may have
	_ "image/png"
	"strings"
	"time"

	_ "golang.org/x/image/webp"

	"hordenode/internal/horde"
	"hordenode/internal/outbound"
)

const (
	maxSourceBytes  = 5 << 20 // of an image that a client sends
	maxSourcePixels = 3072 * 3072
)

// readSource reads an image that a client sent: the image itself or its address. It checks
// size and format, never decodes pixels, and leaves out what the file says besides them
// (see withoutMetadata). The colour model of the returned configuration tells whether there
// is an alpha band: color.NRGBAModel, else color.YCbCrModel.
func (s *Server) readSource(ctx context.Context, sent string) ([]byte, image.Config, error) {
	if !strings.HasPrefix(sent, "http") {
		return decodeSource(sent)
	}
	data, err := s.download(ctx, sent)
	if err != nil {
		return nil, image.Config{}, err
	}
	return checkSource(data, func(err error) error {
		return &horde.Error{RC: horde.RCSourceImageUrlInvalid, Msg: "What is at the address of the source image is not a PNG, JPEG or WebP.", Err: err}
	})
}

// downloadTime bounds the download of one source image, redirects included.
const downloadTime = 2 * time.Second

// download reads the image at an address (spec/image.md section 9). The client learns
// neither why an address is not called nor what is there.
func (s *Server) download(ctx context.Context, address string) ([]byte, error) {
	if s.deps.Outbound == nil {
		return nil, horde.Refuse(horde.RCImageValidationFailed, "This node does not download source images. Please send the image itself, in base64.")
	}
	ctx, cancel := context.WithTimeout(ctx, downloadTime)
	defer cancel()
	data, err := s.deps.Outbound.Get(ctx, address, maxSourceBytes)
	var status *outbound.StatusError
	switch {
	case err == nil:
		return data, nil
	case errors.Is(err, outbound.ErrTooLarge):
		return nil, tooManyBytes()
	case errors.As(err, &status):
		return nil, &horde.Error{RC: horde.RCSourceImageUrlInvalid, Msg: "There is no source image at its address.", Err: err}
	}
	return nil, &horde.Error{RC: horde.RCImageValidationFailed, Msg: "The source image could not be downloaded.", Err: err}
}

// decodeSource reads an image that a client sent as base64, in either alphabet, perhaps as a
// data: address. See readSource.
func decodeSource(sent string) ([]byte, image.Config, error) {
	if base64.StdEncoding.DecodedLen(len(sent)) > maxSourceBytes+maxSourceBytes/8 {
		return nil, image.Config{}, tooManyBytes()
	}
	data, err := decodeBase64(sent)
	if err != nil {
		return nil, image.Config{}, badImage(err)
	}
	return checkSource(data, badImage)
}

// checkSource checks the file of an image; unreadable makes the refusal of what is none.
func checkSource(data []byte, unreadable func(error) error) ([]byte, image.Config, error) {
	none := image.Config{}
	if len(data) > maxSourceBytes {
		return nil, none, tooManyBytes()
	}
	cfg, format, err := image.DecodeConfig(bytes.NewReader(data))
	switch {
	case err != nil:
		return nil, none, unreadable(err)
	case cfg.Width <= 0 || cfg.Height <= 0:
		return nil, none, unreadable(nil)
	case cfg.Width > maxSourcePixels/cfg.Height:
		return nil, none, horde.Refuse(horde.RCSourceImageResolutionExceeded, "A source image can have 3072 by 3072 pixels at most.")
	case isAnimated(format, data):
		return nil, none, horde.Refuse(horde.RCImageValidationFailed, "A source image must not be animated.")
	}
	if !hasAlpha(format, data, cfg) {
		cfg.ColorModel = color.YCbCrModel // whatever it is, it has no alpha band
	} else {
		cfg.ColorModel = color.NRGBAModel
	}
	return withoutMetadata(format, data), cfg, nil
}

func tooManyBytes() error {
	return horde.Refuse(horde.RCSourceImageSizeExceeded, "A source image can have %d bytes at most.", maxSourceBytes)
}

func badImage(err error) error {
	return &horde.Error{RC: horde.RCImageValidationFailed, Msg: "The image is not a PNG, JPEG or WebP in base64.", Err: err}
}

// decodeBase64 takes the standard and the URL alphabet, padded or not, and data: addresses.
func decodeBase64(s string) ([]byte, error) {
	if strings.HasPrefix(s, "data:") {
		_, s, _ = strings.Cut(s, ",")
	}
	s = strings.TrimRight(strings.TrimSpace(s), "=")
	enc := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.RawURLEncoding
	}
	return enc.DecodeString(s)
}

// isAnimated tells animated WebP and PNG files; JPEG has no such thing.
func isAnimated(format string, data []byte) bool {
	switch format {
	case "webp":
		flags, ok := webpFlags(data)
		return ok && flags&0x02 != 0
	case "png":
		for chunk := range pngChunks(data) {
			if chunk == "acTL" {
				return true
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

// pngChunks yields the types of the chunks before the pixels.
func pngChunks(data []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for at := 8; at+12 <= len(data); {
			name := string(data[at+4 : at+8])
			if name == "IDAT" || !yield(name) {
				return
			}
			at += 12 + int(binary.BigEndian.Uint32(data[at:]))
		}
	}
}
