package modelref

import (
	"regexp"
	"strings"
)

// A Text is what the reference says of a text model.
type Text struct {
	Parameters float64 `json:"parameters"` // count
	NSFW       bool    `json:"nsfw"`
}

// Text returns what is known of a text model. An alias of its server ("model::name#1") and
// the marks of a quantisation are not part of its name.
func (s *Store) Text(name string) (m Text, known bool) {
	if s == nil {
		return Text{}, false
	}
	texts := s.current.Load().texts
	name = withoutAlias(name)
	if m, known = texts[name]; !known {
		m, known = texts[withoutQuant(name)]
	}
	return m, known
}

// Parameters returns the size of a text model in billions; 1 and false if unknown.
func (s *Store) Parameters(name string) (billions float64, known bool) {
	m, known := s.Text(name)
	if !known {
		return 1, false
	}
	return m.Parameters / 1e9, true
}

// withoutAlias cuts off "::alias". A name with several of them is left as it is.
func withoutAlias(name string) string {
	if strings.Count(name, "::") != 1 {
		return name
	}
	base, _, _ := strings.Cut(name, "::")
	return base
}

// quant is what a quantisation looks like: a separator, a letter or more, Q, digits, and
// whatever hangs on it. It also eats a size that stands right before a bare "-Q4_K_M", and
// leaves ".Q4_K_M" alone: prices depend on names being read exactly so.
var quant = regexp.MustCompile(`[.,-][A-Za-z0-9]+?-?Q(?:-[Ii]nt)?[2-9]{1,2}(?:[_.-][A-Za-z0-9]+)*`)

func withoutQuant(name string) string { return quant.ReplaceAllString(name, "") }
