package api

import (
	"net/http"

	"hordenode/internal/horde"
)

// The statistics are what was finished at all nodes; each counts its own jobs and is asked.
// /status/performance has the figures of what is under way.

// periods are a figure for each period.
type periods[T any] struct {
	Minute T `json:"minute"`
	Hour   T `json:"hour"`
	Day    T `json:"day"`
	Month  T `json:"month"`
	Total  T `json:"total"`
}

type imageTotal struct {
	Images     int64 `json:"images"`
	Pixelsteps int64 `json:"ps"`
}

type textTotal struct {
	Requests int64 `json:"requests"`
	Tokens   int64 `json:"tokens"`
}

// eachPeriod makes the periods of the figures of a kind.
func eachPeriod[T any](t horde.KindTotals, of func(horde.Work) T) periods[T] {
	return periods[T]{of(t.Minute), of(t.Hour), of(t.Day), of(t.Month), of(t.Total)}
}

// modelCounts are jobs by model.
type modelCounts struct {
	Day   map[string]int64 `json:"day"`
	Month map[string]int64 `json:"month"`
	Total map[string]int64 `json:"total"`
}

// countModels leaves out models without jobs in a period.
func countModels(t horde.KindTotals, keep func(model string) bool) modelCounts {
	c := modelCounts{map[string]int64{}, map[string]int64{}, map[string]int64{}}
	for _, m := range t.Models {
		if m.Name == "" || !keep(m.Name) {
			continue
		}
		for _, p := range []struct {
			of map[string]int64
			n  int64
		}{{c.Day, m.Day}, {c.Month, m.Month}, {c.Total, m.Total}} {
			if p.n > 0 {
				p.of[m.Name] = p.n
			}
		}
	}
	return c
}

func (s *Server) totals(r *http.Request, kind horde.Kind) horde.KindTotals {
	if s.deps.Totals == nil {
		return horde.KindTotals{}
	}
	return s.deps.Totals(r.Context())[kind]
}

// imageTotals serves GET /api/v2/stats/img/totals.
func (s *Server) imageTotals(w http.ResponseWriter, r *http.Request) error {
	return encode(w, http.StatusOK, eachPeriod(s.totals(r, horde.KindImage), func(w horde.Work) imageTotal {
		return imageTotal{w.Jobs, w.Things}
	}))
}

// textTotals serves GET /api/v2/stats/text/totals.
func (s *Server) textTotals(w http.ResponseWriter, r *http.Request) error {
	return encode(w, http.StatusOK, eachPeriod(s.totals(r, horde.KindText), func(w horde.Work) textTotal {
		return textTotal{w.Jobs, w.Things}
	}))
}

// imageModelCounts serves GET /api/v2/stats/img/models.
func (s *Server) imageModelCounts(w http.ResponseWriter, r *http.Request) error {
	a := &args{r: r}
	keep, err := s.modelFilter(a.query("model_state", "known"))
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, countModels(s.totals(r, horde.KindImage), func(model string) bool {
		return keep(horde.KindImage, model)
	}))
}

// textModelCounts serves GET /api/v2/stats/text/models.
func (s *Server) textModelCounts(w http.ResponseWriter, r *http.Request) error {
	return encode(w, http.StatusOK, countModels(s.totals(r, horde.KindText), func(string) bool { return true }))
}
