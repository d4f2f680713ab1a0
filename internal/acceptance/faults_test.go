//go:build faults

package acceptance

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
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

	load := &load{nodes: nodes, client: client, owner: owner, stop: make(chan struct{}), accepted: map[string]string{}, delivered: map[string]string{}}
	load.start()
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

// load posts, pops and submits at all nodes in turn until it is stopped. It remembers what
// the nodes acknowledged, and nothing else.
type load struct {
	nodes         []*process
	client, owner string
	stop          chan struct{}
	wg            sync.WaitGroup
	submitted     atomic.Int64

	mu        sync.Mutex
	accepted  map[string]string // prompt → request id
	delivered map[string]string // prompt → text that was acknowledged with a reward
}

func (l *load) start() {
	for i := range 2 {
		l.wg.Go(func() { l.post(i) })
		l.wg.Go(func() { l.work(i) })
	}
}

func (l *load) finish() { close(l.stop); l.wg.Wait() }

func (l *load) stopped() bool {
	select {
	case <-l.stop:
		return true
	case <-time.After(20 * time.Millisecond): // a client's pace, not a wait for anything
		return false
	}
}

func (l *load) more(want int64) error {
	if got := l.submitted.Load(); got < want {
		return fmt.Errorf("%d jobs submitted, want %d", got, want)
	}
	return nil
}

func (l *load) post(i int) {
	for n := i; !l.stopped(); n++ {
		var a struct{ ID string }
		prompt := fmt.Sprintf("prompt %d of %d", n, i)
		_, err := call("POST", l.nodes[n%len(l.nodes)].url+"/api/v2/generate/text/async", l.client, map[string]any{
			"prompt": prompt, "models": []string{"kill/model"},
			"params": map[string]any{"max_length": 80, "max_context_length": 1024},
		}, &a)
		if err != nil {
			continue // not acknowledged: the node is down
		}
		l.mu.Lock()
		l.accepted[prompt] = a.ID
		l.mu.Unlock()
	}
}

func (l *load) work(i int) {
	for n := i; !l.stopped(); n++ {
		var p struct {
			ID      string
			Payload struct{ Prompt string }
		}
		_, err := call("POST", l.nodes[n%len(l.nodes)].url+"/api/v2/generate/text/pop", l.owner, map[string]any{
			"name": fmt.Sprintf("kill worker %d", i), "models": []string{"kill/model"}, "bridge_agent": "KoboldCppEmbedWorker:2:acceptance",
			"max_length": 512, "max_context_length": 4096,
		}, &p)
		if err != nil || p.ID == "" {
			continue
		}
		l.deliver(n, p.ID, p.Payload.Prompt)
	}
}

// deliver submits as real workers do: again, at the next node, until somebody answers.
func (l *load) deliver(n int, job, prompt string) {
	text := "answer to " + prompt
	for try := range 40 {
		status, err := call("POST", l.nodes[(n+1+try)%len(l.nodes)].url+"/api/v2/generate/text/submit", l.owner,
			map[string]any{"id": job, "generation": text, "state": "ok", "seed": 0}, nil)
		switch {
		case err == nil:
			l.submitted.Add(1)
			l.mu.Lock()
			l.delivered[prompt] = text
			l.mu.Unlock()
			return
		case status == http.StatusBadRequest || status == http.StatusNotFound:
			return // answered before the connection broke, or given to somebody else
		}
		if l.stopped() {
			return
		}
	}
}
