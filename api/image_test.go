package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// tinyWebP is a lossy WebP of 64 by 64 pixels.
const tinyWebP = "UklGRlIAAABXRUJQVlA4IEYAAACwAwCdASpAAEAAPtFor1KoJiQioggBABoJaQDPZAWa6wAWchC3IAD+7nZ//Dn2x+9kr/nY6nGlvf0c7exHsKy66GqEAAAA"

// pngOf makes a PNG in base64, with an alpha band or without.
func pngOf(t testing.TB, w, h int, alpha bool) string {
	t.Helper()
	var img image.Image = image.NewGray(image.Rect(0, 0, w, h))
	if alpha {
		n := image.NewNRGBA(image.Rect(0, 0, w, h))
		n.Set(0, 0, color.NRGBA{1, 2, 3, 4})
		img = n
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func jpegOf(t testing.TB, w, h int) string {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, w, h)), nil); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

type m = map[string]any

// with returns a plain image request, changed.
func with(changes m) m {
	q := m{
		"prompt": "a horde of robots",
		"models": []string{"stable_diffusion"},
		"nsfw":   false,
		"r2":     false,
		"params": m{"width": 512, "height": 512, "steps": 20, "cfg_scale": 7.5, "sampler_name": "k_euler", "seed": "42"},
	}
	for k, v := range changes {
		if p, ok := v.(m); ok && k == "params" {
			for pk, pv := range p {
				q["params"].(m)[pk] = pv
			}
			continue
		}
		q[k] = v
	}
	return q
}

func TestImageRules(t *testing.T) {
	rgb := pngOf(t, 64, 64, false)
	extra := m{"image": rgb}
	many := func(n int, v any) []any { return slices.Repeat([]any{v}, n) }
	for _, tt := range []struct {
		name    string
		request m
		set     func(h *harness)
		status  int
		rc      horde.RC
	}{
		{"style", with(m{"style": "none"}), nil, 404, horde.RCStyleNotFound},
		{"maintenance", with(nil), func(h *harness) { h.accounts.modes.Maintenance = true }, 400, horde.RCMaintenanceMode},
		{"webhook", with(m{"webhook": "http://127.0.0.1/x"}), nil, 400, horde.RCBadRequest},
		{"secure webhook", with(m{"webhook": "https://127.0.0.1/x"}), nil, 202, ""},
		{"proxied account", with(m{"proxied_account": "x"}), nil, 400, horde.RCOnlyServiceAccountProxy},
		{"proxied account of a service", with(m{"proxied_account": "x"}), role(horde.RoleService), 202, ""},
		{"deleted", with(nil), role(horde.RoleDeleted), 403, horde.RCDeletedUser},
		{"six extra images", with(m{"extra_source_images": many(6, extra)}), nil, 400, horde.RCTooManyExtraSourceImages},
		{"two extra images", with(m{"extra_source_images": many(2, extra)}), nil, 400, horde.RCMoreThanMinExtraSourceImage},
		{"unknown worker", with(m{"workers": []string{"00000000-0000-4000-8000-000000000009"}}), nil, 404, horde.RCWorkerNotFound},
		{"no worker id", with(m{"workers": []string{"x"}}), nil, 404, horde.RCWorkerNotFound},
		{"alchemist", with(m{"workers": []string{alchemist.String()}}), knows(alchemist, horde.KindAlchemy), 404, horde.RCWorkerNotFound},
		{"known worker", with(m{"workers": []string{alchemist.String()}}), knows(alchemist, horde.KindText), 202, ""},
		{"no batching", with(m{"disable_batching": true, "params": m{"n": 2}}), nil, 400, horde.RCRequiresTrust},
		{"no batching of one", with(m{"disable_batching": true}), nil, 202, ""},
		{"no batching, trusted", with(m{"disable_batching": true, "params": m{"n": 2}}), role(horde.RoleTrusted), 202, ""},
		{"queue full", with(m{"params": m{"n": 2}}), func(h *harness) { h.board.waiting[7] = 29 }, 429, horde.RCTooManyPrompts},
		{"queue just full", with(nil), func(h *harness) { h.board.waiting[7] = 29 }, 202, ""},
		{"hires_fix with Flux", with(m{"models": []string{"flux"}, "params": m{"hires_fix": true}}), nil, 400, horde.RCHiResMismatch},
		{"six LoRAs", with(m{"params": m{"loras": many(6, m{"name": "a"})}}), nil, 400, horde.RCTooManyLoras},
		{"LoRA version", with(m{"params": m{"loras": []any{m{"name": "1a", "is_version": true}}}}), nil, 400, horde.RCBadLoraVersion},
		{"21 TIs", with(m{"params": m{"tis": many(21, m{"name": "a"})}}), nil, 400, horde.RCTooManyTIs},
		{"transparent Flux", with(m{"models": []string{"flux"}, "params": m{"transparent": true}}), nil, 400, horde.RCInvalidTransparencyModel},
		{"QR code with Flux", with(m{"models": []string{"flux"}, "params": m{"workflow": "qr_code"}}), nil, 400, horde.RCControlNetMismatchQR},
		{"7501 words", with(m{"prompt": strings.Repeat("w ", 7501)}), nil, 400, horde.RCInvalidPromptSize},
		{"7500 words", with(m{"prompt": strings.Repeat("w ", 7500)}), nil, 202, ""},
		{"post-processor as model", with(m{"models": []string{"GFPGAN"}}), nil, 400, horde.RCUnexpectedModelName},
		{"two upscalers", with(m{"params": m{"post_processing": []string{"NMKD_Siax", "RealESRGAN_x4plus"}}}), nil, 400, horde.RCTooManyUpscalers},
		{"upscaler and face fixer", with(m{"params": m{"post_processing": []string{"NMKD_Siax", "GFPGAN"}}}), nil, 202, ""},
		{"three decimals", with(m{"params": m{"cfg_scale": 7.555}}), nil, 400, horde.RCBadCFGDecimals},
		{"two decimals", with(m{"params": m{"cfg_scale": 7.29}}), nil, 202, ""},
		{"special model", with(m{"models": []string{"horde_special::alice#7"}}), nil, 403, horde.RCForbidden},
		{"special model without owner", with(m{"models": []string{"horde_special"}}), role(horde.RoleSpecial), 400, horde.RCSpecialMissingUsername},
		{"another's special model", with(m{"models": []string{"horde_special::owner#8"}}), role(horde.RoleSpecial), 403, horde.RCForbidden},
		{"special model without payload", with(m{"models": []string{"horde_special::alice#7"}}), role(horde.RoleSpecial), 400, horde.RCSpecialMissingPayload},
		{"own special model", with(m{"models": []string{"horde_special::alice#7"}, "params": m{"special": m{"a": 1}}}), role(horde.RoleSpecial), 202, ""},
		{"special field", with(m{"params": m{"special": m{"a": 1}}}), nil, 400, horde.RCBadRequest},
		{"mask alone", with(m{"source_mask": rgb}), nil, 400, horde.RCSourceMaskUnnecessary},
		{"normal map with SD2", with(m{"models": []string{"sd2"}, "source_image": rgb, "params": m{"control_type": "normal"}}), nil, 400, horde.RCControlNetUnsupported},
		{"canny with SD2", with(m{"models": []string{"sd2"}, "source_image": rgb, "params": m{"control_type": "canny"}}), nil, 202, ""},
		{"control with pix2pix", with(m{"models": []string{"pix2pix"}, "source_image": rgb, "params": m{"control_type": "canny"}}), nil, 400, horde.RCControlNetUnsupported},
		{"control without image", with(m{"params": m{"control_type": "canny"}}), nil, 400, horde.RCControlNetSourceMissing},
		{"control when inpainting", with(m{"source_image": rgb, "source_processing": "inpainting", "params": m{"control_type": "canny"}}), nil, 400, horde.RCControlNetInpaintingMismatch},
		{"control with XL", with(m{"models": []string{"xl"}, "source_image": rgb, "params": m{"control_type": "canny"}}), nil, 400, horde.RCControlNetMismatch},
		{"transparent with extra images", with(m{"source_processing": "remix", "extra_source_images": many(1, extra), "params": m{"transparent": true}}), nil, 400, horde.RCInvalidTransparencyImg2Img},
		{"transparent with control", with(m{"source_image": rgb, "params": m{"transparent": true, "control_type": "canny"}}), nil, 400, horde.RCInvalidTransparencyCN},
		{"remix without Cascade", with(m{"source_processing": "remix"}), nil, 400, horde.RCInvalidRemix},
		{"extra images without remix", with(m{"extra_source_images": many(1, extra)}), nil, 400, horde.RCInvalidExtraSourceImages},
		{"remix", with(m{"models": []string{"cascade"}, "source_image": rgb, "source_processing": "remix", "extra_source_images": many(1, extra)}), nil, 202, ""},
		{"texts without workflow", with(m{"params": m{"extra_texts": []any{m{"text": "x", "reference": "qr_code"}}}}), nil, 400, horde.RCInvalidExtraTexts},
		{"QR code without text", with(m{"params": m{"workflow": "qr_code"}}), nil, 400, horde.RCMissingExtraTexts},
		{"QR code with another text", with(m{"params": m{"workflow": "qr_code", "extra_texts": []any{m{"text": "x", "reference": "other"}}}}), nil, 400, horde.RCMissingExtraTexts},
		{"QR code", with(m{"params": m{"workflow": "qr_code", "extra_texts": []any{m{"text": "x", "reference": "qr_code"}}}}), nil, 202, ""},
		{"init_as_image", with(m{"source_image": rgb, "params": m{"control_type": "canny", "init_as_image": 1, "return_control_map": true}}), nil, 400, horde.RCControlNetInvalidPayload},
		{"pix2pix without image", with(m{"models": []string{"pix2pix"}}), nil, 400, horde.RCSourceImageRequiredForModel},
		{"ControlNet as model", with(m{"models": []string{"canny"}}), nil, 400, horde.RCUnexpectedModelName},
		{"beta, one image", with(m{"models": []string{betaModel}}), nil, 400, horde.RCBetaComparisonFault},
		{"inpainting without mask", with(m{"source_image": rgb, "source_processing": "inpainting"}), nil, 400, horde.RCInpaintingMissingMask},
		{"inpainting with alpha", with(m{"source_image": pngOf(t, 64, 64, true), "source_processing": "inpainting"}), nil, 202, ""},
		{"inpainting with mask", with(m{"source_image": rgb, "source_mask": rgb, "source_processing": "inpainting"}), nil, 202, ""},
		{"outpainting without mask", with(m{"source_image": rgb, "source_processing": "outpainting"}), nil, 202, ""},
		{"no image", with(m{"source_image": "AAAA"}), nil, 400, horde.RCImageValidationFailed},
		{"image address", with(m{"source_image": "https://127.0.0.1/x.png"}), nil, 400, horde.RCImageValidationFailed},
		{"NUL", with(m{"prompt": "a\x00b"}), nil, 400, horde.RCNulByteInPayload},
		{"NUL in params", with(m{"params": m{"loras": []any{m{"name": "a\x00"}}}}), nil, 400, horde.RCNulByteInPayload},
		{"too large without kudos", with(m{"params": m{"width": 2048, "height": 2048}}), kudos(30), 403, horde.RCKudosUpfront},
		{"fast workers without kudos", with(m{"slow_workers": false}), kudos(25), 403, horde.RCKudosUpfront},
		{"many steps without kudos", with(m{"params": m{"steps": 60}}), kudos(25), 403, horde.RCKudosUpfront},
		{"too large, downgraded", with(m{"allow_downgrade": true, "params": m{"width": 2048, "height": 2048}}), kudos(30), 202, ""},
		{"too large with kudos", with(m{"params": m{"width": 2048, "height": 2048}}), nil, 202, ""},
		{"dry run too large without kudos", with(m{"dry_run": true, "params": m{"width": 2048, "height": 2048}}), kudos(30), 403, horde.RCKudosUpfront},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			if tt.set != nil {
				tt.set(h)
			}
			h.do("POST", "/api/v2/generate/async", aliceKey, tt.request).wants(tt.status, tt.rc)
			if accepted := h.board.count() == 1; accepted != (tt.status == 202) {
				t.Errorf("accepted: %v, status %d", accepted, tt.status)
			}
		})
	}
	t.Run("beta, anonymous", func(t *testing.T) {
		newHarness(t).do("POST", "/api/v2/generate/async", horde.AnonymousKey, with(m{"models": []string{betaModel}})).wants(403, horde.RCBetaAnonForbidden)
	})
	t.Run("banned agent", func(t *testing.T) {
		newHarness(t).do("POST", "/api/v2/generate/async", aliceKey, with(nil), "Client-Agent", "My-Project:v0.0.1:My-Contact").wants(403, horde.RCBannedClientAgent)
	})
}

