//go:build clients

package acceptance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An account is what POST /dev/test-user makes.
type account struct {
	Key  string `json:"key"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

// account makes one with the given kudos and rights.
func (p *process) account(name string, kudos int, trusted, moderator bool) account {
	p.t.Helper()
	var a struct {
		Key   string `json:"api_key"`
		ID    string `json:"user_id"`
		Alias string `json:"alias"`
	}
	if _, err := call("POST", p.url+"/api/v2/dev/test-user", "", map[string]any{
		"username": name, "oauth_id": "acceptance_" + name, "kudos": kudos, "trusted": trusted, "moderator": moderator,
	}, &a); err != nil {
		p.t.Fatal(err)
	}
	return account{Key: a.Key, ID: a.ID, Name: a.Alias}
}

// everywhere waits until all nodes know the accounts.
func everywhere(t *testing.T, nodes []*process, accounts ...account) {
	t.Helper()
	for _, n := range nodes {
		for _, a := range accounts {
			n.eventually(20*time.Second, "account "+a.Name, func() error {
				_, err := n.kudos(a.ID)
				return err
			})
		}
	}
}

// clientNodes starts n nodes that know the models which the clients ask for.
func clientNodes(t *testing.T, n int) []*process {
	t.Helper()
	refs, err := filepath.Abs(filepath.Join("testdata", "models"))
	if err != nil {
		t.Fatal(err)
	}
	return startFederation(t, n,
		"--image-models", filepath.Join(refs, "image.json"), "--text-models", filepath.Join(refs, "text.json"))
}

// urls are the addresses of the nodes.
func urls(nodes []*process) []string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.url)
	}
	return all
}

// A rotor is a proxy that gives each request to the next node, so that a client with one
// address uses all of them. A node that cannot be reached is passed over. It counts requests.
type rotor struct {
	nodes  []string
	client *http.Client
	turn   atomic.Uint64
	served atomic.Uint64
}

func newRotor(nodes []*process) *rotor {
	return &rotor{nodes: urls(nodes), client: &http.Client{
		Timeout:       2 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// startRotor serves a rotor over the nodes and returns its address.
func startRotor(t *testing.T, nodes []*process) string {
	s := httptest.NewServer(newRotor(nodes))
	t.Cleanup(s.Close)
	return s.URL
}

func (p *rotor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, `{"message": "the request did not arrive"}`, http.StatusBadRequest)
		return
	}
	p.served.Add(1)
	res, err := p.forward(r, body)
	if err != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprintf(w, `{"message": %q}`, err)
		return
	}
	defer res.Body.Close()
	for k, vs := range res.Header {
		w.Header()[k] = vs
	}
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body) // a client that left has had enough
}

// forward sends the request to the next node that takes connections.
func (p *rotor) forward(r *http.Request, body []byte) (*http.Response, error) {
	var failed error
	for range p.nodes {
		node := p.nodes[p.turn.Add(1)%uint64(len(p.nodes))]
		req, err := http.NewRequestWithContext(r.Context(), r.Method, node+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header = r.Header.Clone()
		req.Header.Del("Accept-Encoding") // answers are passed on as they are
		res, err := p.client.Do(req)
		var dial *net.OpError
		if err == nil || !errors.As(err, &dial) || dial.Op != "dial" {
			return res, err
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

// sameKudos waits until the nodes agree about an account, and returns its kudos.
func sameKudos(nodes []*process, a account) float64 {
	nodes[0].t.Helper()
	var first float64
	nodes[0].eventually(30*time.Second, "equal balances of "+a.Name, func() error {
		for i, n := range nodes {
			k, err := n.kudos(a.ID)
			if err != nil {
				return err
			}
			if i == 0 {
				first = k
			} else if k != first {
				return fmt.Errorf("node %s says %v, node %s says %v", nodes[0].name, first, n.name, k)
			}
		}
		return nil
	})
	return first
}

// commaList joins what scripts split.
func commaList(words []string) string { return strings.Join(words, ",") }
