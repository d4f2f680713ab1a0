package node_test

import (
	"fmt"
	"testing"

	"hordenode/node"
	"hordenode/node/nodetest"
)

// TestPoliciesInAFederation founds one where each node has its own rules, and checks that
// they hold for its clients, its workers and its peers, and that all can be seen.
func TestPoliciesInAFederation(t *testing.T) {
	c := nodetest.New(t, 1)
	strict := c.Add(func(cfg *node.Config) {
		cfg.Region = "attic"
		cfg.Policy = node.Policy{OnlyModels: []string{textModel}, OwnUsers: node.OwnFirst}
	})
	shut := c.Add(func(cfg *node.Config) { cfg.Policy = node.Policy{Exclude: []string{"a"}} })
	open := c.Nodes[0]
	rich, poor, owner := c.NewAccount(1000, false), c.NewAccount(50, false), c.NewAccount(100, true)

	other := request("not here")
	other["models"] = []string{"other/model"}
	a, err := rich.At(strict).Do("POST", "/api/v2/generate/text/async", other, nil)
	if err != nil || a.Status != 403 || a.Message == "" {
		t.Errorf("a model that the node does not take = %+v %v, want 403 with a reason", a, err)
	}

	takes := func(n *nodetest.Node, want string) {
		t.Helper()
		if job := pop(t, c, owner.At(n), "worker of "+n.Name); job.Payload.Prompt != want {
			t.Errorf("popped %q at %s, want %q", job.Payload.Prompt, n.Name, want)
		}
	}
	takesNothing := func(n *nodetest.Node) {
		t.Helper()
		var p popped
		must(t, owner.At(n), "POST", "/api/v2/generate/text/pop", poll("worker of "+n.Name), &p)
		if p.ID != "" {
			t.Errorf("popped %q at %s, want nothing of a member that is excluded", p.Payload.Prompt, n.Name)
		}
	}
	sees := func(n *nodetest.Node, want int) {
		t.Helper()
		c.Eventually("offers at "+n.Name, func() error {
			var s struct {
				Queued int `json:"queued_text_requests"`
			}
			must(t, owner.At(n), "GET", "/api/v2/status/performance", nil, &s)
			if s.Queued != want {
				return fmt.Errorf("%d queued, want %d", s.Queued, want)
			}
			return nil
		})
	}
	post(t, rich.At(open), "of the open one")
	post(t, rich.At(shut), "of the shut one")
	post(t, poor.At(strict), "of the strict one")
	sees(strict, 3)
	takes(strict, "of the strict one") // although others have more kudos
	takes(open, "of the open one")
	sees(open, 1)
	takesNothing(open) // the other side refuses its claim
	post(t, rich.At(open), "another of the open one")
	sees(shut, 2)
	takes(shut, "of the shut one")
	takesNothing(shut)
	takes(strict, "another of the open one")

	c.Eventually("policies and regions at every node", func() error {
		for _, n := range c.Nodes {
			var nodes []struct {
				Name, Region, URL, Version string
				Load                       *float64
				Policy                     *node.Policy
			}
			must(t, nodetest.REST{URL: n.URL()}, "GET", "/api/fed/v1/nodes", nil, &nodes)
			if len(nodes) != 3 {
				return fmt.Errorf("%d nodes, want 3", len(nodes))
			}
			for _, x := range nodes {
				if x.Policy == nil || x.Version == "" || x.Load == nil || x.URL == "" {
					return fmt.Errorf("%s knows %+v", n.Name, x)
				}
				if x.Name == strict.Name && (x.Region != "attic" || x.Policy.OwnUsers != node.OwnFirst) {
					return fmt.Errorf("%s knows %+v of the strict one", n.Name, x)
				}
			}
			var members []struct {
				Name, Role, Version string
				Joined              string
			}
			must(t, nodetest.REST{URL: n.URL()}, "GET", "/api/fed/v1/members", nil, &members)
			if len(members) != 3 || members[0].Role == "" || members[0].Joined == "" {
				return fmt.Errorf("%s knows members %+v", n.Name, members)
			}
		}
		return nil
	})
	c.CheckLedger()
}
