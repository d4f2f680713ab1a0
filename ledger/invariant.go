package ledger

import (
	"errors"
	"fmt"

	"hordenode/internal/horde"
)

// CheckInvariants verifies what must hold between any two commands and returns all that
// does not: kudos sum to zero, no balance below its floor, what is held belongs to open
// requests, every index agrees with its rows and every
// statement is complete. It reads everything.
func (m *Machine) CheckInvariants() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.s.check()
}

func (s *state) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	held := make(map[horde.UserID]horde.Kudos)
	s.holds.all(func(id horde.RequestID, h *hold) bool {
		if !s.users.has(h.Payer) {
			wrong("request %v: there is no payer %d", id, h.Payer)
		}
		if h.Left < 0 {
			wrong("request %v: holds %v", id, h.Left)
		}
		held[h.Payer] += h.Left
		return true
	})
	var spendable, escrow, heldSum, accounts horde.Kudos
	s.users.all(func(id horde.UserID, u *user) bool {
		spendable += u.Kudos
		escrow += u.Escrow
		heldSum += u.Held
		if u.Held != held[id] {
			wrong("user %d: holds %v, requests hold %v", id, u.Held, held[id])
		}
		if floor := u.Class.Floor(); u.Kudos < floor && u.Kudos != 0 { // 0: never posted to
			wrong("user %d: balance %v is below the floor %v", id, u.Kudos, floor)
		}
		if u.Escrow < 0 {
			wrong("user %d: escrow is %v", id, u.Escrow)
		}
		for name, index := range map[string]struct {
			t *table[digest, horde.UserID]
			d digest
		}{"key": {s.keys, u.Key}, "login": {s.logins, u.Login}, "passkey": {s.passkeys, u.Passkey}} {
			if got := index.t.get(index.d); index.d != (digest{}) && (got == nil || *got != id) {
				wrong("user %d: %s is not indexed", id, name)
			}
		}
		return true
	})
	s.accounts.all(func(_ Account, k *horde.Kudos) bool { accounts += *k; return true })
	if sum := spendable + escrow + accounts; sum != 0 {
		wrong("all postings sum to %v", sum)
	}
	if t := s.totals; t.Spendable != spendable || t.Escrow != escrow || t.Held != heldSum {
		wrong("running totals are %+v, sums are %v, %v, %v", t, spendable, escrow, heldSum)
	}
	for name, t := range map[string]*table[digest, horde.UserID]{"key": s.keys, "login": s.logins, "passkey": s.passkeys} {
		t.all(func(d digest, id *horde.UserID) bool {
			if u := s.user(*id); u == nil || d != map[string]digest{"key": u.Key, "login": u.Login, "passkey": u.Passkey}[name] {
				wrong("%s %x: is not that of user %d", name, d[:4], *id)
			}
			return true
		})
	}
	owned := 0
	s.owned.all(func(id horde.UserID, list *[]horde.WorkerID) bool {
		for _, w := range *list {
			owned++
			if row := s.worker(w); row == nil || row.Owner != id {
				wrong("user %d: does not own worker %v", id, w)
			}
		}
		return true
	})
	s.names.all(func(name string, id *horde.WorkerID) bool {
		if w := s.worker(*id); w == nil || w.Name != name {
			wrong("worker %v: is not called %q", *id, name)
		}
		return true
	})
	living := 0
	s.workers.all(func(id horde.WorkerID, w *worker) bool {
		if w.Deleted == 0 {
			living++
			if !s.users.has(w.Owner) {
				wrong("worker %v: there is no owner %d", id, w.Owner)
			}
		}
		return true
	})
	if owned != living || s.names.live != living {
		wrong("%d workers, %d owned, %d named", living, owned, s.names.live)
	}
	s.members.all(func(id horde.NodeID, _ *member) bool {
		if got := s.tags.get(id.Tag()); got == nil || *got != id {
			wrong("member %s: its tag is not indexed", id)
		}
		return true
	})
	s.checkCommunity(wrong)
	s.checkModeration(wrong)
	return errors.Join(errs...)
}
