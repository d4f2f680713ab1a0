package nodetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"hordenode/internal/horde"
)

// A REST is a client of one node's API with one account's key.
type REST struct {
	URL string
	Key string
}

// An Answer is what a call came to; Message and RC are set when the status is an error.
type Answer struct {
	Status  int
	Message string
	RC      string
}

// OK tells whether the call succeeded.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status < 300 }

// Do calls the API and decodes a successful answer into out, if that is not nil. The error
// is for calls that were not answered at all.
func (r REST) Do(method, path string, body, out any) (Answer, error) {
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return Answer{}, err
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, r.URL+path, rd)
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if r.Key != "" {
		req.Header.Set("apikey", r.Key)
	}
	client := http.Client{Timeout: 20 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Status: res.StatusCode}
	if !a.OK() {
		var e struct{ Message, RC string }
		if err := json.Unmarshal(b, &e); err != nil {
			return a, fmt.Errorf("%s %s: %s without JSON: %.200s", method, path, res.Status, b)
		}
		a.Message, a.RC = e.Message, e.RC
		return a, nil
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			return a, fmt.Errorf("%s %s: %w: %.200s", method, path, err, b)
		}
	}
	return a, nil
}

// An Account is a user made for a test.
type Account struct {
	ID    horde.UserID
	Alias string
	Key   string
}

// At returns the account's client at a node.
func (a Account) At(n *Node) REST { return REST{URL: n.URL(), Key: a.Key} }

// NewAccount makes an account with the given balance at a running node.
func (c *Cluster) NewAccount(kudos int64, trusted bool) Account {
	c.t.Helper()
	return c.newAccount(kudos, trusted, false)
}

// NewModerator makes the account of a moderator.
func (c *Cluster) NewModerator() Account {
	c.t.Helper()
	return c.newAccount(1000, true, true)
}

func (c *Cluster) newAccount(kudos int64, trusted, moderator bool) Account {
	c.t.Helper()
	c.clients++
	var out struct {
		Key   string `json:"api_key"`
		ID    string `json:"user_id"`
		Alias string `json:"alias"`
	}
	name := fmt.Sprintf("user%d", c.clients)
	a, err := REST{URL: c.Any().URL()}.Do("POST", "/api/v2/dev/test-user", map[string]any{
		"username": name, "oauth_id": "test_" + name, "kudos": kudos, "trusted": trusted, "moderator": moderator,
	}, &out)
	if err != nil || !a.OK() {
		c.t.Fatalf("test user: %+v %v", a, err)
	}
	id, err := strconv.ParseInt(out.ID, 10, 64)
	if err != nil {
		c.t.Fatalf("test user: %v", err)
	}
	return Account{ID: horde.UserID(id), Alias: out.Alias, Key: out.Key}
}
