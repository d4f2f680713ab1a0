package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"hordenode/internal/horde"
	"hordenode/node"
	"hordenode/node/nodetest"
)

// TestSecretsStay looks everywhere for what must not be there (I12): a prompt is at its home
// only, an API key nowhere at all, and neither is in any log.
func TestSecretsStay(t *testing.T) {
	logs := &syncBuffer{}
	c := nodetest.New(t, 3, func(cfg *node.Config) {
		cfg.Log = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	const prompt, result = "a-prompt-that-nobody-may-see", "a-result-that-nobody-may-see"
	home, worker := c.Nodes[1], c.Nodes[2]
	id := post(t, client.At(home), prompt)
	job := pop(t, c, owner.At(home), "near worker")
	must(t, owner.At(home), "POST", "/api/v2/generate/text/submit", map[string]any{"id": job.ID, "generation": result, "state": "ok", "seed": 1}, nil)
	if a, err := (nodetest.REST{URL: worker.URL(), Key: "0123456789012345678901"}).Do("GET", "/api/v2/find_user", nil, nil); err != nil || a.OK() {
		t.Errorf("a made-up key = %+v %v", a, err)
	}
	must(t, client.At(worker), "GET", "/api/v2/generate/text/status/"+id, nil, nil)
	shared := shareAKey(t, c, client.At(home), owner.At(worker))
	c.CheckLedger()
	for _, n := range c.Nodes {
		n.Stop()
	}

	sealKey, err := os.ReadFile(filepath.Join(home.Data(), "sharedkeys.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		if found := filesWith(t, n.Data(), string(sealKey)); !slices.Equal(found, []string{"sharedkeys.key"}) {
			t.Errorf("%s has the key of shared keys' ids in %v", n.Name, found)
		}
	}
	for _, secret := range []string{client.Key, owner.Key, prompt, result, "0123456789012345678901", shared.String(), string(shared[:])} {
		if strings.Contains(logs.String(), secret) {
			t.Errorf("%q is in a log", secret)
		}
		for _, n := range c.Nodes {
			for _, file := range filesWith(t, n.Data(), secret) {
				if n == home && strings.HasPrefix(file, "local/") && (secret == prompt || secret == result) {
					continue
				}
				t.Errorf("%q is in %s of %s", secret, file, n.Name)
			}
		}
	}
	if len(filesWith(t, home.Data(), prompt)) == 0 {
		t.Error("the prompt is not even at its home: the search finds nothing")
	}
}

// shareAKey makes a shared key at one node, sends a request with it at another, and waits until
// every node lists it.
func shareAKey(t *testing.T, c *nodetest.Cluster, owner, by nodetest.REST) horde.UUID {
	t.Helper()
	var made struct{ ID string }
	c.Eventually("a key is made", func() error { // the node may wait for the key of ids itself
		a, err := owner.Do("PUT", "/api/v2/sharedkeys", map[string]any{"kudos": 500, "name": "a gift"}, &made)
		if err == nil && !a.OK() {
			err = errors.New(a.Message)
		}
		return err
	})
	for _, n := range c.Nodes {
		c.Eventually("every node lists the key", func() error {
			var me struct {
				IDs []string `json:"sharedkey_ids"`
			}
			a, err := (nodetest.REST{URL: n.URL(), Key: owner.Key}).Do("GET", "/api/v2/find_user", nil, &me)
			if err == nil && !slices.Equal(me.IDs, []string{made.ID}) {
				err = fmt.Errorf("%s: %d, %v, want %s", n.Name, a.Status, me.IDs, made.ID)
			}
			return err
		})
	}
	by.Key = made.ID
	post(t, by, "a prompt")
	must(t, owner, "PATCH", "/api/v2/sharedkeys/"+made.ID, map[string]any{"name": "another name"}, nil)
	id, err := horde.ParseUUID(made.ID)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// filesWith returns the files below dir that contain text, relative to dir.
func filesWith(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(b, []byte(text)) {
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			found = append(found, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
