package api

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// markup is what people may use in the texts they show to others: a few inline tags without
// attributes (spec/accounts.md section 13).
var markup = regexp.MustCompile(`^<(/?)(b|i|em|strong|blockquote|code|li|ol|ul)>`)

// entity is an escaped character, which is not escaped again.
var entity = regexp.MustCompile(`^&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});`)

// cleanText makes a text safe to be shown on pages: of markup the harmless tags are kept
// and closed, the rest is escaped; NUL is dropped, other control characters but tab and line
// ends become "?", blanks around it go.
func cleanText(s string) string {
	var b strings.Builder
	var open []string // tags that are not closed yet
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '<':
			m := markup.FindStringSubmatch(s[i:])
			if m == nil || m[1] == "/" && (len(open) == 0 || open[len(open)-1] != m[2]) {
				b.WriteString("&lt;")
				i++
				continue
			}
			if m[1] == "/" {
				open = open[:len(open)-1]
			} else {
				open = append(open, m[2])
			}
			b.WriteString(m[0])
			i += len(m[0])
		case c == '>':
			b.WriteString("&gt;")
			i++
		case c == '&':
			if e := entity.FindString(s[i:]); e != "" {
				b.WriteString(e)
				i += len(e)
				continue
			}
			b.WriteString("&amp;")
			i++
		default:
			b.WriteByte(c)
			i++
		}
	}
	for _, tag := range slices.Backward(open) {
		b.WriteString("</" + tag + ">")
	}
	return strings.TrimSpace(strings.Map(plainRune, b.String()))
}

// plainRune maps control characters.
func plainRune(r rune) rune {
	switch {
	case r == 0:
		return -1
	case unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r':
		return '?'
	}
	return r
}
