package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"hordenode/node"
	"hordenode/node/nodetest"
)

// operate sends an operator's command to a node's socket.
func operate(t *testing.T, n *nodetest.Node, method, path string, body []byte, out any) int {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.Data(), "control.sock"))
	}}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://control"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil && res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(data, out); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
	}
	return res.StatusCode
}

// What an operator sets at one node all nodes use, also one that joins later or was away, and
// none has a file of it.
func TestAgreedContent(t *testing.T) {
	c := nodetest.New(t, 2)
	model, err := os.ReadFile("pricing/testdata/model.npz")
	if err != nil {
		t.Fatal(err)
	}
	first := c.Nodes[0]
	for path, body := range map[string][]byte{
		"/content/prices": []byte("no model"), "/content/texts": []byte("{}"), "/content/images": []byte("<html>"), "/content/else": model,
	} {
		if got := operate(t, first, "PUT", path, body, nil); got != http.StatusConflict {
			t.Errorf("PUT %s of what cannot be used = %d, want 409", path, got)
		}
	}
	for path, body := range map[string][]byte{"/content/prices": model, "/content/texts": []byte(`{"agreed/model-7B": {"parameters": 7000000000}}`)} {
		if got := operate(t, first, "PUT", path, body, nil); got != http.StatusOK {
			t.Fatalf("PUT %s = %d, want 200", path, got)
		}
	}
	client := c.NewAccount(1000, false)
	const price = 18 // 16.16 by the model for the payload with all its defaults, 1 for the job, 1 for the request
	agreed := func(n *nodetest.Node) {
		t.Helper()
		c.Eventually("the agreed content at "+n.Name, func() error {
			var list []node.ContentStatus
			operate(t, n, "GET", "/content", nil, &list)
			for _, s := range list {
				if !s.InUse || (s.Kind != "images") != (s.Agreed != "") {
					return fmt.Errorf("%+v", list)
				}
			}
			return nil
		})
		var st node.Status
		operate(t, n, "GET", "/status", nil, &st)
		if len(st.ImagePrices) != 64 {
			t.Errorf("%s prices images by %q, want a hash", n.Name, st.ImagePrices)
		}
		var answer struct{ Kudos float64 }
		must(t, client.At(n), "POST", "/api/v2/generate/async", map[string]any{"prompt": "x", "dry_run": true, "params": map[string]any{}}, &answer)
		if answer.Kudos != price {
			t.Errorf("a dry run at %s = %v kudos, want %v", n.Name, answer.Kudos, price)
		}
	}
	for _, n := range c.Nodes {
		agreed(n)
	}
	agreed(c.Add()) // has no file, and asks
	first.Stop()
	first.Start()
	agreed(first)
	if got := operate(t, c.Nodes[1], "DELETE", "/content/prices", nil, nil); got != http.StatusOK {
		t.Fatalf("DELETE = %d, want 200", got)
	}
	for _, n := range c.Nodes {
		c.Eventually("fitted prices at "+n.Name, func() error {
			var st node.Status
			if operate(t, n, "GET", "/status", nil, &st); st.ImagePrices != "fitted" {
				return fmt.Errorf("%s", st.ImagePrices)
			}
			return nil
		})
	}
	c.CheckLedger()
}
