package textrule

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxExact   = 64 // strings that stand for a whole subexpression
	maxClass   = 10 // characters of a class that is written out
	maxLiteral = 16 // characters of a literal that are looked for
	manyRunes  = 1 << 12
)

// fold maps characters that (?i) takes for the same to one of them.
func fold(r rune) rune {
	if r < 0x80 {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}
	least := r
	for x := unicode.SimpleFold(r); x != r; x = unicode.SimpleFold(x) {
		least = min(least, x)
	}
	return least
}

// needs is what is known of the matches of a subexpression.
type needs struct {
	exact []string // all that it matches; nil: too many
	some  []string // each match holds one of them; nil: nothing is known
}

// required returns folded strings one of which is in every match, nil if there are none of use.
func required(re *syntax.Regexp) []string {
	n := need(re)
	out := n.best()
	if slices.Contains(out, "") {
		return nil
	}
	for i, s := range out {
		if r := []rune(s); len(r) > maxLiteral {
			out[i] = string(r[:maxLiteral])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// best is the more selective of what is known.
func (n needs) best() []string { return better(n.exact, n.some) }

// better is the set whose shortest string is longer; nil is the worst.
func better(a, b []string) []string {
	if worth(b) > worth(a) {
		return b
	}
	return a
}

func worth(set []string) int {
	if set == nil {
		return -1
	}
	least := 1 << 20
	for _, s := range set {
		least = min(least, len(s))
	}
	return least
}

func need(re *syntax.Regexp) needs {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return needs{exact: []string{""}}
	case syntax.OpLiteral:
		return needs{exact: []string{strings.Map(fold, string(re.Rune))}}
	case syntax.OpCharClass:
		return needs{exact: class(re.Rune)}
	case syntax.OpCapture:
		return need(re.Sub[0])
	case syntax.OpPlus:
		return needs{some: need(re.Sub[0]).best()}
	case syntax.OpRepeat:
		if re.Min == 0 {
			return needs{}
		}
		return needs{some: need(re.Sub[0]).best()}
	case syntax.OpQuest:
		n := need(re.Sub[0])
		if n.exact == nil || len(n.exact) >= maxExact {
			return needs{}
		}
		return needs{exact: append(slices.Clone(n.exact), "")}
	case syntax.OpAlternate:
		return alternate(re.Sub)
	case syntax.OpConcat:
		return concat(re.Sub)
	}
	return needs{} // any character, star
}

func alternate(subs []*syntax.Regexp) needs {
	out := needs{exact: []string{}, some: []string{}}
	for _, s := range subs {
		n := need(s)
		if n.exact == nil {
			out.exact = nil
		} else if out.exact != nil {
			out.exact = append(out.exact, n.exact...)
		}
		if b := n.best(); b == nil {
			return needs{}
		} else if out.some != nil {
			out.some = append(out.some, b...)
		}
	}
	if len(out.exact) > maxExact {
		out.exact = nil
	}
	return out
}

// concat joins what is exact as far as it goes: "a(b|c)d.*" needs "abd" or "acd".
func concat(subs []*syntax.Regexp) needs {
	run, exact := []string{""}, true
	var some []string
	for _, s := range subs {
		n := need(s)
		joined := cross(run, n.exact)
		if joined == nil {
			some = better(better(some, run), n.some)
			exact = false
			if run = n.exact; run == nil {
				run = []string{""}
			}
			continue
		}
		run = joined
	}
	if exact {
		return needs{exact: run}
	}
	return needs{some: better(some, run)}
}

// cross is each of a followed by each of b, nil if that is too much.
func cross(a, b []string) []string {
	if b == nil || len(a)*len(b) > maxExact {
		return nil
	}
	out := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			if len(x)+len(y) > 4*manyRunes {
				return nil
			}
			out = append(out, x+y)
		}
	}
	return out
}

// class writes out a small class.
func class(ranges []rune) []string {
	var out []string
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if s := string(fold(r)); !slices.Contains(out, s) {
				out = append(out, s)
			}
			if len(out) > maxClass {
				return nil
			}
		}
	}
	return out
}

// runes is the shortest and the longest match in characters; longest is -1 without a bound.
func runes(re *syntax.Regexp) (shortest, longest int) {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune), len(re.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1, 1
	case syntax.OpCapture:
		return runes(re.Sub[0])
	case syntax.OpStar:
		return 0, -1
	case syntax.OpPlus:
		s, _ := runes(re.Sub[0])
		return s, -1
	case syntax.OpQuest:
		_, l := runes(re.Sub[0])
		return 0, l
	case syntax.OpRepeat:
		s, l := runes(re.Sub[0])
		if re.Max < 0 || l < 0 {
			return s * re.Min, -1
		}
		return s * re.Min, bound(l * re.Max)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			s, l := runes(sub)
			shortest += s
			if l < 0 || longest < 0 {
				longest = -1
			} else {
				longest = bound(longest + l)
			}
		}
		return shortest, longest
	case syntax.OpAlternate:
		shortest = manyRunes
		for _, sub := range re.Sub {
			s, l := runes(sub)
			shortest = min(shortest, s)
			if l < 0 || longest < 0 {
				longest = -1
			} else {
				longest = max(longest, l)
			}
		}
		return shortest, longest
	}
	return 0, 0 // of no width, or no match at all
}

// widest is the longest match in bytes, of an expression whose longest match is bounded.
func widest(re *syntax.Regexp) int {
	n := 0
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			n += widestFold(r)
		}
	case syntax.OpCharClass:
		n = 1
		for _, r := range re.Rune {
			n = max(n, utf8.RuneLen(r))
		}
		if n < 1 {
			n = utf8.UTFMax
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return utf8.UTFMax
	case syntax.OpRepeat:
		return re.Max * widest(re.Sub[0])
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			n = max(n, widest(sub))
		}
	default:
		for _, sub := range re.Sub {
			n += widest(sub)
		}
	}
	return n
}

// widestFold is how many bytes the longest character has that (?i) takes for r.
func widestFold(r rune) int {
	n := utf8.RuneLen(r)
	for x := unicode.SimpleFold(r); x != r; x = unicode.SimpleFold(x) {
		n = max(n, utf8.RuneLen(x))
	}
	return max(n, 1)
}

// bound takes very long matches for unbounded ones.
func bound(n int) int {
	if n > manyRunes {
		return -1
	}
	return n
}

// hasAnchors tells whether something in an expression looks at its surroundings.
func hasAnchors(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return true
	}
	return slices.ContainsFunc(re.Sub, hasAnchors)
}
