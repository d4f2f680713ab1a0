package match

import (
	"iter"
	"math/rand/v2"
)

// order keeps all items of a queue sorted and summed: a treap, so that an item's place and
// the work up to it are found in O(log n).
type order struct {
	root *item
	rnd  *rand.Rand
}

// links is an item's part in the order. The sums are over the subtree that it heads.
type links struct {
	left, right *item
	weight      uint32
	count       int32
	slots       int64
	things      int64
}

func (x *item) sum() {
	x.links.count, x.links.slots, x.links.things = 1, int64(x.open), x.work()
	for _, c := range [...]*item{x.left, x.right} {
		if c != nil {
			x.links.count += c.links.count
			x.links.slots += c.links.slots
			x.links.things += c.links.things
		}
	}
}

func (o *order) insert(x *item) {
	x.links = links{weight: o.rnd.Uint32()}
	x.sum()
	before, after := split(o.root, x)
	o.root = merge(merge(before, x), after)
}

func (o *order) remove(x *item) { o.root = without(o.root, x) }

// split parts t into the items before x and the items after it; x is not in t.
func split(t, x *item) (before, after *item) {
	if t == nil {
		return nil, nil
	}
	if t.before(x) {
		before, after = split(t.right, x)
		t.right = before
		t.sum()
		return t, after
	}
	before, after = split(t.left, x)
	t.left = after
	t.sum()
	return before, t
}

// merge joins two trees; all items of a come before all of b.
func merge(a, b *item) *item {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.weight >= b.weight:
		a.right = merge(a.right, b)
		a.sum()
		return a
	}
	b.left = merge(a, b.left)
	b.sum()
	return b
}

func without(t, x *item) *item {
	switch {
	case t == nil:
		return nil
	case t == x:
		return merge(t.left, t.right)
	case x.before(t):
		t.left = without(t.left, x)
	default:
		t.right = without(t.right, x)
	}
	t.sum()
	return t
}

// standing returns how many items come before x, and the slots and things up to and
// including x.
func (o *order) standing(x *item) (position int, slots, things int64) {
	for t := o.root; t != nil; {
		if t != x && x.before(t) {
			t = t.left
			continue
		}
		if t.left != nil {
			position += int(t.left.links.count)
			slots += t.left.links.slots
			things += t.left.links.things
		}
		slots += int64(t.open)
		things += t.work()
		if t == x {
			break
		}
		position++
		t = t.right
	}
	return position, slots, things
}

// first yields the first n items in order.
func (o *order) first(n int) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		left := n
		walk(o.root, func(x *item) bool {
			left--
			return yield(x) && left > 0
		})
	}
}

// walk visits t's items in order until f returns false, and tells whether it did not.
func walk(t *item, f func(*item) bool) bool {
	return t == nil || walk(t.left, f) && f(t) && walk(t.right, f)
}
