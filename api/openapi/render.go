package openapi

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	title = "AI Horde"
	about = "Images, texts and alchemy made on machines that volunteers share. This node serves the AI Horde REST API, version 2; any call works at any node of its federation."
	// apiVersion is the version of the API, not of the software.
	apiVersion = "2.5"
	basePath   = "/api"
)

// A dialect is how the two languages differ in shapes.
type dialect struct {
	refs     string
	examples bool // a list of examples, as JSON Schema has it
	quiet    bool // without notes on members
	// Models have no members beyond those of the AI Horde's definitions.
	asReference bool
}

var (
	swagger2 = dialect{refs: "#/definitions/", asReference: true}
	openapi3 = dialect{refs: "#/components/schemas/", examples: true}
)

// A node is an object of the rendered document.
type node = map[string]any

// Swagger is the document in Swagger 2.0, for the clients of the AI Horde API: what lies under
// /api/v2, in the words that their readers know. OpenAPI tells the rest.
func (d Document) Swagger() map[string]any {
	var ops []Operation
	paths := node{}
	for _, o := range d.Operations {
		path, ok := strings.CutPrefix(o.Path, basePath)
		if !ok || !strings.HasPrefix(path, "/v2/") {
			continue
		}
		ops = append(ops, o)
		at(paths, path)[strings.ToLower(o.Method)] = o.swagger()
		if params := o.pathParams(swagger2); len(params) > 0 {
			at(paths, path)["parameters"] = params
		}
	}
	return node{
		"swagger":     "2.0",
		"basePath":    basePath,
		"info":        node{"title": title, "description": about, "version": apiVersion},
		"consumes":    []string{jsonMedia},
		"produces":    []string{jsonMedia},
		"tags":        []node{{"name": "v2", "description": "API version 2"}},
		"paths":       paths,
		"definitions": d.Models.Used(ops).render(swagger2),
		"responses": node{
			"ParseError": node{"description": "The X-Fields header cannot be read."},
			"MaskError":  node{"description": "The X-Fields header asks for what the answer does not have."},
		},
	}
}

// OpenAPI is the document in OpenAPI 3.1: everything that is served.
func (d Document) OpenAPI(server string) map[string]any {
	paths, tags := node{}, []node{}
	for _, o := range d.Operations {
		at(paths, o.Path)[strings.ToLower(o.Method)] = o.openapi()
		if !slices.ContainsFunc(tags, func(t node) bool { return t["name"] == o.Tag }) {
			tags = append(tags, node{"name": o.Tag})
		}
	}
	return node{
		"openapi":    "3.1.0",
		"info":       node{"title": title, "description": about, "version": apiVersion, "x-software": "hordenode " + d.Version},
		"servers":    []node{{"url": server}},
		"tags":       tags,
		"paths":      paths,
		"components": node{"schemas": d.Models.Used(d.Operations).render(openapi3)},
	}
}

const jsonMedia = "application/json"

// at is the entry of a path, made if it is missing.
func at(paths node, path string) node {
	entry, ok := paths[path].(node)
	if !ok {
		entry = node{}
		paths[path] = entry
	}
	return entry
}

func (o Operation) swagger() node {
	params := o.params(swagger2)
	if o.Body.Is() {
		params = append(params, node{"name": "payload", "in": "body", "required": true, "schema": o.Body.bare().render("", dialect{refs: swagger2.refs, quiet: true})})
	}
	answers := node{}
	for status, s := range o.answers() {
		answer := node{"description": http.StatusText(status)}
		if s.Is() {
			answer["schema"] = s.render("", swagger2)
		}
		answers[strconv.Itoa(status)] = answer
	}
	return node{"operationId": o.ID, "summary": o.Summary, "parameters": params, "responses": answers, "tags": []string{"v2"}}
}

func (o Operation) openapi() node {
	answers := node{}
	for status, s := range o.answers() {
		answer := node{"description": http.StatusText(status)}
		switch {
		case status < 300 && o.Media != "":
			answer["content"] = node{o.Media: node{}}
		case s.Is():
			answer["content"] = node{jsonMedia: node{"schema": s.render("", openapi3)}}
		}
		answers[strconv.Itoa(status)] = answer
	}
	params := append(o.pathParams(openapi3), o.params(openapi3)...)
	out := node{"operationId": o.ID, "summary": o.Summary, "parameters": params, "responses": answers, "tags": []string{o.Tag}}
	if len(o.Limits) > 0 {
		out["x-rate-limits"] = o.Limits
	}
	if o.Body.Is() {
		body := node{"schema": o.Body.render("", openapi3)}
		content := node{jsonMedia: body}
		if o.Form {
			content["application/x-www-form-urlencoded"] = body
		}
		out["requestBody"] = node{"required": true, "content": content}
	}
	return out
}

