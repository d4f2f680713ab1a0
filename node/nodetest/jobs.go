package nodetest

import (
	"fmt"

	"hordenode/internal/horde"
)

// CheckJobs waits until the requests, all that were ever accepted, agree with the ledger (I3
// and I5 of the design): each of them is known to its home and ended, or still open there; the
// ledger has settled as many jobs as were delivered, no more and no fewer; it has an open
// record of exactly the requests that are open; and nothing waits for a home any more.
func (c *Cluster) CheckJobs(requests ...string) {
	c.t.Helper()
	c.Eventually("requests and settlements in accord", func() error {
		delivered := int64(0)
		open := map[horde.RequestID]bool{}
		for _, text := range requests {
			u, err := horde.ParseUUID(text)
			if err != nil {
				c.t.Fatal(err)
			}
			var s struct{ Finished, Waiting, Processing int }
			a, err := REST{URL: c.Any().URL()}.Do("GET", "/api/v2/generate/text/status/"+text, nil, &s)
			switch {
			case err != nil:
				return err
			case a.Status == 404:
				c.t.Fatalf("request %s was accepted and is gone", text)
			case !a.OK():
				return fmt.Errorf("status of %s: %+v", text, a)
			}
			delivered += int64(s.Finished)
			open[horde.RequestID{UUID: u}] = s.Waiting+s.Processing > 0
		}
		for _, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			if kept := n.node().Kept(); kept > 0 {
				return fmt.Errorf("%d items wait at %s", kept, n.Name)
			}
			settled := n.node().Totals().Settled
			if settled > delivered {
				c.t.Fatalf("%s has settled %d jobs of %d", n.Name, settled, delivered)
			}
			if settled < delivered {
				return fmt.Errorf("%s has settled %d jobs of %d", n.Name, settled, delivered)
			}
			for id, want := range open {
				if got := n.node().Held(id); got != want {
					return fmt.Errorf("%s has a record of %s: %v, want %v", n.Name, id, got, want)
				}
			}
		}
		return nil
	})
}

// Worker returns what the node's ledger knows of a worker.
func (n *Node) Worker(name string) (horde.Worker, bool) { return n.node().WorkerNamed(name) }

// Kept returns how many items wait at the node for homes that could not be reached.
func (n *Node) Kept() int { return n.node().Kept() }

// Standin returns who keeps copies of another node's requests and who took them over.
func (n *Node) Standin(of *Node) horde.Standin { return n.node().Standin(of.ID()) }
