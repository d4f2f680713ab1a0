package ledger

import (
	"context"

	"hordenode/internal/horde"
)

// A Discipline is what the others do about a member.
type Discipline uint8

// The measures. The values are stored in commands: never renumber.
const (
	Suspend Discipline = iota + 1 // its commands wait, it does not vote; it goes on replicating
	Readmit                       // takes back a suspension or an expulsion
	Expel                         // its commands have no effect any more
)

// String returns the measure in a word.
func (d Discipline) String() string {
	switch d {
	case Suspend:
		return "suspend"
	case Readmit:
		return "readmit"
	case Expel:
		return "expel"
	}
	return "unknown"
}

// discipline is a decision of a member that may vote about another one.
type discipline struct {
	ID     horde.NodeID `cbor:"1,keyasint"`
	Do     Discipline   `cbor:"2,keyasint"`
	Reason string       `cbor:"3,keyasint,omitempty"` // for the moderation log
}

// Discipline suspends, readmits or expels a member, in the name of this node's operator. A
// member that is suspended keeps what it has to say until it is readmitted: nothing of it is
// lost, and nothing of it counts before.
func (c *Client) Discipline(ctx context.Context, id horde.NodeID, do Discipline, reason string) error {
	_, err := c.everywhere(ctx, encodeCommand(kindDiscipline, discipline{ID: id, Do: do, Reason: reason}))
	return err
}

func (c *discipline) apply(tx *tx) ([]byte, error) {
	m := tx.members.get(c.ID)
	switch {
	case m == nil:
		return nil, forbidden("There is no such member.")
	case !tx.members.get(tx.from).Voter:
		return nil, forbidden("Only a node that may vote decides about members.")
	case c.ID == tx.from:
		return nil, forbidden("A node does not decide about itself.")
	case c.Do != Readmit && !m.Active:
		return nil, forbidden("The node is no member any more.")
	case c.Do == Suspend && m.Suspended:
		return nil, forbidden("The member is suspended already.")
	case c.Do == Readmit && m.Active && !m.Suspended:
		return nil, forbidden("The node is a member in good standing.")
	case c.Do == Readmit && !m.Active && tx.memberNamed(m.Name, c.ID):
		return nil, forbidden("Another member has that name by now.")
	case c.Do != Readmit && !tx.votersBeside(c.ID):
		return nil, forbidden("The last node that may vote stays one.")
	}
	if err := checkReason(c.Reason); err != nil {
		return nil, err
	}
	m = tx.members.edit(c.ID)
	switch c.Do {
	case Suspend:
		m.Suspended = true
	case Readmit:
		m.Active, m.Suspended = true, false
	case Expel:
		m.Active, m.Suspended = false, false
	default:
		return nil, horde.Refuse(horde.RCBadRequest, "There is no such measure.")
	}
	return nil, nil
}

func (c *discipline) moderates(tx *tx) moderation {
	return moderation{Operator: true, Action: c.Do.String() + " member", Target: tx.memberTarget(c.ID), Reason: c.Reason}
}
