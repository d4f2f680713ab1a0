package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"hordenode/api/openapi"
)

// docsPage is what the documentation page at /api/ shows. It is rendered once, here, so that
// it can be read without scripts; its script adds searching and trying.
type docsPage struct {
	Origin string
	Count  int
	Groups []docsGroup
	Models []docsModel
}

type docsGroup struct {
	ID, Tag string
	Ops     []docsOp
}

// A docsOp is an operation.
type docsOp struct {
	ID, Method, Verb, Path, Summary string
	Find                            string // what a search looks at, in lower case
	Params                          []docsField
	Body                            []docsField
	BodyModel                       string
	Answers                         []docsAnswer
	Limits                          []string
	Curl                            bool
	CurlPath                        string
	CurlArgs                        []string
	Tries                           bool // can be tried from the page
	TryFields                       []docsField
}

type docsAnswer struct {
	Status            int
	Text, Model, Note string
}

type docsModel struct {
	Name, Base, Find string
	Fields           []docsField
}

// A docsField is a member or parameter: "list of", then the model or the kind.
type docsField struct {
	Name, In, Before, Model, Kind, Rules, Note string
	Required                                   bool
	Choices                                    []string
}

// documentationPage renders the description for people.
func (s *Server) documentationPage(doc openapi.Document) ([]byte, error) {
	d := docsPage{Origin: cmp.Or(s.cfg.PublicURL, "http://127.0.0.1:"+strconv.Itoa(s.cfg.Port)), Count: len(doc.Operations)}
	for _, op := range doc.Operations {
		if n := len(d.Groups); n == 0 || d.Groups[n-1].Tag != op.Tag {
			d.Groups = append(d.Groups, docsGroup{ID: "tag-" + strings.ToLower(strings.ReplaceAll(op.Tag, " ", "-")), Tag: op.Tag})
		}
		shown, err := newDocsOp(op, doc.Models)
		if err != nil {
			return nil, err
		}
		g := &d.Groups[len(d.Groups)-1]
		g.Ops = append(g.Ops, shown)
	}
	used := doc.Models.Used(doc.Operations)
	for _, name := range slices.Sorted(maps.Keys(used)) {
		m := docsModel{Name: name, Base: used[name].Base, Fields: docsFields("", used[name].Members)}
		m.Find = strings.ToLower(name + " " + fieldNames(m.Fields))
		d.Models = append(d.Models, m)
	}
	return s.rendered("docs", page{Title: "API", Here: "/api/", Script: true, Body: d})
}

func newDocsOp(op openapi.Operation, models openapi.Models) (docsOp, error) {
	d := docsOp{
		ID: op.ID, Method: op.Method, Verb: strings.ToLower(op.Method), Path: op.Path, Summary: op.Summary,
		Limits: op.Limits, BodyModel: op.Body.Ref,
	}
	for _, name := range op.PathParams() {
		d.Params = append(d.Params, docsField{Name: name, In: "path", Kind: "string", Required: true, Note: openapi.Note(name)})
	}
	d.Params = append(d.Params, docsFields("query", op.Query)...)
	d.TryFields = slices.Clone(d.Params)
	var headers []openapi.Member
	if op.Key != openapi.NoKey {
		headers = append(headers, openapi.Member{Name: "apikey", Required: op.Key == openapi.MustKey, Shape: openapi.Shape{Kind: "string"}})
	}
	d.Params = append(d.Params, docsFields("header", append(headers, op.Headers...))...)
	members := op.Body.Members
	if op.Body.Ref != "" {
		members = models.Flat(op.Body.Ref)
	}
	d.Body = docsFields("", members)
	d.Find = strings.ToLower(strings.Join([]string{op.Method, op.Path, op.Summary, op.Tag, fieldNames(d.Params), fieldNames(d.Body)}, " "))

	ok := docsAnswer{Status: cmp.Or(op.Status, http.StatusOK), Text: "done"}
	switch {
	case op.Media != "":
		ok.Note = op.Media
	case op.Answer.Ref != "":
		ok.Model = op.Answer.Ref
	case op.Answer.Items != nil && op.Answer.Items.Ref != "":
		ok.Text, ok.Model = "done: a list of", op.Answer.Items.Ref
	case len(op.Answer.Members) > 0:
		ok.Note = "with " + fieldNames(docsFields("", op.Answer.Members))
	}
	d.Answers = []docsAnswer{ok}
	for _, status := range op.Fails {
		d.Answers = append(d.Answers, docsAnswer{Status: status, Text: strings.ToLower(http.StatusText(status))})
	}
	if op.Media == "text/html" {
		return d, nil
	}
	d.Tries = op.Method == http.MethodGet && op.Media == ""
	d.Curl, d.CurlPath = true, strings.NewReplacer("{", "", "}", "").Replace(op.Path)
	if op.Key == openapi.MustKey {
		d.CurlArgs = append(d.CurlArgs, "-H 'apikey: 0000000000'")
	}
	if op.Body.Is() {
		body, err := json.Marshal(example(op.Body, models, 0))
		if err != nil {
			return d, fmt.Errorf("write an example for %s %s: %w", op.Method, op.Path, err)
		}
		d.CurlArgs = append(d.CurlArgs, "-H 'Content-Type: application/json'", "-d '"+string(body)+"'")
	}
	return d, nil
}

