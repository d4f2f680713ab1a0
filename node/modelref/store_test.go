package modelref

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
	"hordenode/internal/outbound"
)

const imageRef = `{
 "Alpha": {"baseline": "stable_diffusion_xl", "type": "ckpt", "nsfw": true, "inpainting": false,
  "requirements": {"min_steps": 10, "max_steps": 40, "cfg_scale": 7, "samplers": ["k_euler"]}},
 "Inpaint": {"baseline": "stable diffusion 1", "inpainting": true},
 "Odd": {"baseline": "flux_1", "requirements": {"max_steps": "many"}},
 "Broken": 7
}`

const textRef = `{
 "koboldcpp/Foo-13B": {"parameters": 13000000000, "nsfw": true},
 "X-7B": {"parameters": 7000000000}
}`

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImages(t *testing.T) {
	over := write(t, "over.json", `{"Alpha": {"baseline": "stable_cascade", "requirements": {"max_steps": 12}}, "CN": {"type": "controlnet"}}`)
	s := Open(t.Context(), Config{Images: []string{write(t, "sd.json", imageRef), over}})
	for _, tt := range []struct {
		name, model, baseline string
		known                 bool
	}{
		{"later reference wins", "Alpha", "stable_cascade", true},
		{"own family", "Inpaint", SD1, true},
		{"requirements that do not parse", "Odd", "flux_1", true},
		{"an entry that is no model", "Broken", SD1, false},
		{"an entry without family", "CN", SD1, true},
		{"unknown", "nobody", SD1, false},
		{"tag SDXL", "my [SDXL] model", "stable_diffusion_xl", false},
		{"tag Flux", "[Flux] x", "flux_1", false},
		{"tag Qwen", "[Qwen]", "qwen_image", false},
		{"tag ZModel", "a[ZModel]", "z_image_turbo", false},
		{"tag ZImage", "a[ZImage]", "z_image_turbo", false},
		{"tags are case sensitive", "[sdxl]", SD1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := s.Baseline(tt.model); got != tt.baseline {
				t.Errorf("Baseline = %q, want %q", got, tt.baseline)
			}
			if got := s.Known(horde.KindImage, tt.model); got != tt.known {
				t.Errorf("Known = %v, want %v", got, tt.known)
			}
		})
	}
	if n, ok := s.MaxSteps("Alpha"); n != 12 || !ok {
		t.Errorf("MaxSteps(Alpha) = %d, %v, want 12", n, ok)
	}
	if _, ok := s.MaxSteps("Odd"); ok {
		t.Error("MaxSteps(Odd) is known, want unknown")
	}
	if !s.Inpainting("Inpaint") || s.Inpainting("Alpha") {
		t.Error("Inpainting is wrong")
	}
	if got := s.Type("CN"); got != "controlnet" {
		t.Errorf("Type = %q, want controlnet", got)
	}
	if s.NSFW("Alpha") {
		t.Error("NSFW(Alpha) survived the later reference")
	}
}

func TestTexts(t *testing.T) {
	s := Open(t.Context(), Config{Texts: []string{write(t, "db.json", textRef)}})
	for _, tt := range []struct {
		model    string
		billions float64
		known    bool
	}{
		{"X-7B", 7, true},
		{"X-7B::someone#5", 7, true},
		{"X-7B::a::b", 1, false},
		{"X-7B-AWQ-Int4", 7, true},
		{"X-7B-AWQ-Int4::someone#5", 7, true},
		{"X-7B-Q8_0", 1, false}, // the size is eaten
		{"koboldcpp/Foo-13B.i1-Q4_K_M", 13, true},
		{"koboldcpp/Foo-13B.Q4_K_M", 1, false},
		{"unknown", 1, false},
		{"", 1, false},
	} {
		billions, known := s.Parameters(tt.model)
		if billions != tt.billions || known != tt.known {
			t.Errorf("Parameters(%q) = %v, %v, want %v, %v", tt.model, billions, known, tt.billions, tt.known)
		}
		if got := s.Known(horde.KindText, tt.model); got != tt.known {
			t.Errorf("Known(%q) = %v, want %v", tt.model, got, tt.known)
		}
	}
}

