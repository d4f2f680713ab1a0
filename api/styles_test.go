package api

import (
	"fmt"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

// addStyle gives the customizer a public image style.
func (f *fakeCommunity) addStyle(name string, edit func(*horde.Style)) horde.Style {
	st := horde.Style{
		ID: horde.StyleID{UUID: f.id()}, Kind: horde.KindImage, Name: name, Owner: 10, Prompt: "{p} in oil###{np}",
		Params: []byte(`{"steps":20,"n":2}`), Models: []string{"m1"}, Tags: []string{"oil"}, Public: true,
	}
	if edit != nil {
		edit(&st)
	}
	f.styles[st.ID] = st
	return st
}

func ofText(st *horde.Style) {
	st.Kind, st.Prompt, st.Params = horde.KindText, "Tale: {p}", []byte(`{"temperature":0.7,"max_length":100}`)
}

func TestStyleDetails(t *testing.T) {
	h, f := newCommunityHarness(t)
	k := f.addKey(nil)
	st := f.addStyle("oil", func(st *horde.Style) {
		st.Info, st.UseCount, st.SharedKey = "info", 3, refOf(k.ID)
		st.Examples = []horde.StyleExample{{ID: horde.StyleID{UUID: horde.UUID{5}}, URL: "https://x/1.png", Primary: true}}
		st.Params = []byte(`{"steps":20,"seed":"4","cfg_scale":7.5,"karras":false,"loras":[{"name":"a"}],"special":{"b":1},"width":128}`)
	})
	plain := f.addStyle("plain", func(st *horde.Style) { st.Params, st.Tags = nil, nil })
	tale := f.addStyle("tale", ofText)

	full := `{"id":"` + st.ID.String() + `","use_count":3,"creator":"cust#10","examples":[{"id":"05000000-0000-0000-0000-000000000000","url":"https://x/1.png","primary":true}],` +
		`"shared_key":{"id":"` + k.ID.String() + `","username":"alice#7","name":"gift","kudos":301,"utilized":1,"max_image_pixels":262144,"max_image_steps":30,"max_text_tokens":-1},` +
		`"name":"oil","info":"info","prompt":"{p} in oil###{np}","params":{"steps":20,"cfg_scale":7.5,"width":128,"karras":false,` +
		`"loras":[{"name":"a","model":1,"clip":1,"is_version":false}],"special":{"b":1}},"public":true,"nsfw":false,"tags":["oil"],"models":["m1"]}`
	bare := `{"id":"` + plain.ID.String() + `","use_count":0,"creator":"cust#10","examples":[],"name":"plain","prompt":"{p} in oil###{np}","public":true,"nsfw":false,"tags":[],"models":["m1"]}`
	text := `{"id":"` + tale.ID.String() + `","use_count":0,"creator":"cust#10","name":"tale","prompt":"Tale: {p}","params":{"temperature":0.7,"min_p":0,"smoothing_factor":0,"dynatemp_range":0,"dynatemp_exponent":1},` +
		`"public":true,"nsfw":false,"tags":["oil"],"models":["m1"]}`

	get := func(path string) answer { return h.do("GET", "/api/v2/styles/"+path, "", nil) }
	get("image/"+st.ID.String()).wants(200, "").golden(full)
	get("image/"+plain.ID.String()).wants(200, "").golden(bare)
	get("text/"+tale.ID.String()).wants(200, "").golden(text)
	get("image").wants(200, "").golden("[" + full + "," + bare + "]")
	get("text").wants(200, "").golden("[" + text + "]")
	get("image_by_name/oil").wants(200, "").golden(full)
	get("text_by_name/tale").wants(200, "").golden(text)

	get("image/"+tale.ID.String()).wants(400, horde.RCBadRequest)
	get("text_by_name/oil").wants(400, horde.RCBadRequest)
	get("image/"+someID).wants(404, horde.RCImageStyleNotFound)
	get("image/x").wants(404, horde.RCImageStyleNotFound)
	get("text/"+someID).wants(404, horde.RCTextStyleNotFound)
	get("image_by_name/none").wants(404, horde.RCStyleNotFound)
}

func TestListStyles(t *testing.T) {
	h, f := newCommunityHarness(t)
	f.addStyle("oil", nil)
	f.addStyle("private", func(st *horde.Style) { st.Public = false })
	get := func(query string) answer { return h.do("GET", "/api/v2/styles/image"+query, "", nil) }
	for query, want := range map[string]StyleQuery{
		"":                                     {Sort: "popular", Page: 1},
		"?page=0":                              {Sort: "popular", Page: 1},
		"?sort=age&page=3&tag=oil&model=x%20y": {Sort: "age", Page: 3, Tag: "oil", Model: "x y"},
	} {
		get(query).wants(200, "")
		if got := f.queries[len(f.queries)-1]; got != want {
			t.Errorf("%s asked for %+v, want %+v", query, got, want)
		}
	}
	if got := get("").body; strings.Contains(got, "private") {
		t.Errorf("a private style is listed: %s", got)
	}
	get("?sort=odd").wants(400, horde.RCBadRequest)
	if at := get("?page=x").wants(400, "").errorsAt(); at != "page" {
		t.Errorf("errors at %q, want page", at)
	}
}

func TestStyleNames(t *testing.T) {
	h, f := newCommunityHarness(t)
	by10 := f.addStyle("oil", nil)
	by8 := f.addStyle("oil", func(st *horde.Style) { st.Owner = 8 })
	for name, want := range map[string]horde.StyleID{
		"oil":                     by10.ID,
		"style::oil":              by10.ID,
		"owner%238::oil":          by8.ID,
		"8::oil":                  by8.ID,
		"style::owner%238::oil":   by8.ID,
		"owner%238::style::oil":   by8.ID,
		"nobody%23999::oil":       by10.ID,
		"nobody::oil":             by10.ID,
		"cust%2310::style::oil":   by10.ID,
		"renamed%238::style::oil": by8.ID,
	} {
		if got := h.do("GET", "/api/v2/styles/image_by_name/"+name, "", nil).wants(200, "").object()["id"]; got != want.String() {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"OIL", "alice%237::oil", "oil::", "::"} {
		h.do("GET", "/api/v2/styles/image_by_name/"+name, "", nil).wants(404, horde.RCStyleNotFound)
	}
}

func TestStylesOfUser(t *testing.T) {
	h, f := newCommunityHarness(t)
	open := f.addStyle("oil", nil)
	hidden := f.addStyle("tale", func(st *horde.Style) { ofText(st); st.Public = false })
	one := `{"type":"image","name":"cust#10::style::oil","id":"` + open.ID.String() + `"}`
	two := `{"type":"text","name":"cust#10::style::tale","id":"` + hidden.ID.String() + `"}`
	for key, want := range map[horde.APIKey]string{
		"": "[" + one + "]", aliceKey: "[" + one + "]", custKey: "[" + one + "," + two + "]", modKey: "[" + one + "," + two + "]",
	} {
		if got := h.do("GET", "/api/v2/users/10", key, nil).wants(200, "").body; !strings.Contains(got, `"styles":`+want+`,`) {
			t.Errorf("%s sees %s, want styles %s", key, got, want)
		}
	}
}

func TestCreateStyle(t *testing.T) {
	body := func(change string) string {
		return `{"name":"new","prompt":"{p}###{np}","models":["picky"],"params":{"steps":20}` + change + `}`
	}
	for _, tt := range []struct {
		name, path string
		key        horde.APIKey
		body       string
		status     int
		rc         horde.RC
		errors     string
	}{
		{"no key", "image", "", body(""), 400, "", "apikey"},
		{"unknown key", "image", "who", body(""), 401, horde.RCInvalidAPIKey, ""},
		{"plain user", "image", aliceKey, body(`,"name":"fuck"`), 403, horde.RCStylesRequiresCustomizer, ""},
		{"anonymous", "image", horde.AnonymousKey, body(""), 403, horde.RCStylesRequiresCustomizer, ""},
		{"no models, before the key", "image", "who", body(`,"models":[]`), 400, horde.RCBadRequest, ""},
		{"models not given", "image", custKey, `{"name":"new","prompt":"{p}###{np}"}`, 400, horde.RCBadRequest, ""},
		{"too many models", "image", custKey, body(`,"models":["a","b","c","d","e","f"]`), 400, horde.RCBadRequest, ""},
		{"too many tags", "image", custKey, body(`,"tags":["0","1","2","3","4","5","6","7","8","9","a"]`), 400, horde.RCBadRequest, ""},
		{"profane name", "image", custKey, body(`,"name":"fuck"`), 400, horde.RCBadRequest, ""},
		{"profane info", "image", custKey, body(`,"info":"fuck fuck fuck"`), 400, horde.RCBadRequest, ""},
		{"profane tag", "image", custKey, body(`,"tags":["fuck"]`), 400, horde.RCBadRequest, ""},
		{"unknown shared key", "image", custKey, body(`,"sharedkey":"` + someID + `"`), 400, horde.RCBadRequest, ""},
		{"empty shared key", "image", custKey, body(`,"sharedkey":"EMPTY"`), 400, horde.RCBadRequest, ""},
		{"taken name", "image", custKey, body(`,"name":"oil"`), 400, horde.RCBadRequest, ""},
		{"too many LoRAs", "image", custKey, body(`,"params":{"loras":[{"name":"0"},{"name":"1"},{"name":"2"},{"name":"3"},{"name":"4"},{"name":"5"}]}`), 400, horde.RCTooManyLoras, ""},
		{"hires on flux", "image", custKey, body(`,"models":["flux"],"params":{"hires_fix":true}`), 400, horde.RCHiResMismatch, ""},
		{"post-processor as model", "image", custKey, body(`,"models":["GFPGAN"]`), 400, horde.RCUnexpectedModelName, ""},
		{"special model", "image", custKey, body(`,"models":["horde_special::cust#10"]`), 403, horde.RCForbidden, ""},
		{"no placeholder", "image", custKey, body(`,"prompt":"{p} only"`), 400, horde.RCBadRequest, ""},
		{"NUL", "image", custKey, body(`,"prompt":"{p}{np}\u0000"`), 400, horde.RCNulByteInPayload, ""},
		{"too short", "image", custKey, body(`,"info":"short","prompt":"{p}{np}","name":"","sharedkey":"x"`), 400, "", "info name sharedkey"},
		{"bad params", "image", custKey, body(`,"params":{"steps":501,"sampler_name":"odd"}`), 400, "", "params.sampler_name params.steps"},
		{"no name", "image", custKey, `{"models":["a"]}`, 400, "", "name"},
		{"text: no placeholder", "text", custKey, body(`,"prompt":"tale"`), 400, horde.RCBadRequest, ""},
		{"text: too short", "text", custKey, body(`,"prompt":"no"`), 400, "", "prompt"},
		{"text: samplers", "text", custKey, body(`,"params":{"sampler_order":[1,2]}`), 400, horde.RCMissingFullSamplerOrder, ""},
		{"text: tokens", "text", custKey, body(`,"params":{"max_length":512,"max_context_length":80}`), 400, horde.RCTokenOverflow, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newCommunityHarness(t)
			f.addStyle("oil", nil)
			empty := f.addKey(func(k *horde.SharedKey) { k.Kudos = 0 })
			body := strings.ReplaceAll(tt.body, "EMPTY", empty.ID.String())
			got := h.do("POST", "/api/v2/styles/"+tt.path, tt.key, body).wants(tt.status, tt.rc)
			if at := got.errorsAt(); at != tt.errors {
				t.Errorf("errors at %q, want %q", at, tt.errors)
			}
			if len(f.styles) != 1 {
				t.Error("a style was made")
			}
		})
	}
}

func TestStyleIsMade(t *testing.T) {
	h, f := newCommunityHarness(t)
	k := f.addKey(nil) // another user's
	last := func() horde.Style { all := f.StylesOf(10); return all[len(all)-1] }

	got := h.do("POST", "/api/v2/styles/image", custKey, `{"name":" a<b ","info":"a <b>long</b> info","prompt":"{p}###{np}","models":["picky"],"tags":["x"],"nsfw":true,"public":false,`+
		`"params":{"steps":20,"seed":"7"},"sharedkey":"`+k.ID.String()+`"}`).wants(200, "")
	st := last()
	if st.Name != "a&lt;b" || st.Info != "a <b>long</b> info" || st.Public || !st.NSFW || st.SharedKey != refOf(k.ID) || string(st.Params) != `{"seed":"7","steps":20}` || st.Kind != horde.KindImage {
		t.Errorf("made %+v", st)
	}
	if !strings.HasPrefix(got.body, `{"id":"`+st.ID.String()+`","message":"OK","warnings":[{"code":"CfgScaleTooSmall","message":`) {
		t.Errorf("got %s", got.body)
	}
	h.do("POST", "/api/v2/styles/image", custKey, `{"name":"bare","models":["xx"]}`).wants(200, "").
		golden(`{"id":"` + last().ID.String() + `","message":"OK","warnings":[]}`)
	if st := last(); st.Prompt != "{p}{np}" || !st.Public || st.NSFW || st.Params != nil {
		t.Errorf("made %+v", st)
	}
	h.do("POST", "/api/v2/styles/text", custKey, `{"name":"tale","models":["xx"]}`).wants(200, "").
		golden(`{"id":"` + last().ID.String() + `","message":"OK"}`)
	if st := last(); st.Prompt != "{p}{np}" || st.Kind != horde.KindText {
		t.Errorf("made %+v", st)
	}
}

func TestChangeStyle(t *testing.T) {
	for _, tt := range []struct {
		name, method, path string
		key                horde.APIKey
		body               any
		status             int
		rc                 horde.RC
		errors             string
		check              func(horde.Style) bool // nil: unchanged
	}{
		{"no name", "PATCH", "image/IMAGE", custKey, `{"info":"x"}`, 400, "", "name", nil},
		{"no key", "PATCH", "image/IMAGE", "", `{"name":"oil"}`, 400, "", "apikey", nil},
		{"unknown key", "PATCH", "image/IMAGE", "who", `{"name":"oil"}`, 401, horde.RCInvalidAPIKey, "", nil},
		{"missing", "PATCH", "image/" + someID, custKey, `{"name":"oil"}`, 404, horde.RCStyleNotFound, "", nil},
		{"moderators may not", "PATCH", "image/IMAGE", modKey, `{"name":"oil"}`, 403, horde.RCForbidden, "", nil},
		{"other kind", "PATCH", "text/IMAGE", custKey, `{"info":"x"}`, 400, horde.RCBadRequest, "", nil},
		{"no models", "PATCH", "image/IMAGE", custKey, `{"name":"oil","models":[]}`, 400, horde.RCBadRequest, "", nil},
		{"taken", "PATCH", "image/IMAGE", custKey, `{"name":"tale"}`, 400, horde.RCBadRequest, "", nil},
		{"new models do not fit", "PATCH", "image/IMAGE", custKey, `{"name":"oil","models":["flux"],"params":{"hires_fix":true}}`, 400, horde.RCHiResMismatch, "", nil},
		{"prompt", "PATCH", "image/IMAGE", custKey, `{"name":"oil","prompt":"no placeholder"}`, 400, horde.RCBadRequest, "", nil},
		{"only the info", "PATCH", "image/IMAGE", custKey, `{"name":"oil","info":"x"}`, 200, "", "", func(st horde.Style) bool {
			return st.Info == "x" && st.Prompt == "{p} in oil###{np}" && st.Public && st.NSFW && len(st.Tags) == 1 && len(st.Params) > 5
		}},
		{"all", "PATCH", "image/IMAGE", custKey, `{"name":"new","prompt":"{np} {p}","models":["a","b"],"tags":[],"public":false,"nsfw":false,"params":{},"sharedkey":"KEY"}`, 200, "", "", func(st horde.Style) bool {
			return st.Name == "new" && st.Prompt == "{np} {p}" && len(st.Models) == 2 && len(st.Tags) == 0 && !st.Public && !st.NSFW && string(st.Params) == "{}" && !st.SharedKey.IsZero()
		}},
		{"delete another's", "DELETE", "image/IMAGE", aliceKey, nil, 403, horde.RCForbidden, "", nil},
		{"delete as anonymous", "DELETE", "image/" + someID, horde.AnonymousKey, nil, 403, horde.RCStylesAnonForbidden, "", nil},
		{"delete with unknown key", "DELETE", "image/IMAGE", "who", nil, 401, horde.RCInvalidAPIKey, "", nil},
		{"delete missing", "DELETE", "image/" + someID, custKey, nil, 404, horde.RCStyleNotFound, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newCommunityHarness(t)
			st := f.addStyle("oil", func(st *horde.Style) { st.NSFW = true })
			f.addStyle("tale", ofText)
			k := f.addKey(nil)
			body := tt.body
			if text, ok := body.(string); ok {
				body = strings.ReplaceAll(text, "KEY", k.ID.String())
			}
			got := h.do(tt.method, "/api/v2/styles/"+strings.ReplaceAll(tt.path, "IMAGE", st.ID.String()), tt.key, body).wants(tt.status, tt.rc)
			now := f.styles[st.ID]
			if tt.check == nil {
				if at := got.errorsAt(); at != tt.errors {
					t.Errorf("errors at %q, want %q", at, tt.errors)
				}
				if fmt.Sprint(now) != fmt.Sprint(st) {
					t.Errorf("changed to %+v", now)
				}
				return
			}
			got.golden(`{"id":"` + st.ID.String() + `","message":"OK","warnings":[]}`)
			if !tt.check(now) {
				t.Errorf("changed to %+v", now)
			}
		})
	}
	h, f := newCommunityHarness(t)
	st := f.addStyle("tale", ofText)
	h.do("PATCH", "/api/v2/styles/text/"+st.ID.String(), custKey, `{"info":"x"}`).wants(200, "").golden(`{"id":"` + st.ID.String() + `","message":"OK"}`)
	h.do("DELETE", "/api/v2/styles/image/"+st.ID.String(), modKey, nil).wants(200, "").golden(`{"message":"OK"}`)
	if len(f.styles) != 0 {
		t.Error("the style is still there")
	}
}

