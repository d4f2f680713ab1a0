package api

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

const aliceTail = `"account_age":3600,"usage":{"megapixelsteps":null,"requests":null},"contributions":{"megapixelsteps":null,"fulfillments":null},` +
	`"records":{"usage":{"megapixelsteps":0,"tokens":0},"contribution":{"megapixelsteps":1.25,"tokens":7},"fulfillment":{"image":3,"text":0,"interrogation":0},"request":{"image":0,"text":4,"interrogation":0},"style":{"image":0,"text":0,"interrogation":0}}}`

const aliceDetails = `"kudos_details":{"accumulated":0,"gifted":-11,"donated":0,"admin":0,"received":0,"recurring":0,"awarded":0,"styled":0},"worker_count":1,`

func TestUserViews(t *testing.T) {
	h, registry, live := newAccountHarness(t)
	h.accounts.change(aliceKey, func(u *horde.User) {
		u.Details.Gifted = -1050
		u.Records.ContributionImage, u.Records.ContributionText = 125, 7
		u.Records.Fulfillments[horde.KindImage], u.Records.Requests[horde.KindText] = 3, 4
		u.Contact, u.AdminComment = "mail", "watch"
		u.Escrow, u.Suspicion, u.Workers = 50, 2, 1
		u.MonthlyKudos, u.MonthlyLast = horde.Whole(40), time.Unix(1_795_174_965, 0)
		u.Roles = horde.RoleVPN
		u.HasPasskey = true
	})
	registry.addWorker(live, h.clock.now(), horde.Worker{ID: workerID(1), Name: "w", Owner: 7}, horde.Caps{})
	request := horde.RequestID{UUID: horde.UUID{15: 5}}
	live.active = map[horde.Kind][]horde.RequestID{horde.KindText: {request}}
	head := `{"username":"alice#7","id":7,"kudos":5000,`
	mid := `"concurrency":30,"worker_invited":0,"moderator":false,` + aliceDetails
	ids := `"worker_ids":["` + workerID(1).String() + `"],`
	for _, tt := range []struct {
		name string
		key  horde.APIKey
		path string
		want string
	}{
		{"public", "", "/api/v2/users/7", head + mid + `"styles":[],"trusted":false,"flagged":false,"service":false,"education":false,"customizer":false,"deleted":false,"pseudonymous":false,` + aliceTail},
		{"another user", ownerKey, "/api/v2/users/7", head + mid + `"styles":[],"trusted":false,"flagged":false,"service":false,"education":false,"customizer":false,"deleted":false,"pseudonymous":false,` + aliceTail},
		{"own id in another spelling", aliceKey, "/api/v2/users/0007", head + mid + `"styles":[],"trusted":false,"flagged":false,"service":false,"education":false,"customizer":false,"deleted":false,"pseudonymous":false,` + aliceTail},
		{"own", aliceKey, "/api/v2/users/7", head + mid + ids + `"styles":[],"sharedkey_ids":[],"active_generations":{"text":["` + request.String() + `"]},"trusted":false,"flagged":false,"vpn":true,"service":false,"education":false,"customizer":false,"special":false,"deleted":false,"pseudonymous":false,"contact":"mail",` + aliceTail},
		{"moderator's", modKey, "/api/v2/users/7", head + `"evaluating_kudos":1,` + mid + ids + `"styles":[],"sharedkey_ids":[],"active_generations":{"text":["` + request.String() + `"]},"monthly_kudos":{"amount":40,"last_received":"Fri, 20 Nov 2026 11:42:45 -0000"},"trusted":false,"flagged":false,"vpn":true,"service":false,"education":false,"customizer":false,"special":false,"deleted":false,"suspicious":2,"pseudonymous":false,"contact":"mail","admin_comment":"watch","proxy_passkey":"(set)",` + aliceTail},
		{"whose key is it", aliceKey, "/api/v2/find_user", head + mid + ids + `"styles":[],"sharedkey_ids":[],"active_generations":{"text":["` + request.String() + `"]},"trusted":false,"flagged":false,"vpn":true,"service":false,"education":false,"customizer":false,"special":false,"deleted":false,"pseudonymous":false,"contact":"mail",` + aliceTail},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.T = t
			h.do("GET", tt.path, tt.key, nil).wants(200, "").golden(tt.want)
		})
	}
}

func TestPublicWorkersAreShown(t *testing.T) {
	h, registry, live := newAccountHarness(t)
	registry.addWorker(live, h.clock.now(), horde.Worker{ID: workerID(1), Name: "w", Owner: 8}, horde.Caps{})
	ids := func() any { return h.do("GET", "/api/v2/users/8", "", nil).wants(200, "").object()["worker_ids"] }
	if got := ids(); got != nil {
		t.Errorf("worker_ids = %v, want none", got)
	}
	h.accounts.change(ownerKey, func(u *horde.User) { u.PublicWorkers = true })
	if got, _ := ids().([]any); len(got) != 1 || got[0] != workerID(1).String() {
		t.Errorf("worker_ids = %v, want the worker", got)
	}
}

