//go:build faults

package acceptance

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestHomeDiesWithAJobOut kills the home of a job, and then the node that the worker uses,
// each with kill -9. The worker gets its reward while the home is down, the client never a
// 404, and in the end the result is there and was paid once.
func TestHomeDiesWithAJobOut(t *testing.T) {
	nodes := startFederation(t, 3)
	reader, worker, home := nodes[0], nodes[1], nodes[2]
	client, clientID := reader.testUser("homeless", 100000, false)
	owner, ownerID := reader.testUser("keeper", 1000, true)

	var posted struct{ ID string }
	if _, err := call("POST", home.url+"/api/v2/generate/text/async", client, map[string]any{
		"prompt": "a prompt", "models": []string{"kill/model"}, "params": map[string]any{"max_length": 80, "max_context_length": 1024},
	}, &posted); err != nil {
		t.Fatal(err)
	}
	var job struct{ ID string }
	worker.eventually(20*time.Second, "a job", func() error {
		_, err := call("POST", worker.url+"/api/v2/generate/text/pop", owner, map[string]any{
			"name": "kept worker", "models": []string{"kill/model"}, "bridge_agent": "KoboldCppEmbedWorker:2:acceptance",
			"max_length": 512, "max_context_length": 4096,
		}, &job)
		if err == nil && job.ID == "" {
			err = fmt.Errorf("nothing to do")
		}
		return err
	})

	home.kill()
	submission := map[string]any{"id": job.ID, "generation": "kept", "state": "ok", "seed": 0}
	var got struct{ Reward float64 }
	if _, err := call("POST", worker.url+"/api/v2/generate/text/submit", owner, submission, &got); err != nil || got.Reward <= 0 {
		t.Fatalf("submit with the home down = %v, %v; want a reward", got.Reward, err)
	}
	for _, n := range []*process{reader, worker} {
		if status, err := call("GET", n.url+"/api/v2/generate/text/status/"+posted.ID, "", nil, nil); status != http.StatusServiceUnavailable {
			t.Errorf("status at %s with the home down = %d, %v; want 503", n.name, status, err)
		}
	}
	worker.kill()
	worker.launch()
	home.start()
	reader.eventually(30*time.Second, "the result at its home", func() error {
		var s struct {
			Done        bool
			Generations []struct{ Text string }
		}
		if _, err := call("GET", reader.url+"/api/v2/generate/text/status/"+posted.ID, "", nil, &s); err != nil {
			return err
		}
		if !s.Done || len(s.Generations) != 1 || s.Generations[0].Text != "kept" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	equalBalances(t, nodes, clientID, ownerID)
	reader.eventually(20*time.Second, "the payment", func() error {
		k, err := reader.kudos(ownerID)
		if err == nil && k <= 1000 {
			err = fmt.Errorf("the worker's owner has %v, want more than 1000", k)
		}
		return err
	})
	paid, err := reader.kudos(ownerID)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := call("POST", worker.url+"/api/v2/generate/text/submit", owner, submission, nil); status == http.StatusOK || status >= 500 {
		t.Errorf("a repeated submit = %d, %v; want a refusal", status, err)
	}
	if again, err := reader.kudos(ownerID); err != nil || again != paid {
		t.Errorf("the worker's owner has %v after the repeat (%v), want %v", again, err, paid)
	}
}
