package simworker

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	xwebp "golang.org/x/image/webp"

	"hordenode/cmd/hordenode/internal/hordetest"
	"hordenode/cmd/hordenode/internal/rest"
)

// A clock moves only when somebody sleeps.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d > 0 {
		c.now = c.now.Add(d)
		c.slept = append(c.slept, d)
	}
	return ctx.Err()
}

// work runs a worker until it delivered n jobs.
func work(t *testing.T, cfg Config, n int) (*Worker, *clock) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := &clock{now: time.Unix(1e9, 0)}
	cfg.Now, cfg.Sleep = c.Now, c.Sleep
	cfg.Key, cfg.Name = "key", "w"
	if cfg.Models == nil {
		cfg.Models = []string{"m"}
	}
	cfg.Done = func(Delivery) {
		if n--; n == 0 {
			cancel()
		}
	}
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		t.Fatalf("%d jobs were not delivered; stats %+v", n, w.Stats())
	}
	return w, c
}

func ask(t *testing.T, h *hordetest.Horde, k rest.Kind, r rest.Request) {
	t.Helper()
	c := rest.Client{Base: h.URL, Key: "client"}
	if _, err := c.Async(context.Background(), k, r); err != nil {
		t.Fatal(err)
	}
}

func TestTextJob(t *testing.T) {
	h := hordetest.New(t)
	ask(t, h, rest.Text, rest.Request{Prompt: "a poem", Params: map[string]any{"n": 2, "max_length": 100}})
	w, c := work(t, Config{URLs: []string{h.URL}, Kind: rest.Text, Speed: 1}, 2)

	if got, want := w.Stats(), (Stats{Jobs: 2, Kudos: 5}); got != want {
		t.Errorf("stats: got %+v, want %+v", got, want)
	}
	for id, got := range h.Results {
		if len(got) < 300 || len(got) > 400 || !strings.HasPrefix(got, "This is a synthetic answer") {
			t.Errorf("result of %s: got %d characters %q, want about 400 that say they are synthetic", id, len(got), got)
		}
	}
	if got := h.Agents["w"]; got != TextAgent {
		t.Errorf("bridge agent: got %q, want %q", got, TextAgent)
	}
	if got, want := c.slept[0], 2*time.Second; got != want {
		t.Errorf("100 tokens took %v, want %v", got, want)
	}
}

func TestImageGoesWhereThePopSays(t *testing.T) {
	for _, tt := range []struct {
		name string
		r2   bool
	}{{"uploaded", true}, {"in the submission", false}} {
		t.Run(tt.name, func(t *testing.T) {
			h := hordetest.New(t)
			ask(t, h, rest.Image, rest.Request{Prompt: "a cat", R2: &tt.r2, Params: map[string]any{"width": 576, "height": 320}})
			work(t, Config{URLs: []string{h.URL}, Kind: rest.Image}, 1)

			for id, result := range h.Results {
				img := h.Uploads[id]
				if !tt.r2 {
					img, _ = base64.StdEncoding.DecodeString(result)
				}
				if got, want := result == "R2", tt.r2; got != want {
					t.Errorf("submission says R2: got %v, want %v", got, want)
				}
				cfg, err := xwebp.DecodeConfig(bytes.NewReader(img))
				if err != nil || cfg.Width != 576 || cfg.Height != 320 {
					t.Errorf("image: got %dx%d (%v), want 576x320", cfg.Width, cfg.Height, err)
				}
			}
			if got := h.Agents["w"]; got != ImageAgent || !strings.Contains(got, "hordenode-simulated") {
				t.Errorf("bridge agent: got %q, want %q", got, ImageAgent)
			}
		})
	}
}

