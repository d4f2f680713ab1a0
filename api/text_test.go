package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

// withText returns a plain text request, changed.
func withText(changes m) m {
	q := m{
		"prompt": "Once upon a time",
		"models": []string{"small"},
		"params": m{"max_context_length": 1024, "max_length": 80},
	}
	for k, v := range changes {
		if p, ok := v.(m); ok && k == "params" {
			for pk, pv := range p {
				q["params"].(m)[pk] = pv
			}
			continue
		}
		q[k] = v
	}
	return q
}

func TestTextRules(t *testing.T) {
	extra := m{"image": "AAAA"}
	var stops []string
	for i := range 129 {
		stops = append(stops, fmt.Sprint(i))
	}
	for _, tt := range []struct {
		name    string
		request m
		set     func(h *harness)
		status  int
		rc      horde.RC
	}{
		{"fine", withText(nil), nil, 202, ""},
		{"style", withText(m{"style": "none"}), nil, 404, horde.RCStyleNotFound},
		{"maintenance", withText(nil), func(h *harness) { h.accounts.modes.Maintenance = true }, 400, horde.RCMaintenanceMode},
		{"webhook", withText(m{"webhook": "http://127.0.0.1/x"}), nil, 400, horde.RCBadRequest},
		{"proxied account", withText(m{"proxied_account": "x"}), nil, 400, horde.RCOnlyServiceAccountProxy},
		{"deleted", withText(nil), role(horde.RoleDeleted), 403, horde.RCDeletedUser},
		{"six extra images", withText(m{"extra_source_images": slices.Repeat([]any{extra}, 6)}), nil, 400, horde.RCTooManyExtraSourceImages},
		{"two extra images", withText(m{"extra_source_images": slices.Repeat([]any{extra}, 2)}), nil, 400, horde.RCMoreThanMinExtraSourceImage},
		{"an extra image", withText(m{"extra_source_images": []any{extra}}), nil, 400, horde.RCInvalidExtraSourceImages},
		{"empty prompt", withText(m{"prompt": ""}), nil, 400, horde.RCMissingPrompt},
		{"unknown worker", withText(m{"workers": []string{"00000000-0000-4000-8000-000000000009"}}), nil, 404, horde.RCWorkerNotFound},
		{"no batching", withText(m{"disable_batching": true, "params": m{"n": 2}}), nil, 400, horde.RCRequiresTrust},
		{"queue full", withText(nil), func(h *harness) { h.board.waiting[7] = 30 }, 429, horde.RCTooManyPrompts},
		{"more tokens than context", withText(m{"params": m{"max_context_length": 80, "max_length": 81}}), nil, 400, horde.RCTokenOverflow},
		{"as many tokens as context", withText(m{"params": m{"max_context_length": 80, "max_length": 80}}), nil, 202, ""},
		{"three samplers", withText(m{"params": m{"sampler_order": []int{1, 2, 3}}}), nil, 400, horde.RCMissingFullSamplerOrder},
		{"seven samplers, one twice", withText(m{"params": m{"sampler_order": []int{0, 1, 2, 3, 4, 5, 5}}}), nil, 400, horde.RCMissingFullSamplerOrder},
		{"no samplers", withText(m{"params": m{"sampler_order": []int{}}}), nil, 400, horde.RCMissingFullSamplerOrder},
		{"seven samplers", withText(m{"params": m{"sampler_order": []int{6, 0, 1, 3, 4, 2, 5}}}), nil, 202, ""},
		{"129 stop sequences", withText(m{"params": m{"stop_sequence": stops}}), nil, 400, horde.RCTooManyStopSequences},
		{"128 stop sequences and one twice", withText(m{"params": m{"stop_sequence": append(stops[:128:128], "0")}}), nil, 202, ""},
		{"2001 characters to stop", withText(m{"params": m{"stop_sequence": []string{strings.Repeat("ä", 2001)}}}), nil, 400, horde.RCExcessiveStopSequence},
		{"2000 characters to stop", withText(m{"params": m{"stop_sequence": []string{strings.Repeat("ä", 2000)}}}), nil, 202, ""},
		{"NUL", withText(m{"prompt": "nul\x00"}), nil, 400, horde.RCNulByteInPayload},
		{"large without kudos", withText(m{"models": []string{"big"}, "params": m{"max_length": 1024}}), kudos(30), 403, horde.RCKudosUpfront},
		{"large with kudos", withText(m{"models": []string{"big"}, "params": m{"max_length": 1024}}), kudos(50_000), 202, ""},
		{"large, downgraded", withText(m{"models": []string{"big"}, "allow_downgrade": true, "params": m{"max_length": 1024}}), kudos(30), 202, ""},
		{"dry run, large without kudos", withText(m{"dry_run": true, "models": []string{"big"}, "params": m{"max_length": 1024}}), kudos(30), 403, horde.RCKudosUpfront},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			if tt.set != nil {
				tt.set(h)
			}
			h.do("POST", "/api/v2/generate/text/async", aliceKey, tt.request).wants(tt.status, tt.rc)
			if accepted := h.board.count() == 1; accepted != (tt.status == 202) {
				t.Errorf("accepted: %v, status %d", accepted, tt.status)
			}
		})
	}
}

