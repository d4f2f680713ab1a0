package api

import (
	"context"
	"encoding/base64"
	"errors"
	"image"
	"image/color"
	"strings"
	"time"

	"hordenode/internal/horde"
	"hordenode/internal/outbound"
	"hordenode/internal/picture"
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
	info, err := picture.Check(data, picture.Limits{Pixels: maxSourcePixels, Bytes: maxSourceBytes})
	switch {
	case errors.Is(err, picture.ErrTooLong):
		return nil, image.Config{}, tooManyBytes()
	case errors.Is(err, picture.ErrPixels):
		return nil, image.Config{}, horde.Refuse(horde.RCSourceImageResolutionExceeded, "A source image can have 3072 by 3072 pixels at most.")
	case errors.Is(err, picture.ErrFrames):
		return nil, image.Config{}, horde.Refuse(horde.RCImageValidationFailed, "A source image must not be animated.")
	case errors.Is(err, picture.ErrCut):
		return nil, image.Config{}, &horde.Error{RC: horde.RCImageValidationFailed, Msg: "The source image is not complete.", Err: err}
	case err != nil:
		return nil, image.Config{}, unreadable(err)
	}
	cfg := image.Config{Width: info.Width, Height: info.Height, ColorModel: color.YCbCrModel} // whatever it is, it has no alpha band
	if info.Alpha {
		cfg.ColorModel = color.NRGBAModel
	}
	return withoutMetadata(info.Format, data), cfg, nil
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
