package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// styleRoutes are the endpoints of styles (spec/accounts.md section 9).
func (s *Server) styleRoutes() []route {
	images := communityLimits(90, time.Minute)
	imageByID, texts := communityLimits(20, time.Hour), communityLimits(20, time.Hour)
	textByID := communityLimits(90, time.Minute)
	of := func(kind horde.Kind, f func(http.ResponseWriter, *http.Request, horde.Kind) error) func(http.ResponseWriter, *http.Request) error {
		return func(w http.ResponseWriter, r *http.Request) error { return f(w, r, kind) }
	}
	const img, txt = horde.KindImage, horde.KindText
	return []route{
		{method: "GET", path: "/api/v2/styles/image", handle: of(img, s.listStyles), limits: images},
		{method: "POST", path: "/api/v2/styles/image", handle: of(img, s.createStyle), limits: images, schema: styleSchema(img, true)},
		{method: "GET", path: "/api/v2/styles/image/{style_id}", handle: of(img, s.showStyle), limits: imageByID},
		{method: "PATCH", path: "/api/v2/styles/image/{style_id}", handle: of(img, s.changeStyle), limits: imageByID, schema: styleSchema(img, false)},
		{method: "DELETE", path: "/api/v2/styles/image/{style_id}", handle: s.deleteStyle, limits: imageByID},
		{method: "GET", path: "/api/v2/styles/image_by_name/{style_name}", handle: of(img, s.showStyleByName)},

		{method: "GET", path: "/api/v2/styles/text", handle: of(txt, s.listStyles), limits: texts},
		{method: "POST", path: "/api/v2/styles/text", handle: of(txt, s.createStyle), limits: texts, schema: styleSchema(txt, true)},
		{method: "GET", path: "/api/v2/styles/text/{style_id}", handle: of(txt, s.showStyle), limits: textByID},
		{method: "PATCH", path: "/api/v2/styles/text/{style_id}", handle: of(txt, s.changeStyle), limits: textByID, schema: styleSchema(txt, false)},
		{method: "DELETE", path: "/api/v2/styles/text/{style_id}", handle: s.deleteStyle, limits: textByID},
		{method: "GET", path: "/api/v2/styles/text_by_name/{style_name}", handle: of(txt, s.showStyleByName)},
	}
}

// styleDetails is a style as the API shows it, in the API's order, but for what is null.
// Examples and shared key are shown of image styles only.
type styleDetails struct {
	ID        horde.StyleID     `json:"id"`
	UseCount  int64             `json:"use_count"`
	Creator   string            `json:"creator"`
	Examples  *[]styleExample   `json:"examples"`
	SharedKey *sharedKeyDetails `json:"shared_key"`
	Name      string            `json:"name"`
	Info      *string           `json:"info"`
	Prompt    string            `json:"prompt"`
	Params    any               `json:"params"`
	Public    bool              `json:"public"`
	NSFW      bool              `json:"nsfw"`
	Tags      []string          `json:"tags"`
	Models    []string          `json:"models"`
}

func (s *Server) styleDetails(st horde.Style) (json.RawMessage, error) {
	creator, _ := s.deps.Accounts.User(st.Owner)
	params, err := shownParams(st)
	if err != nil {
		return nil, err
	}
	d := styleDetails{
		ID:       st.ID,
		UseCount: st.UseCount,
		Creator:  creator.Alias(),
		Name:     st.Name,
		Info:     orNull(st.Info),
		Prompt:   st.Prompt,
		Params:   params,
		Public:   st.Public,
		NSFW:     st.NSFW,
		Tags:     shown(st.Tags),
		Models:   shown(st.Models),
	}
	if st.Kind == horde.KindImage {
		examples := []styleExample{}
		for _, e := range st.Examples {
			examples = append(examples, styleExample{e.ID, e.URL, e.Primary})
		}
		d.Examples = &examples
		if k, ok := s.deps.Community.SharedKeyAt(st.SharedKey); ok && !k.ID.IsZero() {
			d.SharedKey = new(s.sharedKeyDetails(k))
		}
	}
	return sparse(d)
}

// userStyle is a style in the details of its owner.
type userStyle struct {
	Type string        `json:"type"`
	Name string        `json:"name"` // the unique one
	ID   horde.StyleID `json:"id"`
}

