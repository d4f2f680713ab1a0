package api

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"hordenode/internal/horde"
	"hordenode/internal/outbound"
)

// fakeOutbound is a small internet.
type fakeOutbound map[string]any // []byte or error

func (f fakeOutbound) Get(_ context.Context, address string, most int64) ([]byte, error) {
	switch v := f[address].(type) {
	case []byte:
		if int64(len(v)) > most {
			return nil, outbound.ErrTooLarge
		}
		return v, nil
	case error:
		return nil, v
	}
	return nil, &outbound.StatusError{Status: http.StatusNotFound}
}

func rawOf(t *testing.T, sent string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(sent)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSourceByAddress(t *testing.T) {
	const at = "https://images.test/a.png?token=secret"
	alpha := rawOf(t, pngOf(t, 64, 64, true))
	for _, tt := range []struct {
		name  string
		there any
		rc    horde.RC
	}{
		{"PNG", alpha, ""},
		{"WebP", rawOf(t, tinyWebP), ""},
		{"a page", []byte("<html></html>"), horde.RCSourceImageUrlInvalid},
		{"nothing", nil, horde.RCSourceImageUrlInvalid},
		{"too many bytes", make([]byte, maxSourceBytes+1), horde.RCSourceImageSizeExceeded},
		{"too many pixels", rawOf(t, header(3073, 3072)), horde.RCSourceImageResolutionExceeded},
		{"an address inside", fmt.Errorf("%w: 10.0.0.1", outbound.ErrForbidden), horde.RCImageValidationFailed},
		{"a redirect too many", outbound.ErrRedirect, horde.RCImageValidationFailed},
		{"no answer", context.DeadlineExceeded, horde.RCImageValidationFailed},
		{"no network", errors.New("connection refused"), horde.RCImageValidationFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			h.s.deps.Outbound = fakeOutbound{at: tt.there}
			a := h.do("POST", imagePath, aliceKey, with(m{"source_image": at}))
			if tt.rc != "" {
				a.wants(http.StatusBadRequest, tt.rc)
				if len(h.board.blobs) != 0 || h.board.count() != 0 {
					t.Error("something was stored for a refused request")
				}
			} else {
				a.wants(http.StatusAccepted, "")
				if len(h.board.blobs) != 1 {
					t.Errorf("%d blobs, want 1", len(h.board.blobs))
				}
			}
			if strings.Contains(a.body+h.log.String(), "10.0.0.1") && tt.name != "an address inside" || strings.Contains(a.body, "10.0.0.1") || strings.Contains(h.log.String(), "secret") {
				t.Errorf("told or logged too much: %s %s", a.body, h.log)
			}
		})
	}
	h := newHarness(t)
	h.do("POST", imagePath, aliceKey, with(m{"source_image": at})).wants(http.StatusBadRequest, horde.RCImageValidationFailed)
}

// Sources, masks and the images of a remix may all be addresses; old workers get base64.
func TestSourcesByAddress(t *testing.T) {
	h := newHarness(t)
	src, msk := rawOf(t, pngOf(t, 64, 64, false)), rawOf(t, jpegOf(t, 32, 32))
	h.s.deps.Outbound = fakeOutbound{"http://a.test/s": src, "https://a.test/m": msk}
	h.do("POST", imagePath, aliceKey, with(m{"source_image": "http://a.test/s", "source_mask": "https://a.test/m", "source_processing": "inpainting"})).wants(http.StatusAccepted, "")
	a := h.do("POST", "/api/v2/generate/pop", ownerKey, m{
		"name": "old", "models": []string{"stable_diffusion"}, "bridge_agent": "AI Horde Worker:13:x", "allow_img2img": true,
	}).wants(http.StatusOK, "").object()
	if a["source_image"] != base64.StdEncoding.EncodeToString(src) || a["source_mask"] != base64.StdEncoding.EncodeToString(msk) {
		t.Errorf("an old worker got %.60v and %.60v, want base64", a["source_image"], a["source_mask"])
	}

	h.accounts.change(aliceKey, func(u *horde.User) { u.Roles = horde.RoleTrusted })
	h.do("POST", imagePath, aliceKey, with(m{
		"models": []string{"cascade"}, "source_processing": "remix", "source_image": "http://a.test/s",
		"extra_source_images": []m{{"image": "https://a.test/m", "strength": 0.5}, {"image": tinyWebP}},
	})).wants(http.StatusAccepted, "")
	a = h.do("POST", "/api/v2/generate/pop", ownerKey, m{
		"name": "new", "models": []string{"cascade"}, "bridge_agent": "AI Horde Worker reGen:13:x",
	}).wants(http.StatusOK, "").object()
	extras, _ := a["extra_source_images"].([]any)
	if len(extras) != 2 || a["source_processing"] != "remix" {
		t.Fatalf("extra images %v of %v, want 2 of a remix", extras, a["source_processing"])
	}
	for i, strength := range []float64{0.5, 1} {
		e, _ := extras[i].(map[string]any)
		url, _ := e["image"].(string)
		if e["strength"] != strength || !strings.HasPrefix(url, "http") {
			t.Errorf("extra image %d is %v, want an address and strength %v", i, e, strength)
		}
	}
	h.do("POST", imagePath, aliceKey, with(m{"models": []string{"cascade"}, "source_processing": "remix", "source_image": tinyWebP, "extra_source_images": []m{{"strength": 1}}})).
		wants(http.StatusBadRequest, horde.RCImageValidationFailed)
}