func TestForms(t *testing.T) {
	h := hordetest.New(t)
	c := rest.Client{Base: h.URL, Key: "client"}
	var q rest.Interrogation
	for _, name := range []string{"caption", "nsfw", "interrogation", "RealESRGAN_x4plus"} {
		q.Forms = append(q.Forms, rest.OrderedForm{Name: name})
	}
	if _, err := c.Interrogate(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	w, clock := work(t, Config{URLs: []string{h.URL}, Kind: rest.Alchemy, Models: Forms(), Speed: 1}, len(q.Forms))
	if got, want := w.Stats(), (Stats{Jobs: 4, Kudos: 10}); got != want {
		t.Errorf("stats: got %+v, want %+v", got, want)
	}
	if got, want := clock.slept[0], 2*time.Second; got != want {
		t.Errorf("a form took %v, want %v", got, want)
	}
	seen := map[string]any{}
	for id, raw := range h.Results {
		var result map[string]any
		if err := json.Unmarshal([]byte(raw), &result); err != nil || len(result) != 1 {
			t.Errorf("result of %s: got %s, want an object of one member", id, raw)
		}
		maps.Copy(seen, result)
		if img, ok := h.Uploads[id]; ok {
			if _, err := xwebp.DecodeConfig(bytes.NewReader(img)); err != nil {
				t.Errorf("upload: %v", err)
			}
		}
	}
	caption, _ := seen["caption"].(string)
	tags, _ := seen["interrogation"].(map[string]any)
	if !strings.Contains(caption, "synthetic") || seen["nsfw"] != false || len(tags) != 7 || seen["RealESRGAN_x4plus"] != "R2" || len(h.Uploads) != 1 {
		t.Errorf("got results %v and %d uploads, want one of each form and one upload", seen, len(h.Uploads))
	}
}

func TestWebPIsVariedAndValid(t *testing.T) {
	seen := map[string]bool{}
	for _, seed := range []string{"a", "b", "c", "d"} {
		b := webp(64, 128, seed)
		img, err := xwebp.Decode(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("seed %q: %v", seed, err)
		}
		if got := img.Bounds(); got.Dx() != 64 || got.Dy() != 128 {
			t.Errorf("size: got %v, want 64x128", got)
		}
		if l, r := img.At(3, 70), img.At(60, 70); l != r {
			t.Errorf("not mirrored: %v and %v", l, r)
		}
		seen[string(b)] = true
	}
	if len(seen) != 4 {
		t.Errorf("got %d different images, want 4", len(seen))
	}
}

func TestFailingNodeIsLeftForTheNext(t *testing.T) {
	bad, good := hordetest.New(t), hordetest.New(t)
	asked := 0
	bad.Refuse = func(*http.Request) (int, string, http.Header) {
		asked++
		return 503, "", http.Header{"Retry-After": {"600"}}
	}
	for range 5 {
		ask(t, good, rest.Text, rest.Request{Prompt: "x"})
	}
	w, _ := work(t, Config{URLs: []string{bad.URL, good.URL}, Kind: rest.Text}, 5)
	if got := w.Stats(); got.Fails != 1 || asked != 1 {
		t.Errorf("the failing node was asked %d times (%d fails), want once: it asked for ten minutes", asked, got.Fails)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	h := hordetest.New(t)
	ask(t, h, rest.Text, rest.Request{Prompt: "x"})
	left := 2
	h.Refuse = func(r *http.Request) (int, string, http.Header) {
		if left--; left >= 0 {
			return 429, "", http.Header{"Retry-After": {"45"}}
		}
		return 0, "", nil
	}
	_, c := work(t, Config{URLs: []string{h.URL}, Kind: rest.Text}, 1)
	if len(c.slept) < 2 || c.slept[0] != 45*time.Second || c.slept[1] != 45*time.Second {
		t.Errorf("slept %v, want 45s twice", c.slept)
	}
}

func TestSubmitIsTriedAgainElsewhere(t *testing.T) {
	h := hordetest.New(t)
	ask(t, h, rest.Text, rest.Request{Prompt: "x"})
	left := 3
	h.Refuse = func(r *http.Request) (int, string, http.Header) {
		if strings.HasSuffix(r.URL.Path, "/submit") {
			if left--; left >= 0 {
				return 500, "", nil
			}
		}
		return 0, "", nil
	}
	w, _ := work(t, Config{URLs: []string{h.URL}, Kind: rest.Text}, 1)
	if got := w.Stats(); got.Jobs != 1 || got.Lost != 0 {
		t.Errorf("got %+v, want the job delivered", got)
	}
}

func TestRefusedForGoodEndsTheWorker(t *testing.T) {
	h := hordetest.New(t)
	h.Refuse = func(*http.Request) (int, string, http.Header) { return 401, "InvalidAPIKey", nil }
	w, err := New(Config{URLs: []string{h.URL}, Key: "wrong", Kind: rest.Text, Name: "w", Models: []string{"m"}, Threads: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context()); !rest.HasRC(err, "InvalidAPIKey") {
		t.Errorf("Run = %v, want InvalidAPIKey", err)
	}
}

func TestIdleWorkerAsksLessOften(t *testing.T) {
	h := hordetest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := &clock{now: time.Unix(1e9, 0)}
	w, err := New(Config{URLs: []string{h.URL}, Key: "k", Kind: rest.Text, Name: "w", Models: []string{"m"}, Now: c.Now,
		Sleep: func(ctx context.Context, d time.Duration) error {
			if c.Now().Sub(time.Unix(1e9, 0)) > time.Minute {
				cancel()
			}
			return c.Sleep(ctx, d)
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if h.Pops < 10 || h.Pops > 40 {
		t.Errorf("%d pops in an idle minute, want 10 to 40", h.Pops)
	}
	if last := c.slept[len(c.slept)-1]; last < idleMax/2 || last > idleMax*3/2 {
		t.Errorf("last pause %v, want about %v", last, idleMax)
	}
}

func TestConfigIsChecked(t *testing.T) {
	ok := Config{URLs: []string{"http://x"}, Key: "k", Kind: rest.Text, Name: "w", Models: []string{"m"}}
	for name, spoil := range map[string]func(*Config){
		"kind":  func(c *Config) { c.Kind = "dreams" },
		"url":   func(c *Config) { c.URLs = nil },
		"key":   func(c *Config) { c.Key = "" },
		"name":  func(c *Config) { c.Name = "" },
		"model": func(c *Config) { c.Models = nil },
	} {
		cfg := ok
		spoil(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("without a good %s: got no error", name)
		}
	}
}
