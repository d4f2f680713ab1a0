package node

import (
	"testing"
	"time"
)

func TestLaggards(t *testing.T) {
	var l laggards
	now := time.Unix(1000, 0)
	for i, step := range []struct {
		wait   time.Duration // before
		inTime bool
		want   bool // whether it is waited for afterwards
	}{
		{0, false, true},
		{0, false, true},
		{0, true, true}, // in time: the count begins anew
		{0, false, true},
		{0, false, true},
		{0, false, false},
		{lagFor - 1, false, false}, // a write that was under way; the time begins anew
		{lagFor, false, false},     // tried again, once
		{lagFor, true, true},
		{0, false, true},
	} {
		now = now.Add(step.wait)
		l.saw("slow", step.inTime, now)
		if got := l.keepsUp("slow", now); got != step.want {
			t.Errorf("step %d: keeps up %v, want %v", i, got, step.want)
		}
		if !l.keepsUp("another", now) {
			t.Errorf("step %d: another member is not waited for", i)
		}
	}
	l.saw("slow", false, now)
	l.saw("slow", false, now)
	if l.keepsUp("slow", now) || !l.keepsUp("slow", now.Add(lagFor)) {
		t.Error("a member that does not keep up is to be left alone for lagFor")
	}
}
