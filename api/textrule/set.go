package textrule

import "unicode/utf8"

// A Set is rules that are looked for together. It is immutable.
type Set struct {
	rules []*Rule
	first []int // by rule: the place of its first part among all parts
	auto  *automaton
	n     int // parts
	// always are the parts that are run over every text, as their literals are not in the
	// automaton: they have none, or there was no room for them.
	always []bool
}

// maxWords bounds the automaton, in bytes of literals.
const maxWords = 1 << 16

// NewSet prepares rules for looking for them together.
func NewSet(rules []*Rule) *Set {
	s := &Set{rules: rules, first: make([]int, len(rules))}
	var words []word
	room := maxWords
	for i, r := range rules {
		s.first[i] = s.n
		for k, p := range r.parts {
			size := 0
			for _, l := range p.literals {
				size += len(l)
			}
			fits := p.literals != nil && size <= room
			s.always = append(s.always, !fits)
			if !fits {
				continue
			}
			room -= size
			for _, l := range p.literals {
				words = append(words, word{l, int32(s.n + k)})
			}
		}
		s.n += len(r.parts)
	}
	s.auto = newAutomaton(words)
	return s
}

// maxHits is how many places of a part's literals are remembered; with more, the part is run
// over the whole text: a look around each place costs as much as the part's width, and a prompt
// may be of nothing but such places.
const maxHits = 32

// A Scan is a text with the places of the literals of all rules of a set.
type Scan struct {
	set  *Set
	text string
	hits [][]int32 // by part: where its literals end, in the text's order
}

// Scan looks for the literals of all rules at once.
func (s *Set) Scan(text string) Scan {
	sc := Scan{set: s, text: text, hits: make([][]int32, s.n)}
	if s.auto == nil {
		return sc
	}
	state := int32(0)
	a := s.auto
	for i := 0; i < len(text); {
		c := text[i]
		size := 1
		if c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			state = a.next[int(state)*a.classes+int(a.class[c])]
		} else {
			var r rune
			r, size = utf8.DecodeRuneInString(text[i:])
			var buf [utf8.UTFMax]byte
			for _, b := range buf[:utf8.EncodeRune(buf[:], fold(r))] {
				state = a.next[int(state)*a.classes+int(a.class[b])]
			}
		}
		i += size
		for _, p := range a.found[state] {
			if h := sc.hits[p]; len(h) <= maxHits && (len(h) == 0 || h[len(h)-1] != int32(i)) {
				sc.hits[p] = append(h, int32(i))
			}
		}
	}
	return sc
}

// Find returns the leftmost match of the i-th rule of the set.
func (sc Scan) Find(i int) (start, end int, ok bool) {
	for k, p := range sc.set.rules[i].parts {
		from, to, found := sc.part(p, sc.set.first[i]+k)
		if found && (!ok || from < start) {
			start, end, ok = from, to, true
		}
	}
	return start, end, ok
}

// part finds a part: around its literals if there are few of them and it cannot be long, from
// the first of them on otherwise.
func (sc Scan) part(p *part, at int) (start, end int, ok bool) {
	text, hits := sc.text, sc.hits[at]
	switch {
	case sc.set.always[at], len(hits) > 0 && p.width == unbounded:
		return p.find(text, 0, len(text))
	case len(hits) == 0:
		return 0, 0, false
	}
	margin := p.width + 2*utf8.UTFMax // with the character beyond, which boundaries look at
	// No match begins at the cut in front of the first literal, so what that does to boundaries
	// is all the same.
	rest := func() (int, int, bool) { return p.find(text, runeAt(text, int(hits[0])-margin), len(text)) }
	if len(hits) > maxHits {
		return rest()
	}
	for _, h := range hits {
		lo, hi := runeAt(text, int(h)-margin), runeAt(text, int(h)+margin)
		start, end, ok = p.find(text, lo, hi)
		switch {
		case !ok || start > int(h): // what begins behind h has a literal of its own
		case start == lo && lo > 0, end == hi && hi < len(text):
			return rest() // perhaps the window's edge let it match
		default:
			return start, end, true
		}
	}
	return 0, 0, false
}
