package node_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"hordenode/node/nodetest"
)

func TestAdminPort(t *testing.T) {
	cfg := nodetest.Config(t, "watched")
	cfg.AdminListen = nodetest.FreeAddress(t)
	n := nodetest.Run(t, cfg)
	for path, want := range map[string]string{
		"/metrics":      "hordenode_leader 1",
		"/debug/pprof/": "goroutine",
	} {
		res, err := http.Get("http://" + cfg.AdminListen + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s = %s, %v, want %q in it", path, res.Status, err, want)
		}
		if res, err := http.Get(n.URL() + path); err != nil || res.StatusCode != http.StatusNotFound {
			t.Errorf("%s at the public address = %v, %v, want 404", path, res.Status, err)
		}
	}
}
