package ledger

import (
	"bytes"
	"time"

	"hordenode/internal/horde"
)

// admitMember makes the sender of a signed JoinRequest a member.
type admitMember struct {
	Join []byte `cbor:"1,keyasint"`
}

func forbidden(why string) error { return horde.Refuse(horde.RCForbidden, "%s", why) }

func (c *admitMember) apply(tx *tx) ([]byte, error) {
	r, inv, err := ParseJoin(c.Join, time.UnixMilli(tx.now))
	if err != nil {
		return nil, forbidden(err.Error())
	}
	m := tx.meta.get(unit{})
	inviter := tx.members.get(inv.Inviter)
	known := tx.members.get(r.ID)
	tagged := tx.tags.get(r.ID.Tag())
	switch {
	case inv.Cluster != m.Cluster || inv.Epoch != m.Epoch:
		return nil, forbidden("The invite is for another federation.")
	case inviter == nil || !inviter.Active || inviter.Suspended:
		return nil, forbidden("The inviter is not a member.")
	case !bytes.Equal(inviter.PublicKey, inv.Key):
		return nil, forbidden(ErrInviteForged.Error())
	case inv.Voter && !inviter.Voter:
		return nil, forbidden("Only a node that may vote can invite one that may.")
	case tx.nonces.has(inv.Nonce) && known != nil && known.Active && bytes.Equal(known.PublicKey, r.PublicKey):
		return nil, nil // the same node again: it did not get the answer
	case tx.nonces.has(inv.Nonce):
		return nil, forbidden("The invite has been used.")
	case known != nil && known.Active:
		return nil, forbidden("The node is a member already.")
	case tx.memberNamed(r.Name, r.ID):
		return nil, forbidden("Another member has that name: the node needs one of its own.")
	case tagged != nil && *tagged != r.ID:
		return nil, forbidden("The node's home tag is taken by another member: it needs another key.")
	case max(r.Version, firstVersion) < tx.version():
		return nil, forbidden("The node's program is too old for this federation: install a newer hordenode.")
	}
	tx.nonces.put(inv.Nonce, inv.Expires.UnixMilli())
	tx.nonceEnds.push(inv.Expires.UnixMilli(), inv.Nonce)
	tx.tags.put(r.ID.Tag(), r.ID)
	tx.members.put(r.ID, member{
		Name: r.Name, PublicKey: r.PublicKey, Addrs: r.Addrs, URL: r.URL,
		Voter: inv.Voter, Active: true, Joined: tx.now, InvitedBy: inv.Inviter, Version: tx.noted(r.Version),
	})
	return nil, nil
}

// A MemberChange is what a member says of itself (Name, Addrs, URL) or a voter of any
// member (Voter); nil fields stay as they are.
type MemberChange struct {
	ID    horde.NodeID `cbor:"1,keyasint"`
	Name  *string      `cbor:"2,keyasint,omitempty"`
	Addrs []string     `cbor:"3,keyasint,omitempty"`
	URL   *string      `cbor:"4,keyasint,omitempty"`
	Voter *bool        `cbor:"5,keyasint,omitempty"`
}

type updateMember MemberChange

func (c *updateMember) apply(tx *tx) ([]byte, error) {
	m := tx.members.get(c.ID)
	url := ""
	set(&url, c.URL)
	switch {
	case m == nil || !m.Active:
		return nil, forbidden("There is no such member.")
	case (c.Name != nil || c.Addrs != nil || c.URL != nil) && tx.from != c.ID:
		return nil, forbidden("A member's name and addresses are its own to change.")
	case c.Voter != nil && !tx.members.get(tx.from).Voter:
		return nil, forbidden("Only a node that may vote decides who may.")
	case c.Voter != nil && !*c.Voter && !tx.votersBeside(c.ID):
		return nil, forbidden("The last node that may vote stays one.")
	case c.Name != nil && tx.memberNamed(*c.Name, c.ID):
		return nil, forbidden("Another member has that name.")
	case c.Name != nil && len(*c.Name) > maxNode || checkAddrs(c.Addrs, url) != nil:
		return nil, horde.Refuse(horde.RCBadRequest, "The member's name or addresses are too long.")
	}
	m = tx.members.edit(c.ID)
	set(&m.Name, c.Name)
	set(&m.URL, c.URL)
	set(&m.Voter, c.Voter)
	if c.Addrs != nil {
		m.Addrs = c.Addrs
	}
	return nil, nil
}

// removeMember ends a membership: by the member itself, or by a node that may vote. The
// record stays, inactive, so that the node's old batches can still be verified.
type removeMember struct {
	ID horde.NodeID `cbor:"1,keyasint"`
}

func (c *removeMember) apply(tx *tx) ([]byte, error) {
	m := tx.members.get(c.ID)
	switch {
	case m == nil || !m.Active:
		return nil, forbidden("There is no such member.")
	case c.ID != tx.from && !tx.members.get(tx.from).Voter:
		return nil, forbidden("Only a node that may vote can remove another.")
	}
	if !tx.votersBeside(c.ID) {
		return nil, forbidden("The last node that may vote cannot be removed.")
	}
	tx.members.edit(c.ID).Active = false
	return nil, nil
}

// memberNamed tells whether an active member other than id has the name.
func (tx *tx) memberNamed(name string, id horde.NodeID) bool {
	found := false
	tx.members.all(func(other horde.NodeID, m *member) bool {
		found = m.Active && m.Name == name && name != "" && other != id
		return !found
	})
	return found
}

// votersBeside tells whether a member other than id may vote.
func (tx *tx) votersBeside(id horde.NodeID) bool {
	found := false
	tx.members.all(func(other horde.NodeID, m *member) bool {
		found = m.Active && m.Voter && !m.Suspended && other != id
		return !found
	})
	return found
}
