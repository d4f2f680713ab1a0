package match

import (
	"iter"
	"slices"

	"hordenode/internal/horde"
)

// Payers tells what matching needs to know of a user; Job is left to the queue.
type Payers func(horde.UserID) Payer

// headWalk is how many of the first offers are tried one by one before the shapes are
// searched: a worker that can serve most of what waits finds its offer among them.
const headWalk = 32

func (x *item) candidate() Candidate {
	return Candidate{ID: x.id, Home: x.home, Payer: x.bucket.payer.id, Rev: x.rev, Open: int(x.open)}
}

// Candidates yields the offers that w may serve, in the order in which they are due. If
// only is not nil, offers of other payers are left out. The queue must not be changed
// meanwhile. A payer who may not be served for lack of trust or kudos is judged by the
// first of his offers of a shape.
func (q *Queue) Candidates(w *Worker, payers Payers, only []horde.UserID) iter.Seq[Candidate] {
	return func(yield func(Candidate) bool) {
		s := search{w: w, payers: payers}
		if w.Maintenance { // serves its owner only
			if only != nil && !slices.Contains(only, w.Owner) {
				return
			}
			only = []horde.UserID{w.Owner}
		}
		if only == nil {
			for x := range q.order.first(headWalk) {
				s.after = x
				g := x.bucket.group
				if r, _ := check(w, &g.shape, nil); r != "" || dependsOnPayer(w, &g.shape) && refusesPayer(w, x.bucket, payers) != "" {
					continue
				}
				if !yield(x.candidate()) {
					return
				}
			}
			if len(q.items) <= headWalk {
				return
			}
			for g := range q.groupsFor(w) {
				if r, _ := check(w, &g.shape, nil); r == "" {
					s.pushBucket(g.buckets[0], true)
				}
			}
		} else {
			for i, id := range only {
				if p := q.payers[id]; p != nil && !slices.Contains(only[:i], id) {
					for g, b := range p.buckets {
						if r, _ := check(w, &g.shape, nil); r == "" {
							s.pushBucket(b, false)
						}
					}
				}
			}
		}
		for {
			x := s.next()
			if x == nil {
				return
			}
			if s.after != nil && !s.after.before(x) {
				continue // met on the walk along the head
			}
			if !yield(x.candidate()) {
				return
			}
		}
	}
}

// Skipped counts the offers that w may not serve, by reason, as a pop that found nothing
// shows them. A worker in maintenance counts its owner's only.
func (q *Queue) Skipped(w *Worker, payers Payers) *Tally {
	t := NewTally(q.kind)
	if w.Maintenance {
		if p := q.payers[w.Owner]; p != nil {
			for g, b := range p.buckets {
				t.addSet(skippedShape(w, &g.shape), len(b.items))
			}
		}
		return t
	}
	for _, g := range q.groups {
		t.addSet(skippedShape(w, &g.shape), g.count)
		if !dependsOnPayer(w, &g.shape) {
			continue
		}
		if r, _ := check(w, &g.shape, nil); r != "" {
			continue
		}
		for _, b := range g.buckets {
			if refusesPayer(w, b, payers) == TooFewKudos {
				t.Add(TooFewKudos, len(b.items))
			}
		}
	}
	return t
}

// groupsFor yields the groups that name one of w's models or none, each once.
func (q *Queue) groupsFor(w *Worker) iter.Seq[*group] {
	return func(yield func(*group) bool) {
		if len(q.groups) <= len(w.Profile.models) {
			for _, g := range q.groups {
				if !yield(g) {
					return
				}
			}
			return
		}
		for g := range q.anyModel {
			if !yield(g) {
				return
			}
		}
		for name := range w.Profile.models {
			for g := range q.named[name] {
				if firstServed(w.Profile, g.shape.Models) == name && !yield(g) {
					return
				}
			}
		}
	}
}

func firstServed(p *Profile, models []string) string {
	for _, name := range models {
		if p.Serves(name) {
			return name
		}
	}
	return ""
}

// refusesPayer tells why w may not serve the bucket's payer, judged by its first offer.
func refusesPayer(w *Worker, b *bucket, payers Payers) Reason {
	p := payers(b.payer.id)
	p.ID, p.Job = b.payer.id, b.items[0].job
	return Check(w, &b.group.shape, p)
}

// search walks nested heaps best first: its front holds a spot for each branch that may
// hold the next offer.
type search struct {
	w      *Worker
	payers Payers
	front  []spot
	after  *item // offers up to this one have been tried already
}

// spot is place i of bucket b. With siblings, the buckets below b in the group's heap are
// still to be looked at after b's first item.
type spot struct {
	item     *item
	siblings bool
}

// next returns the next offer that is due, nil if there are no more.
func (s *search) next() *item {
	for len(s.front) > 0 {
		top := s.pop()
		x := top.item
		b := x.bucket
		first := x.at == 0
		if first && top.siblings {
			for _, child := range [...]int32{2*b.at + 1, 2*b.at + 2} {
				if int(child) < len(b.group.buckets) {
					s.pushBucket(b.group.buckets[child], true)
				}
			}
		}
		if first && dependsOnPayer(s.w, &b.group.shape) && refusesPayer(s.w, b, s.payers) != "" {
			continue
		}
		for _, child := range [...]int32{2*x.at + 1, 2*x.at + 2} {
			if int(child) < len(b.items) {
				s.push(spot{item: b.items[child]})
			}
		}
		return x
	}
	return nil
}

func (s *search) pushBucket(b *bucket, siblings bool) {
	s.push(spot{item: b.items[0], siblings: siblings})
}

func (s *search) push(x spot) {
	s.front = append(s.front, x)
	f := s.front
	for i := len(f) - 1; i > 0; {
		parent := (i - 1) / 2
		if !f[i].item.before(f[parent].item) {
			return
		}
		f[i], f[parent] = f[parent], f[i]
		i = parent
	}
}

func (s *search) pop() spot {
	f := s.front
	top, last := f[0], len(f)-1
	f[0] = f[last]
	s.front = f[:last]
	f = s.front
	for i := 0; ; {
		best := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(f); child++ {
			if f[child].item.before(f[best].item) {
				best = child
			}
		}
		if best == i {
			return top
		}
		f[i], f[best] = f[best], f[i]
		i = best
	}
}
