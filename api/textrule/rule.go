package textrule

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// MaxExpression is the longest expression, in bytes.
const MaxExpression = 4096

// A Rule is a compiled expression. It is immutable.
type Rule struct {
	parts []*part
}

// A part is one alternative of an expression; without lookarounds, the whole of it.
type part struct {
	re    *regexp.Regexp
	again *regexp.Regexp // a character and re, to go on behind a match with its guard failed; nil without guards
	guard []guard

	width    int      // of the longest match, in bytes; unbounded = -1
	literals []string // folded; each match holds one of them; nil: not known
}

const unbounded = -1

// Compile reads an expression. The error says, for people, why it cannot be run.
func Compile(expr string) (*Rule, error) {
	if len(expr) > MaxExpression {
		return nil, fmt.Errorf("the expression has more than %d bytes", MaxExpression)
	}
	if !hasLookaround(expr) {
		p, err := compilePart(expr, nil)
		if err != nil {
			return nil, err
		}
		return &Rule{parts: []*part{p}}, nil
	}
	r := &Rule{}
	for _, alternative := range alternatives(unwrap(expr)) {
		core, guards, err := peel(alternative)
		if err != nil {
			return nil, err
		}
		p, err := compilePart(core, guards)
		if err != nil {
			return nil, err
		}
		r.parts = append(r.parts, p)
	}
	return r, nil
}

var errAnything = errors.New("the expression matches any prompt")

func compilePart(core string, guards []guard) (*part, error) {
	re, err := regexp.Compile("(?i)" + core)
	if err != nil {
		return nil, fmt.Errorf("the expression is not one of RE2: %w", plain(err))
	}
	if re.MatchString("") {
		return nil, errAnything
	}
	tree, err := syntax.Parse("(?i)"+core, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("the expression is not one of RE2: %w", plain(err))
	}
	p := &part{re: re, guard: guards, width: unbounded, literals: required(tree)}
	shortest, longest := runes(tree)
	if longest >= 0 {
		p.width = widest(tree)
	}
	if len(guards) == 0 {
		return p, nil
	}
	if p.width == unbounded {
		return nil, errors.New("an expression with a lookahead or lookbehind must have a longest match")
	}
	if p.literals == nil {
		return nil, errors.New("an expression with a lookahead or lookbehind must hold some fixed letters")
	}
	for _, g := range guards {
		if g.atEnd && shortest != longest {
			return nil, errors.New("before a lookahead or lookbehind at the end, all matches must have the same length")
		}
	}
	if p.again, err = regexp.Compile("(?is:.)((?i:" + core + "))"); err != nil {
		return nil, fmt.Errorf("the expression is not one of RE2: %w", plain(err))
	}
	return p, nil
}

// plain takes the words "error parsing regexp" away, which say nothing new.
func plain(err error) error {
	var e *syntax.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%s: %q", e.Code, e.Expr)
	}
	return err
}

// find returns the leftmost match that begins at from or later and ends at to at the latest,
// whatever that does to the text's ends: callers look at what touches them.
func (p *part) find(text string, from, to int) (start, end int, ok bool) {
	m := p.re.FindStringIndex(text[from:to])
	for m != nil {
		start, end = from+m[0], from+m[1]
		if p.guarded(text, start, end) {
			return start, end, true
		}
		sub := p.again.FindStringSubmatchIndex(text[start:to])
		if sub == nil {
			break
		}
		from, m = start, sub[2:4]
	}
	return 0, 0, false
}

func (p *part) guarded(text string, start, end int) bool {
	for _, g := range p.guard {
		at := start
		if g.atEnd {
			at = end
		}
		if !g.holds(text, at) {
			return false
		}
	}
	return true
}

// all returns the matches of a part, none overlapping.
func (p *part) all(text string) [][]int {
	if len(p.guard) == 0 {
		return p.re.FindAllStringIndex(text, -1)
	}
	var found [][]int
	m := p.re.FindStringIndex(text)
	for m != nil {
		from := m[0] // a match may begin inside one whose guard fails
		if p.guarded(text, m[0], m[1]) {
			found = append(found, []int{m[0], m[1]})
			from = runeAt(text, m[1]-1)
		}
		sub := p.again.FindStringSubmatchIndex(text[from:])
		if sub == nil {
			break
		}
		m = []int{from + sub[2], from + sub[3]}
	}
	return found
}

// ReplaceAll returns the text with something else in place of the matches.
func (r *Rule) ReplaceAll(text, with string) string {
	var found [][]int
	for _, p := range r.parts {
		found = append(found, p.all(text)...)
	}
	slices.SortStableFunc(found, func(a, b []int) int { return cmp.Compare(a[0], b[0]) })
	var b strings.Builder
	at := 0
	for _, m := range found {
		if m[0] < at {
			continue
		}
		b.WriteString(text[at:m[0]])
		b.WriteString(with)
		at = m[1]
	}
	b.WriteString(text[at:])
	return b.String()
}
