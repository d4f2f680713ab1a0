package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"hordenode/cmd/hordenode/internal/rest"
	"hordenode/cmd/hordenode/internal/simworker"
)

// A demo is what happens in the federation of `hordenode demo`, and what was counted of it.
type demo struct {
	names   []string
	urls    []string
	started time.Time
	http    *http.Client
	log     *slog.Logger

	mu      sync.Mutex     // guards the fields below
	homes   map[string]int // by home tag: the first 12 hex digits of an id
	posted  []int          // requests, by node
	done    []int          // jobs that a worker of the node delivered
	kinds   [2]int         // done: text, image
	crossed int            // jobs done by a worker of another node than their home
	got     int            // results that clients hold
	waiting int            // requests on the way
	kudos   float64        // paid to workers
	trouble string         // the last thing that went wrong
}

// A demoState is a copy of the figures at one moment.
type demoState struct {
	Names   []string
	URLs    []string
	Leader  string
	Up      time.Duration
	Posted  []int
	Done    []int
	Text    int
	Image   int
	Crossed int
	Got     int
	Waiting int
	Kudos   float64
	Trouble string
}

// Jobs is how many jobs were done.
func (s demoState) Jobs() int { return s.Text + s.Image }

func (d *demo) snapshot(now time.Time, leader string) demoState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return demoState{
		Names: d.names, URLs: d.urls, Leader: leader, Up: now.Sub(d.started).Round(time.Second),
		Posted: append([]int(nil), d.posted...), Done: append([]int(nil), d.done...),
		Text: d.kinds[0], Image: d.kinds[1], Crossed: d.crossed, Got: d.got, Waiting: d.waiting, Kudos: d.kudos, Trouble: d.trouble,
	}
}

// worker makes a simulated worker that uses node i.
func (d *demo) worker(i int, k rest.Kind, key string, speed float64) (*simworker.Worker, error) {
	return simworker.New(simworker.Config{
		URLs: []string{d.urls[i]}, Key: key, Kind: k, Name: fmt.Sprintf("%s %s worker", d.names[i], k), Models: defaultModels[k],
		Threads: 3, Speed: speed, IdleMax: time.Second, HTTP: d.http, Log: d.log,
		Done: func(j simworker.Delivery) { d.delivered(i, j) },
	})
}

func (d *demo) delivered(at int, j simworker.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done[at]++
	if j.Kind == rest.Text {
		d.kinds[0]++
	} else {
		d.kinds[1]++
	}
	d.kudos += j.Reward
	if home, ok := d.homes[tag(j.Job)]; ok && home != at {
		d.crossed++
	}
}

// tag is what an id tells of its home.
func tag(id string) string {
	if len(id) < 13 {
		return id
	}
	return id[:8] + id[9:13]
}

// client sends requests to node i and asks for the results at the next node, over and over.
func (d *demo) client(ctx context.Context, i int, k rest.Kind, key string) {
	ask := &rest.Client{Base: d.urls[i], Key: key, Agent: "hordenode demo:1:-", HTTP: d.http}
	read := &rest.Client{Base: d.urls[(i+1)%len(d.urls)], Agent: "hordenode demo:1:-", HTTP: d.http}
	for n := 0; ctx.Err() == nil; n++ {
		if err := d.once(ctx, i, k, n, ask, read); err != nil && ctx.Err() == nil {
			d.note(fmt.Sprintf("client at %s: %v", d.names[i], err))
			_ = simworker.Sleep(ctx, time.Second) // ends with ctx, as the loop does
		}
	}
}

// once takes one request from acceptance to its result.
func (d *demo) once(ctx context.Context, i int, k rest.Kind, n int, ask, read *rest.Client) error {
	a, err := ask.Async(ctx, k, demoRequest(k, n))
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.homes[tag(a.ID)] = i
	d.posted[i]++
	d.waiting++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.waiting--
		d.mu.Unlock()
	}()
	for {
		if err := simworker.Sleep(ctx, 400*time.Millisecond); err != nil {
			return err
		}
		s, err := read.Status(ctx, k, a.ID)
		switch {
		case err != nil:
			return err
		case s.Faulted:
			return fmt.Errorf("request %s failed", a.ID)
		case s.Done:
			d.mu.Lock()
			d.got += len(s.Generations)
			d.mu.Unlock()
			return nil
		}
	}
}

// demoRequest is the n-th request of a client: sizes vary.
func demoRequest(k rest.Kind, n int) rest.Request {
	yes := true
	if k == rest.Text {
		return rest.Request{
			Prompt: fmt.Sprintf("Tell me something about federations, number %d.", n),
			Params: map[string]any{"n": 1 + n%4, "max_length": 40 + 40*(n%3), "max_context_length": 1024},
			Models: defaultModels[k],
		}
	}
	return rest.Request{
		Prompt: fmt.Sprintf("a lighthouse at night, number %d", n), NSFW: new(bool), R2: &yes, Models: defaultModels[k],
		Params: map[string]any{"n": 1 + n%2, "width": 512, "height": 384 + 128*(n%2), "steps": 20},
	}
}

func (d *demo) note(trouble string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trouble = trouble
}
