package ledger

import (
	"cmp"
	"context"
	"slices"

	"hordenode/internal/horde"
)

const (
	maxFilters                   = 5000
	maxRegex                     = 16 << 10 // bytes
	minFilterType, maxFilterType = 10, 29
)

// filter is an expression that prompts are checked with. It is not compiled here: only the
// nodes that use it need to understand it.
type filter struct {
	Regex       string       `cbor:"1,keyasint"`
	Type        int          `cbor:"2,keyasint"`
	Description string       `cbor:"3,keyasint,omitempty"`
	Replacement string       `cbor:"4,keyasint,omitempty"`
	Editor      horde.UserID `cbor:"5,keyasint,omitempty"`
}

func (f *filter) view(id int64) horde.Filter {
	return horde.Filter{ID: id, Regex: f.Regex, Type: f.Type, Description: f.Description, Replacement: f.Replacement, Editor: f.Editor}
}

func (f *filter) check() error {
	switch {
	case f.Regex == "" || len(f.Regex) > maxRegex:
		return horde.Refuse(horde.RCBadRequest, "An expression has 1 to %d bytes.", maxRegex)
	case f.Type < minFilterType || f.Type > maxFilterType:
		return horde.Refuse(horde.RCBadRequest, "The type of a filter is %d to %d.", minFilterType, maxFilterType)
	case len(f.Description) > maxText || len(f.Replacement) > maxShortText:
		return horde.Refuse(horde.RCBadRequest, "The description or the replacement is too long.")
	}
	return nil
}

// filterRow is what a command that answers with a filter returns.
type filterRow struct {
	ID     int64  `cbor:"1,keyasint"`
	Filter filter `cbor:"2,keyasint"`
}

func decodeFilter(data []byte, err error) (horde.Filter, error) {
	r, err := decodeRow[filterRow](data, err)
	return r.Filter.view(r.ID), err
}

// mayFilter refuses actors who are not moderators.
func (tx *tx) mayFilter(id horde.UserID) error {
	switch actor := tx.user(id); {
	case actor == nil:
		return actorGone()
	case !actor.is(horde.RoleModerator):
		return horde.Refuse(horde.RCNotModerator, "Only a moderator may change filters.")
	}
	return nil
}

func filterNotFound() error {
	return horde.Refuse(horde.RCFilterNotFound, "There is no such filter.")
}

// A NewFilter is a filter that is to be made.
type NewFilter struct {
	Actor       horde.UserID `cbor:"1,keyasint,omitempty"`
	Regex       string       `cbor:"2,keyasint"`
	Type        int          `cbor:"3,keyasint"` // 10 to 29
	Description string       `cbor:"4,keyasint,omitempty"`
	Replacement string       `cbor:"5,keyasint,omitempty"`
}

// putFilter is a NewFilter on its way.
type putFilter NewFilter

// PutFilter makes a filter, or returns the one that has the same expression and type.
func (c *Client) PutFilter(ctx context.Context, n NewFilter) (horde.Filter, error) {
	return decodeFilter(c.everywhere(ctx, encodeCommand(kindPutFilter, n)))
}

func (c *putFilter) apply(tx *tx) ([]byte, error) {
	if err := tx.mayFilter(c.Actor); err != nil {
		return nil, err
	}
	f := filter{Regex: c.Regex, Type: c.Type, Description: c.Description, Replacement: c.Replacement, Editor: c.Actor}
	if err := f.check(); err != nil {
		return nil, err
	}
	first := tx.likeFilter(f.Regex, f.Type)
	switch {
	case first != 0:
		return encode(filterRow{first, *tx.filters.get(first)}), nil
	case tx.filters.live >= maxFilters:
		return nil, horde.Refuse(horde.RCBadRequest, "There can be %d filters.", maxFilters)
	}
	m := tx.meta.edit(unit{})
	m.LastFilter++
	tx.filters.put(m.LastFilter, f)
	return encode(filterRow{m.LastFilter, f}), nil
}

// likeFilter is the lowest id of the filters with that expression and type; 0: there is none.
func (s *state) likeFilter(regex string, kind int) (first int64) {
	s.filters.all(func(id int64, other *filter) bool {
		if other.Regex == regex && other.Type == kind && (first == 0 || id < first) {
			first = id
		}
		return true
	})
	return first
}

// A FilterChange is what PATCH /filters may change; nil fields stay as they are.
type FilterChange struct {
	Actor       horde.UserID `cbor:"1,keyasint,omitempty"`
	Filter      int64        `cbor:"2,keyasint"`
	Regex       *string      `cbor:"3,keyasint,omitempty"`
	Type        *int         `cbor:"4,keyasint,omitempty"`
	Description *string      `cbor:"5,keyasint,omitempty"`
	Replacement *string      `cbor:"6,keyasint,omitempty"`
}

// updateFilter is a FilterChange on its way.
type updateFilter FilterChange

// UpdateFilter makes all changes or none and returns the filter afterwards.
func (c *Client) UpdateFilter(ctx context.Context, f FilterChange) (horde.Filter, error) {
	return decodeFilter(c.everywhere(ctx, encodeCommand(kindUpdateFilter, f)))
}

func (c *updateFilter) apply(tx *tx) ([]byte, error) {
	if err := tx.mayFilter(c.Actor); err != nil {
		return nil, err
	}
	f := tx.filters.edit(c.Filter)
	switch {
	case f == nil:
		return nil, filterNotFound()
	case c.Regex == nil && c.Type == nil && c.Description == nil && c.Replacement == nil:
		return nil, horde.Refuse(horde.RCNoFilterModSelected, "Nothing to change was given.")
	}
	set(&f.Regex, c.Regex)
	set(&f.Type, c.Type)
	set(&f.Description, c.Description)
	set(&f.Replacement, c.Replacement)
	f.Editor = c.Actor
	if err := f.check(); err != nil {
		return nil, err
	}
	return encode(filterRow{c.Filter, *f}), nil
}

// deleteFilter removes a filter.
type deleteFilter struct {
	Actor  horde.UserID `cbor:"1,keyasint,omitempty"`
	Filter int64        `cbor:"2,keyasint"`
}

// DeleteFilter removes a filter.
func (c *Client) DeleteFilter(ctx context.Context, actor horde.UserID, id int64) error {
	_, err := c.everywhere(ctx, encodeCommand(kindDeleteFilter, deleteFilter{actor, id}))
	return err
}

func (c *deleteFilter) apply(tx *tx) ([]byte, error) {
	if err := tx.mayFilter(c.Actor); err != nil {
		return nil, err
	}
	if !tx.filters.has(c.Filter) {
		return nil, filterNotFound()
	}
	tx.filters.remove(c.Filter)
	return nil, nil
}

// Filters returns all filters in the order of their ids.
func (r Reader) Filters() []horde.Filter {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	list := make([]horde.Filter, 0, r.m.s.filters.live)
	r.m.s.filters.all(func(id int64, f *filter) bool {
		list = append(list, f.view(id))
		return true
	})
	slices.SortFunc(list, func(a, b horde.Filter) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Filter finds a filter.
func (r Reader) Filter(id int64) (horde.Filter, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if f := r.m.s.filters.get(id); f != nil {
		return f.view(id), true
	}
	return horde.Filter{}, false
}
