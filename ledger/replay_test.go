package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"

	"hordenode/internal/horde"
)

// copyOf reads a machine's rows into memory.
func copyOf(m *Machine) map[string][]byte {
	out := map[string][]byte{}
	for k, v := range m.Rows() {
		out[string(k)] = v
	}
	return out
}

func seqOf(rows map[string][]byte) func(func(k, v []byte) bool) {
	return func(yield func(k, v []byte) bool) {
		for k, v := range rows {
			if !yield([]byte(k), v) {
				return
			}
		}
	}
}

// A recorded is an entry of the log.
type recorded struct {
	index     uint64
	stamp     int64
	hash      [32]byte
	proposals [][]byte
}

// A taped world keeps its log.
type taped struct {
	*world
	entries []recorded
}

func (w *taped) Do(_ context.Context, cmds ...[]byte) ([]Result, error) {
	p := w.batch(cmds...)
	results, err := w.answer(p)
	w.entries = append(w.entries, recorded{w.index, w.now, sha256.Sum256(p), [][]byte{p}})
	return results, err
}

func (w *taped) DoEverywhere(ctx context.Context, cmds ...[]byte) ([]Result, error) {
	return w.Do(ctx, cmds...)
}

// played is a short ledger: founded, two users, a transfer, and the entries that led there.
func played(t *testing.T) (*taped, horde.UserID, horde.UserID) {
	t.Helper()
	w := &taped{world: unfounded(t)}
	w.Client = NewClient(w.m, w, w.rnd)
	if _, err := w.Found(w.ctx, horde.Member{ID: w.id, Name: "alpha", PublicKey: w.key.Public().(ed25519.PublicKey)}, Config{}); err != nil {
		t.Fatal(err)
	}
	a := w.person("alice", horde.Whole(100), horde.RoleTrusted)
	b := w.person("bob", horde.Whole(50), horde.RoleTrusted)
	if err := w.Transfer(w.ctx, Transfer{From: a, To: b, Amount: horde.Whole(30)}); err != nil {
		t.Fatal(err)
	}
	return w, a, b
}

func replayed(t *testing.T, w *taped, change func(i int, e *recorded)) (*Replay, error) {
	t.Helper()
	r := NewReplay()
	for i, e := range w.entries {
		e.proposals = slices.Clone(e.proposals)
		if change != nil {
			change(i, &e)
		}
		if err := r.Apply(e.index, e.stamp, e.hash, e.proposals); err != nil {
			return r, err
		}
	}
	return r, nil
}

func TestReplayLeadsToTheSameLedger(t *testing.T) {
	w, _, _ := played(t)
	r, err := replayed(t, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Compare(w.m.Rows())
	if err != nil {
		t.Fatal(err)
	}
	if !c.Equal() || c.Users < 4 || r.Batches != r.Entries || r.RefusedCount != 0 {
		t.Errorf("comparison %+v with %d entries, %d batches, %d refused; want equal", c, r.Entries, r.Batches, r.RefusedCount)
	}
	head, hash, err := Describe(w.m.Rows())
	if _, want := w.m.StateHash(); err != nil || hash != want || head.Chain != w.m.Head().Chain {
		t.Errorf("Describe = %x, %v; want %x", hash[:4], err, want[:4])
	}
}

func TestReplayFindsWhatWasChanged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, w *taped, rows map[string][]byte, user horde.UserID) func(int, *recorded)
		want   string // in the differences
	}{
		{"a balance in the stored state", func(t *testing.T, w *taped, rows map[string][]byte, id horde.UserID) func(int, *recorded) {
			key := string(w.m.s.users.key(nil, id))
			var u user
			if err := decode(rows[key], &u); err != nil {
				t.Fatal(err)
			}
			u.Kudos += 1
			rows[key] = encode(u)
			return nil
		}, "stored balance"},
		{"a row that is gone", func(t *testing.T, w *taped, rows map[string][]byte, id horde.UserID) func(int, *recorded) {
			delete(rows, string(w.m.s.users.key(nil, id)))
			return nil
		}, "not in the stored state"},
		{"a batch with a byte changed", func(*testing.T, *taped, map[string][]byte, horde.UserID) func(int, *recorded) {
			return func(i int, e *recorded) {
				if i == 2 {
					e.proposals[0] = bytes.Clone(e.proposals[0])
					e.proposals[0][len(e.proposals[0])-1] ^= 1 // of the signature
				}
			}
		}, "user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, a, _ := played(t)
			rows := copyOf(w.m)
			change := tt.change(t, w, rows, a)
			r, err := replayed(t, w, change)
			if err != nil {
				t.Fatal(err)
			}
			c, err := r.Compare(seqOf(rows))
			if err != nil {
				t.Fatal(err)
			}
			if c.Equal() || !slices.ContainsFunc(c.Differences, func(s string) bool { return strings.Contains(s, tt.want) }) {
				t.Errorf("differences %q, want one with %q", c.Differences, tt.want)
			}
		})
	}
}

