package ledger

import (
	"cmp"
	"slices"

	"hordenode/internal/horde"
)

// A Reader reads a Machine's state as it is on this node. What it returns are copies.
type Reader struct{ m *Machine }

// Reader returns the reads of m.
func (m *Machine) Reader() Reader { return Reader{m} }

// UserByKey returns the user that an API key belongs to.
func (r Reader) UserByKey(key horde.APIKey) (horde.User, bool) {
	return r.userBy(string(key), func(s *state) *table[digest, horde.UserID] { return s.keys })
}

// UserByLogin returns the user that registered with an OAuth id such as "g_1234".
func (r Reader) UserByLogin(oauth string) (horde.User, bool) {
	return r.userBy(oauth, func(s *state) *table[digest, horde.UserID] { return s.logins })
}

// UserByPasskey returns the service account that a proxy passkey belongs to.
func (r Reader) UserByPasskey(passkey string) (horde.User, bool) {
	return r.userBy(passkey, func(s *state) *table[digest, horde.UserID] { return s.passkeys })
}

func (r Reader) userBy(secret string, index func(*state) *table[digest, horde.UserID]) (horde.User, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	m := r.m.s.meta.get(unit{})
	if m == nil || secret == "" {
		return horde.User{}, false
	}
	if id := index(r.m.s).get(hashSecret(m.Salt, secret)); id != nil {
		return r.m.s.viewUser(*id)
	}
	return horde.User{}, false
}

// User returns a user; one that was wiped is not found.
func (r Reader) User(id horde.UserID) (horde.User, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	return r.m.s.viewUser(id)
}

func (s *state) viewUser(id horde.UserID) (horde.User, bool) {
	if u := s.user(id); u != nil {
		return u.view(id, len(s.workersOf(id))), true
	}
	return horde.User{}, false
}

// Users returns a page of all users but wiped ones, by "age" (oldest first) or, with any
// other sort, by kudos (richest first).
func (r Reader) Users(sort string, offset, limit int) []horde.User {
	if offset < 0 || limit <= 0 {
		return nil
	}
	type entry struct {
		id    horde.UserID
		kudos horde.Kudos
	}
	r.m.mu.RLock()
	list := make([]entry, 0, r.m.s.users.live)
	r.m.s.users.all(func(id horde.UserID, u *user) bool {
		if !u.Wiped {
			list = append(list, entry{id, u.Kudos})
		}
		return true
	})
	r.m.mu.RUnlock()

	slices.SortFunc(list, func(a, b entry) int {
		if c := cmp.Compare(b.kudos, a.kudos); c != 0 && sort != "age" {
			return c
		}
		return cmp.Compare(a.id, b.id)
	})
	list = list[min(offset, len(list)):]
	list = list[:min(limit, len(list))]
	page := make([]horde.User, 0, len(list))
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	for _, e := range list {
		if u, ok := r.m.s.viewUser(e.id); ok {
			page = append(page, u)
		}
	}
	return page
}

// Worker returns a worker.
func (r Reader) Worker(id horde.WorkerID) (horde.Worker, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	return r.m.s.viewWorker(id)
}

func (s *state) viewWorker(id horde.WorkerID) (horde.Worker, bool) {
	if w := s.worker(id); w != nil {
		return w.view(id), true
	}
	return horde.Worker{}, false
}

// WorkerByName returns the worker of exactly that name.
func (r Reader) WorkerByName(name string) (horde.Worker, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if id := r.m.s.names.get(name); id != nil {
		return r.m.s.viewWorker(*id)
	}
	return horde.Worker{}, false
}

// WorkersOf returns a user's workers, oldest first.
func (r Reader) WorkersOf(id horde.UserID) []horde.Worker {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	ids := r.m.s.workersOf(id)
	list := make([]horde.Worker, 0, len(ids))
	for _, w := range ids {
		if v, ok := r.m.s.viewWorker(w); ok {
			list = append(list, v)
		}
	}
	return list
}

// Modes returns the modes of the federation.
func (r Reader) Modes() horde.Modes {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if m := r.m.s.modes.get(unit{}); m != nil {
		return horde.Modes(*m)
	}
	return horde.Modes{}
}

// Members returns all members there ever were, active or not, by id.
func (r Reader) Members() []horde.Member {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	list := make([]horde.Member, 0, r.m.s.members.live)
	r.m.s.members.all(func(id horde.NodeID, m *member) bool {
		list = append(list, m.view(id))
		return true
	})
	slices.SortFunc(list, func(a, b horde.Member) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Member returns a member, active or not.
func (r Reader) Member(id horde.NodeID) (horde.Member, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if m := r.m.s.members.get(id); m != nil {
		return m.view(id), true
	}
	return horde.Member{}, false
}

// MemberByTag returns the member whose requests and jobs begin with tag.
func (r Reader) MemberByTag(tag horde.HomeTag) (horde.Member, bool) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if id := r.m.s.tags.get(tag); id != nil {
		return r.m.s.members.get(*id).view(*id), true
	}
	return horde.Member{}, false
}

// Held tells whether the request has an open hold record.
func (r Reader) Held(id horde.RequestID) bool {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	return r.m.s.holds.has(id)
}

// Origin returns how far a member's batches have come: a node that starts takes a larger
// boot and continues its durable outbox after item.
func (r Reader) Origin(id horde.NodeID) (boot, seq, item uint64) {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if o := r.m.s.origins.get(id); o != nil {
		return o.Boot, o.Seq, o.Item
	}
	return 0, 0, 0
}

// Config returns how the federation is configured.
func (r Reader) Config() Config {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	if m := r.m.s.meta.get(unit{}); m != nil {
		return m.Config
	}
	return Config{}
}

// Totals says where all kudos are.
func (r Reader) Totals() Totals {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	s := r.m.s
	t := Totals{
		Accounts: make(map[Account]horde.Kudos, accountEnd), Spendable: s.totals.Spendable, Escrow: s.totals.Escrow, Held: s.totals.Held,
		Users: s.users.live, Holds: s.holds.live,
	}
	s.accounts.all(func(a Account, k *horde.Kudos) bool {
		t.Accounts[a] = *k
		return true
	})
	t.Workers = s.names.live
	if seen := s.activity.get(unit{}); seen != nil {
		t.Settled, t.Moved = seen.Settled, seen.Moved
	}
	return t
}

// Head returns where this node is in the log.
func (r Reader) Head() Head { return r.m.Head() }

// Cluster returns the federation's id, zero before it is founded.
func (r Reader) Cluster() ClusterID { return r.m.Head().Cluster }
