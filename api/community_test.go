package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

const custKey = "cust-key-0000000000000"

// newCommunityHarness is an account harness with a community behind it, and a customizer
// (10), who is not trusted.
func newCommunityHarness(t *testing.T, change ...func(*Config)) (*harness, *fakeCommunity) {
	t.Helper()
	h, registry, live := newAccountHarness(t, change...)
	h.accounts.add(custKey, horde.User{ID: 10, Name: "cust", Class: horde.ClassRegistered, Concurrency: 30, Roles: horde.RoleCustomizer})
	f := newFakeCommunity(h)
	f.registry, f.live = registry, live
	registry.isTeam = func(id horde.TeamID) bool { _, ok := f.teams[id]; return ok }
	h.s.deps.Community = f
	return h, f
}

func newFakeCommunity(h *harness) *fakeCommunity {
	return &fakeCommunity{
		h: h, order: map[horde.UUID]int{},
		teams: map[horde.TeamID]horde.Team{}, keys: map[horde.SharedKeyID]horde.SharedKey{}, styles: map[horde.StyleID]horde.Style{},
		collections: map[horde.StyleID]horde.Collection{}, messages: map[horde.MessageID]horde.WorkerMessage{}, filters: map[int64]horde.Filter{},
	}
}

// fakeCommunity is a small ledger of what people make together: it judges authority, names
// and counts as the real one, and calls are not concurrent.
type fakeCommunity struct {
	h        *harness
	registry *fakeRegistry
	live     *fakeLive
	order    map[horde.UUID]int // when things were made

	teams       map[horde.TeamID]horde.Team
	keys        map[horde.SharedKeyID]horde.SharedKey
	styles      map[horde.StyleID]horde.Style
	collections map[horde.StyleID]horde.Collection
	messages    map[horde.MessageID]horde.WorkerMessage
	filters     map[int64]horde.Filter
	made        int64
	sealed      bool // ids of shared keys cannot be read

	transfers []KeyTransfer
	queries   []StyleQuery
}

func (f *fakeCommunity) id() horde.UUID {
	id, err := horde.NewWorkerID(rand.Reader)
	if err != nil {
		f.h.Fatal(err)
	}
	f.order[id.UUID] = len(f.order)
	return id.UUID
}

func (f *fakeCommunity) user(id horde.UserID) horde.User {
	u, _ := f.h.accounts.User(id)
	return u
}

// oldest sorts values by when they were made.
func oldest[T any](f *fakeCommunity, all map[horde.UUID]T) []T {
	ids := slices.SortedFunc(maps.Keys(all), func(a, b horde.UUID) int { return cmp.Compare(f.order[a], f.order[b]) })
	out := []T{}
	for _, id := range ids {
		out = append(out, all[id])
	}
	return out
}

// byUUID drops the type of the ids.
func byUUID[K ~struct{ horde.UUID }, T any](all map[K]T) map[horde.UUID]T {
	out := map[horde.UUID]T{}
	for id, v := range all {
		out[struct{ horde.UUID }(id).UUID] = v
	}
	return out
}

func (f *fakeCommunity) Teams() []horde.Team { return oldest(f, byUUID(f.teams)) }

func (f *fakeCommunity) Team(id horde.TeamID) (horde.Team, bool) {
	t, ok := f.teams[id]
	return t, ok
}

func (f *fakeCommunity) TeamByName(name string) (horde.Team, bool) {
	for _, t := range f.teams {
		if strings.EqualFold(t.Name, name) {
			return t, true
		}
	}
	return horde.Team{}, false
}

func (f *fakeCommunity) CreateTeam(_ context.Context, n NewTeam) (horde.Team, error) {
	_, taken := f.TeamByName(n.Name)
	switch {
	case n.Actor == horde.Anonymous:
		return horde.Team{}, horde.Refuse(horde.RCAnonForbidden, "no")
	case !f.user(n.Actor).Is(horde.RoleTrusted):
		return horde.Team{}, horde.Refuse(horde.RCUntrustedTeamCreation, "no")
	case taken:
		return horde.Team{}, horde.Refuse(horde.RCTeamNameAlreadyExists, "no")
	}
	t := horde.Team{ID: horde.TeamID{UUID: f.id()}, Name: n.Name, Info: n.Info, Owner: n.Actor, Created: f.h.clock.now()}
	f.teams[t.ID] = t
	return t, nil
}

