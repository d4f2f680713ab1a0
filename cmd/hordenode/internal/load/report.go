package load

import (
	"fmt"
	"io"
	"strings"
)

// frozenCalibration is the calibration's rate on the machine where the reference and etcd
// were measured (performance.md section 1).
const frozenCalibration = 22_100

// frozen holds what others reached on that machine, in operations a second: the reference
// server 5.1.5 (one Python process, text pipeline, limiter off) and etcd 3.6.8 on three
// nodes with fsync, which has a figure for each number of clients.
var (
	frozenReference = map[string]float64{"async": 29, "pop": 36, "submit": 14, "cycle": 5.7}
	frozenEtcd      = map[int]float64{1: 810, 64: 6_300, 1000: 9_700}
)

// A Row sums up the runs of one mode, label and number of clients.
type Row struct {
	Mode    string  `json:"mode"`
	Label   string  `json:"label,omitempty"`
	Clients int     `json:"clients"`
	Runs    int     `json:"runs"`
	Rate    float64 `json:"rate"`                    // median
	Ratio   float64 `json:"ratio"`                   // to the calibration of the same minute, median; 0 = unknown
	Peer    string  `json:"peer"`                    // reference or etcd; empty = nothing to compare with
	Times   float64 `json:"times"`                   // the rate is so many times the peer's, scaled to this machine
	P50     float64 `json:"p50_ms"`                  // median
	P99     float64 `json:"p99_ms"`                  // median
	CPU     float64 `json:"cpu_ms_per_op,omitempty"` // median
	Lag     float64 `json:"settle_lag_ms,omitempty"` // worst
	Refused int     `json:"refused"`                 // sum
	Errors  int     `json:"errors"`                  // sum
	Error   string  `json:"error,omitempty"`
}

// A Report is what a bench prints.
type Report struct {
	Machine string   `json:"machine"` // cores, system, Go
	Rounds  int      `json:"rounds"`
	Rows    []Row    `json:"rows"`
	Runs    []Result `json:"runs"` // every one, as measured
	Failed  []string `json:"failed,omitempty"`
}

// Summarize groups runs by mode, label and clients, in the order of first appearance.
func Summarize(machine string, rounds int, runs []Result, failed []error) Report {
	type group struct {
		mode, label string
		clients     int
	}
	var order []group
	groups := map[group][]Result{}
	for _, r := range runs {
		g := group{r.Mode, r.Label, r.Clients}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], r)
	}
	rep := Report{Machine: machine, Rounds: rounds, Runs: runs}
	for _, g := range order {
		rep.Rows = append(rep.Rows, summarize(groups[g]))
	}
	for _, err := range failed {
		rep.Failed = append(rep.Failed, err.Error())
	}
	return rep
}

// summarize makes a row of the runs of one group.
func summarize(runs []Result) Row {
	row := Row{Mode: runs[0].Mode, Label: runs[0].Label, Clients: runs[0].Clients, Runs: len(runs)}
	var rates, ratios, times, p50, p99, cpu []float64
	peer, figure := peerOf(row.Mode, row.Clients)
	for _, r := range runs {
		rates, p50, p99 = append(rates, r.Rate), append(p50, r.P50), append(p99, r.P99)
		if r.Calibration > 0 {
			ratios = append(ratios, r.Rate/r.Calibration)
			if figure > 0 {
				times = append(times, r.Rate/(figure*r.Calibration/frozenCalibration))
			}
		}
		if r.CPU > 0 {
			cpu = append(cpu, r.CPU)
		}
		row.Lag = max(row.Lag, r.Lag)
		row.Refused += r.Refused
		row.Errors += r.Errors
		if row.Error == "" {
			row.Error = r.Error
		}
	}
	row.Rate, row.P50, row.P99 = median(rates), median(p50), median(p99)
	row.CPU = median(cpu)
	row.Ratio, row.Times = median(ratios), median(times)
	if row.Times > 0 {
		row.Peer = peer
	}
	return row
}

// peerOf names what a mode is compared with and its frozen figure; 0 if there is none.
func peerOf(mode string, clients int) (string, float64) {
	if mode == "ledger" {
		return "etcd", frozenEtcd[clients]
	}
	return "reference", frozenReference[mode]
}

const footnote = `
Calibration: a bare net/http handler that decodes the same 3 kB body into a typed struct and replies JSON, measured just
before each run. Peers are frozen figures of another run, scaled by calibration ÷ 22.1 k/s, which knows processors, not disks:
the reference is one Python process, text pipeline, rate limiter off; etcd is three nodes with fsync. Every node syncs its
disk before it acknowledges.
`

// Markdown writes the report as a table with what is needed to judge it.
func (r Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. Load generator, nodes and calibration share it. Medians of %d interleaved runs.\n\n", r.Machine, r.Rounds)
	b.WriteString("| mode | of | clients | ops/s | × calibration | × peer, scaled | p50 ms | p99 ms | refused | errors |\n")
	b.WriteString("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, x := range r.Rows {
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s | %.2f | %.2f | %d | %d |\n", x.Mode, x.Label, x.Clients,
			figure(x.Rate), times(x.Ratio, ""), times(x.Times, x.Peer), x.P50, x.P99, x.Refused, x.Errors)
	}
	b.WriteString(footnote)
	for _, x := range r.Rows {
		if x.Lag > 0 {
			fmt.Fprintf(&b, "\nSubmits, %s: the clock ran until every node showed all of them settled, at most %.0f ms after the last one.\n", x.Label, x.Lag)
		}
		if x.CPU > 0 {
			fmt.Fprintf(&b, "\nProcessor time, %s, %s: %.2f ms for each job, all nodes together.\n", x.Mode, x.Label, x.CPU)
		}
		if x.Error != "" {
			fmt.Fprintf(&b, "\nFirst error of %s, %s, %d clients: %s\n", x.Mode, x.Label, x.Clients, x.Error)
		}
	}
	for _, f := range r.Failed {
		fmt.Fprintf(&b, "\nFailed: %s\n", f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// figure shows a rate with three digits that matter.
func figure(v float64) string {
	switch {
	case v >= 10_000:
		return fmt.Sprintf("%.1f k", v/1000)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

func times(v float64, of string) string {
	switch {
	case v == 0:
		return ""
	case v >= 10:
		return strings.TrimSpace(fmt.Sprintf("%.0f %s", v, of))
	}
	return strings.TrimSpace(fmt.Sprintf("%.2f %s", v, of))
}
