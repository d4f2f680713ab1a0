package ledger

import (
	"context"
	"slices"
	"time"

	"hordenode/internal/horde"
)

// What happens to the requests of a member that is gone (docs/decisions/0022-takeover.md).
//
//	home ── setBackup ──► it copies its requests there
//	backup ── takeOver ──► the successor: it settles the requests whose ids have the home's tag
//	home, back again ── resume ──► new requests are its own; the old ones stay where they are
//
// Who settles a slot first has settled it, whether home or successor: a home that was taken to
// be gone and was not costs double work and never a double payment.
const (
	// successionLife is how long after a home has resumed its successor may still settle: no
	// hold of the time before lives longer.
	successionLife = longestHold
	// maxSuccessors bounds how often a request may pass from a successor to its successor.
	maxSuccessors = 8
	// maxEarlier bounds how many earlier successors of a member are remembered.
	maxEarlier = 8
)

// A standin is who keeps copies of a member's requests, and who took them over.
type standin struct {
	Backup    horde.NodeID `cbor:"1,keyasint,omitempty"`
	Successor horde.NodeID `cbor:"2,keyasint,omitempty"`
	Taken     int64        `cbor:"3,keyasint,omitempty"`
	Resumed   int64        `cbor:"4,keyasint,omitempty"` // 0: the successor still stands in

	// Earlier are the successors before this one: they keep what they took over.
	Earlier []predecessor `cbor:"5,keyasint,omitempty"`
}

// A predecessor was a successor until another one followed it.
type predecessor struct {
	Node  horde.NodeID `cbor:"1,keyasint"`
	Until int64        `cbor:"2,keyasint"` // until when it may settle
}

// succeed makes a member the successor. The one before keeps the requests that it has.
func (s *standin) succeed(to horde.NodeID, now int64) {
	var earlier []predecessor
	for _, p := range s.Earlier {
		if p.Until >= now && p.Node != to && p.Node != s.Successor {
			earlier = append(earlier, p)
		}
	}
	if until := s.Resumed + successionLife; s.Successor != "" && s.Successor != to && until >= now {
		earlier = append(earlier, predecessor{s.Successor, until})
	}
	s.Earlier = earlier[max(0, len(earlier)-maxEarlier):]
	s.Successor, s.Taken, s.Resumed = to, now, 0
}

// followers are those that may settle what the member had, as of now.
func (s *standin) followers(now int64) (ids []horde.NodeID) {
	if s == nil {
		return nil
	}
	if s.Successor != "" && (s.Resumed == 0 || s.Resumed+successionLife >= now) {
		ids = append(ids, s.Successor)
	}
	for _, p := range s.Earlier {
		if p.Until >= now {
			ids = append(ids, p.Node)
		}
	}
	return ids
}

// superseded tells whether what the member keeps is its successor's now.
func (s *standin) superseded() bool { return s != nil && s.Successor != "" && s.Resumed == 0 }

// setBackup names the member that the sender copies its requests to; "" for none.
type setBackup struct {
	Backup horde.NodeID `cbor:"1,keyasint,omitempty"`
}

func (c *setBackup) apply(tx *tx) ([]byte, error) {
	if c.Backup != "" {
		if m := tx.members.get(c.Backup); m == nil || !m.Active || c.Backup == tx.from {
			return nil, forbidden("A backup is another active member.")
		}
	}
	tx.editStandin(tx.from).Backup = c.Backup
	return nil, nil
}

// takeOver makes the sender the successor of a home whose backup it is. That the home is
// silent is the leader's to judge, before it proposes this.
type takeOver struct {
	Home horde.NodeID `cbor:"1,keyasint"`
}

func (c *takeOver) apply(tx *tx) ([]byte, error) {
	s := tx.standins.get(c.Home)
	switch {
	case s != nil && s.superseded() && s.Successor == tx.from:
		return nil, nil // the same again: it did not get the answer
	case s == nil || s.Backup != tx.from:
		return nil, forbidden("Only the backup of a home takes over its requests.")
	case s.superseded():
		return nil, forbidden("The home's requests were taken over already.")
	case tx.standins.get(tx.from).superseded():
		return nil, forbidden("A node whose own requests were taken over takes over none.")
	}
	tx.editStandin(c.Home).succeed(tx.from, tx.now)
	return nil, nil
}