func TestTextSchema(t *testing.T) {
	h := newHarness(t)
	for _, tt := range []struct{ body, key, at string }{
		{`{}`, aliceKey, "prompt"},
		{`{}`, "", "apikey"},
		{`{"prompt":3}`, "", "prompt"},
		{`{"prompt":"x","params":{"max_context_length":79,"max_length":4097}}`, "", "params.max_context_length params.max_length"},
		{`{"prompt":"x","params":{"top_k":201,"top_p":0}}`, "", "params.top_k params.top_p"},
		{`{"prompt":"x","params":{"sampler_order":["a"],"stop_sequence":"a"}}`, "", "params.sampler_order.0 params.stop_sequence"},
		{`{"prompt":"x","softprompt":"","trusted_workers":0}`, "", "softprompt trusted_workers"},
		{`{"prompt":"x","models":[null]}`, "", "models.0"},
	} {
		if got := h.do("POST", "/api/v2/generate/text/async", horde.APIKey(tt.key), tt.body).wants(400, "").errorsAt(); got != tt.at {
			t.Errorf("%s: errors at %q, want %q", tt.body, got, tt.at)
		}
	}
}

func TestTextDefaults(t *testing.T) {
	h := newHarness(t)
	h.do("POST", "/api/v2/generate/text/async", aliceKey, `{"prompt":"äöü","nsfw":"no","max_length":500}`).wants(202, "")
	q := h.board.last(t)
	want := horde.Shape{Kind: horde.KindText, SlowOK: true, MaxLength: 80, MaxContextLength: 2048}
	if got, w := fmt.Sprintf("%+v", q.Shape), fmt.Sprintf("%+v", want); got != w {
		t.Errorf("shape\n%s, want\n%s", got, w)
	}
	if q.Things != 80 || q.TTL != 150 || q.Quote != (horde.Quote{Tax: horde.Whole(1), PromptLen: 3}) || q.Slots != 1 || q.Search != "" {
		t.Errorf("request %+v", q)
	}
	h.do("POST", "/api/v2/generate/text/pop", ownerKey, `{"name":"w","models":["m/x"]}`).wants(200, "")
	wantCaps := horde.Caps{BridgeAgent: "unknown:0:unknown", Models: []string{"m/x"}, NSFW: true, Threads: 1, UnsafeIP: true, MaxLength: 512, MaxContextLength: 2048}
	if got, w := fmt.Sprintf("%+v", h.board.pops[0].Caps), fmt.Sprintf("%+v", wantCaps); got != w {
		t.Errorf("caps\n%s, want\n%s", got, w)
	}
}

func TestAcceptedText(t *testing.T) {
	h := newHarness(t)
	a := h.do("POST", "/api/v2/generate/text/async", aliceKey, withText(nil)).wants(202, "")
	a.golden(`{"id":"` + h.board.last(t).ID.String() + `","kudos":0,"message":"` + noWorkerText + `"}`)
	h.board.possible = true
	a = h.do("POST", "/api/v2/generate/text/async", aliceKey, withText(nil)).wants(202, "")
	a.golden(`{"id":"` + h.board.last(t).ID.String() + `","kudos":0}`)
}

