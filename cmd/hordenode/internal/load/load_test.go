package load

import (
	"context"
	"errors"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hordenode/cmd/hordenode/internal/hordetest"
)

func TestPercentile(t *testing.T) {
	upTo := func(n int) (d []time.Duration) {
		for i := range n {
			d = append(d, time.Duration(i+1))
		}
		return d
	}
	for _, tt := range []struct {
		name string
		of   []time.Duration
		p    int
		want time.Duration
	}{
		{"none", nil, 99, 0},
		{"one", upTo(1), 50, 1},
		{"one, high", upTo(1), 99, 1},
		{"median of four is the second", upTo(4), 50, 2},
		{"p99 of a hundred", upTo(100), 99, 99},
		{"p99 of ten is the largest", upTo(10), 99, 10},
		{"p100", upTo(7), 100, 7},
		{"p0 is the smallest", upTo(7), 0, 1},
	} {
		if got := percentile(tt.of, tt.p); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 4}, 4}, {[]float64{4, 1, 9, 2}, 3}} {
		if got := median(tt.of); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.of, got, tt.want)
		}
	}
}

func TestTallyMeasuresWindowsOnly(t *testing.T) {
	var m tally
	n := 0
	once := func(context.Context, int, int) error {
		if n++; n%2 == 0 {
			return errEnd
		}
		return nil
	}
	m.drive(t.Context(), 1, time.Hour, once)
	spent := m.spent
	m.drive(t.Context(), 1, time.Hour, once)
	r := m.result("x", 1)
	if r.Ops != 2 || m.spent <= spent {
		t.Errorf("got %d ops in %v, then %v; want 2 ops and both windows", r.Ops, spent, m.spent)
	}
	if want := 2 / m.spent.Seconds(); math.Abs(r.Rate-want) > want/1e6 {
		t.Errorf("rate: got %v, want %v", r.Rate, want)
	}
}

func TestTallySortsOutcomes(t *testing.T) {
	var m tally
	outcomes := []error{nil, errEmpty, errors.New("boom"), errors.New("later"), errFull}
	m.drive(t.Context(), 1, time.Hour, func(_ context.Context, _, n int) error { return outcomes[n] })
	r := m.result("x", 1)
	if r.Ops != 1 || r.Empty != 1 || r.Errors != 2 || r.Refused != 1 || r.Error != "boom" {
		t.Errorf("got %+v, want one op, one empty, two errors (first boom), one refusal", r)
	}
}

func TestSummaryRatios(t *testing.T) {
	runs := []Result{
		{Mode: "calibration", Clients: 32, Rate: 11_050},
		{Mode: "async", Label: "1 node", Clients: 32, Rate: 1_450, Calibration: 11_050, P99: 5},
		{Mode: "async", Label: "1 node", Clients: 32, Rate: 2_900, Calibration: 11_050, P99: 9, Errors: 1},
		{Mode: "async", Label: "1 node", Clients: 32, Rate: 5_800, Calibration: 22_100, P99: 7, Errors: 2},
		{Mode: "async", Label: "3 nodes", Clients: 32, Rate: 1},
		{Mode: "ledger", Label: "3 nodes", Clients: 64, Rate: 6_300, Calibration: 22_100},
		{Mode: "ledger", Label: "3 nodes", Clients: 7, Rate: 10, Calibration: 22_100},
	}
	rep := Summarize("m", 3, runs, []error{errors.New("cycle: broken")})
	if len(rep.Rows) != 5 {
		t.Fatalf("got %d rows, want 5: %+v", len(rep.Rows), rep.Rows)
	}
	a := rep.Rows[1]
	// Against 29/s scaled by a half, a half and one: 100, 200 and 200 times.
	if a.Rate != 2_900 || a.Runs != 3 || a.P99 != 7 || a.Errors != 3 || math.Abs(a.Times-200) > 1e-9 || a.Peer != "reference" {
		t.Errorf("async: got %+v, want the medians, 3 errors, 200 times the reference", a)
	}
	if want := 2_900.0 / 11_050; math.Abs(a.Ratio-want) > 1e-9 {
		t.Errorf("async ratio: got %v, want %v", a.Ratio, want)
	}
	if got := rep.Rows[2]; got.Ratio != 0 || got.Peer != "" {
		t.Errorf("without calibration: got %+v, want no ratio", got)
	}
	if got := rep.Rows[3]; math.Abs(got.Times-1) > 1e-9 || got.Peer != "etcd" {
		t.Errorf("ledger: got %+v, want 1 time etcd", got)
	}
	if got := rep.Rows[4]; got.Peer != "" {
		t.Errorf("ledger with 7 clients: got peer %q, want none: etcd was not measured so", got.Peer)
	}
	var b strings.Builder
	if err := rep.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| async | 1 node | 32 | 2900 | 0.26 | 200 reference |", "Failed: cycle: broken"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("markdown lacks %q:\n%s", want, b.String())
		}
	}
}

