package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"hordenode/cmd/hordenode/internal/rest"
)

// How a client learns that its request is done.
const (
	LongPoll = "long poll"
	Events   = "events" // server-sent
)

// settleIn is the time that a wait gets to begin at the node before the worker submits.
const settleIn = 30 * time.Millisecond

// Watch measures end-to-end overhead (P8): from the moment a worker begins to submit until
// the client, who waits, holds the result. Requests are posted at the first address and
// submitted there; with far the client waits at the next one. Each client has a worker and a
// model of its own, so that nobody gets another's job.
func (t *Target) Watch(ctx context.Context, how string, far bool, clients int, d time.Duration) (Result, error) {
	if far && len(t.clients) < 2 {
		return Result{}, errors.New("waiting at another node needs a second address")
	}
	clients = min(clients, len(t.workers))
	at := 0
	if far {
		at = 1
	}
	var (
		m    tally
		left idList
		mu   sync.Mutex
		took []time.Duration
	)
	m.drive(ctx, clients, d, func(ctx context.Context, c, _ int) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		overhead, err := t.watchOne(ctx, how, at, c, &left)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		took = append(took, overhead)
		return nil
	})
	t.cancel(ctx, left.ids)
	r, err := m.done(ctx, how, clients)
	if err != nil {
		return r, err
	}
	r.P50, r.P99 = percentiles(took)
	return r, nil
}

// watchOne is one request whose client waits at the at-th address.
func (t *Target) watchOne(ctx context.Context, how string, at, c int, left *idList) (time.Duration, error) {
	name := fmt.Sprintf("%s-%03d", model, c)
	worker := t.client(0, t.workers[c].key)
	a, err := t.client(0, t.user(c).Key).AsyncRaw(ctx, rest.Text, bodyFor(name))
	if err != nil {
		return 0, full(err)
	}
	left.add(a.ID)
	job, err := popJob(ctx, worker, popFor(t.workers[c].pop, name))
	if err != nil {
		return 0, err
	}
	held := make(chan error, 1)
	go func() { held <- t.hold(ctx, how, at, a.ID) }()
	pause(ctx, settleIn)
	began := time.Now()
	if _, err := worker.Submit(ctx, rest.Text, submission(job.ID)); err != nil {
		return 0, errors.Join(fmt.Errorf("submit: %w", err), <-held)
	}
	if err := <-held; err != nil {
		return 0, err
	}
	left.drop(a.ID)
	return time.Since(began), nil
}

// hold waits for a request and returns when it has the result.
func (t *Target) hold(ctx context.Context, how string, at int, id string) error {
	c := t.client(at, "")
	if how == Events {
		if err := awaitEvent(ctx, c, id, "done"); err != nil {
			return err
		}
		s, err := c.Status(ctx, rest.Text, id)
		if err == nil && !s.Done {
			err = errors.New("the stream said done, the status does not")
		}
		return err
	}
	for {
		var s rest.Status
		if err := c.Do(ctx, http.MethodGet, "/api/v2/generate/text/status/"+id+"?wait=15", nil, &s); err != nil {
			return fmt.Errorf("long poll: %w", err)
		}
		if s.Done {
			return nil
		}
	}
}

// awaitEvent reads the events of a request until one of that name.
func awaitEvent(ctx context.Context, c *rest.Client, id, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+"/api/fed/v1/generate/"+id+"/events", nil)
	if err != nil {
		return err
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	defer res.Body.Close()
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		if s.Text() == "event: "+name {
			return nil
		}
	}
	return fmt.Errorf("events: %s, the stream ended without %s", res.Status, name)
}

// popJob asks until there is a job.
func popJob(ctx context.Context, c *rest.Client, body []byte) (rest.Job, error) {
	for {
		job, err := c.PopRaw(ctx, rest.Text, body)
		if err != nil || job.ID != "" {
			return job, err
		}
		if ctx.Err() != nil {
			return job, ctx.Err()
		}
		pause(ctx, time.Millisecond)
	}
}

// bodyFor is a text request for one job of a model.
func bodyFor(name string) []byte {
	return []byte(strings.Replace(string(Body(1, true)), `"`+model+`"`, `"`+name+`"`, 1))
}

// popFor is a pop of a worker that serves other models.
func popFor(pop []byte, names ...string) []byte {
	list, err := json.Marshal(names)
	if err != nil {
		panic("load: names do not encode: " + err.Error())
	}
	return []byte(strings.Replace(string(pop), `["`+model+`"]`, string(list), 1))
}
