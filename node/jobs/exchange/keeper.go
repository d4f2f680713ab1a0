package exchange

import (
	"context"
	"errors"
	"slices"

	"hordenode/internal/horde"
)

// Who keeps a request is in its id, unless its home was taken over: then it is the home's
// successor, or the successor's (docs/decisions/0022-takeover.md).

// maxKeepers bounds how often a request may have passed on.
const maxKeepers = 8

// chain returns the members that have, or had, what has a home tag: the home, its successors
// and theirs, the likeliest first. It is empty if no member ever had the tag.
func (e *Exchange) chain(tag horde.HomeTag) (list []horde.Member) {
	m, ok := e.ledger.MemberByTag(tag)
	if !ok {
		return nil
	}
	list = append(list, m)
	for i := 0; i < len(list) && i < maxKeepers; i++ {
		s := e.ledger.Standin(list[i].ID)
		for _, next := range append([]horde.NodeID{s.Successor}, s.Earlier...) {
			m, ok := e.ledger.MemberByTag(next.Tag())
			if next != "" && ok && !slices.ContainsFunc(list, func(x horde.Member) bool { return x.ID == m.ID }) {
				list = append(list, m)
			}
		}
	}
	return list
}

// keepers returns the members that may keep what has a home tag, the likeliest first. known is
// false if no member ever had the tag.
func (e *Exchange) keepers(tag horde.HomeTag) (list []horde.NodeID, known bool) {
	chain := e.chain(tag)
	for _, m := range chain {
		if m.Active && !e.ledger.Standin(m.ID).Superseded {
			list = append(list, m.ID)
		}
	}
	return list, len(chain) > 0
}

// keeps tells whether a member may keep what has a home tag.
func (e *Exchange) keeps(node horde.NodeID, tag horde.HomeTag) bool {
	if node.Tag() == tag {
		return !e.ledger.Standin(node).Superseded
	}
	list, _ := e.keepers(tag)
	return slices.Contains(list, node)
}

// keeping is keeps for one member, for many tags, of which most are its own.
func (e *Exchange) keeping(node horde.NodeID) func(horde.HomeTag) bool {
	own := node.Tag()
	keepsOwn := e.keeps(node, own)
	return func(tag horde.HomeTag) bool {
		if tag == own {
			return keepsOwn
		}
		return e.keeps(node, tag)
	}
}

// mightKeep tells of which homes a member may have become the successor without our knowing,
// or was one and does not know that it is no longer.
func (e *Exchange) mightKeep(node horde.NodeID) func(horde.HomeTag) bool {
	return func(tag horde.HomeTag) bool {
		return slices.ContainsFunc(e.chain(tag), func(m horde.Member) bool {
			return m.ID == node || e.ledger.Standin(m.ID).Backup == node
		})
	}
}

// keepersOf returns who may keep what has an id, the likeliest first: at least one. An unknown
// tag is confirmed against the newest state of the ledger before it is refused as missing.
func (e *Exchange) keepersOf(ctx context.Context, id horde.UUID, missing horde.RC) ([]horde.NodeID, error) {
	list, known := e.keepers(id.Home())
	if !known && e.confirms.AllowN(e.now(), 1) {
		if err := e.ledger.Sync(ctx); err != nil {
			return nil, unavailable("It is not known for the moment where this request is. Please try again.", err)
		}
		list, _ = e.keepers(id.Home())
	}
	if len(list) == 0 {
		return nil, horde.Refuse(missing, "There is nothing with the id %s.", id)
	}
	return list, nil
}

// askKeepers asks those who may keep an id, one after the other, until one knows it. A home
// that was taken over while it was cut off, and does not know it or has not handed over
// everything yet, may have accepted it meanwhile: it is asked after its successor, and the
// successor once more, as the id may be on its way from one to the other. While such a home
// cannot be asked the id is not missing, but horde.RCUnavailable.
//
// That an id of another home is missing is confirmed against the newest state of the ledger: the
// home may have been taken over without our knowing.
func askKeepers[T any](ctx context.Context, e *Exchange, id horde.UUID, missing horde.RC, ask func(horde.NodeID) (T, error)) (answer T, err error) {
	list, err := e.keepersOf(ctx, id, missing)
	if err != nil {
		return answer, err
	}
	list = e.withSuperseded(id.Home(), list)
	if answer, err = askEach(list, missing, ask); !errors.Is(err, missing) || id.Home() == e.tag || !e.confirms.AllowN(e.now(), 1) {
		return answer, err
	}
	if e := e.ledger.Sync(ctx); e != nil {
		return answer, unavailable("It is not known for the moment where this request is. Please try again.", e)
	}
	now, _ := e.keepers(id.Home())
	if now = e.withSuperseded(id.Home(), now); slices.Equal(now, list) {
		return answer, err
	}
	if len(now) == 0 {
		return answer, err
	}
	return askEach(now, missing, ask)
}

func askEach[T any](list []horde.NodeID, missing horde.RC, ask func(horde.NodeID) (T, error)) (answer T, err error) {
	for _, node := range list {
		if answer, err = ask(node); !errors.Is(err, missing) {
			break
		}
	}
	return answer, err
}

// withSuperseded adds those that have something to hand over to those that may keep it.
func (e *Exchange) withSuperseded(tag horde.HomeTag, list []horde.NodeID) []horde.NodeID {
	if late := e.superseders(tag); len(late) > 0 {
		return slices.Concat(list, late, list)
	}
	return list
}

// superseders returns the members in whose place others keep what has a home tag, and that
// have not handed it over yet.
func (e *Exchange) superseders(tag horde.HomeTag) (list []horde.NodeID) {
	for _, m := range e.chain(tag) {
		if m.Active && e.ledger.Standin(m.ID).Superseded {
			list = append(list, m.ID)
		}
	}
	return list
}

// superseded tells whether this node's requests are another's for the moment: it does not
// accept new ones before it has handed the old ones over.
func (e *Exchange) superseded() bool { return e.ledger.Standin(e.self).Superseded }

var errSuperseded = unavailable("This node was away and is catching up. Please try again in a moment.", errors.New("superseded"))

// known asks this home about an id. While the node is still taking over what the id's home
// had, a refusal as missing is not final and becomes another.
func known[T any](e *Exchange, id horde.UUID, missing horde.RC, ask func() (T, error)) (T, error) {
	adopting := id.Home() != e.tag && e.adopting != nil && e.adopting() // before: it may end meanwhile
	answer, err := ask()
	if err != nil && adopting && errors.Is(err, missing) {
		err = errAdopting
	}
	return answer, err
}

var errAdopting = unavailable("The node that kept this is gone, and another is taking it over. Please try again in a moment.", errors.New("still adopting"))
