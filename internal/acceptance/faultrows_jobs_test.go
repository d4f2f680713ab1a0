//go:build faults

package acceptance

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

const jobModel = "fault/model"

// post asks for a text at a node and returns the request's id.
func post(n *process, key, prompt string) (id string, err error) {
	var a struct{ ID string }
	_, err = call("POST", n.url+"/api/v2/generate/text/async", key, map[string]any{
		"prompt": prompt, "models": []string{jobModel}, "params": map[string]any{"max_length": 80, "max_context_length": 1024},
	}, &a)
	return a.ID, err
}

// popOnce asks for one text job; id is empty if there is none.
func popOnce(n *process, key, worker string) (id, prompt string, err error) {
	var a struct {
		ID      string
		Payload struct{ Prompt string }
	}
	_, err = call("POST", n.url+"/api/v2/generate/text/pop", key, map[string]any{
		"name": worker, "models": []string{jobModel}, "bridge_agent": "KoboldCppEmbedWorker:2:acceptance",
		"max_length": 512, "max_context_length": 4096,
	}, &a)
	return a.ID, a.Payload.Prompt, err
}

// pop waits for a text job.
func pop(n *process, most time.Duration, key, worker string) (id string) {
	n.t.Helper()
	n.eventually(most, "a job for "+worker, func() (err error) {
		if id, _, err = popOnce(n, key, worker); err == nil && id == "" {
			err = errors.New("nothing to do")
		}
		return err
	})
	return id
}

// submit delivers a text and returns the reward that the worker was told.
func submit(n *process, key, job, text string) (reward float64, status int, err error) {
	var a struct{ Reward float64 }
	status, err = call("POST", n.url+"/api/v2/generate/text/submit", key, map[string]any{"id": job, "generation": text, "state": "ok", "seed": 0}, &a)
	return a.Reward, status, err
}

// textOf waits until a request is done everywhere, with one text.
func textOf(t *testing.T, nodes []*process, id, want string) {
	t.Helper()
	for _, n := range nodes {
		n.eventually(60*time.Second, "the result of "+id, func() error {
			var s requestStatus
			if _, err := call("GET", n.url+"/api/v2/generate/text/status/"+id, "", nil, &s); err != nil {
				return err
			}
			if !s.Done || len(s.Generations) != 1 || s.Generations[0].Text != want {
				return fmt.Errorf("%+v, want the text %q", s, want)
			}
			return nil
		})
	}
}

// blameless checks that no text worker is in maintenance or has jobs counted that it did not
// complete, but those of the given number.
func blameless(t *testing.T, n *process, uncompleted map[string]int) {
	t.Helper()
	var workers []struct {
		Name        string
		Maintenance bool `json:"maintenance_mode"`
		Uncompleted int  `json:"uncompleted_jobs"`
	}
	if _, err := call("GET", n.url+"/api/v2/workers?type=text", "", nil, &workers); err != nil {
		t.Error(err)
	}
	for _, w := range workers {
		if w.Maintenance || w.Uncompleted != uncompleted[w.Name] {
			t.Errorf("worker %s: maintenance %v, %d jobs not completed, want %d", w.Name, w.Maintenance, w.Uncompleted, uncompleted[w.Name])
		}
	}
}

