//go:build faults

package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Row 46: a user is banned while a node is cut off. There the ban is not known: what the user
// does meanwhile is accepted. When the node is back it refuses the user and withdraws what the
// user had made; nobody else's request is touched.
func TestFault46BanDuringPartition(t *testing.T) {
	t.Parallel()
	g := newGround(t, 3)
	found(g.nodes)
	nodes := g.nodes
	a := leaderAmong(t, nodes)
	cut := others(nodes, a)[0]
	rest := others(nodes, cut)
	var mod struct {
		Key string `json:"api_key"`
	}
	if _, err := call("POST", a.url+"/api/v2/dev/test-user", "", map[string]any{
		"username": "mod", "oauth_id": "mod", "kudos": 1000, "trusted": true, "moderator": true,
	}, &mod); err != nil {
		t.Fatal(err)
	}
	banned, bannedID := a.testUser("banned", 1000, true)
	other, otherID := a.testUser("other", 1000, true)
	for _, n := range nodes {
		n.eventually(20*time.Second, "the accounts", func() error { _, err := n.kudos(otherID); return err })
	}
	// The ledger learns of the worker while it can.
	if _, _, err := popOnce(cut, banned, "worker of the banned"); err != nil {
		t.Fatal(err)
	}
	before, err := post(cut, banned, "queued before the ban")
	if err != nil {
		t.Fatal(err)
	}

	g.split([]*process{cut}, rest)
	a.eventually(30*time.Second, "the ban", func() error {
		_, err := call("PUT", a.url+"/api/v2/users/"+bannedID, mod.Key, map[string]any{"flagged": true}, nil)
		return err
	})
	during, err := post(cut, banned, "made where nobody knows of the ban")
	if err != nil {
		t.Fatalf("the node that is cut off knows of nothing: %v", err)
	}
	innocent, err := post(cut, other, "by somebody else")
	if err != nil {
		t.Fatal(err)
	}
	g.heal()
	connected(t, 60*time.Second, nodes)
	healed := time.Now()
	for _, id := range []string{before, during} {
		cut.eventually(30*time.Second, "a withdrawal", func() error {
			var s requestStatus
			if _, err := call("GET", cut.url+"/api/v2/generate/text/status/"+id, "", nil, &s); err != nil || s.Waiting != 0 {
				return fmt.Errorf("%+v, %v", s, err)
			}
			return nil
		})
	}
	for _, n := range nodes {
		n.eventually(30*time.Second, "a refusal", func() error {
			_, _, err := popOnce(n, banned, "worker of the banned")
			if err == nil || !strings.Contains(err.Error(), "WorkerFlaggedMaintenance") {
				return fmt.Errorf("a pop of the banned: %v", err)
			}
			return nil
		})
	}
	t.Logf("the ban was in force %v after the node was back", time.Since(healed).Round(time.Millisecond))
	var s requestStatus
	if _, err := call("GET", cut.url+"/api/v2/generate/text/status/"+innocent, "", nil, &s); err != nil || s.Waiting != 1 {
		t.Errorf("somebody else's request: %+v, %v; want it waiting", s, err)
	}
	verified(t, nodes...)
}

// Row 47: a key is replaced at one node while 1,000 long polls with it are open at another.
// All end, within a second if the machine has time for it.
func TestFault47KeyRevoked(t *testing.T) {
	const polls = 1000
	t.Parallel()
	nodes := make([]*process, 3)
	for i := range nodes {
		nodes[i] = newProcess(t, string(rune('a'+i)), "--trusted-proxy", "127.0.0.0/8")
		nodes[i].serveMetrics()
	}
	found(nodes)
	a, b := nodes[0], nodes[1]
	key, id := a.testUser("patient", 10_000, true)
	b.eventually(20*time.Second, "the account", func() error { _, err := b.kudos(id); return err })
	request, err := post(b, key, "waits for ever")
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: polls}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	type ended struct {
		status int
		at     time.Time
		err    error
	}
	results := make(chan ended, polls)
	for i := range polls {
		wg.Go(func() {
			method, path, body := "GET", "/api/v2/generate/text/status/"+request+"?wait=60", ""
			if i%4 == 0 {
				method, path = "POST", "/api/v2/generate/text/pop?wait=60"
				body = `{"name":"patient worker","models":["nobody/has-this"],"bridge_agent":"KoboldCppEmbedWorker:2:acceptance","max_length":512,"max_context_length":4096}`
			}
			status, err := longPoll(ctx, client, method, b.url+path, key, fmt.Sprintf("10.1.%d.%d", i/200, i%200+1), body)
			results <- ended{status, time.Now(), err}
		})
	}
	b.eventually(60*time.Second, "all polls open", func() error {
		if n, err := b.metric("hordenode_waiting_clients"); err != nil || n != polls {
			return fmt.Errorf("%v wait (%v), %d are answered", n, err, len(results))
		}
		return nil
	})
	began := time.Now()
	if fresh, _ := a.testUser("patient", 10_000, true); fresh == key {
		t.Fatal("the key was not replaced")
	}
	var last time.Duration
	byStatus := map[int]int{}
	for range polls {
		select {
		case e := <-results:
			if e.err != nil {
				t.Errorf("a poll ended with %v", e.err)
			}
			byStatus[e.status]++
			last = max(last, e.at.Sub(began))
		case <-time.After(20 * time.Second):
			cancel()
			t.Fatal("a poll with a revoked key goes on")
		}
	}
	t.Logf("%d polls ended %v after the key was replaced: %v by status", polls, last.Round(time.Millisecond), byStatus)
	if byStatus[http.StatusUnauthorized] != polls/4 || byStatus[http.StatusOK] != polls-polls/4 {
		t.Errorf("answered %v, want %d workers refused and the others told how their request is", byStatus, polls/4)
	}
	if status, err := call("POST", b.url+"/api/v2/kudos/transfer", key, map[string]any{"username": "x#1", "amount": 1}, nil); err == nil || status != http.StatusUnauthorized {
		t.Errorf("the old key is good for %d, %v", status, err)
	}
}

// longPoll does a call that seems to come from an address, and waits for its answer.
func longPoll(ctx context.Context, client *http.Client, method, url, key, from, body string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("apikey", key)
	req.Header.Set("X-Forwarded-For", from)
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var answer map[string]any
	return res.StatusCode, json.NewDecoder(res.Body).Decode(&answer)
}
