package jobs

import (
	"sync"

	"hordenode/internal/horde"
)

// shapes lets requests of equal shape share one: a queue of a million requests has few.
type shapes struct {
	mu   sync.Mutex
	refs map[string]*shapeRef // by encoding
}

type shapeRef struct {
	shape horde.Shape
	n     int // requests that use it
}

// take returns the shared copy of s and counts one more user.
func (x *shapes) take(s *horde.Shape) *horde.Shape {
	key := marshal(s)
	x.mu.Lock()
	defer x.mu.Unlock()
	ref := x.refs[string(key)]
	if ref == nil {
		ref = &shapeRef{shape: *s}
		x.refs[string(key)] = ref
	}
	ref.n++
	return &ref.shape
}

// drop counts one user less.
func (x *shapes) drop(s *horde.Shape) {
	key := marshal(s)
	x.mu.Lock()
	defer x.mu.Unlock()
	ref := x.refs[string(key)]
	if ref == nil {
		return
	}
	if ref.n--; ref.n == 0 {
		delete(x.refs, string(key))
	}
}
