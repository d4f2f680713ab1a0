package model

// Rules are what the protocol keeps; a mutant lacks one.
type rules struct {
	once      bool // the ledger settles a slot once
	expiry    bool // the ledger releases a hold in the end
	durable   bool // a home finds its requests again after a crash
	exact     bool // a home takes a result of the current lease only
	twoHomes  bool // takeover is possible
	copiedAny bool // a successor may begin with a copy that is older than what the home knows
}

func all() rules {
	return rules{once: true, expiry: true, durable: true, exact: true, twoHomes: true, copiedAny: true}
}

const (
	homes   = 2
	workers = 2
	leases  = 2 // of a slot, at each home
)

// The states of a slot and of the hold in the ledger.
const (
	slotOpen = iota
	slotLeased
	slotDone
)

const (
	holdNone = iota
	holdHeld
	holdSettled
	holdReleased
)

// A home is what one home knows of the one request.
type home struct {
	down   bool
	has    bool
	slot   uint8
	gen    uint8 // of the current lease, or the next; leases: none is left
	worker uint8 // who has the lease
	took   uint8 // results that it took for the slot, 2 for more
}

// A lease is what a worker works at.
type lease struct{ held, home, gen uint8 }

// A world is a state of everything. It is comparable.
type world struct {
	homes   [homes]home
	workers [workers]lease
	submits uint8 // sent once: bit home, gen, worker
	settles uint8 // sent once: bit home, worker
	hold    uint8
	payer   int8 // kudos, from 0
	held    int8
	paid    [workers]int8
}

func submitBit(h, gen, w int) uint8 { return 1 << (h*leases*workers + gen*workers + w) }
func settleBit(h, w int) uint8      { return 1 << (h*workers + w) }

// next calls f with every state that w can become by one step.
func (w world) next(r rules, f func(world)) {
	w.ledger(r, f)
	if w.hold == holdNone {
		n := w
		n.hold, n.payer, n.held = holdHeld, -1, 1
		n.homes[0].has = true
		f(n)
		return
	}
	for i := range w.homes {
		w.homeSteps(r, i, f)
	}
	for i, l := range w.workers {
		if l.held == 0 {
			continue
		}
		n := w // it is done; the result is on its way
		n.submits |= submitBit(int(l.home), int(l.gen), i)
		n.workers[i] = lease{}
		f(n)
		n = w // it dies
		n.workers[i] = lease{}
		f(n)
	}
}

func (w world) homeSteps(r rules, i int, f func(world)) {
	h := w.homes[i]
	n := w
	if h.down {
		n.homes[i].down = false
		f(n)
		return
	}
	if h.has || i == 0 {
		n.homes[i].down = true
		if !r.durable {
			n.homes[i] = home{down: true, took: h.took}
		}
		f(n)
	}
	if i == 1 && !h.has && r.twoHomes { // takeover: home 0 may be well, that is, falsely suspected
		n = w
		n.homes[1].has = true
		f(n) // from the copy that was made at acceptance
		if c := w.homes[0]; !r.copiedAny || c.slot != slotOpen {
			n.homes[1] = home{has: true, slot: c.slot, gen: c.gen, worker: c.worker}
			if c.slot == slotDone {
				n.settles |= settleBit(1, int(c.worker)) // the copy of a result has its settlement
			}
			f(n)
		}
	}
	if !h.has {
		return
	}
	switch h.slot {
	case slotOpen:
		for who := range workers {
			if h.gen == leases {
				break
			}
			n = w // granted, and the answer is lost
			n.homes[i].slot, n.homes[i].worker = slotLeased, uint8(who)
			f(n)
		}
	case slotLeased:
		if w.workers[h.worker].held == 0 { // the answer arrives, at last: the same nonce again
			n = w
			n.workers[h.worker] = lease{1, uint8(i), h.gen}
			f(n)
		}
		n = w
		n.homes[i].slot, n.homes[i].gen = slotOpen, h.gen+1
		f(n)
	}
	w.arrivals(r, i, f)
}

// arrivals has home i get any result that was ever sent to it, or to the other: jobs keep
// their ids when they are taken over.
func (w world) arrivals(r rules, i int, f func(world)) {
	h := w.homes[i]
	for from := range homes {
		for gen := range leases {
			for who := range workers {
				current := h.slot == slotLeased && int(h.gen) == gen && int(h.worker) == who
				if w.submits&submitBit(from, gen, who) == 0 || r.exact && !current {
					continue
				}
				n := w
				n.homes[i].slot, n.homes[i].worker, n.homes[i].gen = slotDone, uint8(who), uint8(gen)
				n.homes[i].took = min(h.took+1, 2)
				n.settles |= settleBit(i, who)
				f(n)
			}
		}
	}
}

// ledger has the ledger get any settlement that was ever sent, or the deadline pass.
func (w world) ledger(r rules, f func(world)) {
	for i := range homes {
		for who := range workers {
			if w.settles&settleBit(i, who) == 0 || r.once && w.hold != holdHeld || w.paid[0]+w.paid[1] > 1 {
				continue
			}
			n := w
			if w.hold == holdHeld {
				n.held--
			} else {
				n.payer-- // there is nothing held: it comes out of the payer's pocket
			}
			n.hold = holdSettled
			n.paid[who]++
			f(n)
		}
	}
	if w.hold == holdHeld && r.expiry {
		n := w
		n.hold, n.held = holdReleased, 0
		n.payer++
		f(n)
	}
}

func (w world) ended() bool { return w.hold == holdSettled || w.hold == holdReleased }
