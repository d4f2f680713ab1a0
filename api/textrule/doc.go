// Package textrule finds what many regular expressions find in a text, in time linear in its
// length and without running most of them.
//
//	expression ── Compile ──► Rule: parts of RE2, their guards, literals that each match must hold
//	Rules ── NewSet ──► one automaton of all the literals
//	text ── Scan ──► one pass ──► where literals are ──► Find runs a part around its literals only
//
// Expressions are those of RE2, case-insensitive. Of what RE2 leaves out, lookaheads and
// lookbehinds at the edges of an expression, or of its alternatives, are understood if they
// hold words of bounded length: the part between them is found by RE2, and they are looked at
// where it begins and ends. Everything else is refused by Compile; nothing backtracks.
package textrule