// The list keeps nulls and shows what it hides as empty.
func TestListUsers(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	var list []map[string]any
	if err := json.Unmarshal([]byte(h.do("GET", "/api/v2/users", "", nil).wants(200, "").body), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 4 || list[0]["username"] != "alice#7" {
		t.Fatalf("%d users, first %v, want 4 and the richest", len(list), list[0]["username"])
	}
	for _, key := range []string{"evaluating_kudos", "worker_ids", "sharedkey_ids", "vpn", "special", "suspicious", "contact", "admin_comment", "proxy_passkey"} {
		if v, ok := list[0][key]; !ok || v != nil {
			t.Errorf("%s = %v (there: %v), want null", key, v, ok)
		}
	}
	for _, key := range []string{"active_generations", "monthly_kudos"} {
		if v, ok := list[0][key].(map[string]any); !ok || len(v) != 0 {
			t.Errorf("%s = %v, want {}", key, list[0][key])
		}
	}
	for _, tt := range []struct{ query, first string }{
		{"?sort=age", "Anonymous#0"}, {"?sort=odd", "alice#7"}, {"?page=0", "alice#7"}, {"?page=-3", "alice#7"},
	} {
		h.do("GET", "/api/v2/users"+tt.query, "", nil).wants(200, "").starts(`[{"username":"` + tt.first + `"`)
	}
	h.do("GET", "/api/v2/users?page=2", "", nil).golden("[]")
	h.do("GET", "/api/v2/users?page=10001", "", nil).golden("[]")
	if got := h.do("GET", "/api/v2/users?page=x", "", nil).wants(400, "").errorsAt(); got != "page" {
		t.Errorf("errors at %q, want page", got)
	}
}

func (a answer) starts(want string) {
	a.t.Helper()
	if !strings.HasPrefix(a.body, want) {
		a.t.Errorf("got %.200s, want it to start with %s", a.body, want)
	}
}

func TestUserRefusals(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	for _, tt := range []struct {
		method, path string
		key          horde.APIKey
		body         any
		status       int
		rc           horde.RC
	}{
		{"GET", "/api/v2/users/x", "", nil, 404, horde.RCUserNotFound},
		{"GET", "/api/v2/users/-1", "", nil, 404, horde.RCUserNotFound},
		{"GET", "/api/v2/users/99999999999", "", nil, 404, horde.RCUserNotFound},
		{"GET", "/api/v2/users/123", "", nil, 404, horde.RCUserNotFound},
		{"GET", "/api/v2/users/a%237", "", nil, 404, horde.RCUserNotFound},
		{"GET", "/api/v2/users/7", "who", nil, 401, horde.RCInvalidAPIKey},
		{"GET", "/api/v2/find_user", "", nil, 401, horde.RCInvalidAPIKey},
		{"GET", "/api/v2/find_user", "who", nil, 404, horde.RCUserNotFound},
		{"PUT", "/api/v2/users/x", aliceKey, map[string]any{"username": "abc"}, 404, horde.RCUserNotFound},
		{"PUT", "/api/v2/users/123", "", map[string]any{"username": "abc"}, 404, horde.RCUserNotFound},
		{"PUT", "/api/v2/users/7", "", map[string]any{"username": "abc"}, 400, ""},
		{"PUT", "/api/v2/users/7", "who", map[string]any{"username": "abc"}, 401, horde.RCInvalidAPIKey},
		{"PUT", "/api/v2/users/7", ownerKey, map[string]any{"username": "fuck it"}, 403, horde.RCNotModerator},
		{"PUT", "/api/v2/users/7", aliceKey, map[string]any{"username": "fuck it"}, 400, horde.RCProfaneUserName},
		{"PUT", "/api/v2/users/7", aliceKey, map[string]any{"username": strings.Repeat("x", 31)}, 400, horde.RCTooLongUserName},
		{"PUT", "/api/v2/users/7", aliceKey, map[string]any{"username": "ab"}, 400, ""},
		{"PUT", "/api/v2/users/7", aliceKey, map[string]any{"contact": "fuck you"}, 400, horde.RCProfaneUserContact},
		{"PUT", "/api/v2/users/7", aliceKey, map[string]any{"admin_comment": "fuck you"}, 403, horde.RCNotModerator},
		{"PUT", "/api/v2/users/7", modKey, map[string]any{"admin_comment": "fuck you"}, 400, horde.RCProfaneAdminComment},
		{"PUT", "/api/v2/users/7", modKey, map[string]any{"concurrency": 501}, 400, ""},
		{"PUT", "/api/v2/users/7", modKey, map[string]any{"kudos": 1}, 403, horde.RCNotAdmin},
		{"PUT", "/api/v2/users/7", aliceKey, map[string]any{}, 400, horde.RCNoUserModSelected},
		{"DELETE", "/api/v2/users/x", aliceKey, nil, 404, horde.RCUserNotFound},
		{"DELETE", "/api/v2/users/123", aliceKey, nil, 404, horde.RCUserNotFound},
		{"DELETE", "/api/v2/users/7", "", nil, 400, ""},
		{"DELETE", "/api/v2/users/7", "who", nil, 401, horde.RCInvalidAPIKey},
		{"DELETE", "/api/v2/users/7", ownerKey, nil, 403, horde.RCNotUserOrMod},
	} {
		t.Run(tt.method+" "+tt.path+" "+string(tt.rc), func(t *testing.T) {
			h.T = t
			h.do(tt.method, tt.path, tt.key, tt.body).wants(tt.status, tt.rc)
		})
	}
}

// A user who was made at another node a moment ago is found.
func TestUserMissIsConfirmed(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	h.accounts.remote["new-key-00000000000000"] = horde.User{ID: 55, Name: "new"}
	h.do("GET", "/api/v2/users/55", "", nil).wants(200, "").starts(`{"username":"new#55"`)
	h.accounts.syncErr = horde.RCUnavailable
	h.do("GET", "/api/v2/users/56", "", nil).wants(503, horde.RCUnavailable)
}

func TestChangeUser(t *testing.T) {
	for _, tt := range []struct {
		name string
		key  horde.APIKey
		body string
		want string
	}{
		{"a role", modKey, `{"trusted": true}`, `{"trusted":true}`},
		{"education raises the concurrency", modKey, `{"education": true}`, `{"concurrency":200,"education":true}`},
		{"a name is made safe", aliceKey, `{"username": " <i>al</i> "}`, `{"username":"&lt;i&gt;al&lt;/i&gt;"}`},
		{"a comment may have markup", modKey, `{"admin_comment": "be <b>nice</b> & <u>"}`, `{"admin_comment":"be <b>nice</b> &amp; &lt;u&gt;"}`},
		{"a flag acts even if it is false", aliceKey, `{"undelete": false}`, `{"undeleted":true}`},
		{"suspicion", modKey, `{"reset_suspicion": true}`, `{"new_suspicion":0}`},
		{"fractions of kudos are cut off", modKey, `{"kudos": -100.5}`, `{"new_kudos":4900}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _, _ := newAccountHarness(t)
			h.accounts.change(modKey, func(u *horde.User) { u.Roles |= horde.RoleAdmin })
			h.do("PUT", "/api/v2/users/7", tt.key, tt.body).wants(200, "").golden(tt.want)
		})
	}
}

func TestPasskey(t *testing.T) {
	h, registry, _ := newAccountHarness(t)
	h.s.deps.Secrets = strings.NewReader("0123456789abcdef")
	h.do("PUT", "/api/v2/users/7", aliceKey, `{"generate_proxy_passkey": true}`).wants(200, "").golden(`{"proxy_passkey":"MDEyMzQ1Njc4OWFiY2RlZg"}`)
	if got := registry.lastUser.Passkey; got != "MDEyMzQ1Njc4OWFiY2RlZg" {
		t.Errorf("the ledger got %q", got)
	}
	h.do("PUT", "/api/v2/users/7", aliceKey, `{"generate_proxy_passkey": true}`).wants(500, "") // no more randomness
	if strings.Contains(h.log.String(), "MDEyMzQ1") {
		t.Error("a secret was logged")
	}
}

func TestDeleteUser(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	h.do("DELETE", "/api/v2/users/7", aliceKey, nil).wants(200, "").golden(`{"message":"OK"}`)
	if u, _ := h.accounts.User(7); !u.Is(horde.RoleDeleted) {
		t.Error("alice is not deleted")
	}
}

// What may be in the API's bounds must be sayable, and nothing else.
func TestUserSchema(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	body := `{"usage_multiplier": 10.5, "moderator": "yes", "worker_invited": 1.5, "contact": "abc", "filtered": true}`
	got := h.do("PUT", "/api/v2/users/7", modKey, body).wants(400, "").errorsAt()
	if want := "contact moderator usage_multiplier worker_invited"; got != want {
		t.Errorf("errors at %q, want %q", got, want)
	}
}

func TestIsDigits(t *testing.T) {
	for s, want := range map[string]bool{"0": true, "007": true, "": false, "+1": false, "1.0": false, "٣": false} {
		if got := isDigits(s); got != want {
			t.Errorf("isDigits(%q) = %v, want %v", s, got, want)
		}
	}
}

func TestTransfers(t *testing.T) {
	const path = "/api/v2/kudos/transfer"
	for _, tt := range []struct {
		name   string
		key    horde.APIKey
		body   string
		status int
		rc     horde.RC
		want   string
		left   horde.Kudos // of alice's 5000
	}{
		{"by alias", aliceKey, `{"username": "owner#8", "amount": 30}`, 200, "", `{"transferred":30}`, horde.Whole(4970)},
		{"by id, default amount", aliceKey, `{"username": "8"}`, 200, "", `{"transferred":100}`, horde.Whole(4900)},
		{"amount as text", aliceKey, `{"username": "8", "amount": "12"}`, 200, "", `{"transferred":12}`, horde.Whole(4988)},
		{"fractions are cut off", aliceKey, `{"username": "8", "amount": 10.9}`, 200, "", `{"transferred":10}`, horde.Whole(4990)},
		{"a name that is no alias", aliceKey, `{"username": "no such"}`, 400, horde.RCInvalidTargetUsername, "", horde.Whole(5000)},
		{"anonymous, to nobody", horde.AnonymousKey, `{"username": "no such"}`, 400, horde.RCKudosTransferFromAnon, "", horde.Whole(5000)},
		{"more than there is", aliceKey, `{"username": "8", "amount": 9223372036854775807}`, 400, horde.RCKudosTransferNotEnough, "", horde.Whole(5000)},
		{"no amount", aliceKey, `{"username": "8", "amount": "x"}`, 400, "", "", horde.Whole(5000)},
		{"no name", aliceKey, `{"amount": 5}`, 400, "", "", horde.Whole(5000)},
		{"no key", "", `{"username": "8"}`, 400, "", "", horde.Whole(5000)},
		{"unknown key", "who", `{"username": "8"}`, 401, horde.RCInvalidAPIKey, "", horde.Whole(5000)},
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

// A deleted party is a 400 here, though the code is a 403 elsewhere.
func TestTransferToDeleted(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	h.accounts.change(ownerKey, func(u *horde.User) { u.Roles |= horde.RoleDeleted })
	h.do("POST", "/api/v2/kudos/transfer", aliceKey, `{"username": "8"}`).wants(400, horde.RCDeletedUser)
}

// An outage of ours is no fault of the client's.
func TestTransferInAnOutage(t *testing.T) {
	h, registry, _ := newAccountHarness(t)
	registry.err = horde.Refuse(horde.RCUnavailable, "no quorum")
	h.do("POST", "/api/v2/kudos/transfer", aliceKey, `{"username": "8"}`).wants(503, horde.RCUnavailable)
}

func TestTransferIsIdempotent(t *testing.T) {
	h, _, _ := newAccountHarness(t)
	send := func(amount int, key string) answer {
		return h.do("POST", "/api/v2/kudos/transfer", aliceKey, map[string]any{"username": "8", "amount": amount}, "Idempotency-Key", key)
	}
	send(11, "k").wants(200, "")
	send(11, "k").wants(200, "").golden(`{"transferred":11}`)
	send(12, "k").wants(400, horde.RCIdempotencyKeyConflict)
	send(1, strings.Repeat("k", 256)).wants(400, "")
	if u, _ := h.accounts.User(7); u.Kudos != horde.Whole(4989) {
		t.Errorf("alice has %v, want 4989.00", u.Kudos)
	}
}

func TestAward(t *testing.T) {
	for _, tt := range []struct {
		name   string
		key    horde.APIKey
		body   string
		status int
		rc     horde.RC
		want   string
	}{
		{"award", modKey, `{"username": "alice#7", "amount": -15}`, 200, "", `{"awarded":-15}`},
		{"flagged", modKey, `{"username": "8"}`, 200, "", `[{"awarded":null},{"awarded":null}]`},
		{"nobody", modKey, `{"username": "x"}`, 400, horde.RCInvalidAwardUsername, ""},
		{"not allowed, to nobody", aliceKey, `{"username": "x"}`, 403, horde.RCNotAllowedAwards, ""},
		{"no name", modKey, `{}`, 400, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _, _ := newAccountHarness(t)
			h.accounts.change(modKey, func(u *horde.User) { u.Roles |= horde.RoleAdmin })
			h.accounts.change(ownerKey, func(u *horde.User) { u.Roles |= horde.RoleFlagged })
			a := h.do("POST", "/api/v2/kudos/award", tt.key, tt.body).wants(tt.status, tt.rc)
			if tt.want != "" {
				a.golden(tt.want)
			}
		})
	}
}

func TestTransferLimit(t *testing.T) {
	h, _, _ := newAccountHarness(t, func(c *Config) { c.NoRateLimits = false })
	var got []string
	for range 2 {
		got = append(got, strconv.Itoa(h.do("POST", "/api/v2/kudos/transfer", aliceKey, `{"username": "8"}`).status))
	}
	if want := []string{"200", "429"}; !slices.Equal(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
}
