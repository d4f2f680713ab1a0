package api

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hordenode/internal/horde"
)

const modKey = "mod-key-00000000000000"

// newAccountHarness is a harness with a registry and live workers behind it: alice (7) and
// owner (8) as always, and a moderator (9).
func newAccountHarness(t *testing.T, change ...func(*Config)) (*harness, *fakeRegistry, *fakeLive) {
	t.Helper()
	h := newHarness(t, change...)
	h.accounts.add(modKey, horde.User{ID: 9, Name: "mod", Class: horde.ClassRegistered, Concurrency: 30, Roles: horde.RoleModerator | horde.RoleTrusted})
	for _, key := range []horde.APIKey{aliceKey, ownerKey, modKey} {
		h.accounts.change(key, func(u *horde.User) { u.Created = h.clock.now().Add(-time.Hour) })
	}
	registry := &fakeRegistry{fakeAccounts: h.accounts, seen: map[string]Transfer{}, logins: map[string]horde.UserID{}}
	live := &fakeLive{models: map[horde.Kind][]horde.ModelStatus{}}
	h.s.deps.Registry, h.s.deps.Live, h.s.deps.Addresses = registry, live, NewAddresses()
	return h, registry, live
}

// fakeRegistry is a small ledger over the accounts of the harness: it knows who may do what.
type fakeRegistry struct {
	*fakeAccounts
	made   int
	logins map[string]horde.UserID
	seen   map[string]Transfer // by idempotency key

	err        error // of the next transfer
	lastUser   UserChange
	lastWorker WorkerChange
	isTeam     func(horde.TeamID) bool // nil: there are none
}

func (f *fakeRegistry) Users(sort string, offset, limit int) []horde.User {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []horde.User
	for _, u := range f.users {
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b horde.User) int {
		if sort == "age" {
			return cmp.Compare(a.ID, b.ID)
		}
		return cmp.Compare(b.Kudos, a.Kudos)
	})
	return all[min(offset, len(all)):min(offset+limit, len(all))]
}

func (f *fakeRegistry) WorkersOf(id horde.UserID) []horde.Worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	var own []horde.Worker
	for _, w := range f.workers {
		if w.Owner == id {
			own = append(own, w)
		}
	}
	return own
}

// newKey makes a user under the next id, or keeps the one of id, with a fresh key.
func (f *fakeRegistry) newKey(u horde.User) horde.APIKey {
	f.made++
	key := horde.APIKey(fmt.Sprintf("fresh-key-%012d", f.made))
	for old, id := range f.keys {
		if id == u.ID {
			delete(f.keys, old)
		}
	}
	f.keys[key], f.users[u.ID] = u.ID, u
	return key
}

func (f *fakeRegistry) CreateUser(_ context.Context, n NewUser) (horde.User, horde.APIKey, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := horde.User{ID: horde.UserID(100 + f.made), Name: n.Name, Class: n.Class}
	return u, f.newKey(u), nil
}

func (f *fakeRegistry) TestUser(_ context.Context, q TestUser) (horde.User, horde.APIKey, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, known := f.logins[q.Login]
	u := f.users[id]
	if !known {
		u = horde.User{ID: horde.UserID(100 + f.made), Name: q.Name, Class: q.Class}
		u.Roles = u.Roles.With(horde.RoleModerator, q.Moderator).With(horde.RoleTrusted, q.Trusted)
		f.logins[q.Login] = u.ID
	}
	u.Kudos = q.Kudos
	return u, f.newKey(u), !known, nil
}

func (f *fakeRegistry) UpdateUser(_ context.Context, c UserChange) (horde.User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastUser = c
	actor, u := f.users[c.Actor], f.users[c.Target]
	moderator := actor.Is(horde.RoleModerator)
	byModerator := c.Concurrency != nil || c.Trusted != nil || c.Education != nil || c.AdminComment != nil || c.ResetSuspicion
	byOwner := c.Name != nil || c.Contact != nil || c.PublicWorkers != nil || c.Passkey != "" || c.Undelete
	switch {
	case c.Kudos != nil && !actor.Is(horde.RoleAdmin):
		return u, horde.Refuse(horde.RCNotAdmin, "no")
	case byModerator && !moderator, byOwner && !moderator && c.Actor != c.Target:
		return u, horde.Refuse(horde.RCNotModerator, "no")
	case !byModerator && !byOwner && c.Kudos == nil:
		return u, horde.Refuse(horde.RCNoUserModSelected, "nothing")
	}
	if c.Kudos != nil {
		u.Kudos += *c.Kudos
	}
	if c.Trusted != nil {
		u.Roles = u.Roles.With(horde.RoleTrusted, *c.Trusted)
	}
	if c.Education != nil {
		u.Roles = u.Roles.With(horde.RoleEducation, *c.Education)
		u.Concurrency = 200
	}
	if c.Name != nil {
		u.Name = *c.Name
	}
	if c.AdminComment != nil {
		u.AdminComment = *c.AdminComment
	}
	if c.Undelete {
		u.Roles &^= horde.RoleDeleted
	}
	f.users[c.Target] = u
	return u, nil
}

