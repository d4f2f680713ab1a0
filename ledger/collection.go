package ledger

import (
	"context"
	"slices"
	"unicode/utf8"

	"hordenode/internal/horde"
)

// maxCollected bounds the styles of one collection.
const maxCollected = 500

// collection names several styles of one kind.
type collection struct {
	Kind     horde.Kind      `cbor:"1,keyasint,omitempty"`
	Name     string          `cbor:"2,keyasint"`
	Owner    horde.UserID    `cbor:"3,keyasint,omitempty"`
	Info     string          `cbor:"4,keyasint,omitempty"`
	Public   bool            `cbor:"5,keyasint,omitempty"`
	Styles   []horde.StyleID `cbor:"6,keyasint,omitempty"`
	UseCount int64           `cbor:"7,keyasint,omitempty"`
	Created  int64           `cbor:"8,keyasint"`
}

func (c *collection) view(id horde.StyleID) horde.Collection {
	return horde.Collection{
		ID: id, Kind: c.Kind, Name: c.Name, Owner: c.Owner, Info: c.Info, Public: c.Public, Styles: slices.Clone(c.Styles),
		UseCount: c.UseCount, Created: moment(c.Created),
	}
}

// collectionRow is what a command that answers with a collection returns.
type collectionRow struct {
	ID         horde.StyleID `cbor:"1,keyasint"`
	Collection collection    `cbor:"2,keyasint"`
}

func decodeCollection(data []byte, err error) (horde.Collection, error) {
	r, err := decodeRow[collectionRow](data, err)
	return r.Collection.view(r.ID), err
}

// checkCollection refuses what a collection cannot be. Other users' styles and private
// ones may be in it (spec/accounts.md section 10).
func (tx *tx) checkCollection(c *collection) error {
	switch {
	case c.Kind != horde.KindImage && c.Kind != horde.KindText:
		return horde.Refuse(horde.RCBadRequest, "Collections are for images or texts.")
	case c.Name == "" || utf8.RuneCountInString(c.Name) > maxStyleName:
		return horde.Refuse(horde.RCBadRequest, "The name has 1 to %d characters.", maxStyleName)
	case len(c.Info) > maxText:
		return horde.Refuse(horde.RCBadRequest, "The info is too long.")
	}
	return nil
}

func (tx *tx) checkCollected(c *collection) error {
	if len(c.Styles) < 1 || len(c.Styles) > maxCollected {
		return horde.Refuse(horde.RCBadRequest, "A collection has 1 to %d styles.", maxCollected)
	}
	for _, id := range c.Styles {
		s := tx.styles.get(id)
		switch {
		case s == nil:
			return horde.Refuse(horde.RCBadRequest, "One of the styles is not there.")
		case s.Kind != c.Kind:
			return horde.Refuse(horde.RCBadRequest, "All styles of a collection are of one kind.")
		}
	}
	return nil
}

// collectionNamed returns the oldest collection of a name, of an owner if given.
func (s *state) collectionNamed(owner *horde.UserID, name string) (horde.StyleID, *collection) {
	if ids := s.collectionNames.get(name); ids != nil {
		for _, id := range *ids {
			if c := s.collections.get(id); owner == nil || c.Owner == *owner {
				return id, c
			}
		}
	}
	return horde.StyleID{}, nil
}

// A NewCollection is a collection that is to be made.
type NewCollection struct {
	Actor  horde.UserID    `cbor:"1,keyasint,omitempty"`
	Kind   horde.Kind      `cbor:"2,keyasint,omitempty"`
	Name   string          `cbor:"3,keyasint"`
	Info   string          `cbor:"4,keyasint,omitempty"`
	Public bool            `cbor:"5,keyasint,omitempty"`
	Styles []horde.StyleID `cbor:"6,keyasint,omitempty"`
}

// createCollection is a NewCollection on its way.
type createCollection struct {
	ID  horde.StyleID `cbor:"1,keyasint"`
	New NewCollection `cbor:"2,keyasint"`
}

// CreateCollection makes a collection.
func (c *Client) CreateCollection(ctx context.Context, n NewCollection) (horde.Collection, error) {
	id, err := c.newID()
	if err != nil {
		return horde.Collection{}, err
	}
	return decodeCollection(c.everywhere(ctx, encodeCommand(kindCreateCollection, createCollection{horde.StyleID{UUID: id}, n})))
}

func (c *createCollection) apply(tx *tx) ([]byte, error) {
	n := &c.New
	actor := tx.user(n.Actor)
	switch {
	case actor == nil:
		return nil, actorGone()
	case actor.is(horde.RoleDeleted):
		return nil, horde.Refuse(horde.RCDeletedUser, "This account is deleted.")
	case n.Actor == horde.Anonymous:
		return nil, horde.Refuse(horde.RCStylesAnonForbidden, "Anonymous cannot make collections.")
	case c.ID.IsZero() || tx.styles.has(c.ID) || tx.collections.has(c.ID):
		return nil, horde.Refuse(horde.RCBadRequest, "Such a collection cannot be made.")
	}
	l := collection{Kind: n.Kind, Name: n.Name, Owner: n.Actor, Info: n.Info, Public: n.Public, Styles: n.Styles, Created: tx.now}
	if err := tx.checkCollection(&l); err != nil {
		return nil, err
	}
	if err := tx.checkCollected(&l); err != nil {
		return nil, err
	}
	if _, taken := tx.collectionNamed(&n.Actor, n.Name); taken != nil {
		return nil, horde.Refuse(horde.RCBadRequest, "You have a collection of this name already.")
	}
	if len(tx.ids(tx.collectionsOf, n.Actor)) >= maxStyles {
		return nil, horde.Refuse(horde.RCBadRequest, "An account can have %d collections.", maxStyles)
	}
	tx.collections.put(c.ID, l)
	list(tx.collectionNames, n.Name, c.ID)
	list(tx.collectionsOf, n.Actor, c.ID)
	return encode(collectionRow{c.ID, l}), nil
}

