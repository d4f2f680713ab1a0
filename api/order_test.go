package api

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"hordenode/internal/horde"
)

const (
	imagePath = "/api/v2/generate/async"
	textPath  = "/api/v2/generate/text/async"
)

func TestStyledImagePrompt(t *testing.T) {
	for _, tt := range []struct{ template, prompt, want string }{
		{"{p}, impasto###no blur, {np}", "X###organic", "X, impasto###no blur, organic"},
		{"{p} in oil###{np} blurry", "a cat###ugly", "a cat in oil###ugly blurry"},
		{"{p} in oil###{np} blurry", "a cat", "a cat in oil### blurry"},
		{"{p} in oil{np}", "a cat###ugly", "a cat in oil###ugly"},
		{"{p} in oil{np}", "a cat", "a cat in oil"},
		{"{p}{np}", "a###b###c", "ab###c"},
		{"{p} {np}", "{np}###{p}", "{np} ###{p}"},
		{`{p} {"json": 1} {x}`, "a", `a {"json": 1} {x}`},
	} {
		if got := styledImagePrompt(tt.template, tt.prompt); got != tt.want {
			t.Errorf("styledImagePrompt(%q, %q) = %q, want %q", tt.template, tt.prompt, got, tt.want)
		}
	}
}

func TestStyledTextPrompt(t *testing.T) {
	for _, tt := range []struct{ template, prompt, want string }{
		{"Tale: {p}", "a king", "Tale: a king"},
		{"{p} and {p}", "x", "x and x"},
		{"{p}{np}{other_1}!", "x", "x!"},
		{"{p}", "{p}{q}", "{p}{q}"},
		{`{"a": {p}} {`, "x", `{"a": x} {`},
		{"{{p}}", "x", "{x}"},
		{"none", "x", "none"},
	} {
		if got := styledTextPrompt(tt.template, tt.prompt); got != tt.want {
			t.Errorf("styledTextPrompt(%q, %q) = %q, want %q", tt.template, tt.prompt, got, tt.want)
		}
	}
}

// style puts a style into the fake ledger.
func (f *fakeCommunity) style(st horde.Style) horde.StyleID {
	st.ID = horde.StyleID{UUID: f.id()}
	f.styles[st.ID] = st
	return st.ID
}

func (f *fakeCommunity) sharedKey(k horde.SharedKey) horde.SharedKeyID {
	k.ID = horde.SharedKeyID{UUID: f.id()}
	f.keys[k.ID] = k
	return k.ID
}

func TestStyledImage(t *testing.T) {
	h, f := newCommunityHarness(t)
	id := f.style(horde.Style{
		Kind: horde.KindImage, Name: "oil", Owner: 10, Prompt: "{p} in oil###{np} blurry", Models: []string{"xl"},
		Params: []byte(`{"steps": 12, "cfg_scale": 4, "sampler_name": "k_dpm_2", "width": 1024, "karras": false}`),
	})
	h.do("POST", imagePath, aliceKey, with(m{
		"style": "cust#10::oil", "prompt": "a cat###ugly",
		"params": m{"n": 2, "width": 512, "height": 640, "steps": 99, "cfg_scale": 20, "hires_fix": true},
	})).wants(http.StatusAccepted, "")
	q := h.board.last(t)
	body, err := decodeImageBody(q.Body)
	if err != nil {
		t.Fatal(err)
	}
	p := body.Payload
	if p.Prompt != "a cat in oil###ugly blurry" || p.Steps != 12 || p.CFG != 4 || p.Sampler != "k_dpm_2" || p.Width != 1024 || p.Height != 640 || p.Karras || p.HiresFix {
		t.Errorf("payload %+v, want the style's params, and of the client's the height", p)
	}
	if len(q.Shape.Models) != 1 || q.Shape.Models[0] != "xl" || q.Slots != 2 || q.Style != id || !q.Collection.IsZero() || q.Payer != 7 {
		t.Errorf("request of %v, %d slots, style %v, payer %d, want xl, 2, %v, 7", q.Shape.Models, q.Slots, q.Style, q.Payer, id)
	}
	if q.Quote.Tax != horde.Whole(3) {
		t.Errorf("tax %v, want 3", q.Quote.Tax)
	}
}

