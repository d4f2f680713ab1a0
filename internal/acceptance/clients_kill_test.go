//go:build clients

package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestNpmWhileNodesDie has the unmodified npm library post, pop, submit and read at three nodes
// in turn while nodes are killed with kill -9 and started again, at random: a minute long, or as
// KILLS says (KILLS=10m make clients CLIENTS="-run NodesDie"). No answer may be wrong, no request
// be lost, no worker be blamed.
func TestNpmWhileNodesDie(t *testing.T) {
	t.Parallel()
	lasts := killsFor(t)
	nodes := clientNodes(t, 3)
	client := nodes[0].account("chaosclient", 1_000_000, false, false)
	owner := nodes[0].account("chaosowner", 1000, true, false)
	everywhere(t, nodes, client, owner)
	c := startChaos(t, nodes, client, owner)

	kills := killAtRandom(t, nodes, lasts, c.exited)
	var got struct{ Accepted, Finished, Submitted, Retries int }
	if err := json.Unmarshal([]byte(lastLine(c.finish(5*time.Minute))), &got); err != nil {
		t.Fatalf("%d kills: %v\n%s", kills, err, tail(c.stderr.String(), 40))
	}
	t.Logf("%d kills; %+v", kills, got)
	if got.Finished != got.Accepted || got.Finished == 0 {
		t.Errorf("%d requests finished, %d accepted", got.Finished, got.Accepted)
	}
	sameKudos(nodes, client)
	sameKudos(nodes, owner)
	noneBlamed(t, nodes[0], 3)
}

// killsFor is how long nodes are killed: a minute, or as KILLS says.
func killsFor(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("KILLS")
	if s == "" {
		return time.Minute
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("KILLS: %v", err)
	}
	return d
}

// killAtRandom kills a node every few seconds and starts it again, until the time is over or
// the client has ended. It returns how often.
func killAtRandom(t *testing.T, nodes []*process, lasts time.Duration, ended <-chan struct{}) (kills int) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("kills with seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	pause := func(least, most time.Duration) bool { // false: the client has ended
		select {
		case <-ended:
			return false
		case <-time.After(least + time.Duration(rnd.Int64N(int64(most-least)))): // when a node dies is the test's to say
			return true
		}
	}
	for began := time.Now(); time.Since(began) < lasts && pause(4*time.Second, 10*time.Second); kills++ {
		victim := nodes[rnd.IntN(len(nodes))]
		victim.kill()
		pause(100*time.Millisecond, 3*time.Second)
		victim.start()
	}
	return kills
}

// noneBlamed checks that there are so many text workers, and that none is in maintenance or has
// jobs counted against it.
func noneBlamed(t *testing.T, n *process, want int) {
	t.Helper()
	var workers []struct {
		Name        string
		Maintenance bool `json:"maintenance_mode"`
		Uncompleted int  `json:"uncompleted_jobs"`
	}
	if _, err := call("GET", n.url+"/api/v2/workers?type=text", "", nil, &workers); err != nil {
		t.Fatal(err)
	}
	if len(workers) != want {
		t.Errorf("%d workers, want %d", len(workers), want)
	}
	for _, w := range workers {
		if w.Maintenance || w.Uncompleted > 0 {
			t.Errorf("worker %s: maintenance %v, %d jobs not completed; want it blameless", w.Name, w.Maintenance, w.Uncompleted)
		}
	}
}