// The cases are those of spec/text.md section 9 and spec/kudos.md section 13.1.
func TestWithoutQuant(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"koboldcpp/Foo-13B.i1-Q4_K_M", "koboldcpp/Foo-13B"},
		{"koboldcpp/Foo-13B-IQ3_M", "koboldcpp/Foo-13B"},
		{"X-7B-AWQ-Int4", "X-7B"},
		{"X-7B-GPTQ-Int8", "X-7B"},
		{"X-13B-GPTQ-Int4", "X-13B"},
		{"X-7B.i1-Q4_K_M", "X-7B"},
		{"X-7B-IQ4_NL", "X-7B"},
		{"X-7B-Q8_0", "X"},
		{"koboldcpp/Foo-13B-Q4_K_M", "koboldcpp/Foo"},
		{"koboldcpp/L3-8B-Stheno-v3.2-Q4_K_M", "koboldcpp/L3-8B-Stheno-v3"},
		{"koboldcpp/Foo-13B.Q4_K_M", "koboldcpp/Foo-13B.Q4_K_M"},
		{"koboldcpp/Foo-13B-q4_k_m", "koboldcpp/Foo-13B-q4_k_m"},
		{"koboldcpp/Foo-13B.gguf", "koboldcpp/Foo-13B.gguf"},
		{"Foo-exl2-6bpw", "Foo-exl2-6bpw"},
		{"aphrodite/X-70B-GPTQ", "aphrodite/X-70B-GPTQ"},
		{"X-13B-AWQ", "X-13B-AWQ"},
		{"X-7B.Q8_0", "X-7B.Q8_0"},
	} {
		if got := withoutQuant(tt.name); got != tt.want {
			t.Errorf("withoutQuant(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestEmptyStoreKnowsNothing(t *testing.T) {
	for name, s := range map[string]*Store{"nil": nil, "no sources": Open(t.Context(), Config{})} {
		t.Run(name, func(t *testing.T) {
			if s.Known(horde.KindImage, "x") || s.Known(horde.KindText, "x") || s.Known(horde.KindAlchemy, "x") {
				t.Error("it knows a model")
			}
			if got := s.Baseline("x"); got != SD1 {
				t.Errorf("Baseline = %q, want %q", got, SD1)
			}
			if got := s.Names(horde.KindText); len(got) != 0 {
				t.Errorf("Names = %q, want none", got)
			}
		})
	}
}

// local is a client that may call this machine.
func local(t *testing.T) *outbound.Client {
	t.Helper()
	c := outbound.New(outbound.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(c.Close)
	return c
}

// A source that fails, or turns to garbage, is replaced by its last good copy, also by a
// node that starts anew.
func TestLastGoodCopy(t *testing.T) {
	var answer atomic.Pointer[string]
	set := func(s string) { answer.Store(&s) }
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if *answer.Load() == "" {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte(*answer.Load()))
	}))
	defer srv.Close()
	cfg := Config{Texts: []string{srv.URL + "/db.json"}, Dir: t.TempDir(), Fetch: local(t)}

	set(textRef)
	s := Open(t.Context(), cfg)
	if !s.Known(horde.KindText, "X-7B") {
		t.Fatal("X-7B is unknown after a good load")
	}
	for _, bad := range []string{"", "<html>", `["list"]`} {
		set(bad)
		if s.Reload(t.Context()) {
			t.Error("Reload of a bad source = true, want false")
		}
		if !s.Known(horde.KindText, "X-7B") {
			t.Error("X-7B was forgotten")
		}
		if fresh := Open(t.Context(), cfg); !fresh.Known(horde.KindText, "X-7B") {
			t.Error("X-7B is unknown after a restart")
		}
	}
	set(`{"Y-8B": {"parameters": 8000000000}}`)
	if !s.Reload(t.Context()) {
		t.Error("Reload of a good source = false, want true")
	}
	if s.Known(horde.KindText, "X-7B") || !s.Known(horde.KindText, "Y-8B") {
		t.Error("the new reference did not replace the old one")
	}
}

func TestSizeIsBounded(t *testing.T) {
	zeros := zeros{}
	if _, err := readAll(io.LimitReader(zeros, MaxSize+1)); !errors.Is(err, errTooLarge) {
		t.Errorf("a byte too much: %v, want %v", err, errTooLarge)
	}
	if data, err := readAll(io.LimitReader(zeros, 1000)); err != nil || len(data) != 1000 {
		t.Errorf("1000 bytes: %d, %v", len(data), err)
	}
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestSourceThatHangs(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(release)
	s := Open(t.Context(), Config{Texts: []string{srv.URL}, Fetch: local(t), Timeout: 50 * time.Millisecond})
	if s.Known(horde.KindText, "X-7B") {
		t.Error("it knows a model")
	}
}

func TestRunReloadsHourly(t *testing.T) {
	path := write(t, "db.json", `{}`)
	synctest.Test(t, func(t *testing.T) {
		s := Open(t.Context(), Config{Texts: []string{path}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		if err := os.WriteFile(path, []byte(textRef), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute) // of the bubble's clock
		synctest.Wait()
		if s.Known(horde.KindText, "X-7B") {
			t.Error("reloaded before the hour")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !s.Known(horde.KindText, "X-7B") {
			t.Error("not reloaded after an hour")
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestBuiltin(t *testing.T) {
	s := Open(t.Context(), Config{Images: []string{BuiltinImages}, Texts: []string{BuiltinTexts}})
	if !s.Known(horde.KindImage, "stable_diffusion") || s.Baseline("SDXL 1.0") != "stable_diffusion_xl" {
		t.Error("the built-in images lack stable_diffusion or the family of SDXL 1.0")
	}
	if b, known := s.Parameters("koboldcpp/Llama-3.1-8B-Instruct"); !known || b != 8 {
		t.Errorf("Parameters = %v, %v, want 8, true", b, known)
	}
}
