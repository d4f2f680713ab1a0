package api

import (
	"slices"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

func TestCollections(t *testing.T) {
	h, f := newCommunityHarness(t)
	oil, ink := f.addStyle("oil", nil), f.addStyle("ink", func(st *horde.Style) { st.Owner, st.Public = 8, false })
	tale := f.addStyle("tale", ofText)

	got := h.do("POST", "/api/v2/collections", aliceKey, `{"name":"both","info":"<b>x</b>","styles":["oil","`+ink.ID.String()+`"]}`).wants(200, "")
	c := oldest(f, byUUID(f.collections))[0]
	got.golden(`{"id":"` + c.ID.String() + `","message":"OK","warnings":[]}`)
	if !c.Public || c.Owner != 7 || c.Kind != horde.KindImage || c.Info != "<b>x</b>" {
		t.Errorf("made %+v", c)
	}
	shown := `{"id":"` + c.ID.String() + `","name":"both","type":"image","info":null,"public":true,"styles":[{"name":"cust#10::style::oil","id":"` + oil.ID.String() +
		`"},{"name":"owner#8::style::ink","id":"` + ink.ID.String() + `"}],"use_count":0}`
	get := func(path string) answer { return h.do("GET", "/api/v2/"+path, "", nil) }
	get("collections").wants(200, "").golden("[" + shown + "]")
	get("collections?type=image&sort=age&page=2").wants(200, "").golden("[" + shown + "]")
	if got, want := f.queries[len(f.queries)-1], (StyleQuery{Sort: "age", Page: 2}); got != want {
		t.Errorf("asked for %+v, want %+v", got, want)
	}
	get("collections?type=text").wants(200, "").golden("[]")
	get("collections?type=odd").wants(400, horde.RCBadRequest)
	get("collections?sort=odd").wants(400, horde.RCBadRequest)
	get("collections/"+c.ID.String()).wants(200, "").golden(shown)
	for _, name := range []string{"both", "collection::both", "alice%237::both", "collection::alice%237::both"} {
		get("collection_by_name/"+name).wants(200, "").golden(shown)
	}
	for _, path := range []string{"collections/x", "collections/" + someID, "collections/" + oil.ID.String(), "collection_by_name/oil", "collection_by_name/owner%238::both"} {
		get(path).wants(404, horde.RCCollectionNotFound)
	}

	patch := func(key horde.APIKey, body string) answer {
		return h.do("PATCH", "/api/v2/collections/"+c.ID.String(), key, body)
	}
	patch(aliceKey, `{"public":false}`).wants(200, "").golden(`{"id":"` + c.ID.String() + `","message":"OK","warnings":[]}`)
	if now := f.collections[c.ID]; now.Public || now.Name != "both" || !slices.Equal(now.Styles, c.Styles) {
		t.Errorf("changed to %+v", now)
	}
	patch(aliceKey, `{"name":"one","styles":["ink"]}`).wants(200, "")
	if now := f.collections[c.ID]; now.Name != "one" || !slices.Equal(now.Styles, []horde.StyleID{ink.ID}) {
		t.Errorf("changed to %+v", now)
	}
	patch(aliceKey, `{"styles":["none"]}`).wants(400, horde.RCBadRequest)
	patch(aliceKey, `{"styles":[]}`).wants(400, horde.RCBadRequest)
	patch(aliceKey, `{"styles":["tale"]}`).wants(400, horde.RCBadRequest)
	patch(aliceKey, `{"name":"fuck"}`).wants(400, horde.RCBadRequest)
	patch(modKey, `{"name":"x"}`).wants(403, horde.RCForbidden)
	patch("who", `{"name":"x"}`).wants(401, horde.RCInvalidAPIKey)

	for _, tt := range []struct {
		name   string
		key    horde.APIKey
		body   string
		status int
		rc     horde.RC
		errors string
	}{
		{"no key", "", `{"name":"x","styles":["oil"]}`, 400, "", "apikey"},
		{"no name", aliceKey, `{"styles":["oil"]}`, 400, "", "name"},
		{"no styles", aliceKey, `{"name":"x"}`, 400, "", "styles"},
		{"empty name", aliceKey, `{"name":"","styles":["oil"]}`, 400, "", "name"},
		{"empty styles, before the key", "who", `{"name":"x","styles":[]}`, 400, horde.RCBadRequest, ""},
		{"unknown key", "who", `{"name":"x","styles":["oil"]}`, 401, horde.RCInvalidAPIKey, ""},
		{"anonymous", horde.AnonymousKey, `{"name":"x","styles":["oil"]}`, 403, horde.RCStylesAnonForbidden, ""},
		{"unknown style", aliceKey, `{"name":"x","styles":["oil","none"]}`, 400, horde.RCBadRequest, ""},
		{"mixed", aliceKey, `{"name":"x","styles":["oil","` + tale.ID.String() + `"]}`, 400, horde.RCBadRequest, ""},
		{"profane", aliceKey, `{"name":"fuck","styles":["oil"]}`, 400, horde.RCBadRequest, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := h.do("POST", "/api/v2/collections", tt.key, tt.body).wants(tt.status, tt.rc); got.errorsAt() != tt.errors {
				t.Errorf("errors at %q, want %q", got.errorsAt(), tt.errors)
			}
		})
	}

	remove := func(key horde.APIKey) answer {
		return h.do("DELETE", "/api/v2/collections/"+c.ID.String(), key, nil)
	}
	remove("who").wants(401, horde.RCInvalidAPIKey)
	remove(ownerKey).wants(403, horde.RCForbidden)
	remove(aliceKey).wants(200, "").golden(`{"message":"OK"}`)
	remove(aliceKey).wants(404, horde.RCCollectionNotFound)
}

// What was made at another node a moment ago is found: a miss is confirmed first.
func TestCommunityMissIsConfirmed(t *testing.T) {
	for _, path := range []string{
		"teams/" + someID, "sharedkeys/" + someID, "styles/image/" + someID, "styles/image_by_name/x", "collections/" + someID,
		"collection_by_name/x", "workers/messages/" + someID,
	} {
		t.Run(strings.Split(path, "/")[0], func(t *testing.T) {
			h, _ := newCommunityHarness(t)
			h.do("GET", "/api/v2/"+path, "", nil)
			if h.accounts.syncs != 1 {
				t.Errorf("caught up with the others %d times, want once", h.accounts.syncs)
			}
			h.accounts.syncErr = horde.RCUnavailable
			h.do("GET", "/api/v2/"+path, "", nil).wants(503, horde.RCUnavailable)
		})
	}
}
