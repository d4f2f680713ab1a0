package load

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Etcd is the other side of a duel; the empty string is ours.
const Etcd = "etcd"

// A Sample is one measurement of one row.
type Sample struct {
	Row    string  `json:"row"`
	Of     string  `json:"of,omitempty"` // "": hordenode, or Etcd
	Value  float64 `json:"value"`        // in the row's unit
	P50    float64 `json:"p50_ms,omitempty"`
	P99    float64 `json:"p99_ms,omitempty"`
	Errors int     `json:"errors,omitempty"`
}

// The rows of performance.md section 2 that a duel measures.
const (
	RowCalls    = "P9a"
	RowMany     = "P9b"
	RowBatch    = "P9c"
	RowHot      = "P10"
	RowOne      = "P11"
	RowFresh    = "P12 fresh"
	RowLocal    = "P12 local"
	RowFill     = "fill"
	RowMemory   = "P14"
	RowStart    = "P16"
	RowOneBack  = "P17 one"
	RowAllRead  = "P17 all, read"
	RowAllWrite = "P17 all, write"
	RowGapWrite = "P18 write"
	RowGapRead  = "P18 read"
	RowGapPop   = "P18 pop"
)

// A line says what a row is and what it is held against.
type line struct {
	row, what, unit string
	// better is +1 if more is better, -1 if less is.
	better int
	// floor and target are ratios to etcd, or absolute values if abs; 0: none.
	floor, target float64
	abs           bool
	against       string // another row of ours to compare with instead of etcd's
}

var lines = []line{
	{row: RowOne, what: "transfers, 1 client; p50 is compared", unit: "/s", better: -1, floor: 1.5, target: 1.0},
	{row: RowCalls, what: "transfers, 64 clients", unit: "/s", better: 1, floor: 1.0, target: 1.2},
	{row: RowMany, what: "transfers, 1000 clients", unit: "/s", better: 1, floor: 1.0, target: 3},
	{row: RowBatch, what: "transfers, 1000 a call; etcd: 128 puts a transaction. Compared with etcd's P9b", unit: "/s", better: 1, target: 10},
	{row: RowHot, what: "as P9a, all between the same two accounts", unit: "/s", better: 1, floor: 0.8, target: 0.95, against: RowCalls},
	{row: RowFresh, what: "balances, linearizable, 64 clients", unit: "/s", better: 1, floor: 0.7, target: 1},
	{row: RowLocal, what: "balances, a node's own, 64 clients", unit: "/s", better: 1, floor: 1, target: 2},
	{row: RowFill, what: "entries made, each with its key", unit: "/s", better: 1},
	{row: RowMemory, what: "resident memory with them, largest process", unit: "MB", better: -1, floor: 1, target: 0.5},
	{row: RowStart, what: "start after a stop: first balance", unit: "ms", better: -1, floor: 5000, target: 1500, abs: true},
	{row: RowOneBack, what: "start after kill -9 of one: first balance", unit: "ms", better: -1, floor: 1, target: 1500, abs: true},
	{row: RowAllRead, what: "start after kill -9 of all: first balance", unit: "ms", better: -1, target: 1500, abs: true},
	{row: RowAllWrite, what: "start after kill -9 of all: first transfer", unit: "ms", better: -1, target: 3000, abs: true},
	{row: RowGapWrite, what: "kill -9 of the leader: longest gap, writes", unit: "ms", better: -1, target: 700, abs: true},
	{row: RowGapPop, what: "kill -9 of the leader: longest gap, pops", unit: "ms", better: -1, target: 100, abs: true},
	{row: RowGapRead, what: "kill -9 of the leader: longest gap, reads", unit: "ms", better: -1, target: 100, abs: true},
}

// A DuelRow is a row of the result: medians of all runs.
type DuelRow struct {
	Row    string  `json:"row"`
	What   string  `json:"what"`
	Unit   string  `json:"unit"`
	Runs   int     `json:"runs"`
	Ours   float64 `json:"hordenode"`
	Theirs float64 `json:"etcd"` // 0: not measured
	// Ratio is ours to etcd's (P10: to P9a of ours, P9c: to etcd's P9b, P11: of the two p50).
	Ratio     float64 `json:"ratio"`
	P50       float64 `json:"p50_ms,omitempty"`
	P99       float64 `json:"p99_ms,omitempty"`
	TheirP50  float64 `json:"etcd_p50_ms,omitempty"`
	TheirP99  float64 `json:"etcd_p99_ms,omitempty"`
	Target    string  `json:"target,omitempty"`
	Verdict   string  `json:"verdict,omitempty"` // met, floor met, not met
	Errors    int     `json:"errors"`
	TheirErrs int     `json:"etcd_errors"`
}

