package api

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestNormalisePrompt(t *testing.T) {
	for _, tt := range []struct{ name, prompt, want string }{
		{"plain", "a red house", "a red house"},
		{"weights", "a (red:1.2) house", "a red house"},
		{"weights need a fraction", "a (red:12) house", "a red 12 house"},
		{"punctuation", "red-house, big_garden!", "red house big garden"},
		{"letters apart", "z e b r a", "z ebra"},
		{"letters apart inside", "my z e b r a runs", "my zebra runs"},
		{"dots between letters", "my z.e.b.r.a", "my zebra"},
		{"two are no run", "x y z", "x y z"},
		{"the next word is not pulled in", "so a b c dog", "so abc dog"},
		{"too short before a word", "so a b dog", "so a b dog"},
		{"blanks", "  a \t\n b  ", "a b"},
		{"accents", "pâté ñandú", "pate nandu"},
		{"letters without accent", "straße łódź", "strasse lodz"},
		{"wide", "ｗｉｄｅ", "wide"},
		{"Cyrillic look-alikes", "сосоа", "sosoa"},
		{"other scripts stay", "漢字", "漢字"},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := normalisePrompt(tt.prompt); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestScorePrompt(t *testing.T) {
	p := newPromptFilter([]horde.Filter{
		{ID: 1, Type: 10, Regex: "zebra|pony"},
		{ID: 2, Type: 10, Regex: "foal"},
		{ID: 3, Type: 11, Regex: `\bcolt\b`},
		{ID: 4, Type: 20, Regex: "gallop(s|ing)"},
		{ID: 5, Type: 15, Regex: "house"},
		{ID: 6, Type: 20, Regex: "(?<=x*)y"},
		{ID: 7, Type: 20, Regex: "x*"},
	})
	for _, tt := range []struct {
		name, prompt string
		kind         int // 0: all
		points       int
		matches      string
	}{
		{"clean", "a house", 0, 0, ""},
		{"subject", "a Zebra", 0, 1, "Zebra"},
		{"act", "it gallops", 0, 1, "gallops"},
		{"both", "a zebra galloping", 0, 2, "zebra galloping"},
		{"subjects count once", "a zebra, a colt", 0, 1, "zebra"},
		{"the second subject", "a colt", 0, 1, "colt"},
		{"the first in the text", "a foal and a pony", 0, 1, "foal"},
		{"hidden", "a z.e.b.r.a gallöping", 0, 2, "zebra galloping"},
		{"the negative part is not looked at", "a house ### zebra gallops", 0, 0, ""},
		{"emoji", "a 🐣 and 👶🏽 galloping 🐣", 0, 2, "🐣 👶🏽 galloping"},
		{"emoji of a family", "👨‍👩‍👧", 0, 1, "👧"},
		{"other emoji", "🐎", 0, 0, ""},
		{"one type", "a zebra galloping", 20, 1, "galloping"},
		{"one type, not there", "a zebra", 11, 0, ""},
		{"emoji belong to type 10", "👶", 11, 0, ""},
		{"type 10 alone", "👶", 10, 1, "👶"},
		{"types that do nothing", "a house", 15, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			points, matches := p.score(tt.prompt)
			if tt.kind != 0 {
				points, matches = p.scoreType(tt.prompt, tt.kind)
			}
			if got := strings.Join(matches, " "); points != tt.points || got != tt.matches {
				t.Errorf("got %d %q, want %d %q", points, got, tt.points, tt.matches)
			}
		})
	}
	if got := p.inert; len(got) != 2 || got[6] == "" || got[7] == "" {
		t.Errorf("inert filters %v, want 6 and 7", got)
	}
	if got, ok := p.regex(10); got != "zebra|pony|foal" || !ok {
		t.Errorf("expressions of type 10 are %q", got)
	}
}

// What is longer than any model reads is not looked at, so that a prompt cannot take long.
func TestScoreIsBounded(t *testing.T) {
	p := newPromptFilter([]horde.Filter{{ID: 1, Type: 20, Regex: "zebra"}, {ID: 2, Type: 20, Regex: strings.Repeat("x", maxFilterRegexp+1)}})
	if points, _ := p.score(strings.Repeat("x", maxScored) + " zebra"); points != 0 {
		t.Error("the end of a very long prompt was looked at")
	}
	if points, _ := p.score(strings.Repeat("x", maxScored-6) + " zebra"); points != 1 {
		t.Error("the end of a long prompt was not looked at")
	}
	if p.inert[2] == "" {
		t.Error("a very long expression is active")
	}
}

func FuzzScorePrompt(f *testing.F) {
	for _, s := range []string{"a z.e.b.r.a", "(x:1.2)###y", "👶🏽 a b c d", "\xff a\u0300 b", "\ufdfa"} {
		f.Add(s)
	}
	p := newPromptFilter([]horde.Filter{{ID: 1, Type: 10, Regex: "zebra"}, {ID: 2, Type: 20, Regex: "act"}})
	f.Fuzz(func(t *testing.T, prompt string) {
		points, matches := p.score(prompt)
		if points < 0 || points > 2 || (points == 0) != (len(matches) == 0) {
			t.Errorf("%d points with matches %q", points, matches)
		}
		if n := normalisePrompt(prompt); slices.Contains([]rune(n), '_') || strings.Contains(n, "  ") {
			t.Errorf("normalised to %q", n)
		}
	})
}

// The short ways give what the long ones do.
func TestNormaliseShortWays(t *testing.T) {
	weights := regexp.MustCompile(`\(([^()]*):\d+\.\d+\)`)
	rnd := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"(", ")", ":1.2", ":12", ":", "a", "b", " ", " ", "word", "_", "\n", ".", "1.5", "((", "é", "\xff"}
	for range 5000 {
		var b strings.Builder
		for range rnd.IntN(40) {
			b.WriteString(pieces[rnd.IntN(len(pieces))])
		}
		prompt := b.String()
		if got, want := dropWeights(prompt), weights.ReplaceAllString(prompt, "$1"); got != want {
			t.Fatalf("weights of %q: got %q, want %q", prompt, got, want)
		}
		if !isASCII(prompt) {
			continue
		}
		// A character that is no ASCII, and a word of its own, makes it go the long way.
		long := strings.TrimSuffix(normalisePrompt(prompt+"\n\n漢字"), "漢字")
		if got, want := normalisePrompt(prompt), strings.TrimSpace(long); got != want {
			t.Fatalf("%q: got %q, want %q", prompt, got, want)
		}
	}
}

