package load

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hordenode/cmd/hordenode/internal/rest"
)

// Async measures accepted text requests a second (P1): 3 kB bodies whose kudos are set
// aside. When an account has as many jobs waiting as it may, the clock stops, all of them
// are cancelled, and it goes on.
func (t *Target) Async(ctx context.Context, clients int, d time.Duration) (Result, error) {
	body := Body(1, false)
	var m tally
	for m.spent < d && ctx.Err() == nil {
		var made idList
		before := len(m.took)
		m.drive(ctx, clients, d-m.spent, func(ctx context.Context, c, _ int) error {
			a, err := t.client(c, t.user(c).Key).AsyncRaw(ctx, rest.Text, body)
			if err != nil {
				return full(err)
			}
			made.add(a.ID)
			return nil
		})
		t.cancel(ctx, made.ids)
		if len(m.took) == before {
			break // nothing is accepted any more
		}
	}
	return m.done(ctx, "async", clients)
}

// Drain measures pops a second with queue requests waiting (P3) and submits a second with
// settled kudos (P6), in turns: fill the queue, pop half of it, deliver what was popped.
// Only the pops and the submits are on the clock; the submits' runs until every node shows
// all of them settled.
func (t *Target) Drain(ctx context.Context, clients, queue int, d time.Duration) (pops, submits Result, err error) {
	var p, s tally
	slots := max(1, min(10, len(t.users)*concurrency/max(queue, 1)))
	body := Body(slots, true)
	for p.spent+s.spent < d && ctx.Err() == nil {
		ids, err := t.fill(ctx, queue, body)
		if err != nil {
			return Result{}, Result{}, err
		}
		var jobs jobList
		want := int64(max(1, len(ids)*slots/2))
		var got, dry atomic.Int64
		p.drive(ctx, clients, d-p.spent, func(ctx context.Context, c, n int) error {
			if got.Load() >= want {
				return errEnd
			}
			w := t.workers[(c+n*clients)%len(t.workers)]
			job, err := t.client(c, w.key).PopRaw(ctx, rest.Text, w.pop)
			if err != nil {
				return err
			}
			if job.ID == "" {
				if dry.Add(1) > 50*int64(clients) { // in a row: the queue is not what we think
					return errEnd
				}
				pause(ctx, time.Millisecond)
				return errEmpty
			}
			dry.Store(0)
			got.Add(1)
			jobs.add(popped{job.ID, w.key})
			return nil
		})
		if len(jobs.jobs) == 0 {
			t.cancel(ctx, ids)
			return Result{}, Result{}, fmt.Errorf("no worker got a job out of %d requests; first error: %w", len(ids), firstOr(p.first))
		}
		before, err := t.settled(ctx)
		if err != nil {
			return Result{}, Result{}, err
		}
		delivered := len(s.took)
		s.drive(ctx, clients, time.Minute, func(ctx context.Context, c, _ int) error {
			job, ok := jobs.take()
			if !ok {
				return errEnd
			}
			_, err := t.client(c, job.key).Submit(ctx, rest.Text, submission(job.id))
			return err
		})
		lag, err := t.awaitSettled(ctx, before+len(s.took)-delivered)
		s.spent += lag
		s.lag = max(s.lag, lag)
		t.cancel(ctx, ids)
		if err != nil {
			return Result{}, Result{}, err
		}
	}
	pops, err = p.done(ctx, "pop", clients)
	if err != nil {
		return pops, submits, err
	}
	submits, err = s.done(ctx, "submit", clients)
	return pops, submits, err
}

// Cycle measures complete jobs a second (P7): each client sends a request, pops some job
// with a worker of its own, submits it, and asks for its own request until it is done.
func (t *Target) Cycle(ctx context.Context, clients int, d time.Duration) (Result, error) {
	body := Body(1, true)
	var m tally
	var left idList
	m.drive(ctx, clients, d, func(ctx context.Context, c, _ int) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		w := t.workers[c%len(t.workers)]
		client, worker := t.client(c, t.user(c).Key), t.client(c, w.key)
		a, err := client.AsyncRaw(ctx, rest.Text, body)
		if err != nil {
			return err
		}
		left.add(a.ID)
		var job rest.Job
		for wait := time.Millisecond; ; wait = min(wait*2, 20*time.Millisecond) {
			if job, err = worker.PopRaw(ctx, rest.Text, w.pop); err != nil {
				return fmt.Errorf("pop: %w", err)
			}
			if job.ID != "" {
				break
			}
			pause(ctx, wait)
		}
		if _, err := worker.Submit(ctx, rest.Text, submission(job.ID)); err != nil {
			return fmt.Errorf("submit: %w", err)
		}
		for wait := time.Millisecond; ; wait = min(wait*3/2, 20*time.Millisecond) {
			s, err := client.Status(ctx, rest.Text, a.ID)
			if err != nil {
				return fmt.Errorf("status: %w", err)
			}
			if s.Done {
				left.drop(a.ID)
				return nil
			}
			pause(ctx, wait)
		}
	})
	t.cancel(ctx, left.ids)
	return m.done(ctx, "cycle", clients)
}

