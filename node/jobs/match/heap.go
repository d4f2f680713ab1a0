package match

// ranked is what a heap holds: pointers that know their rank and their place.
type ranked[T any] interface {
	before(T) bool
	place() *int32
}

// heap is a binary heap whose elements know their place in it, so that any of them can be
// moved or removed. The children of place i are at 2i+1 and 2i+2.
type heap[T ranked[T]] []T

func (h *heap[T]) push(x T) {
	*x.place() = int32(len(*h))
	*h = append(*h, x)
	h.up(len(*h) - 1)
}

// remove takes x out.
func (h *heap[T]) remove(x T) {
	s := *h
	i, last := int(*x.place()), len(s)-1
	if i != last {
		h.swap(i, last)
	}
	var zero T
	s[last] = zero
	*h = s[:last]
	if i != last {
		h.fix((*h)[i])
	}
}

// fix restores the order after x's rank has changed.
func (h *heap[T]) fix(x T) {
	i := int(*x.place())
	h.up(i)
	h.down(int(*x.place()))
}

func (h *heap[T]) up(i int) {
	for s := *h; i > 0; {
		parent := (i - 1) / 2
		if !s[i].before(s[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap[T]) down(i int) {
	s := *h
	for {
		best := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s); child++ {
			if s[child].before(s[best]) {
				best = child
			}
		}
		if best == i {
			return
		}
		h.swap(i, best)
		i = best
	}
}

func (h *heap[T]) swap(i, j int) {
	s := *h
	s[i], s[j] = s[j], s[i]
	*s[i].place(), *s[j].place() = int32(i), int32(j)
}
