package ledger

import (
	"cmp"
	"slices"
	"time"

	"hordenode/internal/horde"
)

// A Doing is one command of a member, as a Replay finds it in the log.
type Doing struct {
	Place   Place        `json:"place"`
	At      time.Time    `json:"at"`   // ledger time
	Kind    string       `json:"kind"` // of the command: "settlement", "transfer"
	Origin  horde.NodeID `json:"origin"`
	Refused horde.RC     `json:"refused,omitempty"` // empty: it was applied

	// Booked is what it did to balances, one line for each, none of them zero; empty: nothing.
	Booked []Booked `json:"booked,omitempty"`
	// Reversed: it was taken back by a later command that the replay has seen.
	Reversed bool `json:"reversed,omitempty"`
}

// Reversible tells whether there is something to take back that an admin may: not what the
// federation's clock did, nor what took something back itself.
func (d *Doing) Reversible() bool {
	return d.Refused == "" && len(d.Booked) > 0 && len(d.Booked) <= maxBooked && !d.Reversed &&
		d.Kind != kindTick.String() && d.Kind != kindReverse.String() && d.Kind != kindMergeUsers.String() && d.Kind != kindGenesis.String()
}

// Tell calls f for every command that is applied or refused from now on, in order.
func (r *Replay) Tell(f func(Doing)) {
	r.doings = f
	r.hook()
}

// tellDoing makes a Doing of what was booked since the command before.
func (r *Replay) tellDoing(tx *tx, data []byte, result Result) {
	booked := r.booked
	r.booked = nil
	if r.doings == nil {
		return
	}
	d := Doing{Place: tx.place, At: moment(tx.now), Kind: "unreadable", Origin: tx.from, Refused: result.RC}
	if k, _, err := splitCommand(data); err == nil {
		d.Kind = k.String()
	}
	if result.RC == "" {
		d.Booked = summed(booked)
	}
	r.doings(d)
}

// summed adds up what was booked on each balance, in a fixed order.
func summed(all []Booked) []Booked {
	sums := map[Booked]horde.Kudos{}
	for _, b := range all {
		sums[Booked{User: b.User, System: b.System, Escrow: b.Escrow}] += b.Amount
	}
	var out []Booked
	for b, sum := range sums {
		if sum != 0 {
			b.Amount = sum
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b Booked) int {
		escrow := func(x Booked) int {
			if x.Escrow {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.User, b.User), escrow(a)-escrow(b))
	})
	return out
}
