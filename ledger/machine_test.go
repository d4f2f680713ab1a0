package ledger

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"iter"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"hordenode/internal/horde"
)

func TestGenesis(t *testing.T) {
	w := newWorld(t)
	w.check()
	if w.Cluster() == (ClusterID{}) {
		t.Error("the cluster has no id")
	}
	anon, ok := w.UserByKey(horde.AnonymousKey)
	if !ok || anon.ID != horde.Anonymous || anon.Name != "Anonymous" || anon.Concurrency != 500 || !anon.PublicWorkers || anon.Class != horde.ClassAnonymous {
		t.Errorf("anonymous is %+v, %v", anon, ok)
	}
	if len(w.admin) != 22 {
		t.Errorf("the admin's key has %d characters, want 22", len(w.admin))
	}
	admin, ok := w.UserByKey(w.admin)
	if !ok || admin.ID != 1 || admin.Name != "admin" || !admin.Is(horde.RoleAdmin|horde.RoleModerator|horde.RoleTrusted) {
		t.Errorf("admin is %+v, %v", admin, ok)
	}
	m, ok := w.MemberByTag(w.id.Tag())
	if !ok || m.ID != w.id || !m.Active || !m.Voter || m.Name != "alpha" {
		t.Errorf("the founder is %+v, %v", m, ok)
	}
	_, err := w.Found(w.ctx, m, Config{})
	wantRC(t, err, horde.RCBadRequest)
}

func TestNothingBeforeGenesis(t *testing.T) {
	w := unfounded(t)
	if err := w.Transfer(w.ctx, Transfer{From: 1, To: 2, Amount: 1}); !errors.Is(err, ErrNotFounded) {
		t.Errorf("got %v, want %v", err, ErrNotFounded)
	}
}

func TestGenesisMustBeTheFoundersOwn(t *testing.T) {
	for name, founder := range map[string]horde.Member{
		"another id":  {ID: "node-b", PublicKey: pub("node-a")},
		"another key": {ID: "node-a", PublicKey: pub("node-b")},
		"no key":      {ID: "node-a"},
		"short key":   {ID: "node-a", PublicKey: []byte("short")},
	} {
		t.Run(name, func(t *testing.T) {
			w := unfounded(t)
			if _, err := w.Found(w.ctx, founder, Config{}); err == nil {
				t.Error("founded, want a refusal")
			}
			if h := w.m.Head(); h.Cluster != (ClusterID{}) {
				t.Errorf("there is a cluster %v", h.Cluster)
			}
			if n := len(w.m.stored()); n != 1 {
				t.Errorf("%d rows stored, want the head only", n)
			}
		})
	}
}

func TestBatchIsAppliedOnce(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", horde.Whole(100), 0), w.person("bob", horde.Whole(100), 0)
	give := func(amount horde.Kudos) Command {
		return Command{Data: encodeCommand(kindTransfer, newTransfer(Transfer{From: alice, To: bob, Amount: amount}))}
	}
	batch := func(boot, seq uint64, cmds ...Command) []byte {
		return w.encode(Batch{Cluster: w.Cluster(), Origin: w.id, Boot: boot, Seq: seq, Commands: cmds})
	}
	next := w.seq + 1
	durable := func(item uint64, amount horde.Kudos) Command { c := give(amount); c.Item = item; return c }
	tooMuch := give(horde.Whole(1000))
	for _, tt := range []struct {
		name string
		in   []byte
		err  error
		rcs  []horde.RC
		left horde.Kudos // of alice's 100
	}{
		{"first", batch(1, next, give(100), tooMuch), nil, []horde.RC{"", horde.RCKudosTransferNotEnough}, 9900},
		{"again", batch(1, next, give(100), tooMuch), nil, []horde.RC{"", horde.RCKudosTransferNotEnough}, 9900},
		{"an older one", batch(1, next-1, give(100)), ErrOutOfOrder, nil, 9900},
		{"a gap", batch(1, next+2, give(100)), ErrOutOfOrder, nil, 9900},
		{"the next", batch(1, next+1, give(100)), nil, []horde.RC{""}, 9800},
		{"a new boot not at 1", batch(3, 2, give(100)), ErrOutOfOrder, nil, 9800},
		{"a new boot", batch(3, 1, durable(7, 100), durable(7, 100), durable(9, 100)), nil, []horde.RC{"", "", ""}, 9600},
		{"the old boot", batch(1, next+2, give(100)), ErrFenced, nil, 9600},
		{"durable items are known over boots", batch(4, 1, durable(8, 100), durable(9, 100), durable(10, 100), give(100)), nil, []horde.RC{"", "", "", ""}, 9400},
		{"a refused durable item is done too", batch(4, 2, durable(11, horde.Whole(1000)), durable(11, 100)), nil, []horde.RC{horde.RCKudosTransferNotEnough, ""}, 9400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rs, err := w.answer(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("got error %v, want %v", err, tt.err)
			}
			if len(rs) != len(tt.rcs) {
				t.Fatalf("got %d results, want %d", len(rs), len(tt.rcs))
			}
			for i, r := range rs {
				if r.RC != tt.rcs[i] {
					t.Errorf("result %d is %q, want %q", i, r.RC, tt.rcs[i])
				}
			}
			if got := w.user(alice).Kudos; got != tt.left {
				t.Errorf("alice has %v, want %v", got, tt.left)
			}
			w.check()
		})
	}
	if boot, seq, item := w.Origin(w.id); boot != 4 || seq != 2 || item != 11 {
		t.Errorf("origin is at %d, %d, %d, want 4, 2, 11", boot, seq, item)
	}
}

