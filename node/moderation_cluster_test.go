package node_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hordenode/node"
	"hordenode/node/nodetest"
)

// believing believes what tests put into X-Forwarded-For.
func believing(cfg *node.Config) {
	cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// from sends a call that seems to come from an address, and returns status and rc.
func from(ip string, r nodetest.REST, method, path string, body any) (int, string, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequest(method, r.URL+path, strings.NewReader(string(raw)))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("apikey", r.Key)
	req.Header.Set("X-Forwarded-For", ip)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	var e struct{ RC string }
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
		return res.StatusCode, "", fmt.Errorf("%s: %w", res.Status, err)
	}
	return res.StatusCode, e.RC, nil
}

// TestModerationEverywhere measures P21: how long after a moderator's call began every node
// acts on it. It fails only if one does not at all; the figures are logged.
func TestModerationEverywhere(t *testing.T) {
	c := nodetest.New(t, 3, believing)
	mod, owner := c.NewModerator(), c.NewAccount(1000, true)
	a := c.Nodes[0]
	must(t, owner.At(a), "POST", "/api/v2/generate/text/pop", poll("watched"), nil)
	var took []time.Duration
	refused := func(ip, rc string) {
		t.Helper()
		began := time.Now()
		for _, n := range c.Nodes {
			c.Eventually("an address is kept out of "+n.Name, func() error {
				status, got, err := from(ip, owner.At(n), "POST", "/api/v2/generate/text/pop", poll("watched"))
				if err != nil || got != rc {
					return fmt.Errorf("status %d %s %v, want rc %q", status, got, err, rc)
				}
				return nil
			})
		}
		took = append(took, time.Since(began))
	}
	for i := range 15 {
		ip := fmt.Sprintf("203.0.113.%d", i+1)
		network := ip
		if i%2 == 1 {
			network = fmt.Sprintf("198.51.%d.0/24", i)
			ip = fmt.Sprintf("198.51.%d.77", i)
		}
		began := time.Now()
		must(t, mod.At(a), "POST", "/api/v2/operations/ipaddr", map[string]any{"ipaddr": network, "hours": 1}, nil)
		answered := time.Since(began)
		refused(ip, "TimeoutIP")
		took[len(took)-1] += answered
		must(t, mod.At(c.Nodes[1+i%2]), "DELETE", "/api/v2/operations/ipaddr", map[string]any{"ipaddr": network}, nil)
		refused(ip, "")
	}
	slices.Sort(took)
	t.Logf("a block, or its end, was in force at 3 nodes after %v in the median, %v at most (with the calls that look)", took[len(took)/2], took[len(took)-1])
	c.CheckLedger()
}

// TestBanDuringPartition is fault 46 of the reliability list: a ban that a node could not hear
// of is carried out there when it is back, and what the banned did meanwhile is undone.
func TestBanDuringPartition(t *testing.T) {
	c := nodetest.New(t, 3)
	mod, banned, other := c.NewModerator(), c.NewAccount(1000, true), c.NewAccount(1000, true)
	a, b := c.Nodes[0], c.Nodes[2]
	before := post(t, banned.At(b), "queued before the ban")
	must(t, banned.At(b), "POST", "/api/v2/generate/text/pop", map[string]any{
		"name": "worker of the banned", "models": []string{"another/model"}, "bridge_agent": "KoboldCppEmbedWorker:2:test", "max_length": 512, "max_context_length": 4096,
	}, nil)
	c.Isolate(b)
	flag := map[string]any{"flagged": true}
	c.Eventually("the ban", func() error { // an election may be under way
		if answer, err := mod.At(a).Do("PUT", fmt.Sprintf("/api/v2/users/%d", banned.ID), flag, nil); err != nil || !answer.OK() {
			return fmt.Errorf("%+v %v", answer, err)
		}
		return nil
	})
	during := post(t, banned.At(b), "made where nobody knows of the ban")
	innocent := post(t, other.At(b), "by somebody else")
	c.Rejoin(b)
	for _, id := range []string{before, during} {
		c.Eventually("what the banned had queued is withdrawn", func() error {
			var s textStatus
			if answer, err := banned.At(b).Do("GET", "/api/v2/generate/text/status/"+id, nil, &s); err != nil || !answer.OK() || s.Waiting != 0 {
				return fmt.Errorf("%+v %+v %v", s, answer, err)
			}
			return nil
		})
	}
	for _, n := range c.Nodes {
		c.Eventually("the banned is refused at "+n.Name, func() error {
			answer, err := banned.At(n).Do("POST", "/api/v2/generate/text/pop", poll("worker of the banned"), nil)
			if err != nil || answer.RC != "WorkerFlaggedMaintenance" {
				return fmt.Errorf("%+v %v", answer, err)
			}
			return nil
		})
	}
	var s textStatus
	must(t, other.At(b), "GET", "/api/v2/generate/text/status/"+innocent, nil, &s)
	if s.Waiting != 1 {
		t.Errorf("somebody else's request: %+v, want it waiting", s)
	}
	c.Eventually("the held kudos are back", func() error {
		for _, n := range c.Nodes {
			if u, _ := n.User(banned.ID); u.Held != 0 {
				return fmt.Errorf("%s: %v held", n.Name, u.Held)
			}
		}
		return nil
	})
	c.CheckLedger()
}

