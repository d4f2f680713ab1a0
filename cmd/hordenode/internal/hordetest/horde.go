// Package hordetest is a horde in memory behind real HTTP: as much of the REST API as
// workers and load generators touch, for their tests. It keeps no promises about kudos.
package hordetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A Horde is a fake node. Its fields may be read and set between calls to Lock and Unlock.
type Horde struct {
	*httptest.Server
	sync.Mutex

	// Refuse is asked before every call, one at a time; a status other than 0 is answered
	// instead, with the given headers. May be nil. It must not lock the Horde.
	Refuse func(r *http.Request) (status int, rc string, header http.Header)

	Limit     int // most jobs a user may have waiting; 0 = no limit
	TestUsers bool
	Hide      int               // so many questions for a user do not show what was settled
	Uploads   map[string][]byte // by job id
	Results   map[string]string // what was submitted, by job id
	Agents    map[string]string // bridge agents, by worker name
	Pops      int
	Transfers int
	Cancelled int

	next     int
	paid     map[string]int // settled jobs, by the worker's key
	requests []*request
}

type request struct {
	id, key, kind string
	payload       map[string]any
	r2            bool
	open, out     int
	jobs          []string
	done          []string
}

// New starts a horde and stops it with the test.
func New(t testing.TB) *Horde {
	h := &Horde{
		TestUsers: true, Uploads: map[string][]byte{}, Results: map[string]string{}, Agents: map[string]string{}, paid: map[string]int{},
	}
	mux := http.NewServeMux()
	for kind, path := range map[string]string{"text": "/api/v2/generate/text", "image": "/api/v2/generate"} {
		mux.HandleFunc("POST "+path+"/async", func(w http.ResponseWriter, r *http.Request) { h.async(w, r, kind) })
		mux.HandleFunc("POST "+path+"/pop", func(w http.ResponseWriter, r *http.Request) { h.pop(w, r, kind) })
		mux.HandleFunc("POST "+path+"/submit", h.submit)
		mux.HandleFunc("GET "+path+"/status/{id}", h.status)
		mux.HandleFunc("DELETE "+path+"/status/{id}", h.cancel)
	}
	mux.HandleFunc("POST /api/v2/interrogate/async", h.interrogate)
	mux.HandleFunc("POST /api/v2/interrogate/pop", h.popForms)
	mux.HandleFunc("POST /api/v2/interrogate/submit", h.submit)
	mux.HandleFunc("PUT /upload/{id}", h.upload)
	mux.HandleFunc("GET /api/v2/status/heartbeat", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, map[string]any{"message": "OK", "version": "fake"})
	})
	mux.HandleFunc("POST /api/v2/kudos/transfer", func(w http.ResponseWriter, _ *http.Request) {
		h.Lock()
		defer h.Unlock()
		h.Transfers++
		answer(w, 200, map[string]any{"transferred": 1})
	})
	mux.HandleFunc("GET /api/v2/find_user", func(w http.ResponseWriter, r *http.Request) {
		h.Lock()
		defer h.Unlock()
		settled := h.paid[r.Header.Get("apikey")]
		if len(h.paid) > 0 && h.Hide > 0 {
			h.Hide--
			settled = 0
		}
		answer(w, 200, map[string]any{
			"id": 1, "username": "someone#1", "concurrency": 30, "kudos": 1e6,
			"records": map[string]any{"fulfillment": map[string]any{"text": settled}},
		})
	})
	mux.HandleFunc("POST /api/v2/dev/test-user", h.testUser)
	mux.HandleFunc("PUT /api/v2/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, map[string]any{"concurrency": 500})
	})
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.refused(w, r) {
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *Horde) askRefuse(r *http.Request) (status int, rc string, header http.Header) {
	h.Lock()
	defer h.Unlock()
	if h.Refuse == nil {
		return 0, "", nil
	}
	return h.Refuse(r)
}

func (h *Horde) refused(w http.ResponseWriter, r *http.Request) bool {
	status, rc, header := h.askRefuse(r)
	if status == 0 {
		return false
	}
	for k, v := range header {
		w.Header()[k] = v
	}
	answer(w, status, map[string]any{"message": "refused by the test", "rc": rc})
	return true
}

func (h *Horde) async(w http.ResponseWriter, r *http.Request, kind string) {
	var in struct {
		Prompt string
		Params map[string]any
		R2     *bool
	}
	if !decode(w, r, &in) {
		return
	}
	h.Lock()
	defer h.Unlock()
	n := 1
	if v, ok := in.Params["n"].(float64); ok {
		n = int(v)
	}
	key := r.Header.Get("apikey")
	if h.Limit > 0 && h.waiting(key)+n > h.Limit {
		answer(w, 429, map[string]any{"message": "too many", "rc": "TooManyPrompts"})
		return
	}
	payload := map[string]any{"prompt": in.Prompt, "max_length": 80, "width": 512, "height": 512, "ddim_steps": 30}
	for k, v := range in.Params {
		payload[k] = v
	}
	q := &request{id: h.id(), key: key, kind: kind, payload: payload, open: n, r2: in.R2 == nil || *in.R2}
	h.requests = append(h.requests, q)
	answer(w, 202, map[string]any{"id": q.id, "kudos": 0.0})
}

func (h *Horde) waiting(key string) (n int) {
	for _, q := range h.requests {
		if q.key == key {
			n += q.open
		}
	}
	return n
}

func (h *Horde) id() string {
	h.next++
	return fmt.Sprintf("aabbccdd-eeff-8000-8000-%012d", h.next)
}