// Row 35: a client's calls are carried out and the answers are lost, so it calls again. With
// an Idempotency-Key, a transfer is made once, at whatever node it is repeated, and a request
// once at its node, also if that was killed in between.
func TestFault35LostReply(t *testing.T) {
	t.Parallel()
	nodes := startFederation(t, 3)
	payer, payerID := nodes[0].testUser("payer", 1000, true)
	_, payeeID := nodes[0].testUser("payee", 100, false)
	for _, n := range nodes {
		n.eventually(20*time.Second, "the accounts", func() error { _, err := n.kudos(payeeID); return err })
	}
	had, err := nodes[0].kudos(payeeID)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(nodes[0].url, "http://")
	d := openDoor(t, "127.0.0.1:0", func() (net.Conn, error) { return net.Dial("tcp", address) })
	d.mute.Store(true)
	transfer := func(base, key string) (int, error) {
		return keyedCall(base+"/api/v2/kudos/transfer", payer, key, map[string]any{"username": "payee#" + payeeID, "amount": 10})
	}
	for i := range 5 {
		key := fmt.Sprintf("transfer %d", i)
		if status, err := transfer("http://"+d.l.Addr().String(), key); err == nil || status != 0 {
			t.Fatalf("status %d (%v) through a door that loses replies", status, err)
		}
		n := nodes[i%len(nodes)]
		n.eventually(30*time.Second, "an answer to the repeat", func() error { _, err := transfer(n.url, key); return err })
	}
	order := func(base, key string) (id string, err error) {
		var a struct{ ID string }
		_, err = callWith(http.Header{"Idempotency-Key": {key}}, "POST", base+"/api/v2/generate/text/async", payer, map[string]any{
			"prompt": key, "models": []string{jobModel}, "params": map[string]any{"max_length": 80, "max_context_length": 1024},
		}, &a)
		return a.ID, err
	}
	for i := range 5 {
		if id, err := order("http://"+d.l.Addr().String(), fmt.Sprintf("order %d", i)); err == nil {
			t.Fatalf("request %q through a door that loses replies", id)
		}
	}
	nodes[0].kill()
	nodes[0].start()
	ids := map[string]bool{}
	for range 2 {
		for i := range 5 {
			id, err := order(nodes[0].url, fmt.Sprintf("order %d", i))
			if err != nil {
				t.Fatal(err)
			}
			ids[id] = true
		}
	}
	if s, err := nodes[0].status(); err != nil || len(ids) != 5 || s.Requests != 5 {
		t.Errorf("%d ids, %d requests (%v), want 5 of what was asked for three times", len(ids), s.Requests, err)
	}
	if d.cut.Load() < 10 {
		t.Fatalf("%d replies were lost, want 10", d.cut.Load())
	}
	for id := range ids {
		if _, err := call("DELETE", nodes[0].url+"/api/v2/generate/text/status/"+id, payer, nil, nil); err != nil {
			t.Error(err)
		}
	}
	equalBalances(t, nodes, payerID, payeeID)
	if k, err := nodes[1].kudos(payeeID); err != nil || k != had+50 {
		t.Errorf("the payee has %v (%v), want %v: 50 more from 5 transfers that were asked for twice", k, err, had+50)
	}
	verified(t, nodes...)
}

// keyedCall is a POST with an Idempotency-Key.
func keyedCall(url, apikey, key string, body any) (int, error) {
	return callWith(http.Header{"Idempotency-Key": {key}}, "POST", url, apikey, body, nil)
}

// TestFault37WorkerDiesLong is row 37: a worker dies with a job. When its lease ends the job
// is handed out again, once, and only who did it is paid.
func TestFault37WorkerDiesLong(t *testing.T) {
	longRow(t)
	t.Parallel()
	nodes := startFederation(t, 3)
	client, _ := nodes[0].testUser("client", 1000, false)
	dead, deadID := nodes[0].testUser("dead", 1000, true)
	alive, aliveID := nodes[0].testUser("alive", 1000, true)
	for _, n := range nodes {
		n.eventually(20*time.Second, "the accounts", func() error { _, err := n.kudos(aliveID); return err })
	}
	id, err := post(nodes[2], client, "popped twice")
	if err != nil {
		t.Fatal(err)
	}
	first := pop(nodes[1], 20*time.Second, dead, "dies")
	began := time.Now()
	second := pop(nodes[0], 5*time.Minute, alive, "lives")
	t.Logf("handed out again after %v", time.Since(began).Round(time.Second))
	if took := time.Since(began); took < 140*time.Second {
		t.Errorf("handed out again after %v, before the lease of 150 s ended", took)
	}
	if third, _, err := popOnce(nodes[1], alive, "lives too"); err != nil || third != "" {
		t.Errorf("handed out a third time: %q, %v", third, err)
	}
	if _, status, err := submit(nodes[1], dead, first, "too late"); err == nil || status >= 500 {
		t.Errorf("a late result: %d, %v; want a refusal", status, err)
	}
	if _, _, err := submit(nodes[1], alive, second, "in time"); err != nil {
		t.Fatal(err)
	}
	textOf(t, nodes, id, "in time")
	equalBalances(t, nodes, deadID, aliveID)
	if k, err := nodes[0].kudos(deadID); err != nil || k > 1000 {
		t.Errorf("the owner of the dead worker has %v (%v), want no pay", k, err)
	}
	verified(t, nodes...)
	if got := settlements(t, nodes[0], aliveID); got != 1 {
		t.Errorf("%d settlements, want 1", got)
	}
}

