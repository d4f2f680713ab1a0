//go:build faults

package acceptance

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Row 40: one node hears none of the gossip about a burst of requests, and the links of the
// others repeat and lose packets. When it is back it offers its workers all of them, and each
// is handed out once.
func TestFault40LostGossip(t *testing.T) {
	const burst = 200
	t.Parallel()
	g := newGround(t, 3)
	found(g.nodes)
	nodes := g.nodes
	owner, ownerID := nodes[0].testUser("owner", 1000, true)
	var clients []string
	for i := range 10 {
		key, _ := nodes[0].testUser(fmt.Sprintf("client %d", i), 10_000, true)
		clients = append(clients, key)
	}
	for _, n := range nodes {
		n.eventually(20*time.Second, "the accounts", func() error { _, err := n.kudos(ownerID); return err })
	}
	a, b, deaf := nodes[0], nodes[1], nodes[2]
	g.between(a, b, fault{loss: 0.1, duplicate: 0.3, reorder: 0.1, delay: time.Millisecond, jitter: 5 * time.Millisecond})
	g.split([]*process{deaf}, []*process{a, b})
	want := map[string]bool{}
	for i := range burst {
		n := []*process{a, b}[i%2]
		prompt := fmt.Sprintf("burst %d", i)
		n.eventually(30*time.Second, "acceptance", func() error { // an election may be under way
			_, err := post(n, clients[i%len(clients)], prompt)
			return err
		})
		want[prompt] = true
	}
	g.heal()
	healed := time.Now()
	connected(t, 60*time.Second, nodes)
	reached := time.Now()
	deaf.eventually(30*time.Second, "all offers", func() error {
		if s, err := deaf.status(); err != nil || s.Offers < burst {
			return fmt.Errorf("%d offers (%v), want %d", s.Offers, err, burst)
		}
		return nil
	})
	t.Logf("connected %v after the links healed, all %d offers known %v later", reached.Sub(healed).Round(time.Millisecond), burst, time.Since(reached).Round(time.Millisecond))
	jobs := map[string]string{}
	for len(jobs) < burst {
		deaf.eventually(30*time.Second, "all jobs", func() error {
			id, prompt, err := popOnce(deaf, owner, "hungry")
			if err != nil || id == "" {
				return fmt.Errorf("%d jobs so far, now %q %v", len(jobs), id, err)
			}
			if !want[prompt] {
				t.Errorf("prompt %q was handed out twice, or by nobody", prompt)
			}
			delete(want, prompt)
			jobs[id] = prompt
			return nil
		})
	}
	for id, prompt := range jobs {
		deaf.eventually(30*time.Second, "delivery", func() error {
			_, _, err := submit(deaf, owner, id, "answer to "+prompt)
			return err
		})
	}
	for _, n := range nodes {
		n.eventually(60*time.Second, "an empty outbox", func() error {
			s, err := n.status()
			if err == nil && s.Outbox+s.Kept+s.Offers > 0 {
				err = fmt.Errorf("%+v", s)
			}
			return err
		})
	}
	verified(t, nodes...)
	if got := settlements(t, a, ownerID); got != burst {
		t.Errorf("%d settlements, want %d", got, burst)
	}
}

// Row 45: the home of finished texts and images is lost before the client fetched them. Its
// backup takes over, and any node gives them out.
func TestFault45ResultHolderDies(t *testing.T) {
	t.Parallel()
	nodes := make([]*process, 3)
	for i := range nodes {
		nodes[i] = newProcess(t, string(rune('a'+i)), "--takeover-after", "2s", "--image-models", filepath.Join("testdata", "models", "image.json"))
		nodes[i].serveMetrics()
	}
	found(nodes)
	client, _ := nodes[0].testUser("client", 10_000, false)
	owner, ownerID := nodes[0].testUser("owner", 1000, true)
	for _, n := range nodes {
		n.eventually(20*time.Second, "the accounts", func() error { _, err := n.kudos(ownerID); return err })
	}
	home := others(nodes, leaderAmong(t, nodes))[0]
	rest := others(nodes, home)
	home.eventually(30*time.Second, "a backup", func() error {
		// What was accepted before there is one counts as unprotected; a request more tells.
		before, err := home.metric("hordenode_unprotected_items_total")
		if err != nil {
			return err
		}
		id, err := post(home, client, "is there a backup?")
		if err != nil {
			return err
		}
		if _, err := call("DELETE", home.url+"/api/v2/generate/text/status/"+id, client, nil, nil); err != nil {
			return err
		}
		if after, err := home.metric("hordenode_unprotected_items_total"); err != nil || after > before {
			return fmt.Errorf("%v items more are unprotected (%v)", after-before, err)
		}
		return nil
	})
	text, err := post(home, client, "a text")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := submit(rest[0], owner, pop(rest[0], 20*time.Second, owner, "writer"), "a result"); err != nil {
		t.Fatal(err)
	}
	var images []string
	for _, r2 := range []bool{false, true} {
		images = append(images, paint(t, home, rest[0], client, owner, r2))
	}
	home.kill()
	began := time.Now()
	textOf(t, rest, text, "a result")
	for i, id := range images {
		for _, n := range rest {
			n.eventually(60*time.Second, "the image", func() error {
				var s requestStatus
				if _, err := call("GET", n.url+"/api/v2/generate/status/"+id, "", nil, &s); err != nil {
					return err
				}
				if !s.Done || len(s.Generations) != 1 {
					return fmt.Errorf("%+v", s)
				}
				got, err := imageOf(s.Generations[0].Img)
				if err == nil && !slices.Equal(got, picture) {
					err = fmt.Errorf("image %d has %d bytes, want the %d that were sent", i, len(got), len(picture))
				}
				return err
			})
		}
	}
	t.Logf("all results were there again %v after the kill", time.Since(began).Round(time.Millisecond))
	home.start()
	connected(t, 60*time.Second, nodes)
	textOf(t, nodes, text, "a result")
	equalBalances(t, nodes, ownerID)
	verified(t, nodes...)
	if got := settlements(t, home, ownerID); got != 3 {
		t.Errorf("%d settlements, want 3", got)
	}
}
