//go:build faults

package acceptance

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// picture is a WebP of 64 x 64 pixels, as workers deliver it.
var picture, _ = base64.StdEncoding.DecodeString("UklGRlIAAABXRUJQVlA4IEYAAACwAwCdASpAAEAAPtFor1KoJiQioggBABoJaQDPZAWa6wAWchC3IAD+7nZ//Dn2x+9kr/nY6nGlvf0c7exHsKy66GqEAAAA")

// paint has an image made: posted at one node, popped and submitted at another. It returns the
// request's id.
func paint(t *testing.T, home, via *process, client, owner string, r2 bool) string {
	t.Helper()
	var posted struct{ ID string }
	if _, err := call("POST", home.url+"/api/v2/generate/async", client, map[string]any{
		"prompt": "a horde of robots", "models": []string{"stable_diffusion"}, "r2": r2,
		"params": map[string]any{"width": 512, "height": 512, "steps": 20, "n": 1},
	}, &posted); err != nil {
		t.Fatal(err)
	}
	var job struct {
		ID     string
		Upload string `json:"r2_upload"`
	}
	via.eventually(20*time.Second, "an image job", func() error {
		_, err := call("POST", via.url+"/api/v2/generate/pop", owner, map[string]any{
			"name": "painter", "models": []string{"stable_diffusion"}, "nsfw": true, "max_pixels": 1 << 20,
			"bridge_agent": "AI Horde Worker reGen:13.0.0:acceptance", "amount": 1,
		}, &job)
		if err == nil && job.ID == "" {
			err = errors.New("nothing to do")
		}
		return err
	})
	generation := base64.StdEncoding.EncodeToString(picture)
	if r2 {
		req, err := http.NewRequest(http.MethodPut, job.Upload, bytes.NewReader(picture))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("upload: %s", res.Status)
		}
		generation = "R2"
	}
	if _, err := call("POST", via.url+"/api/v2/generate/submit", owner, map[string]any{
		"id": job.ID, "generation": generation, "state": "ok", "seed": 42,
	}, nil); err != nil {
		t.Fatal(err)
	}
	return posted.ID
}

// imageOf returns what the img of a status stands for: base64, or an address.
func imageOf(img string) ([]byte, error) {
	if !strings.HasPrefix(img, "http") {
		return base64.StdEncoding.DecodeString(img)
	}
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Get(img)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(res.Status)
	}
	return io.ReadAll(res.Body)
}
