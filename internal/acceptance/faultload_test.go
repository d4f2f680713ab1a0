//go:build faults

package acceptance

import (
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load posts, pops and submits at all nodes in turn until it is stopped. It remembers what
// the nodes acknowledged, and nothing else.
type load struct {
	name          string // begins the prompts and the names of the workers
	nodes         []*process
	client, owner string
	pace          time.Duration    // between the calls of each client and worker
	enough        chan struct{}    // closed when clients shall stop
	stop          chan struct{}    // closed when workers shall stop too
	rate          <-chan time.Time // of all clients together; nil: as pace says
	clients       sync.WaitGroup
	workers       sync.WaitGroup
	submitted     atomic.Int64

	mu        sync.Mutex
	accepted  map[string]string // prompt → request id
	popped    map[string]bool   // prompts that workers were given
	delivered map[string]string // prompt → text that was acknowledged with a reward
	read      int               // requests that ended as they should and were forgotten
}

func startLoad(name string, nodes []*process, client, owner string) *load {
	return startPaced(name, nodes, client, owner, 20*time.Millisecond)
}

func startPaced(name string, nodes []*process, client, owner string, pace time.Duration) *load {
	l := newLoad(name, nodes, client, owner)
	l.pace = pace
	for i := range 2 {
		l.clients.Go(func() { l.post(i) })
		l.workers.Go(func() { l.work(i) })
	}
	return l
}

func newLoad(name string, nodes []*process, client, owner string) *load {
	return &load{
		name: name, nodes: nodes, client: client, owner: owner,
		enough: make(chan struct{}), stop: make(chan struct{}),
		accepted: map[string]string{}, popped: map[string]bool{}, delivered: map[string]string{},
	}
}

// startWatched starts a load of so many requests a second, or of as many as are answered if
// that is 0, whose clients read their results and forget them: it can last.
func startWatched(name string, nodes []*process, client, owner string, perSecond float64) *load {
	const clients = 6
	l := newLoad(name, nodes, client, owner)
	l.pace = 2 * time.Millisecond
	if perSecond > 0 {
		ticker := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
		l.rate = ticker.C
		nodes[0].t.Cleanup(ticker.Stop)
	}
	for i := range clients {
		l.clients.Go(func() { l.post(i) })
		l.workers.Go(func() { l.work(i) })
	}
	l.clients.Go(l.readAll)
	return l
}

// readAll reads the results of requests, oldest first or not, until the clients shall stop.
func (l *load) readAll() {
	for turn := 0; !l.over(l.enough); {
		l.mu.Lock()
		open := maps.Clone(l.accepted)
		l.mu.Unlock()
		for prompt, id := range open {
			turn++
			n := l.nodes[turn%len(l.nodes)]
			var s requestStatus
			if _, err := call("GET", n.url+"/api/v2/generate/text/status/"+id, "", nil, &s); err != nil || !s.Done {
				continue // the node is down, or nobody has done it yet
			}
			if len(s.Generations) == 1 && s.Generations[0].Text == "answer to "+prompt {
				l.mu.Lock()
				delete(l.accepted, prompt)
				delete(l.popped, prompt)
				delete(l.delivered, prompt)
				l.read++
				l.mu.Unlock()
			} // else drain says what is wrong with it
			if l.over(l.enough) {
				return
			}
		}
	}
}

// finish ends clients and workers.
func (l *load) finish() {
	close(l.enough)
	l.clients.Wait()
	close(l.stop)
	l.workers.Wait()
}

func (l *load) over(end chan struct{}) bool {
	select {
	case <-end:
		return true
	case <-time.After(l.pace): // a client's pace, not a wait for anything
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
	for n := i; !l.over(l.enough); n++ {
		if l.rate != nil {
			select {
			case <-l.rate:
			case <-l.enough:
				return
			}
		}
		var a struct{ ID string }
		prompt := fmt.Sprintf("%s %d of %d", l.name, n, i)
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
	for n := i; !l.over(l.stop); n++ {
		var p struct {
			ID      string
			Payload struct{ Prompt string }
		}
		_, err := call("POST", l.nodes[n%len(l.nodes)].url+"/api/v2/generate/text/pop", l.owner, map[string]any{
			"name": fmt.Sprintf("%s worker %d", l.name, i), "models": []string{"kill/model"}, "bridge_agent": "KoboldCppEmbedWorker:2:acceptance",
			"max_length": 512, "max_context_length": 4096,
		}, &p)
		if err != nil || p.ID == "" {
			continue
		}
		l.mu.Lock()
		l.popped[p.Payload.Prompt] = true
		l.mu.Unlock()
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
		if l.over(l.stop) {
			return
		}
	}
}

// drain ends the clients, has the workers finish what is there, and ends them. Every request
// that was accepted must be done; left are those whose job was handed out in an answer that
// was lost: they are done again when its lease ends.
func (l *load) drain(t *testing.T) (left int) {
	t.Helper()
	if l.over(l.stop) { // it was finished: others do what is left
		l.stop, l.workers = make(chan struct{}), sync.WaitGroup{}
		l.workers.Go(func() { l.work(0) })
	} else {
		close(l.enough)
		l.clients.Wait()
	}
	open := map[string]string{}
	for prompt, id := range l.accepted {
		open[prompt] = id
	}
	turn, calm, before := 0, time.Now(), -1
	l.nodes[0].eventually(90*time.Second, "an end of all requests", func() error {
		waiting := 0
		for prompt, id := range open {
			turn++
			n := l.nodes[turn%len(l.nodes)]
			var s requestStatus
			if _, err := call("GET", n.url+"/api/v2/generate/text/status/"+id, "", nil, &s); err != nil {
				return fmt.Errorf("%d requests are open: %w", len(open), err)
			}
			switch {
			case s.Done && len(s.Generations) == 1 && s.Generations[0].Text == "answer to "+prompt:
				delete(open, prompt)
			case s.Done || s.Faulted || len(s.Generations) > 0:
				t.Errorf("request %s for %q at %s: %+v, want its own answer once", id, prompt, n.name, s)
				delete(open, prompt)
			case s.Waiting > 0:
				waiting++
			}
		}
		if len(open) != before || waiting > 0 {
			calm, before = time.Now(), len(open)
		}
		if len(open) == 0 || time.Since(calm) > 5*time.Second {
			return nil
		}
		return fmt.Errorf("%d requests are open, %d of them wait for a worker", len(open), waiting)
	})
	close(l.stop)
	l.workers.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for prompt := range open {
		if _, ok := l.delivered[prompt]; ok {
			t.Errorf("the result for %q was acknowledged and is not there", prompt)
		}
	}
	return len(open)
}

// A requestStatus is what the status of a text or image request tells.
type requestStatus struct {
	Done, Faulted       bool
	Waiting, Processing int
	Generations         []struct{ Text, Img string }
}
