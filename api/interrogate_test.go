package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

// formBoard is a board with one alchemy request: the last that was accepted.
type formBoard struct {
	*fakeBoard
	forms     []horde.FormStatus
	results   map[horde.JobID][]byte
	cancelled bool
}

// newFormHarness is a harness whose board knows alchemy.
func newFormHarness(t *testing.T, change ...func(*Config)) (*harness, *formBoard) {
	t.Helper()
	h := newHarness(t, change...)
	b := &formBoard{fakeBoard: h.board, results: map[horde.JobID][]byte{}}
	h.s.deps.Board = b
	return h, b
}

func (b *formBoard) Accept(ctx context.Context, q horde.Request) (horde.Acceptance, error) {
	b.forms, b.cancelled = nil, false
	for _, f := range q.Forms {
		b.forms = append(b.forms, horde.FormStatus{Name: f.Name, State: horde.FormWaiting})
	}
	return b.fakeBoard.Accept(ctx, q)
}

func (b *formBoard) Status(ctx context.Context, id horde.RequestID, generations bool) (horde.Status, error) {
	st, err := b.fakeBoard.Status(ctx, id, false)
	st.Forms = b.forms
	if generations {
		for id, raw := range b.results {
			st.Generations = append(st.Generations, horde.Generation{ID: id, Result: raw})
		}
	}
	return st, err
}

func (b *formBoard) Cancel(ctx context.Context, id horde.RequestID) (horde.Status, error) {
	st, err := b.Status(ctx, id, true)
	st.Forms = append([]horde.FormStatus(nil), b.forms...)
	for i := range b.forms {
		if b.forms[i].State != horde.FormDone {
			b.forms[i].State = horde.FormCancelled
		}
	}
	return st, err
}

// Pop grants all waiting forms, the last by itself, as if it were of another request.
func (b *formBoard) Pop(ctx context.Context, p horde.Pop) (horde.PopResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.takeErr(); err != nil {
		return horde.PopResult{}, err
	}
	b.pops = append(b.pops, p)
	res := horde.PopResult{Worker: horde.Worker{Name: p.Name}, Skipped: b.skipped}
	for i := range b.forms {
		f := &b.forms[i]
		if f.State != horde.FormWaiting {
			continue
		}
		q := b.requests[len(b.requests)-1]
		id, err := horde.NewJobID(q.ID.Home(), rand.Reader)
		if err != nil {
			return res, err
		}
		f.State, f.Job = horde.FormProcessing, id
		if res.Grant == nil {
			res.Grant = &horde.Grant{Request: q.ID, Kind: horde.KindAlchemy, Body: q.Body}
		}
		g := res.Grant
		if i == len(b.forms)-1 && i > 0 {
			g = &horde.Grant{Request: q.ID, Kind: horde.KindAlchemy, Body: q.Body}
			res.More = []*horde.Grant{g}
		}
		g.Jobs, g.Slots = append(g.Jobs, id), append(g.Slots, i)
	}
	return res, nil
}

func (b *formBoard) Submit(_ context.Context, s horde.Submission) (horde.Receipt, error) {
	b.submits = append(b.submits, s)
	for i := range b.forms {
		f := &b.forms[i]
		switch {
		case f.Job != s.Job:
		case f.State != horde.FormProcessing:
			return horde.Receipt{}, horde.Refuse(horde.RCDuplicateGen, "Delivered already.")
		case s.State == "faulted":
			f.State = horde.FormWaiting
			return horde.Receipt{}, nil
		default:
			f.State, b.results[s.Job] = horde.FormDone, s.Result
			return horde.Receipt{Reward: 3}, nil
		}
	}
	return horde.Receipt{}, horde.RCInvalidJobID
}

const interrogatePath = "/api/v2/interrogate"