var alchemist = horde.WorkerID{UUID: horde.UUID{15: 9, 6: 0x40}}

func role(r horde.Roles) func(*harness) {
	return func(h *harness) { h.accounts.change(aliceKey, func(u *horde.User) { u.Roles |= r }) }
}

func kudos(n int64) func(*harness) {
	return func(h *harness) { h.accounts.change(aliceKey, func(u *horde.User) { u.Kudos = horde.Whole(n) }) }
}

func knows(id horde.WorkerID, kind horde.Kind) func(*harness) {
	return func(h *harness) { h.accounts.workers[id] = horde.Worker{ID: id, Kind: kind, Name: "w"} }
}

// TestImageRuleOrder breaks two rules at once: the one that is checked first is told.
func TestImageRuleOrder(t *testing.T) {
	rgb := pngOf(t, 64, 64, false)
	for _, tt := range []struct {
		name    string
		request m
		key     horde.APIKey
		rc      horde.RC
	}{
		{"style before key", with(m{"style": "none"}), "nobody", horde.RCStyleNotFound},
		{"webhook before key", with(m{"webhook": "http://127.0.0.1/"}), "nobody", horde.RCBadRequest},
		{"key before rules", with(m{"params": m{"cfg_scale": 1.234}}), "nobody", horde.RCInvalidAPIKey},
		{"workers before batching", with(m{"workers": []string{"x"}, "disable_batching": true, "params": m{"n": 2}}), aliceKey, horde.RCWorkerNotFound},
		{"parameters before special field", with(m{"params": m{"cfg_scale": 1.234, "special": m{"a": 1}}}), aliceKey, horde.RCBadCFGDecimals},
		{"control before transparency", with(m{"params": m{"control_type": "canny", "transparent": true}}), aliceKey, horde.RCControlNetSourceMissing},
		{"rules before kudos", with(m{"source_mask": rgb, "params": m{"width": 3072, "height": 3072}}), aliceKey, horde.RCSourceMaskUnnecessary},
		{"kudos before images", with(m{"source_image": "AAAA", "params": m{"width": 3072, "height": 3072}}), horde.AnonymousKey, horde.RCKudosUpfront},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newHarness(t).do("POST", "/api/v2/generate/async", tt.key, tt.request)
			if got := a.object()["rc"]; got != string(tt.rc) {
				t.Errorf("rc %v, want %s: %s", got, tt.rc, a.body)
			}
		})
	}
}

