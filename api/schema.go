package api

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A schema says what a JSON value must be like, with the rules of JSON Schema 2020-12 that
// the reference uses (spec/moderation.md section 1.3): unknown members are accepted, null is
// not, a whole number may be written 10.0, a boolean is no number.
//
//	object(
//		must("name", text(1, 100)),
//		may("threads", whole(1, 50)),
//		may("models", list(text(3, 255), 0, 300)),
//		may("state", choice("ok", "faulted")),
//	)
type schema struct {
	kind   string // object, array, string, integer, number, boolean
	fields []field
	items  *schema
	unique bool

	min, max float64 // of numbers, lengths of strings and arrays
	multiple int64
	choices  []string
}

type field struct {
	name     string
	required bool
	schema   *schema
}

func object(fields ...field) *schema { return &schema{kind: "object", fields: fields} }

// must is a member that has to be there.
func must(name string, s *schema) field { return field{name, true, s} }

// may is a member that may be missing.
func may(name string, s *schema) field { return field{name, false, s} }

// text is a string of that many characters.
func text(shortest, longest int) *schema {
	return &schema{kind: "string", min: float64(shortest), max: float64(longest)}
}

// choice is one of the given strings.
func choice(of ...string) *schema {
	return &schema{kind: "string", max: math.Inf(1), choices: of}
}

// whole is a whole number in the given range.
func whole(least, most int64) *schema {
	return &schema{kind: "integer", min: float64(least), max: float64(most)}
}

// times adds a divisor to a whole number.
func (s *schema) times(n int64) *schema {
	s.multiple = n
	return s
}

// number is a number in the given range.
func number(least, most float64) *schema { return &schema{kind: "number", min: least, max: most} }

// flag is a boolean.
func flag() *schema { return &schema{kind: "boolean"} }

// list is an array of that many such items.
func list(items *schema, fewest, most int) *schema {
	return &schema{kind: "array", items: items, min: float64(fewest), max: float64(most)}
}

// distinct forbids repeated items in an array.
func (s *schema) distinct() *schema {
	s.unique = true
	return s
}

// check returns what is wrong with v: a text for each dotted path, nil if nothing.
func (s *schema) check(v any) map[string]string {
	bad := violations{}
	s.walk(v, "", bad)
	if len(bad) == 0 {
		return nil
	}
	return bad
}

const maxViolations = 100 // told at once

type violations map[string]string

func (b violations) add(path, format string, args ...any) {
	if len(b) < maxViolations {
		b[path] = fmt.Sprintf(format, args...)
	}
}

func (s *schema) walk(v any, path string, bad violations) {
	switch s.kind {
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			bad.add(path, "is not of type 'object'")
			return
		}
		for _, f := range s.fields {
			sub := strings.TrimPrefix(path+"."+f.name, ".")
			switch e, ok := m[f.name]; {
			case ok:
				f.schema.walk(e, sub, bad)
			case f.required:
				bad.add(sub, "'%s' is a required property", f.name)
			}
		}
	case "array":
		a, ok := v.([]any)
		if !ok {
			bad.add(path, "is not of type 'array'")
			return
		}
		s.checkLength(len(a), path, bad)
		if float64(len(a)) > s.max {
			return
		}
		seen := map[string]bool{}
		for i, e := range a {
			s.items.walk(e, strings.TrimPrefix(path+"."+strconv.Itoa(i), "."), bad)
			if key, ok := e.(string); ok && s.unique {
				if seen[key] {
					bad.add(path, "has non-unique elements")
				}
				seen[key] = true
			}
		}
	case "string":
		t, ok := v.(string)
		if !ok {
			bad.add(path, "is not of type 'string'")
			return
		}
		s.checkLength(utf8.RuneCountInString(t), path, bad)
		if s.choices != nil && !slices.Contains(s.choices, t) {
			bad.add(path, "is not one of [%s]", strings.Join(s.choices, ", "))
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			bad.add(path, "is not of type 'boolean'")
		}
	default:
		s.walkNumber(v, path, bad)
	}
}

func (s *schema) checkLength(n int, path string, bad violations) {
	switch {
	case float64(n) < s.min:
		bad.add(path, "is too short: %d at least", int(s.min))
	case float64(n) > s.max:
		bad.add(path, "is too long: %d at most", int(s.max))
	}
}

func (s *schema) walkNumber(v any, path string, bad violations) {
	n, ok := v.(json.Number)
	var f float64
	if ok {
		var err error
		f, err = n.Float64()
		ok = err == nil
	}
	if !ok || s.kind == "integer" && f != math.Trunc(f) {
		bad.add(path, "is not of type '%s'", s.kind)
		return
	}
	switch {
	case f < s.min:
		bad.add(path, "%s is less than the minimum of %s", shortNumber(f), shortNumber(s.min))
	case f > s.max:
		bad.add(path, "%s is greater than the maximum of %s", shortNumber(f), shortNumber(s.max))
	case s.multiple > 0 && int64(f)%s.multiple != 0:
		bad.add(path, "%s is not a multiple of %d", shortNumber(f), s.multiple)
	}
}

func shortNumber(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
