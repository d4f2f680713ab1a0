package load

import (
	"strings"
	"testing"
	"time"
)

func TestDuel(t *testing.T) {
	samples := []Sample{
		{Row: RowOne, Value: 500, P50: 2}, {Row: RowOne, Of: Etcd, Value: 400, P50: 2.5},
		{Row: RowCalls, Value: 100}, {Row: RowCalls, Value: 900}, {Row: RowCalls, Value: 110, Errors: 2}, {Row: RowCalls, Of: Etcd, Value: 100},
		{Row: RowHot, Value: 50}, {Row: RowMany, Value: 10}, {Row: RowMany, Of: Etcd, Value: 20},
		{Row: RowBatch, Value: 300}, {Row: RowBatch, Of: Etcd, Value: 1},
		{Row: RowStart, Value: 2000}, {Row: RowGapWrite, Value: 600}, {Row: RowMemory, Value: 600}, {Row: RowMemory, Of: Etcd, Value: 500},
	}
	rep := Duel("here", "3.6", 3, 10, 0, samples)
	got := map[string]DuelRow{}
	for _, r := range rep.Rows {
		got[r.Row] = r
	}
	for _, tt := range []struct {
		row     string
		ratio   float64
		verdict string
	}{
		{RowOne, 0.8, "met"},           // of latencies: less is better
		{RowCalls, 1.1, "floor met"},   // the median of three
		{RowMany, 0.5, "not met"},      //
		{RowBatch, 15, "met"},          // to what etcd does one by one
		{RowHot, 50. / 110, "not met"}, // to ours with many accounts
		{RowStart, 0, "floor met"},
		{RowGapWrite, 0, "met"},
		{RowMemory, 1.2, "not met"},
	} {
		if r := got[tt.row]; r.Verdict != tt.verdict || r.Ratio < tt.ratio-1e-9 || r.Ratio > tt.ratio+1e-9 {
			t.Errorf("%s: got %v and %q, want %v and %q", tt.row, r.Ratio, r.Verdict, tt.ratio, tt.verdict)
		}
	}
	var b strings.Builder
	if err := rep.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| P9a | transfers, 64 clients | 110 /s", "etcd 3.6", "Errors and refusals in P9a: 2, etcd 0."} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
}

func TestGap(t *testing.T) {
	var g gap
	if got := g.longest(); got != 0 {
		t.Errorf("nothing happened: %v", got)
	}
	for _, at := range []time.Duration{5, 6, 90, 100} {
		g.success(int64(at * time.Millisecond))
	}
	if got := g.longest(); got != 84 {
		t.Errorf("got %v ms, want 84", got)
	}
}