func TestInterrogateFromRequestToResult(t *testing.T) {
	h, b := newFormHarness(t)
	source := pngOf(t, 600, 64, false)
	id := h.do("POST", interrogatePath+"/async", aliceKey, m{
		"source_image": source, "slow_workers": false, "trusted_workers": 1,
		"forms": []m{{"name": "caption", "payload": m{"top_p": 0.5, "deep": m{"a": nil}}}, {"name": "nsfw", "payload": m{}}, {"name": "GFPGAN"}},
	}).wants(202, "").object()["id"].(string)

	q := b.last(t)
	if q.ID.String() != id || q.Kind != horde.KindAlchemy || q.Slots != 3 || q.Payer != 7 || q.Priority != 5000 || q.TTL != 180 || q.Things != 1 || q.Quote != (horde.Quote{}) {
		t.Errorf("request = %+v", q)
	}
	if s := q.Shape; s.Kind != horde.KindAlchemy || s.Tiles != 2 || s.SlowOK || !s.TrustedOnly || strings.Join(s.Models, " ") != "GFPGAN caption nsfw" {
		t.Errorf("shape = %+v", s)
	}
	if f := q.Forms; f[0].Price != 100 || f[1].Price != 100 || f[2].Price != 600 {
		t.Errorf("prices = %v, want 1, 1 and 3 for each of two tiles", f)
	}
	status := func() answer { return h.do("GET", interrogatePath+"/status/"+id, "", nil).wants(200, "") }
	status().golden(`{"state":"waiting","forms":[{"form":"caption","state":"waiting"},{"form":"nsfw","state":"waiting"},{"form":"GFPGAN","state":"waiting"}]}`)

	var popped struct {
		Forms   []map[string]any
		Skipped map[string]int
	}
	a := h.do("POST", interrogatePath+"/pop", ownerKey, m{"name": "al", "forms": []string{"caption", "nsfw", "GFPGAN"}, "amount": 3, "threads": 2}).wants(200, "")
	if err := json.Unmarshal([]byte(a.body), &popped); err != nil || len(popped.Forms) != 3 || popped.Skipped == nil {
		t.Fatalf("pop = %s, %v", a.body, err)
	}
	if p := b.pops[0]; p.Kind != horde.KindAlchemy || p.Amount != 3 || p.Caps.MaxTiles != 80 || p.Caps.NSFW || p.Caps.Threads != 2 || len(p.Caps.Models) != 3 {
		t.Errorf("Pop got %+v", p)
	}
	caption, nsfw, fixer := popped.Forms[0], popped.Forms[1], popped.Forms[2]
	if len(caption) != 4 || len(nsfw) != 3 || len(fixer) != 4 { // members
		t.Errorf("popped forms have other members than expected: %s", a.body)
	}
	if !strings.Contains(a.body, `"payload":{"deep":{"a":null},"top_p":0.5}`) {
		t.Errorf("payload is not as it was sent: %s", a.body)
	}
	if r := h.do("GET", pathOf(t, caption["source_image"].(string)), "", nil).wants(200, ""); base64.StdEncoding.EncodeToString([]byte(r.body)) != source {
		t.Errorf("the alchemist gets another image of %d bytes", len(r.body))
	}
	h.do("PUT", pathOf(t, fixer["r2_upload"].(string)), "", imageOf(t, tinyWebP)).wants(200, "")

	submit := func(form map[string]any, body string) answer {
		return h.do("POST", interrogatePath+"/submit", ownerKey, `{"id":"`+form["id"].(string)+`",`+body+`}`)
	}
	submit(caption, `"result": {"z": [1, 2.50, null], "caption": "a <b> & c"}, "state": "censored"`).wants(200, "").golden(`{"reward":3}`)
	submit(caption, `"result":{"caption":"again"}`).wants(400, horde.RCDuplicateGen)
	submit(nsfw, `"result":{},"state":"faulted"`).wants(200, "").golden(`{"reward":0}`)
	status().golden(`{"state":"processing","forms":[{"form":"caption","state":"done","result":{"z":[1,2.50,null],"caption":"a <b> & c"}},{"form":"nsfw","state":"waiting"},{"form":"GFPGAN","state":"processing"}]}`)
	submit(fixer, `"result":{"GFPGAN":"R2"}`).wants(200, "")

	var st struct {
		Forms []struct{ Result map[string]string }
	}
	h.do("DELETE", interrogatePath+"/status/"+id, "", nil).wants(200, "")
	if err := json.Unmarshal([]byte(strings.Replace(status().body, `[1,2.50,null]`, `""`, 1)), &st); err != nil {
		t.Fatal(err)
	}
	if got := h.do("GET", pathOf(t, st.Forms[2].Result["GFPGAN"]), "", nil).wants(200, "").body; got != string(imageOf(t, tinyWebP)) {
		t.Errorf("the client gets %q", got)
	}
	if !strings.HasPrefix(status().body, `{"state":"partial","forms":[`) || !strings.Contains(status().body, `{"form":"nsfw","state":"cancelled"}`) {
		t.Errorf("status after the cancellation = %s", status().body)
	}
}

// pathOf is an address of this node without its host.
func pathOf(t *testing.T, address string) string {
	t.Helper()
	_, path, ok := strings.Cut(strings.TrimPrefix(address, "http://"), "/")
	if !ok {
		t.Fatalf("%q is no address", address)
	}
	return "/" + path
}

