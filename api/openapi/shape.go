package openapi

// The words that models and operations are written in:
//
//	define("Team", need("name", str().length(3, 100)), has("members", integer().from(0).eg(3)))

func define(name string, members ...Member) Model { return Model{Name: name, Members: members} }

// extend is a model with all members of another.
func extend(name, base string, members ...Member) Model {
	return Model{Name: name, Base: base, Members: members}
}

// has is a member that may be missing, need one that is always there.
func has(name string, s Shape) Member  { return Member{Name: name, Shape: s} }
func need(name string, s Shape) Member { return Member{Name: name, Required: true, Shape: s} }

// beyond is a member that the AI Horde's definition of the model does not have.
func beyond(name string, s Shape) Member { return Member{Name: name, Shape: s, Beyond: true} }

func str() Shape                { return Shape{Kind: "string"} }
func integer() Shape            { return Shape{Kind: "integer"} }
func num() Shape                { return Shape{Kind: "number"} }
func flag() Shape               { return Shape{Kind: "boolean"} }
func ref(model string) Shape    { return Shape{Ref: model} }
func list(items Shape) Shape    { return Shape{Kind: "array", Items: &items} }
func table(values Shape) Shape  { return Shape{Kind: "object", Values: &values} }
func object(m ...Member) Shape  { return Shape{Kind: "object", Members: m} }
func (s Shape) eg(v any) Shape  { s.Example = v; return s }
func (s Shape) def(v any) Shape { s.Default = v; return s }
func (s Shape) form(f string) Shape {
	s.Format = f
	return s
}

// from and to are the bounds of numbers and of the lengths of strings.
func (s Shape) from(least float64) Shape { s.Min = &least; return s }
func (s Shape) to(most float64) Shape    { s.Max = &most; return s }

func (s Shape) oneOf(choices ...string) Shape { s.Choices = choices; return s }