// Row 38: a node dies between the answer to a pop and the commit of anything. First it is the
// job's home, while its peers stand still and nothing can be committed; then it is the node
// that the worker uses. The job is not lost, nobody else gets it, and it is paid once.
func TestFault38NodeDiesAfterPop(t *testing.T) {
	t.Parallel()
	nodes := startFederation(t, 3)
	client, _ := nodes[0].testUser("client", 1000, false)
	owner, ownerID := nodes[0].testUser("owner", 1000, true)
	home, via, third := nodes[2], nodes[1], nodes[0]
	for _, n := range nodes {
		n.eventually(20*time.Second, "the accounts", func() error { _, err := n.kudos(ownerID); return err })
	}
	if _, _, err := popOnce(home, owner, "steady"); err != nil { // now the ledger knows the worker
		t.Fatal(err)
	}
	id, err := post(home, client, "home dies")
	if err != nil {
		t.Fatal(err)
	}
	home.eventually(20*time.Second, "the admission", func() error {
		s, err := home.status()
		if err == nil && s.Outbox > 0 {
			err = fmt.Errorf("%d commands wait", s.Outbox)
		}
		return err
	})
	signal := func(s syscall.Signal, ps ...*process) {
		for _, p := range ps {
			if err := p.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	signal(syscall.SIGSTOP, via, third)
	job, _, err := popOnce(home, owner, "steady")
	home.kill()
	signal(syscall.SIGCONT, via, third)
	if err != nil || job == "" {
		t.Fatalf("pop with the peers standing still = %q, %v", job, err)
	}
	home.start()
	connected(t, 60*time.Second, nodes)
	held := func(id string) {
		t.Helper()
		var s requestStatus
		if _, err := call("GET", home.url+"/api/v2/generate/text/status/"+id, "", nil, &s); err != nil || s.Waiting != 0 || s.Processing != 1 {
			t.Errorf("after the restart: %+v, %v; want the job under way", s, err)
		}
		if again, _, err := popOnce(home, owner, "greedy"); err != nil || again != "" {
			t.Errorf("the job was handed out again: %q, %v", again, err)
		}
	}
	held(id)
	if reward, _, err := submit(third, owner, job, "done all the same"); err != nil || reward <= 0 {
		t.Errorf("submit = %v, %v; want a reward", reward, err)
	}
	textOf(t, nodes, id, "done all the same")

	id2, err := post(home, client, "the worker's node dies")
	if err != nil {
		t.Fatal(err)
	}
	job2 := pop(via, 20*time.Second, owner, "steady")
	via.kill()
	held(id2)
	home.eventually(30*time.Second, "a place for the result", func() error { // an election may be under way
		_, status, err := submit(third, owner, job2, "through another node")
		if err != nil && status < 500 && status != 0 {
			t.Errorf("submit at another node: %d %v", status, err)
			return nil
		}
		return err
	})
	via.start()
	textOf(t, nodes, id2, "through another node")
	blameless(t, home, nil)
	verified(t, nodes...)
	if got := settlements(t, home, ownerID); got != 2 {
		t.Errorf("%d settlements, want 2", got)
	}
}

// TestFault39PoppedTwiceLong is row 39: the node that a worker popped at is cut off until the
// lease has ended and somebody else has done the job. One of the two is paid; the other worker
// is told a reward, and not blamed.
func TestFault39PoppedTwiceLong(t *testing.T) {
	longRow(t)
	t.Parallel()
	g := newGround(t, 3)
	found(g.nodes)
	nodes := g.nodes
	client, _ := nodes[0].testUser("client", 1000, false)
	owner, ownerID := nodes[0].testUser("owner", 1000, true)
	home, cut, third := nodes[0], nodes[1], nodes[2]
	for _, n := range nodes {
		n.eventually(20*time.Second, "the accounts", func() error { _, err := n.kudos(ownerID); return err })
	}
	id, err := post(home, client, "popped twice")
	if err != nil {
		t.Fatal(err)
	}
	first := pop(cut, 20*time.Second, owner, "cut off")
	g.split([]*process{cut}, others(nodes, cut))
	second := pop(third, 5*time.Minute, owner, "quicker")
	if _, _, err := submit(third, owner, second, "from the second"); err != nil {
		t.Fatal(err)
	}
	textOf(t, others(nodes, cut), id, "from the second")
	if reward, _, err := submit(cut, owner, first, "from the first"); err != nil || reward <= 0 {
		t.Errorf("submit at the node that is cut off = %v, %v; want a reward", reward, err)
	}
	g.heal()
	connected(t, 60*time.Second, nodes)
	cut.eventually(60*time.Second, "the delivery of what was kept", func() error {
		s, err := cut.status()
		if err == nil && s.Kept > 0 {
			err = fmt.Errorf("%d are kept", s.Kept)
		}
		return err
	})
	textOf(t, nodes, id, "from the second")
	blameless(t, home, nil)
	verified(t, nodes...)
	if got := settlements(t, home, ownerID); got != 1 {
		t.Errorf("%d settlements, want 1", got)
	}
}
