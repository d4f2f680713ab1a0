package exchange

import (
	"context"
	"sync"
	"time"

	"hordenode/internal/horde"
)

const (
	// confirmBudget bounds how long a refusal is held up to ask whether it is right.
	confirmBudget = 250 * time.Millisecond
	// maxConfirmed is how many offers of one user a home tells at a time.
	maxConfirmed = 64
)

// Gossip is late by milliseconds. That does no harm where it only delays, but a refusal is
// final for the client that gets it. So before one is given that rests on what a user has
// waiting, the homes are asked: too many requests of the user, or none for a worker in
// maintenance that serves only its owner.

// confirm asks all members what a user has waiting at them and takes it into the index. It
// returns how many slots that are in all; a member that does not answer in time counts as
// the index has it.
func (e *Exchange) confirm(ctx context.Context, user horde.UserID, kind horde.Kind, models ...string) int {
	ctx, cancel := context.WithTimeout(ctx, confirmBudget)
	defer cancel()
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		whole = true
	)
	_, total := e.ownOffersOf(user, kind, models...)
	for _, m := range e.ledger.Members() {
		if !m.Active || m.ID == e.self {
			continue
		}
		wg.Go(func() {
			res, err := e.callJob(ctx, m.ID, jobRequest{Op: opOffersOf, User: user, Kind: kind, Models: models})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				whole = false
				return
			}
			total += max(res.Slots, slotsOf(res.Offers)) // a node of an older version tells no Slots
			e.learn(m.ID, res.Offers)
		})
	}
	wg.Wait()
	if !whole {
		return max(total, e.Waiting(user, kind, models...))
	}
	return total
}

// ownOffersOf returns the open offers that this home has of a user, at most maxConfirmed, and
// how many slots all of them have; with models, of those that name them (see match.Queue.Slots).
func (e *Exchange) ownOffersOf(user horde.UserID, kind horde.Kind, models ...string) (offers []horde.Offer, slots int) {
	e.index.mu.RLock()
	defer e.index.mu.RUnlock()
	if q := e.index.queue(kind); q != nil {
		return q.Told(e.tag, user, maxConfirmed, e.now(), models...)
	}
	return nil, 0
}

// learn indexes offers that a home told when it was asked, as if it had gossiped them.
func (e *Exchange) learn(home horde.NodeID, offers []horde.Offer) {
	now := e.now()
	e.index.mu.Lock()
	defer e.index.mu.Unlock()
	f := e.index.feeds[home.Tag()]
	if f == nil {
		return // its feed has not begun: the sync that begins it brings these too
	}
	for i := range offers {
		if !e.keeps(home, offers[i].ID.Home()) {
			continue // not its to tell
		}
		if _, err := e.index.put(f, &offers[i], now); err != nil {
			e.log.Warn("offer not indexed", "from", home, "err", err)
			return
		}
	}
}

func slotsOf(offers []horde.Offer) int {
	n := 0
	for i := range offers {
		n += offers[i].Open
	}
	return n
}

// ConfirmWaiting is Waiting, asked of the homes themselves: for refusals.
func (e *Exchange) ConfirmWaiting(ctx context.Context, user horde.UserID, kind horde.Kind, models ...string) int {
	return e.confirm(ctx, user, kind, models...)
}
