//go:build faults

package acceptance

import (
	"fmt"
	"testing"
	"time"
)

// TestKillAnyNode kills each of three nodes in turn, the leader included, while clients post
// and workers work, and restarts it. Afterwards everything that was acknowledged is there:
// every request that was accepted ended, every result that was accepted can be read, and
// the accounts are equal on all nodes and moved by what was acknowledged.
func TestKillAnyNode(t *testing.T) {
	nodes := startFederation(t, 3)
	client, clientID := nodes[0].testUser("killclient", 100000, false)
	owner, ownerID := nodes[0].testUser("killowner", 1000, true)

	load := startLoad("prompt", nodes, client, owner)
	for round, victim := range []*process{leaderOf(nodes), nodes[1], nodes[2], nodes[0]} {
		before := load.submitted.Load()
		victim.eventually(30*time.Second, "progress before the kill", func() error { return load.more(before + 5) })
		t.Logf("round %d: kill -9 %s", round, victim.name)
		victim.kill()
		during := load.submitted.Load()
		victim.eventually(30*time.Second, "progress without the node", func() error { return load.more(during + 3) })
		victim.start()
	}
	after := load.submitted.Load()
	nodes[0].eventually(30*time.Second, "progress with all nodes back", func() error { return load.more(after + 10) })
	load.finish()
	t.Logf("accepted %d requests, delivered %d results", len(load.accepted), len(load.delivered))

	reads := 0
	for prompt, want := range load.delivered {
		id, ok := load.accepted[prompt]
		if !ok {
			continue // the client's answer was lost with the node
		}
		reader := nodes[reads%len(nodes)]
		reads++
		reader.eventually(15*time.Second, "the result of "+id, func() error {
			var s struct {
				Generations []struct{ Text string }
			}
			if _, err := call("GET", reader.url+"/api/v2/generate/text/status/"+id, "", nil, &s); err != nil {
				return err
			}
			for _, g := range s.Generations {
				if g.Text == want {
					return nil
				}
			}
			return fmt.Errorf("%d generations, none of them the acknowledged one", len(s.Generations))
		})
	}
	if reads == 0 {
		t.Fatal("no delivered job belongs to an accepted request")
	}
	for _, id := range load.accepted {
		if _, err := call("GET", nodes[1].url+"/api/v2/generate/text/status/"+id, "", nil, nil); err != nil {
			t.Errorf("an accepted request is gone: %v", err)
		}
	}
	equalBalances(t, nodes, clientID, ownerID)
	if k, err := nodes[0].kudos(ownerID); err != nil || k <= 1000 {
		t.Errorf("the owner of the workers has %v (%v), want more than 1000", k, err)
	}
}

// TestStopAndStart checks that SIGTERM ends every node in time and that the federation goes
// on by itself when they come back.
func TestStopAndStart(t *testing.T) {
	nodes := startFederation(t, 3)
	_, id := nodes[0].testUser("stopper", 1234, false)
	for _, n := range nodes {
		n.stop()
	}
	for _, n := range []*process{nodes[2], nodes[0], nodes[1]} {
		n.launch()
	}
	for _, n := range nodes {
		n.eventually(30*time.Second, "the account after a restart of all", func() error {
			k, err := n.kudos(id)
			if err == nil && k != 1234 {
				err = fmt.Errorf("kudos %v, want 1234", k)
			}
			return err
		})
	}
}

func equalBalances(t *testing.T, nodes []*process, ids ...string) {
	t.Helper()
	for _, id := range ids {
		nodes[0].eventually(20*time.Second, "equal balances of "+id, func() error {
			first := 0.0
			for i, n := range nodes {
				k, err := n.kudos(id)
				if err != nil {
					return err
				}
				if i == 0 {
					first = k
				} else if k != first {
					return fmt.Errorf("%v at %s, %v at %s", first, nodes[0].name, k, n.name)
				}
			}
			return nil
		})
	}
}

func leaderOf(nodes []*process) *process {
	for _, m := range nodes[0].members() {
		if m.Role != "leader" {
			continue
		}
		for _, n := range nodes {
			if n.name == m.Name {
				return n
			}
		}
	}
	return nodes[0]
}