// Ledger measures replicated ledger operations a second (P9): transfers of one kudo, one
// a call, from one half of the accounts to the other; to, if not empty, receives them all.
func (t *Target) Ledger(ctx context.Context, clients int, d time.Duration, to string) (Result, error) {
	payers, receivers := t.users, []Account{{Alias: to}}
	if to == "" {
		if len(t.users) < 2 {
			return Result{}, errors.New("transfers need a second account: say who receives with --to")
		}
		half := len(t.users) / 2
		payers, receivers = t.users[:half], t.users[half:]
	}
	var m tally
	m.drive(ctx, clients, d, func(ctx context.Context, c, _ int) error {
		payer := payers[c%len(payers)]
		return t.client(c, payer.Key).Transfer(ctx, receivers[c%len(receivers)].Alias, 1)
	})
	return m.done(ctx, "ledger", clients)
}

// settleLimit is how long settlements may take until all nodes show them.
const settleLimit = 20 * time.Second

// awaitSettled waits until every node shows want settled jobs and returns how long it took.
func (t *Target) awaitSettled(ctx context.Context, want int) (time.Duration, error) {
	start := time.Now()
	for {
		got, err := t.settled(ctx)
		switch {
		case err != nil:
			return 0, err
		case got >= want:
			return time.Since(start), nil
		case time.Since(start) > settleLimit:
			return 0, fmt.Errorf("%d of the delivered jobs are not settled after %v", want-got, settleLimit)
		}
		pause(ctx, 2*time.Millisecond)
	}
}

// settled counts the jobs that the workers' owners were paid for, at the node that shows
// the fewest.
func (t *Target) settled(ctx context.Context) (int, error) {
	owners := map[string]bool{}
	for _, w := range t.workers {
		owners[w.key] = true
	}
	least := -1
	for i := range t.clients {
		sum := 0
		for key := range owners {
			u, err := t.client(i, key).FindUser(ctx)
			if err != nil {
				return 0, fmt.Errorf("look up a workers' owner: %w", err)
			}
			sum += u.Records.Fulfillment.Text
		}
		if least < 0 || sum < least {
			least = sum
		}
	}
	return least, nil
}

// done is the result of the windows, or why there is none.
func (m *tally) done(ctx context.Context, mode string, clients int) (Result, error) {
	if err := context.Cause(ctx); err != nil {
		return Result{}, err
	}
	if len(m.took) == 0 {
		return Result{}, fmt.Errorf("%s: nothing succeeded; first error: %w", mode, firstOr(m.first))
	}
	return m.result(mode, clients), nil
}

func firstOr(err error) error {
	if err == nil {
		return errors.New("none, only refusals")
	}
	return err
}

// fill queues n requests, or as many as the accounts may have.
func (t *Target) fill(ctx context.Context, n int, body []byte) ([]string, error) {
	var ids idList
	var left atomic.Int64
	left.Store(int64(n))
	var m tally
	m.drive(ctx, 16, time.Minute, func(ctx context.Context, c, i int) error {
		if left.Add(-1) < 0 {
			return errEnd
		}
		a, err := t.client(c, t.user(c+i*16).Key).AsyncRaw(ctx, rest.Text, body)
		if err != nil {
			return full(err)
		}
		ids.add(a.ID)
		return nil
	})
	if len(ids.ids) == 0 {
		return nil, fmt.Errorf("fill the queue: %w", firstOr(m.first))
	}
	return ids.ids, nil
}

// cancel takes requests back, off the clock. It goes on when ctx is done, for a moment:
// what we queued must not stay.
func (t *Target) cancel(ctx context.Context, ids []string) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer stop()
	var at atomic.Int64
	var wg sync.WaitGroup
	for c := range min(16, len(ids)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(at.Add(1)) - 1
				if i >= len(ids) {
					return
				}
				// One that is gone or cannot be reached ends by itself within minutes.
				_ = t.client(c, "").Cancel(ctx, rest.Text, ids[i])
			}
		})
	}
	wg.Wait()
}

// An idList collects request ids from many clients.
type idList struct {
	mu  sync.Mutex
	ids []string
}

func (l *idList) add(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, id)
}

// drop takes out id, which is most often among the last ones.
func (l *idList) drop(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.ids) - 1; i >= 0; i-- {
		if l.ids[i] == id {
			l.ids[i] = l.ids[len(l.ids)-1]
			l.ids = l.ids[:len(l.ids)-1]
			return
		}
	}
}

// popped is a job in hand and the key of the worker that has it.
type popped struct{ id, key string }

type jobList struct {
	mu   sync.Mutex
	jobs []popped
}

func (l *jobList) add(p popped) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs = append(l.jobs, p)
}

func (l *jobList) take() (popped, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.jobs) == 0 {
		return popped{}, false
	}
	p := l.jobs[len(l.jobs)-1]
	l.jobs = l.jobs[:len(l.jobs)-1]
	return p, true
}

var generation = strings.Repeat("A synthetic answer of the load generator. ", 8)

func submission(id string) rest.Submission {
	return rest.Submission{ID: id, Generation: generation, State: "ok"}
}