// TestRevokedKeyEndsWaits is fault 47: many long polls are open with a key that is replaced, at
// another node than theirs.
func TestRevokedKeyEndsWaits(t *testing.T) {
	const polls = 1000
	metrics := nodetest.FreeAddress(t)
	c := nodetest.New(t, 2, believing, func(cfg *node.Config) {
		if cfg.Name == "b" {
			cfg.AdminListen = metrics
		}
	})
	user := c.NewAccount(1000, true)
	a, b := c.Nodes[0], c.Nodes[1]
	id := post(t, user.At(b), "waits for ever")
	closed := make(chan time.Time, polls)
	codes := make(chan int, polls)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range polls {
		method, path, body := "GET", "/api/v2/generate/text/status/"+id+"?wait=60", any(nil)
		if i%4 == 0 {
			method, path = "POST", "/api/v2/generate/text/pop?wait=60"
			body = map[string]any{"name": "patient", "models": []string{"no/such-model"}, "max_length": 512, "max_context_length": 4096, "bridge_agent": "KoboldCppEmbedWorker:2:test"}
		}
		wg.Go(func() {
			status, _, err := from(fmt.Sprintf("10.0.%d.%d", i/250, i%250), user.At(b), method, path, body)
			if err != nil {
				t.Errorf("poll %d: %v", i, err)
			}
			closed <- time.Now()
			codes <- status
		})
	}
	c.Eventually("all wait", func() error {
		res, err := http.Get("http://" + metrics + "/metrics")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		if !strings.Contains(string(text), fmt.Sprintf("\nhordenode_waiting_clients %d\n", polls)) {
			_, after, _ := strings.Cut(string(text), "\nhordenode_waiting_clients ")
			n, _, _ := strings.Cut(after, "\n")
			return fmt.Errorf("%s wait, and %d are answered", n, len(closed))
		}
		return nil
	})
	began := time.Now()
	must(t, nodetest.REST{URL: a.URL()}, "POST", "/api/v2/dev/test-user", map[string]any{"username": "user1", "oauth_id": "test_user1", "kudos": 1000, "trusted": true}, nil)
	var last time.Time
	for range polls {
		select {
		case at := <-closed:
			last = at
		case <-time.After(30 * time.Second):
			t.Fatal("a poll with a revoked key goes on")
		}
	}
	byCode := map[int]int{}
	for range polls {
		byCode[<-codes]++
	}
	t.Logf("%d waits ended %v after the key was replaced: %v by status", polls, last.Sub(began), byCode)
	if byCode[http.StatusUnauthorized] != polls/4 || byCode[http.StatusOK] != polls-polls/4 {
		t.Errorf("answered %v, want %d workers refused and the others told how their request is", byCode, polls/4)
	}
}
