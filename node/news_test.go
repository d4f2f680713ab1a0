package node_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hordenode/node"
	"hordenode/node/nodetest"
)

// TestWebhook delivers a text at another node than it was asked for at; its home tells the
// client, signed with the secret that the client can ask it for. The address is nowhere else.
func TestWebhook(t *testing.T) {
	type call struct {
		header http.Header
		body   []byte
	}
	calls := make(chan call, 4)
	hook := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		calls <- call{r.Header, b}
	}))
	defer hook.Close()
	roots := x509.NewCertPool()
	roots.AddCert(hook.Certificate())
	c := nodetest.New(t, 2, func(cfg *node.Config) {
		cfg.OutboundAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		cfg.OutboundRoots = roots
	})
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	home, other := c.Nodes[0], c.Nodes[1]

	ask := request("tell me")
	ask["webhook"] = hook.URL + "/here?token=secret"
	var p posted
	must(t, client.At(home), "POST", "/api/v2/generate/text/async", ask, &p)
	job := pop(t, c, owner.At(other), "far worker")
	must(t, owner.At(other), "POST", "/api/v2/generate/text/submit", map[string]any{"id": job.ID, "generation": "told", "state": "ok", "seed": 7}, nil)

	got := <-calls
	var secret struct{ Secret string }
	must(t, client.At(home), "GET", "/api/fed/v1/webhook/secret", nil, &secret)
	m := hmac.New(sha256.New, []byte(secret.Secret))
	m.Write([]byte(got.header.Get("Horde-Timestamp") + "." + string(got.body)))
	if want := hex.EncodeToString(m.Sum(nil)); got.header.Get("Horde-Signature") != want {
		t.Errorf("signature %q, want %q", got.header.Get("Horde-Signature"), want)
	}
	var said map[string]any
	if err := json.Unmarshal(got.body, &said); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"text": "told", "seed": 7.0, "worker_name": "far worker", "id": job.ID, "request": p.ID, "state": "ok"} {
		if said[name] != want {
			t.Errorf("%s = %v, want %v", name, said[name], want)
		}
	}
	for _, name := range []string{"worker_id", "model", "gen_metadata", "kudos"} {
		if said[name] == nil {
			t.Errorf("%s is missing in %s", name, got.body)
		}
	}
	select {
	case again := <-calls:
		t.Errorf("told twice: %s", again.body)
	default:
	}
}

// TestWaiting has a worker and a client wait at a node that is not the request's home.
func TestWaiting(t *testing.T) {
	c := nodetest.New(t, 2)
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	home, other := c.Nodes[0], c.Nodes[1]
	post(t, client.At(home), "makes the worker known")
	job := pop(t, c, owner.At(other), "patient")
	must(t, owner.At(other), "POST", "/api/v2/generate/text/submit", map[string]any{"id": job.ID, "generation": "x", "state": "ok", "seed": 1}, nil)

	jobs := make(chan popped, 1)
	go func() {
		var p popped
		if a, err := owner.At(other).Do("POST", "/api/v2/generate/text/pop?wait=15", poll("patient"), &p); err != nil || !a.OK() {
			t.Errorf("pop that waits = %+v %v", a, err)
		}
		jobs <- p
	}()
	began := time.Now()
	id := post(t, client.At(home), "for who waits")
	p := <-jobs
	if p.ID == "" {
		t.Fatalf("the waiting worker got nothing within %v", time.Since(began))
	}
	t.Logf("the waiting worker had its job %v after it was asked for", time.Since(began).Round(time.Millisecond))

	done := make(chan textStatus, 1)
	go func() {
		var s textStatus
		if a, err := client.At(home).Do("GET", "/api/v2/generate/text/status/"+id+"?wait=15", nil, &s); err != nil || !a.OK() {
			t.Errorf("status that waits = %+v %v", a, err)
		}
		done <- s
	}()
	res, err := http.Get(other.URL() + "/api/fed/v1/generate/" + id + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	next := func() string {
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				return name
			}
		}
		return ""
	}
	if name := next(); name != "processing" {
		t.Errorf("first event %q, want processing", name)
	}
	must(t, owner.At(other), "POST", "/api/v2/generate/text/submit", map[string]any{"id": p.ID, "generation": "y", "state": "ok", "seed": 1}, nil)
	if s := <-done; !s.Done || len(s.Generations) != 1 {
		t.Errorf("the waiting client got %+v, want the result", s)
	}
	if name := next(); name != "done" {
		t.Errorf("last event %q, want done", name)
	}
}
