package ledger

import (
	"cmp"
	"context"
	"slices"
	"unicode/utf8"

	"hordenode/internal/horde"
)

const (
	maxStyleName  = 100 // characters
	maxPrompt     = 64 << 10
	maxParams     = 32 << 10 // bytes of JSON
	maxModels     = 5
	maxTags       = 10
	maxExamples   = 4
	maxStyles     = 1000 // of one owner; as many collections
	stylesPerPage = 25
	styleReward   = horde.Kudos(2_00)
	sortPopular   = "popular"
)

// style is a stored prompt with parameters. Its SharedKey and the key's list agree.
type style struct {
	Kind      horde.Kind           `cbor:"1,keyasint,omitempty"`
	Name      string               `cbor:"2,keyasint"`
	Owner     horde.UserID         `cbor:"3,keyasint,omitempty"`
	Info      string               `cbor:"4,keyasint,omitempty"`
	Prompt    string               `cbor:"5,keyasint,omitempty"`
	Params    []byte               `cbor:"6,keyasint,omitempty"`
	Models    []string             `cbor:"7,keyasint,omitempty"`
	Tags      []string             `cbor:"8,keyasint,omitempty"`
	Public    bool                 `cbor:"9,keyasint,omitempty"`
	NSFW      bool                 `cbor:"10,keyasint,omitempty"`
	SharedKey horde.SharedKeyRef   `cbor:"11,keyasint,omitzero"`
	UseCount  int64                `cbor:"12,keyasint,omitempty"`
	Created   int64                `cbor:"13,keyasint"`
	Examples  []horde.StyleExample `cbor:"14,keyasint,omitempty"`
}

func (s *style) view(id horde.StyleID) horde.Style {
	return horde.Style{
		ID: id, Kind: s.Kind, Name: s.Name, Owner: s.Owner, Info: s.Info, Prompt: s.Prompt, Params: slices.Clone(s.Params),
		Models: slices.Clone(s.Models), Tags: slices.Clone(s.Tags), Public: s.Public, NSFW: s.NSFW, SharedKey: s.SharedKey,
		UseCount: s.UseCount, Created: moment(s.Created), Examples: slices.Clone(s.Examples),
	}
}

// check refuses what a style cannot be.
func (s *style) check() error {
	switch {
	case s.Kind != horde.KindImage && s.Kind != horde.KindText:
		return horde.Refuse(horde.RCBadRequest, "Styles are for images or texts.")
	case s.Name == "" || utf8.RuneCountInString(s.Name) > maxStyleName:
		return horde.Refuse(horde.RCBadRequest, "The name has 1 to %d characters.", maxStyleName)
	case len(s.Info) > maxText || len(s.Prompt) > maxPrompt || len(s.Params) > maxParams:
		return horde.Refuse(horde.RCBadRequest, "The info, the prompt or the parameters are too long.")
	case len(s.Models) < 1 || len(s.Models) > maxModels || tooLong(s.Models):
		return horde.Refuse(horde.RCBadRequest, "A style has 1 to %d models.", maxModels)
	case len(s.Tags) > maxTags || tooLong(s.Tags):
		return horde.Refuse(horde.RCBadRequest, "A style has at most %d tags.", maxTags)
	}
	return nil
}

func tooLong(list []string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return len(s) > maxShortText })
}

// styleRow is what a command that answers with a style returns.
type styleRow struct {
	ID    horde.StyleID `cbor:"1,keyasint"`
	Style style         `cbor:"2,keyasint"`
}

func decodeStyle(data []byte, err error) (horde.Style, error) {
	r, err := decodeRow[styleRow](data, err)
	return r.Style.view(r.ID), err
}

func styleNotFound() error {
	return horde.Refuse(horde.RCStyleNotFound, "There is no such style.")
}

// styleNamed returns the oldest style of a name, of an owner and a kind if they are given.
func (s *state) styleNamed(owner *horde.UserID, name string, kind *horde.Kind) (horde.StyleID, *style) {
	if ids := s.styleNames.get(name); ids != nil {
		for _, id := range *ids {
			if st := s.styles.get(id); (owner == nil || st.Owner == *owner) && (kind == nil || st.Kind == *kind) {
				return id, st
			}
		}
	}
	return horde.StyleID{}, nil
}

// list adds an id to the list that a key of an index has; unlist takes it out.
func list[K comparable, V comparable](t *table[K, []V], k K, v V) {
	var old []V
	if have := t.get(k); have != nil {
		old = *have
	}
	t.put(k, with(old, v))
}

