package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hordenode/internal/horde"
	"hordenode/node/pricing"
)

// A harness is a server with behaving fakes behind it.
type harness struct {
	*testing.T
	s        *Server
	accounts *fakeAccounts
	board    *fakeBoard
	clock    *clock
	log      *bytes.Buffer
}

const (
	aliceKey = "alice-key-000000000000"
	ownerKey = "owner-key-000000000000"
)

func newHarness(t *testing.T, change ...func(*Config)) *harness {
	t.Helper()
	h := &harness{
		T:        t,
		accounts: newFakeAccounts(),
		clock:    &clock{t: time.Unix(1_800_000_000, 0)},
		log:      &bytes.Buffer{},
	}
	h.board = newFakeBoard(h.clock)
	cfg := Config{
		NodeName:     "node1",
		Port:         7001,
		Version:      "5.1.5",
		BlobSecret:   []byte("0123456789abcdef"),
		NoRateLimits: true,
		Endpoints:    nodeEndpoints(),
		Now:          h.clock.now,
		Rand:         func() uint64 { return 4242 },
		Log:          slog.New(slog.NewTextHandler(h.log, nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	models := newFakeModels()
	s, err := New(cfg, Deps{Accounts: h.accounts, Board: h.board, Models: models, Pricing: pricing.NewList(models), Requirements: models.requirements})
	if err != nil {
		t.Fatal(err)
	}
	h.s = s
	s.deps.Community = newFakeCommunity(h)
	h.accounts.add(aliceKey, horde.User{ID: 7, Name: "alice", Class: horde.ClassRegistered, Kudos: horde.Whole(5000), Concurrency: 30})
	h.accounts.add(ownerKey, horde.User{ID: 8, Name: "owner", Class: horde.ClassRegistered, Kudos: horde.Whole(500), Concurrency: 30, Roles: horde.RoleTrusted | horde.RoleCustomizer})
	h.accounts.add(horde.AnonymousKey, horde.User{ID: horde.Anonymous, Name: "Anonymous", Concurrency: 500})
	return h
}

// An answer is what came back.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// do sends a request; body is nil, a string or what becomes JSON. headers are pairs.
func (h *harness) do(method, path string, key horde.APIKey, body any, headers ...string) answer {
	h.Helper()
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = strings.NewReader(b)
	case []byte:
		rd = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			h.Fatal(err)
		}
		rd = bytes.NewReader(raw)
	}
	r := httptest.NewRequest(method, path, rd)
	if rd != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("apikey", string(key))
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.s.Handler().ServeHTTP(w, r)
	return answer{h.T, w.Code, w.Header(), w.Body.String()}
}

// wants checks status and rc ("" for none) and that a failure is a JSON object with message.
func (a answer) wants(status int, rc horde.RC) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Errorf("status %d, want %d: %s", a.status, status, a.body)
		return a
	}
	if status < 300 {
		return a
	}
	m := a.object()
	if text, ok := m["message"].(string); !ok || text == "" {
		a.t.Errorf("no message in %s", a.body)
	}
	if got, _ := m["rc"].(string); got != string(rc) {
		a.t.Errorf("rc %q, want %q: %s", got, rc, a.body)
	}
	return a
}

func (a answer) object() map[string]any {
	a.t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		a.t.Errorf("body is no JSON object: %v: %q", err, a.body)
	}
	return m
}

// golden compares a whole body, bytes and all.
func (a answer) golden(want string) {
	a.t.Helper()
	if a.body != want+"\n" {
		a.t.Errorf("got\n%s\nwant\n%s", a.body, want)
	}
}

// errorsAt returns the paths of validation errors, sorted.
func (a answer) errorsAt() string {
	a.t.Helper()
	m, _ := a.object()["errors"].(map[string]any)
	var paths []string
	for p := range m {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return strings.Join(paths, " ")
}

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// fakeAccounts is a ledger: what is in remote becomes visible by Sync.
type fakeAccounts struct {
	mu      sync.Mutex
	keys    map[horde.APIKey]horde.UserID
	remote  map[horde.APIKey]horde.User
	users   map[horde.UserID]horde.User
	workers map[horde.WorkerID]horde.Worker
	modes   horde.Modes
	syncs   int
	syncErr error
}

func newFakeAccounts() *fakeAccounts {
	return &fakeAccounts{
		keys:    map[horde.APIKey]horde.UserID{},
		remote:  map[horde.APIKey]horde.User{},
		users:   map[horde.UserID]horde.User{},
		workers: map[horde.WorkerID]horde.Worker{},
	}
}

func (f *fakeAccounts) add(key horde.APIKey, u horde.User) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[key] = u.ID
	f.users[u.ID] = u
}

