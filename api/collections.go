package api

import (
	"context"
	"net/http"
	"time"

	"hordenode/internal/horde"
)

// collectionRoutes are the endpoints of collections of styles (spec/accounts.md section 10).
func (s *Server) collectionRoutes() []route {
	limits := communityLimits(90, time.Minute)
	return []route{
		{method: "GET", path: "/api/v2/collections", handle: s.listCollections, limits: limits},
		{method: "POST", path: "/api/v2/collections", handle: s.createCollection, limits: limits, schema: collectionSchema()},
		{method: "GET", path: "/api/v2/collections/{collection_id}", handle: s.showCollection, limits: limits},
		{method: "PATCH", path: "/api/v2/collections/{collection_id}", handle: s.changeCollection, limits: limits, schema: collectionSchema()},
		{method: "DELETE", path: "/api/v2/collections/{collection_id}", handle: s.deleteCollection, limits: limits},
		{method: "GET", path: "/api/v2/collection_by_name/{collection_name}", handle: s.showCollectionByName},
	}
}

// collectionDetails is a collection as the API shows it, in the API's order.
type collectionDetails struct {
	ID       horde.StyleID `json:"id"`
	Name     string        `json:"name"`
	Type     string        `json:"type"`
	Info     *string       `json:"info"` // always null: the reference never shows it
	Public   bool          `json:"public"`
	Styles   []memberStyle `json:"styles"`
	UseCount int64         `json:"use_count"`
}

// memberStyle is a style in a collection.
type memberStyle struct {
	Name string        `json:"name"` // the unique one
	ID   horde.StyleID `json:"id"`
}

func (s *Server) collectionDetails(c horde.Collection) collectionDetails {
	d := collectionDetails{
		ID:       c.ID,
		Name:     c.Name,
		Type:     c.Kind.String(),
		Public:   c.Public,
		Styles:   []memberStyle{},
		UseCount: c.UseCount,
	}
	for _, id := range c.Styles {
		if st, ok := s.deps.Community.Style(id); ok {
			owner, _ := s.deps.Accounts.User(st.Owner)
			d.Styles = append(d.Styles, memberStyle{uniqueStyleName(owner, st), st.ID})
		}
	}
	return d
}

// listCollections serves GET /api/v2/collections: the public ones.
func (s *Server) listCollections(w http.ResponseWriter, r *http.Request) error {
	var q styleList
	if err := decode(r, &q); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	var kind *horde.Kind
	switch q.kind {
	case "all":
	case "image":
		kind = new(horde.KindImage)
	case "text":
		kind = new(horde.KindText)
	default:
		return horde.Refuse(horde.RCBadRequest, "type is one of all, image, text.")
	}
	list := []collectionDetails{}
	for _, c := range s.deps.Community.Collections(kind, StyleQuery{Sort: q.Sort, Page: q.Page}) {
		list = append(list, s.collectionDetails(c))
	}
	return encode(w, http.StatusOK, list)
}

func collectionNotFound() error {
	return horde.Refuse(horde.RCCollectionNotFound, "There is no such collection.")
}

// collectionByID finds a collection by the id in a path.
func (s *Server) collectionByID(ctx context.Context, path string) (horde.Collection, error) {
	u, err := horde.ParseUUID(path)
	if err != nil {
		return horde.Collection{}, collectionNotFound()
	}
	return seek(ctx, s, collectionNotFound(), func() (horde.Collection, bool) {
		return s.deps.Community.Collection(horde.StyleID{UUID: u})
	})
}

// showCollection serves GET /api/v2/collections/{collection_id}, private ones included.
func (s *Server) showCollection(w http.ResponseWriter, r *http.Request) error {
	c, err := s.collectionByID(r.Context(), r.PathValue("collection_id"))
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, s.collectionDetails(c))
}

// showCollectionByName serves GET /api/v2/collection_by_name/{collection_name}. Unlike in the
// reference, a style of that name is no match.
func (s *Server) showCollectionByName(w http.ResponseWriter, r *http.Request) error {
	c, err := seek(r.Context(), s, collectionNotFound(), func() (horde.Collection, bool) {
		name := s.readStyleName(r.PathValue("collection_name"))
		return s.deps.Community.CollectionByName(name.owner, name.name)
	})
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, s.collectionDetails(c))
}

// maxMembers is how many styles a collection can have.
const maxMembers = 200

// collectionSchema is the body of POST and PATCH /collections.
func collectionSchema() *schema {
	return object(
		may("name", text(1, 100)),
		may("info", text(1, 1000)),
		may("public", flag()),
		may("styles", list(text(1, 255), 0, maxMembers)),
	)
}

// collectionRequest is that body; nil fields were not sent.
type collectionRequest struct {
	name, info *string
	public     *bool
	styles     []string
}

func (q *collectionRequest) read(a *args) {
	a.apikey()
	q.name = a.optStr("name", 100)
	q.info = a.optStr("info", 1000)
	q.public = a.optFlag("public")
	q.styles = a.strs("styles", maxMembers)
}

