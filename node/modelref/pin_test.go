package modelref

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"hordenode/internal/horde"
	"hordenode/internal/outbound"
)

// What the federation agreed on replaces a node's own sources, of its kind only, and outlives
// reloads; what cannot be read changes nothing.
func TestPin(t *testing.T) {
	s := Open(t.Context(), Config{Images: []string{write(t, "sd.json", imageRef)}, Texts: []string{write(t, "db.json", textRef)}})
	known := func(what string, want map[string]bool) {
		t.Helper()
		for name, is := range want {
			kind := horde.KindImage
			if strings.HasSuffix(name, "B") {
				kind = horde.KindText
			}
			if got := s.Known(kind, name); got != is {
				t.Errorf("%s: Known(%s) = %v, want %v", what, name, got, is)
			}
		}
	}
	if err := s.Pin(t.Context(), horde.KindText, []byte(`{"Agreed-9B": {"parameters": 9e9}}`)); err != nil {
		t.Fatal(err)
	}
	pinned := map[string]bool{"Agreed-9B": true, "X-7B": false, "Alpha": true}
	known("pinned", pinned)
	if !s.Reload(t.Context()) {
		t.Error("Reload = false")
	}
	known("reloaded", pinned)
	for _, bad := range []string{"", "<html>", "[]"} {
		if err := s.Pin(t.Context(), horde.KindText, []byte(bad)); err == nil {
			t.Errorf("Pin(%q) = nil, want an error", bad)
		}
	}
	if err := s.Pin(t.Context(), horde.KindAlchemy, []byte("{}")); err == nil {
		t.Error("Pin of forms = nil, want an error")
	}
	known("after bad pins", pinned)
	if err := s.Pin(t.Context(), horde.KindImage, []byte(`{"Beta": {"baseline": "flux_1"}}`)); err != nil {
		t.Fatal(err)
	}
	known("both", map[string]bool{"Agreed-9B": true, "Beta": true, "Alpha": false})
	if err := s.Pin(t.Context(), horde.KindText, nil); err != nil {
		t.Fatal(err)
	}
	known("its own again", map[string]bool{"Agreed-9B": false, "X-7B": true, "Beta": true})
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		kind horde.Kind
		data string
		ok   bool
	}{
		{horde.KindImage, imageRef, true},
		{horde.KindText, textRef, true},
		{horde.KindImage, "{}", false},
		{horde.KindText, `{"a": "no model"}`, false},
		{horde.KindText, "<html>", false},
	} {
		if err := Check(tt.kind, []byte(tt.data)); (err == nil) != tt.ok {
			t.Errorf("Check(%v, %.20s) = %v, want taken: %v", tt.kind, tt.data, err, tt.ok)
		}
	}
}

// Whatever a list turns into, the last good one stays (reliability.md section 5 row 51).
func TestReliabilityRow51EvilList(t *testing.T) {
	var many strings.Builder
	many.WriteString("{")
	for i := range maxModels + 1 {
		fmt.Fprintf(&many, `"%d":{},`, i)
	}
	many.WriteString(`"last":{}}`)
	var serve atomic.Pointer[http.HandlerFunc]
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*serve.Load())(w, r) }))
	defer srv.Close()
	answer := func(f http.HandlerFunc) { serve.Store(&f) }
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
	}
	sum := sha256.Sum256([]byte(textRef))
	var log bytes.Buffer
	cfg := Config{
		Texts: []string{srv.URL + "/db.json?token=s3cr3t#sha256=" + hex.EncodeToString(sum[:])}, Dir: t.TempDir(), Fetch: local(t),
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	}
	answer(text(textRef))
	s := Open(t.Context(), cfg)
	if !s.Known(horde.KindText, "X-7B") {
		t.Fatal("the right list was not taken")
	}
	unpinned := cfg
	unpinned.Texts = []string{srv.URL + "/other.json"}
	free := Open(t.Context(), unpinned)
	for name, h := range map[string]http.HandlerFunc{
		"another list": text(`{"Evil-1B": {"parameters": 1}}`),
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(1<<30))
			_, _ = w.Write([]byte("{")) // the client goes away
		},
		"too many models": text(many.String()),
		"too deep":        text(strings.Repeat(`{"a":`, 20_000)),
		"cut off":         text(textRef[:len(textRef)/2]),
		"redirect inside": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
		},
	} {
		answer(h)
		if s.Reload(t.Context()) {
			t.Errorf("%s: Reload = true, want false", name)
		}
		if !s.Known(horde.KindText, "X-7B") || s.Known(horde.KindText, "Evil-1B") {
			t.Errorf("%s: the last good list did not stay", name)
		}
		if name == "another list" {
			continue // without a hash it is as good as any
		}
		if free.Reload(t.Context()) || !free.Known(horde.KindText, "X-7B") {
			t.Errorf("%s, no hash: the last good list did not stay", name)
		}
	}
	if strings.Contains(log.String(), "s3cr3t") {
		t.Errorf("the log has a secret: %s", log.String())
	}
	// Without leave this machine is not called.
	guarded := unpinned
	guarded.Dir, guarded.Fetch = "", outbound.New(outbound.Policy{})
	answer(text(textRef))
	if inside := Open(t.Context(), guarded); inside.Known(horde.KindText, "X-7B") {
		t.Error("a list was read from inside")
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(imageRef))
	f.Add([]byte(textRef))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = Check(horde.KindImage, data)
		if Check(horde.KindText, data) != nil {
			return
		}
		m, err := parseTexts(data)
		if err != nil || len(m) == 0 {
			t.Errorf("taken: %v, %v", m, err)
		}
	})
}
