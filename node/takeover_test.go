package node_test

import (
	"fmt"
	"testing"
	"time"

	"hordenode/node"
	"hordenode/node/nodetest"
)

func takeOverSoon(cfg *node.Config) { cfg.TakeOverAfter = time.Second }

// backedUp waits until a node has a registered backup and returns it.
func backedUp(t *testing.T, c *nodetest.Cluster, home *nodetest.Node) *nodetest.Node {
	t.Helper()
	var backup *nodetest.Node
	c.Eventually("a backup of "+home.Name, func() error {
		id := home.Standin(home).Backup
		for _, n := range c.Nodes {
			if n.ID() == id {
				backup = n
				return nil
			}
		}
		return fmt.Errorf("the backup is %q", id)
	})
	return backup
}

// postMany asks for several generations at once.
func postMany(t *testing.T, r nodetest.REST, prompt string, n int) string {
	t.Helper()
	var accepted struct{ ID string }
	must(t, r, "POST", "/api/v2/generate/text/async", map[string]any{
		"prompt": prompt, "params": map[string]any{"max_length": 80, "n": n}, "models": []string{},
	}, &accepted)
	return accepted.ID
}

// superseded waits until all running nodes know that a home's requests are another's, or no
// longer are.
func superseded(t *testing.T, c *nodetest.Cluster, home *nodetest.Node, want bool) {
	t.Helper()
	c.Eventually(fmt.Sprintf("superseded %v of %s", want, home.Name), func() error {
		for _, n := range c.Nodes {
			if n.Running() && n.Standin(home).Superseded != want {
				return fmt.Errorf("%s says %+v", n.Name, n.Standin(home))
			}
		}
		return nil
	})
}

// TestTakeOver stops a home for good while its requests are waiting, being worked at and done:
// its backup goes on with all of them, under their ids, through any node.
func TestTakeOver(t *testing.T) {
	c := nodetest.New(t, 3, takeOverSoon)
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	home := c.Follower()
	backup := backedUp(t, c, home)
	var third *nodetest.Node
	for _, n := range c.Nodes {
		if n != home && n != backup {
			third = n
		}
	}
	finished := post(t, client.At(home), "done before")
	must(t, owner.At(third), "POST", submitPath, result(pop(t, c, owner.At(third), "swift").ID, "a result from before"), nil)
	done(t, c, client.At(third), finished, "a result from before")
	running := post(t, client.At(home), "under way")
	job := pop(t, c, owner.At(third), "steady")
	cancelled := post(t, client.At(home), "not wanted")
	must(t, client.At(home), "DELETE", "/api/v2/generate/text/status/"+cancelled, nil, nil)
	waiting := postMany(t, client.At(home), "waiting", 2)

	home.Stop()
	superseded(t, c, home, true)
	done(t, c, client.At(third), finished, "a result from before")
	must(t, owner.At(third), "POST", submitPath, result(job.ID, "delivered after"), nil)
	done(t, c, client.At(backup), running, "delivered after")
	for _, text := range []string{"one", "two"} {
		must(t, owner.At(backup), "POST", submitPath, result(pop(t, c, owner.At(backup), "calm").ID, text), nil)
	}
	c.Eventually("the request that waited", func() error {
		var s textStatus
		a, err := client.At(third).Do("GET", "/api/v2/generate/text/status/"+waiting, nil, &s)
		if err != nil || !a.OK() || !s.Done || len(s.Generations) != 2 {
			return fmt.Errorf("%+v %v: %+v", a, err, s)
		}
		return nil
	})
	var s textStatus
	must(t, client.At(third), "GET", "/api/v2/generate/text/status/"+cancelled, nil, &s)
	if s.Waiting != 0 || s.Processing != 0 {
		t.Errorf("the cancelled request goes on: %+v", s)
	}
	for _, w := range []string{"swift", "steady", "calm"} {
		for _, n := range []*nodetest.Node{backup, third} {
			if x, ok := n.Worker(w); !ok || x.Uncompleted != 0 || x.Maintenance {
				t.Errorf("worker %s at %s = %+v, %v; want it blameless", w, n.Name, x, ok)
			}
		}
	}
	c.CheckJobs(finished, running, waiting, cancelled)

	home.Start()
	superseded(t, c, home, false)
	done(t, c, client.At(home), running, "delivered after")
	again := post(t, client.At(home), "new here")
	must(t, owner.At(third), "POST", submitPath, result(pop(t, c, owner.At(third), "swift").ID, "as before"), nil)
	done(t, c, client.At(backup), again, "as before")
	c.CheckJobs(finished, running, waiting, cancelled, again)
	c.CheckLedger()
}

// TestTakeOverOfALiveHome cuts a home off from the others for long enough to be taken over.
// Both sides go on with its request; when the cut heals, one of them was paid.
func TestTakeOverOfALiveHome(t *testing.T) {
	c := nodetest.New(t, 3, takeOverSoon)
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	home := c.Follower()
	backup := backedUp(t, c, home)
	before := []string{post(t, client.At(home), "first"), post(t, client.At(home), "second")}
	for _, w := range []string{"inside", "outside"} { // known to the ledger before the cut
		must(t, owner.At(backup), "POST", submitPath, result(pop(t, c, owner.At(backup), w).ID, "before"), nil)
	}
	twice := post(t, client.At(home), "done on both sides")
	once := post(t, client.At(home), "done at home alone")
	c.Isolate(home)
	insideJobs := map[string]string{}
	for range 2 {
		j := pop(t, c, owner.At(home), "inside")
		insideJobs[j.ID] = j.Payload.Prompt
	}
	for id, prompt := range insideJobs {
		must(t, owner.At(home), "POST", submitPath, result(id, "inside "+prompt), nil)
	}
	c.Eventually("the takeover", func() error {
		if s := backup.Standin(home); !s.Superseded {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	j := pop(t, c, owner.At(backup), "outside")
	must(t, owner.At(backup), "POST", submitPath, result(j.ID, "outside "+j.Payload.Prompt), nil)

	c.Rejoin(home)
	superseded(t, c, home, false)
	for _, id := range []string{twice, once} {
		c.Eventually("the result of "+id, func() error {
			var s textStatus
			a, err := client.At(home).Do("GET", "/api/v2/generate/text/status/"+id, nil, &s)
			if err != nil || !a.OK() || !s.Done || len(s.Generations) != 1 {
				return fmt.Errorf("%+v %v: %+v", a, err, s)
			}
			return nil
		})
	}
	c.CheckJobs(append(before, twice, once)...)
	c.CheckLedger()
}