func TestStyledText(t *testing.T) {
	h, f := newCommunityHarness(t)
	id := f.style(horde.Style{
		Kind: horde.KindText, Name: "tale", Owner: 10, Prompt: "Tale: {p}", Models: []string{"small"}, Params: []byte(`{"temperature": 0.7, "top_k": 30}`),
	})
	h.do("POST", textPath, aliceKey, m{"prompt": "a king", "style": id.String(), "params": m{"max_length": 300, "temperature": 2}}).wants(http.StatusAccepted, "")
	q := h.board.last(t)
	body, err := decodeTextBody(q.Body)
	if err != nil {
		t.Fatal(err)
	}
	p := body.Payload
	if *p.Prompt != "Tale: a king" || p.MaxLength != 80 || *p.Temperature != 0.7 || *p.TopK != 30 || q.Style != id || q.Shape.Models[0] != "small" {
		t.Errorf("payload %+v of %v, want the style's", p, q.Shape.Models)
	}
	if q.Quote.Tax != horde.Whole(3) {
		t.Errorf("tax %v, want 3: a style costs 2", q.Quote.Tax)
	}
}

func TestStyleLookUp(t *testing.T) {
	h, f := newCommunityHarness(t)
	mine := f.style(horde.Style{Kind: horde.KindImage, Name: "mine", Owner: 10, Prompt: "{p}{np}", Models: []string{"xl"}})
	text := f.style(horde.Style{Kind: horde.KindText, Name: "text", Owner: 10, Prompt: "{p}"})
	both := f.style(horde.Style{Kind: horde.KindText, Name: "both", Owner: 10, Prompt: "{p}"})
	image := f.style(horde.Style{Kind: horde.KindImage, Name: "both", Owner: 8, Prompt: "{p}{np}"})
	col := horde.StyleID{UUID: f.id()}
	f.collections[col] = horde.Collection{ID: col, Name: "set", Owner: 10, Styles: []horde.StyleID{{UUID: horde.UUID{9}}, mine}}
	empty := horde.StyleID{UUID: f.id()}
	f.collections[empty] = horde.Collection{ID: empty, Name: "empty", Owner: 10}
	for _, tt := range []struct {
		name, ref  string
		rc         horde.RC
		style      horde.StyleID
		collection horde.StyleID
	}{
		{"id", mine.String(), "", mine, horde.StyleID{}},
		{"name", "mine", "", mine, horde.StyleID{}},
		{"of an owner", "cust#10::mine", "", mine, horde.StyleID{}},
		{"of another owner", "owner#8::mine", horde.RCStyleNotFound, mine, horde.StyleID{}},
		{"of nobody", "ghost#99::mine", "", mine, horde.StyleID{}},
		{"prefixed", "style::mine", "", mine, horde.StyleID{}},
		{"as a collection", "collection::mine", horde.RCStyleNotFound, mine, horde.StyleID{}},
		{"this kind goes first", "both", "", image, horde.StyleID{}},
		{"another kind", "text", horde.RCBadRequest, text, horde.StyleID{}},
		{"another kind by id", both.String(), horde.RCBadRequest, both, horde.StyleID{}},
		{"collection", "set", "", mine, col},
		{"collection by id", col.String(), "", mine, col},
		{"collection as a style", "style::set", horde.RCStyleNotFound, mine, col},
		{"empty collection", "empty", horde.RCStyleNotFound, mine, col},
		{"unknown", "nothing", horde.RCStyleNotFound, mine, col},
		{"unknown id", horde.UUID{1}.String(), horde.RCStyleNotFound, mine, col},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.T = t
			a := h.do("POST", imagePath, aliceKey, with(m{"style": tt.ref}))
			if tt.rc != "" {
				status := http.StatusBadRequest
				if tt.rc == horde.RCStyleNotFound {
					status = http.StatusNotFound
				}
				a.wants(status, tt.rc)
				return
			}
			a.wants(http.StatusAccepted, "")
			if q := h.board.last(t); q.Style != tt.style || q.Collection != tt.collection {
				t.Errorf("style %v of collection %v, want %v of %v", q.Style, q.Collection, tt.style, tt.collection)
			}
		})
	}
}

