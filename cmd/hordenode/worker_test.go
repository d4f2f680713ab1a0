package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"hordenode/cmd/hordenode/internal/hordetest"
	"hordenode/cmd/hordenode/internal/rest"
)

func TestWorkerCommand(t *testing.T) {
	h := hordetest.New(t)
	c := rest.Client{Base: h.URL, Key: "client"}
	for _, k := range []rest.Kind{rest.Text, rest.Image, rest.Text} {
		if _, err := c.Async(t.Context(), k, rest.Request{Prompt: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Interrogate(t.Context(), rest.Interrogation{Forms: []rest.OrderedForm{{Name: "caption"}}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	submits := 0
	h.Refuse = func(r *http.Request) (int, string, http.Header) {
		if strings.HasSuffix(r.URL.Path, "/submit") {
			if submits++; submits == 4 {
				cancel() // the last result is on its way: it must still arrive
			}
		}
		return 0, "", nil
	}
	code, out, stderr := commandIn(ctx, "worker", "--url", h.URL+"/", "--key", "k", "--simulate", "text,image,alchemy", "--name", "sim", "--speed", "0", "--log-level", "error")
	if code != 0 || stderr != "" {
		t.Fatalf("got code %d, %q", code, stderr)
	}
	if want := "4 jobs done, 10.00 kudos earned, 0 jobs lost, 0 failed polls\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	h.Lock()
	defer h.Unlock()
	if h.Agents["sim text 1"] == "" || h.Agents["sim image 1"] == "" || h.Agents["sim alchemy 1"] == "" || len(h.Uploads) != 1 {
		t.Errorf("got workers %v and %d uploads, want one of each kind and one upload", h.Agents, len(h.Uploads))
	}
}

func TestWorkerCommandSaysBridgeAgent(t *testing.T) {
	h := hordetest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	pops := 0
	h.Refuse = func(*http.Request) (int, string, http.Header) {
		if pops++; pops == 5 {
			cancel()
		}
		return 0, "", nil
	}
	commandIn(ctx, "worker", "--url", h.URL, "--key", "k", "--simulate", "image", "--name", "sim", "--bridge-agent", "mine:1:x", "--threads", "5")
	h.Lock()
	defer h.Unlock()
	if got := h.Agents["sim image 1"]; got != "mine:1:x" {
		t.Errorf("got %q, want mine:1:x", got)
	}
}

func TestWorkerCommandFailsWhenRefused(t *testing.T) {
	h := hordetest.New(t)
	code, out, stderr := command(t, "worker", "--url", h.URL, "--key", "wrong", "--simulate", "text")
	if code != exitError || !strings.Contains(stderr, "InvalidAPIKey") || !strings.HasPrefix(out, "0 jobs done") {
		t.Errorf("got %d, %q, %q, want a failure that says why, and the summary", code, out, stderr)
	}
	if strings.Contains(stderr, "wrong\"") {
		t.Errorf("the key is in %q", stderr)
	}
}