func TestInterrogateRefusals(t *testing.T) {
	source := pngOf(t, 8, 8, false)
	good := func(change m) m {
		q := m{"source_image": source, "forms": []m{{"name": "caption"}}}
		for k, v := range change {
			q[k] = v
		}
		return q
	}
	eleven := make([]m, 11)
	for i := range eleven {
		eleven[i] = m{"name": "caption"}
	}
	for _, tt := range []struct {
		name  string
		body  any
		key   horde.APIKey
		setup func(*harness)
		want  int
		rc    horde.RC
		at    string
	}{
		{"good", good(nil), aliceKey, nil, 202, "", ""},
		{"anonymous", good(nil), horde.AnonymousKey, nil, 202, "", ""},
		{"no forms", good(m{"forms": []m{}}), aliceKey, nil, 202, "", ""},
		{"no image", m{"forms": []m{}}, aliceKey, nil, 400, "", "source_image"},
		{"image is null", good(m{"source_image": nil}), aliceKey, nil, 400, "", "source_image"},
		{"unknown form", good(m{"forms": []m{{"name": "annotation"}}}), aliceKey, nil, 400, "", "forms.0.name"},
		{"null payload", good(m{"forms": []m{{"name": "caption", "payload": nil}}}), aliceKey, nil, 400, "", "forms.0.payload"},
		{"nameless form", good(m{"forms": []m{{}}}), aliceKey, nil, 400, "", "forms.0.name"},
		{"words for a flag", good(m{"slow_workers": "x"}), aliceKey, nil, 400, "", "slow_workers"},
		{"short webhook", good(m{"webhook": "short"}), aliceKey, nil, 400, "", "webhook"},
		{"plain webhook", good(m{"webhook": "http://127.0.0.1/x"}), aliceKey, nil, 400, horde.RCBadRequest, ""},
		{"no key", good(nil), "", nil, 400, "", "apikey"},
		{"unknown key", good(nil), "nobody", nil, 401, horde.RCInvalidAPIKey, ""},
		{"maintenance before key", good(nil), "nobody", func(h *harness) { h.accounts.modes.Maintenance = true }, 400, horde.RCMaintenanceMode, ""},
		{"no image at all", good(m{"source_image": "AAAA"}), aliceKey, nil, 400, horde.RCImageValidationFailed, ""},
		{"300 tiles", good(m{"source_image": pngOf(t, 512*300, 1, false)}), aliceKey, nil, 400, horde.RCSourceImageResolutionExceeded, ""},
		{"too many forms", good(m{"forms": eleven}), aliceKey, func(h *harness) {
			h.accounts.change(aliceKey, func(u *horde.User) { u.Concurrency = 1 })
		}, 429, horde.RCTooManyPrompts, ""},
		{"too many with those that wait", good(nil), aliceKey, func(h *harness) { h.board.waiting[7] = 300 }, 429, horde.RCTooManyPrompts, ""},
		{"deleted, which nobody asks", good(nil), aliceKey, func(h *harness) {
			h.accounts.change(aliceKey, func(u *horde.User) { u.Roles = horde.RoleDeleted | horde.RoleFlagged })
		}, 202, "", ""},
		{"NUL", good(m{"forms": []m{{"name": "caption", "payload": m{"x": "\x00"}}}}), aliceKey, nil, 400, horde.RCNulByteInPayload, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := newFormHarness(t)
			h.T = t
			if tt.setup != nil {
				tt.setup(h)
			}
			a := h.do("POST", interrogatePath+"/async", tt.key, tt.body).wants(tt.want, tt.rc)
			if got := a.errorsAt(); got != tt.at {
				t.Errorf("errors at %q, want %q", got, tt.at)
			}
			if h.board.count() > 0 != (tt.want == 202) {
				t.Errorf("%d requests accepted", h.board.count())
			}
		})
	}
}