// A style's own key pays, whoever asks and whatever the key's size limits are.
func TestStyleWithSharedKey(t *testing.T) {
	for _, tt := range []struct {
		name  string
		key   horde.SharedKey
		payer horde.UserID
		keyed bool
	}{
		{"valid", horde.SharedKey{Owner: 8, Kudos: horde.Whole(100), MaxImagePixels: 64, MaxImageSteps: 1, MaxTextTokens: 1, Styles: 1}, 8, true},
		{"empty", horde.SharedKey{Owner: 8, MaxImagePixels: -1, MaxImageSteps: -1, Styles: 1}, 7, false},
		{"expired", horde.SharedKey{Owner: 8, Kudos: horde.Unlimited, Expires: time.Unix(1, 0), Styles: 1}, 7, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newCommunityHarness(t)
			key := f.sharedKey(tt.key)
			img := f.style(horde.Style{Kind: horde.KindImage, Owner: 10, Prompt: "{p}{np}", SharedKey: refOf(key)})
			txt := f.style(horde.Style{Kind: horde.KindText, Owner: 10, Prompt: "{p}", SharedKey: refOf(key)})
			h.do("POST", imagePath, aliceKey, with(m{"style": img.String()})).wants(http.StatusAccepted, "")
			if q := h.board.last(t); q.Payer != tt.payer || (q.SharedKey == refOf(key)) != tt.keyed {
				t.Errorf("image: payer %d with key %v, want %d with key %v", q.Payer, q.SharedKey, tt.payer, tt.keyed)
			}
			h.do("POST", textPath, aliceKey, m{"prompt": "x", "style": txt.String()}).wants(http.StatusAccepted, "")
			if q := h.board.last(t); q.Payer != tt.payer || (q.SharedKey == refOf(key)) != tt.keyed {
				t.Errorf("text: payer %d with key %v, want %d with key %v", q.Payer, q.SharedKey, tt.payer, tt.keyed)
			}
		})
	}
}