func TestImageSchema(t *testing.T) {
	h := newHarness(t)
	for _, tt := range []struct{ body, at string }{
		{`{}`, "prompt"},
		{`{"prompt":""}`, "prompt"},
		{`{"prompt":"x","params":[]}`, "params"},
		{`{"prompt":"x","params":{"height":4096,"width":0}}`, "params.height params.width"},
		{`{"prompt":"x","params":{"n":21,"steps":501}}`, "params.n params.steps"},
		{`{"prompt":"x","params":{"seed":5}}`, "params.seed"},
		{`{"prompt":"x","params":{"post_processing":["x","GFPGAN","GFPGAN"]}}`, "params.post_processing params.post_processing.0"},
		{`{"prompt":"x","params":{"loras":[{"model":6}]}}`, "params.loras.0.model params.loras.0.name"},
		{`{"prompt":"x","params":{"workflow":null}}`, "params.workflow"},
		{`{"prompt":"x","params":{"control_type":"mlsd"}}`, "params.control_type"},
		{`{"prompt":"x","nsfw":1}`, "nsfw"},
		{`{"prompt":"x","models":[1]}`, "models.0"},
		{`{"prompt":"x","webhook":"short","style":"ab"}`, "style webhook"},
	} {
		if got := h.do("POST", "/api/v2/generate/async", "", tt.body).wants(400, "").errorsAt(); got != tt.at {
			t.Errorf("%s: errors at %q, want %q", tt.body, got, tt.at)
		}
	}
}

// TestImageDefaults pins the defaults that really apply where nothing was sent.
func TestImageDefaults(t *testing.T) {
	h := newHarness(t)
	h.do("POST", "/api/v2/generate/async", aliceKey, `{"prompt":"X ### y"}`, "Client-Agent", "tester:1:me").wants(202, "")
	q := h.board.last(t)
	want := horde.Shape{
		Models: []string{"stable_diffusion"}, NSFW: true, SlowOK: true, Pixels: 512 * 512, AccurateSteps: 30,
		Processing: "img2img", R2: true, Sampler: "k_euler_a", Karras: true,
	}
	if got, w := fmt.Sprintf("%+v", q.Shape), fmt.Sprintf("%+v", want); got != w {
		t.Errorf("shape\n%s, want\n%s", got, w)
	}
	if q.Kind != horde.KindImage || q.Payer != 7 || q.Slots != 1 || q.Priority != 5000 || q.Things != 30*512*512 || q.TTL != 150 ||
		q.Search != "x ### y" || q.Client != "tester:1:me" || q.NoBatch || q.Quote.Tax != horde.Whole(3) || q.Quote.Upfront != 0 || !q.Created.Equal(h.clock.now()) {
		t.Errorf("request %+v", q)
	}
	h.do("POST", "/api/v2/generate/pop", ownerKey, `{"name":"w","models":["stable_diffusion"]}`).wants(200, "")
	caps := h.board.pops[0].Caps
	wantCaps := horde.Caps{
		BridgeAgent: "unknown:0:unknown", Models: []string{"stable_diffusion"}, NSFW: true, Threads: 1,
		MaxPixels: 262144, Img2Img: true, Painting: true, UnsafeIP: true, PostProcessing: true,
	}
	if got, w := fmt.Sprintf("%+v", caps), fmt.Sprintf("%+v", wantCaps); got != w {
		t.Errorf("caps\n%s, want\n%s", got, w)
	}
}

func TestImageShape(t *testing.T) {
	h := newHarness(t)
	h.accounts.workers[alchemist] = horde.Worker{ID: alchemist}
	ids := slices.Repeat([]string{alchemist.String()}, 7)
	h.do("POST", "/api/v2/generate/async", ownerKey, with(m{
		"models": []string{}, "nsfw": false, "trusted_workers": true, "slow_workers": false, "extra_slow_workers": true,
		"workers": ids, "worker_blacklist": true, "r2": true, "source_image": pngOf(t, 64, 64, false), "disable_batching": true,
		"params": m{
			"width": 576, "height": 1024, "steps": 50, "sampler_name": "k_heun", "karras": false, "loras": []any{}, "tis": []any{m{"name": "x"}},
			"post_processing": []string{"GFPGAN"}, "control_type": "canny", "image_is_control": true, "return_control_map": true, "tiling": true, "hires_fix": true, "clip_skip": 2, "n": 3,
		},
	})).wants(202, "")
	q := h.board.last(t)
	want := horde.Shape{
		Models: []string{}, TrustedOnly: true, ExtraSlowOK: true, Workers: slices.Repeat([]horde.WorkerID{alchemist}, 5), WorkersDeny: true,
		Pixels: 576 * 1024, AccurateSteps: 80, Source: true, Processing: "img2img", R2: true, Sampler: "k_heun", LoRAs: true, TIs: true,
		PostProcessing: []string{"GFPGAN"}, ControlType: "canny", ImageIsControl: true, ReturnControl: true, Tiling: true, HiresFix: true, ClipSkip: 2,
	}
	if got, w := fmt.Sprintf("%+v", q.Shape), fmt.Sprintf("%+v", want); got != w {
		t.Errorf("shape\n%s, want\n%s", got, w)
	}
	if !q.NoBatch || q.Slots != 3 || q.Quote.PrePPM != 1_300_000 || q.Quote.PostPPM != 1_320_000 || q.Quote.Upfront == 0 {
		t.Errorf("request %+v", q)
	}
}

func TestBetaComesInPairs(t *testing.T) {
	h := newHarness(t)
	h.do("POST", "/api/v2/generate/async", aliceKey, with(m{"models": []string{"xl", betaModel}, "params": m{"n": 3}})).wants(202, "")
	if q := h.board.last(t); q.Slots != 2 || !slices.Equal(q.Shape.Models, []string{betaModel}) {
		t.Errorf("%d slots, models %q", q.Slots, q.Shape.Models)
	}
	pair := h.board.last(t).ID.String()
	for _, pipeline := range []string{"pipeline0", "pipeline1"} {
		a := h.do("POST", "/api/v2/generate/pop", ownerKey, m{"name": "w", "models": []string{betaModel}}).wants(200, "")
		var got struct {
			Payload struct{ Special json.RawMessage }
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		if want := `{"model_name":"` + pipeline + `","pair_id":"` + pair + `","comfy_pipeline":"` + pipeline + `.json"}`; string(got.Payload.Special) != want {
			t.Errorf("special %s, want %s", got.Payload.Special, want)
		}
	}
}

func TestTruthy(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  bool
	}{{"null", false}, {"false", false}, {"true", true}, {`""`, false}, {`"false"`, true}, {"0", false}, {"0.0", false}, {"-1", true}, {"[]", false}, {"[0]", true}, {"{}", false}, {`{"a":0}`, true}} {
		v, err := parseJSON([]byte(tt.value))
		if err != nil {
			t.Fatal(err)
		}
		if got := truthy(v); got != tt.want {
			t.Errorf("truthy(%s) = %v, want %v", tt.value, got, tt.want)
		}
	}
}

