package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hordenode/internal/horde"
)

// A model is the money of a federation in plain maps: what the Machine must agree with.
type model struct {
	balance, escrow, held map[horde.UserID]horde.Kudos
	trusted               map[horde.UserID]bool
	sent                  map[[2]horde.UserID]int64
	holds                 map[horde.RequestID]*modelHold
	rewarded              map[horde.WorkerID]int64
	keys                  map[horde.SharedKeyRef]*modelKey
}

type modelKey struct {
	owner      horde.UserID
	left, used horde.Kudos
}

// use takes a debit out of a key's budget.
func (m *model) use(id horde.SharedKeyRef, debit horde.Kudos) {
	switch k := m.keys[id]; {
	case k == nil || k.left == 0:
	case k.left == horde.Unlimited:
		k.used += debit
	default:
		k.used += debit
		k.left = max(0, k.left-debit)
	}
}

type modelHold struct {
	payer    horde.UserID
	left     horde.Kudos
	paid     map[int]bool
	slots    int
	deadline int64
	key      horde.SharedKeyRef
}

func (m *model) floor(u horde.UserID) horde.Kudos {
	if u == horde.Anonymous {
		return horde.Whole(-50)
	}
	return horde.Whole(25)
}

func (m *model) available(u horde.UserID) horde.Kudos {
	return m.balance[u] - m.floor(u) - m.held[u]
}

// move adds the amounts and then lifts whoever was posted to.
func (m *model) move(amounts map[horde.UserID]horde.Kudos, posted ...horde.UserID) {
	for u, a := range amounts {
		m.balance[u] += a
	}
	for _, u := range posted {
		m.balance[u] = max(m.balance[u], m.floor(u))
	}
}

func (m *model) transfer(from, to horde.UserID, amount horde.Kudos, now int64) horde.RC {
	at, sent := m.sent[[2]horde.UserID{to, from}]
	switch {
	case from == to:
		return horde.RCKudosTransferToSelf
	case sent && now-at < 60_000:
		return horde.RCTooFastKudosTransfers
	case amount < 0:
		return horde.RCNegativeKudosTransfer
	case amount == 0:
		return horde.RCInvalidKudosTransferAmount
	case m.available(from) < amount:
		return horde.RCKudosTransferNotEnough
	}
	m.move(map[horde.UserID]horde.Kudos{from: -amount, to: amount}, from, to)
	m.sent[[2]horde.UserID{from, to}] = now
	return ""
}

func (m *model) admit(id horde.RequestID, a horde.Admission, now int64) horde.RC {
	k := m.keys[a.SharedKey]
	switch {
	case k != nil && k.owner != a.Payer:
		return horde.RCBadRequest
	case k != nil && a.Upfront > 0 && k.left == 0:
		return horde.RCSharedKeyEmpty
	case k != nil && a.Upfront > 0 && k.left != horde.Unlimited && k.left < a.Upfront:
		return horde.RCSharedKeyInsufficientKudos
	case a.Upfront > 0 && m.available(a.Payer) < a.Upfront:
		return horde.RCKudosUpfront
	}
	m.use(a.SharedKey, a.Tax)
	h := &modelHold{key: a.SharedKey, payer: a.Payer, left: max(0, a.Upfront-a.Tax), slots: a.Slots, paid: map[int]bool{}, deadline: a.Deadline.UnixMilli()}
	m.holds[id] = h
	m.held[a.Payer] += h.left
	if a.Tax > 0 {
		m.move(map[horde.UserID]horde.Kudos{a.Payer: -a.Tax}, a.Payer)
	}
	return ""
}

func (m *model) settle(s horde.Settlement, owner horde.UserID) horde.RC {
	h := m.holds[s.Request]
	switch {
	case h == nil:
		return horde.RCRequestNotFound
	case s.Slot >= h.slots:
		return horde.RCBadRequest
	case h.paid[s.Slot]:
		return horde.RCDuplicateGen
	}
	h.paid[s.Slot] = true
	freed := min(h.left, s.Debit)
	h.left -= freed
	m.held[h.payer] -= freed
	m.use(h.key, s.Debit)
	spend := s.Credit
	if !m.trusted[owner] {
		spend = s.Credit / 2
		m.escrow[owner] += s.Credit - spend
	}
	var posted []horde.UserID
	if s.Debit > 0 {
		posted = append(posted, h.payer)
	}
	if spend > 0 {
		posted = append(posted, owner)
	}
	amounts := map[horde.UserID]horde.Kudos{h.payer: -s.Debit}
	amounts[owner] += spend
	m.move(amounts, posted...)
	return ""
}