func TestTextDryRun(t *testing.T) {
	h := newHarness(t)
	for _, tt := range []struct {
		request m
		want    string
	}{
		{m{"prompt": "x", "dry_run": true, "params": m{"max_context_length": 1024, "max_length": 80}}, `{"kudos":25}`},
		{m{"prompt": "x", "dry_run": true, "params": m{"max_context_length": 1024, "max_length": 80, "n": 3}}, `{"kudos":73}`},
		{m{"prompt": "x", "dry_run": true}, `{"kudos":37}`},
	} {
		h.do("POST", "/api/v2/generate/text/async", aliceKey, tt.request).wants(200, "").golden(tt.want)
	}
	h.do("POST", "/api/v2/generate/text/async", "nobody", m{"prompt": "x", "dry_run": true}).wants(401, horde.RCInvalidAPIKey)
}

func TestTextDowngrade(t *testing.T) {
	h := newHarness(t)
	kudos(30)(h)
	h.do("POST", "/api/v2/generate/text/async", aliceKey, withText(m{"models": []string{"big"}, "slow_workers": false, "allow_downgrade": true, "params": m{"max_length": 1024}})).wants(202, "")
	q := h.board.last(t)
	b, err := decodeTextBody(q.Body)
	if err != nil {
		t.Fatal(err)
	}
	if q.Shape.MaxLength != 512 || b.Payload.MaxLength != 512 || !q.Shape.SlowOK || q.Quote.Upfront != 0 {
		t.Errorf("shape %+v, payload %+v", q.Shape, b.Payload)
	}
}

const textPopEmpty = `{"payload":{"max_context_length":2048,"max_length":80,"min_p":0,"smoothing_factor":0,"dynatemp_range":0,"dynatemp_exponent":1},"id":null,"ids":[],"skipped":{},"softprompt":null,"model":null,"ttl":null,"extra_source_images":null,"messages":[]}`

func TestTextPopEmpty(t *testing.T) {
	h := newHarness(t)
	const pop = `{"name":"w","models":["small"],"unknown":1}`
	h.do("POST", "/api/v2/generate/text/pop", ownerKey, pop).wants(200, "").golden(textPopEmpty)
	h.board.skipped = map[string]int{"untrusted": 2, "models": 0, "secret": 1}
	h.do("POST", "/api/v2/generate/text/pop", ownerKey, pop).golden(strings.Replace(textPopEmpty, `"skipped":{}`, `"skipped":{"untrusted":2}`, 1))
}

func TestTextPayload(t *testing.T) {
	h := newHarness(t)
	h.do("POST", "/api/v2/generate/text/async", aliceKey, `{"prompt":"Once","params":{"dynatemp_exponent":1.5,"dynatemp_range":0.5,"frmtadsnsp":false,"frmtrmblln":true,"frmtrmspch":false,"frmttriminc":true,
		"max_context_length":1024.0,"max_length":90,"min_p":0.05,"quiet":true,"rep_pen":1.1,"rep_pen_range":320,"rep_pen_slope":0.7,"sampler_order":[6,0,1,3,4,2,5],"singleline":true,"smoothing_factor":0.2,
		"stop_sequence":["END"],"temperature":0.8,"tfs":1,"top_a":0,"top_k":40,"top_p":0.9,"typical":1,"use_default_badwordsids":true,"n":3}}`).wants(202, "")
	a := h.do("POST", "/api/v2/generate/text/pop", ownerKey, `{"name":"w","models":["small"],"amount":2}`).wants(200, "")
	var ids struct{ IDs []string }
	if err := json.Unmarshal([]byte(a.body), &ids); err != nil || len(ids.IDs) != 2 {
		t.Fatalf("%v: %s", err, a.body)
	}
	a.golden(`{"payload":{"prompt":"Once","n":1,"max_context_length":1024,"max_length":90,"rep_pen":1.1,"rep_pen_range":320,"rep_pen_slope":0.7,"temperature":0.8,"tfs":1,"top_a":0,"top_k":40,"top_p":0.9,"typical":1,` +
		`"singleline":true,"sampler_order":[6,0,1,3,4,2,5],"use_default_badwordsids":true,"stop_sequence":["END"],"frmtadsnsp":false,"frmtrmblln":true,"frmtrmspch":false,"frmttriminc":true,` +
		`"min_p":0.05,"smoothing_factor":0.2,"dynatemp_range":0.5,"dynatemp_exponent":1.5},"id":"` + ids.IDs[0] + `","ids":["` + ids.IDs[0] + `","` + ids.IDs[1] + `"],"skipped":{},"softprompt":null,"model":"small","ttl":150,"extra_source_images":null,"messages":[]}`)
}

