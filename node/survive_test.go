package node_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"hordenode/node/nodetest"
)

const submitPath = "/api/v2/generate/text/submit"

func result(job, text string) map[string]any {
	return map[string]any{"id": job, "generation": text, "state": "ok", "seed": 1}
}

// done waits until a request is done with the given text, as a node sees it.
func done(t *testing.T, c *nodetest.Cluster, r nodetest.REST, id, text string) {
	t.Helper()
	c.Eventually("the result of "+id, func() error {
		var s textStatus
		a, err := r.Do("GET", "/api/v2/generate/text/status/"+id, nil, &s)
		if err != nil || !a.OK() {
			return fmt.Errorf("%+v %v", a, err)
		}
		if !s.Done || len(s.Generations) != 1 || s.Generations[0].Text != text {
			return fmt.Errorf("status %+v, want the text %q", s, text)
		}
		return nil
	})
}

// blameless checks that all nodes think well of a worker.
func blameless(t *testing.T, c *nodetest.Cluster, name string) {
	t.Helper()
	for _, n := range c.Nodes {
		if w, ok := n.Worker(name); !ok || w.Uncompleted != 0 || w.Maintenance {
			t.Errorf("worker at %s = %+v, %v; want no uncompleted jobs and no maintenance", n.Name, w, ok)
		}
	}
}

// TestResultOutlivesACut pops at one node a job of another, cuts the link between them, and
// submits. The worker gets its reward; the home gets the result when the link is whole again.
func TestResultOutlivesACut(t *testing.T) {
	c := nodetest.New(t, 3)
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	a, b, third := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	id := post(t, client.At(a), "a prompt that travels")
	job := pop(t, c, owner.At(b), "cut worker")
	c.Cut(a, b)

	var reward struct{ Reward float64 }
	must(t, owner.At(b), "POST", submitPath, result(job.ID, "kept for later"), &reward)
	if reward.Reward <= 0 {
		t.Errorf("reward while the home is away = %v, want the granted price", reward.Reward)
	}
	if got := b.Kept(); got != 1 {
		t.Errorf("%d items kept, want 1", got)
	}
	again, err := owner.At(b).Do("POST", submitPath, result(job.ID, "twice"), nil)
	if err != nil || again.RC != "DuplicateGen" {
		t.Errorf("a second result = %+v %v, want DuplicateGen", again, err)
	}
	stranger, err := client.At(b).Do("POST", submitPath, result(job.ID, "not mine"), nil)
	if err != nil || stranger.RC != "WrongCredentials" {
		t.Errorf("somebody else's result = %+v %v, want WrongCredentials", stranger, err)
	}
	if at, err := client.At(b).Do("GET", "/api/v2/generate/text/status/"+id, nil, nil); err != nil || at.Status != http.StatusServiceUnavailable {
		t.Errorf("status behind the cut = %+v %v, want 503", at, err)
	}

	c.Heal(a, b)
	done(t, c, client.At(third), id, "kept for later")
	blameless(t, c, "cut worker")
	c.CheckJobs(id)
	c.CheckLedger()
}

// TestResultOutlivesRestarts keeps a result while its home is down, and restarts the node
// that keeps it.
func TestResultOutlivesRestarts(t *testing.T) {
	c := nodetest.New(t, 3)
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	b, home := c.Nodes[1], c.Nodes[2]
	id := post(t, client.At(home), "wait for me")
	job := pop(t, c, owner.At(b), "patient worker")
	home.Stop()
	must(t, owner.At(b), "POST", submitPath, result(job.ID, "I waited"), nil)
	b.Stop()
	b.Launch()
	b.WaitReady()
	if got := b.Kept(); got != 1 {
		t.Errorf("%d items kept over the restart, want 1", got)
	}
	home.Start()
	done(t, c, client.At(c.Nodes[0]), id, "I waited")
	blameless(t, c, "patient worker")
	c.CheckJobs(id)
	c.CheckLedger()
}

// TestClientOfAHomeThatIsAway asks for a request whose home is down: that is never a 404, and
// a cancellation is carried out when the home is back.
func TestClientOfAHomeThatIsAway(t *testing.T) {
	c := nodetest.New(t, 3)
	client := c.NewAccount(1000, false)
	home, other := c.Nodes[2], c.Nodes[0]
	id := post(t, client.At(home), "where are you")
	path := "/api/v2/generate/text/status/" + id
	c.Eventually("the offer at the other node", func() error {
		var s struct {
			Queued int `json:"queued_text_requests"`
		}
		if a, err := client.At(other).Do("GET", "/api/v2/status/performance", nil, &s); err != nil || !a.OK() || s.Queued != 1 {
			return fmt.Errorf("%+v %v: %d queued", a, err, s.Queued)
		}
		return nil
	})
	home.Stop()

	res, err := http.Get(other.URL() + path)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("status = %s, Retry-After %q; want 503 with one", res.Status, res.Header.Get("Retry-After"))
	}
	var s textStatus
	must(t, client.At(other), "DELETE", path, nil, &s)
	if s.Waiting != 1 {
		t.Errorf("cancelled while the home is away = %+v, want the last known state", s)
	}

	home.Start()
	c.Eventually("the cancellation at the home", func() error {
		var s textStatus
		a, err := client.At(home).Do("GET", path, nil, &s)
		if err != nil || !a.OK() || s.Waiting != 0 {
			return fmt.Errorf("%+v %v: %+v", a, err, s)
		}
		return nil
	})
	c.CheckJobs(id)
	c.CheckLedger()
}

