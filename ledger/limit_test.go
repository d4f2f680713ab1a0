package ledger

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// A member that signs nonsense is refused; nobody stops.
func TestMalformedCommandsAreRefused(t *testing.T) {
	deep := strings.Repeat("\x81", 20)
	for _, tt := range []struct {
		name string
		cmd  []byte
	}{
		{"nothing", nil},
		{"no envelope", []byte{1, 2, 3}},
		{"an envelope of one", []byte{0x81, 3, 0xa0}},
		{"an envelope of four", []byte{0x84, 3, 0, 0xa0, 0}},
		{"a kind that is text", []byte{0x82, 0x61, 'x', 0xa0}},
		{"a kind of 32 bits", []byte{0x82, 0x1a, 0, 0, 0, 3, 0xa0}},
		{"a kind in a longer form", []byte{0x82, 0x18, 3, 0xa0}},
		{"a negative kind", []byte{0x82, 0x22, 0xa0}},
		{"version 0 in the envelope with a version", []byte{0x83, 3, 0, 0xa0}},
		{"a version that is text", []byte{0x83, 3, 0x61, 'x'}},
		{"body of another shape", encodeCommand(kindTransfer, "text")},
		{"a field of another type", encodeCommand(kindTransfer, map[int]string{1: "x"})},
		{"a field out of range", encodeCommand(kindTransfer, map[int]uint64{1: 1 << 63})},
		{"an id that is too short", encodeCommand(kindFinish, map[int][]byte{1: {1, 2}})},
		{"half a body", encodeCommand(kindTransfer, transfer{From: 1, To: 2, Amount: 3})[:4]},
		{"bytes after the body", append(encodeCommand(kindFinish, horde.Finish{}), 0)},
		{"no body", []byte{0x82, 3, 0xff}},
		{"nested too deeply", append([]byte{0x82, 20, 0xa1, 9}, deep+"\x00"...)},
		{"text that is not UTF-8", encodeCommand(kindPutFilter, map[int]any{2: rawText("\xff")})},
		{"indefinite length", []byte{0x82, 20, 0xbf, 0xff}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			alice := w.person("alice", 0, 0)
			good := encodeCommand(kindAward, award{1, alice, horde.Whole(50)})
			w.m.Changes()
			rs, err := w.answer(w.batch(tt.cmd, good))
			if err != nil {
				t.Fatalf("the node stopped: %v", err)
			}
			if want := (Result{RC: horde.RCBadRequest, Msg: "The command cannot be read."}); fmt.Sprint(rs[0]) != fmt.Sprint(want) {
				t.Errorf("got %+v, want %+v", rs[0], want)
			}
			if rs[1].RC != "" || w.user(alice).Kudos != horde.Whole(50) {
				t.Errorf("the command after it: %+v", rs[1])
			}
			w.try(t, horde.RCBadRequest, func() error { return one(w.do(w.ctx, tt.cmd)) })
			if err := Readable(w.batch(tt.cmd)); err != nil {
				t.Errorf("Readable: %v", err)
			}
		})
	}
}

// rawText is a text string of any bytes.
type rawText string

func (r rawText) MarshalCBOR() ([]byte, error) {
	return append([]byte{0x60 | byte(len(r))}, r...), nil
}

// A malformed durable command counts as done, or its outbox would be stuck for ever.
func TestMalformedDurableCommandIsDone(t *testing.T) {
	w := newWorld(t)
	b := Batch{Cluster: w.Cluster(), Origin: w.id, Boot: w.boot, Seq: w.seq + 1, Commands: []Command{{Item: 7, Data: []byte{1, 2, 3}}}}
	if rs, err := w.answer(w.encode(b)); err != nil || rs[0].RC != horde.RCBadRequest || rs[0].Again {
		t.Errorf("got %+v, %v", rs, err)
	}
	if _, _, item := w.Origin(w.id); item != 7 {
		t.Errorf("the last item is %d, want 7", item)
	}
}

