package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// BenchmarkPromptFilter judges an 8 kB prompt with 200 filters (P23).
func BenchmarkPromptFilter(b *testing.B) {
	var filters []horde.Filter
	for i := range 200 {
		filters = append(filters, horde.Filter{
			ID: int64(i + 1), Type: []int{10, 11, 20}[i%3], Regex: fmt.Sprintf(`zebra%d\w*|giraffe[ -]?%d|lion%ds?`, i, i, i),
		})
	}
	p := newPromptFilter(filters)
	prompt := strings.Repeat("a horde of robots in the rain, oil on canvas, very detailed, ", 140)[:8<<10]
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if points, _ := p.score(prompt); points != 0 {
			b.Fatalf("a harmless prompt has %d points", points)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
