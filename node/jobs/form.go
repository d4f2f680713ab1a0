package jobs

import (
	"slices"

	"hordenode/internal/horde"
)

// An alchemy request has one slot for each of its forms. Slots differ in what they ask for,
// so a claim gets only those that its worker does, and in how they end: a form that was
// given up four times is faulted and the others go on. What a form's state is follows from
// its slot, its newest job and whether the request was cancelled; nothing else is kept.

// maxFormFaults is how often a form may be given up; it is then faulted for good.
const maxFormFaults = 4

// maxForms bounds the forms of one request: the ledger keeps as many slots.
const maxForms = 256

// spent tells whether a form was given up too often. Each lease of it but the present one
// ended so. r.mu is held.
func (r *request) spent(slot int) bool {
	l := r.leases[slot]
	return r.kind == horde.KindAlchemy && l.job == nil && l.gen >= maxFormFaults
}

// isOpen tells whether a slot can be handed out. r.mu is held.
func (r *request) isOpen(slot int) bool {
	return r.leases[slot].job == nil && !r.cancelled && !r.faulted && !r.spent(slot)
}

// fits returns the first n open slots at most; of an alchemy request only those of forms
// that are served. r.mu is held.
func (r *request) fits(n int, served []string) []int {
	var slots []int
	for i := range r.leases {
		if len(slots) == n {
			break
		}
		if r.isOpen(i) && (r.kind != horde.KindAlchemy || slices.Contains(served, r.forms[i].Name)) {
			slots = append(slots, i)
		}
	}
	return slots
}

// offered is the shape that others are told: of an alchemy request it names the forms that
// nobody has. r.mu is held.
func (r *request) offered() horde.Shape {
	s := *r.shape
	if r.kind != horde.KindAlchemy || r.open == r.slots {
		return s
	}
	s.Models = nil
	for i, f := range r.forms {
		if r.isOpen(i) && !slices.Contains(s.Models, f.Name) {
			s.Models = append(s.Models, f.Name)
		}
	}
	slices.Sort(s.Models) // equal shapes are written alike
	return s
}

// settleRunning ends the running jobs of a cancelled alchemy request as if they had been
// delivered: their workers are paid, what they still bring is thrown away
// (spec/alchemy.md section 4.1). r.mu is held.
func (h *Home) settleRunning(r *request) (o op) {
	for _, j := range r.jobs {
		if j.state != jobRunning {
			continue
		}
		price := h.pricer.Price(r.view(), j.model.Value(), j.bridge.Value(), false, nil, false) // trust has no part in it
		j.state = jobCancelled
		r.running--
		r.consumed += price.Debit
		o.puts = append(o.puts, encode(jobKey(r.id, j.id), j.record()))
		o.out = append(o.out, h.ledger.EncodeSettlement(horde.Settlement{
			Request: r.id, Slot: int(j.slot), Job: j.id, Worker: j.worker,
			Debit: price.Debit, Credit: price.Credit, Things: r.things,
		}))
	}
	return o
}

// formStatus tells how far each form is. r.mu is held.
func (r *request) formStatus() []horde.FormStatus {
	if len(r.forms) == 0 {
		return nil
	}
	list := make([]horde.FormStatus, len(r.forms))
	for i, f := range r.forms {
		list[i] = horde.FormStatus{Name: f.Name, State: horde.FormWaiting}
		switch j := r.leases[i].job; {
		case j != nil && j.state == jobDone:
			list[i].State, list[i].Job = horde.FormDone, j.id
		case r.cancelled:
			list[i].State = horde.FormCancelled
		case j != nil:
			list[i].State = horde.FormProcessing
		case r.spent(i):
			list[i].State = horde.FormFaulted
		}
	}
	return list
}