func TestReadable(t *testing.T) {
	w := newWorld(t)
	good := encodeCommand(kindFinish, horde.Finish{})
	for _, tt := range []struct {
		name string
		cmd  []byte
		want error
	}{
		{"known", good, nil},
		{"unknown kind", encodeCommand(9999, struct{}{}), errCommand},
		{"newer version", []byte{0x83, 3, 1, 0xa0}, errCommand},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := Readable(w.batch(good, tt.cmd)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if err := Readable([]byte("no batch")); err != nil {
		t.Errorf("no batch: %v", err)
	}
}

func TestOnlyVotersTick(t *testing.T) {
	w := newWorld(t)
	w.join("node-b", false)
	b := w.as("node-b")
	must(0, w.Tick(w.ctx))(t)
	h := w.m.Head()
	wrong := encodeCommand(kindTick, tick{Previous: h.TickIndex, Hash: digest{1}})
	w.try(t, horde.RCForbidden, func() error { return one(b.do(b.ctx, wrong)) })
	if got := w.m.Head(); got.Failed != nil || got.TickIndex != h.TickIndex {
		t.Errorf("head is %+v", got)
	}
	wantRC(t, w.UpdateMember(w.ctx, MemberChange{ID: "node-b", Voter: ptr(true)}), "")
	must(0, b.Tick(b.ctx))(t)
	// A member that removes itself does not tick in the same batch.
	rs, err := b.answer(b.batch(encodeCommand(kindRemoveMember, removeMember{"node-b"}), encodeCommand(kindTick, tick{})))
	if err != nil || rs[0].RC != "" || rs[1].RC != horde.RCForbidden {
		t.Errorf("got %+v, %v", rs, err)
	}
}

func TestCommandRate(t *testing.T) {
	w := newWorld(t, Config{CommandRate: 10})
	alice := w.person("alice", 0, 0)
	cmd := encodeCommand(kindAward, award{1, alice, horde.Whole(1)})
	many := func(n int) [][]byte {
		cmds := make([][]byte, n)
		for i := range cmds {
			cmds[i] = cmd
		}
		return cmds
	}
	refused := func(rs []Result) (n int) {
		for _, r := range rs {
			if r.RC == horde.RCUnavailable && !r.Again {
				n++
			} else if r.RC != "" {
				t.Errorf("got %+v", r)
			}
		}
		return n
	}
	w.pass(time.Minute) // the bucket is full: 40
	rs, err := w.answer(w.batch(many(50)...))
	if n := refused(rs); err != nil || n != 10 {
		t.Errorf("of 50, %d were refused, %v; want 10", n, err)
	}
	w.pass(500 * time.Millisecond)
	if rs, err = w.answer(w.batch(many(8)...)); err != nil || refused(rs) != 3 {
		t.Errorf("after half a second, of 8 these: %+v, %v; want 3 refused", rs, err)
	}
	w.pass(time.Second) // this node's own commands are used up
	w.join("node-b", false)
	b := w.as("node-b")
	b.now = w.now
	if rs, err := b.answer(b.batch(cmd)); err != nil || refused(rs) != 0 {
		t.Errorf("another member: %+v, %v", rs, err)
	}
	if got := w.user(alice).Kudos; got != horde.Whole(40+5+1+24) { // from 0 to the floor of 25 with the first
		t.Errorf("alice has %v", got)
	}
	w.check()
}

// Durable commands over the rate are kept for later, in order.
func TestCommandRateHoldsTheOutboxBack(t *testing.T) {
	w := newWorld(t, Config{CommandRate: 1})
	alice := w.person("alice", horde.Whole(100), 0)
	w.pass(time.Minute) // 4 commands
	send := func(items ...uint64) []Result {
		t.Helper()
		w.seq++
		b := Batch{Cluster: w.Cluster(), Origin: w.id, Boot: w.boot, Seq: w.seq}
		for _, n := range items {
			b.Commands = append(b.Commands, Command{Item: n, Data: encodeCommand(kindAward, award{1, alice, horde.Whole(1)})})
		}
		rs, err := w.answer(w.encode(b))
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	rs := send(1, 2, 3, 4, 5, 6)
	for i, r := range rs {
		if late := i >= 4; r.Again != late || late != (r.RC == horde.RCUnavailable) {
			t.Errorf("item %d: %+v", i+1, r)
		}
	}
	if _, _, item := w.Origin(w.id); item != 4 {
		t.Errorf("the last item is %d, want 4", item)
	}
	w.pass(2 * time.Second)
	if rs := send(5, 6); rs[0].RC != "" || rs[1].RC != "" {
		t.Errorf("later: %+v", rs)
	}
	if got := w.user(alice).Kudos; got != horde.Whole(106) {
		t.Errorf("alice has %v, want 106", got)
	}
}

func TestDailyKudos(t *testing.T) {
	type act struct {
		name string
		do   func(w *world) error
		cost horde.Kudos // of the day's limit
	}
	const alice, bob = 2, 3 // bob runs the worker
	settle := func(debit, credit horde.Kudos, foreign bool) func(*world) error {
		return func(w *world) error {
			id := w.worker(bob, horde.KindText, "worker")
			if foreign {
				w.m.s.workers.edit(id).Home = horde.HomeTag{9}
				w.m.s.log.commit()
			}
			r := w.admit(horde.Admission{Payer: alice})
			return w.settle(horde.Settlement{Request: r, Worker: id, Debit: debit, Credit: credit})
		}
	}
	for _, tt := range []act{
		{"award", func(w *world) error { return w.Award(w.ctx, 1, alice, 100) }, 100},
		{"award taken away", func(w *world) error { return w.Award(w.ctx, 1, alice, -100) }, 0},
		{"transfer", func(w *world) error { return w.Transfer(w.ctx, Transfer{From: alice, To: bob, Amount: 100}) }, 0},
		{"admin", func(w *world) error {
			return one(w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: alice, Kudos: ptr(horde.Kudos(100))}))
		}, 100},
		{"monthly paid at once", func(w *world) error {
			return one(w.UpdateUser(w.ctx, UserChange{Actor: 1, Target: alice, MonthlyKudos: ptr(horde.Kudos(100))}))
		}, 100},
		{"settlement at one member", settle(100, 90, false), 100},
		{"settlement with another member", settle(100, 90, true), 0},
		{"settlement beyond the debit", settle(100, 150, true), 50},
		{"uptime", func(w *world) error {
			return one(w.do(w.ctx, w.EncodeUptime(horde.Uptime{Worker: w.worker(bob, horde.KindText, "worker"), Seconds: 601, Reward: 100})))
		}, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, room := range []horde.Kudos{tt.cost, tt.cost - 1} {
				w := newWorld(t, Config{DailyKudos: 50_000})
				w.person("alice", horde.Whole(100), 0)
				w.person("bob", horde.Whole(100), 0)
				w.m.s.quotas.edit(w.id).Kudos = 50_000 - room
				w.m.s.log.commit()
				want := horde.RC("")
				if room < tt.cost {
					want = horde.RCUnavailable
				}
				if tt.cost == 0 && room < 0 {
					continue // what costs nothing is never refused
				}
				wantRC(t, tt.do(w), want)
				w.check()
				if want != "" {
					w.pass(24 * time.Hour)
					w.try(t, "", func() error { return w.Award(w.ctx, 1, alice, tt.cost) })
				}
			}
		})
	}
}