func unlist[K comparable, V comparable](t *table[K, []V], k K, v V) {
	if have := t.get(k); have != nil {
		if left := without(*have, v); len(left) > 0 {
			t.put(k, left)
		} else {
			t.remove(k)
		}
	}
}

// attach makes a style use a shared key, which may be anybody's; the zero key is none.
func (tx *tx) attach(id horde.StyleID, key horde.SharedKeyRef) error {
	s := tx.styles.edit(id)
	if s.SharedKey == key {
		return nil
	}
	if !key.IsZero() {
		k := tx.sharedKeys.get(key)
		if k == nil {
			return horde.Refuse(horde.RCBadRequest, "There is no such shared key.")
		}
		if err := k.valid(tx.now); err != nil {
			return horde.Refuse(horde.RCBadRequest, "The shared key is empty or has expired.")
		}
		if len(k.Styles) >= maxStyles {
			return horde.Refuse(horde.RCBadRequest, "A shared key can serve %d styles.", maxStyles)
		}
	}
	tx.detach(id, s.SharedKey)
	s.SharedKey = key
	if k := tx.sharedKeys.edit(key); k != nil {
		k.Styles = with(k.Styles, id)
	}
	return nil
}

func (tx *tx) detach(id horde.StyleID, key horde.SharedKeyRef) {
	if k := tx.sharedKeys.edit(key); k != nil {
		k.Styles = without(k.Styles, id)
	}
}

// A NewStyle is a style that is to be made.
type NewStyle struct {
	Actor     horde.UserID       `cbor:"1,keyasint,omitempty"`
	Kind      horde.Kind         `cbor:"2,keyasint,omitempty"`
	Name      string             `cbor:"3,keyasint"`
	Info      string             `cbor:"4,keyasint,omitempty"`
	Prompt    string             `cbor:"5,keyasint,omitempty"`
	Params    []byte             `cbor:"6,keyasint,omitempty"` // JSON
	Models    []string           `cbor:"7,keyasint,omitempty"`
	Tags      []string           `cbor:"8,keyasint,omitempty"`
	Public    bool               `cbor:"9,keyasint,omitempty"`
	NSFW      bool               `cbor:"10,keyasint,omitempty"`
	SharedKey horde.SharedKeyRef `cbor:"11,keyasint,omitzero"` // zero: none
}

// createStyle is a NewStyle on its way.
type createStyle struct {
	ID  horde.StyleID `cbor:"1,keyasint"`
	New NewStyle      `cbor:"2,keyasint"`
}

// CreateStyle makes a style.
func (c *Client) CreateStyle(ctx context.Context, n NewStyle) (horde.Style, error) {
	id, err := c.newID()
	if err != nil {
		return horde.Style{}, err
	}
	return decodeStyle(c.everywhere(ctx, encodeCommand(kindCreateStyle, createStyle{horde.StyleID{UUID: id}, n})))
}

