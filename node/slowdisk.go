package node

import "time"

// A slowness tells when a leader's disk is so slow that another node should lead: everybody's
// writes wait for the leader's disk, and only for the faster ones of the others.
//
//	checks of 5 s   fast fast slow slow slow │ handed over │ not again for five minutes
//
// If all disks are slow the leadership goes round, but not faster than that.
type slowness struct {
	slow int // checks in a row
	rest int // checks until it may be said again
}

const (
	slowWrite  = 100 * time.Millisecond // a log write, smoothed; a good disk takes one
	slowChecks = 3                      // in a row
	slowRest   = 60                     // checks
)

// seen takes how long writes take now, once a check, and tells whether it has been too long for
// too long.
func (s *slowness) seen(write time.Duration) bool {
	if s.rest > 0 {
		s.rest--
	}
	if write < slowWrite {
		s.slow = 0
		return false
	}
	s.slow++
	if s.slow < slowChecks || s.rest > 0 {
		return false
	}
	s.slow, s.rest = 0, slowRest
	return true
}