func TestBatchOfStrangerIsRefused(t *testing.T) {
	w := newWorld(t)
	alice := w.person("alice", horde.Whole(100), 0)
	cmds := []Command{{Data: encodeCommand(kindAward, award{1, alice, 100})}}
	b := Batch{Cluster: w.Cluster(), Origin: w.id, Boot: 1, Seq: w.seq + 1, Commands: cmds}
	good := w.encode(b)
	sign := func(b Batch, key string) []byte {
		p, err := EncodeBatch(b, signer(testKey(key)))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	other := b
	other.Cluster[0]++
	stranger := b
	stranger.Origin = "node-z"
	changed := bytes.Clone(good)
	changed[len(changed)/2] ^= 1
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"signed by another", sign(b, "node-b"), ErrBadSig},
		{"for another federation", sign(other, "node-a"), ErrBadSig},
		{"unknown origin", sign(stranger, "node-z"), ErrNotMember},
		{"changed on the way", changed, ErrBadSig},
		{"not cbor", []byte("hello"), ErrMalformed},
		{"empty", nil, ErrMalformed},
		{"good", good, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := w.answer(tt.in); !errors.Is(err, tt.want) && !(tt.name == "changed on the way" && errors.Is(err, ErrMalformed)) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestMachineStops(t *testing.T) {
	for _, tt := range []struct {
		name string
		cmd  []byte
	}{
		{"unknown kind", encodeCommand(9999, struct{}{})},
		{"unknown kind without a body", []byte{0x82, 0x19, 0xff, 0xff}},
		{"newer version", []byte{0x83, 0x18, byte(kindFinish), 1, 0xa0}},
		{"newer version of an unknown kind", []byte{0x83, 0x19, 0xff, 0xff, 0x19, 1, 0, 0xa0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			alice := w.person("alice", 0, 0)
			w.m.Changes()
			before := w.index
			good := encodeCommand(kindAward, award{1, alice, 100})
			if _, err := w.answer(w.batch(good, tt.cmd)); err == nil {
				t.Fatal("applied, want an error")
			}
			if h := w.m.Head(); h.Failed == nil || h.Index != before {
				t.Errorf("head is %+v, want it failed at %d", h, before)
			}
			if _, err := w.answer(w.batch(good)); err == nil {
				t.Error("applied an entry after it failed")
			}
			if writes, index := w.m.Changes(); len(writes) != 0 || index != before || w.m.Dirty() != 0 {
				t.Errorf("%d changes up to %d, want none after %d", len(writes), index, before)
			}
		})
	}
}

func TestTickFindsDivergence(t *testing.T) {
	w := newWorld(t)
	for range 3 { // the first has nothing to compare, the others agree
		if err := w.Tick(w.ctx); err != nil {
			t.Fatalf("Tick: %v", err)
		}
	}
	h := w.m.Head()
	w.run(encodeCommand(kindTick, tick{Previous: h.TickIndex - 1, Hash: digest{1}})) // not the last tick: no matter
	h = w.m.Head()
	h.TickHash[0]++
	if _, err := w.do(w.ctx, encodeCommand(kindTick, tick{Previous: h.TickIndex, Hash: h.TickHash})); !errors.Is(err, ErrDiverged) {
		t.Errorf("got %v, want %v", err, ErrDiverged)
	}
}

func TestTickHashSeesAChangedBalance(t *testing.T) {
	a, b := newWorld(t), newWorld(t)
	for _, w := range []*world{a, b} {
		w.person("alice", horde.Whole(100), 0)
		if err := w.Tick(w.ctx); err != nil {
			t.Fatal(err)
		}
	}
	if a.m.Head().TickHash != b.m.Head().TickHash {
		t.Fatal("equal machines have different hashes")
	}
	b.m.s.users.edit(2).Kudos++ // a cosmic ray
	b.m.s.log.commit()
	for _, w := range []*world{a, b} {
		if err := w.Tick(w.ctx); err != nil {
			t.Fatal(err)
		}
	}
	h := a.m.Head()
	cmd := encodeCommand(kindTick, tick{Previous: h.TickIndex, Hash: h.TickHash})
	if _, err := a.do(a.ctx, cmd); err != nil {
		t.Errorf("the healthy machine: %v", err)
	}
	if _, err := b.do(b.ctx, cmd); !errors.Is(err, ErrDiverged) {
		t.Errorf("the other: got %v, want %v", err, ErrDiverged)
	}
}

func TestApplyGoesForward(t *testing.T) {
	w := newWorld(t)
	if _, err := w.m.Apply(w.index, w.now, [32]byte{}, nil); err == nil {
		t.Error("an index was applied twice")
	}
	if _, err := w.m.Apply(w.index+10, w.now-5000, [32]byte{}, nil); err != nil {
		t.Errorf("an empty entry: %v", err)
	}
	if got := w.m.Head().Time; !got.Equal(start) {
		t.Errorf("ledger time went back to %v", got)
	}
}

func TestChainDependsOnEverything(t *testing.T) {
	chain := func(index uint64, entries ...byte) [32]byte {
		m := NewMachine()
		for i, e := range entries {
			if _, err := m.Apply(index+uint64(i), 0, [32]byte{e}, nil); err != nil {
				t.Fatal(err)
			}
		}
		return m.Head().Chain
	}
	seen := map[[32]byte]string{}
	for name, c := range map[string][32]byte{
		"1,2": chain(1, 1, 2), "2,1": chain(1, 2, 1), "1": chain(1, 1), "later": chain(2, 1, 2), "1,3": chain(1, 1, 3),
	} {
		if other, ok := seen[c]; ok {
			t.Errorf("%s and %s have the same chain head", name, other)
		}
		seen[c] = name
	}
	if again := chain(1, 1, 2); seen[again] == "" {
		t.Error("the same entries have different chain heads")
	}
}

// disk is what a node stores of Changes.
type disk map[string][]byte

func (d disk) write(writes map[string][]byte) {
	for k, v := range writes {
		if v == nil {
			delete(d, k)
		} else {
			d[k] = v
		}
	}
}

func (d disk) all() iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		for k, v := range d {
			if !yield([]byte(k), v) {
				return
			}
		}
	}
}

