package textrule

import (
	"strings"
	"testing"
)

// A match may begin inside one whose guard fails, as for a backtracking engine: what Find
// finds, ReplaceAll replaces.
func TestReplaceAllLooksInsideGuardedMatches(t *testing.T) {
	for _, tt := range []struct{ expr, text, want string }{
		{`(?<!not )bad.?bad`, "not badbadbad", "not badX"},
		{`(?<!a)aa`, "baaaaa aa", "bXaaa X"},
		{`ab(?!c)`, "abcab abab", "abcX XX"},
		{`\bcat(?! food)`, "cat food cat concat catcat", "cat food X concat Xcat"},
		{`(?<!é)éa`, "éaéaéé", "XXéé"},
	} {
		r, err := Compile(tt.expr)
		if err != nil {
			t.Fatalf("%s: %v", tt.expr, err)
		}
		if got := r.ReplaceAll(tt.text, "X"); got != tt.want {
			t.Errorf("%s over %q: got %q, want %q", tt.expr, tt.text, got, tt.want)
		}
	}
}

// A prompt that is full of a rule's words costs no look around each of them, guards or not.
func TestPromptFullOfOneWord(t *testing.T) {
	r, err := Compile(`(?<!not )foo.{0,40}bar`)
	if err != nil {
		t.Fatal(err)
	}
	s := NewSet([]*Rule{r})
	for _, tt := range []struct {
		text string
		want int // where the match begins; -1: there is none
	}{
		{strings.Repeat("foo ", 8000), -1},
		{strings.Repeat("not foobar ", 200), -1},
		{strings.Repeat("not foobar ", 200) + "foobar", 2200},
	} {
		sc := s.Scan(tt.text)
		if got := len(sc.hits[0]); got > maxHits+1 {
			t.Errorf("%d places are looked at, want %d at most", got, maxHits+1)
		}
		at, _, ok := sc.Find(0)
		if !ok {
			at = -1
		}
		if at != tt.want {
			t.Errorf("%.12q…: match at %d, want %d", tt.text, at, tt.want)
		}
	}
}
