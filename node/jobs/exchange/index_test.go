package exchange

import (
	"testing"
	"testing/synctest"
	"time"

	"hordenode/internal/horde"
)

func TestIndexOutOfOrder(t *testing.T) {
	now := time.UnixMilli(1_790_000_000_000)
	x := newIndex(1)
	f := x.feed("a")
	id := horde.RequestID{UUID: horde.UUID{15: 1}}
	copy(id.UUID[:], f.tag[:])
	s := &f.streams[horde.KindText]
	put := func(rev uint32, open int) {
		t.Helper()
		o := horde.Offer{ID: id, Rev: rev, Open: open, Shape: horde.Shape{Kind: horde.KindText}}
		if _, err := x.put(f, &o, now); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name string
		do   func()
		want mark // zero: not told
		seen bool // in the queue
	}{
		{"new", func() { put(1, 3) }, mark{1, 3}, true},
		{"closed", func() { x.shut(f, horde.KindText, closed{id, 4}, now) }, mark{}, false},
		{"older, late", func() { put(3, 2) }, mark{}, false},
		{"the same, late", func() { put(4, 2) }, mark{}, false},
		{"open again", func() { put(5, 1) }, mark{5, 1}, true},
		{"older closing, late", func() { x.shut(f, horde.KindText, closed{id, 4}, now) }, mark{5, 1}, true},
		{"proved to be gone", func() { x.hide(horde.KindText, id) }, mark{5, 1}, false},
		{"the same again", func() { put(5, 1) }, mark{5, 1}, false},
		{"newer", func() { put(6, 2) }, mark{6, 2}, true},
		{"gone again", func() { x.hide(horde.KindText, id) }, mark{6, 2}, false},
		{"and closed", func() { put(7, 0) }, mark{}, false},
	} {
		step.do()
		want := uint64(0)
		if step.want != (mark{}) {
			want = step.want.hash(id)
		}
		_, _, seen := x.queues[horde.KindText].Revision(id)
		if s.digest != want || seen != step.seen {
			t.Errorf("%s: digest %x, in the queue %v, want %x, %v", step.name, s.digest, seen, want, step.seen)
		}
	}
	x.sweep(now.Add(tombTTL+time.Second), horde.NodeID("self").Tag(), func(horde.NodeID) bool { return true })
	if len(s.tombs) != 0 || len(s.hidden) != 0 {
		t.Errorf("%d tombs and %d hidden offers are left, want none", len(s.tombs), len(s.hidden))
	}
}

// What differs without a gap in the sequence is found by the digest alone.
func TestDigestRepairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := federate(t, "a", "b")
		settle(3 * time.Second)
		a, b := f.nodes["a"], f.nodes["b"]
		id := a.ask(alice)
		within(t, time.Second, "b sees the offer", func() bool { return b.sees(id) })
		phantom, err := a.NewRequestID()
		if err != nil {
			t.Fatal(err)
		}
		b.index.mu.Lock()
		_, err = b.index.put(b.index.feed("a"), &horde.Offer{ID: phantom, Rev: 1, Open: 1, Shape: horde.Shape{Kind: horde.KindText}}, time.Now())
		b.index.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		within(t, 17*time.Second, "b has only what a told", func() bool { return b.sees(id) && !b.sees(phantom) })
	})
}