// resume tells that the sender, whose requests were taken over, has handed over what it had
// of them and accepts new ones.
type resume struct{}

func (*resume) apply(tx *tx) ([]byte, error) {
	if tx.standins.get(tx.from).superseded() {
		tx.editStandin(tx.from).Resumed = tx.now
	}
	return nil, nil
}

// editStandin returns a member's row for writing, made if there is none.
func (tx *tx) editStandin(id horde.NodeID) *standin {
	if !tx.standins.has(id) {
		return tx.standins.put(id, standin{})
	}
	return tx.standins.edit(id)
}

// standsIn tells whether a member settles requests with a home's tag as its successor, or as
// the successor of its successor.
func (tx *tx) standsIn(id horde.NodeID, home horde.HomeTag) bool {
	at := tx.tags.get(home)
	if at == nil {
		return false
	}
	chain := []horde.NodeID{*at}
	for i := 0; i < len(chain) && i <= maxSuccessors; i++ {
		for _, next := range tx.standins.get(chain[i]).followers(tx.now) {
			if next == id {
				return true
			}
			if !slices.Contains(chain, next) {
				chain = append(chain, next)
			}
		}
	}
	return false
}

// bury remembers that a successor has finished a request, so that an admission which the home
// had not sent yet does not open it again.
func (tx *tx) bury(id horde.RequestID) {
	until := tx.now + longestHold
	tx.ended.put(id, until)
	tx.endedEnds.push(until, id)
}

// expireEnded forgets finished requests of homes that were taken over.
func (tx *tx) expireEnded() {
	for id, ok := tx.endedEnds.due(tx.now); ok; id, ok = tx.endedEnds.due(tx.now) {
		if until := tx.ended.get(id); until != nil && *until <= tx.now {
			tx.ended.remove(id)
		}
	}
}

// SetBackup tells the ledger to which member this node copies its requests; "" for none.
func (c *Client) SetBackup(ctx context.Context, to horde.NodeID) error {
	_, err := c.do(ctx, encodeCommand(kindSetBackup, setBackup{to}))
	return err
}

// TakeOver makes this node the successor of a home whose backup it is.
func (c *Client) TakeOver(ctx context.Context, home horde.NodeID) error {
	_, err := c.everywhere(ctx, encodeCommand(kindTakeOver, takeOver{home}))
	return err
}

// Resume tells that this node, which was taken to be gone, accepts requests again.
func (c *Client) Resume(ctx context.Context) error {
	_, err := c.everywhere(ctx, encodeCommand(kindResume, resume{}))
	return err
}

// Standin tells who keeps copies of a member's requests and who took them over.
func (r Reader) Standin(id horde.NodeID) horde.Standin {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	s := r.m.s.standins.get(id)
	if s == nil {
		return horde.Standin{}
	}
	v := horde.Standin{Backup: s.Backup, Successor: s.Successor, Superseded: s.superseded(), Taken: moment(s.Taken)}
	now := r.m.s.head.get(unit{}).Time
	if s.Resumed != 0 && s.Resumed+successionLife < now {
		v.Successor, v.Taken = "", time.Time{} // of old; nothing of it is left
	}
	for _, p := range s.Earlier {
		if p.Until >= now {
			v.Earlier = append(v.Earlier, p.Node)
		}
	}
	return v
}

// TakenOver returns the homes that a proposal would have taken over: the leader proposes it
// only if they are silent.
func TakenOver(proposal []byte) []horde.NodeID {
	b, err := DecodeBatch(proposal)
	if err != nil {
		return nil
	}
	var homes []horde.NodeID
	for _, cmd := range b.Commands {
		if k, _, err := splitCommand(cmd.Data); err != nil || k != kindTakeOver {
			continue
		}
		if c, _, err := decodeCommand(cmd.Data); err == nil {
			homes = append(homes, c.(*takeOver).Home)
		}
	}
	return homes
}
