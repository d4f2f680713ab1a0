package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

func TestWebhookMessages(t *testing.T) {
	const url = "https://client.test/hook?token=secret"
	h := newHarness(t)
	worker, job := horde.WorkerID{UUID: horde.UUID{9}}, horde.JobID{UUID: horde.UUID{1, 2}}
	h.board.blobs[resultName(job)] = []byte("picture")
	meta := []horde.Metadata{{Type: "censorship", Value: "nsfw"}}
	for _, tt := range []struct {
		name   string
		path   string
		body   m
		result horde.Generation
		want   string // REQ is the id of the request; an address is cut at its "?"
	}{
		{"image", imagePath, with(m{"r2": true}), horde.Generation{ID: job, Worker: worker, WorkerName: "w", Model: "m", Seed: 42, Result: []byte("R2"), Kudos: 6.22},
			`{"img":"http://example.com/api/fed/v1/blob/01020000-0000-0000-0000-000000000000.webp","seed":42,"worker_id":"09000000-0000-0000-0000-000000000000","worker_name":"w","model":"m","id":"01020000-0000-0000-0000-000000000000","censored":false,"gen_metadata":[],"request":"REQ","kudos":6.22}`},
		{"image in base64", imagePath, with(nil), horde.Generation{ID: job, Worker: worker, Result: []byte("R2"), Censored: true, State: "censored", Metadata: meta},
			`{"img":"cGljdHVyZQ==","seed":0,"worker_id":"09000000-0000-0000-0000-000000000000","worker_name":"","model":"","id":"01020000-0000-0000-0000-000000000000","censored":true,"gen_metadata":[{"type":"censorship","value":"nsfw"}],"request":"REQ","kudos":0}`},
		{"text", textPath, m{"prompt": "x"}, horde.Generation{ID: job, Worker: worker, WorkerName: "w", Model: "m", Seed: 7, Result: []byte("<b>"), State: "csam", Censored: true, Kudos: 1.5},
			`{"text":"<b>","seed":7,"worker_id":"09000000-0000-0000-0000-000000000000","worker_name":"w","model":"m","id":"01020000-0000-0000-0000-000000000000","state":"csam","gen_metadata":[],"request":"REQ","kudos":1.5}`},
		{"form", interrogatePath + "/async", m{"source_image": tinyWebP, "forms": []m{{"name": "caption"}}},
			horde.Generation{ID: job, Worker: worker, WorkerName: "w", Model: "caption", Result: []byte(`{"caption":"a <horse>"}`), Kudos: 1},
			`{"form":"caption","state":"done","result":{"caption":"a <horse>"},"worker_id":"09000000-0000-0000-0000-000000000000","worker_name":"w","request":"REQ","id":"01020000-0000-0000-0000-000000000000","kudos":1}`},
		{"form with an image", interrogatePath + "/async", m{"source_image": tinyWebP, "forms": []m{{"name": "GFPGAN"}}},
			horde.Generation{ID: job, Worker: worker, Model: "GFPGAN", Result: []byte(`{"GFPGAN":"R2"}`), Kudos: 3},
			`{"form":"GFPGAN","state":"done","result":{"GFPGAN":"http://example.com/api/fed/v1/blob/01020000-0000-0000-0000-000000000000.webp"},"worker_id":"09000000-0000-0000-0000-000000000000","worker_name":"","request":"REQ","id":"01020000-0000-0000-0000-000000000000","kudos":3}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.T = t
			tt.body["webhook"] = url
			h.do("POST", tt.path, aliceKey, tt.body).wants(http.StatusAccepted, "")
			q := h.board.last(t)
			if !q.Notify {
				t.Error("the request does not say that its results are to be told")
			}
			to, account, said, err := h.s.Webhook(context.Background(), &horde.Request{ID: q.ID, Kind: q.Kind, Body: q.Body}, tt.result)
			if err != nil || to != url || account != 7 {
				t.Fatalf("Webhook goes to %q for %d, %v, want %s for 7", to, account, err, url)
			}
			var got, want any
			text := string(said)
			if i := strings.IndexByte(text, '?'); i >= 0 {
				text = text[:i] + text[i+strings.IndexByte(text[i:], '"'):]
			}
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(strings.ReplaceAll(tt.want, "REQ", q.ID.String())), &want); err != nil {
				t.Fatal(err)
			}
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want)
			if string(g) != string(w) {
				t.Errorf("got\n%s\nwant\n%s", g, w)
			}
		})
	}
	if strings.Contains(h.log.String(), "secret") {
		t.Errorf("the address of a webhook was logged: %s", h.log)
	}
}

// The payload that a worker gets does not tell of the webhook, and an order without one has
// nothing to tell.
func TestWebhookStaysAtHome(t *testing.T) {
	h := newHarness(t)
	h.do("POST", imagePath, aliceKey, with(m{"webhook": "https://client.test/hook"})).wants(http.StatusAccepted, "")
	q := h.board.last(t)
	a := h.do("POST", "/api/v2/generate/pop", ownerKey, m{"name": "w", "models": []string{"stable_diffusion"}}).wants(http.StatusOK, "")
	if strings.Contains(a.body, "client.test") || strings.Contains(q.Search, "client.test") {
		t.Error("the worker learns of the webhook")
	}
	h.do("POST", imagePath, aliceKey, with(m{"webhook": "http://client.test/hook"})).wants(http.StatusBadRequest, horde.RCBadRequest)
	h.do("POST", imagePath, aliceKey, with(nil)).wants(http.StatusAccepted, "")
	if q := h.board.last(t); q.Notify {
		t.Error("a request without webhook is to be told")
	} else if to, _, _, err := h.s.Webhook(context.Background(), &q, horde.Generation{}); to != "" || err != nil {
		t.Errorf("Webhook goes to %q, %v, want nowhere", to, err)
	}
}

func TestWebhookSecret(t *testing.T) {
	h := newHarness(t)
	const path = "/api/fed/v1/webhook/secret"
	h.do("GET", path, aliceKey, nil).wants(http.StatusNotFound, "")
	h.s.deps.WebhookSecret = func(u horde.UserID) string { return "of " + string(rune('0'+u)) }
	h.do("GET", path, aliceKey, nil).wants(http.StatusOK, "").golden(`{"secret":"of 7"}`)
	h.do("GET", path, horde.AnonymousKey, nil).wants(http.StatusForbidden, horde.RCAnonForbidden)
	h.do("GET", path, "wrong", nil).wants(http.StatusUnauthorized, horde.RCInvalidAPIKey)
}