func TestEducationIsCareful(t *testing.T) {
	h := newHarness(t)
	role(horde.RoleEducation)(h)
	h.do("POST", "/api/v2/generate/async", aliceKey, with(m{"nsfw": true, "censor_nsfw": false})).wants(202, "")
	q := h.board.last(t)
	b, err := decodeImageBody(q.Body)
	if err != nil {
		t.Fatal(err)
	}
	if q.Shape.NSFW || !q.Shape.TrustedOnly || !b.Payload.Censor {
		t.Errorf("nsfw %v, trusted %v, censor %v", q.Shape.NSFW, q.Shape.TrustedOnly, b.Payload.Censor)
	}
}

func TestPriority(t *testing.T) {
	for _, tt := range []struct {
		name  string
		kudos float64
		roles horde.Roles
		want  int64
	}{
		{"balance", 123.4, 0, 123},
		{"debt", -20, 0, -20},
		{"flagged and rich", 50_000, horde.RoleFlagged, 50},
		{"flagged", 10, horde.RoleFlagged, -100},
	} {
		o := order{payer: horde.User{Kudos: horde.RoundKudos(tt.kudos), Roles: tt.roles}}
		if got := o.priority(); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestImageWarnings(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request m
		want    string
	}{
		{"none", with(m{"models": []string{"stable_diffusion"}}), "NoAvailableWorker"},
		{"XL", with(m{"models": []string{"xl"}, "params": m{"cfg_scale": 3, "steps": 5}}), "CfgScaleMismatch ClipSkipMismatch NoAvailableWorker StepsTooFew"},
		{"XL, too many", with(m{"models": []string{"xl", "xl"}, "params": m{"cfg_scale": 7, "clip_skip": 2, "steps": 41}}), "NoAvailableWorker StepsTooMany"},
		{"documented defaults count", m{"prompt": "x", "models": []string{"picky"}}, "CfgScaleTooSmall NoAvailableWorker SamplerMismatch SchedulerMismatch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			a := h.do("POST", "/api/v2/generate/async", aliceKey, tt.request).wants(202, "")
			var got struct{ Warnings []warning }
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatal(err)
			}
			var codes []string
			for _, w := range got.Warnings {
				codes = append(codes, w.Code)
			}
			slices.Sort(codes)
			if s := strings.Join(codes, " "); s != tt.want {
				t.Errorf("warnings %q, want %q", s, tt.want)
			}
		})
	}
}

func TestAcceptedImage(t *testing.T) {
	h := newHarness(t)
	a := h.do("POST", "/api/v2/generate/async", aliceKey, with(nil)).wants(202, "")
	q := h.board.last(t)
	price := fmt.Sprint(wholeKudos(q.Quote.Job))
	a.golden(`{"id":"` + q.ID.String() + `","kudos":` + price + `,"message":"` + noWorkerText + `","warnings":[{"code":"NoAvailableWorker","message":"` + noWorkerText + `"}]}`)

	h.board.possible = true
	a = h.do("POST", "/api/v2/generate/async", aliceKey, with(nil)).wants(202, "")
	a.golden(`{"id":"` + h.board.last(t).ID.String() + `","kudos":` + price + `}`)

	h.board.possible, h.accounts.modes.Raid = false, true
	a = h.do("POST", "/api/v2/generate/async", aliceKey, with(nil)).wants(202, "")
	a.golden(`{"id":"` + h.board.last(t).ID.String() + `","kudos":` + price + `}`)

	h.board.fail(horde.Refuse(horde.RCUnavailable, "full"))
	h.do("POST", "/api/v2/generate/async", aliceKey, with(nil)).wants(503, horde.RCUnavailable)
}

func TestImageDryRun(t *testing.T) {
	h := newHarness(t)
	h.do("POST", "/api/v2/generate/async", "nobody", with(m{"dry_run": true})).wants(401, horde.RCInvalidAPIKey)
	price := func(change m) float64 {
		a := h.do("POST", "/api/v2/generate/async", aliceKey, with(change)).wants(200, "")
		o := a.object()
		if len(o) != 1 {
			t.Errorf("more than a price: %s", a.body)
		}
		return o["kudos"].(float64)
	}
	one := price(m{"dry_run": true})
	four := price(m{"dry_run": true, "params": m{"n": 4}})
	fast := price(m{"dry_run": true, "slow_workers": false})
	if four < 3*one-4 || fast != one || one != float64(int(one)) {
		t.Errorf("one %v, four %v, fast %v", one, four, fast)
	}
	if h.board.count() != 0 {
		t.Error("a dry run left a request")
	}
}

func TestDowngrade(t *testing.T) {
	h := newHarness(t)
	kudos(30)(h)
	h.do("POST", "/api/v2/generate/async", aliceKey, with(m{"allow_downgrade": true, "slow_workers": false, "params": m{"width": 2048, "height": 2048, "steps": 60}})).wants(202, "")
	q := h.board.last(t)
	b, err := decodeImageBody(q.Body)
	if err != nil {
		t.Fatal(err)
	}
	if q.Shape.Pixels > 1024*1024 || !q.Shape.SlowOK || q.Quote.Upfront != 0 || int64(b.Payload.Width*b.Payload.Height) != q.Shape.Pixels ||
		b.Payload.Steps > 40 || q.Things != q.Shape.Pixels*int64(b.Payload.Steps) {
		t.Errorf("shape %+v, payload %+v, quote %+v", q.Shape, b.Payload, q.Quote)
	}
}

// TestKudosSpentInBetween has the ledger refuse what seemed to be there.
func TestKudosSpentInBetween(t *testing.T) {
	large := m{"params": m{"width": 2048, "height": 2048}}
	h := newHarness(t)
	h.board.fail(horde.Refuse(horde.RCKudosUpfront, "spent"))
	h.do("POST", "/api/v2/generate/async", aliceKey, with(large)).wants(403, horde.RCKudosUpfront)

	h.board.fail(horde.Refuse(horde.RCKudosUpfront, "spent"))
	large["allow_downgrade"] = true
	h.do("POST", "/api/v2/generate/async", aliceKey, with(large)).wants(202, "")
	if q := h.board.last(t); q.Quote.Upfront != 0 || q.Shape.Pixels > 1024*1024 {
		t.Errorf("request %+v", q)
	}

	h.board.fail(horde.Refuse(horde.RCKudosUpfront, "spent"))
	kudos(50_000)(h)
	h.do("POST", "/api/v2/generate/text/async", aliceKey, withText(m{"models": []string{"big"}, "allow_downgrade": true, "params": m{"max_length": 1024}})).wants(202, "")
	if q := h.board.last(t); q.Quote.Upfront != 0 || q.Shape.MaxLength != 512 {
		t.Errorf("request %+v", q)
	}
}

