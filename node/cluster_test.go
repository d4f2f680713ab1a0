package node_test

import (
	"fmt"
	"sync"
	"testing"

	"hordenode/node/nodetest"
)

const textModel = "test/model-7B"

type posted struct{ ID string }

type popped struct {
	ID      string
	IDs     []string
	Payload struct{ Prompt string }
}

type textStatus struct {
	Done        bool
	Waiting     int
	Processing  int
	Finished    int
	Generations []struct {
		Text       string
		WorkerName string `json:"worker_name"`
	}
}

// TestJobCrossesNodes posts at one node, works at another and reads at a third.
func TestJobCrossesNodes(t *testing.T) {
	c := nodetest.New(t, 3)
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	a, b, reader := c.Nodes[0], c.Nodes[1], c.Nodes[2]

	id := post(t, client.At(a), "a prompt that travels")
	job := pop(t, c, owner.At(b), "far worker")
	if job.Payload.Prompt != "a prompt that travels" {
		t.Errorf("prompt at the worker = %q", job.Payload.Prompt)
	}
	must(t, owner.At(b), "POST", "/api/v2/generate/text/submit", map[string]any{"id": job.ID, "generation": "and comes back", "state": "ok", "seed": 1}, nil)

	var s textStatus
	must(t, client.At(reader), "GET", "/api/v2/generate/text/status/"+id, nil, &s)
	if !s.Done || len(s.Generations) != 1 || s.Generations[0].Text != "and comes back" || s.Generations[0].WorkerName != "far worker" {
		t.Errorf("status at the third node = %+v", s)
	}
	c.Eventually("both accounts settled on all nodes", func() error {
		for _, n := range c.Nodes {
			payer, _ := n.User(client.ID)
			worker, _ := n.User(owner.ID)
			if payer.Kudos >= 100000 || worker.Kudos <= 10000 {
				return fmt.Errorf("at %s the payer has %v, the worker's owner %v", n.Name, payer.Kudos, worker.Kudos)
			}
		}
		return nil
	})
	c.CheckLedger()
}

// TestAnyNode writes at each node in turn and reads at all of them.
func TestAnyNode(t *testing.T) {
	c := nodetest.New(t, 3)
	from, to := c.NewAccount(10000, false), c.NewAccount(0, false)
	for i, n := range c.Nodes {
		must(t, from.At(n), "POST", "/api/v2/kudos/transfer", map[string]any{"username": to.Alias, "amount": 10}, nil)
		for _, reader := range c.Nodes {
			c.Eventually("the transfer at "+reader.Name, func() error {
				u, _ := reader.User(from.ID)
				if want := int64(1000000 - 1000*(i+1)); int64(u.Kudos) != want {
					return fmt.Errorf("balance %v, want %d hundredths", u.Kudos, want)
				}
				return nil
			})
		}
	}
	c.CheckLedger()
}

// TestTransferOutlivesLeader stops the leader while transfers are under way: each ends
// acknowledged or refused, and each acknowledged one happened exactly once.
func TestTransferOutlivesLeader(t *testing.T) {
	c := nodetest.New(t, 3)
	from, to := c.NewAccount(100000, false), c.NewAccount(1000, false)
	leader := c.Leader()
	var survivors []*nodetest.Node
	for _, n := range c.Nodes {
		if n != leader {
			survivors = append(survivors, n)
		}
	}
	const each = 40
	var mu sync.Mutex
	acked, started := 0, make(chan struct{}, 2*each)
	var wg sync.WaitGroup
	for _, n := range survivors {
		wg.Go(func() {
			for range each {
				started <- struct{}{}
				a, err := from.At(n).Do("POST", "/api/v2/kudos/transfer", map[string]any{"username": to.Alias, "amount": 1}, nil)
				if err == nil && a.OK() {
					mu.Lock()
					acked++
					mu.Unlock()
				}
			}
		})
	}
	for range 10 {
		<-started
	}
	leader.Stop()
	go func() {
		for range started { // the rest, so that nobody blocks
		}
	}()
	wg.Wait()
	close(started)
	if acked < each {
		t.Errorf("%d of %d transfers acknowledged, want most of them", acked, 2*each)
	}
	c.Eventually("acknowledged transfers", func() error {
		u, _ := survivors[0].User(to.ID)
		// An unacknowledged one may have happened too; an acknowledged one must have.
		if got := int(u.Kudos/100) - 1000; got < acked || got > 2*each {
			return fmt.Errorf("received %d, acknowledged %d", got, acked)
		}
		return nil
	})
	c.CheckLedger()
	leader.Start()
	c.CheckLedger()
}

// TestAddNodeUnderLoad joins a node while requests come in and are worked on.
func TestAddNodeUnderLoad(t *testing.T) {
	c := nodetest.New(t, 1)
	client, owner := c.NewAccount(100000, false), c.NewAccount(100, true)
	first := c.Nodes[0]
	stop, finished := make(chan struct{}), make(chan int, 1)
	go func() {
		n := 0
		defer func() { finished <- n }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if cycle(client.At(first), owner.At(first), "busy worker") == nil {
				n++
			}
		}
	}()
	added := c.Add()
	job := post(t, client.At(added), "posted at the new node")
	close(stop)
	if n := <-finished; n == 0 {
		t.Error("no job finished while the node joined")
	}
	c.Eventually("the new node's job is done at the old one", func() error {
		if err := cycleOnce(owner.At(first), "busy worker"); err != nil {
			return err
		}
		var s textStatus
		must(t, client.At(first), "GET", "/api/v2/generate/text/status/"+job, nil, &s)
		if !s.Done {
			return fmt.Errorf("not done: %+v", s)
		}
		return nil
	})
	c.CheckLedger()
}