// A DuelReport is what a duel prints.
type DuelReport struct {
	Machine string    `json:"machine"`
	Etcd    string    `json:"etcd"` // version
	Rounds  int       `json:"rounds"`
	Entries int       `json:"entries"`
	Lost    int64     `json:"lost"` // kudos whose transfer was acknowledged and that did not arrive
	Rows    []DuelRow `json:"rows"`
	Samples []Sample  `json:"samples"`
}

// Duel sums samples up.
func Duel(machine, etcd string, rounds, entries int, lost int64, samples []Sample) DuelReport {
	rep := DuelReport{Machine: machine, Etcd: etcd, Rounds: rounds, Entries: entries, Lost: lost, Samples: samples}
	for _, l := range lines {
		ours, theirs := of(samples, l.row, ""), of(samples, l.row, Etcd)
		if len(ours) == 0 {
			continue
		}
		r := DuelRow{
			Row: l.row, What: l.what, Unit: l.unit, Runs: len(ours), Ours: middle(ours, value), Theirs: middle(theirs, value),
			P50: middle(ours, p50), P99: middle(ours, p99), TheirP50: middle(theirs, p50), TheirP99: middle(theirs, p99),
			Errors: failures(ours), TheirErrs: failures(theirs),
		}
		us, them := r.Ours, r.Theirs
		switch {
		case l.row == RowOne:
			us, them = r.P50, r.TheirP50
		case l.row == RowBatch:
			them = middle(of(samples, RowMany, Etcd), value)
		case l.against != "":
			them = middle(of(samples, l.against, ""), value)
		}
		if them > 0 {
			r.Ratio = us / them
		}
		r.Target, r.Verdict = l.judge(us, r.Ratio)
		rep.Rows = append(rep.Rows, r)
	}
	return rep
}

// judge says what is wanted and whether that is so.
func (l line) judge(value, ratio float64) (want, verdict string) {
	if l.target == 0 {
		return "", ""
	}
	got, sign := ratio, map[int]string{1: "≥", -1: "≤"}[l.better]
	want = fmt.Sprintf("%s %.4g×", sign, l.target)
	if l.abs {
		got, want = value, fmt.Sprintf("%s %.4g %s", sign, l.target, l.unit)
	}
	reaches := func(mark float64) bool {
		return mark > 0 && got > 0 && (l.better > 0 && got >= mark || l.better < 0 && got <= mark)
	}
	switch {
	case got == 0:
		return want, ""
	case reaches(l.target):
		return want, "met"
	case reaches(l.floor):
		return want, "floor met"
	}
	return want, "not met"
}

func of(samples []Sample, row, of string) []Sample {
	return slices.DeleteFunc(slices.Clone(samples), func(s Sample) bool { return s.Row != row || s.Of != of })
}

func value(s Sample) float64 { return s.Value }
func p50(s Sample) float64   { return s.P50 }
func p99(s Sample) float64   { return s.P99 }

func middle(samples []Sample, get func(Sample) float64) float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, get(s))
	}
	return median(all)
}

func failures(samples []Sample) (n int) {
	for _, s := range samples {
		n += s.Errors
	}
	return n
}

// Markdown writes the report as a table.
func (r DuelReport) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. Three nodes, three members of etcd %s and the load generator share it and its disk; every write is synced\n", r.Machine, r.Etcd)
	fmt.Fprintf(&b, "on a majority before it is answered. In turns, medians of %d rounds. Acknowledged and lost: %d kudos.\n\n", r.Rounds, r.Lost)
	b.WriteString("| row | what | hordenode | p50 / p99 ms | etcd | p50 / p99 ms | ratio | target | |\n")
	b.WriteString("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |\n")
	for _, x := range r.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s %s | %s | %s | %s | %s | %s | %s |\n", x.Row, x.What, figure(x.Ours), x.Unit, latencies(x.P50, x.P99),
			blank(x.Theirs, figure(x.Theirs)+" "+x.Unit), latencies(x.TheirP50, x.TheirP99), times(x.Ratio, ""), x.Target, x.Verdict)
	}
	for _, x := range r.Rows {
		if x.Errors+x.TheirErrs > 0 {
			fmt.Fprintf(&b, "\nErrors and refusals in %s: %d, etcd %d.\n", x.Row, x.Errors, x.TheirErrs)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func latencies(p50, p99 float64) string {
	return blank(p50+p99, fmt.Sprintf("%.2f / %.2f", p50, p99))
}

func blank(v float64, s string) string {
	if v == 0 {
		return ""
	}
	return s
}