func (f *fakeCommunity) UpdateTeam(_ context.Context, c TeamChange) (horde.Team, error) {
	t := f.teams[c.Team]
	may := f.user(c.Actor).Is(horde.RoleModerator) || c.Actor == t.Owner
	if c.Info != nil {
		if !may {
			return t, horde.Refuse(horde.RCNotOwner, "no")
		}
		t.Info = *c.Info
	}
	if c.Name != nil {
		switch other, taken := f.TeamByName(*c.Name); {
		case !may:
			return t, horde.Refuse(horde.RCNotModerator, "no")
		case taken && other.ID != t.ID:
			return t, horde.Refuse(horde.RCTeamNameAlreadyExists, "no")
		}
		t.Name = *c.Name
	}
	if c.Info == nil && c.Name == nil {
		return t, horde.Refuse(horde.RCNoTeamModSelected, "no")
	}
	f.teams[t.ID] = t
	return t, nil
}

func (f *fakeCommunity) DeleteTeam(_ context.Context, actor horde.UserID, id horde.TeamID) (horde.Team, error) {
	t := f.teams[id]
	if !f.user(actor).Is(horde.RoleModerator) && actor != t.Owner {
		return t, horde.Refuse(horde.RCNotModerator, "no")
	}
	delete(f.teams, id)
	return t, nil
}

func (f *fakeCommunity) SharedKey(id horde.SharedKeyID) (horde.SharedKey, bool) {
	k, ok := f.keys[id]
	k.Ref = refOf(id)
	return k, ok
}

// refOf is what the fake ledger calls a shared key; it is not its id.
func refOf(id horde.SharedKeyID) horde.SharedKeyRef {
	id.UUID[15] ^= 0xff
	return horde.SharedKeyRef(id)
}

func (f *fakeCommunity) SharedKeyAt(ref horde.SharedKeyRef) (horde.SharedKey, bool) {
	return f.SharedKey(horde.SharedKeyID(refOf(horde.SharedKeyID(ref))))
}

func (f *fakeCommunity) SharedKeysOf(id horde.UserID) ([]horde.SharedKeyID, error) {
	if f.sealed {
		return nil, horde.Refuse(horde.RCUnavailable, "no")
	}
	var ids []horde.SharedKeyID
	for _, k := range oldest(f, byUUID(f.keys)) {
		if k.Owner == id {
			ids = append(ids, k.ID)
		}
	}
	return ids, nil
}

func (f *fakeCommunity) keysOf(id horde.UserID) []horde.SharedKeyID {
	ids, err := f.SharedKeysOf(id)
	if err != nil {
		f.h.Error(err)
	}
	return ids
}

func (f *fakeCommunity) CreateSharedKey(_ context.Context, n NewSharedKey) (horde.SharedKey, error) {
	switch {
	case n.Owner == horde.Anonymous:
		return horde.SharedKey{}, horde.Refuse(horde.RCAnonForbidden, "no")
	case len(f.keysOf(n.Owner)) >= 3:
		return horde.SharedKey{}, horde.Refuse(horde.RCForbidden, "no")
	}
	k := horde.SharedKey{
		ID: horde.SharedKeyID{UUID: f.id()}, Owner: n.Owner, Name: n.Name, Kudos: n.Kudos, Expires: n.Expires, Created: f.h.clock.now(),
		MaxImagePixels: n.MaxImagePixels, MaxImageSteps: n.MaxImageSteps, MaxTextTokens: n.MaxTextTokens,
	}
	f.keys[k.ID] = k
	return k, nil
}