// TestRestart stops all nodes and starts them again: requests, accounts and members are
// there, without an operator.
func TestRestart(t *testing.T) {
	c := nodetest.New(t, 3)
	client, owner := c.NewAccount(1000, false), c.NewAccount(100, true)
	id := post(t, client.At(c.Nodes[1]), "remember me")
	for _, n := range c.Nodes {
		n.Stop()
	}
	for _, n := range c.Nodes {
		n.Launch()
	}
	for _, n := range c.Nodes {
		n.WaitReady()
	}
	job := pop(t, c, owner.At(c.Nodes[0]), "patient worker")
	if job.Payload.Prompt != "remember me" {
		t.Errorf("prompt after the restart = %q", job.Payload.Prompt)
	}
	must(t, owner.At(c.Nodes[2]), "POST", "/api/v2/generate/text/submit", map[string]any{"id": job.ID, "generation": "I do", "state": "ok", "seed": 1}, nil)
	var s textStatus
	must(t, client.At(c.Nodes[2]), "GET", "/api/v2/generate/text/status/"+id, nil, &s)
	if !s.Done {
		t.Errorf("status = %+v, want done", s)
	}
	c.CheckLedger()
}

// TestHomeDown asks for a request whose home is stopped: it exists, so the answer is that
// it cannot be reached, never that there is none.
func TestHomeDown(t *testing.T) {
	c := nodetest.New(t, 3)
	client := c.NewAccount(1000, false)
	home := c.Follower()
	id := post(t, client.At(home), "left alone")
	home.Stop()
	other := c.Any()
	a, err := client.At(other).Do("GET", "/api/v2/generate/text/status/"+id, nil, nil)
	if err != nil || a.Status != 503 || a.Message == "" {
		t.Errorf("status of a request at a stopped home = %+v %v, want 503 with a message", a, err)
	}
	home.Start()
	c.Eventually("the request is back", func() error {
		a, err := client.At(other).Do("GET", "/api/v2/generate/text/status/"+id, nil, nil)
		if err != nil || !a.OK() {
			return fmt.Errorf("%+v %v", a, err)
		}
		return nil
	})
}

func post(t *testing.T, r nodetest.REST, prompt string) string {
	t.Helper()
	var p posted
	must(t, r, "POST", "/api/v2/generate/text/async", request(prompt), &p)
	return p.ID
}

func pop(t *testing.T, c *nodetest.Cluster, r nodetest.REST, worker string) popped {
	t.Helper()
	var p popped
	c.Eventually("a job for "+worker, func() error {
		p = popped{}
		a, err := r.Do("POST", "/api/v2/generate/text/pop", poll(worker), &p)
		if err != nil || !a.OK() { // a new worker waits for an election that is under way
			return fmt.Errorf("%+v %v", a, err)
		}
		if p.ID == "" {
			return fmt.Errorf("no job")
		}
		return nil
	})
	return p
}

// cycle posts a request and does one job, whichever it is.
func cycle(client, owner nodetest.REST, worker string) error {
	a, err := client.Do("POST", "/api/v2/generate/text/async", request("load"), nil)
	if err != nil || !a.OK() {
		return fmt.Errorf("post: %+v %w", a, err)
	}
	return cycleOnce(owner, worker)
}

func cycleOnce(owner nodetest.REST, worker string) error {
	var p popped
	a, err := owner.Do("POST", "/api/v2/generate/text/pop", poll(worker), &p)
	if err != nil || !a.OK() {
		return fmt.Errorf("pop: %+v %v", a, err)
	}
	if p.ID == "" {
		return nil
	}
	a, err = owner.Do("POST", "/api/v2/generate/text/submit", map[string]any{"id": p.ID, "generation": "done", "state": "ok", "seed": 1}, nil)
	if err != nil || !a.OK() {
		return fmt.Errorf("submit: %+v %v", a, err)
	}
	return nil
}

func request(prompt string) map[string]any {
	return map[string]any{"prompt": prompt, "models": []string{textModel}, "params": map[string]any{"max_length": 80, "max_context_length": 1024}}
}

func poll(worker string) map[string]any {
	return map[string]any{
		"name": worker, "models": []string{textModel}, "bridge_agent": "KoboldCppEmbedWorker:2:test",
		"max_length": 512, "max_context_length": 4096, "threads": 1,
	}
}

func must(t *testing.T, r nodetest.REST, method, path string, body, out any) {
	t.Helper()
	a, err := r.Do(method, path, body, out)
	if err != nil || !a.OK() {
		t.Fatalf("%s %s = %+v %v", method, path, a, err)
	}
}

// TestWorkersAddress looks at a worker as a moderator at a node that the worker does not
// poll: its address stays where it is, and is asked for.
func TestWorkersAddress(t *testing.T) {
	c := nodetest.New(t, 2)
	owner := c.NewAccount(100, true)
	mod := c.NewModerator()
	must(t, owner.At(c.Nodes[0]), "POST", "/api/v2/generate/text/pop", poll("watched worker"), nil)
	var w struct {
		ID string
		IP string `json:"ipaddr"`
	}
	for _, n := range c.Nodes {
		must(t, mod.At(n), "GET", "/api/v2/workers/name/watched%20worker", nil, &w)
		if w.IP != "127.0.0.1" {
			t.Errorf("a moderator at %s sees the address %q, want 127.0.0.1", n.Name, w.IP)
		}
		w.IP = ""
		must(t, owner.At(n), "GET", "/api/v2/workers/"+w.ID, nil, &w)
		if w.IP != "" {
			t.Errorf("its owner at %s sees the address %q", n.Name, w.IP)
		}
	}
}