// merge moves what from has above the floor, the escrow, the open requests and the keys.
func (m *model) merge(from, into horde.UserID) {
	if above := max(0, m.balance[from]-m.floor(from)); above > 0 {
		m.move(map[horde.UserID]horde.Kudos{from: -above, into: above}, from, into)
	}
	if e := m.escrow[from]; e > 0 {
		m.escrow[from] = 0
		if m.trusted[into] {
			m.move(map[horde.UserID]horde.Kudos{into: e}, into)
		} else {
			m.escrow[into] += e
		}
	}
	m.held[into] += m.held[from]
	m.held[from] = 0
	for _, h := range m.holds {
		if h.payer == from {
			h.payer = into
		}
	}
	for _, k := range m.keys {
		if k.owner == from {
			k.owner = into
		}
	}
}

// keyOwner is who pays for requests by a key; other if there is no key.
func (m *model) keyOwner(id horde.SharedKeyRef, other horde.UserID) horde.UserID {
	if k := m.keys[id]; k != nil {
		return k.owner
	}
	return other
}

func (m *model) finish(id horde.RequestID) {
	if h := m.holds[id]; h != nil {
		m.held[h.payer] -= h.left
		delete(m.holds, id)
	}
}

func (m *model) uptime(id horde.WorkerID, owner horde.UserID, reward horde.Kudos, now int64) {
	if at, ok := m.rewarded[id]; reward == 0 || ok && now-at < 600_000 {
		return
	}
	m.rewarded[id] = now
	if m.trusted[owner] {
		m.move(map[horde.UserID]horde.Kudos{owner: reward}, owner)
	} else {
		m.escrow[owner] += reward
	}
}

func (m *model) tick(now int64) {
	for id, h := range m.holds {
		if h.deadline <= now {
			m.finish(id)
		}
	}
}