func TestChangesEncodeAHotAccountOnce(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", horde.Whole(10_000), 0), w.person("bob", horde.Whole(100), 0)
	w.m.Changes()
	for range 1000 {
		if err := w.Transfer(w.ctx, Transfer{From: alice, To: bob, Amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	dirty := w.m.Dirty()
	writes, index := w.m.Changes()
	// alice, bob, the cooldown, the activity, the origin, its quota, the head; and the pages of
	// the two statements, all of which have turned
	const want = 7 + 2*ringPages
	if len(writes) != want || dirty != want || index != w.index {
		t.Errorf("%d writes, %d dirty, index %d; want %d, %d, %d", len(writes), dirty, index, want, want, w.index)
	}
	if w.m.Dirty() != 0 {
		t.Errorf("%d keys are dirty after Changes", w.m.Dirty())
	}
}

func TestLoadRestoresEverything(t *testing.T) {
	w := newWorld(t, Config{TrustThreshold: horde.Whole(50)})
	live := disk{}
	w.history(live)
	writes, index := w.m.Changes()
	live.write(writes)
	if stored := w.m.stored(); !maps.EqualFunc(live, stored, bytes.Equal) {
		t.Errorf("Changes wrote %d rows that add up to something else than the %d of the state", len(live), len(stored))
	}

	m := NewMachine()
	if err := m.Load(index, live.all()); err != nil {
		t.Fatalf("Load: %v", err)
	}
	if err := m.CheckInvariants(); err != nil {
		t.Errorf("invariants after Load: %v", err)
	}
	if got, want := m.Head(), w.m.Head(); got != want {
		t.Errorf("head is %+v, want %+v", got, want)
	}
	if m.Dirty() != 0 {
		t.Errorf("%d keys are dirty after Load", m.Dirty())
	}
	_, got := m.StateHash()
	_, want := w.m.StateHash()
	if got != want {
		t.Errorf("state hash is %x, want %x", got, want)
	}
	// Both go on alike, expiry included.
	again := *w
	again.m = m
	again.Client = NewClient(m, &again, w.rnd)
	for _, x := range []*world{w, &again} {
		x.pass(72 * time.Hour)
		if err := x.Tick(x.ctx); err != nil {
			t.Fatalf("Tick: %v", err)
		}
	}
	headNow, headWas := m.Head(), w.m.Head()
	headNow.Chain, headWas.Chain = [32]byte{}, [32]byte{} // the ticks differ: one that was just loaded knows no root of the accounts
	if got, want := headNow, headWas; got != want {
		t.Errorf("after a tick the head is %+v, want %+v", got, want)
	}
	if t := m.Reader().Totals(); t.Holds != 0 || t.Held != 0 {
		w.Errorf("%d holds of %v outlived their deadline", t.Holds, t.Held)
	}
}

// history does something of everything, flushing now and then.
func (w *world) history(d disk) {
	w.Helper()
	flush := func() { writes, _ := w.m.Changes(); d.write(writes) }
	alice := w.person("alice", horde.Whole(1000), 0)
	bob := w.person("bob", horde.Whole(1000), horde.RoleTrusted)
	image, text := w.worker(alice, horde.KindImage, "painter"), w.worker(bob, horde.KindText, "writer")
	flush()
	gone := w.worker(bob, horde.KindAlchemy, "brewer")
	if _, err := w.DeleteWorker(w.ctx, bob, gone); err != nil {
		w.Fatal(err)
	}
	if err := w.Transfer(w.ctx, Transfer{From: alice, To: bob, Amount: 500, Key: "k"}); err != nil {
		w.Fatal(err)
	}
	open := w.admit(horde.Admission{Payer: bob, Slots: 3, Tax: 300, Upfront: 5000})
	done := w.admit(horde.Admission{Payer: horde.Anonymous, Slots: 1, Tax: 100, Kind: horde.KindText})
	for i, s := range []horde.Settlement{
		{Request: open, Slot: 1, Worker: image, Debit: 1100, Credit: 1000, Things: 1 << 20},
		{Request: done, Worker: text, Debit: 500, Credit: 400, Things: 80},
	} {
		if err := w.settle(s); err != nil {
			w.Fatalf("settle %d: %v", i, err)
		}
	}
	flush()
	w.run(w.EncodeFinish(horde.Finish{Request: done}))
	w.run(w.EncodeUptime(horde.Uptime{Worker: image, Seconds: 601, Reward: 10_000}))
	w.run(w.EncodeAbort(horde.Abort{Request: open, Worker: text}))
	if _, err := w.RotateKey(w.ctx, alice); err != nil {
		w.Fatal(err)
	}
	if _, err := w.SetModes(w.ctx, ModesChange{Actor: 1, Raid: ptr(true)}); err != nil {
		w.Fatal(err)
	}
	if _, _, _, err := w.TestUser(w.ctx, TestUser{Name: "tester", OAuth: "t", Kudos: horde.Whole(7)}); err != nil {
		w.Fatal(err)
	}
	w.join("node-b", false)
	if err := w.Tick(w.ctx); err != nil {
		w.Fatal(err)
	}
	flush()
	if err := w.SuspectUser(w.ctx, alice, SuspicionCorruptPrompt); err != nil {
		w.Fatal(err)
	}
	w.check()
}

func TestLoadRefuses(t *testing.T) {
	w := newWorld(t)
	writes, index := w.m.Changes()
	before := w.m.Head()
	for _, tt := range []struct {
		name  string
		index uint64
		spoil func(disk)
	}{
		{"an unknown table", index, func(d disk) { d["zzz"] = []byte{0} }},
		{"an empty key", index, func(d disk) { d[""] = []byte{0} }},
		{"a short key", index, func(d disk) { d[string(rune(prefixUser))+"12"] = []byte{0xa0} }},
		{"a broken value", index, func(d disk) { d[string(w.m.s.users.key(nil, 1))] = []byte{0xff} }},
		{"a state newer than its label", index - 1, func(disk) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := disk(maps.Clone(writes))
			tt.spoil(d)
			if err := w.m.Load(tt.index, d.all()); err == nil {
				t.Error("loaded, want an error")
			}
			if w.m.Head() != before {
				t.Error("the state has changed")
			}
		})
	}
}

// What is deleted takes no memory once it is flushed.
func TestDeletedRowsAreForgotten(t *testing.T) {
	w := newWorld(t)
	payer := w.person("payer", horde.Whole(100), 0)
	for range 3 {
		w.run(w.EncodeFinish(horde.Finish{Request: w.admit(horde.Admission{Payer: payer})}))
	}
	if n := len(w.m.s.holds.rows); n != 3 {
		t.Errorf("%d rows wait for the flush, want 3", n)
	}
	writes, _ := w.m.Changes()
	deleted := 0
	for _, v := range writes {
		if v == nil {
			deleted++
		}
	}
	if n := len(w.m.s.holds.rows); n != 0 || deleted != 3 {
		t.Errorf("%d rows are left and %d were deleted, want 0 and 3", n, deleted)
	}
}

// Readers may read while the one writer applies, flushes and hashes.
func TestReadersRunBesideTheWriter(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice", horde.Whole(1000), 0), w.person("bob", horde.Whole(1000), 0)
	sum := w.user(alice).Kudos + w.user(bob).Kudos
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				total := horde.Kudos(0)
				for _, u := range w.Users("age", 2, 2) {
					total += u.Kudos
				}
				if total != sum {
					t.Errorf("alice and bob have %v, want %v", total, sum)
					return
				}
				w.Totals()
				w.m.Dirty()
				w.m.StateHash()
				if err := w.m.CheckInvariants(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 200 {
		wantRC(t, w.Transfer(w.ctx, Transfer{From: alice, To: bob, Amount: 1}), "")
		if i%10 == 0 {
			w.m.Changes()
			wantRC(t, w.Tick(w.ctx), "")
		}
		sum := w.user(alice).Kudos + w.user(bob).Kudos
		if sum != horde.Whole(2000) {
			t.Fatalf("alice and bob have %v", sum)
		}
	}
	close(done)
	readers.Wait()
}

func TestDecodeBatchShowsALog(t *testing.T) {
	w := newWorld(t)
	cmd := encodeCommand(kindTick, tick{})
	b, err := DecodeBatch(w.batch(cmd))
	if err != nil || b.Origin != w.id || b.Seq != w.seq || len(b.Commands) != 1 || !bytes.Equal(b.Commands[0].Data, cmd) {
		t.Errorf("got %+v, %v", b, err)
	}
	if _, err := EncodeBatch(Batch{Origin: w.id}, signer(w.key)); err == nil {
		t.Error("an empty batch was encoded")
	}
	if _, err := EncodeBatch(Batch{Origin: w.id, Commands: b.Commands}, func([]byte) []byte { return nil }); err == nil {
		t.Error("an unsigned batch was encoded")
	}
}

func TestFounding(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(rand.NewChaCha8([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	founder := horde.Member{ID: "first", Name: "first", PublicKey: pub}
	f, err := NewFounding(founder, Config{}, rand.NewChaCha8([32]byte{2}))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(f.Command, []byte(f.AdminKey)) {
		t.Error("the admin's key is in the command")
	}
	batch, err := EncodeBatch(Batch{Origin: founder.ID, Boot: 1, Seq: 1, Commands: []Command{{Data: f.Command}}},
		func(b []byte) []byte { return ed25519.Sign(key, b) })
	if err != nil {
		t.Fatal(err)
	}
	m := NewMachine()
	if _, err := m.Apply(1, 1000, [32]byte{}, [][]byte{batch}); err != nil {
		t.Fatal(err)
	}
	if got := m.Head().Cluster; got != f.Cluster {
		t.Errorf("the cluster is %s, want %s as foretold", got, f.Cluster)
	}
	if u, ok := m.Reader().UserByKey(f.AdminKey); !ok || !u.Is(horde.RoleAdmin) {
		t.Errorf("the admin's key opens %+v, %v", u, ok)
	}
	for _, s := range []string{"", "ab", f.Cluster.String() + "00", f.Cluster.String()[:63] + "x"} {
		if _, err := ParseClusterID(s); err == nil {
			t.Errorf("ParseClusterID(%q) accepts it", s)
		}
	}
	if got, err := ParseClusterID(f.Cluster.String()); err != nil || got != f.Cluster {
		t.Errorf("ParseClusterID = %v, %v", got, err)
	}
}