func TestSharedKeys(t *testing.T) {
	free := func(k horde.SharedKey) horde.SharedKey {
		if k.MaxImagePixels == 0 {
			k.MaxImagePixels = -1
		}
		if k.MaxImageSteps == 0 {
			k.MaxImageSteps = -1
		}
		if k.MaxTextTokens == 0 {
			k.MaxTextTokens = -1
		}
		k.Owner = 7
		return k
	}
	past := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		name     string
		key      horde.SharedKey
		body     m
		text     bool
		status   int
		rc       horde.RC
		payer    horde.UserID
		priority int64
		keyed    bool
	}{
		{"enough", horde.SharedKey{Kudos: horde.Whole(50)}, m{}, false, 202, "", 7, 5000, true},
		{"no limit", horde.SharedKey{Kudos: horde.Unlimited}, m{}, false, 202, "", 7, 5000, true},
		{"empty", horde.SharedKey{}, m{}, false, 403, horde.RCSharedKeyEmpty, 0, 0, false},
		{"empty and expired", horde.SharedKey{Expires: past}, m{}, false, 403, horde.RCSharedKeyEmpty, 0, 0, false},
		{"empty, downgrade", horde.SharedKey{}, m{"allow_downgrade": true}, false, 202, "", 0, -50, false},
		{"expired", horde.SharedKey{Kudos: horde.Unlimited, Expires: past}, m{"allow_downgrade": true}, false, 403, horde.RCSharedKeyExpired, 0, 0, false},
		{"of a style", horde.SharedKey{Kudos: horde.Unlimited, Styles: 1}, m{}, false, 403, horde.RCSharedKeyAssignedStyles, 0, 0, false},
		{"too little", horde.SharedKey{Kudos: horde.Whole(2)}, m{}, false, 403, horde.RCSharedKeyInsufficientKudos, 0, 0, false},
		{"too little, dry run", horde.SharedKey{Kudos: horde.Whole(2)}, m{"dry_run": true}, false, 403, horde.RCSharedKeyInsufficientKudos, 0, 0, false},
		{"too little, downgrade", horde.SharedKey{Kudos: horde.Whole(2)}, m{"allow_downgrade": true}, false, 202, "", 7, -50, true},
		{"pixels", horde.SharedKey{Kudos: horde.Unlimited, MaxImagePixels: 512*512 - 1}, m{}, false, 400, horde.RCBadRequest, 0, 0, false},
		{"pixels fit", horde.SharedKey{Kudos: horde.Unlimited, MaxImagePixels: 512 * 512}, m{}, false, 202, "", 7, 5000, true},
		{"steps", horde.SharedKey{Kudos: horde.Unlimited, MaxImageSteps: 19}, m{}, false, 400, horde.RCBadRequest, 0, 0, false},
		{"steps fit", horde.SharedKey{Kudos: horde.Unlimited, MaxImageSteps: 20}, m{}, false, 202, "", 7, 5000, true},
		{"text", horde.SharedKey{Kudos: horde.Whole(50)}, m{}, true, 202, "", 7, 5000, true},
		{"text, too little", horde.SharedKey{Kudos: horde.Whole(1)}, m{}, true, 403, horde.RCSharedKeyInsufficientKudos, 0, 0, false},
		{"text, tokens", horde.SharedKey{Kudos: horde.Unlimited, MaxTextTokens: 79}, m{}, true, 400, horde.RCBadRequest, 0, 0, false},
		{"text, tokens fit", horde.SharedKey{Kudos: horde.Unlimited, MaxTextTokens: 80}, m{}, true, 202, "", 7, 5000, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newCommunityHarness(t)
			id := f.sharedKey(free(tt.key))
			path, body := imagePath, with(tt.body)
			if tt.text {
				path, body = textPath, m{"prompt": "x", "params": m{"max_length": 80}}
			}
			h.do("POST", path, horde.APIKey(id.String()), body).wants(tt.status, tt.rc)
			if tt.status >= 300 {
				if h.board.count() != 0 {
					t.Error("a refused request was accepted")
				}
				return
			}
			if q := h.board.last(t); q.Payer != tt.payer || q.Priority != tt.priority || (q.SharedKey == refOf(id)) != tt.keyed {
				t.Errorf("payer %d, priority %d, key %v, want %d, %d, %v", q.Payer, q.Priority, q.SharedKey, tt.payer, tt.priority, tt.keyed)
			}
		})
	}
	h, _ := newCommunityHarness(t)
	h.do("POST", imagePath, horde.APIKey(horde.UUID{7}.String()), with(nil)).wants(http.StatusUnauthorized, horde.RCInvalidAPIKey)
}