// The Machine and the model agree on every balance and every refusal, over restarts from
// what was flushed and over repeated batches.
func TestMachineAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		m := &model{
			balance: map[horde.UserID]horde.Kudos{}, escrow: map[horde.UserID]horde.Kudos{}, held: map[horde.UserID]horde.Kudos{},
			trusted: map[horde.UserID]bool{}, sent: map[[2]horde.UserID]int64{},
			holds: map[horde.RequestID]*modelHold{}, rewarded: map[horde.WorkerID]int64{},
			keys: map[horde.SharedKeyRef]*modelKey{},
		}
		type workerOf struct {
			id    horde.WorkerID
			owner horde.UserID
		}
		var people []horde.UserID
		var workers []workerOf
		for i := range 4 {
			kudos := horde.Whole(int64(30 * i))
			role := horde.Roles(0)
			if i%2 == 1 {
				role = horde.RoleTrusted
			}
			id := w.person(fmt.Sprint("p", i), kudos, role)
			people = append(people, id)
			m.trusted[id] = role != 0
			if kudos > 0 {
				m.move(map[horde.UserID]horde.Kudos{id: kudos}, id)
			}
			workers = append(workers, workerOf{w.worker(id, horde.KindText, fmt.Sprint("w", i)), id})
		}
		keys := []horde.SharedKeyRef{{}}
		for i, left := range []horde.Kudos{0, 5000, horde.Unlimited} {
			made, err := w.CreateSharedKey(w.ctx, NewSharedKey{Owner: people[i], Kudos: left})
			if err != nil {
				rt.Fatal(err)
			}
			keys = append(keys, made.Ref)
			m.keys[made.Ref] = &modelKey{owner: people[i], left: left}
		}
		var requests []horde.RequestID
		store := disk{}
		amount := rapid.Int64Range(-100, 6000)
		price := rapid.Int64Range(0, 4000)
		person := rapid.Custom(func(t *rapid.T) horde.UserID { return rapid.SampledFrom(people).Draw(t, "person") }) // merges take some away
		payer := rapid.Custom(func(t *rapid.T) horde.UserID {
			return rapid.SampledFrom(append([]horde.UserID{horde.Anonymous}, people...)).Draw(t, "payer")
		})
		reversals := uint64(0)
		expect := func(what string, cmd []byte, want horde.RC) {
			before := w.m.content()
			p := w.batch(cmd)
			rs, err := w.answer(p)
			if err != nil || len(rs) != 1 || rs[0].RC != want {
				rt.Fatalf("%s: got %+v, %v, want %q", what, rs, err, want)
			}
			if want != "" && w.m.content() != before {
				rt.Fatalf("%s: a refusal left a trace", what)
			}
			after := w.m.content()
			if again, err := w.answer(p); err != nil || again[0].RC != want || w.m.content() != after {
				rt.Fatalf("%s: the repeated batch: %+v, %v", what, again, err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"transfer": func(rt *rapid.T) {
				tr := Transfer{From: person.Draw(rt, "from"), To: person.Draw(rt, "to"), Amount: horde.Kudos(amount.Draw(rt, "amount"))}
				expect("transfer", encodeCommand(kindTransfer, newTransfer(tr)), m.transfer(tr.From, tr.To, tr.Amount, w.now))
			},
			"transfer to a key": func(rt *rapid.T) {
				key := rapid.SampledFrom(keys[1:]).Draw(rt, "key")
				from, k := person.Draw(rt, "from"), horde.Kudos(amount.Draw(rt, "amount"))
				cmd := newTransfer(Transfer{From: from, Amount: k})
				cmd.SharedKey = key
				want := m.transfer(from, m.keys[key].owner, k, w.now)
				if want == "" && m.keys[key].left != horde.Unlimited {
					m.keys[key].left += k
				}
				expect("transfer to a key", encodeCommand(kindTransfer, cmd), want)
			},
			"award": func(rt *rapid.T) {
				to, k := person.Draw(rt, "to"), horde.Kudos(amount.Draw(rt, "amount"))
				if k != 0 {
					m.move(map[horde.UserID]horde.Kudos{to: k}, to)
				}
				expect("award", encodeCommand(kindAward, award{1, to, k}), "")
			},
			"admit": func(rt *rapid.T) {
				id := w.request()
				a := horde.Admission{
					Request: id, Payer: payer.Draw(rt, "payer"), Slots: rapid.IntRange(1, 3).Draw(rt, "slots"),
					Tax: horde.Kudos(price.Draw(rt, "tax")), Upfront: horde.Kudos(price.Draw(rt, "upfront")),
					Deadline: moment(w.now).Add(time.Duration(rapid.IntRange(1, 20).Draw(rt, "minutes")) * time.Minute),
				}
				if a.SharedKey = rapid.SampledFrom(keys).Draw(rt, "key"); rapid.Bool().Draw(rt, "by its owner") {
					a.Payer = m.keyOwner(a.SharedKey, a.Payer)
				}
				requests = append(requests, id)
				expect("admit", w.EncodeAdmission(a), m.admit(id, a, w.now))
			},
			"settle": func(rt *rapid.T) {
				if len(requests) == 0 {
					rt.Skip("no requests")
				}
				by := rapid.SampledFrom(workers).Draw(rt, "worker")
				s := horde.Settlement{
					Request: rapid.SampledFrom(requests).Draw(rt, "request"), Slot: rapid.IntRange(0, 3).Draw(rt, "slot"), Worker: by.id,
					Debit: horde.Kudos(price.Draw(rt, "debit")), Credit: horde.Kudos(price.Draw(rt, "credit")), Censored: rapid.Bool().Draw(rt, "censored"),
				}
				expect("settle", w.EncodeSettlement(s), m.settle(s, by.owner))
			},
			"finish": func(rt *rapid.T) {
				if len(requests) == 0 {
					rt.Skip("no requests")
				}
				id := rapid.SampledFrom(requests).Draw(rt, "request")
				m.finish(id)
				expect("finish", w.EncodeFinish(horde.Finish{Request: id}), "")
			},
			"uptime": func(rt *rapid.T) {
				by := rapid.SampledFrom(workers).Draw(rt, "worker")
				reward := horde.Kudos(price.Draw(rt, "reward"))
				m.uptime(by.id, by.owner, reward, w.now)
				expect("uptime", w.EncodeUptime(horde.Uptime{Worker: by.id, Seconds: 601, Reward: reward}), "")
			},
			"merge": func(rt *rapid.T) {
				from, into := person.Draw(rt, "from"), person.Draw(rt, "into")
				if len(people) < 3 {
					rt.Skip("too few are left")
				}
				cmd := encodeCommand(kindMergeUsers, mergeUsers{Actor: 1, From: from, Into: into})
				if from == into {
					expect("merge", cmd, horde.RCBadRequest)
					return
				}
				m.merge(from, into)
				people = slices.DeleteFunc(people, func(id horde.UserID) bool { return id == from })
				for i := range workers {
					if workers[i].owner == from {
						workers[i].owner = into
					}
				}
				expect("merge", cmd, "")
			},
			"reverse": func(rt *rapid.T) {
				a, b := person.Draw(rt, "a"), person.Draw(rt, "b")
				k := horde.Kudos(rapid.Int64Range(1, 6000).Draw(rt, "amount"))
				reversals++
				cmd := encodeCommand(kindReverse, reverse{Actor: 1, Of: Place{Index: reversals}, Booked: []Booked{{User: a, Amount: -k}, {User: b, Amount: k}}})
				m.move(map[horde.UserID]horde.Kudos{a: k}, a)
				m.move(map[horde.UserID]horde.Kudos{b: -k}, b) // what is below the floor is forgiven
				expect("reverse", cmd, "")
				expect("reverse again", cmd, horde.RCForbidden)
			},
			"tick": func(rt *rapid.T) {
				w.pass(time.Duration(rapid.IntRange(0, 700).Draw(rt, "seconds")) * time.Second)
				m.tick(w.now)
				if err := w.Tick(w.ctx); err != nil {
					rt.Fatal(err)
				}
			},
			"flush": func(*rapid.T) {
				writes, _ := w.m.Changes()
				store.write(writes)
			},
			"restart": func(rt *rapid.T) {
				writes, index := w.m.Changes()
				store.write(writes)
				_, want := w.m.StateHash()
				fresh := NewMachine()
				if err := fresh.Load(index, store.all()); err != nil {
					rt.Fatal(err)
				}
				if _, got := fresh.StateHash(); got != want {
					rt.Fatalf("after a restart the state hash is %x, want %x", got, want)
				}
				w.m = fresh
				w.Client = NewClient(fresh, w, w.rnd)
			},
			"": func(rt *rapid.T) {
				if err := w.m.CheckInvariants(); err != nil {
					rt.Fatal(err)
				}
				for _, id := range append([]horde.UserID{horde.Anonymous}, people...) {
					u := w.user(id)
					if u.Kudos != m.balance[id] || u.Escrow != m.escrow[id] || u.Held != m.held[id] {
						rt.Fatalf("user %d has %v, %v, %v; want %v, %v, %v", id, u.Kudos, u.Escrow, u.Held, m.balance[id], m.escrow[id], m.held[id])
					}
				}
				for id, want := range m.keys {
					if got, _ := w.SharedKeyAt(id); got.Kudos != want.left || got.Utilized != want.used {
						rt.Fatalf("shared key %v: %v left, %v used; want %v, %v", id, got.Kudos, got.Utilized, want.left, want.used)
					}
				}
				for _, id := range requests {
					if got, want := w.Held(id), m.holds[id] != nil; got != want {
						rt.Fatalf("request %v: held %v, want %v", id, got, want)
					}
				}
			},
		})
	})
}