// P23: 200 rules, prompts of 8 kB, of which some hold words that rules look for. Times are of a
// whole check; p99 is reported.
func BenchmarkPromptScore(b *testing.B) {
	rnd := rand.New(rand.NewPCG(5, 6))
	word := func() string {
		w := make([]byte, 3+rnd.IntN(8))
		for i := range w {
			w[i] = "etaoinshrdlucmfw"[rnd.IntN(16)]
		}
		return string(w)
	}
	var filters []horde.Filter
	for i := range 200 {
		regex := `\b(?:` + word() + `|` + word() + `(?:s|ed)?|` + word() + `)\b`
		switch i % 10 {
		case 0:
			regex = `\b` + word() + `.{0,20}` + word()
		case 1:
			regex = `(?<!not )\b` + word() + `[aeiou]?` + word()
		}
		filters = append(filters, horde.Filter{ID: int64(i + 1), Type: []int{10, 11, 20}[i%3], Regex: regex})
	}
	p := newPromptFilter(filters)
	if len(p.inert) != 0 {
		b.Fatal(p.inert)
	}
	for _, accents := range []bool{false, true} {
		var prompts []string
		for range 64 {
			var s strings.Builder
			for s.Len() < 8192 {
				s.WriteString(word())
				switch rnd.IntN(12) {
				case 0:
					s.WriteString(", (" + word() + ":1.2)")
				case 1:
					if accents {
						s.WriteString(" café")
					}
				}
				s.WriteByte(' ')
			}
			prompts = append(prompts, s.String())
		}
		name := "ASCII"
		if accents {
			name = "accents"
		}
		b.Run(name, func(b *testing.B) {
			took := make([]time.Duration, 0, b.N)
			for i := 0; b.Loop(); i++ {
				began := time.Now()
				p.score(prompts[i%len(prompts)])
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
