package node_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"testing"

	"hordenode/internal/horde"
	"hordenode/node/nodetest"
)

// pixel is a PNG of one pixel.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="

type poppedForms struct {
	Forms []struct {
		ID      string
		Form    string
		Source  string         `json:"source_image"`
		Upload  string         `json:"r2_upload"`
		Payload map[string]any `json:"payload"`
	}
}

type formsStatus struct {
	State string
	Forms []struct {
		Form   string
		State  string
		Result map[string]any
	}
}

// TestFormsCrossNodes posts forms at one node, has them done at the two others by different
// alchemists, and reads at each.
func TestFormsCrossNodes(t *testing.T) {
	c := nodetest.New(t, 3)
	client, bob, carol := c.NewAccount(1000, false), c.NewAccount(100, true), c.NewAccount(200, true)
	a, b, reader := c.Nodes[0], c.Nodes[1], c.Nodes[2]

	var p posted
	must(t, client.At(a), "POST", "/api/v2/interrogate/async", map[string]any{
		"source_image": pixel, "forms": []map[string]any{
			{"name": "caption", "payload": map[string]any{"min_length": 3}}, {"name": "nsfw"}, {"name": "GFPGAN"},
		},
	}, &p)
	pop := func(r nodetest.REST, name string, want int, forms ...string) (got poppedForms) {
		t.Helper()
		c.Eventually("forms for "+name, func() error {
			must(t, r, "POST", "/api/v2/interrogate/pop", map[string]any{"name": name, "forms": forms, "amount": 5}, &got)
			if len(got.Forms) != want {
				return fmt.Errorf("%d forms, want %d", len(got.Forms), want)
			}
			return nil
		})
		return got
	}
	reads := pop(bob.At(b), "reader", 2, "caption", "nsfw")
	if f := reads.Forms[0]; f.Form != "caption" || f.Payload["min_length"] != float64(3) || f.Upload != "" {
		t.Errorf("form at the far alchemist = %+v", f)
	}
	if got := base64.StdEncoding.EncodeToString(fetch(t, "GET", reads.Forms[0].Source, nil)); got != pixel {
		t.Errorf("source image at the far alchemist = %s", got)
	}
	paints := pop(carol.At(reader), "painter", 1, "GFPGAN")
	face, err := base64.StdEncoding.DecodeString(pixel)
	if err != nil {
		t.Fatal(err)
	}
	fetch(t, "PUT", paints.Forms[0].Upload, face)

	submit := func(r nodetest.REST, id, state string, result map[string]any) {
		t.Helper()
		must(t, r, "POST", "/api/v2/interrogate/submit", map[string]any{"id": id, "result": result, "state": state}, nil)
	}
	submit(bob.At(a), reads.Forms[0].ID, "ok", map[string]any{"caption": "a horse"}) // at another node than it was popped at
	submit(bob.At(b), reads.Forms[1].ID, "faulted", map[string]any{})
	submit(carol.At(reader), paints.Forms[0].ID, "ok", map[string]any{"GFPGAN": "R2"})

	for _, n := range c.Nodes {
		var s formsStatus
		must(t, client.At(n), "GET", "/api/v2/interrogate/status/"+p.ID, nil, &s)
		if s.State != "waiting" || len(s.Forms) != 3 || s.Forms[0].Result["caption"] != "a horse" || s.Forms[1].State != "waiting" || s.Forms[1].Result != nil {
			t.Fatalf("status at %s = %+v", n.Name, s)
		}
		address, _ := s.Forms[2].Result["GFPGAN"].(string)
		if got := string(fetch(t, "GET", address, nil)); got != string(face) {
			t.Errorf("image at %s = %q", n.Name, got)
		}
	}

	again := pop(carol.At(b), "second reader", 1, "nsfw")
	var s formsStatus
	must(t, client.At(reader), "DELETE", "/api/v2/interrogate/status/"+p.ID, nil, &s) // pays for what is in work
	if s.State != "partial" || s.Forms[1].State != "cancelled" || s.Forms[0].State != "done" {
		t.Errorf("status after the cancellation = %+v", s)
	}
	answer, err := carol.At(b).Do("POST", "/api/v2/interrogate/submit", map[string]any{"id": again.Forms[0].ID, "result": map[string]any{"nsfw": false}}, nil)
	if err != nil || answer.RC != string(horde.RCDuplicateGen) {
		t.Errorf("submit after the cancellation = %+v, %v, want DuplicateGen", answer, err)
	}
	c.Eventually("all accounts settled on all nodes", func() error {
		for _, n := range c.Nodes {
			for id, want := range map[horde.UserID]horde.Kudos{
				client.ID: horde.Whole(1000 - 3 - 5 - 3), // caption, GFPGAN, nsfw: price and 2
				bob.ID:    horde.Whole(100 + 1),
				carol.ID:  horde.Whole(200 + 3 + 1),
			} {
				if u, _ := n.User(id); u.Kudos != want {
					return fmt.Errorf("at %s user %d has %v, want %v", n.Name, id, u.Kudos, want)
				}
			}
		}
		return nil
	})
	c.CheckLedger()
}

// TestFormsOutliveTheirHome stops the home of a request while one of its forms is in work.
func TestFormsOutliveTheirHome(t *testing.T) {
	c := nodetest.New(t, 3)
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	home := c.Follower()
	other := c.Nodes[0]
	if other == home {
		other = c.Nodes[1]
	}
	var p posted
	must(t, client.At(home), "POST", "/api/v2/interrogate/async", map[string]any{
		"source_image": pixel, "slow_workers": false, "forms": []map[string]any{{"name": "caption"}, {"name": "interrogation"}},
	}, &p)
	poll := func(form string) (got poppedForms) {
		t.Helper()
		c.Eventually("the form "+form, func() error {
			must(t, owner.At(other), "POST", "/api/v2/interrogate/pop", map[string]any{"name": "patient", "forms": []string{form}}, &got)
			if len(got.Forms) != 1 {
				return fmt.Errorf("%d forms, want 1", len(got.Forms))
			}
			return nil
		})
		return got
	}
	first := poll("caption")
	home.Stop()
	home.Start()
	must(t, owner.At(other), "POST", "/api/v2/interrogate/submit", map[string]any{"id": first.Forms[0].ID, "result": map[string]any{"caption": "still here"}}, nil)
	second := poll("interrogation")
	must(t, owner.At(other), "POST", "/api/v2/interrogate/submit", map[string]any{"id": second.Forms[0].ID, "result": map[string]any{"interrogation": map[string]any{"tags": []any{}}}}, nil)
	var s formsStatus
	must(t, client.At(other), "GET", "/api/v2/interrogate/status/"+p.ID, nil, &s)
	if s.State != "done" || s.Forms[0].Result["caption"] != "still here" {
		t.Errorf("status = %+v, want both done", s)
	}
	c.Eventually("both accounts settled", func() error {
		payer, _ := other.User(client.ID)
		earner, _ := other.User(owner.ID)
		if payer.Kudos != horde.Whole(1000-2-4) || earner.Kudos != horde.Whole(100+4) {
			return fmt.Errorf("the payer has %v, the worker's owner %v", payer.Kudos, earner.Kudos)
		}
		return nil
	})
	c.CheckLedger()
}

// fetch calls an address that a node handed out.
func fetch(t *testing.T, method, address string, body []byte) []byte {
	t.Helper()
	a, err := http.NewRequest(method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(a)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s = %s, %v", method, address, res.Status, err)
	}
	return got
}