// change edits the user of a key.
func (f *fakeAccounts) change(key horde.APIKey, edit func(*horde.User)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.users[f.keys[key]]
	edit(&u)
	f.users[u.ID] = u
}

func (f *fakeAccounts) UserByKey(key horde.APIKey) (horde.User, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok := f.keys[key]
	return f.users[id], ok
}

func (f *fakeAccounts) User(id horde.UserID) (horde.User, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u, ok := f.users[id]
	return u, ok
}

func (f *fakeAccounts) Worker(id horde.WorkerID) (horde.Worker, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.workers[id]
	return w, ok
}

func (f *fakeAccounts) WorkerByName(name string) (horde.Worker, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.workers {
		if w.Name == name {
			return w, true
		}
	}
	return horde.Worker{}, false
}

func (f *fakeAccounts) Modes() horde.Modes {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.modes
}

func (f *fakeAccounts) Sync(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	if f.syncErr != nil {
		return f.syncErr
	}
	for key, u := range f.remote {
		f.keys[key] = u.ID
		f.users[u.ID] = u
	}
	clear(f.remote)
	return ctx.Err()
}

// fakeBoard keeps requests in memory and hands out jobs first come, first served.
type fakeBoard struct {
	clock *clock

	mu       sync.Mutex
	requests []*fakeRequest
	blobs    map[string][]byte
	waiting  map[horde.UserID]int

	waitingFor map[string]int // by models; read only
	unheard    int            // jobs that are waiting and that only the homes know of
	confirmed  atomic.Int64   // calls of ConfirmWaiting

	load     horde.Performance
	possible bool
	pops     []horde.Pop
	submits  []horde.Submission
	skipped  map[string]int
	err      error        // of the next call
	looks    atomic.Int64 // calls of Status
}

type fakeRequest struct {
	horde.Request
	open      int
	cancelled bool
	jobs      map[horde.JobID]*horde.Generation // nil until delivered
}

func newFakeBoard(c *clock) *fakeBoard {
	return &fakeBoard{clock: c, blobs: map[string][]byte{}, waiting: map[horde.UserID]int{}}
}

// fail makes the next call return err.
func (f *fakeBoard) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fakeBoard) takeErr() error {
	err := f.err
	f.err = nil
	return err
}

func (f *fakeBoard) last(t testing.TB) horde.Request {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requests) == 0 {
		t.Fatal("no request was accepted")
	}
	return f.requests[len(f.requests)-1].Request
}

func (f *fakeBoard) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

func (f *fakeBoard) NewRequestID() (horde.RequestID, error) {
	return horde.NewRequestID(horde.HomeTag{1}, rand.Reader)
}

func (f *fakeBoard) Accept(_ context.Context, q horde.Request) (horde.Acceptance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.takeErr(); err != nil {
		return horde.Acceptance{}, err
	}
	f.requests = append(f.requests, &fakeRequest{Request: q, open: q.Slots, jobs: map[horde.JobID]*horde.Generation{}})
	return horde.Acceptance{ID: q.ID, Possible: f.possible}, nil
}