func TestTextPopRefusals(t *testing.T) {
	h := newHarness(t)
	for _, tt := range []struct {
		body   m
		status int
		rc     horde.RC
	}{
		{m{"models": []string{"small"}}, 400, ""},
		{m{"name": "tpu 3", "models": []string{"small"}}, 400, horde.RCBadRequest},
		{m{"name": "w", "models": []string{"small"}, "priority_usernames": []string{"x"}}, 400, horde.RCInvalidPriorityUsername},
	} {
		h.do("POST", "/api/v2/generate/text/pop", aliceKey, tt.body).wants(tt.status, tt.rc)
	}
}

func TestTextCycle(t *testing.T) {
	csam := []any{m{"type": "censorship", "value": "csam"}}
	for _, tt := range []struct {
		name   string
		submit m
		result string
		seed   int64
	}{
		{"plain", m{"generation": "one\x00two", "seed": 3}, "one\uFFFDtwo", 3},
		{"no seed, empty", m{"generation": ""}, "", 0},
		{"seed null", m{"generation": "x", "seed": nil}, "x", 0},
		{"seed in a string", m{"generation": "x", "seed": "17"}, "x", 17},
		{"large seed", m{"generation": "x", "seed": json.Number("9007199254740993")}, "x", 9007199254740993},
		{"faulted", m{"generation": "x", "state": "faulted"}, "", 0},
		{"faulted with metadata", m{"generation": "x", "state": "faulted", "gen_metadata": csam}, "", 0},
		{"csam", m{"generation": "x", "state": "csam", "gen_metadata": csam}, "x", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t)
			h.do("POST", "/api/v2/generate/text/async", aliceKey, withText(nil)).wants(202, "")
			job := h.do("POST", "/api/v2/generate/text/pop", ownerKey, `{"name":"w","models":["small"]}`).wants(200, "").object()["id"]
			tt.submit["id"] = job
			h.do("POST", "/api/v2/generate/text/submit", ownerKey, tt.submit).wants(200, "").golden(`{"reward":6.22}`)
			s := h.board.submits[0]
			if string(s.Result) != tt.result || s.Seed != tt.seed || s.By != 8 {
				t.Errorf("submission %+v", s)
			}
		})
	}
}

func TestTextStatus(t *testing.T) {
	st := horde.Status{Kind: horde.KindText, Finished: 2, Done: true, Kudos: 250, Generations: []horde.Generation{
		{Worker: horde.WorkerID{UUID: horde.UUID{1}}, WorkerName: "w", Model: "m", Result: []byte("<t>"), State: "ok"},
		{Seed: 5, Censored: true, State: "censored"},
		{Censored: true, State: "csam", Metadata: []horde.Metadata{{Type: "censorship", Value: "csam"}}},
	}}
	raw, err := json.Marshal(newTextStatusAnswer(st))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"finished":2,"processing":0,"restarted":0,"waiting":0,"done":true,"faulted":false,"wait_time":0,"queue_position":0,"kudos":2,"is_possible":false,"generations":[` +
		`{"worker_id":"01000000-0000-0000-0000-000000000000","worker_name":"w","model":"m","state":"ok","text":"\u003ct\u003e","seed":0,"gen_metadata":[]},` +
		`{"worker_id":"00000000-0000-0000-0000-000000000000","worker_name":"","model":"","state":"censored","text":"","seed":5,"gen_metadata":[]},` +
		`{"worker_id":"00000000-0000-0000-0000-000000000000","worker_name":"","model":"","state":"csam","text":"","seed":0,"gen_metadata":[{"type":"censorship","value":"csam"}]}]}`
	if string(raw) != want {
		t.Errorf("got\n%s, want\n%s", raw, want)
	}
	h := newHarness(t)
	h.do("POST", "/api/v2/generate/text/async", aliceKey, withText(nil)).wants(202, "")
	id := h.board.last(t).ID.String()
	h.do("GET", "/api/v2/generate/text/status/"+id, "", nil).wants(200, "")
	if w := h.do("DELETE", "/api/v2/generate/text/status/"+id, "", nil).wants(200, "").object()["waiting"]; w != 1.0 {
		t.Errorf("DELETE tells the state after: waiting %v", w)
	}
	h.do("GET", "/api/v2/generate/check/"+id, "", nil).wants(404, horde.RCRequestNotFound)
	h.do("GET", "/api/v2/generate/text/status/x", "", nil).wants(404, horde.RCRequestNotFound)
}