func (f *fakeRegistry) DeleteUser(_ context.Context, actor, target horde.UserID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if actor != target && !f.users[actor].Is(horde.RoleModerator) {
		return horde.Refuse(horde.RCNotUserOrMod, "no")
	}
	u := f.users[target]
	u.Roles |= horde.RoleDeleted
	f.users[target] = u
	return nil
}

func (f *fakeRegistry) Transfer(_ context.Context, t Transfer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	if first, ok := f.seen[t.Key]; ok && t.Key != "" {
		if first == t {
			return nil
		}
		return horde.Refuse(horde.RCIdempotencyKeyConflict, "conflict")
	}
	from, to := f.users[t.From], f.users[t.To]
	switch {
	case t.From == horde.Anonymous:
		return horde.Refuse(horde.RCKudosTransferFromAnon, "no")
	case to.Name == "":
		return horde.Refuse(horde.RCInvalidTargetUsername, "who?")
	case to.Is(horde.RoleDeleted):
		return horde.Refuse(horde.RCDeletedUser, "gone")
	case from.Available() < t.Amount:
		return horde.Refuse(horde.RCKudosTransferNotEnough, "poor")
	}
	from.Kudos -= t.Amount
	to.Kudos += t.Amount
	f.users[t.From], f.users[t.To] = from, to
	f.seen[t.Key] = t
	return nil
}

func (f *fakeRegistry) Transfers(ctx context.Context, ts []Transfer) ([]error, error) {
	refused := make([]error, len(ts))
	for i, t := range ts {
		refused[i] = f.Transfer(ctx, t)
	}
	return refused, nil
}

func (f *fakeRegistry) Award(_ context.Context, actor, to horde.UserID, amount horde.Kudos) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	u, ok := f.users[to]
	switch {
	case !f.users[actor].Is(horde.RoleAdmin):
		return horde.Refuse(horde.RCNotAllowedAwards, "no")
	case !ok:
		return horde.Refuse(horde.RCInvalidAwardUsername, "who?")
	case u.Is(horde.RoleFlagged):
		return horde.Refuse(horde.RCTargetAccountFlagged, "flagged")
	}
	u.Kudos += amount
	f.users[to] = u
	return nil
}

func (f *fakeRegistry) UpdateWorker(_ context.Context, c WorkerChange) (horde.Worker, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastWorker = c
	w, actor := f.workers[c.Worker], f.users[c.Actor]
	moderator := actor.Is(horde.RoleModerator)
	owns := moderator || actor.ID == w.Owner
	switch {
	case (c.Maintenance != nil || c.Info != nil) && !owns:
		return w, horde.Refuse(horde.RCNotOwner, "no")
	case c.Paused != nil && !moderator, c.Name != nil && !owns, c.Team != nil && !owns:
		return w, horde.Refuse(horde.RCNotModerator, "no")
	case c.Team != nil && !c.Team.IsZero() && (f.isTeam == nil || !f.isTeam(*c.Team)):
		return w, horde.Refuse(horde.RCTeamNotFound, "no")
	case c.Maintenance == nil && c.Info == nil && c.Paused == nil && c.Name == nil && c.Team == nil:
		return w, horde.Refuse(horde.RCNoWorkerModSelected, "nothing")
	}
	if c.Maintenance != nil {
		w.Maintenance = *c.Maintenance
	}
	if c.Info != nil {
		w.Info = *c.Info
	}
	if c.Paused != nil {
		w.Paused = *c.Paused
	}
	if c.Name != nil {
		w.Name = *c.Name
	}
	if c.Team != nil {
		w.Team = *c.Team
	}
	f.workers[w.ID] = w
	return w, nil
}

func (f *fakeRegistry) DeleteWorker(_ context.Context, actor horde.UserID, id horde.WorkerID) (horde.Worker, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.workers[id]
	if actor != w.Owner && !f.users[actor].Is(horde.RoleModerator) {
		return w, horde.Refuse(horde.RCNotModerator, "no")
	}
	delete(f.workers, id)
	return w, nil
}