func (h *Horde) pop(w http.ResponseWriter, r *http.Request, kind string) {
	var in struct {
		Name        string
		BridgeAgent string `json:"bridge_agent"`
	}
	if !decode(w, r, &in) {
		return
	}
	h.Lock()
	defer h.Unlock()
	h.Pops++
	h.Agents[in.Name] = in.BridgeAgent
	for _, q := range h.requests {
		if q.kind != kind || q.open == 0 {
			continue
		}
		q.open--
		q.out++
		id := h.id()
		q.jobs = append(q.jobs, id)
		out := map[string]any{
			"id": id, "ids": []string{id}, "model": "m", "ttl": 150, "payload": q.payload, "skipped": map[string]int{},
		}
		if kind == "image" && q.r2 {
			out["r2_uploads"] = []string{h.URL + "/upload/" + id + "?sig=1"}
		}
		answer(w, 200, out)
		return
	}
	answer(w, 200, map[string]any{"id": nil, "ids": []string{}, "payload": map[string]any{}, "skipped": map[string]int{}})
}

// interrogate takes a request for forms: each is a request of its own here.
func (h *Horde) interrogate(w http.ResponseWriter, r *http.Request) {
	var in struct{ Forms []struct{ Name string } }
	if !decode(w, r, &in) {
		return
	}
	h.Lock()
	defer h.Unlock()
	for _, f := range in.Forms {
		h.requests = append(h.requests, &request{id: h.id(), key: r.Header.Get("apikey"), kind: "form " + f.Name, open: 1})
	}
	answer(w, 202, map[string]any{"id": h.id()})
}

// popForms hands out what the alchemist offers to do, up to the amount it wants.
func (h *Horde) popForms(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name        string
		BridgeAgent string `json:"bridge_agent"`
		Forms       []string
		Amount      int
		MaxTiles    int `json:"max_tiles"`
	}
	if !decode(w, r, &in) {
		return
	}
	if in.MaxTiles < 1 || in.MaxTiles > 256 {
		answer(w, 400, map[string]any{"message": "max_tiles", "errors": map[string]any{"max_tiles": "out of range"}})
		return
	}
	h.Lock()
	defer h.Unlock()
	h.Pops++
	h.Agents[in.Name] = in.BridgeAgent
	var forms []map[string]any
	for _, q := range h.requests {
		name, isForm := strings.CutPrefix(q.kind, "form ")
		if !isForm || q.open == 0 || !slices.Contains(in.Forms, name) || len(forms) >= in.Amount {
			continue
		}
		q.open--
		q.out++
		id := h.id()
		q.jobs = append(q.jobs, id)
		f := map[string]any{"id": id, "form": name, "source_image": h.URL + "/source"}
		if strings.HasPrefix(name, "RealESRGAN") {
			f["r2_upload"] = h.URL + "/upload/" + id + "?sig=1"
		}
		forms = append(forms, f)
	}
	answer(w, 200, map[string]any{"forms": forms, "skipped": map[string]int{}})
}

func (h *Horde) submit(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID, Generation string
		Result         json.RawMessage
	}
	if !decode(w, r, &in) {
		return
	}
	if in.Result != nil {
		in.Generation = string(in.Result)
	}
	h.Lock()
	defer h.Unlock()
	for _, q := range h.requests {
		for i, id := range q.jobs {
			if id == in.ID {
				q.jobs = append(q.jobs[:i], q.jobs[i+1:]...)
				q.out--
				q.done = append(q.done, in.Generation)
				h.Results[id] = in.Generation
				h.paid[r.Header.Get("apikey")]++
				answer(w, 200, map[string]any{"reward": 2.5})
				return
			}
		}
	}
	answer(w, 404, map[string]any{"message": "no such job", "rc": "InvalidJobID"})
}

func (h *Horde) status(w http.ResponseWriter, r *http.Request) {
	h.Lock()
	defer h.Unlock()
	for _, q := range h.requests {
		if q.id == r.PathValue("id") {
			answer(w, 200, map[string]any{
				"done": q.open+q.out == 0, "waiting": q.open, "processing": q.out, "finished": len(q.done), "is_possible": true,
			})
			return
		}
	}
	answer(w, 404, map[string]any{"message": "no such request", "rc": "RequestNotFound"})
}

func (h *Horde) cancel(w http.ResponseWriter, r *http.Request) {
	h.Lock()
	for _, q := range h.requests {
		if q.id == r.PathValue("id") {
			q.open = 0
			h.Cancelled++
		}
	}
	h.Unlock()
	h.status(w, r)
}

func (h *Horde) upload(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("Content-Type") != "" {
		answer(w, 403, map[string]any{"message": "the signature is for a bare PUT"})
		return
	}
	h.Lock()
	defer h.Unlock()
	h.Uploads[r.PathValue("id")] = b
}

func (h *Horde) testUser(w http.ResponseWriter, r *http.Request) {
	var in struct{ Username string }
	if !decode(w, r, &in) {
		return
	}
	h.Lock()
	defer h.Unlock()
	if !h.TestUsers {
		answer(w, 404, map[string]any{"message": "no such page"})
		return
	}
	answer(w, 201, map[string]any{
		"api_key": "key-of-" + in.Username, "user_id": fmt.Sprint(len(in.Username)), "alias": in.Username + "#7", "created": true,
	})
}

// decode reads a JSON body as the API does: any field may come, a wrong type is refused.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		answer(w, 400, map[string]any{"message": err.Error()})
		return false
	}
	if r.Header.Get("apikey") == "wrong" {
		answer(w, 401, map[string]any{"message": "no such key", "rc": "InvalidAPIKey"})
		return false
	}
	return true
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that went away is its own affair
}
