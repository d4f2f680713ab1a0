package api

import (
	"slices"
	"strings"

	"hordenode/api/textrule"
	"hordenode/internal/horde"
)

// The filter types that are evaluated (spec/moderation.md section 8.1): two of the subject of
// a prompt and one of the act. Filters of other types are kept and do nothing.
const (
	filterSubject  = 10 // with emoji, and with replacements
	filterSubject2 = 11
	filterAct      = 20
)

const (
	blockedScore    = 2                      // a prompt of this score is not made
	maxScored       = 1 << 16                // characters of a prompt that are looked at
	maxFilterRegexp = textrule.MaxExpression // bytes of an expression
)

// A promptFilter is the filters of the federation, compiled. It is immutable. The time that a
// prompt takes is linear in its length, see package textrule.
type promptFilter struct {
	byType map[int][]compiledFilter
	set    *textrule.Set    // of all filters that are evaluated
	inert  map[int64]string // why a filter has no effect, by its id
}

type compiledFilter struct {
	horde.Filter
	rule *textrule.Rule
	at   int // place in the set
}

// newPromptFilter compiles filters; one that cannot be run is inert and stops no other.
func newPromptFilter(filters []horde.Filter) *promptFilter { return changedFilter(nil, filters) }

// changedFilter is newPromptFilter that takes over what the promptFilter before, which may be
// nil, had compiled.
func changedFilter(before *promptFilter, filters []horde.Filter) *promptFilter {
	known := map[string]*textrule.Rule{}
	if before != nil {
		for _, list := range before.byType {
			for _, f := range list {
				known[f.Regex] = f.rule
			}
		}
	}
	p := &promptFilter{byType: map[int][]compiledFilter{}, inert: map[int64]string{}}
	var evaluated []*textrule.Rule
	for _, f := range filters {
		rule := known[f.Regex]
		if rule == nil {
			var err error
			if rule, err = textrule.Compile(f.Regex); err != nil {
				p.inert[f.ID] = err.Error()
				continue
			}
		}
		c := compiledFilter{f, rule, -1}
		if isEvaluated(f.Type) {
			c.at = len(evaluated)
			evaluated = append(evaluated, rule)
		}
		p.byType[f.Type] = append(p.byType[f.Type], c)
	}
	p.set = textrule.NewSet(evaluated)
	return p
}

func isEvaluated(kind int) bool {
	return kind == filterSubject || kind == filterSubject2 || kind == filterAct
}

// score tells how suspicious a prompt is, 0 to 2, and what was found: a point for the
// subject, one for the act. blockedScore is too much.
func (p *promptFilter) score(prompt string) (points int, matches []string) {
	positive, text := scoredText(prompt)
	scan := p.set.Scan(text)
	for _, found := range [][]string{
		p.match(positive, text, scan, filterSubject, filterSubject2),
		p.match(positive, text, scan, filterAct),
	} {
		if found != nil {
			points++
			matches = append(matches, found...)
		}
	}
	return points, matches
}

// scoreType is like score but evaluates filters of one type only.
func (p *promptFilter) scoreType(prompt string, kind int) (points int, matches []string) {
	if !isEvaluated(kind) {
		return 0, nil
	}
	positive, text := scoredText(prompt)
	if matches = p.match(positive, text, p.set.Scan(text), kind); matches != nil {
		points = 1
	}
	return points, matches
}

// match returns the emoji in the raw positive prompt, or else the first match of the first
// of the given types that has one; nil if there is none.
func (p *promptFilter) match(positive, text string, scan textrule.Scan, types ...int) []string {
	if types[0] == filterSubject {
		if found := youthEmoji(positive); found != nil {
			return found
		}
	}
	for _, t := range types {
		first, at := "", -1
		for _, f := range p.byType[t] {
			if start, end, ok := scan.Find(f.at); ok && (at < 0 || start < at) {
				first, at = text[start:end], start
			}
		}
		if at >= 0 {
			return []string{first}
		}
	}
	return nil
}

// regex is the active expressions of a type in one; false if there are none.
func (p *promptFilter) regex(kind int) (string, bool) {
	var all []string
	for _, f := range p.byType[kind] {
		all = append(all, f.Regex)
	}
	return strings.Join(all, "|"), len(all) > 0
}

// scoredText is the positive part of a prompt, raw and normalised, as far as it is looked at.
func scoredText(prompt string) (positive, normalised string) {
	positive, _, _ = strings.Cut(truncate(prompt, maxScored), "###")
	return positive, normalisePrompt(positive)
}

// youthEmoji returns the emoji of a prompt that show children or what belongs to them, nil if
// there are none. Families and people with a baby bottle are sequences that hold one of
// these.
func youthEmoji(prompt string) []string {
	const youth = "👶🧒👦👧👼🍼🤱🚼🚸👪🐣🐤🐥"
	if !hasAstral(prompt) {
		return nil
	}
	var found []string
	rs := []rune(prompt)
	for i, r := range rs {
		if r < 0x1f000 || !strings.ContainsRune(youth, r) {
			continue
		}
		emoji := string(r)
		if i+1 < len(rs) && rs[i+1] >= 0x1f3fb && rs[i+1] <= 0x1f3ff { // the colours of skin
			emoji += string(rs[i+1])
		}
		if !slices.Contains(found, emoji) {
			found = append(found, emoji)
		}
	}
	return found
}
