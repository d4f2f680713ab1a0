package rest

import (
	"context"
	"net/http"
)

// A Transfer is one of many that TransferMany sends.
type Transfer struct {
	Username string `json:"username"` // alias: name#number
	Amount   int    `json:"amount"`
	Key      string `json:"idempotency_key,omitempty"`
}

// A Transferred is what became of one.
type Transferred struct {
	Transferred float64 `json:"transferred"` // 0: refused
	RC          string  `json:"rc"`
	Message     string  `json:"message"`
}

// TransferMany sends up to 1000 transfers at once and returns an outcome for each.
func (c *Client) TransferMany(ctx context.Context, ts []Transfer) ([]Transferred, error) {
	in := struct {
		Transfers []Transfer `json:"transfers"`
	}{ts}
	var out struct {
		Results []Transferred `json:"results"`
	}
	err := c.Do(ctx, http.MethodPost, "/api/fed/v1/kudos/transfers", in, &out)
	return out.Results, err
}

// Balance is what the client's user has: as the node knows it or, if fresh, not older than the
// call.
func (c *Client) Balance(ctx context.Context, fresh bool) (kudos float64, err error) {
	path := "/api/fed/v1/kudos/balance"
	if fresh {
		path += "?fresh=true"
	}
	var out struct {
		Kudos float64 `json:"kudos"`
	}
	err = c.Do(ctx, http.MethodGet, path, nil, &out)
	return out.Kudos, err
}
