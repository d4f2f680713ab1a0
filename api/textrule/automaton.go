package textrule

import "slices"

// A word is a folded literal and the part that needs it.
type word struct {
	text string
	part int32
}

// An automaton finds many words in one pass (Aho and Corasick, 1975): a state is the longest
// end of what was read that some word begins with. The table has a column for each byte that
// words are made of and one for all others.
type automaton struct {
	class   [256]uint8
	classes int
	next    []int32   // by state and class
	found   [][]int32 // by state: the parts whose words end here
}

// newAutomaton returns nil if there are no words.
func newAutomaton(words []word) *automaton {
	if len(words) == 0 {
		return nil
	}
	a := &automaton{classes: 1}
	for _, w := range words {
		for i := range len(w.text) {
			if c := w.text[i]; a.class[c] == 0 {
				a.class[c] = uint8(a.classes)
				a.classes++
			}
		}
	}
	a.grow()
	for _, w := range words {
		state := int32(0)
		for i := range len(w.text) {
			at := int(state)*a.classes + int(a.class[w.text[i]])
			if a.next[at] == 0 {
				a.next[at] = a.grow()
			}
			state = a.next[at]
		}
		if !slices.Contains(a.found[state], w.part) {
			a.found[state] = append(a.found[state], w.part)
		}
	}
	a.link()
	return a
}

// grow adds a state.
func (a *automaton) grow() int32 {
	a.next = append(a.next, make([]int32, a.classes)...)
	a.found = append(a.found, nil)
	return int32(len(a.found) - 1)
}

// link fills in where to go when no word goes on, level by level.
func (a *automaton) link() {
	fail := make([]int32, len(a.found))
	var queue []int32
	for c := range a.classes {
		if s := a.next[c]; s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for _, p := range a.found[fail[s]] {
			if !slices.Contains(a.found[s], p) {
				a.found[s] = append(a.found[s], p)
			}
		}
		for c := range a.classes {
			at := int(s)*a.classes + c
			back := a.next[int(fail[s])*a.classes+c]
			if to := a.next[at]; to != 0 {
				fail[to] = back
				queue = append(queue, to)
			} else {
				a.next[at] = back
			}
		}
	}
}