func TestPrompts(t *testing.T) {
	child := horde.Filter{ID: 1, Type: filterSubject, Regex: "zork", Replacement: "nice"}
	act := horde.Filter{ID: 2, Type: filterAct, Regex: "blorb"}
	for _, tt := range []struct {
		name   string
		body   m
		change func(*horde.User)
		nsfw   bool // the model
		text   bool
		want   string // the prompt that is made; "": refused
		rc     horde.RC
	}{
		{"harmless", m{"prompt": "a cat###dog"}, nil, false, false, "a cat###dog", ""},
		{"one point", m{"prompt": "a zork"}, nil, false, false, "a zork", ""},
		{"only in the negative", m{"prompt": "a cat###zork blorb"}, nil, false, false, "a cat###zork blorb", ""},
		{"replaced", m{"prompt": "a (zork:1.2), blorb###dog"}, nil, false, false, "a nice blorb###" + notWithYouth + ", dog", ""},
		{"replaced without negative", m{"prompt": "zork blorb"}, nil, false, false, "nice blorb###" + notWithYouth, ""},
		{"not to be replaced", m{"prompt": "zork blorb", "replacement_filter": false}, nil, false, false, "", horde.RCCorruptPrompt},
		{"a moderator's", m{"prompt": "zork blorb", "replacement_filter": false}, func(u *horde.User) { u.Roles = horde.RoleModerator }, false, false, "", horde.RCCorruptPrompt},
		{"in a class", m{"prompt": "zork blorb", "replacement_filter": false}, func(u *horde.User) { u.Roles = horde.RoleEducation }, false, false, "nice blorb###" + notWithYouth, ""},
		{"too long to replace", m{"prompt": "zork blorb " + long(maxReplaced)}, nil, false, false, "", horde.RCBadRequest},
		{"longest that is looked at", m{"prompt": long(maxScored)}, nil, false, false, long(maxScored), ""},
		{"too long to look at", m{"prompt": long(maxScored + 1)}, nil, false, false, "", horde.RCInvalidPromptSize},
		{"text is not scored", m{"prompt": "zork blorb"}, nil, false, true, "zork blorb", ""},
		{"youth and an NSFW model", m{"prompt": "1girl, young, boys###x"}, nil, true, false, "1adult woman adult adult man###" + notWithYouth + ", x", ""},
		{"filter 10 and an NSFW model", m{"prompt": "a zork"}, nil, true, false, "a nice###" + notWithYouth, ""},
		{"adults and an NSFW model", m{"prompt": "a woman"}, nil, true, false, "a woman", ""},
		{"youth and another model", m{"prompt": "a young girl"}, nil, false, false, "a young girl", ""},
		{"a flagged user", m{"prompt": "a small boy"}, func(u *horde.User) { u.Roles = horde.RoleFlagged }, false, false, "a adult adult man###" + notWithYouth, ""},
		{"a flagged user's text", m{"prompt": "my sons"}, func(u *horde.User) { u.Roles = horde.RoleFlagged }, false, true, "my adult man###" + notWithYouth, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newCommunityHarness(t)
			f.filters[1], f.filters[2] = child, act
			h.s.deps.NSFW = func(horde.Kind, string) bool { return tt.nsfw }
			if tt.change != nil {
				h.accounts.change(aliceKey, tt.change)
			}
			path, body := imagePath, with(tt.body)
			if tt.text {
				path, body = textPath, m{"prompt": tt.body["prompt"]}
			}
			a := h.do("POST", path, aliceKey, body)
			if tt.rc != "" {
				a.wants(http.StatusBadRequest, tt.rc)
				return
			}
			a.wants(http.StatusAccepted, "")
			var made struct {
				Payload struct {
					Prompt string `json:"prompt"`
				} `json:"payload"`
			}
			if err := json.Unmarshal(h.board.last(t).Body, &made); err != nil {
				t.Fatal(err)
			}
			if made.Payload.Prompt != tt.want {
				t.Errorf("prompt %.200q, want %.200q", made.Payload.Prompt, tt.want)
			}
		})
	}
}

// long is n characters in words of 15.
func long(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'w'
		if i%16 == 15 {
			b[i] = ' '
		}
	}
	return string(b)
}

