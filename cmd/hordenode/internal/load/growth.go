package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"hordenode/cmd/hordenode/internal/rest"
)

// Growth is how pops depend on how much is waiting (P4, P5, P14).
type Growth struct {
	Machine string        `json:"machine"`
	Points  []GrowthPoint `json:"points"`
}

// A GrowthPoint is pops with so many requests waiting.
type GrowthPoint struct {
	Queue   int     `json:"queue"`   // requests waiting
	Workers int     `json:"workers"` // that pop at once
	Models  int     `json:"models"`  // that each of them serves; 0: none that anybody asks for (P5)
	Ops     int     `json:"ops"`
	Rate    float64 `json:"rate"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	RSS     int64   `json:"rss_bytes"` // of the node, with the queue filled
	Error   string  `json:"error,omitempty"`
}

// What grows: the workers at once, and the models that each serves.
var (
	GrowthWorkers = []int{1, 8, 64}
	GrowthModels  = []int{1, 37, 500}
)

const (
	mostModels = 500
	// perUser is how many requests an account queues: below where its limit is asked for at
	// every node.
	perUser   = concurrency * 3 / 4
	fillers   = 64
	emptyPops = 400
)

// GrowthUsers is how many accounts a queue of that size needs.
func GrowthUsers(queue int) int { return queue/perUser + 2 }

// Growth fills the queue to each of the sizes, which grow, and measures pops. A third of the
// requests ask for one model that all workers serve, a third for 36 others, a third for 463
// more. What was popped is delivered and queued again, off the clock.
func (t *Target) Growth(ctx context.Context, sizes []int, d time.Duration, use Usage, progress func(GrowthPoint)) (Growth, error) {
	var g Growth
	var ids idList
	defer func() { t.cancel(ctx, ids.ids) }()
	names := modelNames()
	made := 0
	for _, size := range sizes {
		more := make([]string, 0, size-made)
		for ; made < size; made++ {
			more = append(more, mixed(names, made))
		}
		if err := t.fillWith(ctx, more, &ids); err != nil {
			return g, err
		}
		rss, _, err := use()
		if err != nil {
			return g, err
		}
		for _, models := range append([]int{0}, GrowthModels...) {
			for _, workers := range GrowthWorkers {
				p, err := t.growthPoint(ctx, size, workers, models, d, &ids)
				if err != nil {
					return g, err
				}
				p.RSS = rss
				progress(p)
				g.Points = append(g.Points, p)
			}
		}
	}
	return g, nil
}

// growthPoint measures one combination for d.
func (t *Target) growthPoint(ctx context.Context, size, workers, models int, d time.Duration, ids *idList) (GrowthPoint, error) {
	p := GrowthPoint{Queue: size, Workers: workers, Models: models}
	names := []string{model + "-none"}
	if models > 0 {
		names = modelNames()[:models]
	}
	pops := make([][]byte, len(t.workers))
	for i, w := range t.workers {
		pops[i] = popFor(w.pop, names...)
	}
	var m tally
	for m.spent < d && ctx.Err() == nil {
		var jobs jobList
		var again idList // models of what was popped
		var count atomic.Int64
		most := int64(max(size/20, 100))
		if models == 0 {
			most = emptyPops
		}
		m.drive(ctx, workers, d-m.spent, func(ctx context.Context, c, n int) error {
			if count.Add(1) > most {
				return errEnd
			}
			i := (c + n*workers) % len(t.workers)
			job, err := t.client(c, t.workers[i].key).PopRaw(ctx, rest.Text, pops[i])
			switch {
			case err != nil:
				return err
			case job.ID != "":
				jobs.add(popped{job.ID, t.workers[i].key})
				again.add(job.Model)
			case models > 0:
				return errEmpty
			}
			return nil
		})
		if err := t.deliver(ctx, &jobs); err != nil {
			return p, err
		}
		if err := t.fillWith(ctx, again.ids, ids); err != nil {
			return p, err
		}
		if len(again.ids) == 0 && models > 0 {
			break
		}
	}
	r, err := m.done(ctx, "growth", workers)
	if err != nil {
		return p, fmt.Errorf("%d waiting, %d workers of %d models: %w", size, workers, models, err)
	}
	p.Ops, p.Rate, p.P50, p.P99, p.Error = r.Ops, r.Rate, r.P50, r.P99, r.Error
	return p, nil
}

// deliver submits jobs, off the clock.
func (t *Target) deliver(ctx context.Context, jobs *jobList) error {
	var m tally
	m.drive(ctx, 16, time.Minute, func(ctx context.Context, c, _ int) error {
		job, ok := jobs.take()
		if !ok {
			return errEnd
		}
		_, err := t.client(c, job.key).Submit(ctx, rest.Text, submission(job.id))
		return err
	})
	if m.first != nil {
		return fmt.Errorf("deliver: %w", m.first)
	}
	return nil
}

// fillWith queues a request for each of the models.
func (t *Target) fillWith(ctx context.Context, models []string, ids *idList) error {
	var next, made atomic.Int64
	var refusal atomic.Pointer[error] // the last
	var m tally
	m.drive(ctx, fillers, 30*time.Minute, func(ctx context.Context, c, _ int) error {
		i := int(next.Add(1)) - 1
		if i >= len(models) {
			return errEnd
		}
		body := bodyFor(models[i])
		for u := range len(t.users) { // an account that is full is passed
			a, err := t.client(c, t.user(i+u).Key).AsyncRaw(ctx, rest.Text, body)
			switch {
			case err == nil:
				ids.add(a.ID)
				made.Add(1)
				return nil
			case !overloaded(err):
				return err
			}
			refusal.Store(&err)
		}
		return fmt.Errorf("all accounts are refused: %w", *refusal.Load())
	})
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if got := int(made.Load()); got < len(models) {
		return fmt.Errorf("%d of %d requests were queued; first error: %w", got, len(models), firstOr(errors.Join(m.first, refused(&refusal))))
	}
	return nil
}

func refused(by *atomic.Pointer[error]) error {
	if err := by.Load(); err != nil {
		return *err
	}
	return nil
}

// mixed is the model that the i-th request asks for.
func mixed(names []string, i int) string {
	switch i % 3 {
	case 0:
		return names[0]
	case 1:
		return names[1+i/3%36]
	}
	return names[37+i/3%(mostModels-37)]
}

func modelNames() []string {
	names := make([]string, mostModels)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%03d", model, i)
	}
	return names
}

// Markdown writes the points as a table, each with its ratio to the smallest queue's.
func (g Growth) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. Load generator and node share it.\n\n", g.Machine)
	b.WriteString("| waiting | workers | models each | pops/s | × smallest queue | p50 ms | p99 ms | node MB |\n")
	b.WriteString("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, p := range g.Points {
		models := fmt.Sprint(p.Models)
		if p.Models == 0 {
			models = "nothing fits"
		}
		fmt.Fprintf(&b, "| %d | %d | %s | %s | %.2f | %.2f | %.2f | %d |\n", p.Queue, p.Workers, models, figure(p.Rate),
			g.relative(p), p.P50, p.P99, p.RSS>>20)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// relative is a point's rate as a part of that with the smallest queue.
func (g Growth) relative(p GrowthPoint) float64 {
	for _, q := range g.Points {
		if q.Workers == p.Workers && q.Models == p.Models && q.Rate > 0 {
			return p.Rate / q.Rate
		}
	}
	return 0
}
