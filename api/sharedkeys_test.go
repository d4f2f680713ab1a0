package api

import (
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// addKey gives alice a shared key.
func (f *fakeCommunity) addKey(edit func(*horde.SharedKey)) horde.SharedKey {
	k := horde.SharedKey{
		ID: horde.SharedKeyID{UUID: f.id()}, Owner: 7, Name: "gift", Kudos: 30050, Utilized: 149,
		MaxImagePixels: 262144, MaxImageSteps: 30, MaxTextTokens: -1,
	}
	if edit != nil {
		edit(&k)
	}
	f.keys[k.ID] = k
	return k
}

func TestCreateSharedKey(t *testing.T) {
	h, f := newCommunityHarness(t) // 2027-01-15 08:00:00 UTC
	put := func(key horde.APIKey, body any) answer { return h.do("PUT", "/api/v2/sharedkeys", key, body) }
	id := func() string { return f.keysOf(7)[len(f.keysOf(7))-1].String() }

	got := put(aliceKey, nil).wants(200, "")
	got.golden(`{"id":"` + id() + `","username":"alice#7","kudos":5000,"utilized":0,"max_image_pixels":-1,"max_image_steps":-1,"max_text_tokens":-1}`)
	got = put(aliceKey, `{"kudos":-1,"expiry":2,"name":"gift","max_image_pixels":1,"max_image_steps":2,"max_text_tokens":3}`).wants(200, "")
	got.golden(`{"id":"` + id() + `","username":"alice#7","name":"gift","kudos":-1,"expiry":"Sun, 17 Jan 2027 08:00:00 -0000","utilized":0,"max_image_pixels":1,"max_image_steps":2,"max_text_tokens":3}`)
	got = put(aliceKey, `{"expiry":0,"kudos":"12"}`).wants(200, "")
	got.golden(`{"id":"` + id() + `","username":"alice#7","kudos":12,"utilized":0,"max_image_pixels":-1,"max_image_steps":-1,"max_text_tokens":-1}`)

	put(aliceKey, nil).wants(403, horde.RCForbidden)
	put(horde.AnonymousKey, nil).wants(403, horde.RCAnonForbidden)
	put("who", nil).wants(401, horde.RCInvalidAPIKey)
	for body, at := range map[string]string{
		`{"kudos":-7}`:   "kudos",
		`{"kudos":"x"}`:  "kudos",
		`{"expiry":"x"}`: "expiry",
		`{"name":"` + strings.Repeat("x", 256) + `"}`: "name",
	} {
		if got := put(ownerKey, body).wants(400, ""); got.errorsAt() != at {
			t.Errorf("%s: errors at %q, want %q", body, got.errorsAt(), at)
		}
	}
	if got := put("", nil).wants(400, ""); got.errorsAt() != "apikey" {
		t.Errorf("errors at %q, want apikey", got.errorsAt())
	}
	put(ownerKey, `{"name":"a\u0000b"}`).wants(400, horde.RCNulByteInPayload)
	h.do("GET", "/api/v2/sharedkeys", aliceKey, nil).wants(405, "")
}

// TestSealedSharedKeys: a node that cannot read the ids does not pretend that there are none, and
// takes what is presented.
func TestSealedSharedKeys(t *testing.T) {
	h, f := newCommunityHarness(t)
	k := f.addKey(func(k *horde.SharedKey) { k.Owner = 7 })
	f.sealed = true
	h.do("GET", "/api/v2/find_user", aliceKey, nil).wants(503, horde.RCUnavailable)
	h.do("GET", "/api/v2/users/7", "", nil).wants(200, "")
	h.do("GET", "/api/v2/sharedkeys/"+k.ID.String(), "", nil).wants(200, "")
}

func TestSharedKeyByID(t *testing.T) {
	const shown = `,"max_image_pixels":262144,"max_image_steps":30,"max_text_tokens":-1}`
	for _, tt := range []struct {
		name, method string
		key          horde.APIKey
		body         any
		status       int
		rc           horde.RC
		want         string
	}{
		{"show", "GET", "", nil, 200, "", `{"id":"ID","username":"alice#7","name":"gift","kudos":301,"utilized":1` + shown},
		{"another's", "PATCH", ownerKey, `{"name":"x"}`, 403, horde.RCForbidden, ""},
		{"moderators are no exception", "PATCH", modKey, `{"name":"x"}`, 403, horde.RCForbidden, ""},
		{"unknown key", "PATCH", "who", `{"name":"x"}`, 401, horde.RCInvalidAPIKey, ""},
		{"nothing", "PATCH", aliceKey, `{}`, 400, horde.RCNoSharedKeyModSelected, ""},
		{"rename", "PATCH", aliceKey, `{"name":"new","kudos":0}`, 200, "", `{"id":"ID","username":"alice#7","name":"new","kudos":0,"utilized":1` + shown},
		{"end now", "PATCH", aliceKey, `{"expiry":0}`, 200, "", `{"id":"ID","username":"alice#7","name":"gift","kudos":301,"expiry":"Fri, 15 Jan 2027 08:00:00 -0000","utilized":1` + shown},
		{"ended", "PATCH", aliceKey, `{"expiry":-2}`, 200, "", `{"id":"ID","username":"alice#7","name":"gift","kudos":301,"expiry":"Wed, 13 Jan 2027 08:00:00 -0000","utilized":1` + shown},
		{"never ends", "PATCH", aliceKey, `{"expiry":-1}`, 200, "", `{"id":"ID","username":"alice#7","name":"gift","kudos":301,"utilized":1` + shown},
		{"delete another's", "DELETE", ownerKey, nil, 403, horde.RCForbidden, ""},
		{"delete", "DELETE", aliceKey, nil, 200, "", `{"message":"OK"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newCommunityHarness(t)
			k := f.addKey(nil)
			got := h.do(tt.method, "/api/v2/sharedkeys/"+k.ID.String(), tt.key, tt.body).wants(tt.status, tt.rc)
			if tt.want != "" {
				got.golden(strings.ReplaceAll(tt.want, "ID", k.ID.String()))
			}
		})
	}
	h, f := newCommunityHarness(t)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		h.do(method, "/api/v2/sharedkeys/x", aliceKey, nil).wants(401, horde.RCInvalidAPIKey)
		h.do(method, "/api/v2/sharedkeys/"+someID, aliceKey, nil).wants(401, horde.RCInvalidAPIKey)
	}
	k := f.addKey(nil)
	for _, method := range []string{"PATCH", "DELETE"} {
		if got := h.do(method, "/api/v2/sharedkeys/"+k.ID.String(), "", nil).wants(400, ""); got.errorsAt() != "apikey" {
			t.Errorf("%s: errors at %q, want apikey", method, got.errorsAt())
		}
	}
}

func TestSharedKeyIsCredential(t *testing.T) {
	h, f := newCommunityHarness(t)
	named, bare := f.addKey(nil), f.addKey(func(k *horde.SharedKey) { k.Name = "" })
	got := h.do("GET", "/api/v2/find_user", horde.APIKey(named.ID.String()), nil).wants(200, "").object()
	if got["username"] != "alice#7 (Shared Key: gift)" {
		t.Errorf("username %q", got["username"])
	}
	for _, private := range []string{"sharedkey_ids", "worker_ids", "vpn", "contact"} {
		if _, ok := got[private]; ok {
			t.Errorf("%s is shown to whom the key was given", private)
		}
	}
	got = h.do("GET", "/api/v2/find_user", horde.APIKey(bare.ID.String()), nil).wants(200, "").object()
	if got["username"] != "alice#7 (Shared Key)" {
		t.Errorf("username %q", got["username"])
	}
	h.do("GET", "/api/v2/find_user", someID, nil).wants(404, horde.RCUserNotFound)
	h.do("GET", "/api/v2/users/7", horde.APIKey(named.ID.String()), nil).wants(401, horde.RCInvalidAPIKey)
	h.do("PUT", "/api/v2/sharedkeys", horde.APIKey(named.ID.String()), nil).wants(401, horde.RCInvalidAPIKey)

	own := h.do("GET", "/api/v2/users/7", aliceKey, nil).wants(200, "")
	if want := `"sharedkey_ids":["` + named.ID.String() + `","` + bare.ID.String() + `"]`; !strings.Contains(own.body, want) {
		t.Errorf("got %s, want %s in it", own.body, want)
	}
}

func TestTransferToSharedKey(t *testing.T) {
	h, f := newCommunityHarness(t)
	open, over := f.addKey(nil), f.addKey(func(k *horde.SharedKey) { k.Expires = h.clock.now().Add(-time.Second) })
	send := func(key horde.APIKey, to string) answer {
		return h.do("POST", "/api/v2/kudos/transfer", key, map[string]any{"username": to, "amount": 20}, "Idempotency-Key", "once")
	}
	send(ownerKey, open.ID.String()).wants(200, "").golden(`{"transferred":20}`)
	if want := (KeyTransfer{From: 8, To: open.ID, Amount: horde.Whole(20), Key: "once"}); len(f.transfers) != 1 || f.transfers[0] != want {
		t.Errorf("transfers %+v, want %+v", f.transfers, want)
	}
	send(ownerKey, over.ID.String()).wants(400, horde.RCSharedKeyExpired)
	send(aliceKey, open.ID.String()).wants(400, horde.RCKudosTransferToSelf)
	send(ownerKey, someID).wants(400, horde.RCInvalidTargetUsername)
	send(horde.APIKey(open.ID.String()), "owner#8").wants(401, horde.RCInvalidAPIKey)
}
