package api

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

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
	blockedScore    = 2       // a prompt of this score is not made
	maxScored       = 1 << 16 // characters of a prompt that are looked at
	maxFilterRegexp = 4096    // characters of an expression
)

// A promptFilter is the filters of the federation, compiled. It is immutable. Expressions are
// RE2's, so the time that a prompt takes is linear in its length.
type promptFilter struct {
	byType map[int][]compiledFilter
	inert  map[int64]string // why a filter has no effect, by its id
}

type compiledFilter struct {
	horde.Filter
	re *regexp.Regexp
}

// newPromptFilter compiles filters; one that does not compile is inert and stops no other.
func newPromptFilter(filters []horde.Filter) *promptFilter {
	p := &promptFilter{byType: map[int][]compiledFilter{}, inert: map[int64]string{}}
	for _, f := range filters {
		re, err := compileFilter(f)
		if err != nil {
			p.inert[f.ID] = err.Error()
			continue
		}
		p.byType[f.Type] = append(p.byType[f.Type], compiledFilter{f, re})
	}
	return p
}

// compileFilter compiles the expression of a filter, or says why it has no effect.
func compileFilter(f horde.Filter) (*regexp.Regexp, error) {
	if len(f.Regex) > maxFilterRegexp {
		return nil, fmt.Errorf("the expression has more than %d bytes", maxFilterRegexp)
	}
	re, err := regexp.Compile("(?i)" + f.Regex)
	if err != nil {
		return nil, fmt.Errorf("the expression is not one of RE2: %w", err)
	}
	if re.MatchString("") {
		return nil, errors.New("the expression matches any prompt")
	}
	return re, nil
}

// score tells how suspicious a prompt is, 0 to 2, and what was found: a point for the
// subject, one for the act. blockedScore is too much.
func (p *promptFilter) score(prompt string) (points int, matches []string) {
	positive, text := scoredText(prompt)
	for _, found := range [][]string{
		p.match(positive, text, filterSubject, filterSubject2),
		p.match(positive, text, filterAct),
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
	if kind != filterSubject && kind != filterSubject2 && kind != filterAct {
		return 0, nil
	}
	positive, text := scoredText(prompt)
	if matches = p.match(positive, text, kind); matches != nil {
		points = 1
	}
	return points, matches
}

// match returns the emoji in the raw positive prompt, or else the first match of the first
// of the given types that has one; nil if there is none.
func (p *promptFilter) match(positive, text string, types ...int) []string {
	if types[0] == filterSubject {
		if found := youthEmoji(positive); found != nil {
			return found
		}
	}
	for _, t := range types {
		first, at := "", -1
		for _, f := range p.byType[t] {
			if loc := f.re.FindStringIndex(text); loc != nil && (at < 0 || loc[0] < at) {
				first, at = text[loc[0]:loc[1]], loc[0]
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

// weights are how prompts stress words: "(word:1.2)".
var weights = regexp.MustCompile(`\(([^()]*):\d+\.\d+\)`)

// normalisePrompt undoes what hides words: weights, punctuation, blanks between letters,
// accents. The order matters.
func normalisePrompt(positive string) string {
	s := weights.ReplaceAllString(positive, "$1")
	s = strings.Map(func(r rune) rune {
		if isWord(r) || unicode.IsSpace(r) {
			return r
		}
		return ' '
	}, s)
	s = glueLetters(s)
	return strings.Join(strings.FieldsFunc(transliterate(s), unicode.IsSpace), " ")
}

// isWord tells characters of words from others; "_" counts as punctuation.
func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }

// glueLetters takes the blanks out of " b r a" and longer runs of single characters, so that
// "z e b r a" becomes "z ebra".
func glueLetters(s string) string {
	rs := []rune(s)
	out := make([]rune, 0, len(rs))
	for i := 0; i < len(rs); {
		n := 0 // pairs of a blank and a character from here
		for i+2*n+1 < len(rs) && unicode.IsSpace(rs[i+2*n]) && isWord(rs[i+2*n+1]) {
			n++
		}
		if end := i + 2*n; n > 0 && end < len(rs) && isWord(rs[end]) {
			n-- // the last one begins a word
		}
		if n < 3 {
			for range max(1, 2*n) {
				out = append(out, rs[i])
				i++
			}
			continue
		}
		out = append(out, ' ')
		for k := range n {
			out = append(out, rs[i+2*k+1])
		}
		i += 2 * n
	}
	return string(out)
}

// transliterate takes accents off letters and spells out those that are no letter with an
// accent. What has no spelling in ASCII stays, so that filters can name it.
func transliterate(s string) string {
	plain := strings.Map(func(r rune) rune {
		if unicode.IsMark(r) {
			return -1
		}
		return r
	}, norm.NFKD.String(s))
	return spellings.Replace(plain)
}

// spellings are of letters that do not decompose, and of Cyrillic ones, which look or sound
// like Latin ones and are used to hide words.
var spellings = strings.NewReplacer(
	"ß", "ss", "æ", "ae", "Æ", "AE", "œ", "oe", "Œ", "OE", "ø", "o", "Ø", "O", "ł", "l", "Ł", "L",
	"đ", "d", "Đ", "D", "ð", "d", "Ð", "D", "þ", "th", "Þ", "Th", "ı", "i", "ħ", "h", "Ħ", "H",
	"а", "a", "б", "b", "в", "v", "г", "g", "д", "d", "е", "e", "з", "z", "и", "i", "к", "k", "л", "l",
	"м", "m", "н", "n", "о", "o", "п", "p", "р", "r", "с", "s", "т", "t", "у", "u", "ф", "f", "ы", "y", "э", "e",
	"А", "A", "Б", "B", "В", "V", "Г", "G", "Д", "D", "Е", "E", "З", "Z", "И", "I", "К", "K", "Л", "L",
	"М", "M", "Н", "N", "О", "O", "П", "P", "Р", "R", "С", "S", "Т", "T", "У", "U", "Ф", "F", "Ы", "Y", "Э", "E",
)

// youthEmoji returns the emoji of a prompt that show children or what belongs to them, nil if
// there are none. Families and people with a baby bottle are sequences that hold one of
// these.
func youthEmoji(prompt string) []string {
	const youth = "👶🧒👦👧👼🍼🤱🚼🚸👪🐣🐤🐥"
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
