package ledger

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// skeleton is what a name looks like, so that two names that a reader takes for each other
// have one skeleton: letters in one case and without marks, compatible forms as their plain
// one (ﬁ as fi, Ａ as a), and the letters and digits that look like a Latin one as that
// (Cyrillic а, Greek ο, 0 and o; 1, i and l). It is made by who proposes a command and carried
// in it: nodes need not agree on Unicode's version.
func skeleton(name string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(norm.NFKC.String(name))) {
		switch {
		case unicode.Is(unicode.Mn, r), unicode.Is(unicode.Cf, r), unicode.IsControl(r), unicode.IsSpace(r):
			continue
		}
		if like, ok := lookalike(unicode.ToLower(r)); ok {
			r = like
		}
		b.WriteRune(r)
	}
	if b.Len() == 0 {
		return strings.ToLower(name)
	}
	return b.String()
}

// lookalike is the Latin letter that a character is taken for.
func lookalike(r rune) (rune, bool) {
	const like = "0o1l|lilіlӏlιlılɩlаaеeоoрpсcуyхxѕsјjһhԁdԛqԝwѵvкkмmтtнhвbгrпnαaεeοoρpτtυuνvκkχxγyωwηnøo" // what is seen, what it is taken for
	pairs := []rune(like)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == r {
			return pairs[i+1], true
		}
	}
	return 0, false
}