// answers are the shapes of the answers by status.
func (o Operation) answers() map[int]Shape {
	all := map[int]Shape{cmp.Or(o.Status, http.StatusOK): o.Answer}
	for _, status := range o.Fails {
		all[status] = ref(errorModel)
		if status == http.StatusBadRequest {
			all[status] = ref(validationModel)
		}
	}
	return all
}

func (o Operation) pathParams(d dialect) []node {
	params := []node{}
	for _, name := range o.PathParams() {
		params = append(params, param("path", need(name, str()), d))
	}
	return params
}

// params are the headers and the parameters of the query.
func (o Operation) params(d dialect) []node {
	params := []node{}
	if o.Key != NoKey {
		params = append(params, param("header", Member{Name: "apikey", Required: o.Key == MustKey, Shape: str()}, d))
	}
	if o.Agent {
		params = append(params, param("header", has("Client-Agent", str().def("unknown:0:unknown")), d))
	}
	for _, q := range o.Query {
		params = append(params, param("query", q, d))
	}
	for _, h := range o.Headers {
		params = append(params, param("header", h, d))
	}
	if o.Masked {
		params = append(params, param("header", has("X-Fields", str().form("mask")), d))
	}
	return params
}

func param(in string, m Member, d dialect) node {
	out := node{}
	if d.examples {
		out["schema"] = m.Shape.render("", d)
	} else {
		bare := m.Shape
		bare.Min, bare.Max, bare.Choices, bare.Example = nil, nil, nil, nil
		out = bare.render("", d)
	}
	out["name"], out["in"] = m.Name, in
	if m.Required {
		out["required"] = true
	}
	if note := Note(m.Name); note != "" {
		out["description"] = note
	}
	return out
}

// bare is the shape of an unnamed body with the types of its members and no more: what
// clients that read Swagger 2.0 expect there.
func (s Shape) bare() Shape {
	if s.Ref != "" {
		return s
	}
	out := Shape{Kind: s.Kind}
	for _, m := range s.Members {
		out.Members = append(out.Members, has(m.Name, Shape{Kind: m.Shape.Kind, Format: m.Shape.Format}))
	}
	return out
}

func (m Models) render(d dialect) node {
	out := node{}
	for name, model := range m {
		members := model.Members
		if d.asReference {
			members = slices.DeleteFunc(slices.Clone(members), func(f Member) bool { return f.Beyond })
		}
		own := object(members...).render("", d)
		if model.Base != "" {
			own = node{"allOf": []node{{"$ref": d.refs + model.Base}, own}}
		}
		out[name] = own
	}
	return out
}

// render writes a shape; name is the member's that it describes, for its note.
func (s Shape) render(name string, d dialect) node {
	if s.Ref != "" {
		return node{"$ref": d.refs + s.Ref}
	}
	out := node{"type": s.Kind}
	if note := Note(name); note != "" {
		out["description"] = note
	}
	if s.Kind == "object" {
		s.renderObject(out, d)
	}
	if s.Items != nil {
		out["items"] = s.Items.render("", d)
	}
	if s.Format != "" {
		out["format"] = s.Format
	}
	if s.Default != nil {
		out["default"] = s.Default
	}
	if s.Example != nil && d.examples {
		out["examples"] = []any{s.Example}
	} else if s.Example != nil {
		out["example"] = s.Example
	}
	least, most := "minimum", "maximum"
	switch s.Kind {
	case "string":
		least, most = "minLength", "maxLength"
	case "array":
		least, most = "minItems", "maxItems"
		if !d.examples {
			least, most = "", "" // clients of Swagger 2.0 do not expect them in members
		}
	}
	if s.Min != nil && least != "" {
		out[least] = *s.Min
	}
	if s.Max != nil && most != "" {
		out[most] = *s.Max
	}
	if s.Multiple != 0 {
		out["multipleOf"] = s.Multiple
	}
	if s.Unique {
		out["uniqueItems"] = true
	}
	if len(s.Choices) > 0 {
		out["enum"] = s.Choices
	}
	return out
}

func (s Shape) renderObject(out node, d dialect) {
	if s.Values != nil {
		out["additionalProperties"] = s.Values.render("", d)
	}
	if len(s.Members) == 0 {
		return
	}
	members, required := node{}, []string{}
	for _, m := range s.Members {
		name := m.Name
		if d.quiet {
			name = ""
		}
		members[m.Name] = m.Shape.render(name, d)
		if m.Required {
			required = append(required, m.Name)
		}
	}
	out["properties"] = members
	if len(required) > 0 {
		out["required"] = required
	}
}
