package model

import (
	"os"
	"testing"
	"time"
)

// findings count the states in which something is wrong.
type findings struct {
	states int
	twice  int // a slot was paid for more than once
	sum    int // kudos were made or lost
	both   int // paid, and given back
	again  int // a home took two results for a slot
	lost   int // accepted and not ended, and no home knows of it
	stuck  int // no end can be reached
}

// search visits all states.
func search(r rules) findings {
	index := map[world]int32{{}: 0}
	queue := []world{{}}
	var from [][2]int32 // edges: of, to
	for at := 0; at < len(queue); at++ {
		queue[at].next(r, func(n world) {
			i, ok := index[n]
			if !ok {
				i = int32(len(queue))
				index[n] = i
				queue = append(queue, n)
			}
			from = append(from, [2]int32{i, int32(at)})
		})
	}
	f := findings{states: len(queue)}
	for _, w := range queue {
		f.judge(w)
	}
	f.stuck = len(queue) - reaching(queue, from)
	return f
}

func (f *findings) judge(w world) {
	count := func(n *int, bad bool) {
		if bad {
			*n++
		}
	}
	paid := w.paid[0] + w.paid[1]
	count(&f.twice, paid > 1)
	count(&f.sum, w.payer+w.held+paid != 0)
	count(&f.both, w.hold == holdReleased && paid > 0)
	count(&f.again, w.homes[0].took > 1 || w.homes[1].took > 1)
	count(&f.lost, w.hold == holdHeld && !w.homes[0].has && !w.homes[1].has)
}

// reaching counts the states from which an end can be reached, going backwards from the ends.
func reaching(queue []world, edges [][2]int32) int {
	first := make([]int32, len(queue)+1)
	for _, e := range edges {
		first[e[0]+1]++
	}
	for i := range queue {
		first[i+1] += first[i]
	}
	before, fill := make([]int32, len(edges)), make([]int32, len(queue))
	for _, e := range edges {
		before[first[e[0]]+fill[e[0]]] = e[1]
		fill[e[0]]++
	}
	good := make([]bool, len(queue))
	var todo []int32
	for i, w := range queue {
		if w.ended() {
			good[i] = true
			todo = append(todo, int32(i))
		}
	}
	n := len(todo)
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, b := range before[first[i]:first[i+1]] {
			if !good[b] {
				good[b] = true
				n++
				todo = append(todo, b)
			}
		}
	}
	return n
}

func run(t *testing.T, r rules) findings {
	t.Helper()
	start := time.Now()
	f := search(r)
	t.Logf("%+v in %v", f, time.Since(start).Round(time.Millisecond))
	return f
}

// small are the rules for mutants that get into very many states: one home is enough to see what
// breaks. With MODEL_FULL=1 there are two, 7.1 million states, in a minute.
func small() rules {
	r := all()
	r.twoHomes = os.Getenv("MODEL_FULL") != ""
	return r
}

// The protocol as it is: nothing is wrong in any state that can be reached.
func TestProtocol(t *testing.T) {
	f := run(t, all())
	if want := (findings{states: f.states}); f != want {
		t.Errorf("findings %+v, want %+v", f, want)
	}
	if f.states < 10_000 {
		t.Errorf("%d states: the model has lost its freedom", f.states)
	}
}

// Without the ledger's rule that a slot is settled once, it is paid for twice: money depends
// on this rule and on no other.
func TestMutantNoDedupe(t *testing.T) {
	r := all()
	r.once = false
	if f := run(t, r); f.twice == 0 {
		t.Errorf("findings %+v, want slots that are paid for twice", f)
	}
}

// Without a deadline on holds some requests never end.
func TestMutantHoldNeverExpires(t *testing.T) {
	r := all()
	r.expiry = false
	if f := run(t, r); f.stuck == 0 || f.twice > 0 || f.sum > 0 {
		t.Errorf("findings %+v, want stuck states and sound money", f)
	}
}

// A home that forgets its queue in a crash loses what it accepted, though the ledger still
// guards the money.
func TestMutantVolatileHome(t *testing.T) {
	r := small()
	r.durable = false
	if f := run(t, r); f.lost == 0 || f.twice > 0 || f.sum > 0 || f.stuck > 0 {
		t.Errorf("findings %+v, want lost requests and sound money", f)
	}
}

// A home that takes results of leases that are over shows the client two results for a slot,
// of which one is paid for.
func TestMutantStaleSubmits(t *testing.T) {
	r := small()
	r.exact = false
	if f := run(t, r); f.again == 0 || f.twice > 0 || f.sum > 0 || f.stuck > 0 {
		t.Errorf("findings %+v, want results taken twice and sound money", f)
	}
}