// anyCommand makes commands of every kind with arguments that collide often: most are
// refused, and some are nonsense.
func anyCommand(home horde.HomeTag) *rapid.Generator[[]byte] {
	user := rapid.Custom(func(t *rapid.T) horde.UserID { return horde.UserID(rapid.IntRange(0, 6).Draw(t, "user")) })
	kudos := rapid.Custom(func(t *rapid.T) horde.Kudos {
		return horde.Kudos(rapid.OneOf(rapid.Int64Range(-2000, 20_000), rapid.SampledFrom([]int64{0, int64(maxAmount), -int64(maxAmount), 1 << 62, -1 << 63})).Draw(t, "kudos"))
	})
	price := rapid.OneOf(rapid.Just(horde.Kudos(0)), rapid.SampledFrom([]horde.Kudos{1, 500}), kudos)
	secret := rapid.Custom(func(t *rapid.T) digest { return digest{byte(rapid.IntRange(0, 20).Draw(t, "secret"))} })
	worker := rapid.Custom(func(t *rapid.T) horde.WorkerID {
		return horde.WorkerID{UUID: horde.UUID{byte(rapid.IntRange(0, 5).Draw(t, "worker"))}}
	})
	request := rapid.Custom(func(t *rapid.T) horde.RequestID {
		u := horde.UUID{15: byte(rapid.IntRange(0, 5).Draw(t, "request"))}
		copy(u[:], home[:])
		return horde.RequestID{UUID: u}
	})
	id := rapid.Custom(func(t *rapid.T) horde.UUID { return horde.UUID{byte(rapid.IntRange(0, 3).Draw(t, "id"))} })
	name := rapid.SampledFrom([]string{"", "a", "b", "c", "d"})
	kind := rapid.Custom(func(t *rapid.T) horde.Kind { return horde.Kind(rapid.IntRange(0, 3).Draw(t, "kind")) })
	flag := rapid.Ptr(rapid.Bool(), true)
	return rapid.Custom(func(t *rapid.T) []byte {
		switch n := rapid.IntRange(0, 42).Draw(t, "command"); n {
		case 0:
			return encodeCommand(kindCreateUser, createUser{
				Name: name.Draw(t, "name"), Class: horde.Class(rapid.IntRange(0, 3).Draw(t, "class")), Key: secret.Draw(t, "key"),
				Login: secret.Draw(t, "login"), Roles: horde.Roles(rapid.Uint16().Draw(t, "roles")), Kudos: kudos.Draw(t, "kudos"),
			})
		case 1:
			return encodeCommand(kindRotateKey, rotateKey{user.Draw(t, "user"), secret.Draw(t, "key")})
		case 2:
			return encodeCommand(kindTestUser, testUser{
				Name: name.Draw(t, "name"), Login: secret.Draw(t, "login"), Key: secret.Draw(t, "key"), Kudos: kudos.Draw(t, "kudos"),
				Trusted: rapid.Bool().Draw(t, "trusted"), Moderator: rapid.Bool().Draw(t, "moderator"),
			})
		case 3, 4:
			return encodeCommand(kindUpdateUser, updateUser{
				Actor: user.Draw(t, "actor"), Target: user.Draw(t, "target"),
				Kudos: rapid.Ptr(kudos, true).Draw(t, "kudos"), Monthly: rapid.Ptr(kudos, true).Draw(t, "monthly"),
				Moderator: flag.Draw(t, "moderator"), Trusted: flag.Draw(t, "trusted"), Flagged: flag.Draw(t, "flagged"),
				Service: flag.Draw(t, "service"), Education: flag.Draw(t, "education"), ResetSuspicion: rapid.Bool().Draw(t, "reset"),
				Name: rapid.Ptr(name, true).Draw(t, "name"), Passkey: secret.Draw(t, "passkey"),
			})
		case 5:
			return encodeCommand(kindDeleteUser, deleteUser{Actor: user.Draw(t, "actor"), Target: user.Draw(t, "target")})
		case 6:
			return encodeCommand(kindSuspect, suspect{Suspicion(rapid.IntRange(0, 20).Draw(t, "why")), worker.Draw(t, "worker"), user.Draw(t, "user")})
		case 7, 8:
			return encodeCommand(kindTransfer, transfer{From: user.Draw(t, "from"), To: user.Draw(t, "to"), Amount: kudos.Draw(t, "amount"), Key: secret.Draw(t, "key"), SharedKey: horde.SharedKeyRef{UUID: id.Draw(t, "shared key")}})
		case 9:
			return encodeCommand(kindAward, award{user.Draw(t, "actor"), user.Draw(t, "to"), kudos.Draw(t, "amount")})
		case 10, 11:
			return encodeCommand(kindAdmission, admission{
				Request: request.Draw(t, "request"), Kind: kind.Draw(t, "kind"), Payer: user.Draw(t, "payer"), Slots: rapid.IntRange(0, 3).Draw(t, "slots"),
				Tax: price.Draw(t, "tax"), Upfront: price.Draw(t, "upfront"), Deadline: start.UnixMilli() + rapid.Int64Range(-1, 10_000_000).Draw(t, "deadline"),
				SharedKey: horde.SharedKeyRef{UUID: id.Draw(t, "shared key")}, Style: horde.StyleID{UUID: id.Draw(t, "style")},
				Collection: horde.StyleID{UUID: id.Draw(t, "collection")},
			})
		case 12, 13:
			return encodeCommand(kindSettlement, horde.Settlement{
				Request: request.Draw(t, "request"), Slot: rapid.IntRange(-1, 3).Draw(t, "slot"), Worker: worker.Draw(t, "worker"),
				Debit: kudos.Draw(t, "debit"), Credit: kudos.Draw(t, "credit"), Things: rapid.Int64Range(-1, 1<<41).Draw(t, "things"),
			})
		case 14:
			return encodeCommand(kindFinish, horde.Finish{Request: request.Draw(t, "request")})
		case 15:
			return encodeCommand(kindAbort, horde.Abort{Request: request.Draw(t, "request"), Worker: worker.Draw(t, "worker")})
		case 16:
			return encodeCommand(kindUptime, horde.Uptime{Worker: worker.Draw(t, "worker"), Seconds: rapid.Int64Range(-1, 1000).Draw(t, "seconds"), Reward: kudos.Draw(t, "reward")})
		case 17:
			return encodeCommand(kindRegister, registerWorker{worker.Draw(t, "worker"), user.Draw(t, "owner"), kind.Draw(t, "kind"), name.Draw(t, "name")})
		case 41, 42:
			return adminCommand(t, user, kudos, worker)
		case 39, 40:
			return encodeCommand(kindUpdateWorker, updateWorker{Actor: 1, Worker: worker.Draw(t, "worker"), Team: ptr(horde.TeamID{UUID: id.Draw(t, "team")})})
		case 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38:
			return communityCommand(t, n-19, user, kudos, id, worker)
		default:
			if rapid.Bool().Draw(t, "delete") {
				return encodeCommand(kindDeleteWorker, deleteWorker{Actor: user.Draw(t, "actor"), Worker: worker.Draw(t, "worker")})
			}
			return encodeCommand(kindUpdateWorker, updateWorker{
				Actor: user.Draw(t, "actor"), Worker: worker.Draw(t, "worker"), Maintenance: flag.Draw(t, "maintenance"),
				Paused: flag.Draw(t, "paused"), Name: rapid.Ptr(name, true).Draw(t, "name"),
				Team: rapid.Ptr(rapid.Map(id, func(u horde.UUID) horde.TeamID { return horde.TeamID{UUID: u} }), true).Draw(t, "team"),
			})
		}
	})
}

