package openapi

import (
	"reflect"
	"slices"
	"strings"
)

// A Tightener makes models say what is enforced: type, bounds, choices and necessity of their
// members, in a model, in its base and in the models of its members. Where two bodies with
// the same base enforce different things, each says so itself and the base does not.
type Tightener struct {
	models Models
	said   map[string]said // by base and member
	made   map[string]bool // models that had nothing before
}

// said is what a model made its base say of a member.
type said struct {
	model string
	exact Member
}

// NewTightener changes the given models.
func NewTightener(m Models) *Tightener { return &Tightener{m, map[string]said{}, map[string]bool{}} }

// Tighten enforces s in a model.
func (t *Tightener) Tighten(model string, s Shape) {
	if m := t.models[model]; m.Base == "" && len(m.Members) == 0 {
		t.made[model] = true
	}
	for _, f := range s.Members {
		owner, i := t.find(model, f.Name)
		if i < 0 {
			f.Shape = t.hoist(model, f.Name, f.Shape)
			f.Beyond = !t.made[model]
			t.set(model, f)
			continue
		}
		known := t.models[owner].Members[i]
		exact := Member{f.Name, f.Required, t.tightened(known.Shape, f.Shape), known.Beyond}
		before, again := t.said[owner+"."+f.Name]
		switch {
		case owner == model:
			t.set(owner, exact)
		case !again:
			t.set(owner, exact)
			t.said[owner+"."+f.Name] = said{model, exact}
		case !reflect.DeepEqual(before.exact, exact):
			k := known.Shape
			t.set(owner, has(f.Name, Shape{Kind: k.Kind, Ref: k.Ref, Format: k.Format, Items: k.Items, Members: k.Members, Example: k.Example, Default: k.Default}))
			t.set(before.model, before.exact)
			t.set(model, exact)
		}
	}
}

// set replaces or adds a member of a model.
func (t *Tightener) set(model string, f Member) {
	m := t.models[model]
	m.Members = slices.Clone(m.Members)
	if i := slices.IndexFunc(m.Members, func(k Member) bool { return k.Name == f.Name }); i >= 0 {
		m.Members[i] = f
	} else {
		m.Members = append(m.Members, f)
	}
	t.models[model] = m
}

// find returns the model that has a member, which may be a base of the given one.
func (t *Tightener) find(model, member string) (owner string, i int) {
	for model != "" {
		m := t.models[model]
		if i := slices.IndexFunc(m.Members, func(f Member) bool { return f.Name == member }); i >= 0 {
			return model, i
		}
		model = m.Base
	}
	return "", -1
}

// tightened is the known shape with the enforced rules.
func (t *Tightener) tightened(known, enforced Shape) Shape {
	if known.Ref != "" {
		t.Tighten(known.Ref, enforced)
		return known
	}
	out := enforced
	out.Example, out.Default, out.Format = known.Example, known.Default, known.Format
	if known.Items != nil && enforced.Items != nil {
		items := t.tightened(*known.Items, *enforced.Items)
		out.Items = &items
	}
	return out
}

// hoist gives objects within a new member names of their own, after the model and the member:
// readers of Swagger 2.0 do not expect objects without.
func (t *Tightener) hoist(model, member string, s Shape) Shape {
	if s.Items != nil {
		items := t.hoist(model, member, *s.Items)
		s.Items = &items
	}
	if s.Kind != "object" || len(s.Members) == 0 {
		return s
	}
	name := model
	for part := range strings.SplitSeq(member, "_") {
		if part != "" {
			name += strings.ToUpper(part[:1]) + part[1:]
		}
	}
	t.models[name] = Model{Name: name}
	for _, f := range s.Members {
		f.Shape = t.hoist(name, f.Name, f.Shape)
		t.set(name, f)
	}
	return ref(name)
}
