package api

import "net/http"

// The long-term statistics are not compiled in a federation: what is shown is what a fresh
// reference server shows. /status/performance has the live figures.

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

// modelCounts are requests by model.
type modelCounts struct {
	Day   map[string]int64 `json:"day"`
	Month map[string]int64 `json:"month"`
	Total map[string]int64 `json:"total"`
}

func noModelCounts() modelCounts {
	return modelCounts{map[string]int64{}, map[string]int64{}, map[string]int64{}}
}

// imageTotals serves GET /api/v2/stats/img/totals.
func (s *Server) imageTotals(w http.ResponseWriter, _ *http.Request) error {
	return encode(w, http.StatusOK, periods[imageTotal]{})
}

// textTotals serves GET /api/v2/stats/text/totals.
func (s *Server) textTotals(w http.ResponseWriter, _ *http.Request) error {
	return encode(w, http.StatusOK, periods[textTotal]{})
}

// imageModelCounts serves GET /api/v2/stats/img/models.
func (s *Server) imageModelCounts(w http.ResponseWriter, r *http.Request) error {
	a := &args{r: r}
	if _, err := s.modelFilter(a.query("model_state", "known")); err != nil {
		return err
	}
	return encode(w, http.StatusOK, noModelCounts())
}

// textModelCounts serves GET /api/v2/stats/text/models.
func (s *Server) textModelCounts(w http.ResponseWriter, _ *http.Request) error {
	return encode(w, http.StatusOK, noModelCounts())
}
