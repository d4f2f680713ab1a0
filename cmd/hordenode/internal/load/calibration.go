package load

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"hordenode/cmd/hordenode/internal/rest"
)

// asyncBody is the text request, typed: what Body sends and the calibration decodes.
type asyncBody struct {
	Prompt         string      `json:"prompt"`
	Params         asyncParams `json:"params"`
	Models         []string    `json:"models,omitempty"`
	Workers        []string    `json:"workers,omitempty"`
	TrustedWorkers bool        `json:"trusted_workers,omitempty"`
	SlowWorkers    bool        `json:"slow_workers"`
	DryRun         bool        `json:"dry_run,omitempty"`
	Webhook        string      `json:"webhook,omitempty"`
}

type asyncParams struct {
	N                int      `json:"n"`
	MaxContextLength int      `json:"max_context_length"`
	MaxLength        int      `json:"max_length"`
	RepPen           float64  `json:"rep_pen"`
	RepPenRange      int      `json:"rep_pen_range"`
	Temperature      float64  `json:"temperature"`
	TopP             float64  `json:"top_p"`
	Typical          float64  `json:"typical"`
	SamplerOrder     []int    `json:"sampler_order"`
	StopSequence     []string `json:"stop_sequence"`
}

// CalibrationHandler is what a Go program with nothing to do would answer: it decodes the
// request into a typed struct and replies JSON.
func CalibrationHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in asyncBody
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		// A client that has gone away is its own affair.
		_ = json.NewEncoder(w).Encode(rest.Accepted{ID: "00000000-0000-8000-8000-000000000000", Kudos: float64(in.Params.N)})
	})
}

// Calibrate measures requests a second of a CalibrationHandler at url.
func Calibrate(ctx context.Context, url string, clients int, d time.Duration) Result {
	httpc := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}}
	defer httpc.CloseIdleConnections()
	c := &rest.Client{Base: url, HTTP: httpc, Key: "0000000000", Agent: "hordenode bench:1:-"}
	body := Body(1, true)
	var t tally
	t.drive(ctx, clients, d, func(ctx context.Context, _, _ int) error {
		_, err := c.AsyncRaw(ctx, rest.Text, body)
		return err
	})
	return t.result("calibration", clients)
}