const (
	imagePopEmpty = `{"payload":{"ddim_steps":30,"n_iter":1,"image_is_control":false,"return_control_map":false,"sampler_name":"k_euler_a","cfg_scale":7.5,"height":512,"width":512,"karras":false,"tiling":false,"hires_fix":false,"transparent":false},` +
		`"id":null,"ids":[],"skipped":{"bridge_version":0,"controlnet":0,"img2img":0,"lora":0,"models":0,"nsfw":0,"painting":0,"performance":0,"post-processing":0,"unsafe_ip":0,"untrusted":0,"worker_id":0},` +
		`"model":null,"source_image":null,"source_processing":"img2img","source_mask":null,"extra_source_images":null,"r2_upload":null,"r2_uploads":null,"ttl":null,"messages":[]}`
	popBody = `{"name":"w","models":["stable_diffusion"],"bridge_agent":"AI Horde Worker reGen:13.0.0:x","max_pixels":4194304,"amount":1}`
)

func TestImagePopEmpty(t *testing.T) {
	h := newHarness(t)
	h.do("POST", "/api/v2/generate/pop", ownerKey, popBody).wants(200, "").golden(imagePopEmpty)
	h.board.skipped = map[string]int{"models": 2, "kudos": 1, "blacklist": 0, "secret": 3, "maintenance": 1, "": 4}
	h.do("POST", "/api/v2/generate/pop", ownerKey, popBody).golden(strings.Replace(strings.Replace(imagePopEmpty, `"models":0`, `"models":2`, 1), `"lora":0`, `"kudos":1,"lora":0`, 1))
}