func TestStyleExamples(t *testing.T) {
	h, f := newCommunityHarness(t)
	st, tale := f.addStyle("oil", nil), f.addStyle("tale", ofText)
	path := "/api/v2/styles/image/" + st.ID.String() + "/example"
	const emptyWarnings = `","message":"OK","warnings":[{"code":null,"message":null}]}`

	got := h.do("POST", path, custKey, `{"url":"https://x/1.png","primary":true}`).wants(200, "")
	one := f.styles[st.ID].Examples[0]
	got.golden(`{"id":"` + one.ID.String() + emptyWarnings)
	for _, tt := range []struct {
		name, path string
		key        horde.APIKey
		body       string
		status     int
		rc         horde.RC
		errors     string
	}{
		{"no url", path, custKey, `{"primary":true}`, 400, "", "url"},
		{"no primary", path, custKey, `{"url":"https://x/2.png"}`, 400, "", "primary"},
		{"not https, before the key", path, "who", `{"url":"http://x/2.png","primary":true}`, 400, horde.RCBadRequest, ""},
		{"unknown key", path, "who", `{"url":"https://x/2.png","primary":true}`, 401, horde.RCInvalidAPIKey, ""},
		{"no style", strings.ReplaceAll(path, st.ID.String(), someID), custKey, `{"url":"https://x/2.png","primary":true}`, 404, horde.RCStyleNotFound, ""},
		{"another's", path, aliceKey, `{"url":"https://x/2.png","primary":true}`, 403, horde.RCForbidden, ""},
		{"of a text style", strings.ReplaceAll(path, st.ID.String(), tale.ID.String()), custKey, `{"url":"https://x/2.png","primary":true}`, 400, horde.RCBadRequest, ""},
	} {
		if got := h.do("POST", tt.path, tt.key, tt.body).wants(tt.status, tt.rc); got.errorsAt() != tt.errors {
			t.Errorf("%s: errors at %q, want %q", tt.name, got.errorsAt(), tt.errors)
		}
	}

	h.do("PATCH", path+"/"+one.ID.String(), custKey, `{"primary":false}`).wants(200, "").golden(`{"id":"` + one.ID.String() + emptyWarnings)
	if e := f.styles[st.ID].Examples[0]; e.URL != "https://x/1.png" || e.Primary {
		t.Errorf("changed to %+v", e)
	}
	h.do("PATCH", path+"/"+one.ID.String(), custKey, `{"url":"http://x"}`).wants(400, horde.RCBadRequest)
	for _, method := range []string{"PATCH", "DELETE"} {
		h.do(method, path+"/"+someID, "who", `{"url":"https://x"}`).wants(404, horde.RCStyleExampleNotFound)
		h.do(method, path+"/x", custKey, `{"url":"https://x"}`).wants(404, horde.RCStyleExampleNotFound)
		h.do(method, path+"/"+one.ID.String(), "who", `{"url":"https://x"}`).wants(401, horde.RCInvalidAPIKey)
		h.do(method, path+"/"+one.ID.String(), aliceKey, `{"url":"https://x"}`).wants(403, horde.RCForbidden)
		if at := h.do(method, path+"/"+one.ID.String(), "", `{"url":"https://x"}`).wants(400, "").errorsAt(); at != "apikey" {
			t.Errorf("%s: errors at %q, want apikey", method, at)
		}
	}
	h.do("DELETE", path+"/"+one.ID.String(), custKey, nil).wants(200, "").golden(`{"message":"OK"}`)
	if n := len(f.styles[st.ID].Examples); n != 0 {
		t.Errorf("%d examples are left", n)
	}
}
