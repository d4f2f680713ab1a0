package simworker

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// fakeNode answers heartbeats after a delay and lists the given nodes.
func fakeNode(t *testing.T, delay time.Duration, nodes func() []string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v2/status/heartbeat":
			time.Sleep(delay) // the distance that is to be measured
		case "/api/fed/v1/nodes":
			var out []map[string]string
			for _, u := range nodes() {
				out = append(out, map[string]string{"url": u + "/"})
			}
			if err := json.NewEncoder(w).Encode(out); err != nil {
				t.Error(err)
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestNearestFirst(t *testing.T) {
	var all []string
	list := func() []string { return all }
	far, near, gone := fakeNode(t, 150*time.Millisecond, list), fakeNode(t, 0, list), fakeNode(t, 0, list)
	gone.Close()
	all = []string{far.URL, near.URL, gone.URL, ""}
	for _, tt := range []struct {
		name        string
		given, want []string
	}{
		{"found by the one that is given", []string{far.URL}, []string{near.URL, far.URL}},
		{"a given one that is away comes last", []string{gone.URL, far.URL}, []string{near.URL, far.URL, gone.URL}},
		{"nobody answers", []string{gone.URL}, []string{gone.URL}},
	} {
		if got := Nearest(t.Context(), http.DefaultClient, tt.given); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestARouteGoesBackToTheNearest(t *testing.T) {
	now := time.Now()
	r := newRoute(Config{URLs: []string{"near", "far", "farther"}, Nearest: true}, 1)
	at := func() string { return r.here().client.Base }
	if at() != "near" {
		t.Errorf("a second thread begins at %s, want near", at())
	}
	r.failed(now, 0)
	if r.prefer(now); at() != "far" {
		t.Errorf("after a failure at %s, want far", at())
	}
	if r.prefer(now.Add(errorMin + time.Millisecond)); at() != "near" {
		t.Errorf("after the pause at %s, want near", at())
	}
}
