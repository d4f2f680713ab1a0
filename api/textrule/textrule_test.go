package textrule

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What RE2 understands is found where regexp finds it, in every text.
func TestAgreesWithRegexp(t *testing.T) {
	exprs := []string{
		`zebra`, `zebra|pony`, `\bcolt\b`, `gallop(s|ing)`, `z[aeiou]b`, `z.b`, `z\w+a`, `^zebra`, `zebra$`, `(zeb|pon)?y\b`,
		`z{2,3}a`, `zeb.*pon`, `k`, `ſt`, `straße`, `[a-c]x|yy`, `\d{2}y`, `(?:a|b)(?:c|d)(?:e|f)`, `\Bebr`, `x*y`, `(zeb|(?:po)n)(ra|y)?`,
		`(?:(?:ab){2}|cd){1,2}`, `y\b|\bz`, `[^a]z`, `(?s)z.b`, `z\pLb`,
	}
	alphabet := []string{"z", "e", "b", "r", "a", "pony", "zebra", "colt", "gallops", " ", " ", "y", "K", "K", "k", "ſ", "s", "t", "ß", "c", "d", "12", "\n", "é", "\xff"}
	rules := make([]*Rule, len(exprs))
	res := make([]*regexp.Regexp, len(exprs))
	for i, e := range exprs {
		r, err := Compile(e)
		if err != nil {
			t.Fatalf("%s: %v", e, err)
		}
		rules[i], res[i] = r, regexp.MustCompile("(?i)"+e)
	}
	set := NewSet(rules)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		var b strings.Builder
		for range rnd.IntN(120) {
			b.WriteString(alphabet[rnd.IntN(len(alphabet))])
		}
		text := b.String()
		scan := set.Scan(text)
		for i := range rules {
			want := res[i].FindStringIndex(text)
			start, end, ok := scan.Find(i)
			if ok != (want != nil) || ok && (start != want[0] || end != want[1]) {
				t.Fatalf("%s in %q: got %d to %d %v, want %v", exprs[i], text, start, end, ok, want)
			}
			if got, want := rules[i].ReplaceAll(text, "_"), res[i].ReplaceAllLiteralString(text, "_"); got != want {
				t.Fatalf("%s in %q: replaced %q, want %q", exprs[i], text, got, want)
			}
		}
	}
}

func TestLookarounds(t *testing.T) {
	for _, tt := range []struct{ expr, text, want string }{
		{`(?<!my )zebra`, "my zebra, a Zebra", "Zebra"},
		{`(?<!my )zebra`, "my zebra", ""},
		{`(?<=my |your )zebra`, "a zebra, your zebra", "zebra"},
		{`(?<=my )zebra`, "zebra", ""},
		{`\bteen(?!ager|s)`, "teens teenager teen", "teen"},
		{`\bteen(?!ager)\b`, "teen", ""}, // a boundary behind it is refused, see below
		{`(?=zebra)z\w{2}`, "zoo zebra", "zeb"},
		{`(?!zebra)z\w{2}`, "zebra zoo", "zoo"},
		{`\b(?!zebra)z\w{2}`, "zebra xzoo zoo", "zoo"},
		{`zebra(?= gallops)`, "zebra zebra gallops", "zebra"},
		{`zebra(?<!a zebra)`, "a zebra the zebra", "zebra"},
		{`pony|(?<!my )zebra`, "my zebra pony", "pony"},
		{`(?:pony|(?<!my )zebra)`, "zebra pony", "zebra"},
		{`(?:(?:pony)|(?:(?<!my )zebra|colt))`, "my zebra colt", "colt"},
		{`(?<!é)z`, "éz zz", "z"},
		{`aa(?!b)`, "aaab", "aa"},
		{`(?<!a)b[)(]c(?![|])`, "b(c| b)c", "b)c"},
	} {
		r, err := Compile(tt.expr)
		if strings.HasSuffix(tt.expr, `)\b`) {
			if err == nil {
				t.Errorf("%s is accepted", tt.expr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.expr, err)
			continue
		}
		start, end, ok := NewSet([]*Rule{r}).Scan(tt.text).Find(0)
		if got := tt.text[start:end]; got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s in %q: got %q at %d, want %q", tt.expr, tt.text, got, start, tt.want)
		}
	}
	r, err := Compile(`(?<!my )zebra|pony(?! club)`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.ReplaceAll("my zebra, a zebra, a pony, the pony club", "cat"), "my zebra, a cat, a cat, the pony club"; got != want {
		t.Errorf("replaced %q, want %q", got, want)
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ expr, why string }{
		{``, "matches any prompt"}, {`x*`, "matches any prompt"}, {`a|`, "matches any prompt"}, {`(?!a)`, "matches any prompt"},
		{`(`, "not one of RE2"}, {`(a)\1`, "not one of RE2"}, {`a++`, "not one of RE2"}, {`(?>a)`, "not one of RE2"}, {`(?<!a`, "missing closing"},
		{`a(?<!b)c`, "at the beginning or the end"}, {`(a(?!b)c)d`, "at the beginning or the end"}, {`(?!a(?=b))c`, "at the beginning or the end"},
		{`(?=a)*b`, "at the beginning or the end"}, {`(?<!a+)b`, "bounded length"}, {`(?!\bx)b`, "no boundaries"},
		{`(?<!a)b+`, "longest match"}, {`b?cc(?!a)`, "same length"}, {`(?<!a)\w`, "fixed letters"}, {`(?!()b`, "missing closing"},
		{strings.Repeat("x", MaxExpression+1), "more than"}, {`(?:(?:x{100}){100}){100}`, "not one of RE2"},
	} {
		if _, err := Compile(tt.expr); err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%.40s: %v, want %q", tt.expr, err, tt.why)
		}
	}
}