// TestLeaderCutOff cuts the leader off from both followers: work at the survivors goes on,
// also with a job of the old leader, and everything is settled once when it is back.
func TestLeaderCutOff(t *testing.T) {
	c := nodetest.New(t, 3)
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	leader := c.Leader()
	var left []*nodetest.Node
	for _, n := range c.Nodes {
		if n != leader {
			left = append(left, n)
		}
	}
	// Two workers are known to all before the cut, as new ones need the ledger.
	ofLeader := post(t, client.At(leader), "of the leader")
	far := pop(t, c, owner.At(left[0]), "far worker")
	atLeader := post(t, client.At(leader), "of the leader, popped there")
	near := pop(t, c, owner.At(leader), "near worker")
	c.Isolate(leader)

	must(t, owner.At(left[0]), "POST", submitPath, result(far.ID, "from afar"), nil)
	must(t, owner.At(leader), "POST", submitPath, result(near.ID, "from nearby"), nil)
	var mine textStatus
	must(t, client.At(leader), "GET", "/api/v2/generate/text/status/"+atLeader, nil, &mine)
	if !mine.Done {
		t.Errorf("a job of the leader's own, delivered there = %+v, want done without a quorum", mine)
	}
	c.Eventually("a new leader", func() error {
		for _, n := range left {
			if n.Leads() {
				return nil
			}
		}
		return errors.New("nobody leads the survivors")
	})
	during := post(t, client.At(left[1]), "posted during the cut")
	job := pop(t, c, owner.At(left[0]), "far worker")
	must(t, owner.At(left[0]), "POST", submitPath, result(job.ID, "done during the cut"), nil)
	done(t, c, client.At(left[0]), during, "done during the cut")

	c.Rejoin(leader)
	done(t, c, client.At(left[1]), ofLeader, "from afar")
	blameless(t, c, "far worker")
	blameless(t, c, "near worker")
	c.CheckJobs(ofLeader, atLeader, during)
	c.CheckLedger()
}

// TestFlappingLink does jobs over a link that comes and goes.
func TestFlappingLink(t *testing.T) {
	c := nodetest.New(t, 3)
	client, owner := c.NewAccount(100000, false), c.NewAccount(100, true)
	a, b := c.Nodes[0], c.Nodes[1]
	var ids []string
	for i := range 4 {
		text := fmt.Sprintf("flap %d", i)
		ids = append(ids, post(t, client.At(a), text))
		job := pop(t, c, owner.At(b), "dizzy worker")
		c.Cut(a, b)
		must(t, owner.At(b), "POST", submitPath, result(job.ID, text), nil)
		c.Heal(a, b)
	}
	for i, id := range ids {
		done(t, c, client.At(c.Nodes[2]), id, fmt.Sprintf("flap %d", i))
	}
	blameless(t, c, "dizzy worker")
	c.CheckJobs(ids...)
	c.CheckLedger()
}

// TestTwoNodesKeepTheSameJob has a worker that is not sure of its answer submit at two nodes,
// both cut off from the home: one result counts, and is paid once.
func TestTwoNodesKeepTheSameJob(t *testing.T) {
	c := nodetest.New(t, 3)
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	home, b, d := c.Nodes[2], c.Nodes[0], c.Nodes[1]
	id := post(t, client.At(home), "twice")
	job := pop(t, c, owner.At(b), "unsure worker")
	c.Isolate(home)
	must(t, owner.At(b), "POST", submitPath, result(job.ID, "the same"), nil)
	c.Eventually("the other node to know the worker", func() error {
		a, err := owner.At(d).Do("POST", submitPath, result(job.ID, "the same"), nil)
		if err != nil || !a.OK() {
			return fmt.Errorf("%+v %v", a, err)
		}
		return nil
	})
	if b.Kept() != 1 || d.Kept() != 1 {
		t.Errorf("%d and %d items kept, want one each", b.Kept(), d.Kept())
	}
	c.Rejoin(home)
	done(t, c, client.At(d), id, "the same")
	blameless(t, c, "unsure worker")
	c.CheckJobs(id)
	c.CheckLedger()
}