// TestSillyTavernWhileNodesDie asks SillyTavern's server, unmodified, for one text after the other
// while the nodes that it is led to are killed and started again, as long as the test above. What
// it answers with an error is asked again; every text that it was promised comes.
func TestSillyTavernWhileNodesDie(t *testing.T) {
	t.Parallel()
	lasts := killsFor(t)
	nodes := clientNodes(t, 3)
	client := nodes[0].account("stubborn", 1_000_000, false, false)
	owner := nodes[0].account("tireless", 500, true, false)
	everywhere(t, nodes, client, owner)
	inBackground(t, t.TempDir(), nil, binary, "worker", "--url", startRotor(t, nodes), "--key", owner.Key,
		"--simulate", "text", "--name", "tireless", "--speed", "20")
	for _, n := range nodes {
		waitWorkers(t, n.url, "tireless", 1)
	}
	s := startTavern(t, newRotor(nodes))
	s.signIn(client)
	var workers []struct{ Models []string }
	s.get("/api/horde/text-workers", map[string]any{"force": true}, &workers)
	if len(workers) != 1 || len(workers[0].Models) == 0 {
		t.Fatalf("text-workers: %+v, want one with a model", workers)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	texts, retries := 0, 0
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, err := s.stubbornText(fmt.Sprintf("Once upon a time, number %d", texts), workers[0].Models[0])
			if err != nil {
				t.Errorf("text %d: %v", texts, err)
				return
			}
			texts, retries = texts+1, retries+n
		}
	}()
	kills := killAtRandom(t, nodes, lasts, ended)
	close(stop)
	<-ended
	t.Logf("%d kills; %d texts, %d calls made again", kills, texts, retries)
	if texts == 0 {
		t.Error("no text came")
	}
	noneBlamed(t, nodes[0], 1)
}

// stubbornText asks for a text and polls until it is there; calls that fail are made again. It
// returns how many did.
func (s *tavern) stubbornText(prompt, model string) (retries int, err error) {
	var asked struct{ ID string }
	var got taskStatus
	// A job whose pop was answered by a node that died in that moment is done again when its
	// lease of 150 s ends.
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) { // as its page polls
		if asked.ID == "" {
			if s.answered("/api/horde/generate-text", map[string]any{
				"prompt": prompt, "trusted_workers": false, "models": []string{model},
				"params": map[string]any{"n": 1, "max_length": 80, "max_context_length": 1024, "temperature": 0.7},
			}, &asked) != nil || asked.ID == "" {
				retries++
			}
			continue
		}
		got = taskStatus{}
		switch err := s.answered("/api/horde/task-status", map[string]any{"taskId": asked.ID}, &got); {
		case err != nil:
			retries++
		case got.Faulted:
			return retries, fmt.Errorf("request %s is faulted: %+v", asked.ID, got)
		case got.Done && len(got.Generations) == 1 && got.Generations[0].Text != "":
			return retries, nil
		case got.Done:
			return retries, fmt.Errorf("request %s: %+v, want one text", asked.ID, got)
		}
	}
	return retries, fmt.Errorf("request %q has not ended: %+v", asked.ID, got)
}

// answered is post for calls that may fail.
func (s *tavern) answered(path string, body, into any) error {
	status, b, err := s.post(s.t.Context(), path, body)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s: %d: %.300s", path, status, b)
	}
	return json.Unmarshal(b, into)
}

// A chaos is chaos.mjs, running.
type chaos struct {
	t      *testing.T
	stdin  io.Closer
	stdout bytes.Buffer
	stderr *printed
	exited chan struct{}
}

func startChaos(t *testing.T, nodes []*process, client, owner account) *chaos {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(npmPackages(t, "npm"), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join("testdata", "npm", "chaos.mjs"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "chaos.mjs"), b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &chaos{t: t, stderr: &printed{}, exited: make(chan struct{})}
	cmd := exec.Command("node", "chaos.mjs")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NODES="+commaList(urls(nodes)), "CLIENT_KEY="+client.Key, "OWNER_KEY="+owner.Key)
	cmd.Stdout, cmd.Stderr = &c.stdout, c.stderr
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := cmd.Wait(); err != nil {
			t.Errorf("the client ended: %v\n%s", err, tail(c.stderr.String(), 40))
		}
		close(c.exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, as a rule
		<-c.exited
	})
	return c
}

// finish tells the client that there have been kills enough, and returns what it printed.
func (c *chaos) finish(most time.Duration) string {
	c.t.Helper()
	_ = c.stdin.Close() // it may have ended
	select {
	case <-c.exited:
		return c.stdout.String()
	case <-time.After(most):
		c.t.Fatalf("the client goes on:\n%s", tail(c.stderr.String(), 40))
		return ""
	}
}
