package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"hordenode/internal/horde"
)

// exampleRoutes are the endpoints of the pictures of image styles (spec/accounts.md
// section 9.5).
func (s *Server) exampleRoutes() []route {
	const one = "/api/v2/styles/image/{style_id}/example/{example_id}"
	return []route{
		{method: "POST", path: "/api/v2/styles/image/{style_id}/example", handle: s.addExample, limits: communityLimits(90, time.Minute), schema: exampleSchema()},
		{method: "PATCH", path: one, handle: s.changeExample, schema: exampleSchema()},
		{method: "DELETE", path: one, handle: s.deleteExample},
	}
}

// styleExample is a picture as the API shows it.
type styleExample struct {
	ID      horde.StyleID `json:"id"`
	URL     string        `json:"url"`
	Primary bool          `json:"primary"`
}

// maxExampleURL is the length of an example's address, in characters.
const maxExampleURL = 2048

// exampleSchema is the body of POST and PATCH of examples.
func exampleSchema() *schema {
	return object(may("url", text(0, maxExampleURL)), may("primary", flag()))
}

// exampleRequest is that body; nil fields were not sent.
type exampleRequest struct {
	url     *string
	primary *bool
}

func (q *exampleRequest) read(a *args) {
	a.apikey()
	q.url = a.optStr("url", maxExampleURL)
	q.primary = a.optFlag("primary")
}

// newExampleRequest is the body of a POST, where both are needed.
type newExampleRequest struct{ exampleRequest }

func (q *newExampleRequest) read(a *args) {
	a.apikey()
	q.url = a.need("url").optStr("url", maxExampleURL)
	q.primary = a.need("primary").optFlag("primary")
}

func (q *exampleRequest) check() error {
	switch {
	case q.url == nil:
	case !strings.HasPrefix(*q.url, "https://"):
		return horde.Refuse(horde.RCBadRequest, "The url of an example must begin with https://.")
	case strings.IndexByte(*q.url, 0) >= 0:
		return errNUL()
	}
	return nil
}

// exampleAnswer is the answer of writes to examples; its one warning is empty.
type exampleAnswer struct {
	ID       horde.StyleID  `json:"id"`
	Message  string         `json:"message"`
	Warnings []emptyWarning `json:"warnings"`
}

type emptyWarning struct {
	Code    *string `json:"code"`
	Message *string `json:"message"`
}

func newExampleAnswer(id horde.StyleID) exampleAnswer {
	return exampleAnswer{id, "OK", []emptyWarning{{}}}
}

// addExample serves POST /api/v2/styles/image/{style_id}/example. Who may and which pictures
// there can be is the ledger's to judge.
func (s *Server) addExample(w http.ResponseWriter, r *http.Request) error {
	var q newExampleRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	st, err := s.styleByID(r.Context(), r.PathValue("style_id"), horde.RCStyleNotFound)
	if err != nil {
		return err
	}
	e, err := s.deps.Community.AddExample(r.Context(), NewExample{Actor: u.ID, Style: st.ID, URL: *q.url, Primary: *q.primary})
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, newExampleAnswer(e.ID))
}

// changeExample serves PATCH /api/v2/styles/image/{style_id}/example/{example_id}. Unlike in
// the reference, what is not sent stays as it is.
func (s *Server) changeExample(w http.ResponseWriter, r *http.Request) error {
	var q exampleRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	style, example, err := s.exampleByID(r.Context(), r)
	if err != nil {
		return err
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	e, err := s.deps.Community.UpdateExample(r.Context(), ExampleChange{Actor: u.ID, Style: style, Example: example, URL: q.url, Primary: q.primary})
	if err != nil {
		return err
	}
	return encode(w, http.StatusOK, newExampleAnswer(e.ID))
}

// deleteExample serves DELETE /api/v2/styles/image/{style_id}/example/{example_id}.
func (s *Server) deleteExample(w http.ResponseWriter, r *http.Request) error {
	if _, ok := apikey(r); !ok {
		return invalid("apikey", missingHeader("apikey"))
	}
	style, example, err := s.exampleByID(r.Context(), r)
	if err != nil {
		return err
	}
	u, err := s.user(r)
	if err != nil {
		return err
	}
	if err := s.deps.Community.DeleteExample(r.Context(), u.ID, style, example); err != nil {
		return err
	}
	return encode(w, http.StatusOK, done())
}

// exampleByID finds the picture that a path names. If its style is there but has no such
// picture, the picture is missing; unlike in the reference, another style's is no match.
func (s *Server) exampleByID(ctx context.Context, r *http.Request) (style, example horde.StyleID, err error) {
	missing := horde.Refuse(horde.RCStyleExampleNotFound, "There is no such example.")
	u, err := horde.ParseUUID(r.PathValue("example_id"))
	if err != nil {
		return style, example, missing
	}
	example = horde.StyleID{UUID: u}
	st, err := s.styleByID(ctx, r.PathValue("style_id"), horde.RCStyleNotFound)
	if err != nil {
		return style, example, err
	}
	_, err = seek(ctx, s, missing, func() (horde.StyleExample, bool) {
		st, _ := s.deps.Community.Style(st.ID)
		i := slices.IndexFunc(st.Examples, func(e horde.StyleExample) bool { return e.ID == example })
		if i < 0 {
			return horde.StyleExample{}, false
		}
		return st.Examples[i], true
	})
	return st.ID, example, err
}