// newCollectionRequest is the body of a POST, where name and styles are needed.
type newCollectionRequest struct{ collectionRequest }

func (q *newCollectionRequest) read(a *args) {
	a.apikey()
	a.need("name").need("styles")
	q.collectionRequest.read(a)
}

// checkTexts judges the texts that a collection shows, and makes them safe to show.
func (q *collectionRequest) checkTexts(s *Server) error {
	for _, text := range given(q.name, q.info) {
		if s.isProfane(text) {
			return horde.Refuse(horde.RCBadRequest, "A text of the collection is profane.")
		}
	}
	if q.name != nil {
		q.name = new(sanitize(*q.name))
	}
	if q.info != nil {
		q.info = new(cleanText(*q.info))
	}
	return nil
}

// members finds the styles that are named by id or name; they must be of one kind.
func (s *Server) members(ctx context.Context, names []string) (ids []horde.StyleID, kind horde.Kind, err error) {
	if len(names) == 0 {
		return nil, 0, horde.Refuse(horde.RCBadRequest, "A collection needs a style.")
	}
	for i, name := range names {
		missing := horde.Refuse(horde.RCBadRequest, "There is no style %s.", truncate(name, 100))
		st, err := seek(ctx, s, missing, func() (horde.Style, bool) { return s.styleNamed(name) })
		switch {
		case err != nil:
			return nil, 0, err
		case i > 0 && st.Kind != kind:
			return nil, 0, horde.Refuse(horde.RCBadRequest, "The styles of a collection are all for images or all for texts.")
		}
		ids, kind = append(ids, st.ID), st.Kind
	}
	return ids, kind, nil
}

// styleNamed finds a style by its id or one of its names.
func (s *Server) styleNamed(name string) (horde.Style, bool) {
	if u, err := horde.ParseUUID(name); err == nil {
		if st, ok := s.deps.Community.Style(horde.StyleID{UUID: u}); ok {
			return st, true
		}
	}
	q := s.readStyleName(name)
	return s.deps.Community.StyleByName(q.owner, q.name, nil)
}

// createCollection serves POST /api/v2/collections.
func (s *Server) createCollection(w http.ResponseWriter, r *http.Request) error {
	var q newCollectionRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	if len(q.styles) == 0 {
		return horde.Refuse(horde.RCBadRequest, "A collection needs a style.")
	}
	u, err := s.user(r)
	switch {
	case err != nil:
		return err
	case u.Is(horde.RoleDeleted):
		return horde.Refuse(horde.RCDeletedUser, "This account is being deleted.")
	case u.ID == horde.Anonymous:
		return horde.Refuse(horde.RCStylesAnonForbidden, "Anonymous cannot make collections.")
	}
	styles, kind, err := s.members(r.Context(), q.styles)
	if err != nil {
		return err
	}
	if err := q.checkTexts(s); err != nil {
		return err
	}
	n := NewCollection{Actor: u.ID, Kind: kind, Name: *q.name, Public: q.public == nil || *q.public, Styles: styles}
	if q.info != nil {
		n.Info = *q.info
	}
	c, err := s.deps.Community.CreateCollection(r.Context(), n)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, styleAnswer{c.ID, "OK", []warning{}})
}

// changeCollection serves PATCH /api/v2/collections/{collection_id}. Only the owner may.
// Unlike in the reference, what is not sent stays as it is, the styles too.
func (s *Server) changeCollection(w http.ResponseWriter, r *http.Request) error {
	var q collectionRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	c := CollectionChange{Public: q.public}
	var kind horde.Kind
	if q.styles != nil {
		var err error
		if c.Styles, kind, err = s.members(r.Context(), q.styles); err != nil {
			return err
		}
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	now, err := s.collectionByID(r.Context(), r.PathValue("collection_id"))
	switch {
	case err != nil:
		return err
	case now.Owner != u.ID:
		return horde.Refuse(horde.RCForbidden, "Only its owner can change a collection.")
	case q.styles != nil && kind != now.Kind:
		return horde.Refuse(horde.RCBadRequest, "This collection is for %s generation.", now.Kind)
	}
	if err := q.checkTexts(s); err != nil {
		return err
	}
	c.Actor, c.Collection, c.Name, c.Info = u.ID, now.ID, q.name, q.info
	if now, err = s.deps.Community.UpdateCollection(r.Context(), c); err != nil {
		return err
	}
	return encode(w, http.StatusOK, styleAnswer{now.ID, "OK", []warning{}})
}

// deleteCollection serves DELETE /api/v2/collections/{collection_id}.
func (s *Server) deleteCollection(w http.ResponseWriter, r *http.Request) error {
	u, err := s.user(r)
	if err != nil {
		return err
	}
	c, err := s.collectionByID(r.Context(), r.PathValue("collection_id"))
	if err != nil {
		return err
	}
	if err := s.deps.Community.DeleteCollection(r.Context(), u.ID, c.ID); err != nil {
		return err
	}
	return encode(w, http.StatusOK, done())
}
