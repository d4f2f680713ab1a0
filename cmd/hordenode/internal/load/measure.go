package load

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// A Result is what one run of one mode measured.
type Result struct {
	Mode    string  `json:"mode"`            // async, pop, submit, cycle, ledger, calibration
	Label   string  `json:"label,omitempty"` // what was driven: "1 node", "3 nodes", an address
	Clients int     `json:"clients"`
	Ops     int     `json:"ops"`     // that succeeded
	Seconds float64 `json:"seconds"` // measured time
	Rate    float64 `json:"rate"`    // Ops/Seconds
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Empty   int     `json:"empty,omitempty"`   // pops that found nothing
	Refused int     `json:"refused,omitempty"` // answers that say: too much
	Errors  int     `json:"errors,omitempty"`
	Error   string  `json:"error,omitempty"` // the first one
	// Lag is the longest that settlements took to be seen on all nodes after the last submit.
	Lag float64 `json:"settle_lag_ms,omitempty"`
	// CPU is the processor time of all nodes for each operation, in milliseconds (P22).
	CPU float64 `json:"cpu_ms_per_op,omitempty"`
	// Calibration is the rate of the calibration that ran just before, for the ratio.
	Calibration float64 `json:"calibration_rate,omitempty"`
}

// What an operation may return besides nil and a real error.
var (
	errFull  = errors.New("the accounts have as many jobs waiting as they may") // ends a window
	errEmpty = errors.New("nothing to pop")
	errEnd   = errors.New("the window is over")
)

// A tally collects what clients did. Its window may be opened several times; time between
// windows is not measured.
type tally struct {
	spent time.Duration
	lag   time.Duration

	mu      sync.Mutex // guards the fields below
	took    []time.Duration
	empty   int
	refused int
	errs    int
	first   error
}

// drive runs op in closed loops, one a client, until the window has lasted for d, op ends
// it, or ctx is done. n counts the calls of one client within the window.
func (t *tally) drive(ctx context.Context, clients int, d time.Duration, op func(ctx context.Context, client, n int) error) {
	window, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	start := time.Now()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			var took []time.Duration
			var empty, refused, errs int
			var first error
			for n := 0; window.Err() == nil; n++ {
				began := time.Now()
				// The operation is not cut short: a call that was sent is measured.
				err := op(ctx, c, n)
				switch {
				case err == nil:
					took = append(took, time.Since(began))
				case errors.Is(err, errEmpty):
					empty++
				case errors.Is(err, errEnd):
					cancel()
				case errors.Is(err, errFull):
					refused++
					cancel()
				case ctx.Err() != nil:
				case overloaded(err):
					refused++
					pause(window, 5*time.Millisecond)
				default:
					errs++
					if first == nil {
						first = err
					}
					pause(window, 20*time.Millisecond)
				}
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			t.took = append(t.took, took...)
			t.empty += empty
			t.refused += refused
			t.errs += errs
			if t.first == nil {
				t.first = first
			}
		})
	}
	wg.Wait()
	t.spent += time.Since(start)
}

// result sums the windows up.
func (t *tally) result(mode string, clients int) Result {
	r := Result{
		Mode: mode, Clients: clients, Ops: len(t.took), Seconds: t.spent.Seconds(),
		Lag: millis(t.lag), Empty: t.empty, Refused: t.refused, Errors: t.errs,
	}
	if t.spent > 0 {
		r.Rate = float64(r.Ops) / r.Seconds
	}
	r.P50, r.P99 = percentiles(t.took)
	if t.first != nil {
		r.Error = t.first.Error()
	}
	return r
}

// percentiles are the 50th and the 99th in milliseconds. It sorts the values.
func percentiles(took []time.Duration) (p50, p99 float64) {
	slices.Sort(took)
	return millis(percentile(took, 50)), millis(percentile(took, 99))
}

// percentile returns the nearest-rank p-th percentile of sorted values; 0 of none.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

// median returns the middle value, or the mean of the two middle ones; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	m := len(s) / 2
	if len(s)%2 == 1 {
		return s[m]
	}
	return (s[m-1] + s[m]) / 2
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
