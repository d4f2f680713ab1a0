package node_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hordenode/node"
	"hordenode/node/blob"
	"hordenode/node/blob/blobtest"
	"hordenode/node/nodetest"
)

type poppedImage struct {
	ID      string
	Uploads []string `json:"r2_uploads"`
	Source  string   `json:"source_image"`
}

type imageStatus struct {
	Done        bool
	Generations []struct{ Img string }
}

// Images of a request at A are worked on at B and read at C, whatever A keeps them in: a
// folder, or a bucket that only A knows.
func TestImagesOfAnotherHome(t *testing.T) {
	t.Run("folder", func(t *testing.T) { imagesOfAnotherHome(t, nil, nil) })
	t.Run("bucket", func(t *testing.T) {
		bucket := &blobtest.Bucket{}
		server := httptest.NewServer(bucket)
		defer server.Close()
		imagesOfAnotherHome(t, &blob.S3Config{
			Endpoint: server.URL, Bucket: "images", Prefix: "horde/", Keys: blob.Keys{Access: "a", Secret: "s"},
		}, bucket)
	})
}

func imagesOfAnotherHome(t *testing.T, s3 *blob.S3Config, bucket *blobtest.Bucket) {
	c := nodetest.New(t, 3, func(cfg *node.Config) {
		if cfg.Name == "a" {
			cfg.S3 = s3
		}
	})
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	a, b, reader := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	picture, err := base64.StdEncoding.DecodeString(pixel)
	if err != nil {
		t.Fatal(err)
	}

	var p posted
	must(t, client.At(a), "POST", "/api/v2/generate/async", map[string]any{
		"prompt": "an image that travels", "models": []string{}, "source_image": pixel, "source_processing": "img2img",
		"nsfw": false, "params": map[string]any{"n": 2, "steps": 1, "width": 64, "height": 64},
	}, &p)
	work := func(n *nodetest.Node) poppedImage {
		t.Helper()
		var job poppedImage
		c.Eventually("a job at "+n.Name, func() error {
			job = poppedImage{}
			answer, err := owner.At(n).Do("POST", "/api/v2/generate/pop", map[string]any{
				"name": "painter of " + n.Name, "models": []string{"stable_diffusion"}, "max_pixels": 1 << 20,
				"bridge_agent": "AI Horde Worker reGen:13.0.0:https://x", "allow_img2img": true, "allow_painting": true,
				"allow_post_processing": true, "amount": 1, "nsfw": true,
			}, &job)
			if err != nil || job.ID == "" {
				return fmt.Errorf("%+v %v", answer, err)
			}
			return nil
		})
		return job
	}
	for _, n := range []*nodetest.Node{b, a} {
		job := work(n)
		if got := string(fetch(t, "GET", job.Source, nil)); got != string(picture) {
			t.Errorf("source image at %s = %q", n.Name, got)
		}
		direct := s3 != nil && n == a
		if strings.HasPrefix(job.Uploads[0], n.URL()) == direct {
			t.Errorf("address to upload to at %s = %s, want one of the store itself: %v", n.Name, job.Uploads[0], direct)
		}
		submit := func() nodetest.Answer {
			t.Helper()
			answer, err := owner.At(n).Do("POST", "/api/v2/generate/submit", map[string]any{"id": job.ID, "generation": "R2", "state": "ok", "seed": 1}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		if answer := submit(); answer.Status != http.StatusBadRequest {
			t.Errorf("submit at %s before the upload = %+v, want 400", n.Name, answer)
		}
		fetch(t, "PUT", job.Uploads[0], picture)
		if answer := submit(); !answer.OK() {
			t.Fatalf("submit at %s = %+v", n.Name, answer)
		}
	}
	for _, n := range []*nodetest.Node{a, b, reader} {
		var s imageStatus
		must(t, client.At(n), "GET", "/api/v2/generate/status/"+p.ID, nil, &s)
		if !s.Done || len(s.Generations) != 2 {
			t.Fatalf("status at %s = %+v", n.Name, s)
		}
		for _, g := range s.Generations {
			if got := string(fetch(t, "GET", g.Img, nil)); got != string(picture) {
				t.Errorf("image at %s = %q", n.Name, got)
			}
		}
	}
	if bucket != nil {
		keys := bucket.Keys()
		if want := "horde/" + string(a.ID()) + "/"; len(keys) != 3 || !strings.HasPrefix(keys[0], want) {
			t.Errorf("the bucket holds %q, want a source and two results below %s", keys, want)
		}
	}
	c.CheckLedger()
}
