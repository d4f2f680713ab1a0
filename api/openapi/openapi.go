// Package openapi says what an API looks like, in both of the languages that tools read:
//
//	operations.go  what each endpoint is for ──┐
//	models_*.go    what its JSON looks like  ──┼─► Document ─► Swagger 2.0, OpenAPI 3.1
//	package api    which routes there are,   ──┘
//	               what their bodies must be
//
// Names, types, enums and bounds of the AI Horde API are the facts that its clients rely on;
// all descriptions are ours. What a route enforces is not written down here a second time:
// package api knows it and tells it with a Tightener.
package openapi

import (
	"maps"
	"slices"
	"strings"
)

// A Document describes an API.
type Document struct {
	Version    string // of the software that serves it
	Operations []Operation
	Models     Models
}

// Need says whether an operation wants an API key.
type Need uint8

// The needs.
const (
	NoKey Need = iota
	MayKey
	MustKey
)

// An Operation is one method of one path.
type Operation struct {
	Method  string
	Path    string // with {names}, from the root: /api/v2/users/{user_id}
	ID      string // as clients generated from the document call it
	Tag     string // the group that it is shown in
	Summary string // one sentence
	Key     Need
	Query   []Member
	Headers []Member // beyond apikey, Client-Agent and X-Fields
	Body    Shape    // zero: none
	Form    bool     // the body may be a form, too
	Status  int      // of success; 0: 200
	Answer  Shape    // of success; zero: not described
	Media   string   // of the answer; "": JSON
	Fails   []int    // statuses of failures beyond those that all operations have
	Agent   bool     // reads Client-Agent
	Masked  bool     // X-Fields reduces the answer
	Limits  []string // such as "90 per 1 minute"
	Node    bool     // served by the node itself, as an api.Endpoint
}

// Is tells whether the operation is documented: routes without one have no summary.
func (o Operation) Is() bool { return o.Summary != "" }

// PathParams are the names in the path, in order.
func (o Operation) PathParams() []string {
	var names []string
	for part := range strings.SplitSeq(o.Path, "/") {
		if n, ok := strings.CutPrefix(part, "{"); ok {
			names = append(names, strings.TrimRight(n, "}"))
		}
	}
	return names
}

// A Model is a named JSON object, perhaps with all members of another.
type Model struct {
	Name    string
	Base    string // "": none
	Members []Member
}

// A Member is a member of an object, or a parameter.
type Member struct {
	Name     string
	Required bool
	Shape    Shape
	// Beyond says that the AI Horde's definition of the model does not have it. Clients compare
	// theirs with the Swagger 2.0 document, which therefore leaves it out.
	Beyond bool
}

// A Shape says what a JSON value looks like. The zero Shape is none.
type Shape struct {
	Kind    string // string, integer, number, boolean, array, object; "" with Ref
	Ref     string // name of a model
	Format  string
	Items   *Shape   // of an array
	Values  *Shape   // of an object whose member names are not fixed
	Members []Member // of an object without a name of its own

	Example, Default any
	Min, Max         *float64 // of numbers, lengths of strings; arrays: number of items
	Multiple         int64
	Unique           bool
	Choices          []string
}

// Is tells a shape from none.
func (s Shape) Is() bool { return s.Kind != "" || s.Ref != "" }

// Models are models by name.
type Models map[string]Model

// Used returns those models that the operations mention, directly or through others.
func (m Models) Used(ops []Operation) Models {
	used := Models{}
	var visit func(Shape)
	name := func(n string) {
		if _, seen := used[n]; seen || n == "" {
			return
		}
		used[n] = m[n]
		visit(Shape{Ref: m[n].Base, Members: m[n].Members})
	}
	visit = func(s Shape) {
		if s.Ref != "" {
			name(s.Ref)
		}
		for _, f := range s.Members {
			visit(f.Shape)
		}
		for _, sub := range []*Shape{s.Items, s.Values} {
			if sub != nil {
				visit(*sub)
			}
		}
	}
	for _, o := range ops {
		visit(o.Body)
		visit(o.Answer)
		name(errorModel)
		name(validationModel)
	}
	return used
}

const (
	errorModel      = "RequestError"
	validationModel = "RequestValidationError"
)

// Flat returns a model's members with those of its bases, by name.
func (m Models) Flat(name string) []Member {
	all := map[string]Member{}
	for n := name; n != ""; n = m[n].Base {
		for _, f := range m[n].Members {
			if _, known := all[f.Name]; !known {
				all[f.Name] = f
			}
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
}

// All returns the models of the AI Horde API and of what hordenode adds.
func All() Models {
	all := Models{}
	for _, m := range slices.Concat(imageModels(), textModels(), alchemyModels(), styleModels(), accountModels(), statusModels(), nodeModels()) {
		all[m.Name] = m
	}
	return all
}
