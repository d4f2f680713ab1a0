package exchange

import (
	"hordenode/internal/horde"
	"hordenode/node/jobs/match"
)

// Policy is what the operator of this node decided. Its methods answer from memory. nil: this
// node takes part in everything.
type Policy interface {
	// Accepts returns the refusal that a client gets, or nil.
	Accepts(r *horde.Request, payer horde.User) error
	// Serves tells whether workers that poll here may be given jobs of such requests.
	Serves(home horde.HomeTag, s *horde.Shape, payer horde.User) bool
	// Exchanges tells whether jobs go to and come from a member.
	Exchanges(home horde.HomeTag) bool
	// OwnFirst tells whether workers serve this node's requests before others'.
	OwnFirst() bool
}

// accepts asks the policy about a request that a client makes here.
func (e *Exchange) accepts(r *horde.Request) error {
	if e.policy == nil {
		return nil
	}
	payer, _ := e.ledger.User(r.Payer)
	return e.policy.Accepts(r, payer)
}

// exchanges asks the policy about a member that claims jobs.
func (e *Exchange) exchanges(with horde.NodeID) bool {
	return e.policy == nil || e.policy.Exchanges(with.Tag())
}

// withOwn puts a pass for this node's own requests before the last, which is for everybody,
// if the policy says so. It returns its place, -1 if there is none.
func (s *search) withOwn(passes [][]horde.UserID) (_ [][]horde.UserID, own int) {
	if s.e.policy == nil || !s.e.policy.OwnFirst() {
		return passes, -1
	}
	return append(passes, nil), len(passes) - 1
}

// permits tells whether the policy lets this pop have a job of an offer. index.mu is held.
func (s *search) permits(c *match.Candidate) bool {
	p := s.e.policy
	if p == nil {
		return true
	}
	if s.ownOnly && c.Home != s.e.tag {
		return false
	}
	shape, payer, _, ok := s.e.index.queues[s.w.Kind].Shape(c.ID)
	if !ok {
		return false
	}
	u, _ := s.e.ledger.User(payer)
	return p.Serves(c.Home, shape, u)
}
