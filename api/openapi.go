package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"hordenode/api/openapi"
)

// The API describes itself from the table that it is routed by:
//
//	routes() ── paths, methods, limits, bodies that are enforced ──┐
//	package openapi ── what they are for, what answers look like ──┴─► openapi.Document
//
// A route that package openapi does not know is served and described by its path alone; a
// test tells.
func (s *Server) docsRoutes() []route {
	describe := sync.OnceValues(s.describe)
	return []route{
		{method: "GET", path: "/api/swagger.json", unmasked: true, handle: func(w http.ResponseWriter, r *http.Request) error {
			d, err := describe()
			return serveDocument(w, r, "swagger.json", d.swagger, err)
		}},
		{method: "GET", path: "/api/openapi.json", unmasked: true, handle: func(w http.ResponseWriter, r *http.Request) error {
			d, err := describe()
			return serveDocument(w, r, "openapi.json", d.openapi, err)
		}},
		{method: "GET", path: "/api", unmasked: true, handle: func(w http.ResponseWriter, r *http.Request) error {
			http.Redirect(w, r, "/api/", http.StatusPermanentRedirect)
			return nil
		}},
		{method: "GET", path: "/api/{$}", unmasked: true, handle: func(w http.ResponseWriter, r *http.Request) error {
			d, err := describe()
			s.pageHeaders(w.Header(), true)
			return serveDocument(w, r, "api.html", d.page, err)
		}},
	}
}

// A description is the API's in the forms that it is served in.
type description struct{ swagger, openapi, page []byte }

func (s *Server) describe() (d description, err error) {
	doc := s.documentation()
	if d.swagger, err = json.Marshal(doc.Swagger()); err != nil {
		return d, fmt.Errorf("write the Swagger document: %w", err)
	}
	if d.openapi, err = json.Marshal(doc.OpenAPI("/")); err != nil {
		return d, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	d.page, err = s.documentationPage(doc)
	return d, err
}

// serveDocument answers with bytes that stay the same as long as the node runs.
func serveDocument(w http.ResponseWriter, r *http.Request, name string, b []byte, err error) error {
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
	return nil
}

// documentation describes all routes.
func (s *Server) documentation() openapi.Document {
	known, models := openapi.Operations(), openapi.All()
	doc := openapi.Document{Version: s.cfg.Version, Models: models}
	enforced := openapi.NewTightener(models)
	for _, rt := range s.routes() {
		for _, op := range operationsOf(rt, known) {
			op.Masked = !rt.unmasked && op.Media == ""
			op.Limits = rt.limitTexts()
			if rt.schema != nil {
				if body := rt.schema.shape(); op.Body.Ref != "" {
					enforced.Tighten(op.Body.Ref, body)
				} else {
					op.Body = body
				}
			}
			doc.Operations = append(doc.Operations, op)
		}
	}
	// The groups of the known operations, in their order, then what nobody described.
	rank := map[string]int{}
	for i, op := range known {
		if _, seen := rank[op.Tag]; !seen {
			rank[op.Tag] = i - len(known)
		}
	}
	slices.SortStableFunc(doc.Operations, func(a, b openapi.Operation) int {
		if d := rank[a.Tag] - rank[b.Tag]; d != 0 {
			return d
		}
		return strings.Compare(a.Path, b.Path)
	})
	return doc
}

// operationsOf are the known operations that a route serves: the one of its path, or all that
// its wildcards stand for, or one that only says where it is.
func operationsOf(rt route, known []openapi.Operation) []openapi.Operation {
	var same, covered []openapi.Operation
	path := strings.TrimSuffix(rt.path, "{$}")
	for _, op := range known {
		switch {
		case op.Method != rt.method:
		case anonymous(op.Path) == anonymous(path):
			same = append(same, op)
		case covers(path, op.Path):
			covered = append(covered, op)
		}
	}
	switch {
	case len(same) > 0:
		return same
	case len(covered) > 0:
		return covered
	}
	return []openapi.Operation{{Method: rt.method, Path: path, ID: strings.ToLower(rt.method) + strings.NewReplacer("/", "_", "{", "", "}", "", ".", "_").Replace(path), Tag: "Other"}}
}

// anonymous is a path whose wildcards have no names.
func anonymous(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, "{") {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}

// covers tells whether a pattern's wildcards stand for literal parts of a path, all else being
// the same.
func covers(pattern, path string) bool {
	a, b := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && !strings.HasPrefix(a[i], "{") {
			return false
		}
	}
	return true
}

// limitTexts tells a route's limits as a breach would.
func (rt route) limitTexts() []string {
	limits := rt.limits
	if limits == nil {
		limits = defaultLimits()
	}
	texts := []string{}
	for _, l := range limits {
		who := map[limitKey]string{byIP: "address", byPath: "address and path", byKey: "API key and path"}[l.by]
		texts = append(texts, l.text(l.n)+", by "+who)
	}
	return texts
}

// shape is what the schema enforces, as documents say it.
func (s *schema) shape() openapi.Shape {
	out := openapi.Shape{Kind: s.kind, Unique: s.unique, Multiple: s.multiple, Choices: s.choices}
	lengths := s.kind == "string" || s.kind == "array"
	if bound := s.min; s.kind == "integer" || s.kind == "number" || lengths && bound > 0 {
		out.Min = meaningful(bound)
	}
	if bound := s.max; bound != 0 || s.kind == "integer" || s.kind == "number" {
		out.Max = meaningful(bound)
	}
	if s.items != nil {
		items := s.items.shape()
		out.Items = &items
	}
	for _, f := range s.fields {
		out.Members = append(out.Members, openapi.Member{Name: f.name, Required: f.required, Shape: f.schema.shape()})
	}
	return out
}

// meaningful is a bound that means something to a reader; what only keeps numbers from overflowing
// does not.
func meaningful(bound float64) *float64 {
	if math.Abs(bound) >= 1<<31-1 {
		return nil
	}
	return &bound
}