func TestInterrogatePopAndSubmitRefusals(t *testing.T) {
	job := "00000000-0000-4000-8000-000000000001"
	for _, tt := range []struct {
		name, path string
		body       any
		key        horde.APIKey
		want       int
		rc         horde.RC
		at         string
	}{
		{"nothing to do", "/pop", m{"name": "al", "forms": []string{"caption"}}, ownerKey, 200, "", ""},
		{"no forms and a negative amount", "/pop", m{"name": "al", "amount": -3}, ownerKey, 200, "", ""},
		{"no name", "/pop", m{"forms": []string{"caption"}}, ownerKey, 400, "", "name"},
		{"unknown form", "/pop", m{"name": "al", "forms": []string{"x"}}, ownerKey, 400, "", "forms.0"},
		{"no threads", "/pop", m{"name": "al", "threads": 0}, ownerKey, 400, "", "threads"},
		{"257 tiles", "/pop", m{"name": "al", "max_tiles": 257}, ownerKey, 400, "", "max_tiles"},
		{"priority without #", "/pop", m{"name": "al", "priority_usernames": []string{"nohash"}}, "nobody", 400, horde.RCBadRequest, ""},
		{"priority without number", "/pop", m{"name": "al", "priority_usernames": []string{"trail#"}}, ownerKey, 400, horde.RCBadRequest, ""},
		{"no key", "/pop", m{"name": "al"}, "", 400, "", "apikey"},
		{"unknown key", "/pop", m{"name": "al"}, "nobody", 401, horde.RCInvalidAPIKey, ""},
		{"anonymous", "/pop", m{"name": "al"}, horde.AnonymousKey, 403, horde.RCAnonForbiddenWorker, ""},
		{"unknown job", "/submit", m{"id": job, "result": m{}}, ownerKey, 404, horde.RCInvalidJobID, ""},
		{"no UUID", "/submit", m{"id": "xx", "result": m{}}, ownerKey, 404, horde.RCInvalidJobID, ""},
		{"no id", "/submit", m{"result": m{}}, ownerKey, 400, "", "id"},
		{"no result", "/submit", m{"id": "xx", "state": "faulted"}, ownerKey, 400, "", "result"},
		{"text for a result", "/submit", m{"id": "xx", "result": "text"}, ownerKey, 400, "", "result"},
		{"null for a result", "/submit", m{"id": "xx", "result": nil}, ownerKey, 400, "", "result"},
		{"NUL in a result", "/submit", m{"id": job, "result": m{"caption": "\x00"}}, ownerKey, 400, horde.RCNulByteInPayload, ""},
		{"submit without key", "/submit", m{"id": "xx", "result": m{}}, "", 400, "", "apikey"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, b := newFormHarness(t)
			h.T = t
			b.skipped = map[string]int{"untrusted": 2, "maintenance": 1, "bridge_version": 0}
			a := h.do("POST", interrogatePath+tt.path, tt.key, tt.body).wants(tt.want, tt.rc)
			if got := a.errorsAt(); got != tt.at {
				t.Errorf("errors at %q, want %q", got, tt.at)
			}
			if tt.want == 200 {
				a.golden(`{"forms":null,"skipped":{"untrusted":2}}`)
			}
		})
	}
}

func TestInterrogateStatusOfNothing(t *testing.T) {
	h, _ := newFormHarness(t)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		h.do(method, interrogatePath+"/status/x", "", nil).wants(404, horde.RCRequestNotFound)
		h.do(method, interrogatePath+"/status/00000000-0000-4000-8000-000000000001", "", nil).wants(404, horde.RCRequestNotFound)
	}
	text := h.do("POST", "/api/v2/generate/text/async", aliceKey, m{"prompt": "x"}).wants(202, "").object()["id"].(string)
	h.do("GET", interrogatePath+"/status/"+text, "", nil).wants(404, horde.RCRequestNotFound)
	none := h.do("POST", interrogatePath+"/async", aliceKey, m{"source_image": pngOf(t, 8, 8, false)}).wants(202, "").object()["id"].(string)
	h.do("GET", interrogatePath+"/status/"+none, "", nil).wants(200, "").golden(`{"state":"faulted","forms":[]}`)
}

func TestOverallState(t *testing.T) {
	const w, p, d, f, c = horde.FormWaiting, horde.FormProcessing, horde.FormDone, horde.FormFaulted, horde.FormCancelled
	for _, tt := range []struct {
		forms []horde.FormState
		want  string
	}{
		{nil, "faulted"},
		{[]horde.FormState{f, f}, "faulted"},
		{[]horde.FormState{d, d}, "done"},
		{[]horde.FormState{d, w, p, f}, "processing"},
		{[]horde.FormState{d, w, f}, "waiting"},
		{[]horde.FormState{d, f}, "partial"},
		{[]horde.FormState{c, c}, "partial"},
		{[]horde.FormState{d, c}, "partial"},
	} {
		var forms []horde.FormStatus
		for _, s := range tt.forms {
			forms = append(forms, horde.FormStatus{State: s})
		}
		if got := overall(forms); got != tt.want {
			t.Errorf("overall(%v) = %q, want %q", tt.forms, got, tt.want)
		}
	}
}

func TestShownResult(t *testing.T) {
	address := func() string { return "http://x/?a=1&b=2" }
	for _, tt := range []struct{ sent, want string }{
		{`{}`, ""},
		{`{"caption":"R2D2"}`, `{"caption":"R2D2"}`},
		{`{"b":1.50,"a":{"GFPGAN":"R2"},"GFPGAN":"R2"}`, `{"b":1.50,"a":{"GFPGAN":"R2"},"GFPGAN":"http://x/?a=1&b=2"}`},
		{`{"nsfw":false,"x":null}`, `{"nsfw":false,"x":null}`},
		{`{"a\"b":[]}`, `{"a\"b":[]}`},
	} {
		if got, err := shownResult([]byte(tt.sent), address); err != nil || string(got) != tt.want {
			t.Errorf("shownResult(%s) = %s, %v, want %s", tt.sent, got, err, tt.want)
		}
	}
	if _, err := shownResult([]byte(`text`), address); err == nil {
		t.Error("shownResult of what is no object gave no error")
	}
}
