package api

import (
	"testing"
)

func TestTidyName(t *testing.T) {
	for in, want := range map[string]string{
		"ada": "ada", "  ada \t lovelace\n": "ada lovelace", "e\u0301": "é", "a\u200bb": "ab", "a\u202eb\u202c": "ab", "\u2066x\u2069": "x",
		"\ufeffx": "x", "a\x00b\x1bc": "abc", "\u3164x": "x", "a\u00adb": "ab", "\U000e0041x": "x", "\ue000x": "x", "日本語 ✓": "日本語 ✓", "a\u00a0b": "a b",
		"👩\u200d💻": "👩\u200d💻", "👩🏽\u200d🚀 ada": "👩🏽\u200d🚀 ada", "🏳\ufe0f\u200d🌈": "🏳\ufe0f\u200d🌈", "👨\u200d👩\u200d👧": "👨\u200d👩\u200d👧", "❤\ufe0f\u200d🔥": "❤\ufe0f\u200d🔥",
		"🧔\u200d♂\ufe0f": "🧔\u200d♂\ufe0f", "a\u200db": "ab", "👩\u200d": "👩", "\u200d👩": "👩", "👩\u200d\u200d💻": "👩💻", "👩\u200da": "👩a", "a\u200d👩": "a👩", "क्\u200dष": "क्ष",
		"🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
		"🏴\U000e0067\U000e0062": "🏴", "🏴\U000e007f": "🏴", "a\U000e0067\U000e007f": "a",
		"\u115fx": "x", "x\u034f": "x", "": "", "\u200b": "",
	} {
		if got := tidyName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if got := tidyName(want); got != want {
			t.Errorf("%q is not stable: %q", want, got)
		}
	}
}
