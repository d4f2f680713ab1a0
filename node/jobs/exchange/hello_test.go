package exchange

import (
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
)

// A worker that was answered at one node is known at all others, gossip or not, so that no
// client is told that nobody can serve its request.
func TestWorkersAreToldBeforeTheyAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c")
		settle(time.Second)
		f.wire.set(func() { f.wire.drop = func(_, _ horde.NodeID, topic string) bool { return topic == TopicNews } })
		a, b, c := f.nodes["a"], f.nodes["b"], f.nodes["c"]
		first := a.ask(alice)
		if st, err := a.Status(f.ctx, first, false); err != nil || st.IsPossible {
			t.Fatalf("without workers: IsPossible = %v, %v, want false", st.IsPossible, err)
		}

		p := f.poll("w")
		f.pop(b, p)
		for name, n := range f.nodes {
			if _, ok := n.Live(f.ledger.worker("w").ID); !ok {
				t.Errorf("%s does not know of the worker that b answered", name)
			}
		}
		second := c.ask(alice)
		if st, err := a.Status(f.ctx, second, false); err != nil || !st.IsPossible {
			t.Errorf("posted at c after the poll at b: IsPossible = %v, %v, want true", st.IsPossible, err)
		}

		p.Caps.Models = []string{"another"} // what it can do now is known as well
		f.pop(b, p)
		if x, _ := c.Live(f.ledger.worker("w").ID); len(x.Caps.Models) != 1 || x.Caps.Models[0] != "another" {
			t.Errorf("models at c = %v, want another", x.Caps.Models)
		}
	})
}

// A node that does not answer holds up one poll, and for helloBudget at most.
func TestDeafNodesHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c")
		settle(time.Second)
		f.wire.set(func() {
			f.wire.lose = func(to horde.NodeID, proto string) bool { return to == "c" && proto == ProtoJob }
		})
		for i, most := range []time.Duration{helloBudget + 10*time.Millisecond, 10 * time.Millisecond} {
			began := time.Now()
			f.pop(f.nodes["b"], f.poll([]string{"w", "v"}[i]))
			if took := time.Since(began); took > most {
				t.Errorf("poll %d took %v, want at most %v", i, took, most)
			}
		}
		if !f.nodes["b"].hello.isDeaf(horde.NodeID("c").Tag(), time.Now()) {
			t.Error("c is waited for all the same")
		}
		if got := len(f.nodes["a"].LiveWorkers()); got != 2 {
			t.Errorf("a knows %d workers, want 2", got)
		}
	})
}

// worker returns the worker of a name.
func (l *fakeLedger) worker(name string) horde.Worker {
	w, _ := l.WorkerByName(name)
	return w
}
