package jobs

import "hordenode/internal/horde"

// A lease that ends while members were cut off from this node is excused: its worker may
// have delivered in time to one of them. The slot opens again as after any lease, but no
// Abort is told, it is not one of the faults that end a request, and the result still counts
// when it comes before somebody else has taken the slot (docs/decisions/0010).

// excused tells whether a lease that is over may be nobody's fault but ours.
func (h *Home) excused(j *job) bool {
	return h.cutOff != nil && h.cutOff(j.start)
}

// lapse ends j, which is excused, and opens its slot again. r.mu is held and j is running and
// real.
func (r *request) lapse(j *job) {
	j.state = jobFaulted
	r.running--
	r.leases[j.slot].job = nil
	if r.isOpen(int(j.slot)) {
		r.open++
	}
}

// revive makes a job that was excused run again, since its result has come and nobody has
// the slot. Forms count their leases and are not revived. r.mu is held.
func (r *request) revive(j *job) bool {
	slot := int(j.slot)
	if j.state != jobFaulted || !j.excused || r.closed || r.faulted || r.leases[slot].job != nil || r.kind == horde.KindAlchemy {
		return false
	}
	if r.isOpen(slot) {
		r.open--
	}
	r.leases[slot].job = j
	j.state = jobRunning
	r.running++
	return true
}
