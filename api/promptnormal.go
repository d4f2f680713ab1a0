package api

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalisePrompt undoes what hides words: weights, punctuation, blanks between letters,
// accents. The order matters.
func normalisePrompt(positive string) string {
	s := dropWeights(positive)
	if isASCII(s) {
		text := make([]byte, len(s))
		for i := range len(s) {
			text[i] = plainASCII[s[i]]
		}
		return string(glueLetters(text))
	}
	text := make([]rune, 0, len(s))
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf:
			r = rune(plainASCII[r])
		case !isWord(r):
			r = ' '
		}
		text = append(text, r)
	}
	return transliterate(glueLetters(text))
}

// isWord tells characters of words from others; "_" counts as punctuation.
func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }

// glueLetters takes the blanks out of " b r a" and longer runs of single characters, so that
// "z e b r a" becomes "z ebra", and leaves one of other blanks in a row, none at the ends.
func glueLetters[T byte | rune](text []T) []T {
	out := make([]T, 0, len(text))
	for i := 0; i < len(text); {
		if text[i] != ' ' {
			out = append(out, text[i])
			i++
			continue
		}
		if len(out) > 0 && out[len(out)-1] != ' ' {
			out = append(out, ' ')
		}
		if i+2 >= len(text) || text[i+1] == ' ' || text[i+2] != ' ' { // the usual case
			i++
			continue
		}
		n := 0 // pairs of a blank and a character from here
		for i+2*n+1 < len(text) && text[i+2*n] == ' ' && text[i+2*n+1] != ' ' {
			n++
		}
		if end := i + 2*n; end < len(text) && text[end] != ' ' {
			n-- // the last one begins a word
		}
		if n < 3 {
			i++
			continue
		}
		for k := range n {
			out = append(out, text[i+2*k+1])
		}
		i += 2 * n
	}
	if len(out) > 0 && out[len(out)-1] == ' ' {
		out = out[:len(out)-1]
	}
	return out
}

// transliterate takes accents off letters and spells out those that are no letter with an
// accent. What has no spelling in ASCII stays, so that filters can name it. It works character
// by character: the accents that decomposing would order are thrown away.
func transliterate(text []rune) string {
	out := make([]byte, 0, len(text)+len(text)/4)
	for _, r := range text {
		spelt := ""
		switch {
		case r == ' ':
			if len(out) > 0 && out[len(out)-1] != ' ' {
				out = append(out, ' ')
			}
			continue
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
			continue
		case int(r) < len(commonSpellings):
			spelt = commonSpellings[r]
		default:
			spelt = spelling(r)
		}
		out = append(out, spelt...)
	}
	return strings.TrimSuffix(string(out), " ")
}

// spelling is what stands for a character.
func spelling(r rune) string {
	var plain []byte
	for _, d := range norm.NFKD.String(string(r)) {
		if !unicode.IsMark(d) && !unicode.IsSpace(d) {
			plain = utf8.AppendRune(plain, d)
		}
	}
	return spellings.Replace(string(plain))
}

// commonSpellings are those of Latin, Greek and Cyrillic letters, which are most of what is met.
var commonSpellings = func() (t [0x530]string) {
	for r := range t {
		t[r] = spelling(rune(r))
	}
	return t
}()

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

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// hasAstral tells whether there are characters beyond the 16 bits that most have, as emoji are.
func hasAstral(s string) bool {
	for i := range len(s) {
		if s[i] >= 0xf0 {
			return true
		}
	}
	return false
}

// dropWeights takes the weights off words that a prompt stresses: of "(word:1.2)" the word is
// left.
func dropWeights(s string) string {
	at := strings.IndexByte(s, '(')
	if at < 0 || strings.IndexByte(s, ':') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for at >= 0 {
		b.WriteString(s[:at])
		s = s[at:] // begins with "("
		end := strings.IndexAny(s[1:], "()") + 1
		if end == 0 {
			break
		}
		if colon := strings.LastIndexByte(s[:end], ':'); s[end] == ')' && colon >= 0 && isWeight(s[colon+1:end]) {
			b.WriteString(s[1:colon])
			s = s[end+1:]
		} else {
			b.WriteString(s[:end])
			s = s[end:]
		}
		at = strings.IndexByte(s, '(')
	}
	b.WriteString(s)
	return b.String()
}

// isWeight tells numbers with a fraction from others.
func isWeight(s string) bool {
	whole, fraction, ok := strings.Cut(s, ".")
	return ok && isDigits(whole) && isDigits(fraction)
}

// plainASCII is what of ASCII is left: letters, digits, and blanks for all else.
var plainASCII = func() (t [256]byte) {
	for c := range t {
		t[c] = ' '
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			t[c] = byte(c)
		}
	}
	return t
}()
