package ledger

import (
	"errors"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// A proposal from anywhere is an answer, never an error and never a crash.
func FuzzApplyProposal(f *testing.F) {
	w := newWorld(f)
	writes, index := w.m.Changes()
	good := w.batch(encodeCommand(kindTick, tick{}), encodeCommand(kindAward, award{1, 2, 3}))
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte{0x82, 0x40, 0x40})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, proposal []byte) {
		m := NewMachine()
		if err := m.Load(index, disk(writes).all()); err != nil {
			t.Fatal(err)
		}
		answers, err := m.Apply(index+1, 0, [32]byte{}, [][]byte{proposal})
		if err != nil {
			t.Fatalf("Apply: %v", err)
		}
		if _, err := DecodeResults(answers[0]); errors.Is(err, errUnknownCode) {
			t.Fatalf("DecodeResults: %v", err)
		}
	})
}

// A command of a signed batch is applied, refused or stops the node; it never crashes it,
// and it never breaks an invariant.
func FuzzApplyCommand(f *testing.F) {
	w := newWorld(f)
	alice := w.person("alice", horde.Whole(100), 0)
	worker := w.worker(alice, horde.KindImage, "worker")
	id := w.admit(horde.Admission{Payer: alice, Slots: 2, Tax: 100, Upfront: 1000})
	writes, index := w.m.Changes()
	for _, cmd := range [][]byte{
		encodeCommand(kindTransfer, newTransfer(Transfer{From: alice, To: 1, Amount: 5, Key: "k"})),
		encodeCommand(kindAward, award{1, alice, -5}),
		encodeCommand(kindCreateUser, createUser{Name: "x", Class: 1, Key: digest{1}}),
		encodeCommand(kindUpdateUser, updateUser{Actor: 1, Target: alice, Kudos: ptr(horde.Kudos(-5)), Name: ptr("y")}),
		encodeCommand(kindTestUser, testUser{Login: digest{1}, Key: digest{2}, Kudos: 7}),
		encodeCommand(kindDeleteUser, deleteUser{Actor: 1, Target: alice}),
		encodeCommand(kindTick, tick{Previous: 1}),
		encodeCommand(kindRegister, registerWorker{horde.WorkerID{UUID: horde.UUID{1}}, alice, 1, "w"}),
		encodeCommand(kindUpdateWorker, updateWorker{Actor: 1, Worker: worker, Paused: ptr(true)}),
		encodeCommand(kindSetModes, setModes{Actor: 1, Raid: ptr(true)}),
		encodeCommand(kindAdmitMember, admitMember{w.joining(w.token(w.invite(1)), "node-b")}),
		encodeCommand(kindUpdateMember, updateMember{ID: "node-a", Addrs: []string{"x"}}),
		encodeCommand(kindRemoveMember, removeMember{"node-a"}),
		w.EncodeSettlement(horde.Settlement{Request: id, Slot: 1, Worker: worker, Debit: 5, Credit: 7}),
		w.EncodeFinish(horde.Finish{Request: id}),
		w.EncodeAbort(horde.Abort{Request: id, Worker: worker}),
		w.EncodeUptime(horde.Uptime{Worker: worker, Seconds: 1, Reward: 9}),
		encodeCommand(kindCreateTeam, createTeam{horde.TeamID{UUID: horde.UUID{1}}, "t", NewTeam{1, "T", "info"}}),
		encodeCommand(kindCreateSharedKey, createSharedKey{Ref: horde.SharedKeyRef{UUID: horde.UUID{1}}, Owner: alice, Kudos: 5, Expires: 7}),
		encodeCommand(kindPostMessage, postMessage{ID: horde.MessageID{UUID: horde.UUID{1}}, Actor: alice, Worker: worker, Text: "x", Expires: w.now + 5}),
		encodeCommand(kindPutFilter, NewFilter{1, "x", 10, "d", "r"}),
		encodeCommand(kindCreateStyle, createStyle{horde.StyleID{UUID: horde.UUID{1}}, NewStyle{Actor: 1, Name: "s", Models: []string{"m"}}}),
		encodeCommand(kindLinkLogin, linkLogin{alice, digest{9}}),
		encodeCommand(kindUnlinkLogin, unlinkLogin{alice}),
		encodeCommand(kindSetPatrons, setPatrons{[]Patron{{User: alice, Monthly: 500}}}),
		encodeCommand(kindMergeUsers, mergeUsers{Actor: 1, From: alice, Into: 1, Reason: "r"}),
		encodeCommand(kindReverse, reverse{Actor: 1, Of: Place{Index: 1}, Booked: []Booked{{User: alice, Amount: 5}, {System: AccountAward, Amount: -5}}}),
		EncodeSetSealKey(SealKey{7}.Print(), nil),
		encodeCommand(kindConfigure, configure{1, Config{CommandRate: 3, DailyKudos: 9}}),
		{0x83, 20, 1, 0xa0},
		{0x82, 0x19, 0xff, 0xff, 0xa0},
		{},
	} {
		f.Add(cmd)
	}
	f.Fuzz(func(t *testing.T, cmd []byte) {
		o := *w
		o.m, o.TB = NewMachine(), t
		if err := o.m.Load(index, disk(writes).all()); err != nil {
			t.Fatal(err)
		}
		o.Client = NewClient(o.m, &o, o.rnd)
		before := o.m.content()
		rs, err := o.answer(o.batch(cmd))
		switch {
		case err != nil && !errors.Is(err, errCommand) && !errors.Is(err, ErrDiverged):
			t.Fatalf("stopped by a mistake of ours: %v", err)
		case err == nil && rs[0].RC != "" && o.m.content() != before:
			t.Fatalf("the refusal %s left a trace", rs[0].RC)
		}
		if err := o.m.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzParseInvite(f *testing.F) {
	w := newWorld(f)
	good := w.token(w.invite(1))
	f.Add(good)
	f.Add(good[1:])
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		inv, err := ParseInvite(token, time.UnixMilli(w.now))
		known := errors.Is(err, ErrInviteMalformed) || errors.Is(err, ErrInviteForged) || errors.Is(err, ErrInviteExpired)
		if err != nil && !known {
			t.Fatalf("an error of no kind: %v", err)
		}
		if err == nil && inv.Key == nil {
			t.Fatal("an invite without a key")
		}
	})
}

func FuzzParseJoin(f *testing.F) {
	w := newWorld(f)
	f.Add(w.joining(w.token(w.invite(1)), "node-b"))
	f.Add([]byte{0x82, 0x40, 0x40})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _, err := ParseJoin(b, time.UnixMilli(w.now))
		if err == nil && (r.ID == "" || len(r.Addrs) > maxAddrs) {
			t.Fatalf("accepted %+v", r)
		}
		if _, err := ParseJoinAnswer(b, w.invite(1)); err == nil {
			t.Fatal("accepted as an answer")
		}
	})
}
