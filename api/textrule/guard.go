package textrule

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// A guard is a lookahead or lookbehind: at the beginning or the end of a match, something must
// follow or come before, or must not.
type guard struct {
	re     *regexp.Regexp // anchored
	behind bool
	not    bool
	atEnd  bool
	width  int // bytes of text that it may look at
}

func (g *guard) holds(text string, at int) bool {
	lo, hi := at, at
	if g.behind {
		lo = runeAt(text, at-g.width)
	} else {
		hi = runeAt(text, at+g.width)
	}
	return g.re.MatchString(text[lo:hi]) != g.not
}

// runeAt is the last beginning of a character at or before i, within the text; in what is no
// UTF-8, it may be i itself.
func runeAt(text string, i int) int {
	if i <= 0 {
		return 0
	}
	if i >= len(text) {
		return len(text)
	}
	for back := range utf8.UTFMax {
		if i >= back && utf8.RuneStart(text[i-back]) {
			return i - back
		}
	}
	return i
}

// lookarounds are how they begin. The longer spellings come first.
var lookarounds = []struct {
	open        string
	behind, not bool
}{{"(?<=", true, false}, {"(?<!", true, true}, {"(?=", false, false}, {"(?!", false, true}}

// hasLookaround tells whether an expression needs more than RE2 for one.
func hasLookaround(expr string) bool {
	for i := 0; i < len(expr); i = next(expr, i) {
		if isLookaround(expr[i:]) {
			return true
		}
	}
	return false
}

func isLookaround(s string) bool {
	for _, l := range lookarounds {
		if strings.HasPrefix(s, l.open) {
			return true
		}
	}
	return false
}

// next is the index behind the character, escape or class that begins at i.
func next(expr string, i int) int {
	switch expr[i] {
	case '\\':
		return min(i+2, len(expr))
	case '[':
		j := i + 1
		if j < len(expr) && expr[j] == '^' {
			j++
		}
		if j < len(expr) && expr[j] == ']' {
			j++
		}
		for j < len(expr) && expr[j] != ']' {
			if expr[j] == '\\' {
				j++
			}
			j++
		}
		return min(j+1, len(expr))
	}
	return i + 1
}

// groupEnd is the index behind the group that begins at i, -1 if it has no end.
func groupEnd(expr string, i int) int {
	depth := 0
	for j := i; j < len(expr); j = next(expr, j) {
		switch expr[j] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return j + 1
			}
		}
	}
	return -1
}

// unwrap takes away a group that is all of the expression.
func unwrap(expr string) string {
	for strings.HasPrefix(expr, "(") && !isLookaround(expr) && groupEnd(expr, 0) == len(expr) {
		switch {
		case strings.HasPrefix(expr, "(?:"):
			expr = expr[3 : len(expr)-1]
		case strings.HasPrefix(expr, "(?"):
			return expr
		default:
			expr = expr[1 : len(expr)-1]
		}
	}
	return expr
}

// alternatives splits an expression at the bars that are in no group, and those of them that
// are groups again.
func alternatives(expr string) (list []string) {
	depth, from := 0, 0
	for i := 0; i < len(expr); i = next(expr, i) {
		switch expr[i] {
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth == 0 {
				list, from = append(list, expr[from:i]), i+1
			}
		}
	}
	list = append(list, expr[from:])
	if len(list) == 1 {
		return list
	}
	var all []string
	for _, a := range list {
		all = append(all, alternatives(unwrap(a))...)
	}
	return all
}

var errInside = errors.New("the expression is not one of RE2: a lookahead or lookbehind can stand at the beginning or the end of an alternative only")

// peel takes the lookarounds off the edges of an alternative. Boundaries and anchors among
// those in front stay with the core: where all are of no width, their order is all the same.
func peel(expr string) (core string, guards []guard, err error) {
	anchors := ""
	for {
		if a := anchor(expr); a != "" {
			anchors, expr = anchors+a, expr[len(a):]
			continue
		}
		if !isLookaround(expr) {
			break
		}
		end := groupEnd(expr, 0)
		if end < 0 {
			return "", nil, errors.New("the expression is not one of RE2: missing closing )")
		}
		if end < len(expr) && strings.ContainsRune("*+?{", rune(expr[end])) {
			return "", nil, errInside
		}
		g, err := newGuard(expr[:end], false)
		if err != nil {
			return "", nil, err
		}
		guards, expr = append(guards, g), expr[end:]
	}
	expr, tail, err := peelEnd(expr)
	if err != nil {
		return "", nil, err
	}
	if hasLookaround(expr) {
		return "", nil, errInside
	}
	return anchors + expr, append(guards, tail...), nil
}

func peelEnd(expr string) (core string, guards []guard, err error) {
	from := -1 // of the lookarounds at the end
	for i := 0; i < len(expr); {
		if isLookaround(expr[i:]) {
			end := groupEnd(expr, i)
			if end < 0 {
				return "", nil, errors.New("the expression is not one of RE2: missing closing )")
			}
			if from < 0 {
				from = i
			}
			i = end
			continue
		}
		if from >= 0 {
			return "", nil, errInside
		}
		if expr[i] == '(' {
			end := groupEnd(expr, i)
			if end < 0 {
				return "", nil, errors.New("the expression is not one of RE2: missing closing )")
			}
			i = end
			continue
		}
		i = next(expr, i)
	}
	if from < 0 {
		return expr, nil, nil
	}
	core, rest := expr[:from], expr[from:]
	for rest != "" {
		end := groupEnd(rest, 0)
		g, err := newGuard(rest[:end], true)
		if err != nil {
			return "", nil, err
		}
		guards, rest = append(guards, g), rest[end:]
	}
	return core, guards, nil
}

func anchor(expr string) string {
	for _, a := range []string{`\b`, `\B`, `\A`, "^"} {
		if strings.HasPrefix(expr, a) {
			return a
		}
	}
	return ""
}

func newGuard(group string, atEnd bool) (guard, error) {
	for _, l := range lookarounds {
		if !strings.HasPrefix(group, l.open) {
			continue
		}
		inner := group[len(l.open) : len(group)-1]
		if hasLookaround(inner) {
			return guard{}, errInside
		}
		tree, err := syntax.Parse("(?i)"+inner, syntax.Perl)
		if err != nil {
			return guard{}, fmt.Errorf("the expression is not one of RE2: %w", plain(err))
		}
		_, longest := runes(tree)
		if longest < 0 || hasAnchors(tree) {
			return guard{}, errors.New("a lookahead or lookbehind can hold words of bounded length only, and no boundaries")
		}
		anchored := `\A(?:` + inner + `)`
		if l.behind {
			anchored = `(?:` + inner + `)\z`
		}
		re, err := regexp.Compile("(?i)" + anchored)
		if err != nil {
			return guard{}, fmt.Errorf("the expression is not one of RE2: %w", plain(err))
		}
		return guard{re: re, behind: l.behind, not: l.not, atEnd: atEnd, width: (longest + 1) * utf8.UTFMax}, nil
	}
	return guard{}, errInside
}