// Any history of commands keeps the invariants; what is refused leaves no trace; and the
// state depends on the commands and their times alone, not on how they were packed into
// batches and entries, nor on when the state was flushed or loaded.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, Config{TrustThreshold: 1000})
		genesis := w.m.stored()
		genesisIndex := w.index
		type moment struct {
			now  int64
			cmds [][]byte
		}
		history := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) moment {
			cmds := rapid.SliceOfN(anyCommand(w.id.Tag()), 1, 12).Draw(t, "commands")
			if rapid.Bool().Draw(t, "tick") {
				cmds = append(cmds, encodeCommand(kindTick, tick{}))
			}
			return moment{rapid.Int64Range(0, 400*24*3_600_000).Draw(t, "pass"), cmds}
		}), 1, 12).Draw(rt, "history")

		// One command per batch and entry, checked after each.
		boot := w.seq
		now := w.now
		for _, at := range history {
			w.now += at.now / 64
			for _, cmd := range at.cmds {
				before := w.m.content()
				rs, err := w.answer(w.batch(cmd))
				if err != nil {
					rt.Fatalf("command %x: %v", cmd, err)
				}
				if rs[0].RC != "" && w.m.content() != before {
					rt.Fatalf("command %x: the refusal %s left a trace", cmd, rs[0].RC)
				}
				if err := w.m.CheckInvariants(); err != nil {
					rt.Fatalf("command %x: %v", cmd, err)
				}
			}
		}

		// The same, packed at random, with flushes and restarts between.
		o := *w
		o.m, o.seq, o.now, o.index = NewMachine(), boot, now, genesisIndex
		o.Client = NewClient(o.m, &o, o.rnd)
		store := disk(maps.Clone(genesis))
		if err := o.m.Load(genesisIndex, store.all()); err != nil {
			rt.Fatal(err)
		}
		var log [][][]byte // entries, for a replay
		var stamps []int64
		for _, at := range history {
			o.now += at.now / 64
			var proposals [][]byte
			for cmds := at.cmds; len(cmds) > 0; {
				n := rapid.IntRange(1, len(cmds)).Draw(rt, "batch")
				proposals = append(proposals, o.batch(cmds[:n]...))
				cmds = cmds[n:]
			}
			for len(proposals) > 0 {
				n := rapid.IntRange(1, len(proposals)).Draw(rt, "entry")
				if _, err := o.apply(proposals[:n]...); err != nil {
					rt.Fatal(err)
				}
				log, stamps = append(log, proposals[:n]), append(stamps, o.now)
				proposals = proposals[n:]
			}
			switch rapid.IntRange(0, 2).Draw(rt, "then") {
			case 1:
				writes, _ := o.m.Changes()
				store.write(writes)
			case 2:
				writes, index := o.m.Changes()
				store.write(writes)
				if err := o.m.Load(index, store.all()); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if o.m.content() != w.m.content() {
			rt.Fatal("packed otherwise, the same commands lead to another state")
		}
		if got, want := *o.m.s.quotas.get(o.id), *w.m.s.quotas.get(w.id); got != want {
			rt.Fatalf("packed otherwise, the quota is %+v, want %+v", got, want)
		}

		// A replay of the very same log ends at the very same bytes.
		r := NewMachine()
		if err := r.Load(genesisIndex, disk(genesis).all()); err != nil {
			rt.Fatal(err)
		}
		again := o
		again.m, again.index = r, genesisIndex
		for i, proposals := range log {
			again.now = stamps[i]
			if _, err := again.apply(proposals...); err != nil {
				rt.Fatal(err)
			}
		}
		if r.Head() != o.m.Head() || !maps.EqualFunc(r.stored(), o.m.stored(), bytes.Equal) {
			rt.Fatal("a replay ends elsewhere")
		}
	})
}

func TestExpiryIsInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var e expiry[int]
		times := rapid.SliceOf(rapid.Int64Range(0, 50)).Draw(rt, "times")
		for i, at := range times {
			e.push(at, i)
		}
		now := rapid.Int64Range(0, 50).Draw(rt, "now")
		var got, want []int64
		for i, ok := e.due(now); ok; i, ok = e.due(now) {
			got = append(got, times[i])
		}
		for _, at := range times {
			if at <= now {
				want = append(want, at)
			}
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			rt.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestRollbackRestoresRows(t *testing.T) {
	s := newState()
	s.users.put(1, user{Name: "kept"})
	s.users.put(2, user{Name: "deleted"})
	s.log.commit()
	before := s.hash()
	s.users.edit(1).Name = "changed"
	s.users.edit(1).Name = "changed again"
	s.users.remove(2)
	s.users.put(2, user{Name: "other"})
	s.users.put(3, user{Name: "new"})
	s.log.rollback()
	if s.users.live != 2 || s.users.get(1).Name != "kept" || s.users.get(2).Name != "deleted" || s.users.has(3) {
		t.Errorf("after a rollback: %d users, %+v, %+v, %v", s.users.live, s.users.get(1), s.users.get(2), s.users.get(3))
	}
	if s.hash() != before {
		t.Error("after a rollback the hash is another")
	}
}

func TestUnbalancedPostingsStopTheNode(t *testing.T) {
	w := newWorld(t)
	tx := tx{state: w.m.s}
	if err := tx.post(spendable(1, actionNone, 5), system(AccountAward, -4)); !errors.Is(err, errUnbalanced) {
		t.Errorf("got %v, want %v", err, errUnbalanced)
	}
	if err := tx.post(spendable(99, actionNone, 5), system(AccountAward, -5)); !errors.Is(err, errNoAccount) {
		t.Errorf("got %v, want %v", err, errNoAccount)
	}
}