func TestHistoryAddsUp(t *testing.T) {
	w, a, b := played(t)
	for id, want := range map[horde.UserID]int{a: 2, b: 2} { // created with kudos, then moved
		r := NewReplay()
		var got []Movement
		r.Follow(id, func(m Movement) { got = append(got, m) })
		for _, e := range w.entries {
			if err := r.Apply(e.index, e.stamp, e.hash, e.proposals); err != nil {
				t.Fatal(err)
			}
		}
		var sum horde.Kudos
		for _, m := range got {
			sum += m.Amount
		}
		u, _ := w.m.Reader().User(id)
		if len(got) != want || sum != u.Kudos || got[len(got)-1].Balance != u.Kudos || got[len(got)-1].Kind != "transfer" {
			t.Errorf("user %d: movements %+v, want %d that end in a transfer and sum to %v", id, got, want, u.Kudos)
		}
	}
}

func TestExport(t *testing.T) {
	w, _, _ := played(t)
	var buf bytes.Buffer
	out, err := NewExport(&buf, ExportHeader{Kind: "export", Applied: w.m.Head().Index})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for k, v := range w.m.Rows() {
		rows++
		if err := out.Row(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Entry(7, []byte("data")), out.Close()); err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(buf.Bytes())
	var read, entries int
	var head ExportHeader
	if err := ReadExport(bytes.NewReader(whole), ExportVisitor{
		Header: func(h ExportHeader) error { head = h; return nil },
		Row:    func(_, _ []byte) error { read++; return nil },
		Entry: func(index uint64, data []byte) error {
			if index == 7 && string(data) == "data" {
				entries++
			}
			return nil
		},
	}); err != nil || read != rows || entries != 1 || head.Kind != "export" {
		t.Errorf("read %d of %d rows, %d entries, %+v, %v", read, rows, entries, head, err)
	}
	for name, damaged := range map[string][]byte{
		"cut short":       whole[:len(whole)-1],
		"longer":          append(bytes.Clone(whole), 0),
		"a byte changed":  flipped(whole, len(whole)/2),
		"another version": flipped(whole, len(exportMagic)+3),
		"empty":           nil,
	} {
		if err := ReadExport(bytes.NewReader(damaged), ExportVisitor{}); !errors.Is(err, ErrExport) {
			t.Errorf("%s: ReadExport = %v, want ErrExport", name, err)
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

func TestForkPartsTheWays(t *testing.T) {
	w, a, _ := played(t)
	before, _ := w.m.Reader().User(a)
	old := w.m.Head()
	pub := bytes.Repeat([]byte{9}, 32)
	if err := w.m.Fork(horde.Member{ID: "fork", Name: "f", PublicKey: pub}); err != nil {
		t.Fatal(err)
	}
	now := w.m.Head()
	if now.Epoch != old.Epoch+1 || now.Chain == old.Chain || now.Cluster != old.Cluster {
		t.Errorf("head %+v after %+v", now, old)
	}
	active := 0
	for _, m := range w.m.Reader().Members() {
		if m.Active {
			active++
		}
	}
	if after, _ := w.m.Reader().User(a); after.Kudos != before.Kudos || active != 1 {
		t.Errorf("balance %v, want %v; %d active members, want 1", after.Kudos, before.Kudos, active)
	}
	if err := w.m.CheckInvariants(); err != nil {
		t.Error(err)
	}
}