func TestModesAgainstAFakeHorde(t *testing.T) {
	h := hordetest.New(t)
	h.Limit = 40
	target, err := Connect(t.Context(), Setup{URLs: []string{h.URL}, Users: 4, Workers: 6})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	const d = 60 * time.Millisecond
	check := func(r Result, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if r.Ops == 0 || r.Rate <= 0 || r.Errors > 0 || r.P99 < r.P50 {
			t.Errorf("%s: got %+v, want operations, a rate and no errors", r.Mode, r)
		}
	}
	check(target.Async(t.Context(), 8, d))
	if h.Cancelled == 0 {
		t.Error("async: accounts were full, but nothing was cancelled")
	}
	pops, submits, err := target.Drain(t.Context(), 4, 20, d)
	check(pops, err)
	check(submits, err)
	if pops.Ops != submits.Ops {
		t.Errorf("popped %d, submitted %d: a job that was taken must be delivered", pops.Ops, submits.Ops)
	}
	check(target.Cycle(t.Context(), 3, d))
	check(target.Ledger(t.Context(), 3, d, ""))
}

func TestSubmitsAreOnTheClockUntilSettled(t *testing.T) {
	h := hordetest.New(t)
	h.Hide = 30
	target, err := Connect(t.Context(), Setup{URLs: []string{h.URL}, Users: 2, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	_, submits, err := target.Drain(t.Context(), 2, 4, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	h.Lock()
	defer h.Unlock()
	if h.Hide != 0 {
		t.Errorf("%d questions were left: it did not wait until all was settled", h.Hide)
	}
	if got := submits.Seconds * 1000; submits.Lag < 25 || got < submits.Lag {
		t.Errorf("got a lag of %.1f ms in %.1f ms, want at least 25 ms and within the time", submits.Lag, got)
	}
}

func TestOneAccountNeedsAReceiver(t *testing.T) {
	h := hordetest.New(t)
	h.TestUsers = false
	target, err := Connect(t.Context(), Setup{URLs: []string{h.URL}, Key: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.Ledger(t.Context(), 1, time.Millisecond, ""); err == nil {
		t.Error("got no error, want one that asks for --to")
	}
	if _, err := target.Ledger(t.Context(), 1, 10*time.Millisecond, "bob#2"); err != nil || h.Transfers == 0 {
		t.Errorf("got %v and %d transfers, want some", err, h.Transfers)
	}
}

func TestNoAccountsIsSaidClearly(t *testing.T) {
	h := hordetest.New(t)
	h.TestUsers = false
	_, err := Connect(t.Context(), Setup{URLs: []string{h.URL}})
	if err == nil || !strings.Contains(err.Error(), "--key") || !strings.Contains(err.Error(), "HORDE_TEST_APIKEYS") {
		t.Errorf("got %v, want an error that names both ways out", err)
	}
}

func TestInterleave(t *testing.T) {
	srv := httptest.NewServer(CalibrationHandler())
	defer srv.Close()
	var seen []string
	step := func(name string, err error) Step {
		return Step{name, func(context.Context) ([]Result, error) { return []Result{{Mode: name, Rate: 5}}, err }}
	}
	all, errs := Interleave(t.Context(), 2,
		func(ctx context.Context) Result { return Calibrate(ctx, srv.URL, 2, 10*time.Millisecond) },
		[]Step{step("a", nil), step("b", errors.New("broken"))},
		func(r Result) { seen = append(seen, r.Mode) })
	if got, want := strings.Join(seen, " "), "calibration a calibration calibration a calibration"; got != want {
		t.Errorf("order: got %q, want %q", got, want)
	}
	if len(all) != 6 || len(errs) != 2 {
		t.Errorf("got %d results and %d errors, want 6 and 2", len(all), len(errs))
	}
	if r := all[1]; r.Calibration != all[0].Rate || all[0].Rate <= 0 || all[0].Errors > 0 {
		t.Errorf("got %+v after %+v, want the calibration's rate in it", r, all[0])
	}
}

func TestBodyIsAboutThreeKilobytes(t *testing.T) {
	if n := len(Body(1, true)); n < 2900 || n > 3300 {
		t.Errorf("got %d bytes, want about 3 kB", n)
	}
}
