package api

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// tidyName brings a name that others see into one form: NFC, blanks as one space, and
// without characters that show nothing or turn the text around them (controls, marks of
// direction, zero widths, private use), with which a name could look like another's. What
// makes one emoji of several stays: joiners between emoji, and the tags of flags.
func tidyName(s string) string {
	var b strings.Builder
	gap := false
	text := []rune(norm.NFC.String(s))
	for i, r := range text {
		switch {
		case r == joiner && joins(text, i), isTag(r) && tags(text, i):
		case unicode.IsSpace(r):
			gap = b.Len() > 0
			continue
		case !unicode.IsGraphic(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r) && r != '\ufe0f':
			continue
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

const (
	joiner      = '\u200d'     // makes one emoji of two
	variation   = '\ufe0f'     // asks for an emoji's coloured form
	blackFlag   = '\U0001f3f4' // tags after it say whose flag it is
	endOfTags   = '\U000e007f'
	firstSkin   = '\U0001f3fb'
	lastSkin    = '\U0001f3ff'
	longestFlag = 8 // tags, with the end
	firstTag    = '\U000e0030'
	lastTag     = '\U000e007a'
)

// joins tells whether the joiner at i stands between two emoji.
func joins(text []rune, i int) bool {
	if i == 0 || i+1 == len(text) || !isEmoji(text[i+1]) {
		return false
	}
	before := i - 1
	for before > 0 && (text[before] == variation || text[before] >= firstSkin && text[before] <= lastSkin) {
		before--
	}
	return isEmoji(text[before])
}

// isEmoji tells whether a character is a picture of its own, as far as such are joined with others.
func isEmoji(r rune) bool {
	switch {
	case r >= firstSkin && r <= lastSkin:
		return false
	case r >= 0x1f000 && r <= 0x1faff, r >= 0x2600 && r <= 0x27bf, r >= 0x2b00 && r <= 0x2bff, r >= 0x2190 && r <= 0x21ff:
		return unicode.Is(unicode.So, r) || unicode.Is(unicode.Sm, r)
	}
	return false
}

func isTag(r rune) bool { return r >= firstTag && r <= lastTag || r == endOfTags }

// tags tells whether the tag at i is part of a whole flag: a black flag, some tags and their end.
func tags(text []rune, i int) bool {
	first := i
	for first > 0 && isTag(text[first-1]) {
		first--
	}
	end := first
	for end < len(text) && text[end] != endOfTags && isTag(text[end]) {
		end++
	}
	return first > 0 && text[first-1] == blackFlag && end < len(text) && text[end] == endOfTags && end > first && end-first < longestFlag && i <= end
}