func TestImagePopJob(t *testing.T) {
	h := newHarness(t)
	h.do("POST", "/api/v2/generate/async", aliceKey, with(m{"params": m{"n": 2, "unknown": 5}})).wants(202, "")
	a := h.do("POST", "/api/v2/generate/pop", ownerKey, strings.Replace(popBody, `"amount":1`, `"amount":2`, 1)).wants(200, "")
	var got struct {
		IDs     []horde.JobID `json:"ids"`
		Uploads []string      `json:"r2_uploads"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.IDs) != 2 || len(got.Uploads) != 2 {
		t.Fatalf("%v: %s", err, a.body)
	}
	id, id2 := got.IDs[0].String(), got.IDs[1].String()
	for i, u := range got.Uploads {
		if !strings.HasPrefix(u, "http://example.com/api/fed/v1/blob/"+got.IDs[i].String()+".webp?exp=") {
			t.Errorf("upload address %s", u)
		}
	}
	a.golden(`{"payload":{"prompt":"a horde of robots","ddim_steps":20,"n_iter":2,"use_nsfw_censor":true,"seed":"42","image_is_control":false,"return_control_map":false,"sampler_name":"k_euler","cfg_scale":7.5,"height":512,"width":512,"karras":true,"tiling":false,"hires_fix":false,"transparent":false},` +
		`"id":"` + id + `","ids":["` + id + `","` + id2 + `"],"skipped":{},"model":"stable_diffusion","source_image":null,"source_processing":"img2img","source_mask":null,"extra_source_images":null,` +
		`"r2_upload":"` + got.Uploads[0] + `","r2_uploads":["` + got.Uploads[0] + `","` + got.Uploads[1] + `"],"ttl":150,"messages":[]}`)
}

// TestImagePayload sends every parameter and wants every parameter.
func TestImagePayload(t *testing.T) {
	h := newHarness(t)
	role(horde.RoleSpecial)(h)
	h.do("POST", "/api/v2/generate/async", aliceKey, `{"prompt":"p","nsfw":false,"source_image":"`+tinyWebP+`","params":{
		"sampler_name":"DDIM","cfg_scale":6.25,"denoising_strength":0.5,"hires_fix_denoising_strength":0.4,"height":576,"width":640,"seed":"7","post_processing":["GFPGAN"],
		"karras":false,"tiling":true,"hires_fix":true,"clip_skip":2,"facefixer_strength":0.6,"loras":[{"name":"12","model":0.5,"clip":0.7,"inject_trigger":"any","is_version":true},{"name":"b"}],
		"tis":[{"name":"72","inject_ti":"prompt","strength":0.9},{"name":"73"}],"special":{"k":[1,null]},"workflow":"qr_code","extra_texts":[{"text":"t","reference":"qr_code"}],
		"control_type":"canny","image_is_control":true,"return_control_map":true,"steps":45,"n":1}}`).wants(202, "")
	a := h.do("POST", "/api/v2/generate/pop", ownerKey, popBody).wants(200, "")
	var got struct{ Payload json.RawMessage }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	const want = `{"prompt":"p","ddim_steps":40,"n_iter":1,"use_nsfw_censor":true,"seed":"7","control_type":"canny","image_is_control":true,"return_control_map":true,"extra_texts":[{"text":"t","reference":"qr_code"}],` +
		`"sampler_name":"DDIM","cfg_scale":6.25,"denoising_strength":0.5,"hires_fix_denoising_strength":0.4,"height":576,"width":640,"post_processing":["GFPGAN"],"karras":false,"tiling":true,"hires_fix":true,"clip_skip":2,"facefixer_strength":0.6,` +
		`"loras":[{"name":"12","model":0.5,"clip":0.7,"inject_trigger":"any","is_version":true},{"name":"b","model":1,"clip":1,"is_version":false}],"tis":[{"name":"72","inject_ti":"prompt","strength":0.9},{"name":"73","strength":1}],` +
		`"special":{"k":[1,null]},"workflow":"qr_code","transparent":false}`
	if string(got.Payload) != want {
		t.Errorf("payload\n%s, want\n%s", got.Payload, want)
	}
	if !h.board.last(t).NoBatch {
		t.Error("QR codes may be batched")
	}
}

func TestImagePopSources(t *testing.T) {
	rgb := pngOf(t, 64, 64, false)
	for _, tt := range []struct {
		agent string
		url   bool
	}{
		{"AI Horde Worker reGen:1:x", true},
		{"AI Horde Worker reGen:0.9:x", false},
		{"AI Horde Worker:14.2:x", true},
		{"AI Horde Worker:13:x", false},
		{"SD-WebUI Stable Horde Worker Bridge:3:x", true},
		{"unknown:99:x", false},
	} {
		t.Run(tt.agent, func(t *testing.T) {
			h := newHarness(t)
			h.do("POST", "/api/v2/generate/async", ownerKey, with(m{
				"models": []string{"cascade"}, "source_image": rgb, "source_mask": tinyWebP, "source_processing": "remix",
				"extra_source_images": []any{m{"image": rgb, "strength": 0.5}, m{"image": rgb}},
			})).wants(202, "")
			var got imagePopAnswer
			a := h.do("POST", "/api/v2/generate/pop", ownerKey, m{"name": "w", "models": []string{"cascade"}, "bridge_agent": tt.agent}).wants(200, "")
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatal(err)
			}
			if got.Processing != "remix" || len(got.Extras) != 2 || got.Extras[0].Strength != 0.5 || got.Extras[1].Strength != 1 {
				t.Errorf("answer %s", a.body)
			}
			if !tt.url {
				if *got.Source != rgb || *got.Mask != tinyWebP {
					t.Error("the images are not what was sent")
				}
				return
			}
			for what, addr := range map[string]string{"source": *got.Source, "extra": got.Extras[1].Image} {
				a := h.get(addr)
				if base64.StdEncoding.EncodeToString([]byte(a.body)) != rgb || a.header.Get("Content-Type") != "image/png" {
					t.Errorf("%s image: %d, %q", what, a.status, a.header.Get("Content-Type"))
				}
			}
			if got := h.get(*got.Mask).header.Get("Content-Type"); got != "image/webp" {
				t.Errorf("mask is %s", got)
			}
		})
	}
}

func TestImagePopExtrasAlone(t *testing.T) {
	h := newHarness(t)
	rgb := pngOf(t, 64, 64, false)
	h.do("POST", "/api/v2/generate/async", ownerKey, with(m{"models": []string{"cascade"}, "source_processing": "remix", "extra_source_images": []any{m{"image": rgb}}})).wants(202, "")
	var got imagePopAnswer
	a := h.do("POST", "/api/v2/generate/pop", ownerKey, m{"name": "w", "models": []string{"cascade"}}).wants(200, "")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Extras) != 1 || got.Source != nil || got.Processing != "img2img" {
		t.Errorf("answer %s", a.body)
	}
}

func TestImagePopWithSourceOutOfReach(t *testing.T) {
	h := newHarness(t)
	h.do("POST", "/api/v2/generate/async", aliceKey, with(m{"source_image": tinyWebP})).wants(202, "")
	clear(h.board.blobs)
	var got imagePopAnswer
	a := h.do("POST", "/api/v2/generate/pop", ownerKey, m{"name": "w", "models": []string{"stable_diffusion"}}).wants(200, "")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.ID == nil || !strings.HasPrefix(*got.Source, "http") {
		t.Errorf("%v: %s", err, a.body)
	}
}

// get follows an address that the server handed out.
func (h *harness) get(addr string) answer { return h.fetch("GET", addr, nil) }

func (h *harness) fetch(method, addr string, body any) answer {
	h.Helper()
	u, err := url.Parse(addr)
	if err != nil {
		h.Fatal(err)
	}
	return h.do(method, u.RequestURI(), "", body)
}

func TestImagePopRefusals(t *testing.T) {
	known := func(h *harness) {
		h.accounts.workers[alchemist] = horde.Worker{ID: alchemist, Name: "fucking google", Kind: horde.KindImage}
	}
	pop := func(change m) m {
		q := m{"name": "w", "models": []string{"stable_diffusion"}}
		for k, v := range change {
			q[k] = v
		}
		return q
	}
	for _, tt := range []struct {
		name   string
		body   m
		set    func(*harness)
		status int
		rc     horde.RC
	}{
		{"fine", pop(nil), nil, 200, ""},
		{"no name", m{"models": []string{"stable_diffusion"}}, nil, 400, ""},
		{"blank name", pop(m{"name": " \x00 "}), nil, 400, horde.RCBadRequest},
		{"half a priority user", pop(m{"priority_usernames": []string{"db0"}}), nil, 400, horde.RCInvalidPriorityUsername},
		{"priority user without number", pop(m{"priority_usernames": []string{"db0#1", "db0#"}}), nil, 400, horde.RCInvalidPriorityUsername},
		{"priority user with words", pop(m{"priority_usernames": []string{"db0#one"}}), nil, 400, horde.RCInvalidPriorityUsername},
		{"deleted", pop(nil), role(horde.RoleDeleted | horde.RoleFlagged), 403, horde.RCDeletedUser},
		{"flagged", pop(nil), role(horde.RoleFlagged), 403, horde.RCWorkerFlaggedMaintenance},
		{"profane name", pop(m{"name": "FUCK it"}), nil, 400, horde.RCProfaneWorkerName},
		{"profane agent", pop(m{"bridge_agent": "fuck:1:x"}), nil, 400, horde.RCProfaneBridgeAgent},
		{"notebook", pop(m{"name": "my CoLab box"}), nil, 400, horde.RCBadRequest},
		{"known already", pop(m{"name": "fucking google"}), known, 200, ""},
		{"of the board", pop(nil), func(h *harness) { h.board.fail(horde.Refuse(horde.RCWorkerMaintenance, "resting")) }, 403, horde.RCWorkerMaintenance},
		{"home away", pop(nil), func(h *harness) { h.board.fail(horde.Refuse(horde.RCUnavailable, "later")) }, 503, horde.RCUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			if tt.set != nil {
				tt.set(h)
			}
			h.do("POST", "/api/v2/generate/pop", aliceKey, tt.body).wants(tt.status, tt.rc)
		})
	}
	h := newHarness(t)
	h.do("POST", "/api/v2/generate/pop", horde.AnonymousKey, pop(nil)).wants(403, horde.RCAnonForbiddenWorker)
	h.do("POST", "/api/v2/generate/pop", "nobody", pop(nil)).wants(401, horde.RCInvalidAPIKey)
	if got := h.do("POST", "/api/v2/generate/pop", "", pop(nil)).wants(400, "").errorsAt(); got != "apikey" {
		t.Errorf("errors at %q", got)
	}
	if got := h.do("POST", "/api/v2/generate/pop", aliceKey, pop(m{"amount": 0, "threads": 51, "models": []string{"ab"}})).wants(400, "").errorsAt(); got != "amount models.0 threads" {
		t.Errorf("errors at %q", got)
	}
}

func TestImagePopPasses(t *testing.T) {
	h := newHarness(t)
	h.do("POST", "/api/v2/generate/pop", ownerKey, m{
		"name": " <b>w & x ", "models": []string{"stable_diffusion", "mine"}, "priority_usernames": []string{"a#b#3", "x#0"}, "amount": 5, "blacklist": []string{"Word"},
		"bridge_agent": "", "require_upfront_kudos": true,
	}).wants(200, "")
	p := h.board.pops[0]
	if p.Name != "&lt;b&gt;w &amp; x" || p.User.ID != 8 || p.Amount != 5 || !slices.Equal(p.Priority, []horde.UserID{3, 0}) || p.IP != "192.0.2.1" {
		t.Errorf("pop %+v", p)
	}
	if c := p.Caps; len(c.Models) != 2 || len(c.Blacklist) != 1 || !c.RequireUpfront || c.BridgeAgent != "unknown:0:unknown" {
		t.Errorf("caps %+v", c)
	}
}

// popped queues one image request and hands its jobs out.
func (h *harness) popped(change m, amount int) (request string, jobs []horde.JobID) {
	h.Helper()
	request, _ = h.do("POST", "/api/v2/generate/async", aliceKey, with(change)).wants(202, "").object()["id"].(string)
	var got imagePopAnswer
	a := h.do("POST", "/api/v2/generate/pop", ownerKey, strings.Replace(popBody, `"amount":1`, fmt.Sprintf(`"amount":%d`, amount), 1)).wants(200, "")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		h.Fatal(err)
	}
	return request, got.IDs
}

func TestImageCycleInline(t *testing.T) {
	for _, r2 := range []bool{false, true} {
		h := newHarness(t)
		id, jobs := h.popped(m{"r2": r2}, 1)
		h.do("POST", "/api/v2/generate/submit", ownerKey, m{"id": jobs[0].String(), "generation": tinyWebP, "seed": 42}).wants(200, "").golden(`{"reward":6.22}`)
		a := h.do("GET", "/api/v2/generate/status/"+id, "", nil).wants(200, "")
		var got struct{ Generations []imageGeneration }
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.Generations) != 1 {
			t.Fatalf("%v: %s", err, a.body)
		}
		img := got.Generations[0].Img
		a.golden(`{"finished":1,"processing":0,"restarted":0,"waiting":0,"done":true,"faulted":false,"wait_time":0,"queue_position":1,"kudos":3,"is_possible":true,` +
			`"generations":[{"worker_id":"09000000-0000-0000-0000-000000000000","worker_name":"w","model":"m","state":"ok","img":"` + img + `","seed":"42","id":"` + jobs[0].String() + `","censored":false,"gen_metadata":[]}],"shared":false}`)
		if !r2 {
			if img != tinyWebP {
				t.Errorf("img is %.40s", img)
			}
			continue
		}
		b := h.get(img)
		if base64.StdEncoding.EncodeToString([]byte(b.body)) != tinyWebP || b.header.Get("Content-Type") != "image/webp" || b.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("image: %d %v", b.status, b.header)
		}
	}
}

func TestImageCycleUploaded(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(tinyWebP)
	if err != nil {
		t.Fatal(err)
	}
	for _, r2 := range []bool{false, true} {
		h := newHarness(t)
		id, _ := h.do("POST", "/api/v2/generate/async", aliceKey, with(m{"r2": r2})).wants(202, "").object()["id"].(string)
		var job imagePopAnswer
		a := h.do("POST", "/api/v2/generate/pop", ownerKey, popBody).wants(200, "")
		if err := json.Unmarshal([]byte(a.body), &job); err != nil {
			t.Fatal(err)
		}
		if up := h.fetch("PUT", *job.Upload, raw); up.status != 200 || up.body != "" {
			t.Errorf("upload: %d %q", up.status, up.body)
		}
		h.do("POST", "/api/v2/generate/submit", ownerKey, m{"id": job.ID.String(), "generation": "R2", "seed": -1}).wants(200, "")
		var got struct{ Generations []imageGeneration }
		a = h.do("GET", "/api/v2/generate/status/"+id, "", nil).wants(200, "")
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.Generations) != 1 {
			t.Fatalf("%v: %s", err, a.body)
		}
		g := got.Generations[0]
		if g.Seed != "-1" || r2 != strings.HasPrefix(g.Img, "http") || !r2 && g.Img != tinyWebP {
			t.Errorf("r2 %v: seed %s, img %.60s", r2, g.Seed, g.Img)
		}
		if r2 && h.get(g.Img).body != string(raw) {
			t.Error("the address brings another image")
		}
	}
}

func TestImageResultGoneOrAway(t *testing.T) {
	h := newHarness(t)
	id, jobs := h.popped(nil, 1)
	h.do("POST", "/api/v2/generate/submit", ownerKey, m{"id": jobs[0].String(), "generation": "R2", "seed": 1}).wants(200, "")
	a := h.do("GET", "/api/v2/generate/status/"+id, "", nil).wants(200, "")
	if !strings.Contains(a.body, `"img":"N/A"`) {
		t.Errorf("a missing image is %s", a.body)
	}
	id2, jobs := h.popped(nil, 1)
	h.do("POST", "/api/v2/generate/submit", ownerKey, m{"id": jobs[0].String(), "generation": "no image", "seed": 1}).wants(200, "")
	a = h.do("GET", "/api/v2/generate/status/"+id2, "", nil).wants(200, "")
	if !strings.Contains(a.body, `"img":"no image"`) {
		t.Errorf("what is no image is %s", a.body)
	}
	h.do("POST", "/api/v2/generate/submit", ownerKey, m{"id": jobs[0].String(), "generation": strings.Repeat("no image ", 10_000), "seed": 1}).wants(400, horde.RCBadRequest)
}

func TestImageSubmitRefusals(t *testing.T) {
	h := newHarness(t)
	_, jobs := h.popped(nil, 1)
	submit := func(change m) m {
		q := m{"id": jobs[0].String(), "generation": tinyWebP, "seed": 42}
		for k, v := range change {
			if q[k] = v; v == nil {
				delete(q, k)
			}
		}
		return q
	}
	fifty := slices.Repeat([]any{m{"type": "information", "value": "see_ref", "ref": "x"}}, 50)
	for _, tt := range []struct {
		name   string
		key    horde.APIKey
		body   m
		status int
		rc     horde.RC
		errors string
	}{
		{"no seed", ownerKey, submit(m{"seed": nil}), 400, "", "seed"},
		{"no id, no seed", ownerKey, submit(m{"id": nil, "seed": nil}), 400, "", "id seed"},
		{"no generation", ownerKey, submit(m{"generation": nil}), 400, "", "generation"},
		{"no key", "", submit(nil), 400, "", "apikey"},
		{"odd state", ownerKey, submit(m{"state": "weird"}), 400, "", "state"},
		{"odd metadata", ownerKey, submit(m{"gen_metadata": []any{m{"type": "weird", "value": "x"}}}), 400, "", "gen_metadata.0.type gen_metadata.0.value"},
		{"no job id", ownerKey, submit(m{"id": "xyz"}), 404, horde.RCInvalidJobID, ""},
		{"unknown job", ownerKey, submit(m{"id": "00000000-0000-4000-8000-000000000001"}), 404, horde.RCInvalidJobID, ""},
		{"unknown key", "nobody", submit(nil), 401, horde.RCInvalidAPIKey, ""},
		{"51 metadata", ownerKey, submit(m{"gen_metadata": append(fifty, fifty[0])}), 400, horde.RCBadRequest, ""},
		{"50 metadata", ownerKey, submit(m{"gen_metadata": fifty}), 200, "", ""},
		{"again", ownerKey, submit(nil), 400, horde.RCDuplicateGen, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := h.do("POST", "/api/v2/generate/submit", tt.key, tt.body).wants(tt.status, tt.rc)
			if tt.errors != "" && a.errorsAt() != tt.errors {
				t.Errorf("errors at %q, want %q", a.errorsAt(), tt.errors)
			}
			if tt.rc == horde.RCInvalidJobID && !strings.Contains(a.body, "Processing Job with ID ") {
				t.Errorf("workers look for other words: %s", a.body)
			}
		})
	}
	if n := len(h.board.submits); n != 3 { // unknown job, 50 metadata, again
		t.Errorf("%d submits reached the board, want 3", n)
	}
}

func TestImageSubmitStates(t *testing.T) {
	nsfw := []any{m{"type": "censorship", "value": "nsfw"}}
	for _, tt := range []struct {
		name   string
		body   m
		result bool
	}{
		{"ok", m{}, true},
		{"faulted", m{"state": "faulted"}, false},
		{"censored", m{"state": "censored", "gen_metadata": nsfw}, true},
		{"faulted but censored", m{"state": "faulted", "gen_metadata": nsfw}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			_, jobs := h.popped(nil, 1)
			tt.body["id"], tt.body["generation"], tt.body["seed"] = jobs[0].String(), tinyWebP, 5
			h.do("POST", "/api/v2/generate/submit", ownerKey, tt.body).wants(200, "")
			s := h.board.submits[0]
			if (len(s.Result) > 0) != tt.result || s.By != 8 || s.Seed != 5 || (len(h.board.blobs) > 0) != tt.result {
				t.Errorf("submission %+v, %d blobs", s, len(h.board.blobs))
			}
		})
	}
}

func TestImageStatus(t *testing.T) {
	h := newHarness(t)
	id, _ := h.do("POST", "/api/v2/generate/async", aliceKey, with(nil)).wants(202, "").object()["id"].(string)
	const check = `"finished":0,"processing":0,"restarted":0,"waiting":1,"done":false,"faulted":false,"wait_time":0,"queue_position":1,"kudos":3,"is_possible":true`
	h.do("GET", "/api/v2/generate/check/"+id, "", nil).wants(200, "").golden(`{` + check + `}`)
	h.do("GET", "/api/v2/generate/check/"+strings.ReplaceAll(id, "-", ""), "", nil).wants(200, "")
	h.do("GET", "/api/v2/generate/status/"+id, "", nil, "Content-Type", "application/json").wants(200, "").golden(`{` + check + `,"generations":[],"shared":false}`)
	h.do("DELETE", "/api/v2/generate/status/"+id, "", nil, "Content-Type", "application/json").wants(200, "").golden(`{` + check + `,"generations":[],"shared":false}`)
	h.do("GET", "/api/v2/generate/check/"+id, "", nil).wants(200, "").golden(`{` + strings.Replace(check, `"waiting":1`, `"waiting":0`, 1) + `}`)

	for _, path := range []string{"/api/v2/generate/check/x", "/api/v2/generate/status/x", "/api/v2/generate/check/00000000-0000-4000-8000-000000000001", "/api/v2/generate/text/status/" + id} {
		h.do("GET", path, "", nil).wants(404, horde.RCRequestNotFound)
	}
	h.do("DELETE", "/api/v2/generate/text/status/"+id, "", nil).wants(404, horde.RCRequestNotFound)
	h.board.fail(horde.Refuse(horde.RCUnavailable, "home away"))
	h.do("GET", "/api/v2/generate/check/"+id, "", nil).wants(503, horde.RCUnavailable)
}

func TestImageRate(t *testing.T) {
	h := newHarness(t)
	id, jobs := h.popped(nil, 1)
	best := m{"best": jobs[0].String()}
	h.do("POST", "/api/v2/generate/rate/00000000-0000-4000-8000-000000000001", "", best).wants(404, horde.RCRequestNotFound)
	h.do("POST", "/api/v2/generate/rate/"+id, "", best).wants(400, horde.RCAestheticsNotCompleted)
	h.do("POST", "/api/v2/generate/submit", ownerKey, m{"id": jobs[0].String(), "generation": "R2", "seed": 1}).wants(200, "")
	h.do("POST", "/api/v2/generate/rate/"+id, "", best).wants(400, horde.RCAestheticsNotPublic)
	if got := h.do("POST", "/api/v2/generate/rate/x", "", m{"ratings": []any{m{"id": "x"}}}).wants(400, "").errorsAt(); got != "ratings.0.id ratings.0.rating" {
		t.Errorf("errors at %q", got)
	}
}

func TestSeeds(t *testing.T) {
	random := func() uint64 { return 1<<40 + 99 }
	for _, tt := range []struct {
		name      string
		seed      string
		variation int64
		remaining int
		want      string
	}{
		{"digits", "42", 0, 3, "42"},
		{"largest", "4294967295", 0, 1, "4294967295"},
		{"beyond 32 bits", "4294967296", 0, 1, "1"},
		{"far beyond", "79228162514264337593543950336", 0, 1, "1"},  // 2^96
		{"text is little-endian bytes", "abc", 0, 1, "6513249"},     // 0x636261
		{"long text keeps its end", "abcdefgh", 0, 1, "1751606885"}, // 0x68676665
		{"minus is text", "-1", 0, 1, "12589"},
		{"random", "", 0, 4, "99"},
		{"variation of the first batch", "10", 5, 4, "30"},
		{"variation of the last", "10", 5, 1, "15"},
		{"variation overflows", "4294967295", 1, 1, "1"},
		{"variation of a random one", "", 5, 2, "109"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := imageOrder{params: imageParams{seed: tt.seed, variation: tt.variation}}
			b := o.body(random)
			if got := b.seedOf(tt.remaining, random); got != tt.want {
				t.Errorf("seed %s, want %s", got, tt.want)
			}
		})
	}
}

func TestBlobAddresses(t *testing.T) {
	h := newHarness(t)
	_, jobs := h.popped(nil, 1)
	name := resultName(jobs[0])
	r, err := http.NewRequest("GET", "http://node.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	put, get := h.s.blobURL(r, "PUT", name), h.s.blobURL(r, "GET", name)
	forbidden := func(what string, a answer) {
		t.Helper()
		if a.status != 403 {
			t.Errorf("%s: %d, want 403", what, a.status)
		}
	}
	forbidden("upload to an address to read", h.fetch("PUT", get, "x"))
	forbidden("read from an address to upload", h.get(put))
	forbidden("no signature", h.get("/api/fed/v1/blob/"+name+".webp"))
	forbidden("another name", h.get(strings.Replace(get, name, "x"+name, 1)))
	forbidden("longer life", h.get(strings.Replace(get, "exp=", "exp=9", 1)))
	if a := h.get(get); a.status != 404 {
		t.Errorf("nothing there yet: %d", a.status)
	}
	if a := h.fetch("PUT", put, ""); a.status != 400 {
		t.Errorf("empty upload: %d", a.status)
	}
	if a := h.fetch("PUT", put, bytes.Repeat([]byte{1}, imageBodyMax+1)); a.status != 413 {
		t.Errorf("huge upload: %d", a.status)
	}
	if a := h.fetch("PUT", put, "<script>alert(1)</script>"); a.status != 200 { // and is served as an image all the same, see below
		t.Errorf("upload: %d", a.status)
	}
	if a := h.fetch("PUT", put, "<script>alert(2)</script>"); a.status != 200 {
		t.Errorf("upload: %d", a.status)
	}
	a := h.get(get)
	for name, want := range map[string]string{
		"Content-Type":                "image/webp",
		"X-Content-Type-Options":      "nosniff",
		"Content-Disposition":         `attachment; filename="` + jobs[0].String() + `.webp"`,
		"Access-Control-Allow-Origin": "*",
		"Content-Security-Policy":     "default-src 'none'; sandbox",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	h.board.fail(horde.Refuse(horde.RCUnavailable, "home away"))
	if a := h.get(get); a.status != 503 {
		t.Errorf("home away: %d", a.status)
	}
	h.clock.advance(blobLifetime + time.Second)
	forbidden("expired", h.get(get))
	forbidden("expired upload", h.fetch("PUT", put, "x"))
}

func TestBaseURL(t *testing.T) {
	r, err := http.NewRequest("GET", "http://node.example:7001/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "203.0.113.1:1"
	r.Header.Set("X-Forwarded-Proto", "https")
	if got := newHarness(t).s.baseURL(r); got != "http://node.example:7001" {
		t.Errorf("a stranger's word counts: %s", got)
	}
	if got := newHarness(t, func(c *Config) { c.PublicURL = "https://horde.example/" }).s.baseURL(r); got != "https://horde.example" {
		t.Errorf("base is %s", got)
	}
}