func TestLiterals(t *testing.T) {
	for _, tt := range []struct{ expr, want string }{
		{`zebra`, "ZEBRA"}, {`(zeb|pon)ra?`, "PONR PONRA ZEBR ZEBRA"}, {`x.*zebra`, "ZEBRA"}, {`[kc]at`, "CAT KAT"}, {`\w+`, ""}, {`a*b`, "B"},
		{`(?:ab)+c`, "AB"}, {`a|.`, ""}, {`[ab][cd]`, "AC AD BC BD"}, {`abcdefghijklmnopqrstuvwxyz`, "ABCDEFGHIJKLMNOP"}, {`ſ`, "S"},
	} {
		r, err := Compile(tt.expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.parts[0].literals, " "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.expr, got, tt.want)
		}
	}
}

// However many rules there are, the automaton is bounded, and all of them are found.
func TestManyRules(t *testing.T) {
	var rules []*Rule
	for i := range 6000 {
		r, err := Compile(fmt.Sprintf("(?:word|sign|mark)number%dend", i))
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	set := NewSet(rules)
	if n := len(set.auto.found); n > maxWords+1 {
		t.Errorf("%d states, at most %d", n, maxWords+1)
	}
	scan := set.Scan("xx wordnumber5999end markNumber3end")
	var found []int
	for i := range rules {
		if _, _, ok := scan.Find(i); ok {
			found = append(found, i)
		}
	}
	if !slices.Equal(found, []int{3, 5999}) {
		t.Errorf("found %v, want 3 and 5999", found)
	}
}

// No expression and no text makes it crash, find something where nothing is, or disagree with
// regexp.
func FuzzCompile(f *testing.F) {
	f.Add(`\bteen(?!ager)`, "teen teenager")
	f.Add(`(?<!my )z[ea]bra|p(on|ó)y`, "my zebra póny")
	f.Add(`(?i)k\b`, "K k")
	f.Fuzz(func(t *testing.T, expr, text string) {
		if len(expr) > 200 || len(text) > 2000 {
			return
		}
		r, err := Compile(expr)
		if err != nil {
			return
		}
		start, end, ok := NewSet([]*Rule{r}).Scan(text).Find(0)
		if start < 0 || end > len(text) || start > end {
			t.Fatalf("found %d to %d", start, end)
		}
		if hasLookaround(expr) {
			return
		}
		want := regexp.MustCompile("(?i)" + expr).FindStringIndex(text)
		if ok != (want != nil) || ok && (start != want[0] || end != want[1]) {
			t.Fatalf("got %d to %d %v, want %v", start, end, ok, want)
		}
	})
}