// example is a value that has what it must have, and one thing if it need not have any.
func example(s openapi.Shape, models openapi.Models, depth int) any {
	if s.Example != nil {
		return s.Example
	}
	if s.Default != nil {
		return s.Default
	}
	if len(s.Choices) > 0 {
		return s.Choices[0]
	}
	switch {
	case s.Ref != "" || s.Kind == "object":
		members := s.Members
		if s.Ref != "" {
			members = models.Flat(s.Ref)
		}
		out := map[string]any{}
		for _, m := range members {
			if m.Required && depth < 4 {
				out[m.Name] = example(named(m), models, depth+1)
			}
		}
		if len(out) == 0 && len(members) > 0 && depth == 0 {
			out[members[0].Name] = example(named(members[0]), models, depth+1)
		}
		return out
	case s.Kind == "array" && depth < 4:
		return []any{example(*s.Items, models, depth+1)}
	case s.Kind == "array":
		return []any{}
	case s.Kind == "boolean":
		return true
	case s.Kind == "integer", s.Kind == "number":
		if s.Min != nil {
			return *s.Min
		}
		return 1
	}
	return "…"
}

// named gives the shape of a member an example that its name suggests.
func named(m openapi.Member) openapi.Shape {
	s := m.Shape
	if s.Example == nil && s.Kind == "string" {
		switch m.Name {
		case "prompt":
			s.Example = "a lighthouse at dusk"
		case "name":
			s.Example = "my name"
		case "username":
			s.Example = "name#7"
		case "id", "worker_id":
			s.Example = "00000000-0000-0000-0000-000000000000"
		}
	}
	return s
}

func fieldNames(fields []docsField) string {
	var names []string
	for _, f := range fields {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

func docsFields(in string, members []openapi.Member) []docsField {
	var out []docsField
	for _, m := range members {
		f := docsField{Name: m.Name, In: in, Required: m.Required, Note: openapi.Note(m.Name), Rules: rules(m.Shape)}
		s := m.Shape
		for s.Items != nil {
			f.Before += "list of "
			s = *s.Items
		}
		if s.Values != nil {
			f.Before += "table of "
			s = *s.Values
		}
		f.Model, f.Kind, f.Choices = s.Ref, s.Kind, s.Choices
		out = append(out, f)
	}
	return out
}

// rules tells bounds and defaults in words.
func rules(s openapi.Shape) string {
	var parts []string
	unit := map[string]string{"string": " characters", "array": " items"}[s.Kind]
	bound := func(f *float64) string { return strconv.FormatFloat(*f, 'f', -1, 64) }
	switch {
	case s.Min != nil && s.Max != nil:
		parts = append(parts, bound(s.Min)+" to "+bound(s.Max)+unit)
	case s.Min != nil:
		parts = append(parts, "at least "+bound(s.Min)+unit)
	case s.Max != nil:
		parts = append(parts, "at most "+bound(s.Max)+unit)
	}
	if s.Multiple > 1 {
		parts = append(parts, "a multiple of "+strconv.FormatInt(s.Multiple, 10))
	}
	if s.Default != nil {
		parts = append(parts, fmt.Sprintf("default %v", s.Default))
	}
	return strings.Join(parts, ", ")
}
