package api

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

func TestTransferMany(t *testing.T) {
	const path = "/api/fed/v1/kudos/transfers"
	many := func(n int) string {
		return `{"transfers": [` + strings.TrimSuffix(strings.Repeat(`{"username": "8", "amount": 1},`, n), ",") + `]}`
	}
	for _, tt := range []struct {
		name   string
		key    horde.APIKey
		body   string
		status int
		rc     horde.RC
		want   string
		left   horde.Kudos // of alice's 5000
	}{
		{"each for itself", aliceKey, `{"transfers": [{"username": "owner#8", "amount": 30}, {"username": "no such", "amount": 1}, {"username": "8", "amount": "12"}]}`, 200, "",
			`{"transferred":42,"results":[{"transferred":30},{"transferred":0,"rc":"InvalidTargetUsername","message":"who?"},{"transferred":12}]}`, horde.Whole(4958)},
		{"in their order", aliceKey, `{"transfers": [{"username": "8", "amount": 4900}, {"username": "8", "amount": 76}, {"username": "8", "amount": 75}]}`, 200, "",
			`{"transferred":4975,"results":[{"transferred":4900},{"transferred":0,"rc":"KudosTransferNotEnough","message":"poor"},{"transferred":75}]}`, horde.Whole(25)},
		{"a repeat moves nothing", aliceKey, `{"transfers": [{"username": "8", "amount": 5, "idempotency_key": "k"}, {"username": "8", "amount": 5, "idempotency_key": "k"}, {"username": "8", "amount": 6, "idempotency_key": "k"}]}`, 200, "",
			`{"transferred":10,"results":[{"transferred":5},{"transferred":5},{"transferred":0,"rc":"IdempotencyKeyConflict","message":"conflict"}]}`, horde.Whole(4995)},
		{"a thousand", aliceKey, many(1000), 200, "", "", horde.Whole(4000)},
		{"too many", aliceKey, many(1001), 400, "", "", horde.Whole(5000)},
		{"none", aliceKey, `{"transfers": []}`, 400, "", "", horde.Whole(5000)},
		{"no list", aliceKey, `{"transfers": {}}`, 400, "", "", horde.Whole(5000)},
		{"a list of other things", aliceKey, `{"transfers": [{"username": "8", "amount": 1}, 5]}`, 400, "", "", horde.Whole(5000)},
		{"without an amount", aliceKey, `{"transfers": [{"username": "8"}]}`, 400, "", "", horde.Whole(5000)},
		{"a long key", aliceKey, `{"transfers": [{"username": "8", "amount": 1, "idempotency_key": "` + strings.Repeat("k", 256) + `"}]}`, 400, "", "", horde.Whole(5000)},
		{"no key", "", many(1), 400, "", "", horde.Whole(5000)},
		{"unknown key", "who", many(1), 401, horde.RCInvalidAPIKey, "", horde.Whole(5000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _, _ := newAccountHarness(t)
			a := h.do("POST", path, tt.key, tt.body).wants(tt.status, tt.rc)
			if tt.want != "" {
				a.golden(tt.want)
			}
			if u, _ := h.accounts.User(7); u.Kudos != tt.left {
				t.Errorf("alice has %v, want %v", u.Kudos, tt.left)
			}
		})
	}
}

// The largest body that may come is one of a thousand with the longest names and keys.
func TestTransferManyFits(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	var all []map[string]any
	for i := range maxTransfers {
		all = append(all, map[string]any{"username": strings.Repeat("n", 198) + "#8", "amount": 1, "idempotency_key": fmt.Sprintf("%0255d", i)})
	}
	h.do("POST", "/api/fed/v1/kudos/transfers", aliceKey, map[string]any{"transfers": all}).wants(200, "")
}

func TestBalance(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	get := func(query string) answer { return h.do("GET", "/api/fed/v1/kudos/balance"+query, aliceKey, nil) }
	get("").wants(200, "").golden(`{"user":"alice#7","kudos":5000,"available":4975}`)
	if h.accounts.syncs != 0 {
		t.Errorf("asked the federation %d times, want 0", h.accounts.syncs)
	}
	get("?fresh=true").wants(200, "").golden(`{"user":"alice#7","kudos":5000,"available":4975}`)
	if h.accounts.syncs != 1 {
		t.Errorf("asked the federation %d times, want once", h.accounts.syncs)
	}
	get("?fresh=perhaps").wants(400, "")
	h.accounts.syncErr = errors.Join(horde.Refuse(horde.RCUnavailable, "no leader"))
	get("?fresh=true").wants(503, horde.RCUnavailable)
	get("").wants(200, "") // its own is better than nothing
}