func (f *fakeRegistry) SetModes(_ context.Context, c ModesChange) (horde.Modes, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	actor := f.users[c.Actor]
	switch {
	case c.Maintenance != nil && !actor.Is(horde.RoleAdmin):
		return f.modes, horde.Refuse(horde.RCNotAdmin, "no")
	case (c.InviteOnly != nil || c.Raid != nil) && !actor.Is(horde.RoleModerator):
		return f.modes, horde.Refuse(horde.RCNotModerator, "no")
	case c.Maintenance == nil && c.InviteOnly == nil && c.Raid == nil:
		return f.modes, horde.Refuse(horde.RCNoHordeModSelected, "nothing")
	}
	for _, m := range []struct {
		to *bool
		v  *bool
	}{{&f.modes.Maintenance, c.Maintenance}, {&f.modes.InviteOnly, c.InviteOnly}, {&f.modes.Raid, c.Raid}} {
		if m.v != nil {
			*m.to = *m.v
		}
	}
	return f.modes, nil
}

// fakeLive is what workers said lately.
type fakeLive struct {
	mu      sync.Mutex
	workers []horde.LiveWorker
	models  map[horde.Kind][]horde.ModelStatus
	active  map[horde.Kind][]horde.RequestID
}

func (f *fakeLive) Live(id horde.WorkerID) (horde.LiveWorker, bool) {
	for _, w := range f.LiveWorkers() {
		if w.ID == id {
			return w, true
		}
	}
	return horde.LiveWorker{}, false
}

func (f *fakeLive) LiveWorkers() []horde.LiveWorker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.workers)
}

func (f *fakeLive) Models(k horde.Kind) []horde.ModelStatus { return f.models[k] }

func (f *fakeLive) ActiveRequests(context.Context, horde.UserID) map[horde.Kind][]horde.RequestID {
	return f.active
}

// addWorker makes a worker that is online.
func (f *fakeRegistry) addWorker(live *fakeLive, now time.Time, w horde.Worker, c horde.Caps) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.workers[w.ID] = w
	live.mu.Lock()
	defer live.mu.Unlock()
	live.workers = append(live.workers, horde.LiveWorker{ID: w.ID, Kind: w.Kind, Owner: w.Owner, Caps: c, CheckedIn: now})
}

func workerID(n byte) horde.WorkerID { return horde.WorkerID{UUID: horde.UUID{15: n}} }

func TestAddresses(t *testing.T) {
	a := NewAddresses()
	ip := netip.MustParseAddr("192.0.2.1")
	a.Saw(workerID(1), ip)
	a.Saw(workerID(2), netip.Addr{})
	(*Addresses)(nil).Saw(workerID(1), ip)
	if got := a.Of(workerID(1)); got != "192.0.2.1" {
		t.Errorf("Of(1) = %q, want 192.0.2.1", got)
	}
	if got := a.Of(workerID(2)); got != "" {
		t.Errorf("Of(2) = %q, want none", got)
	}
	if got := (*Addresses)(nil).Of(workerID(1)); got != "" {
		t.Errorf("nil knows %q", got)
	}
	for i := range 2 * maxAddresses {
		a.Saw(horde.WorkerID{UUID: horde.UUID{1, 2: byte(i), 3: byte(i >> 8), 4: byte(i >> 16)}}, ip)
	}
	if n := len(a.seen); n > maxAddresses {
		t.Errorf("%d addresses remembered, want %d at most", n, maxAddresses)
	}
}

func TestCleanText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"some <b>info</b> & more", "some <b>info</b> &amp; more"},
		{"a<script>x</script>", "a&lt;script&gt;x&lt;/script&gt;"},
		{"<b>open", "<b>open</b>"},
		{"closed</b>", "closed&lt;/b&gt;"},
		{"<b><i>crossed</b></i>", "<b><i>crossed&lt;/b&gt;</i></b>"},
		{`<b onclick="x">`, `&lt;b onclick="x"&gt;`},
		{`<a href="javascript:x">y</a>`, `&lt;a href="javascript:x"&gt;y&lt;/a&gt;`},
		{"&amp; &#39; &#x27; &nope &", "&amp; &#39; &#x27; &amp;nope &amp;"},
		{"a\x00b\x07c\td", "ab?c\td"},
		{"  blanks \n", "blanks"},
		{"ünïcode ☃", "ünïcode ☃"},
	} {
		if got := cleanText(tt.in); got != tt.want {
			t.Errorf("cleanText(%q) = %q, want %q", tt.in, got, tt.want)
		}
		if got := cleanText(tt.in); strings.Contains(cleanText(got), "<script") {
			t.Errorf("cleanText twice of %q lets a script through", tt.in)
		}
	}
}

func TestSparse(t *testing.T) {
	type inner struct {
		A *int `json:"a"`
	}
	got, err := sparse(struct {
		Z string    `json:"z"`
		N *int      `json:"n"`
		L []int     `json:"l"`
		M []int     `json:"m"`
		E struct{}  `json:"e"`
		I inner     `json:"i"`
		H string    `json:"h-1"`
		F float64   `json:"f"`
		P *struct{} `json:"p"`
	}{Z: "<", L: []int{}, H: "null", F: 1.5})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"z":"<","l":[],"i":{"a":null},"h-1":"null","f":1.5}`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