// A corrupt prompt costs its user a suspicion and its address a timeout that grows.
func TestCorruptPromptTimeout(t *testing.T) {
	h, f := newCommunityHarness(t)
	f.filters[1] = horde.Filter{ID: 1, Type: filterSubject, Regex: "zork"}
	f.filters[2] = horde.Filter{ID: 2, Type: filterAct, Regex: "blorb"}
	suspected := 0
	h.s.deps.SuspectPrompt = func(_ context.Context, id horde.UserID) error {
		if suspected++; id != 7 {
			t.Errorf("user %d is suspected, want 7", id)
		}
		return nil
	}
	bad := with(m{"prompt": "zork blorb", "replacement_filter": false})
	for _, minutes := range []time.Duration{3, 9, 15} {
		h.do("POST", imagePath, aliceKey, bad).wants(http.StatusBadRequest, horde.RCCorruptPrompt)
		h.clock.advance(minutes*time.Minute - time.Second)
		h.do("POST", imagePath, aliceKey, with(nil)).wants(http.StatusForbidden, horde.RCTimeoutIP)
		h.do("POST", textPath, aliceKey, m{"prompt": "x"}).wants(http.StatusForbidden, horde.RCTimeoutIP)
		h.do("POST", "/api/v2/generate/pop", ownerKey, m{"name": "w", "models": []string{"none"}}).wants(http.StatusForbidden, horde.RCTimeoutIP)
		check := "/api/v2/generate/check/" + horde.UUID{1}.String()
		h.do("GET", check, "", nil).wants(http.StatusForbidden, horde.RCForbidden)
		h.do("GET", check, "", nil, "Client-Agent", "mine:1:me").wants(http.StatusNotFound, horde.RCRequestNotFound)
		h.clock.advance(time.Second)
		h.do("POST", imagePath, aliceKey, with(nil)).wants(http.StatusAccepted, "")
	}
	if suspected != 3 {
		t.Errorf("%d suspicions, want 3", suspected)
	}
	h.accounts.change(aliceKey, func(u *horde.User) { u.Roles = horde.RoleModerator })
	h.do("POST", imagePath, aliceKey, bad).wants(http.StatusBadRequest, horde.RCCorruptPrompt)
	h.do("POST", imagePath, aliceKey, with(nil)).wants(http.StatusAccepted, "")
	h.accounts.change(aliceKey, func(u *horde.User) { u.Roles = 0 })
	h.clock.advance(suspectFor + time.Minute)
	h.do("POST", imagePath, aliceKey, bad).wants(http.StatusBadRequest, horde.RCCorruptPrompt)
	h.clock.advance(3 * time.Minute)
	h.do("POST", imagePath, aliceKey, with(nil)).wants(http.StatusAccepted, "")
}

func TestReplacementsStayBounded(t *testing.T) {
	var filters []horde.Filter
	for id := range int64(10) { // each letter becomes 255
		filters = append(filters, horde.Filter{ID: id, Type: filterSubject, Regex: "[a-z]", Replacement: long(255)})
	}
	if got, ok, err := newPromptFilter(filters).replace(long(maxReplaced)); ok || err != nil {
		t.Errorf("replace made %d bytes, %v, want a refusal", len(got), err)
	}
}

func TestAboutAdults(t *testing.T) {
	for _, tt := range []struct {
		prompt string
		keep   bool
		want   string
	}{
		{"a young student", false, "a adult adult"},
		{"schoolgirls and Nina", false, "adult woman and adult woman"},
		{"boys, person, sons", false, "adult man, person, adult man"},
		{"1girl, 2boys", false, "1adult woman, 2adult man"},
		{"1girl, 1boy, girl", true, "1girl, 1boy, adult woman"},
		{"tinyhead lil TEENAGE", false, "adult adult adult"},
		{"a cat###young girl", false, "a cat###young girl"},
		{"smaller childhood", false, "adult adult"},
		{"childish kid", false, "adult adult"},
	} {
		if got := aboutAdults(tt.prompt, tt.keep); got != tt.want {
			t.Errorf("aboutAdults(%q, %v) = %q, want %q", tt.prompt, tt.keep, got, tt.want)
		}
	}
}