// A CollectionChange is what PATCH /collections may change; nil fields stay as they are.
type CollectionChange struct {
	Actor      horde.UserID    `cbor:"1,keyasint,omitempty"`
	Collection horde.StyleID   `cbor:"2,keyasint"`
	Name       *string         `cbor:"3,keyasint,omitempty"`
	Info       *string         `cbor:"4,keyasint,omitempty"`
	Public     *bool           `cbor:"5,keyasint,omitempty"`
	Styles     []horde.StyleID `cbor:"6,keyasint"` // not nil: replaces all
}

// updateCollection is a CollectionChange on its way.
type updateCollection CollectionChange

// UpdateCollection makes all changes or none and returns the collection afterwards.
func (c *Client) UpdateCollection(ctx context.Context, ch CollectionChange) (horde.Collection, error) {
	return decodeCollection(c.everywhere(ctx, encodeCommand(kindUpdateCollection, ch)))
}

// apply lets the owner change a collection; moderators are not exempt.
func (c *updateCollection) apply(tx *tx) ([]byte, error) {
	l := tx.collections.get(c.Collection)
	switch {
	case tx.user(c.Actor) == nil:
		return nil, actorGone()
	case l == nil:
		return nil, collectionNotFound()
	case l.Owner != c.Actor:
		return nil, horde.Refuse(horde.RCForbidden, "Only its owner may change a collection.")
	}
	l = tx.collections.edit(c.Collection)
	if c.Name != nil && *c.Name != l.Name {
		if _, taken := tx.collectionNamed(&c.Actor, *c.Name); taken != nil {
			return nil, horde.Refuse(horde.RCBadRequest, "You have a collection of this name already.")
		}
		unlist(tx.collectionNames, l.Name, c.Collection)
		list(tx.collectionNames, *c.Name, c.Collection)
		l.Name = *c.Name
	}
	set(&l.Info, c.Info)
	set(&l.Public, c.Public)
	if c.Styles != nil {
		l.Styles = c.Styles
		if err := tx.checkCollected(l); err != nil {
			return nil, err
		}
	}
	if err := tx.checkCollection(l); err != nil {
		return nil, err
	}
	return encode(collectionRow{c.Collection, *l}), nil
}

func collectionNotFound() error {
	return horde.Refuse(horde.RCCollectionNotFound, "There is no such collection.")
}

// deleteCollection removes a collection.
type deleteCollection struct {
	Actor      horde.UserID  `cbor:"1,keyasint,omitempty"`
	Collection horde.StyleID `cbor:"2,keyasint"`
}

// DeleteCollection removes a collection; its styles stay.
func (c *Client) DeleteCollection(ctx context.Context, actor horde.UserID, id horde.StyleID) error {
	_, err := c.everywhere(ctx, encodeCommand(kindDeleteCollection, deleteCollection{actor, id}))
	return err
}

func (c *deleteCollection) apply(tx *tx) ([]byte, error) {
	actor, l := tx.user(c.Actor), tx.collections.get(c.Collection)
	switch {
	case actor == nil:
		return nil, actorGone()
	case l == nil:
		return nil, collectionNotFound()
	case l.Owner != c.Actor && !actor.is(horde.RoleModerator):
		return nil, horde.Refuse(horde.RCForbidden, "Only its owner or a moderator may delete a collection.")
	}
	unlist(tx.collectionNames, l.Name, c.Collection)
	unlist(tx.collectionsOf, l.Owner, c.Collection)
	tx.collections.remove(c.Collection)
	return nil, nil
}

// Collections returns a page of public collections; a nil kind is any. Tag and Model of
// the query do not count.
func (r Reader) Collections(kind *horde.Kind, q StyleQuery) []horde.Collection {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	var found []ranked
	r.m.s.collections.all(func(id horde.StyleID, c *collection) bool {
		if c.Public && (kind == nil || c.Kind == *kind) {
			found = append(found, ranked{id, c.UseCount, c.Created})
		}
		return true
	})
	var page []horde.Collection
	for _, f := range paged(found, q) {
		page = append(page, r.m.s.collections.get(f.id).view(f.id))
	}
	return page
}

// Collection finds a collection.
func (r Reader) Collection(id horde.StyleID) (horde.Collection, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if c := r.m.s.collections.get(id); c != nil {
		return c.view(id), true
	}
	return horde.Collection{}, false
}

// CollectionByName finds the oldest collection of that name; a nil owner is anybody.
func (r Reader) CollectionByName(owner *horde.UserID, name string) (horde.Collection, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if id, c := r.m.s.collectionNamed(owner, name); c != nil {
		return c.view(id), true
	}
	return horde.Collection{}, false
}