// give sets a field if the change has one.
func give[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

func (f *fakeCommunity) UpdateSharedKey(_ context.Context, c SharedKeyChange) (horde.SharedKey, error) {
	k := f.keys[c.Key]
	switch {
	case c.Actor != k.Owner:
		return k, horde.Refuse(horde.RCForbidden, "no")
	case c == SharedKeyChange{Actor: c.Actor, Key: c.Key}:
		return k, horde.Refuse(horde.RCNoSharedKeyModSelected, "no")
	}
	give(&k.Kudos, c.Kudos)
	give(&k.Expires, c.Expires)
	give(&k.Name, c.Name)
	give(&k.MaxImagePixels, c.MaxImagePixels)
	give(&k.MaxImageSteps, c.MaxImageSteps)
	give(&k.MaxTextTokens, c.MaxTextTokens)
	f.keys[k.ID] = k
	return k, nil
}

func (f *fakeCommunity) DeleteSharedKey(_ context.Context, actor horde.UserID, id horde.SharedKeyID) error {
	if f.keys[id].Owner != actor {
		return horde.Refuse(horde.RCForbidden, "no")
	}
	delete(f.keys, id)
	return nil
}

func (f *fakeCommunity) TransferToKey(_ context.Context, t KeyTransfer) error {
	k, ok := f.keys[t.To]
	switch {
	case !ok:
		return horde.Refuse(horde.RCInvalidTargetUsername, "no")
	case k.Valid(f.h.clock.now()) == horde.RCSharedKeyExpired:
		return horde.Refuse(horde.RCSharedKeyExpired, "no")
	case k.Owner == t.From:
		return horde.Refuse(horde.RCKudosTransferToSelf, "no")
	}
	f.transfers = append(f.transfers, t)
	return nil
}

func (f *fakeCommunity) Styles(kind horde.Kind, q StyleQuery) []horde.Style {
	f.queries = append(f.queries, q)
	var list []horde.Style
	for _, s := range oldest(f, byUUID(f.styles)) {
		if s.Kind == kind && s.Public && (q.Tag == "" || slices.Contains(s.Tags, q.Tag)) && (q.Model == "" || slices.Contains(s.Models, q.Model)) {
			list = append(list, s)
		}
	}
	return list
}

func (f *fakeCommunity) Style(id horde.StyleID) (horde.Style, bool) {
	s, ok := f.styles[id]
	return s, ok
}

func (f *fakeCommunity) StyleByName(owner *horde.UserID, name string, kind *horde.Kind) (horde.Style, bool) {
	for _, s := range oldest(f, byUUID(f.styles)) {
		if s.Name == name && (owner == nil || s.Owner == *owner) && (kind == nil || s.Kind == *kind) {
			return s, true
		}
	}
	return horde.Style{}, false
}

func (f *fakeCommunity) StylesOf(id horde.UserID) []horde.Style {
	var list []horde.Style
	for _, s := range oldest(f, byUUID(f.styles)) {
		if s.Owner == id {
			list = append(list, s)
		}
	}
	return list
}

func (f *fakeCommunity) CreateStyle(_ context.Context, n NewStyle) (horde.Style, error) {
	s := horde.Style{
		ID: horde.StyleID{UUID: f.id()}, Kind: n.Kind, Name: n.Name, Owner: n.Actor, Info: n.Info, Prompt: n.Prompt, Params: n.Params,
		Models: n.Models, Tags: n.Tags, Public: n.Public, NSFW: n.NSFW, SharedKey: n.SharedKey, Created: f.h.clock.now(),
	}
	f.styles[s.ID] = s
	return s, nil
}

func (f *fakeCommunity) UpdateStyle(_ context.Context, c StyleChange) (horde.Style, error) {
	s := f.styles[c.Style]
	give(&s.Name, c.Name)
	give(&s.Info, c.Info)
	give(&s.Prompt, c.Prompt)
	give(&s.Public, c.Public)
	give(&s.NSFW, c.NSFW)
	give(&s.SharedKey, c.SharedKey)
	if c.Params != nil {
		s.Params = c.Params
	}
	if c.Models != nil {
		s.Models = c.Models
	}
	if c.Tags != nil {
		s.Tags = c.Tags
	}
	f.styles[s.ID] = s
	return s, nil
}

// mayStyle tells whether a user may delete a style or change its pictures.
func (f *fakeCommunity) mayStyle(actor horde.UserID, id horde.StyleID) error {
	if f.styles[id].Owner != actor && !f.user(actor).Is(horde.RoleModerator) {
		return horde.Refuse(horde.RCForbidden, "no")
	}
	return nil
}

func (f *fakeCommunity) DeleteStyle(_ context.Context, actor horde.UserID, id horde.StyleID) error {
	if err := f.mayStyle(actor, id); err != nil {
		return err
	}
	delete(f.styles, id)
	return nil
}

func (f *fakeCommunity) AddExample(_ context.Context, n NewExample) (horde.StyleExample, error) {
	s := f.styles[n.Style]
	switch err := f.mayStyle(n.Actor, n.Style); {
	case err != nil:
		return horde.StyleExample{}, err
	case s.Kind != horde.KindImage:
		return horde.StyleExample{}, horde.Refuse(horde.RCBadRequest, "no")
	case len(s.Examples) >= 4:
		return horde.StyleExample{}, horde.Refuse(horde.RCForbidden, "no")
	}
	e := horde.StyleExample{ID: horde.StyleID{UUID: f.id()}, URL: n.URL, Primary: n.Primary}
	s.Examples = append(slices.Clone(s.Examples), e)
	f.styles[s.ID] = s
	return e, nil
}

func (f *fakeCommunity) UpdateExample(_ context.Context, c ExampleChange) (horde.StyleExample, error) {
	if err := f.mayStyle(c.Actor, c.Style); err != nil {
		return horde.StyleExample{}, err
	}
	for i, e := range f.styles[c.Style].Examples {
		if e.ID == c.Example {
			give(&f.styles[c.Style].Examples[i].URL, c.URL)
			give(&f.styles[c.Style].Examples[i].Primary, c.Primary)
		}
	}
	return horde.StyleExample{ID: c.Example}, nil
}

func (f *fakeCommunity) DeleteExample(_ context.Context, actor horde.UserID, style, example horde.StyleID) error {
	if err := f.mayStyle(actor, style); err != nil {
		return err
	}
	s := f.styles[style]
	s.Examples = slices.DeleteFunc(slices.Clone(s.Examples), func(e horde.StyleExample) bool { return e.ID == example })
	f.styles[style] = s
	return nil
}

func (f *fakeCommunity) Collections(kind *horde.Kind, q StyleQuery) []horde.Collection {
	f.queries = append(f.queries, q)
	var list []horde.Collection
	for _, c := range oldest(f, byUUID(f.collections)) {
		if c.Public && (kind == nil || c.Kind == *kind) {
			list = append(list, c)
		}
	}
	return list
}

func (f *fakeCommunity) Collection(id horde.StyleID) (horde.Collection, bool) {
	c, ok := f.collections[id]
	return c, ok
}

func (f *fakeCommunity) CollectionByName(owner *horde.UserID, name string) (horde.Collection, bool) {
	for _, c := range oldest(f, byUUID(f.collections)) {
		if c.Name == name && (owner == nil || c.Owner == *owner) {
			return c, true
		}
	}
	return horde.Collection{}, false
}

func (f *fakeCommunity) CreateCollection(_ context.Context, n NewCollection) (horde.Collection, error) {
	c := horde.Collection{ID: horde.StyleID{UUID: f.id()}, Kind: n.Kind, Name: n.Name, Owner: n.Actor, Info: n.Info, Public: n.Public, Styles: n.Styles}
	f.collections[c.ID] = c
	return c, nil
}

func (f *fakeCommunity) UpdateCollection(_ context.Context, c CollectionChange) (horde.Collection, error) {
	now := f.collections[c.Collection]
	give(&now.Name, c.Name)
	give(&now.Info, c.Info)
	give(&now.Public, c.Public)
	if c.Styles != nil {
		now.Styles = c.Styles
	}
	f.collections[now.ID] = now
	return now, nil
}

func (f *fakeCommunity) DeleteCollection(_ context.Context, actor horde.UserID, id horde.StyleID) error {
	if f.collections[id].Owner != actor && !f.user(actor).Is(horde.RoleModerator) {
		return horde.Refuse(horde.RCForbidden, "no")
	}
	delete(f.collections, id)
	return nil
}

func (f *fakeCommunity) Messages() []horde.WorkerMessage { return oldest(f, byUUID(f.messages)) }

func (f *fakeCommunity) MessagesFor(id horde.WorkerID) []horde.WorkerMessage {
	var list []horde.WorkerMessage
	for _, m := range f.Messages() {
		if m.Worker == id || m.Worker.IsZero() {
			list = append(list, m)
		}
	}
	return list
}

func (f *fakeCommunity) Message(id horde.MessageID) (horde.WorkerMessage, bool) {
	m, ok := f.messages[id]
	return m, ok
}

func (f *fakeCommunity) PostMessage(_ context.Context, n NewMessage) (horde.WorkerMessage, error) {
	w, _ := f.h.accounts.Worker(n.Worker)
	if !f.user(n.Actor).Is(horde.RoleModerator) && w.Owner != n.Actor {
		return horde.WorkerMessage{}, horde.Refuse(horde.RCMessagesOnlyOwnWorkers, "no")
	}
	m := horde.WorkerMessage{
		ID: horde.MessageID{UUID: f.id()}, Worker: n.Worker, User: n.Actor, Message: n.Message, Origin: n.Origin,
		Created: f.h.clock.now(), Expires: n.Expires,
	}
	f.messages[m.ID] = m
	return m, nil
}

func (f *fakeCommunity) DeleteMessage(_ context.Context, actor horde.UserID, id horde.MessageID) error {
	if f.messages[id].User != actor && !f.user(actor).Is(horde.RoleModerator) {
		return horde.Refuse(horde.RCForbidden, "no")
	}
	delete(f.messages, id)
	return nil
}

func (f *fakeCommunity) Filters() []horde.Filter {
	var list []horde.Filter
	for _, id := range slices.Sorted(maps.Keys(f.filters)) {
		list = append(list, f.filters[id])
	}
	return list
}

func (f *fakeCommunity) Filter(id int64) (horde.Filter, bool) {
	v, ok := f.filters[id]
	return v, ok
}

func (f *fakeCommunity) PutFilter(_ context.Context, n NewFilter) (horde.Filter, error) {
	for _, v := range f.filters {
		if v.Regex == n.Regex && v.Type == n.Type {
			return v, nil
		}
	}
	f.made++
	v := horde.Filter{ID: f.made, Regex: n.Regex, Type: n.Type, Description: n.Description, Replacement: n.Replacement, Editor: n.Actor}
	f.filters[v.ID] = v
	return v, nil
}

func (f *fakeCommunity) UpdateFilter(_ context.Context, c FilterChange) (horde.Filter, error) {
	if c.Regex == nil && c.Type == nil && c.Description == nil && c.Replacement == nil {
		return horde.Filter{}, horde.Refuse(horde.RCNoFilterModSelected, "no")
	}
	v := f.filters[c.Filter]
	give(&v.Regex, c.Regex)
	give(&v.Type, c.Type)
	give(&v.Description, c.Description)
	give(&v.Replacement, c.Replacement)
	v.Editor = c.Actor
	f.filters[v.ID] = v
	return v, nil
}

func (f *fakeCommunity) DeleteFilter(_ context.Context, _ horde.UserID, id int64) error {
	delete(f.filters, id)
	return nil
}

func TestCommunityLimits(t *testing.T) {
	for _, tt := range []struct {
		method, path, body string
		allowed            int
		text               string
	}{
		{"GET", "/api/v2/styles/image", "", 2, "2 per 1 second"},
		{"POST", "/api/v2/collections", "{}", 2, "2 per 1 second"},
		{"PUT", "/api/v2/sharedkeys", "{}", 5, "5 per 1 minute"},
		{"GET", "/api/v2/teams", "", 30, "30 per 1 minute"},
		{"GET", "/api/v2/styles/image_by_name/x", "", 90, "90 per 1 minute"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			h, _ := newCommunityHarness(t, func(c *Config) { c.NoRateLimits = false })
			for range tt.allowed {
				if got := h.do(tt.method, tt.path, "", tt.body); got.status == 429 {
					t.Fatalf("refused too early: %s", got.body)
				}
			}
			h.do(tt.method, tt.path, "", tt.body).wants(429, "").golden(`{"message":"` + tt.text + `"}`)
		})
	}
	h, _ := newCommunityHarness(t, func(c *Config) { c.NoRateLimits = false })
	for range 20 {
		h.clock.advance(time.Second)
		h.do("GET", "/api/v2/styles/text", "", nil).wants(200, "")
	}
	h.do("GET", "/api/v2/styles/text", "", nil).wants(429, "").golden(`{"message":"20 per 1 hour"}`)
}
