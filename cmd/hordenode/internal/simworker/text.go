package simworker

import (
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// opening says what the reader has before them; it begins every synthetic text.
const opening = "This is a synthetic answer by a simulated worker of hordenode; no language model wrote it. "

var (
	subjects = []string{"The node in the attic", "A patient worker", "Somebody's graphics card", "The quiet ledger", "An idle thread", "The oldest request", "A gossiping neighbour", "The leader of the hour"}
	verbs    = []string{"hums along with", "waits for", "writes down", "remembers", "hands over", "looks after", "counts", "forgives"}
	objects  = []string{"every job in the queue", "a handful of kudos", "the next heartbeat", "three small pictures of cats", "a letter from another node", "the last settlement", "its share of the work", "a prompt about the sea"}
	endings  = []string{"before the kettle boils.", "while the fans spin up.", "and nobody notices.", "as it does each evening.", "without asking for thanks.", "until morning.", "for the good of the horde.", "one token at a time."}
)

// text writes sentences of about the given number of characters, the same ones for the
// same seed.
func text(chars int, seed string) string {
	h := fnv.New64a()
	h.Write([]byte(seed)) // a hash never fails to write
	rnd := rand.New(rand.NewPCG(h.Sum64(), 0))
	pick := func(words []string) string { return words[rnd.IntN(len(words))] }

	var b strings.Builder
	b.WriteString(opening)
	for b.Len() < chars {
		for _, part := range [][]string{subjects, verbs, objects, endings} {
			b.WriteString(pick(part))
			b.WriteByte(' ')
		}
	}
	s := b.String()
	return strings.TrimSpace(s[:min(len(s), max(chars, 1))])
}
