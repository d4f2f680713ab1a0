package main

import (
	"encoding/json"
	"strings"
	"testing"

	"hordenode/cmd/hordenode/internal/hordetest"
	"hordenode/cmd/hordenode/internal/load"
)

func TestBenchCommand(t *testing.T) {
	t.Setenv("HORDENODE_TEST_BE_THE_PROGRAM", "1") // the calibration is a process of its own
	for _, tt := range []struct{ mode, more string }{
		{"async", ""}, {"pop", "--queue 10"}, {"submit", "--queue 10"}, {"cycle", ""}, {"ledger", ""},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			h := hordetest.New(t)
			h.Limit = 100
			args := "bench " + tt.mode + " --url " + h.URL + " -c 4 --duration 40ms --rounds 2 --users 4 --json --log-level error " + tt.more
			code, out, stderr := command(t, strings.Fields(args)...)
			if code != 0 || stderr != "" {
				t.Fatalf("got code %d, %q", code, stderr)
			}
			var rep load.Report
			if err := json.Unmarshal([]byte(out), &rep); err != nil {
				t.Fatal(err)
			}
			if len(rep.Rows) != 2 || len(rep.Runs) != 4 || rep.Rows[0].Mode != "calibration" || rep.Rows[0].Rate <= 0 {
				t.Fatalf("got %+v, want the calibration and one mode, twice", rep)
			}
			if r := rep.Rows[1]; r.Mode != tt.mode || r.Ratio <= 0 || r.Clients != 4 || r.Label != h.URL || r.Errors > 0 {
				t.Errorf("got %+v, want a ratio to the calibration", r)
			}
		})
	}
}

func TestBenchPrintsATable(t *testing.T) {
	t.Setenv("HORDENODE_TEST_BE_THE_PROGRAM", "1")
	h := hordetest.New(t)
	code, out, stderr := command(t, "bench", "ledger", "--url", h.URL, "--key", "mine", "--to", "bob#2", "-c", "1", "--duration", "20ms", "--rounds", "1", "--log-level", "error")
	if code != 0 || stderr != "" {
		t.Fatalf("got code %d, %q", code, stderr)
	}
	for _, want := range []string{"| mode | of | clients |", "| calibration |", "| ledger | " + h.URL, "etcd"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
}

func TestStepsAlternate(t *testing.T) {
	got := ""
	for _, s := range alternate([][]load.Step{{{Name: "a1"}, {Name: "a2"}, {Name: "a3"}}, {{Name: "b1"}}, {{Name: "c1"}, {Name: "c2"}}}) {
		got += s.Name + " "
	}
	if want := "a1 b1 c1 a2 c2 a3 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
