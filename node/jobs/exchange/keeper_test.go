package exchange

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
)

// Seeds of the simulation found these (node/jobs/sim).

func (f *federation) standin(of string, s horde.Standin) {
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	if f.ledger.standins == nil {
		f.ledger.standins = map[horde.NodeID]horde.Standin{}
	}
	f.ledger.standins[horde.NodeID(of)] = s
}

// What a home accepted while it was cut off, and taken over, is found before it is handed over,
// and is not missing while the home cannot be asked.
func TestRequestOfASupersededHomeIsNotMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c")
		settle(time.Second)
		id := f.nodes["a"].ask(alice)
		f.standin("a", horde.Standin{Backup: "b", Successor: "b", Superseded: true})
		if st, err := f.nodes["c"].Status(f.ctx, id, false); err != nil || st.Waiting != 1 {
			t.Errorf("Status = %+v, %v, want that of the home", st, err)
		}
		f.nodes["a"].stop()
		if _, err := f.nodes["c"].Status(f.ctx, id, false); !errors.Is(err, horde.RCUnavailable) {
			t.Errorf("Status while the home is away = %v, want %v", err, horde.RCUnavailable)
		}
		f.ledger.mu.Lock()
		f.ledger.members[0].Active = false
		f.ledger.mu.Unlock()
		if _, err := f.nodes["c"].Status(f.ctx, id, false); !errors.Is(err, horde.RCRequestNotFound) {
			t.Errorf("Status when the home has left = %v, want %v", err, horde.RCRequestNotFound)
		}
	})
}

// A second takeover leaves what the first successor has where it is.
func TestEarlierSuccessorsKeepWhatTheyHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c", "d")
		settle(time.Second)
		id := idOf("a", 1)
		f.nodes["b"].home.put(horde.Offer{ID: id, Rev: 1 << 28, Open: 1, Payer: alice, Shape: textOffer("a", 1).Shape})
		f.standin("a", horde.Standin{Backup: "c", Successor: "c", Earlier: []horde.NodeID{"b"}})
		if st, err := f.nodes["d"].Status(f.ctx, id, false); err != nil || st.Waiting != 1 {
			t.Errorf("Status = %+v, %v, want that of the first successor", st, err)
		}
		data, err := encode(batch{Boot: f.nodes["b"].boot.Load(), Seq: 900, Offers: []horde.Offer{{ID: id, Rev: 1 << 28, Open: 1, Shape: textOffer("a", 1).Shape}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.nodes["d"].ValidateText("b", data); got != Accept {
			t.Errorf("its offer: %v, want %v", got, Accept)
		}
		// One that was superseded and does not know it yet is no adversary.
		f.standin("b", horde.Standin{Successor: "d", Superseded: true})
		if got := f.nodes["d"].ValidateText("b", data); got != Ignore {
			t.Errorf("the offer of one that was superseded: %v, want %v", got, Ignore)
		}
	})
}

// An id is missing only if the newest state of the ledger says so, too.
func TestMissingIDsAreConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c")
		settle(time.Second)
		id := idOf("a", 1)
		f.nodes["b"].home.put(horde.Offer{ID: id, Rev: 1 << 28, Open: 1, Payer: alice, Shape: textOffer("a", 1).Shape})
		c := f.nodes["c"].Exchange
		c.ledger = &lateLedger{Ledger: c.ledger, learn: func() { f.standin("a", horde.Standin{Backup: "b", Successor: "b"}) }}
		if st, err := c.Status(f.ctx, id, false); err != nil || st.Waiting != 1 {
			t.Errorf("Status = %+v, %v, want that of a successor that c had not heard of", st, err)
		}
		f.ledger.mu.Lock()
		f.ledger.syncErr = errAway
		f.ledger.mu.Unlock()
		if _, err := c.Status(f.ctx, idOf("a", 2), false); !errors.Is(err, horde.RCUnavailable) {
			t.Errorf("Status without a leader = %v, want %v", err, horde.RCUnavailable)
		}
	})
}

// A lateLedger learns something when it is synced.
type lateLedger struct {
	Ledger
	once  sync.Once
	learn func()
}

func (l *lateLedger) Sync(ctx context.Context) error {
	l.once.Do(l.learn)
	return l.Ledger.Sync(ctx)
}

// A node tells its own offers only, though it sees the same request at another node.
func TestNobodyTellsAnothersOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b", "c")
		settle(time.Second)
		a, c := f.nodes["a"], f.nodes["c"]
		id := a.ask(alice)
		within(t, time.Second, "c sees the offer", func() bool { return c.sees(id) })
		f.standin("a", horde.Standin{Backup: "b", Successor: "b"})
		handed := *a.home.requests[id]
		handed.Rev = 1 << 28
		f.nodes["b"].home.put(handed)
		a.home.end(id)
		within(t, 17*time.Second, "the offer is b's, and nobody else's", func() bool {
			return a.offersOf("b") == 1 && c.offersOf("b") == 1 && c.offersOf("a") == 0 && a.offersOf("a") == 0
		})
		within(t, 2*time.Second, "a tells it no longer", func() bool { return !a.announcer.knows(int(horde.KindText), id) })
	})
}