// stylesOf are a user's styles; to the public, the public ones.
func (s *Server) stylesOf(u horde.User, v view) []userStyle {
	list := []userStyle{}
	for _, st := range s.deps.Community.StylesOf(u.ID) {
		if st.Public || v >= ownView {
			list = append(list, userStyle{st.Kind.String(), uniqueStyleName(u, st), st.ID})
		}
	}
	return list
}

// uniqueStyleName names a style among those of all users.
func uniqueStyleName(owner horde.User, st horde.Style) string {
	return owner.Alias() + "::style::" + st.Name
}

// A styleList is the query string of lists of styles and collections.
type styleList struct {
	StyleQuery
	kind string // of collections: image, text, all
}

func (q *styleList) read(a *args) {
	q.Sort = a.query("sort", "popular")
	q.Page = max(a.queryInt("page", 1), 1)
	q.Tag = a.query("tag", "")
	q.Model = a.query("model", "")
	q.kind = a.query("type", "all")
}

func (q *styleList) check() error {
	if q.Sort != "popular" && q.Sort != "age" {
		return horde.Refuse(horde.RCBadRequest, "sort is one of popular, age.")
	}
	return nil
}

// listStyles serves GET /api/v2/styles/image and text: the public ones.
func (s *Server) listStyles(w http.ResponseWriter, r *http.Request, kind horde.Kind) error {
	var q styleList
	if err := decode(r, &q); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	list := []json.RawMessage{}
	for _, st := range s.deps.Community.Styles(kind, q.StyleQuery) {
		d, err := s.styleDetails(st)
		if err != nil {
			return err
		}
		list = append(list, d)
	}
	return encode(w, http.StatusOK, list)
}

// styleByID finds a style by the id in a path.
func (s *Server) styleByID(ctx context.Context, path string, missing horde.RC) (horde.Style, error) {
	none := horde.Refuse(missing, "There is no such style.")
	u, err := horde.ParseUUID(path)
	if err != nil {
		return horde.Style{}, none
	}
	return seek(ctx, s, none, func() (horde.Style, bool) { return s.deps.Community.Style(horde.StyleID{UUID: u}) })
}

// showStyle serves GET /api/v2/styles/image/{style_id} and text, private ones included.
func (s *Server) showStyle(w http.ResponseWriter, r *http.Request, kind horde.Kind) error {
	missing := horde.RCImageStyleNotFound
	if kind == horde.KindText {
		missing = horde.RCTextStyleNotFound
	}
	st, err := s.styleByID(r.Context(), r.PathValue("style_id"), missing)
	if err != nil {
		return err
	}
	return s.encodeStyle(w, st, kind)
}

// showStyleByName serves GET /api/v2/styles/image_by_name/{style_name} and text.
func (s *Server) showStyleByName(w http.ResponseWriter, r *http.Request, kind horde.Kind) error {
	missing := horde.Refuse(horde.RCStyleNotFound, "There is no style of this name.")
	st, err := seek(r.Context(), s, missing, func() (horde.Style, bool) {
		name := s.readStyleName(r.PathValue("style_name"))
		if st, ok := s.deps.Community.StyleByName(name.owner, name.name, &kind); ok {
			return st, true
		}
		return s.deps.Community.StyleByName(name.owner, name.name, nil)
	})
	if err != nil {
		return err
	}
	return s.encodeStyle(w, st, kind)
}

func (s *Server) encodeStyle(w http.ResponseWriter, st horde.Style, kind horde.Kind) error {
	if st.Kind != kind {
		return wrongKind(st)
	}
	d, err := s.styleDetails(st)
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, d)
}

func wrongKind(st horde.Style) error {
	return horde.Refuse(horde.RCBadRequest, "This style is for %s generation.", st.Kind)
}

// A styleName is a name by which styles and collections are looked for.
type styleName struct {
	owner      *horde.UserID // nil: anybody's
	name       string
	collection bool // only collections are meant
	style      bool // only styles are meant
}

// readStyleName reads NAME, style::NAME, collection::NAME, alias#1::NAME,
// style::alias#1::NAME and the unique name alias#1::style::NAME. An alias that nobody has
// is ignored.
func (s *Server) readStyleName(sent string) styleName {
	parts := strings.Split(sent, "::")
	q := styleName{name: parts[len(parts)-1]}
	for _, part := range parts[:len(parts)-1] {
		switch part {
		case "style":
			q.style = true
			continue
		case "collection":
			q.collection = true
			continue
		}
		if id, ok := horde.ParseAlias(part); ok {
			if _, ok := s.deps.Accounts.User(id); ok {
				q.owner = &id
			}
		}
	}
	return q
}