// apply decides in the order of spec/accounts.md section 9.3.
func (c *createStyle) apply(tx *tx) ([]byte, error) {
	n := &c.New
	actor := tx.user(n.Actor)
	s := style{
		Kind: n.Kind, Name: n.Name, Owner: n.Actor, Info: n.Info, Prompt: n.Prompt, Params: n.Params, Models: n.Models, Tags: n.Tags,
		Public: n.Public, NSFW: n.NSFW, Created: tx.now,
	}
	switch {
	case actor == nil:
		return nil, actorGone()
	case !actor.is(horde.RoleTrusted) && !actor.is(horde.RoleCustomizer) || n.Actor == horde.Anonymous:
		return nil, horde.Refuse(horde.RCStylesRequiresCustomizer, "Only customizers and trusted users can make styles.")
	case c.ID.IsZero() || tx.styles.has(c.ID) || tx.collections.has(c.ID):
		return nil, horde.Refuse(horde.RCBadRequest, "Such a style cannot be made.")
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	tx.styles.put(c.ID, s)
	if err := tx.attach(c.ID, n.SharedKey); err != nil {
		return nil, err
	}
	_, taken := tx.styleNamed(&n.Actor, n.Name, nil)
	switch {
	case actor.is(horde.RoleDeleted):
		return nil, horde.Refuse(horde.RCDeletedUser, "This account is deleted.")
	case taken != nil:
		return nil, horde.Refuse(horde.RCBadRequest, "You have a style of this name already.")
	case len(tx.ids(tx.stylesOf, n.Actor)) >= maxStyles:
		return nil, horde.Refuse(horde.RCBadRequest, "An account can have %d styles.", maxStyles)
	}
	list(tx.styleNames, n.Name, c.ID)
	list(tx.stylesOf, n.Actor, c.ID)
	return encode(styleRow{c.ID, *tx.styles.get(c.ID)}), nil
}

// ids returns the list that a user has in an index. Do not change it.
func (s *state) ids(t *table[horde.UserID, []horde.StyleID], id horde.UserID) []horde.StyleID {
	if l := t.get(id); l != nil {
		return *l
	}
	return nil
}

// A StyleChange is what PATCH /styles may change; nil fields stay as they are.
type StyleChange struct {
	Actor     horde.UserID        `cbor:"1,keyasint,omitempty"`
	Style     horde.StyleID       `cbor:"2,keyasint"`
	Name      *string             `cbor:"3,keyasint,omitempty"`
	Info      *string             `cbor:"4,keyasint,omitempty"`
	Prompt    *string             `cbor:"5,keyasint,omitempty"`
	Params    []byte              `cbor:"6,keyasint"`
	Models    []string            `cbor:"7,keyasint"` // not nil, be it empty: replaces all
	Tags      []string            `cbor:"8,keyasint"` // likewise
	Public    *bool               `cbor:"9,keyasint,omitempty"`
	NSFW      *bool               `cbor:"10,keyasint,omitempty"`
	SharedKey *horde.SharedKeyRef `cbor:"11,keyasint,omitempty"` // the zero key: none
}

// updateStyle is a StyleChange on its way.
type updateStyle StyleChange

// UpdateStyle makes all changes or none and returns the style afterwards.
func (c *Client) UpdateStyle(ctx context.Context, s StyleChange) (horde.Style, error) {
	return decodeStyle(c.everywhere(ctx, encodeCommand(kindUpdateStyle, s)))
}

// apply lets the owner change a style; moderators are not exempt (spec/accounts.md section
// 9.4).
func (c *updateStyle) apply(tx *tx) ([]byte, error) {
	s := tx.styles.get(c.Style)
	switch {
	case tx.user(c.Actor) == nil:
		return nil, actorGone()
	case s == nil:
		return nil, styleNotFound()
	case s.Owner != c.Actor:
		return nil, horde.Refuse(horde.RCForbidden, "Only its owner may change a style.")
	}
	s = tx.styles.edit(c.Style)
	if c.SharedKey != nil {
		if err := tx.attach(c.Style, *c.SharedKey); err != nil {
			return nil, err
		}
	}
	if c.Name != nil && *c.Name != s.Name {
		if _, taken := tx.styleNamed(&c.Actor, *c.Name, nil); taken != nil {
			return nil, horde.Refuse(horde.RCBadRequest, "You have a style of this name already.")
		}
		unlist(tx.styleNames, s.Name, c.Style)
		list(tx.styleNames, *c.Name, c.Style)
		s.Name = *c.Name
	}
	set(&s.Info, c.Info)
	set(&s.Prompt, c.Prompt)
	set(&s.Public, c.Public)
	set(&s.NSFW, c.NSFW)
	if c.Params != nil {
		s.Params = c.Params
	}
	if c.Models != nil {
		s.Models = c.Models
	}
	if c.Tags != nil {
		s.Tags = c.Tags
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return encode(styleRow{c.Style, *s}), nil
}

// deleteStyle removes a style.
type deleteStyle struct {
	Actor horde.UserID  `cbor:"1,keyasint,omitempty"`
	Style horde.StyleID `cbor:"2,keyasint"`
}

// DeleteStyle removes a style, out of all collections too.
func (c *Client) DeleteStyle(ctx context.Context, actor horde.UserID, id horde.StyleID) error {
	_, err := c.everywhere(ctx, encodeCommand(kindDeleteStyle, deleteStyle{actor, id}))
	return err
}

func (c *deleteStyle) apply(tx *tx) ([]byte, error) {
	if err := tx.mayEditStyle(c.Actor, c.Style); err != nil {
		return nil, err
	}
	s := tx.styles.get(c.Style)
	tx.detach(c.Style, s.SharedKey)
	unlist(tx.styleNames, s.Name, c.Style)
	unlist(tx.stylesOf, s.Owner, c.Style)
	tx.collections.all(func(id horde.StyleID, l *collection) bool {
		if slices.Contains(l.Styles, c.Style) {
			edited := tx.collections.edit(id)
			edited.Styles = without(edited.Styles, c.Style)
		}
		return true
	})
	tx.styles.remove(c.Style)
	return nil, nil
}

// mayEditStyle refuses who is neither the owner of a style nor a moderator.
func (tx *tx) mayEditStyle(id horde.UserID, of horde.StyleID) error {
	actor, s := tx.user(id), tx.styles.get(of)
	switch {
	case actor == nil:
		return actorGone()
	case id == horde.Anonymous:
		return horde.Refuse(horde.RCStylesAnonForbidden, "Anonymous cannot change styles.")
	case s == nil:
		return styleNotFound()
	case s.Owner != id && !actor.is(horde.RoleModerator):
		return horde.Refuse(horde.RCForbidden, "Only its owner or a moderator may do this to a style.")
	}
	return nil
}

// useStyle counts that a request applied a style and rewards the style's author, but never
// for a request that the author pays for.
func (tx *tx) useStyle(id, from horde.StyleID, payer horde.UserID) error {
	if c := tx.collections.get(from); c != nil && c.Owner != payer {
		tx.collections.edit(from).UseCount++
	}
	s := tx.styles.get(id)
	if s == nil || s.Owner == payer { // it may have been deleted meanwhile
		return nil
	}
	s = tx.styles.edit(id)
	s.UseCount++
	author := tx.user(s.Owner)
	if author == nil || author.Kudos > maxBalance-styleReward {
		return nil
	}
	tx.users.edit(s.Owner).Styles[s.Kind]++
	tx.alone(styleReward)
	tx.because(ReasonStyle)
	return tx.post(spendable(s.Owner, actionStyled, styleReward), system(AccountStyle, -styleReward))
}

// A StyleQuery selects and orders styles or collections.
type StyleQuery struct {
	Sort  string // "popular" (most used first) or "age" (oldest first)
	Page  int    // 1 is the first
	Tag   string // "": any
	Model string // "": any
}

// Styles returns a page of the public styles of a kind. As in the reference, a page begins
// one style, not one page, after the page before (spec/accounts.md section 9.3).
func (r Reader) Styles(kind horde.Kind, q StyleQuery) []horde.Style {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	var found []ranked
	r.m.s.styles.all(func(id horde.StyleID, s *style) bool {
		if s.Public && s.Kind == kind && (q.Tag == "" || slices.Contains(s.Tags, q.Tag)) && (q.Model == "" || slices.Contains(s.Models, q.Model)) {
			found = append(found, ranked{id, s.UseCount, s.Created})
		}
		return true
	})
	var page []horde.Style
	for _, f := range paged(found, q) {
		page = append(page, r.m.s.styles.get(f.id).view(f.id))
	}
	return page
}

// ranked is what lists of styles are ordered by.
type ranked struct {
	id            horde.StyleID
	uses, created int64
}

// paged sorts and returns one page.
func paged(found []ranked, q StyleQuery) []ranked {
	slices.SortFunc(found, func(a, b ranked) int {
		if c := cmp.Compare(b.uses, a.uses); c != 0 && q.Sort == sortPopular {
			return c
		}
		return cmp.Or(cmp.Compare(a.created, b.created), compareUUID(a.id.UUID, b.id.UUID))
	})
	found = found[min(max(q.Page, 1)-1, len(found)):]
	return found[:min(stylesPerPage, len(found))]
}

// Style finds a style.
func (r Reader) Style(id horde.StyleID) (horde.Style, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if s := r.m.s.styles.get(id); s != nil {
		return s.view(id), true
	}
	return horde.Style{}, false
}

// StyleByName finds the oldest style of that name; owner and kind may be nil: any.
func (r Reader) StyleByName(owner *horde.UserID, name string, kind *horde.Kind) (horde.Style, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if id, s := r.m.s.styleNamed(owner, name, kind); s != nil {
		return s.view(id), true
	}
	return horde.Style{}, false
}

// StylesOf returns a user's styles, oldest first.
func (r Reader) StylesOf(id horde.UserID) []horde.Style {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	ids := r.m.s.ids(r.m.s.stylesOf, id)
	styles := make([]horde.Style, 0, len(ids))
	for _, s := range ids {
		styles = append(styles, r.m.s.styles.get(s).view(s))
	}
	return styles
}
