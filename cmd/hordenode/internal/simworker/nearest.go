package simworker

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"hordenode/cmd/hordenode/internal/rest"
)

const (
	measureTimes = 3               // the best of so many round trips counts
	measureFor   = 3 * time.Second // for asking a node, and for measuring one
	measureMost  = 64              // nodes
)

// Nearest asks the given nodes which others there are, measures the round trip to each, and
// returns the addresses of those that answer, the fastest first. Those given that do not
// answer now come last: they may later.
func Nearest(ctx context.Context, httpc *http.Client, given []string) []string {
	var mu sync.Mutex
	found := slices.Clone(given)
	each(given, func(url string) {
		ctx, cancel := context.WithTimeout(ctx, measureFor)
		defer cancel()
		var nodes []struct {
			URL string `json:"url"`
		}
		c := rest.Client{Base: url, HTTP: httpc}
		if err := c.Do(ctx, http.MethodGet, "/api/fed/v1/nodes", nil, &nodes); err != nil {
			return // it is measured below, and goes last if it is away
		}
		mu.Lock()
		defer mu.Unlock()
		for _, n := range nodes {
			if u := strings.TrimRight(n.URL, "/"); u != "" && !slices.Contains(found, u) && len(found) < measureMost {
				found = append(found, u)
			}
		}
	})

	rtt := map[string]time.Duration{}
	each(found, func(url string) {
		d, ok := roundTrip(ctx, httpc, url)
		mu.Lock()
		defer mu.Unlock()
		if ok {
			rtt[url] = d
		}
	})
	var near, away []string
	for _, url := range found {
		if _, ok := rtt[url]; ok {
			near = append(near, url)
		} else if slices.Contains(given, url) {
			away = append(away, url)
		}
	}
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(rtt[a], rtt[b]) })
	return append(near, away...)
}

// roundTrip is the shortest of some calls to a node; the first also opens the connection.
func roundTrip(ctx context.Context, httpc *http.Client, url string) (best time.Duration, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, measureFor)
	defer cancel()
	c := rest.Client{Base: url, HTTP: httpc}
	for range measureTimes {
		begin := time.Now()
		if err := c.Do(ctx, http.MethodGet, "/api/v2/status/heartbeat", nil, nil); err != nil {
			return 0, false
		}
		if d := time.Since(begin); !ok || d < best {
			best, ok = d, true
		}
	}
	return best, ok
}

// each calls f for all at once and waits.
func each(urls []string, f func(url string)) {
	var wg sync.WaitGroup
	for _, u := range urls {
		wg.Go(func() { f(u) })
	}
	wg.Wait()
}
