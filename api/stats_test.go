package api

import (
	"context"
	"testing"

	"hordenode/internal/horde"
)

// The statistics show what the nodes have counted, and only models that had jobs.
func TestStatistics(t *testing.T) {
	h := newHarness(t)
	w := func(jobs, things int64) horde.Work { return horde.Work{Jobs: jobs, Things: things} }
	h.s.deps.Totals = func(context.Context) horde.Totals {
		return horde.Totals{
			horde.KindImage: {Minute: w(1, 10), Hour: w(2, 20), Day: w(3, 30), Month: w(4, 40), Total: w(5, 50), Models: []horde.ModelTotals{
				{Name: "my own", Day: 7, Month: 7, Total: 7}, {Name: "sd2", Month: 2, Total: 3},
			}},
			horde.KindText: {Total: w(6, 480), Models: []horde.ModelTotals{{Name: "small", Day: 1, Month: 2, Total: 6}, {Name: "", Total: 1}}},
		}
	}
	for path, want := range map[string]string{
		"img/totals":                    `{"minute":{"images":1,"ps":10},"hour":{"images":2,"ps":20},"day":{"images":3,"ps":30},"month":{"images":4,"ps":40},"total":{"images":5,"ps":50}}`,
		"text/totals":                   `{"minute":{"requests":0,"tokens":0},"hour":{"requests":0,"tokens":0},"day":{"requests":0,"tokens":0},"month":{"requests":0,"tokens":0},"total":{"requests":6,"tokens":480}}`,
		"img/models":                    `{"day":{},"month":{"sd2":2},"total":{"sd2":3}}`,
		"img/models?model_state=custom": `{"day":{"my own":7},"month":{"my own":7},"total":{"my own":7}}`,
		"img/models?model_state=all":    `{"day":{"my own":7},"month":{"my own":7,"sd2":2},"total":{"my own":7,"sd2":3}}`,
		"text/models":                   `{"day":{"small":1},"month":{"small":2},"total":{"small":6}}`,
	} {
		t.Run(path, func(t *testing.T) {
			h.T = t
			h.do("GET", "/api/v2/stats/"+path, "", nil).wants(200, "").golden(want)
		})
	}
}
