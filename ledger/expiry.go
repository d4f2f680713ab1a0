package ledger

// An expiry is a min-heap of keys by the ledger time at which they may go. It is not
// stored: Load rebuilds it. An entry is a reminder only: the row decides whether it is
// due, so an entry whose row is gone or was renewed does nothing.
type expiry[K any] struct {
	items []deadline[K]
}

type deadline[K any] struct {
	at  int64
	key K
}

func (e *expiry[K]) push(at int64, key K) {
	e.items = append(e.items, deadline[K]{at, key})
	i := len(e.items) - 1
	for i > 0 {
		up := (i - 1) / 2
		if e.items[up].at <= e.items[i].at {
			break
		}
		e.items[up], e.items[i] = e.items[i], e.items[up]
		i = up
	}
}

// due takes out one key whose time is not after now.
func (e *expiry[K]) due(now int64) (key K, ok bool) {
	if len(e.items) == 0 || e.items[0].at > now {
		return key, false
	}
	key = e.items[0].key
	last := len(e.items) - 1
	e.items[0] = e.items[last]
	e.items[last] = deadline[K]{}
	e.items = e.items[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if e.items[c].at < e.items[least].at {
				least = c
			}
		}
		if least == i {
			return key, true
		}
		e.items[i], e.items[least] = e.items[least], e.items[i]
		i = least
	}
}
