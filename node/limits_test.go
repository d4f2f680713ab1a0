package node_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"hordenode/node"
	"hordenode/node/nodetest"
)

// TestSecurity25RateLimitsAreShared loads three nodes with one address: together they let
// through what one would, give or take a fifth.
func TestSecurity25RateLimitsAreShared(t *testing.T) {
	c := nodetest.New(t, 3, func(cfg *node.Config) { cfg.NoRateLimits = false })
	const limit, refusals = 90, 10 // GET /documents/terms: 90 a minute by address
	begin := time.Now()
	var mu sync.Mutex
	accepted := 0
	var load sync.WaitGroup
	for _, n := range c.Nodes {
		load.Go(func() {
			pace := time.NewTicker(50 * time.Millisecond) // 60 a second in all, forty times the limit
			defer pace.Stop()
			for refused := 0; refused < refusals; <-pace.C {
				a, err := nodetest.REST{URL: n.URL()}.Do("GET", "/api/v2/documents/terms", nil, nil)
				switch {
				case err != nil:
					t.Error(err)
					return
				case a.Status == http.StatusTooManyRequests:
					refused++
				case a.OK():
					mu.Lock()
					accepted++
					mu.Unlock()
				default:
					t.Errorf("status %d: %s", a.Status, a.Message)
					return
				}
			}
		})
	}
	load.Wait()
	windows := 1 + int(time.Since(begin)/time.Minute) // of a machine that takes so long
	t.Logf("let through %d in %s", accepted, time.Since(begin).Round(time.Millisecond))
	if accepted < limit || accepted > windows*limit*6/5 {
		t.Errorf("let through %d, want %d to %d", accepted, limit, windows*limit*6/5)
	}
}
