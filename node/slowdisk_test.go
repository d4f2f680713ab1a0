package node

import (
	"testing"
	"time"
)

func TestSlowDisk(t *testing.T) {
	const ms = time.Millisecond
	var s slowness
	said := []int{}
	for check, write := range []time.Duration{1 * ms, 200 * ms, 200 * ms, 99 * ms, 100 * ms, 300 * ms, 300 * ms, 300 * ms, 300 * ms, 300 * ms} {
		if s.seen(write) {
			said = append(said, check)
		}
	}
	if len(said) != 1 || said[0] != 6 {
		t.Errorf("said at checks %v, want at 6 alone: the third slow one in a row, and then not for long", said)
	}
	checks := 0
	for !s.seen(300 * ms) {
		if checks++; checks > 2*slowRest {
			t.Fatal("a disk that stays slow is never said again")
		}
	}
	if checks < slowRest-5 {
		t.Errorf("said again after %d checks, want about %d", checks, slowRest)
	}
}