func (f *fakeBoard) find(id horde.RequestID) *fakeRequest {
	for _, r := range f.requests {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func (f *fakeBoard) Status(_ context.Context, id horde.RequestID, generations bool) (horde.Status, error) {
	defer f.looks.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.takeErr(); err != nil {
		return horde.Status{}, err
	}
	r := f.find(id)
	if r == nil {
		return horde.Status{}, horde.RCRequestNotFound
	}
	return r.status(generations), nil
}

func (r *fakeRequest) status(generations bool) horde.Status {
	st := horde.Status{Kind: r.Kind, Waiting: r.open, Kudos: r.Quote.Tax, QueuePosition: 1, IsPossible: true, Body: r.Body}
	if r.cancelled {
		st.Waiting = 0
	}
	for _, g := range r.jobs {
		if g == nil {
			st.Processing++
			continue
		}
		st.Finished++
		if generations {
			st.Generations = append(st.Generations, *g)
		}
	}
	st.Done = st.Finished == r.Slots
	return st
}

func (f *fakeBoard) Cancel(_ context.Context, id horde.RequestID) (horde.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.find(id)
	if r == nil {
		return horde.Status{}, horde.RCRequestNotFound
	}
	st := r.status(true)
	r.cancelled = true
	return st, nil
}

func (f *fakeBoard) Pop(_ context.Context, p horde.Pop) (horde.PopResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.takeErr(); err != nil {
		return horde.PopResult{}, err
	}
	f.pops = append(f.pops, p)
	res := horde.PopResult{Worker: horde.Worker{Name: p.Name}}
	for _, r := range f.requests {
		if r.Kind != p.Kind || r.cancelled || r.open == 0 {
			continue
		}
		g := horde.Grant{Request: r.ID, Kind: r.Kind, Model: p.Caps.Models[0], TTL: r.TTL, Body: r.Body, Remaining: r.open}
		for range min(p.Amount, r.open) {
			id, err := horde.NewJobID(r.ID.Home(), rand.Reader)
			if err != nil {
				return res, err
			}
			g.Jobs = append(g.Jobs, id)
			r.jobs[id] = nil
			r.open--
		}
		res.Grant = &g
		return res, nil
	}
	res.Skipped = f.skipped
	return res, nil
}

func (f *fakeBoard) Submit(_ context.Context, s horde.Submission) (horde.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.takeErr(); err != nil {
		return horde.Receipt{}, err
	}
	f.submits = append(f.submits, s)
	for _, r := range f.requests {
		g, ok := r.jobs[s.Job]
		switch {
		case !ok:
			continue
		case g != nil:
			return horde.Receipt{}, horde.Refuse(horde.RCDuplicateGen, "This job was already submitted.")
		}
		r.jobs[s.Job] = &horde.Generation{
			ID: s.Job, Worker: horde.WorkerID{UUID: horde.UUID{9}}, WorkerName: "w", Model: "m", Seed: s.Seed,
			Result: s.Result, Censored: len(s.Metadata) > 0 && s.Metadata[0].Type == "censorship", State: s.State, Metadata: s.Metadata,
		}
		return horde.Receipt{Reward: 6.22}, nil
	}
	return horde.Receipt{}, horde.RCInvalidJobID
}

func (f *fakeBoard) Waiting(user horde.UserID, _ horde.Kind, models ...string) int {
	return f.waiting[user] + f.waitingFor[strings.Join(models, ",")]
}

func (f *fakeBoard) ConfirmWaiting(_ context.Context, user horde.UserID, _ horde.Kind, models ...string) int {
	f.confirmed.Add(1)
	return f.waiting[user] + f.waitingFor[strings.Join(models, ",")] + f.unheard
}

func (f *fakeBoard) Performance() horde.Performance { return f.load }

func (f *fakeBoard) PutBlob(_ context.Context, name string, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.takeErr(); err != nil {
		return err
	}
	f.blobs[name] = bytes.Clone(data)
	return nil
}

func (f *fakeBoard) Blob(_ context.Context, name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.takeErr(); err != nil {
		return nil, err
	}
	data, ok := f.blobs[name]
	if !ok {
		return nil, fmt.Errorf("no blob %s", name)
	}
	return data, nil
}

type fakeImage struct {
	Baseline, Type string
	Needs          Requirements
}

// fakeModels is a small model reference.
type fakeModels struct {
	images map[string]fakeImage
	texts  map[string]float64
}

func newFakeModels() *fakeModels {
	f := func(v float64) *float64 { return &v }
	return &fakeModels{
		images: map[string]fakeImage{
			"stable_diffusion": {Baseline: "stable diffusion 1"},
			"sd2":              {Baseline: "stable diffusion 2"},
			"xl": {Baseline: "stable_diffusion_xl", Needs: Requirements{
				CFG: f(7), ClipSkip: f(2), MaxSteps: f(40), MinSteps: f(10),
			}},
			"picky": {Baseline: "stable diffusion 1", Needs: Requirements{
				MinCFG: f(8), Samplers: []string{"k_heun"}, Schedulers: []string{"simple"},
			}},
			"flux":    {Baseline: "flux_1"},
			"cascade": {Baseline: "stable_cascade"},
			"canny":   {Baseline: "stable diffusion 1", Type: "controlnet"},
		},
		texts: map[string]float64{"big": 120, "small": 7},
	}
}

func (f *fakeModels) Known(kind horde.Kind, model string) bool {
	if kind == horde.KindText {
		_, ok := f.texts[model]
		return ok
	}
	_, ok := f.images[model]
	return ok
}

func (f *fakeModels) Baseline(model string) string {
	if m, ok := f.images[model]; ok {
		return m.Baseline
	}
	return "stable diffusion 1"
}

func (f *fakeModels) Type(model string) string { return f.images[model].Type }

func (f *fakeModels) requirements(model string) Requirements { return f.images[model].Needs }

func (f *fakeModels) MaxSteps(model string) (int, bool) {
	if m := f.images[model].Needs.MaxSteps; m != nil {
		return int(*m), true
	}
	return 0, false
}

func (f *fakeModels) Parameters(model string) (float64, bool) {
	size, ok := f.texts[model]
	if !ok {
		return 1, false
	}
	return size, true
}
